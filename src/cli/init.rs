//! `init`: the state directory and the journal of a workspace, and who decides over it. Doing it
//! twice changes nothing.
//!
//! The first members document is trusted here because the person at this machine says so, key by
//! key, or whole, by the identity that another operator reads out; later ones are decided by those whom it names. It grants the standing authority to heal, unless
//! `--no-heal` says otherwise. With no key given one is made, so that a
//! single operator can begin at once.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::place::{self, shown};
use super::{Exit, Failure, Global, amend, show};
use crate::adapters::clock::SystemClock;
use crate::adapters::durable::{self, Disk as _, RealDisk};
use crate::adapters::journal::{JournalReader, JournalWriter};
use crate::adapters::signing::{TrustFile, make_key, read_trusted};
use crate::adapters::state_dir::{Origin, StateDir};
use crate::config::effective;
use crate::config::load::WORKSPACE_FILE;
use crate::domain::governance::allowed_signers::{AllowedKey, Signers};
use crate::domain::governance::key::PublicKey;
use crate::domain::governance::members::{Members, Term, workspace_id};
use crate::domain::governance::signature::NAMESPACE;
use crate::domain::id::{Cid, ObjectId};
use crate::domain::policy::Policy;
use crate::domain::state::State;
use crate::ops::trust::Trusted;
use crate::ops::{govern, trust};
use crate::ports::{FirstTrusted, PortError, Repository as _, Superproject};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also write a configuration file to begin with into the git directory, unless there is one
    #[arg(long)]
    write_config: bool,
    /// Trust this public key, or the keys in this `allowed_signers` file, to decide over proposals (several times
    /// for several). Without it a key is made
    #[arg(long, value_name = "KEY.pub")]
    trust: Vec<PathBuf>,
    /// Whose each trusted key is, in the same order; a name given twice has two keys [default: from the key's file]
    #[arg(long = "as", value_name = "NAME", requires = "trust")]
    names: Vec<String>,
    /// Trust the members document that another operator has: what `members show --canonical` prints there
    #[arg(long, value_name = "FILE", conflicts_with_all = ["trust", "no_heal"])]
    members: Option<PathBuf>,
    /// The identity of that document, as the other operator reads it out
    #[arg(long, value_name = "CID", requires = "members")]
    fingerprint: Option<Cid>,
    /// The policy that is in force there: what `policy show --canonical` prints [default: the first one]
    #[arg(long, value_name = "FILE", requires = "members")]
    policy: Option<PathBuf>,
    /// Let no module be rolled back without a decision: one that breaks is only proposed to go back
    #[arg(long)]
    no_heal: bool,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    workspace: String,
    modules: usize,
    state_dir: String,
    state_dir_named_by: Origin,
    created: bool,
    newest_entry: Option<u64>,
    config_written: Option<String>,
    /// Who decides; absent in a superproject without a commit.
    members: Option<ShownMembers>,
    policy: Option<Cid>,
    /// The key that was made because nobody trusted another.
    key: Option<String>,
    /// Whether that was just now.
    key_made: bool,
}

#[derive(Serialize)]
struct ShownMembers {
    document: Cid,
    epoch: u64,
    workspace: String,
    principals: Vec<ShownPrincipal>,
    /// Whether a broken module may be taken back to a pin that was verified without a decision.
    heal: bool,
}

