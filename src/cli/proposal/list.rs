//! `proposal list`: which proposals there are, in which state.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::adapters::journal::JournalReader;
use crate::cli::open::Open;
use crate::cli::show;
use crate::cli::{Exit, Failure, Global};
use crate::domain::governance::tally::TallyState;
use crate::domain::id::{ChangeId, ObjectId, ProposalId};
use crate::domain::plan::PinMove;
use crate::domain::proposal::{ProposalRecord, Purpose, Stage, Track};
use crate::domain::state::State;
use crate::domain::text;
use crate::ops::govern;
use crate::ports::Clock as _;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Also those that are over: applied, superseded, rejected, withdrawn, expired
    #[arg(long)]
    all: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    proposals: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    id: ProposalId,
    state: &'static str,
    track: Track,
    purpose: Purpose,
    change: ChangeId,
    pins: &'a [PinMove],
    base: ObjectId,
    made_wall_ms: i64,
    expires_ms: i64,
    ballots: usize,
    supersedes: Option<ProposalId>,
    notes: &'a [String],
    /// Why the policy denies it; empty when it does not, or was not asked yet.
    denied: &'a [String],
    /// Whether a rule of the policy asks for a person's look.
    review: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let state = open.state()?;
    let decided = decided(&open, &state)?;
    let mut rows: Vec<(&ProposalId, &ProposalRecord)> = state
        .proposals
        .iter()
        .filter(|(_, record)| {
            args.all
                || !matches!(
                    record.stage,
                    Stage::Closed { .. } | Stage::Applied { .. } | Stage::Enacted { .. }
                )
        })
        .collect();
    rows.sort_by_key(|(id, record)| (record.made, **id));
    if global.json {
        let proposals = rows
            .into_iter()
            .map(|(id, record)| Row {
                id: *id,
                state: decided.get(id).copied().unwrap_or_else(|| word(&record.stage)),
                track: record.track,
                purpose: record.purpose,
                change: record.change,
                pins: &record.pins,
                base: record.base,
                made_wall_ms: record.made_wall_ms,
                expires_ms: record.expires_ms,
                ballots: record.ballots.len(),
                supersedes: record.supersedes,
                notes: &record.notes,
                denied: record.judged.as_ref().map_or(&[], |judged| &judged.denied),
                review: record.judged.as_ref().is_some_and(|judged| judged.review),
            })
            .collect();
        return show::json(&Report { schema: "lambda-os/proposal-list/v1", proposals });
    }
    if rows.is_empty() && !global.quiet {
        show::say(if state.proposals.is_empty() {
            "no proposals yet: lambda-os run --once makes them"
        } else {
            "no open proposals; --all shows those that are over"
        });
    }
    let now = open.clock.wall_ms();
    let table: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(id, record)| {
            vec![
                id.short(),
                decided.get(id).copied().unwrap_or_else(|| word(&record.stage)).to_owned() + denied(record),
                record.track.as_str().to_owned(),
                show::stretch(now.saturating_sub(record.made_wall_ms)),
                pins(record),
            ]
        })
        .collect();
    show::data(&show::table(&table))
}

/// What the ballots on open proposals add up to, for those that have any, in one word. Counted,
/// not remembered: `approved` is never said on the strength of an earlier run.
fn decided(open: &Open, state: &State) -> Result<BTreeMap<ProposalId, &'static str>, Failure> {
    let journal = JournalReader::open(&open.state_dir)?;
    let governor = open.governor();
    let voted = state.proposals.iter().filter(|(_, record)| {
        record.stage == Stage::Open && (!record.ballots.is_empty() || record.certificate.is_some())
    });
    voted
        .map(|(id, _)| {
            let tally = govern::decide(&journal, state, governor.as_ref(), *id, &open.clock)?;
            Ok((*id, if tally.state == TallyState::Pending { "open" } else { tally.state.as_str() }))
        })
        .collect()
}

/// That the policy denies an open proposal.
fn denied(record: &ProposalRecord) -> &'static str {
    let denied = record.judged.as_ref().is_some_and(|judged| !judged.denied.is_empty());
    if denied && record.stage == Stage::Open { ", denied" } else { "" }
}

/// The state of a proposal in one word.
pub(super) fn word(stage: &Stage) -> &'static str {
    match stage {
        Stage::Open => "open",
        Stage::Applying { .. } => "applying",
        Stage::Applied { .. } => "applied",
        Stage::Enacted { .. } => "enacted",
        Stage::Stuck { .. } => "stuck",
        Stage::Closed { outcome, .. } => outcome.as_str(),
    }
}

/// What moves, in a line.
fn pins(record: &ProposalRecord) -> String {
    if record.purpose == Purpose::Command {
        return record.notes.first().map_or_else(|| "files".to_owned(), |note| text::clipped(note, 100));
    }
    if record.purpose == Purpose::Amend {
        return record.notes.first().map_or_else(|| "the rules".to_owned(), |note| text::clipped(note, 100));
    }
    let moves: Vec<String> = record
        .pins
        .iter()
        .map(|pin| {
            if pin.from == pin.to {
                format!("{} {} (realign)", pin.module, pin.to.short())
            } else {
                format!("{} {} → {}", pin.module, pin.from.short(), pin.to.short())
            }
        })
        .collect();
    moves.join(", ")
}
