//! `status`: one line, then only what needs attention. It tells what the last cycle saw, and how
//! long ago; it does not look at the workspace again (`snapshot` and `run --once` do).

use std::fmt::Write as _;

use serde::Serialize;

use super::place::{self, shown};
use super::show::Paint;
use super::{Exit, Failure, Global, report, show};
use crate::adapters::clock::SystemClock;
use crate::adapters::journal::JournalReader;
use crate::adapters::lock::CycleLock;
use crate::domain::id::ModuleName;
use crate::domain::report::Findings;
use crate::domain::text;
use crate::ops::status::{self, Attention, Known};
use crate::ports::Clock as _;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    workspace: String,
    degraded: bool,
    headline: String,
    cycle: Option<u64>,
    age_ms: Option<i64>,
    running: bool,
    pid: Option<u32>,
    holds: usize,
    attention: Vec<Attention>,
}

/// Most items of text; JSON has all.
const MOST: usize = 20;

pub(super) fn run(global: &Global, _args: &Args) -> Result<Exit, Failure> {
    let place = place::find(global);
    let (settings, repository) = (place.settings?, place.repository?);
    let state_dir = place::state_dir(global, &settings, &repository)?;
    let journal = JournalReader::open(&state_dir)?;
    let mut state = journal.state().clone();
    state.holds.extend(settings.module_holds().into_iter().map(|(name, why)| (ModuleName::new(&name), why)));
    // What the newest look saw is still known when a later cycle failed or was stopped.
    let stored = match state.last_look.as_ref().and_then(|cycle| cycle.report) {
        Some(cid) => journal.load(&cid)?,
        None => None,
    };
    // A report of another version's shape is as good as none: the next cycle writes a new one.
    let findings: Option<Findings> = stored.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let holder = CycleLock::holder(&state_dir);
    let known = Known {
        state: &state,
        findings: findings.as_ref(),
        running: holder.is_some(),
        now_ms: SystemClock.wall_ms(),
        stale_after_ms: i64::try_from(settings.stale_after.as_millis()).unwrap_or(i64::MAX),
    };
    let report = Report {
        schema: "lambda-os/status/v1",
        workspace: shown(repository.work_tree()),
        degraded: status::is_degraded(&known),
        headline: headline(&known),
        cycle: state.last_cycle.as_ref().map(|cycle| cycle.started),
        age_ms: status::age_ms(&known),
        running: holder.is_some(),
        pid: holder.flatten(),
        holds: state.holds.len(),
        attention: status::attention(&known),
    };
    if global.json {
        show::json(&report)?;
    } else {
        show::data(&text(&report, Paint::stdout(global)))?;
    }
    Ok(if report.degraded { Exit::Degraded } else { Exit::Ok })
}

fn headline(known: &Known<'_>) -> String {
    let seen = match known.findings {
        Some(findings) => format!("{}; {}", report::headline(findings), report::verdicts(findings)),
        None => "nothing is known about the modules".to_owned(),
    };
    let age = status::age_ms(known).map_or_else(String::new, |age| format!(" ({} ago)", status::span(age)));
    let daemon = if known.running { "; cycles are running" } else { "; no daemon runs" };
    format!("{seen}{age}{daemon}")
}

fn text(report: &Report, paint: Paint) -> String {
    let mark = if report.degraded { paint.warn("degraded") } else { paint.good("fine") };
    let mut said = format!("{mark}: {}\n", report.headline);
    for item in report.attention.iter().take(MOST) {
        let _ = writeln!(
            said,
            "\n  {} {}: {}\n    next: {}",
            text::inert(&item.subject),
            paint.bold(&item.what),
            text::inert(&item.cause),
            text::inert(&item.next)
        );
    }
    if report.attention.len() > MOST {
        let _ = writeln!(said, "\n  … and {} more: lambda-os status --json", report.attention.len() - MOST);
    }
    said
}
