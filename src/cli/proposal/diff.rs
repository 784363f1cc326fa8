//! `proposal diff`: what a proposal does to the superproject's files, as a patch.
//!
//! The change is derived again, on HEAD while it is open and on its own base once it is over, so
//! that the text shows what would be applied, not what somebody stored.

use std::fmt::Write as _;
use std::io::Write as _;

use super::resolve;
use crate::adapters::git::patch::{self, Letter};
use crate::adapters::journal::JournalReader;
use crate::cli::open::Open;
use crate::cli::show;
use crate::cli::{Exit, Failure, Global};
use crate::domain::change::{DocumentDelta, PathContent, PathEdit};
use crate::domain::id::{Cid, RepoPath};
use crate::domain::proposal::Stage;
use crate::domain::text;
use crate::ops::amend;
use crate::ops::govern;
use crate::ops::propose::derive_delta;
use crate::ports::Repository as _;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The proposal: a part of its id, or its module
    #[arg(value_name = "PROPOSAL")]
    proposal: String,
    /// As a message for git am
    #[arg(long)]
    patch: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let journal = JournalReader::open(&open.state_dir)?;
    let state = journal.state();
    let id = resolve::resolve(&args.proposal, &state.proposals)?;
    let case = govern::case(&journal, state, id)?;
    let discovery = open.repository.discover()?;
    let head = if matches!(case.record.stage, Stage::Open) { open.repository.head()? } else { None };
    let base = head.unwrap_or(case.record.base);
    let failed = |cause: String| {
        let mut failure =
            Failure::new(Exit::Failed, format!("cannot show {} as a patch on {}", id.short(), base.short()))
                .hint("lambda-os run --once proposes what can be derived now");
        failure.causes.push(cause);
        failure
    };
    let modules = &discovery.modules;
    let derived = derive_delta(&open.repository, &open.sources, modules, &journal, &case.delta, base)?
        .map_err(|why| failed(text::inert(&why.to_string())))?;
    if derived.change != case.record.change {
        return Err(failed(format!("there it is the change {}", derived.change)));
    }
    if args.patch && case.delta.document.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "a document is in no tree: its change is no message for git am",
        )
        .hint("lambda-os proposal diff, without --patch, shows it"));
    }
    let edits = match &case.delta.document {
        Some(document) => vec![as_edit(&journal, document)?],
        None => derived.edits,
    };
    let diff = patch::diff(&edits, base)?;
    let bytes = if args.patch {
        let mut body = String::new();
        for pin in &case.pins {
            let _ = writeln!(body, "{}: {} -> {}", pin.module, pin.from, pin.to);
        }
        for note in &derived.notes {
            let _ = writeln!(body, "{}", text::inert(note));
        }
        let _ = writeln!(body, "\nLambda-OS-Proposal: {id}");
        let letter = Letter { subject: &case.title(), body: &body, time_ms: case.record.made_wall_ms };
        patch::mail(&letter, &diff)
    } else {
        diff.text
    };
    if global.json {
        return show::json(&serde_json::json!({
            "schema": "lambda-os/proposal-diff/v1",
            "id": id,
            "base": base,
            "tree": derived.tree,
            "patch": String::from_utf8_lossy(&bytes),
        }));
    }
    // As it is: a patch that was made inert would not apply. Onto a terminal it goes inert.
    if show::is_terminal() {
        return show::data(&text::inert_lines(&String::from_utf8_lossy(&bytes)));
    }
    match std::io::stdout().lock().write_all(&bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(Exit::Ok),
    }
}

/// The change of a document as that of the file that people edit.
fn as_edit(journal: &JournalReader, change: &DocumentDelta) -> Result<PathEdit, Failure> {
    let side = |cid: &Cid| {
        let broken = |why: String| {
            Failure::new(Exit::Integrity, format!("cannot show the {} {cid}: {why}", change.kind.title()))
                .hint("lambda-os audit verify")
        };
        let document = amend::document(journal, change.kind, cid)?;
        let document =
            document.ok_or_else(|| broken("it is not in the state directory's objects/".to_owned()))?;
        let content = document.to_toml().map_err(|error| broken(error.to_string()))?.into_bytes();
        Ok::<_, Failure>(PathContent::File { executable: false, content })
    };
    let path = RepoPath::from(format!("{}.toml", change.kind.as_str()).as_str());
    Ok(PathEdit { path, old: Some(side(&change.old)?), new: side(&change.new)? })
}
