//! `run`: cycles, once or until stopped.

use super::open::Open;
use super::proposal::desk;
use super::show::{self, Paint};
use super::talk::Progress;
use super::{Exit, Failure, Global, exchange, report, runners};
use crate::adapters::journal::JournalWriter;
use crate::adapters::lock::CycleLock;
use crate::adapters::nix::Roots;
use crate::daemon::stop::Stop;
use crate::daemon::{self, Rhythm};
use crate::domain::report::CycleReport;
use crate::domain::text;
use crate::ops::cycle::{self, World};
use crate::ops::govern;
use crate::ops::recover::{self, Recovered, RecoveredApply};
use crate::ports::{PortError, PortResult};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run one cycle, print its report and exit: 0, or 3 when something needs a person
    #[arg(long)]
    once: bool,
    /// Seconds from the start of one cycle to the start of the next [default: the configured interval]
    #[arg(long, value_name = "SECONDS", conflicts_with = "once")]
    interval: Option<u64>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let stop = Stop::on_signals()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot catch signals: {error}")))?;
    if args.once { once(global, &open, &stop) } else { forever(global, &open, &stop, args.interval) }
}

fn once(global: &Global, open: &Open, stop: &Stop) -> Result<Exit, Failure> {
    let lock = CycleLock::acquire(&open.state_dir)?;
    let progress = Progress::begin(global, "looking at the workspace and its upstreams");
    let report = one_cycle(open, stop, "once")?;
    drop(progress);
    drop(lock);
    if global.json {
        show::json(&report)?;
    } else {
        show::data(&report::text(&report, Paint::stdout(global), true))?;
    }
    Ok(if report.findings.is_degraded() { Exit::Degraded } else { Exit::Ok })
}

/// One cycle under a lock that the caller holds: recover first, then look.
pub(super) fn one_cycle(open: &Open, stop: &Stop, cause: &str) -> PortResult<CycleReport> {
    let mut journal = JournalWriter::open(&open.state_dir, &open.clock)?;
    if let Some(apply) = recovered(open, &mut journal)?.apply {
        show::say(&said(&apply));
    }
    govern(open, &mut journal)?;
    let mut state = journal.state().clone();
    open.add_holds(&mut state);
    let mut verifies = false;
    let governor = open.governor();
    let report = runners::with(open, |runners| {
        verifies = runners.verify_anything();
        let mut world = World {
            repository: &open.repository,
            superproject: &open.repository,
            sources: &open.sources,
            runners: Some(runners),
            governor: governor.as_ref(),
            journal: &mut journal,
            clock: &open.clock,
            stop: &|| stop.asked(),
        };
        cycle::run(&mut world, &state, &open.cycle_options(), cause)
    })?;
    // Builds that no verdict needs any more; what is left over is let go of next time.
    if verifies && let Err(error) = Roots::new(&open.state_dir.roots()).prune(&journal.state().verdicts) {
        tracing::warn!("{error}");
    }
    Ok(report)
}

/// Take in the ballots that were dropped into the inbox or that other operators show, close what they
/// decide against, and show what we have.
fn govern(open: &Open, journal: &mut JournalWriter<'_>) -> PortResult<()> {
    desk::import(open, journal)?;
    let mut synced = exchange::bring(open, journal)?;
    let state = journal.state().clone();
    let settled = govern::settle(journal, &state, open.governor().as_ref(), &open.clock)?;
    for id in settled.certified {
        tracing::info!("the proposal {} is certified", id.short());
    }
    for (id, outcome) in settled.closed {
        tracing::info!("the proposal {} is {}", id.short(), outcome.as_str());
    }
    exchange::publish(open, journal, &mut synced)?;
    exchange::tell(&synced);
    Ok(())
}

/// Close what an earlier process left open. The caller holds the cycle lock.
pub(super) fn recovered(open: &Open, journal: &mut JournalWriter<'_>) -> PortResult<Recovered> {
    let before = journal.state().clone();
    let workspace = recover::Workspace { repository: &open.repository, superproject: &open.repository };
    recover::recover(journal, &before, workspace)
}

/// What became of an application that was left open, for people.
pub(super) fn said(apply: &RecoveredApply) -> String {
    match apply {
        RecoveredApply::Waits { proposal, why } => {
            format!("applying {} waits to be finished: {}", proposal.short(), text::inert(why))
        }
        RecoveredApply::Closed { proposal, outcome, notes, .. } => {
            let mut said = format!("applying {} was cut short, and is {outcome} now", proposal.short());
            for note in notes {
                said.push_str("; ");
                said.push_str(&text::inert(note));
            }
            said
        }
    }
}

fn forever(global: &Global, open: &Open, stop: &Stop, interval_s: Option<u64>) -> Result<Exit, Failure> {
    let _lock = CycleLock::acquire(&open.state_dir)?;
    let rhythm = Rhythm {
        interval_ms: interval_s
            .map_or_else(|| millis(open.settings.interval), |seconds| seconds.saturating_mul(1000)),
        jitter_ms: millis(open.settings.jitter),
    };
    let cycle = |cause: daemon::schedule::Cause| {
        let report = one_cycle(open, stop, cause.as_str())?;
        let shown = if global.json {
            show::json(&report)
        } else if report.unchanged && !global.quiet {
            show::data(&format!("cycle {}: {}\n", report.cycle, report::headline(&report.findings)))
        } else {
            show::data(&report::text(&report, Paint::stdout(global), true))
        };
        shown.map(|_| ()).map_err(|failure| PortError::failed(failure.message))
    };
    let failed = |error: &PortError| {
        Failure::from(error).report(global.json);
    };
    daemon::run(&open.clock, stop, rhythm, cycle, failed)?;
    if !global.quiet {
        show::say("stopped, as asked");
    }
    Ok(Exit::Ok)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