#[derive(Serialize)]
struct ShownPrincipal {
    name: String,
    /// The fingerprints of its keys.
    keys: Vec<String>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let place = place::find(global);
    let (settings, repository) = (place.settings?, place.repository?);
    let state_dir = place::state_dir(global, &settings, &repository)?;
    // Before anything is made: a superproject that cannot be read needs no state.
    let modules = repository.discover()?.modules.len();
    let before = JournalReader::open(&state_dir)?.head();
    let first = repository.first_commit()?;
    let founding = match (&args.members, first) {
        (Some(path), Some(first)) => joining(args, path, &workspace_id(first))?,
        (Some(_), None) => return Err(no_commit("trust a members document")),
        (None, _) => Founding::Keys { trusted: wanted(args)?, heal: !args.no_heal },
    };
    refuse_trust(&state_dir, &founding, first)?;
    if before.is_none() {
        JournalWriter::open(&state_dir, &SystemClock)?;
    }
    let key_made = match first {
        Some(first) => found(&repository, &state_dir, workspace_id(first), founding)?,
        None => false,
    };
    let newest_entry = JournalReader::open(&state_dir)?.head().map(|head| head.seq);
    let config_written = if args.write_config { write_config(repository.common_dir())? } else { None };
    let journal = JournalReader::open(&state_dir)?;
    let report = Report {
        schema: "lambda-os/init/v1",
        workspace: shown(repository.work_tree()),
        modules,
        state_dir: shown(state_dir.root()),
        state_dir_named_by: state_dir.origin(),
        created: before.is_none(),
        newest_entry,
        config_written: config_written.as_deref().map(shown),
        members: shown_members(&journal)?,
        policy: journal.state().policy,
        key: Some(state_dir.operator_key()).filter(|key| key.exists()).as_deref().map(shown),
        key_made,
    };
    if global.json {
        return show::json(&report);
    }
    show::data(&said(&report, args.write_config))
}

fn said(report: &Report, asked_for_config: bool) -> String {
    let mut said = format!(
        "workspace  {} ({} modules)\nstate      {} ({})\n",
        report.workspace,
        report.modules,
        report.state_dir,
        if report.created { "made" } else { "was there" },
    );
    if let Some(seq) = report.newest_entry {
        let _ = writeln!(said, "journal    newest entry {seq}");
    }
    match &report.members {
        None => {
            said.push_str(
                "members    none: the superproject has no commit yet; init again after the first\n",
            );
        }
        Some(members) => {
            let _ = writeln!(said, "members    {} (epoch {})", members.document, members.epoch);
            for principal in &members.principals {
                let _ = writeln!(said, "member     {} {}", principal.name, principal.keys.join(" "));
            }
            said.push_str(if members.heal {
                "healing    granted: a module that breaks goes back to its last verified pin by itself\n"
            } else {
                "healing    not granted: for a module that breaks, going back is only proposed\n"
            });
        }
    }
    if let Some(path) = &report.key {
        let made =
            if report.key_made { "made: it signs your ballots, give it to nobody" } else { "was there" };
        let _ = writeln!(said, "key        {path} ({made})");
    }
    match &report.config_written {
        Some(path) => {
            let _ = writeln!(said, "config     {path} (made: every default, commented out)");
        }
        None if asked_for_config => said.push_str("config     was there, left as it is\n"),
        None => {}
    }
    said.push_str("next: lambda-os doctor, then lambda-os run --once\n");
    said
}

/// The keys that `--trust` names, each with its `--as`.
fn wanted(args: &Args) -> Result<Vec<Trusted>, Failure> {
    if !args.names.is_empty() && args.names.len() != args.trust.len() {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "there are {} --trust and {} --as: give one name for each key",
                args.trust.len(),
                args.names.len()
            ),
        )
        .hint("--trust a.pub --as alice --trust b.pub --as bob"));
    }
    let mut all = Vec::new();
    for (at, path) in args.trust.iter().enumerate() {
        let trusted = match read_trusted(path)? {
            TrustFile::Key(key) => {
                let name = match args.names.get(at) {
                    Some(name) => name.clone(),
                    None => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
                };
                vec![Trusted { name, key, term: None }]
            }
            TrustFile::Signers(_) if !args.names.is_empty() => {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("{} says itself whose its keys are: --as is for single keys", shown(path)),
                ));
            }
            TrustFile::Signers(signers) => signers_of(path, signers)?,
        };
        all.extend(trusted);
    }
    Ok(all)
}

