//! `proposal show`: everything that a person should see before deciding.

use std::fmt::Write as _;

use serde::Serialize;

use super::{list, resolve};
use crate::adapters::journal::JournalReader;
use crate::cli::open::Open;
use crate::cli::show::{self, Paint};
use crate::cli::{Exit, Failure, Global};
use crate::domain::change::{Delta, Edit};
use crate::domain::id::ProposalId;
use crate::domain::proposal::{ProposalRecord, Stage};
use crate::domain::text;
use crate::ports::{Clock as _, FailureKind, PortError};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The proposal: a part of its id, or its module
    #[arg(value_name = "PROPOSAL")]
    proposal: String,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    id: ProposalId,
    #[serde(flatten)]
    record: &'a ProposalRecord,
    delta: &'a Delta,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let state = open.state()?;
    let id = resolve::resolve(&args.proposal, &state.proposals)?;
    let record = &state.proposals[&id];
    let delta = delta(&JournalReader::open(&open.state_dir)?, record)?;
    if global.json {
        return show::json(&Report { schema: "lambda-os/proposal-show/v1", id, record, delta: &delta });
    }
    show::data(&text_of(id, record, &delta, open.clock.wall_ms(), Paint::stdout(global)))
}

/// The stored delta of a proposal, as what it was when it was proposed.
fn delta(journal: &JournalReader, record: &ProposalRecord) -> Result<Delta, Failure> {
    let broken = |why: &str| {
        PortError::failed(format!("cannot show the change {}: {why}", record.change))
            .kind(FailureKind::Integrity)
            .hint("lambda-os audit verify")
    };
    let bytes = journal.load(&record.change.0)?.ok_or_else(|| broken("it is missing from objects/"))?;
    Ok(serde_json::from_slice(&bytes).map_err(|_| broken("it is no change that this program knows"))?)
}

fn text_of(id: ProposalId, record: &ProposalRecord, delta: &Delta, now_ms: i64, paint: Paint) -> String {
    let mut said = format!("{} {}\n", paint.bold("proposal"), id);
    let mut rows = vec![
        vec!["state".to_owned(), stage(&record.stage)],
        vec!["purpose".to_owned(), record.purpose.as_str().to_owned()],
        vec!["track".to_owned(), record.track.as_str().to_owned()],
        vec![
            "made".to_owned(),
            format!(
                "{}, {} ago",
                show::utc(record.made_wall_ms),
                show::stretch(now_ms.saturating_sub(record.made_wall_ms))
            ),
        ],
        vec!["expires".to_owned(), show::utc(record.expires_ms)],
        vec!["change".to_owned(), record.change.to_string()],
        vec!["base".to_owned(), record.base.to_string()],
        vec!["gives tree".to_owned(), record.tree.to_string()],
    ];
    if let Some(before) = record.supersedes {
        rows.push(vec!["supersedes".to_owned(), before.to_string()]);
    }
    said.push_str(&indented(&show::table(&rows)));
    let _ = writeln!(said, "\n{}", paint.bold("pins"));
    let pins: Vec<Vec<String>> = delta
        .pins
        .iter()
        .flat_map(|pin| {
            let hash =
                |nar: &Option<String>| nar.as_deref().map_or_else(|| "not at hand".to_owned(), text::word);
            [
                vec![pin.module.to_string(), pin.path.to_string()],
                vec!["  from".to_owned(), format!("{}  {}", pin.from.commit, hash(&pin.from.nar))],
                vec!["  to".to_owned(), format!("{}  {}", pin.to.commit, hash(&pin.to.nar))],
            ]
        })
        .collect();
    said.push_str(&indented(&show::table(&pins)));
    if !delta.edits.is_empty() {
        let _ = writeln!(said, "\n{}", paint.bold("what changes beside the gitlinks"));
        for edit in &delta.edits {
            said.push_str(&edit_lines(edit));
        }
    }
    for note in &record.notes {
        let _ = writeln!(said, "\n{}", paint.warn(&format!("note: {}", text::inert(note))));
    }
    said
}

fn edit_lines(edit: &Edit) -> String {
    let at: Vec<String> = edit.at.iter().map(|part| text::word(part)).collect();
    let mut said = format!("  {} {}\n", edit.place.as_str(), at.join("/"));
    for (sign, value) in [('-', &edit.old), ('+', &edit.new)] {
        if let Some(value) = value {
            let _ = writeln!(said, "    {sign} {}", text::inert(value));
        }
    }
    said
}

fn stage(stage: &Stage) -> String {
    let word = list::word(stage);
    match stage {
        Stage::Open | Stage::Applying { .. } => word.to_owned(),
        Stage::Applied { commit } => format!("{word} by {commit}"),
        Stage::Closed { by: Some(by), reason, .. } => format!("{word} by {by}: {}", text::inert(reason)),
        Stage::Stuck { reason } | Stage::Closed { by: None, reason, .. } => {
            format!("{word}: {}", text::inert(reason))
        }
    }
}

fn indented(lines: &str) -> String {
    let mut said = String::with_capacity(lines.len() + 64);
    for line in lines.lines() {
        let _ = writeln!(said, "  {line}");
    }
    said
}
