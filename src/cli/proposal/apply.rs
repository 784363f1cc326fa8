//! `proposal apply`: bring approved proposals into the superproject, one after the other.

use std::fmt::Write as _;

use serde::Serialize;

use super::{desk, resolve};
use crate::adapters::journal::JournalWriter;
use crate::adapters::lock::CycleLock;
use crate::cli::open::Open;
use crate::cli::run as cycles;
use crate::cli::{Exit, Failure, Global, show};
use crate::domain::id::ProposalId;
use crate::domain::text;
use crate::ops::apply::{self, Applied, Mode, World};
use crate::ops::authority::Authority;
use crate::ops::recover::RecoveredApply;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The proposals, in the order in which they are applied: of each a part of its id, or its module
    #[arg(value_name = "PROPOSAL", required = true)]
    proposals: Vec<String>,
    /// Check everything and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    dry_run: bool,
    applied: &'a [Applied],
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let _lock = CycleLock::acquire(&open.state_dir)?;
    let mode = if args.dry_run { Mode::Try } else { Mode::Act };
    let mut journal = ready(&open, mode)?;
    let mut ids: Vec<ProposalId> = Vec::new();
    for wanted in &args.proposals {
        let id = resolve::resolve(wanted, &journal.state().proposals)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let mut applied = Vec::new();
    let mut failed = None;
    for id in ids {
        match one(&open, &mut journal, id, mode) {
            Ok(done) => applied.push(done),
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    // What was done is said, also when the next one failed.
    if !applied.is_empty() || failed.is_none() {
        report(global, &applied, mode)?;
    }
    failed.map_or(Ok(Exit::Ok), Err)
}

/// The journal, with ballots taken in and nothing left open. The caller holds the cycle lock.
pub(in crate::cli) fn ready(open: &Open, mode: Mode) -> Result<JournalWriter<'_>, Failure> {
    let mut journal = JournalWriter::open(&open.state_dir, &open.clock)?;
    if mode == Mode::Try && journal.state().open_apply.is_none() {
        return Ok(journal);
    }
    if let Some(apply) = cycles::recovered(open, &mut journal)?.apply {
        let said = cycles::said(&apply);
        if let RecoveredApply::Waits { .. } = apply {
            return Err(Failure::new(Exit::Busy, said)
                .hint("wait for that git; when none runs any more, remove its lock yourself"));
        }
        show::say(&said);
    }
    if open.state_dir.inbox().is_dir() {
        desk::import(open, &mut journal)?;
    }
    Ok(journal)
}

/// Apply one.
pub(in crate::cli) fn one(
    open: &Open,
    journal: &mut JournalWriter<'_>,
    id: ProposalId,
    mode: Mode,
) -> Result<Applied, Failure> {
    let state = journal.state().clone();
    let (governor, commands) = (open.governor(), open.commands());
    let mut world = World {
        repository: &open.repository,
        superproject: &open.repository,
        sources: &open.sources,
        journal,
        authority: Authority::Ballots(governor.as_ref()),
        clock: &open.clock,
        commands: &commands,
    };
    Ok(apply::apply(&mut world, &state, id, mode)?)
}

fn report(global: &Global, applied: &[Applied], mode: Mode) -> Result<Exit, Failure> {
    if global.json {
        let schema = "lambda-os/proposal-apply/v1";
        return show::json(&Report { schema, dry_run: mode == Mode::Try, applied });
    }
    show::data(&applied.iter().map(said).collect::<String>())
}

/// One application, for people.
pub(in crate::cli) fn said(applied: &Applied) -> String {
    let id = applied.id.short();
    let branch = text::inert(applied.reference.trim_start_matches("refs/heads/"));
    if let Some(document) = &applied.document {
        let title = document.kind.title();
        let mut said = match applied.enacted_by {
            Some(seq) => {
                format!("enacted {id}: the {title} {} is in force since entry {seq}\n", document.new)
            }
            None => format!("{id} would put the {title} {} in force\n", document.new),
        };
        for note in &applied.notes {
            let _ = writeln!(said, "  {}", text::inert(note));
        }
        return said;
    }
    let mut said = match applied.commit {
        Some(commit) => format!("applied {id}: {branch} is at {}\n", commit.short()),
        None => format!("{id} would change {branch} at {}\n", applied.from.short()),
    };
    for path in &applied.paths {
        let _ = writeln!(said, "  {path}");
    }
    for note in &applied.notes {
        let _ = writeln!(said, "note: {}", text::inert(note));
    }
    said
}