/// The keys of an `allowed_signers` file; what in it is for something else is said.
fn signers_of(path: &Path, signers: Signers) -> Result<Vec<Trusted>, Failure> {
    for said in &signers.left_out {
        show::say(&format!("{} {said}", shown(path)));
    }
    if signers.keys.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("no key in {} may sign ballots", shown(path)))
            .hint(format!("a line's namespaces=\"…\" must allow {NAMESPACE}, or be left away")));
    }
    let trusted = |AllowedKey { name, key, from_ms, until_ms }| {
        let term = (from_ms.is_some() || until_ms.is_some()).then_some(Term { from_ms, until_ms });
        Trusted { name, key, term }
    };
    Ok(signers.keys.into_iter().map(trusted).collect())
}

/// What the first documents are made of.
pub(super) enum Founding {
    /// These keys; none for one that is made here.
    Keys {
        /// The keys.
        trusted: Vec<Trusted>,
        /// Whether healing is granted.
        heal: bool,
    },
    /// Documents that others have in force.
    Documents(Box<(Members, Policy)>),
}

/// The documents of those who decide over this workspace elsewhere already.
fn joining(args: &Args, path: &Path, workspace: &str) -> Result<Founding, Failure> {
    let refused = |path: &Path, why: String| {
        let mut failure = Failure::new(Exit::Usage, format!("cannot trust {}", shown(path))).hint(
            "lambda-os members show --canonical, and policy show --canonical, print what is in force there",
        );
        failure.causes.push(why);
        failure
    };
    let written = amend::read(path)?;
    let members = Members::from_canonical(written.trim_end().as_bytes())
        .map_err(|error| refused(path, error.to_string()))?;
    if members.workspace != workspace {
        return Err(refused(
            path,
            "it is for another workspace: their histories begin with other commits".to_owned(),
        ));
    }
    let found = Cid::of(written.trim_end().as_bytes());
    match args.fingerprint {
        Some(told) if told == found => {}
        Some(told) => {
            return Err(Failure::new(
                Exit::Integrity,
                format!("{} is not the members document {told}: it is {found}", shown(path)),
            )
            .hint("nothing was made; ask the other operator again, not by the way that the file came"));
        }
        None if is_terminal() => {
            if !confirmed(&members, found)? {
                return Err(Failure::new(Exit::Failed, "nobody was trusted, and nothing was made"));
            }
        }
        None => {
            return Err(Failure::new(Exit::Usage, format!("cannot trust {} unseen", shown(path))).hint(format!(
                "compare it with another operator's, not by the way that the file came; then: --fingerprint {found}"
            )));
        }
    }
    let policy = match &args.policy {
        None => Policy::default(),
        Some(path) => Policy::from_canonical(amend::read(path)?.trim_end().as_bytes())
            .map_err(|error| refused(path, error.to_string()))?,
    };
    Ok(Founding::Documents(Box::new((members, policy))))
}

