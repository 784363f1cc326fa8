//! `proposal sync`: exchange proposals, ballots and certificates with the other operators, now.

use std::fmt::Write as _;

use serde::Serialize;

use super::desk;
use crate::adapters::journal::JournalWriter;
use crate::adapters::lock::CycleLock;
use crate::cli::open::Open;
use crate::cli::{Exit, Failure, Global, exchange, show};
use crate::config::checked::Backend;
use crate::domain::id::ProposalId;
use crate::ops::govern;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// What `sync --json` prints.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    /// Proposals that came, with who brought each.
    proposals: Vec<Brought>,
    /// Ballots that came.
    ballots: Vec<Brought>,
    /// Messages that were refused.
    refused: Vec<Refused>,
    /// Proposals whose approval others proved.
    certified: Vec<ProposalId>,
    /// Ballots whose proposals are not known here.
    waiting: usize,
    /// Places where what we show changed.
    published: usize,
    /// Places that did not answer, or did not take what we have.
    failures: Vec<String>,
    /// Proposals that do not fit here, or not yet.
    unfit: Vec<String>,
    /// What else is to be said.
    said: Vec<String>,
}

#[derive(Serialize)]
struct Brought {
    proposal: ProposalId,
    by: String,
}

#[derive(Serialize)]
struct Refused {
    shown_by: String,
    reason: String,
}

pub(super) fn run(global: &Global, _args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    if open.settings.backend != Backend::Multisig {
        return Err(Failure::new(Exit::Usage, "there is no other operator to exchange proposals with")
            .hint("set governance.backend = \"multisig\", and [governance.multisig]"));
    }
    let _lock = CycleLock::acquire(&open.state_dir)?;
    let mut journal = JournalWriter::open(&open.state_dir, &open.clock)?;
    govern::rules(&journal, journal.state())?;
    desk::import(&open, &mut journal)?;
    let mut synced = exchange::bring(&open, &mut journal)?;
    let state = journal.state().clone();
    govern::settle(&mut journal, &state, open.governor().as_ref(), &open.clock)?;
    exchange::publish(&open, &journal, &mut synced)?;
    let exit = if synced.failures.is_empty() { Exit::Ok } else { Exit::TryAgain };
    let brought = |(proposal, by)| Brought { proposal, by };
    let merged = synced.merged;
    let report = Report {
        schema: "lambda-os/proposal-sync/v1",
        proposals: merged.proposals.into_iter().map(brought).collect(),
        ballots: merged.ballots.into_iter().map(brought).collect(),
        refused: merged.refused.into_iter().map(|(shown_by, reason)| Refused { shown_by, reason }).collect(),
        certified: merged.certified,
        waiting: merged.waiting,
        published: synced.published,
        failures: synced.failures,
        unfit: merged.unfit,
        said: merged.said,
    };
    if global.json {
        show::json(&report)?;
        return Ok(exit);
    }
    let mut said = format!(
        "{} proposals and {} ballots came, {} messages were refused, {} ballots wait for their proposal\n",
        report.proposals.len(),
        report.ballots.len(),
        report.refused.len(),
        report.waiting
    );
    for refused in &report.refused {
        let _ = writeln!(said, "refused: {} (shown by {})", refused.reason, refused.shown_by);
    }
    for line in report.failures.iter().chain(&report.unfit).chain(&report.said) {
        said.push_str(line);
        said.push('\n');
    }
    show::data(&said)?;
    Ok(exit)
}
