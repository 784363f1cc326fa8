//! What `members` and `policy` have in common: showing the document in force as the file that people
//! edit, and putting an edited one to those who decide.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::open::Open;
use super::{Exit, Failure, Global, show};
use crate::adapters::journal::{JournalReader, JournalWriter};
use crate::domain::change::{DocumentDelta, DocumentKind};
use crate::domain::governance::document::{self, Document, DocumentError, MAX_FILE};
use crate::domain::governance::members::Members;
use crate::domain::id::{Cid, ProposalId};
use crate::domain::policy::Policy;
use crate::domain::text;
use crate::ops::amend::{self, Amended, Place};
use crate::ops::govern;
use crate::ports::{Clock as _, Repository as _};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Another one that this journal knows, by its identity [default: the one in force]
    #[arg(long, value_name = "CID")]
    document: Option<Cid>,
    /// As the canonical JSON that its identity is of, to hand to another operator
    #[arg(long)]
    canonical: bool,
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct ProposeArgs {
    /// The edited document, TOML or JSON; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Say what it would change, and propose nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Shown {
    schema: String,
    /// Its identity: what another operator compares.
    document: Cid,
    in_force: bool,
    #[serde(flatten)]
    content: Content,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Content {
    Members(Value),
    Policy(Value),
}

/// What `propose --json` prints.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) schema: &'static str,
    /// Absent when nothing was proposed.
    pub(super) proposal: Option<ProposalId>,
    pub(super) is_new: bool,
    pub(super) document: Option<DocumentDelta>,
    pub(super) changes: Vec<String>,
}

/// `members show` and `policy show`.
pub(super) fn show(global: &Global, args: &ShowArgs, kind: DocumentKind) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let journal = JournalReader::open(&open.state_dir)?;
    let rules = govern::rules(&journal, journal.state())?;
    let (in_force, cid) = amend::in_force(&rules, kind);
    let (document, shown) = match args.document.filter(|wanted| *wanted != cid) {
        None => (in_force, cid),
        Some(wanted) => {
            let found = amend::document(&journal, kind, &wanted)?.ok_or_else(|| {
                Failure::new(Exit::Usage, format!("there is no {} {wanted} here", kind.title())).hint(
                    format!("lambda-os {} show, without --document, shows the one in force", kind.as_str()),
                )
            })?;
            (found, wanted)
        }
    };
    let failed =
        |error: String| Failure::new(Exit::Failed, format!("cannot show the {}: {error}", kind.title()));
    if args.canonical {
        let bytes = document.to_canonical().map_err(|error| failed(error.to_string()))?;
        return show::data(&(String::from_utf8_lossy(&bytes).into_owned() + "\n"));
    }
    if global.json {
        let value = document.to_value().map_err(|error| failed(error.to_string()))?;
        return show::json(&Shown {
            schema: format!("lambda-os/{}-show/v1", kind.as_str()),
            document: shown,
            in_force: shown == cid,
            content: match kind {
                DocumentKind::Members => Content::Members(value),
                DocumentKind::Policy => Content::Policy(value),
            },
        });
    }
    let state = if shown == cid { "in force" } else { "not in force" };
    let mut said = format!(
        "# {} {shown}, {state}\n# edit this and propose it: lambda-os {} propose FILE\n",
        kind.title(),
        kind.as_str()
    );
    if let Document::Members(members) = &document {
        for principal in &members.principals {
            for key in &principal.keys {
                let _ = writeln!(said, "# {} {}", principal.name, key.fingerprint());
            }
        }
    }
    said.push('\n');
    said.push_str(&document.to_toml().map_err(|error| failed(error.to_string()))?);
    show::data(&said)
}

