//! `proposal show`: everything that a person should see before deciding.
//!
//! What is gathered here is also what is shown before a ballot is signed. Nothing is taken from
//! the proposal on trust that the workspace can say itself: the upstream log comes from the
//! mirrors, what is affected from the graph, the pins and edits from the change stored by content.

use serde::Serialize;

use super::{page, resolve};
use crate::adapters::journal::JournalReader;
use crate::cli::open::Open;
use crate::cli::show::{self, Paint};
use crate::cli::{Exit, Failure, Global};
use crate::domain::change::Delta;
use crate::domain::governance::tally::Tally;
use crate::domain::health::Claims;
use crate::domain::history::{History, HistoryLimits};
use crate::domain::id::{ModuleName, ProposalId};
use crate::domain::policy::Finding;
use crate::domain::proposal::{ProposalRecord, Stage};
use crate::domain::state::State;
use crate::ops::{govern, order, policy};
use crate::ports::{Clock as _, FailureKind, PortError, SnapshotOptions, Sources as _};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The proposal: a part of its id, or its module
    #[arg(value_name = "PROPOSAL")]
    proposal: String,
}

/// All that is known of one proposal. Also what `--json` prints.
#[derive(Serialize)]
pub(super) struct Shown {
    schema: &'static str,
    pub(super) id: ProposalId,
    #[serde(flatten)]
    pub(super) record: ProposalRecord,
    pub(super) delta: Delta,
    /// For each pin that moves: what it brings.
    pub(super) upstream: Vec<Upstream>,
    /// Every module that depends on one that moves, directly or not.
    pub(super) affects: Vec<ModuleName>,
    /// Whether the change was verified on the base that it was derived on last, and holds there.
    pub(super) verified: bool,
    /// What was verified of it, module by module; absent when nothing was.
    pub(super) claims: Option<Claims>,
    /// What the policy's rules found when it was judged last; absent when it was not.
    pub(super) findings: Option<Vec<Finding>>,
    /// What the ballots add up to; absent when it is over, or nobody decides here yet.
    pub(super) tally: Option<Tally>,
    /// When it was looked at, Unix milliseconds.
    pub(super) seen_wall_ms: i64,
}

/// What moving one pin brings from upstream.
#[derive(Serialize)]
pub(super) struct Upstream {
    pub(super) module: ModuleName,
    /// Absent when it cannot be read.
    pub(super) history: Option<History>,
    /// Why it cannot be read.
    pub(super) unreadable: Option<String>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let state = open.state()?;
    let id = resolve::resolve(&args.proposal, &state.proposals)?;
    let shown = gather(&open, &state, id)?;
    if global.json {
        return show::json(&shown);
    }
    show::data(&page::page(&shown, Paint::stdout(global)))
}

/// Look everything up.
pub(super) fn gather(open: &Open, state: &State, id: ProposalId) -> Result<Shown, Failure> {
    let record = state.proposals.get(&id).cloned().ok_or_else(|| resolve::none(&id.to_string()))?;
    let delta = delta(&JournalReader::open(&open.state_dir)?, &record)?;
    gather_of(open, state, id, record, delta)
}

/// The same of a proposal that the journal may not know yet.
pub(super) fn gather_of(
    open: &Open,
    state: &State,
    id: ProposalId,
    record: ProposalRecord,
    delta: Delta,
) -> Result<Shown, Failure> {
    let quick = SnapshotOptions { hash_untracked_bytes: None, ..open.settings.snapshot_options() };
    let seen = order::see(&open.repository, &open.sources, &quick)?;
    let moved: Vec<ModuleName> = record.pins.iter().map(|pin| pin.module.clone()).collect();
    let affects = order::order(&seen.discovery, &seen.wiring).blast_radius(&moved);
    let upstream = record
        .pins
        .iter()
        .filter(|pin| pin.from != pin.to)
        .map(|pin| {
            let module = seen.discovery.modules.iter().find(|module| module.name == pin.module);
            let history =
                module.map(|module| open.sources.history(module, pin.from, pin.to, HistoryLimits::default()));
            let (history, unreadable) = match history {
                None => (None, Some("it is no module of the workspace any more".to_owned())),
                Some(Ok(history)) => (Some(history), None),
                Some(Err(error)) => (None, Some(error.to_string())),
            };
            Upstream { module: pin.module.clone(), history, unreadable }
        })
        .collect();
    let is_known = state.proposals.contains_key(&id);
    let tally = if is_known && record.stage == Stage::Open && state.members.is_some() {
        let journal = JournalReader::open(&open.state_dir)?;
        Some(govern::decide(&journal, state, open.governor().as_ref(), id, &open.clock)?)
    } else {
        None
    };
    let record_is_verified = record.verified().is_some();
    let claims = claims(&JournalReader::open(&open.state_dir)?, &record)?;
    let findings = policy::findings(&JournalReader::open(&open.state_dir)?, &record)?;
    Ok(Shown {
        tally,
        schema: "lambda-os/proposal-show/v1",
        id,
        record,
        delta,
        upstream,
        affects,
        verified: record_is_verified,
        claims,
        findings,
        seen_wall_ms: open.clock.wall_ms(),
    })
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

/// What was verified of a proposal, where anything was; on whichever base that was.
fn claims(journal: &JournalReader, record: &ProposalRecord) -> Result<Option<Claims>, Failure> {
    let Some(verification) = record.verification else { return Ok(None) };
    let broken = |why: &str| {
        PortError::failed(format!("cannot show what was verified of {}: {why}", record.change))
            .kind(FailureKind::Integrity)
            .hint("lambda-os audit verify")
    };
    let bytes = journal.load(&verification.claims)?.ok_or_else(|| broken("it is missing from objects/"))?;
    let claims = serde_json::from_slice(&bytes).map_err(|_| broken("this program does not know its form"))?;
    Ok(Some(claims))
}