/// Ask whether these shall be trusted.
fn confirmed(members: &Members, document: Cid) -> Result<bool, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(Exit::Failed, format!("cannot ask at the terminal: {error}"));
    let mut question = format!("members    {document} (epoch {})\n", members.epoch);
    for principal in &members.principals {
        let keys: Vec<String> = principal.keys.iter().map(PublicKey::fingerprint).collect();
        let _ = writeln!(question, "member     {} {}", principal.name, keys.join(" "));
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{question}does the other operator read out the same identity? [y/N] ").map_err(failed)?;
    stderr.flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn no_commit(attempted: &str) -> Failure {
    Failure::new(
        Exit::Failed,
        format!(
            "cannot {attempted}: the superproject has no commit yet, and its first one names the workspace"
        ),
    )
    .hint("make the first commit, then init again")
}

/// Refuse what cannot be trusted before anything is made.
fn refuse_trust(state_dir: &StateDir, founding: &Founding, first: Option<ObjectId>) -> Result<(), Failure> {
    let in_force = JournalReader::open(state_dir)?.state().members.map(|members| members.document);
    let known = match founding {
        Founding::Keys { trusted, .. } if trusted.is_empty() => return Ok(()),
        Founding::Keys { .. } => false,
        // The same once more changes nothing.
        Founding::Documents(documents) => in_force.is_some() && documents.0.cid().ok() == in_force,
    };
    if in_force.is_some() && !known {
        return Err(Failure::new(
            Exit::Failed,
            "cannot trust another key: this workspace has its members, and only they decide who joins them",
        )
        .hint("lambda-os key trust proposes another key to them; lambda-os members show says who they are"));
    }
    let Some(first) = first else { return Err(no_commit("trust a key")) };
    if let Founding::Keys { trusted, .. } = founding {
        trust::founding(workspace_id(first), trusted)?;
    }
    Ok(())
}

/// Put the first members document and policy in force, unless they are. Says whether a key was made.
pub(super) fn found(
    superproject: &dyn Superproject,
    state_dir: &StateDir,
    workspace: String,
    founding: Founding,
) -> Result<bool, Failure> {
    let mut journal = JournalWriter::open(state_dir, &SystemClock)?;
    let inbox = state_dir.inbox();
    RealDisk
        .create_dir(&inbox)
        .map_err(|error| durable::port_error(format!("cannot make the inbox {}", shown(&inbox)), error))?;
    let state = journal.state().clone();
    if state.members.is_some() {
        return Ok(false);
    }
    let (mut trusted, heal) = match founding {
        Founding::Keys { trusted, heal } => (trusted, heal),
        Founding::Documents(documents) => {
            let (members, policy) = *documents;
            put_in_force(superproject, &mut journal, &state, &members, &policy)?;
            return Ok(false);
        }
    };
    let made = trusted.is_empty();
    if made {
        let key = make_key(&state_dir.operator_key(), "lambda-os operator")?;
        trusted.push(Trusted { name: OPERATOR.to_owned(), key, term: None });
    }
    let members = Members { heal, ..trust::founding(workspace, &trusted)? };
    // A policy that was adopted before a crash is kept.
    put_in_force(superproject, &mut journal, &state, &members, &Policy::default())?;
    Ok(made)
}

/// Put the first documents in force. The repository itself is told first: an emptied journal is noticed.
fn put_in_force(
    superproject: &dyn Superproject,
    journal: &mut JournalWriter<'_>,
    state: &State,
    members: &Members,
    policy: &Policy,
) -> Result<(), Failure> {
    let unwritable = |error| PortError::failed("cannot write down who decides, and how").because(error);
    let adopted = policy.cid().map_err(unwritable)?;
    let first =
        FirstTrusted { members: members.cid().map_err(unwritable)?, policy: state.policy.unwrap_or(adopted) };
    superproject.remember_trusted(first)?;
    Ok(trust::trust(journal, state, members, policy)?)
}

/// What the one who decides alone is called.
const OPERATOR: &str = "operator";

/// Who decides now.
fn shown_members(journal: &JournalReader) -> Result<Option<ShownMembers>, Failure> {
    let state = journal.state();
    if state.members.is_none() {
        return Ok(None);
    }
    let rules = govern::rules(journal, state)?;
    let principals = rules.members.principals.into_iter().map(|principal| ShownPrincipal {
        keys: principal.keys.iter().map(PublicKey::fingerprint).collect(),
        name: principal.name,
    });
    Ok(Some(ShownMembers {
        document: rules.members_cid,
        epoch: rules.members.epoch,
        workspace: rules.members.workspace,
        principals: principals.collect(),
        heal: rules.members.heal,
    }))
}

/// Write the template, whole or not at all, and never over a file that is there.
fn write_config(common_dir: &Path) -> Result<Option<PathBuf>, Failure> {
    let path = common_dir.join(WORKSPACE_FILE);
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot write the configuration {}: {error}", shown(&path)))
            .hint("lambda-os config template prints the same text")
    };
    let dir = path.parent().unwrap_or(common_dir);
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut file = tempfile::Builder::new().prefix(".config-").tempfile_in(dir).map_err(failed)?;
    file.write_all(effective::template().as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(Some(path)),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(failed(error.error)),
    }
}