/// `members propose` and `policy propose`.
pub(super) fn propose(global: &Global, args: &ProposeArgs, kind: DocumentKind) -> Result<Exit, Failure> {
    let written = read(&args.file)?;
    let open = Open::new(global)?;
    let journal = JournalReader::open(&open.state_dir)?;
    let rules = govern::rules(&journal, journal.state())?;
    let document = match kind {
        DocumentKind::Members => document::next_members(&written, &rules.members)
            .map(|it: Members| Document::Members(Box::new(it))),
        DocumentKind::Policy => document::policy(&written).map(|it: Policy| Document::Policy(Box::new(it))),
    };
    let (in_force, cid) = amend::in_force(&rules, kind);
    let document = document.and_then(|document| document.follows(&in_force, cid).map(|()| document));
    let document = document.map_err(|error| refused(&args.file, kind, &error))?;
    let schema = match kind {
        DocumentKind::Members => "lambda-os/members-propose/v1",
        DocumentKind::Policy => "lambda-os/policy-propose/v1",
    };
    if args.dry_run {
        let changes =
            document.changes_on(&in_force).map_err(|error| refused(&args.file, kind, &error.into()))?;
        let report = Report { schema, proposal: None, is_new: false, document: None, changes };
        return said(global, &report, kind);
    }
    let amended = put(&open, &document)?;
    said(global, &report(schema, amended), kind)
}

fn refused(file: &Path, kind: DocumentKind, error: &DocumentError) -> Failure {
    let shown = text::git_quoted(file.as_os_str().as_encoded_bytes());
    let mut failure = Failure::new(Exit::Usage, format!("cannot propose {shown} as the {}", kind.title()))
        .hint(format!("lambda-os {} show prints the one in force, to edit", kind.as_str()));
    failure.causes.push(error.to_string());
    failure
}

/// Put a document to those who decide.
pub(super) fn put(open: &Open, document: &Document) -> Result<Amended, Failure> {
    let head = open.repository.head()?.ok_or_else(|| {
        Failure::new(Exit::Failed, "cannot propose anything: the superproject has no commit yet")
    })?;
    let mut journal = JournalWriter::open(&open.state_dir, &open.clock)?;
    let state = journal.state().clone();
    let place = Place { superproject: &open.repository, head, now_ms: open.clock.wall_ms() };
    Ok(amend::propose(&mut journal, &state, place, document)?)
}

pub(super) fn report(schema: &'static str, amended: Amended) -> Report {
    Report {
        schema,
        proposal: Some(amended.id),
        is_new: amended.is_new,
        document: Some(amended.document),
        changes: amended.changes,
    }
}

pub(super) fn said(global: &Global, report: &Report, kind: DocumentKind) -> Result<Exit, Failure> {
    if global.json {
        return show::json(report);
    }
    show::data(&for_people(report, kind))
}

/// What was proposed, in words.
pub(super) fn for_people(report: &Report, kind: DocumentKind) -> String {
    let mut said = match (report.proposal, report.is_new) {
        (None, _) => format!("it would change of the {}:\n", kind.title()),
        (Some(id), true) => format!("proposed {}: another {}\n", id.short(), kind.title()),
        (Some(id), false) => format!("{} proposes that {} already\n", id.short(), kind.title()),
    };
    for change in &report.changes {
        let _ = writeln!(said, "  {}", text::inert(change));
    }
    if let Some(id) = report.proposal {
        let _ = writeln!(said, "next: lambda-os proposal approve {}", id.short());
    }
    said
}

/// The text of a file of bounded size, or of standard input.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let shown = text::git_quoted(path.as_os_str().as_encoded_bytes());
    let failed = |why: String| Failure::new(Exit::Usage, format!("cannot read {shown}: {why}"));
    let most = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    let mut written = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(most + 1).read_to_string(&mut written)
    } else {
        File::open(path).and_then(|file| file.take(most + 1).read_to_string(&mut written))
    };
    read.map_err(|error| failed(error.to_string()))?;
    if written.len() > MAX_FILE {
        Err(failed(format!("it is larger than {MAX_FILE} bytes")))
    } else {
        Ok(written)
    }
}
