//! The demo's one honest change: approved with a throw-away key, applied, and one that was
//! tampered with and is refused.

use std::fs;

use serde::Serialize;

use super::super::open::Open;
use super::super::proposal::{apply, vote};
use super::super::{Failure, Global};
use crate::adapters::journal::JournalReader;
use crate::adapters::lock::CycleLock;
use crate::domain::change::Delta;
use crate::domain::id::{ModuleName, ProposalId};
use crate::domain::proposal::{ProposalRecord, Stage};
use crate::domain::state::State;
use crate::ops::apply::{Applied, Mode};
use crate::ports::{FailureKind, PortError};

/// What was decided, and what came of it.
#[derive(Debug, Serialize)]
pub(super) struct Decision {
    /// The module that moved.
    pub(super) module: ModuleName,
    /// Its revision before.
    pub(super) from: crate::domain::id::ObjectId,
    /// What was applied.
    pub(super) applied: Applied,
    /// The attempt on another proposal.
    pub(super) tampered: Tampered,
    /// Entries of the journal, all linked.
    pub(super) entries: u64,
}

/// A proposal whose stored change was swapped.
#[derive(Debug, Serialize)]
pub(super) struct Tampered {
    /// Which.
    pub(super) id: ProposalId,
    /// Its module.
    pub(super) module: ModuleName,
    /// How signing it was refused.
    pub(super) refusal: String,
    /// With which exit code.
    pub(super) exit: u8,
}

/// Approve and apply the open proposal for `module`, tamper with another one, verify the journal.
pub(super) fn decide(global: &Global, module: &str) -> Result<Decision, Failure> {
    // What the verbs say on stderr is told in the tour.
    let quiet = &Global { quiet: true, json: false, ..global.clone() };
    let open = Open::new(quiet)?;
    let key = open.state_dir.operator_key();
    let state = open.state()?;
    let wanted = ModuleName::new(module);
    let (id, record) = open_for(&state, |record| record.pins.iter().any(|pin| pin.module == wanted))
        .ok_or_else(|| unexpected(&format!("there is no open proposal for {module}")))?;
    vote::approve_one(quiet, id, Some(key.clone()), Some("a try".to_owned()))?;
    let applied = {
        let _lock = CycleLock::acquire(&open.state_dir)?;
        let mut journal = apply::ready(&open, Mode::Act)?;
        apply::one(&open, &mut journal, id, Mode::Act)?
    };
    let (other, record_of_other) = open_for(&state, |other| other.change != record.change)
        .ok_or_else(|| unexpected("there is no second open proposal"))?;
    let tampered = tamper(quiet, &open, other, record_of_other, key)?;
    let journal = JournalReader::open(&open.state_dir)?;
    let verified = journal.verify(&[])?.outcome.map_err(|broken| journal.refusal(&broken))?;
    let from = record.pins.iter().find(|pin| pin.module == wanted).map(|pin| pin.from);
    Ok(Decision {
        module: wanted,
        from: from.ok_or_else(|| unexpected("the proposal does not move its module"))?,
        applied,
        tampered,
        entries: verified.entries,
    })
}

fn open_for(
    state: &State,
    wanted: impl Fn(&ProposalRecord) -> bool,
) -> Option<(ProposalId, &ProposalRecord)> {
    let found = state.proposals.iter().find(|(_, record)| record.stage == Stage::Open && wanted(record));
    found.map(|(id, record)| (*id, record))
}

/// Swap the stored change for one that moves the module somewhere else, and try to sign it. The
/// bytes are put back whatever happens.
fn tamper(
    quiet: &Global,
    open: &Open,
    id: ProposalId,
    record: &ProposalRecord,
    key: std::path::PathBuf,
) -> Result<Tampered, Failure> {
    let journal = JournalReader::open(&open.state_dir)?;
    let bytes = journal.load(&record.change.0)?.ok_or_else(|| unexpected("the change is not stored"))?;
    let mut delta: Delta =
        serde_json::from_slice(&bytes).map_err(|error| unexpected(&format!("the change: {error}")))?;
    for pin in &mut delta.pins {
        pin.to = pin.from.clone();
    }
    let swapped = delta.to_canonical().map_err(|error| unexpected(&error.to_string()))?;
    let place = open.state_dir.object(&record.change.0);
    let write = |bytes: &[u8]| {
        fs::write(&place, bytes)
            .map_err(|error| unexpected(&format!("the change cannot be swapped: {error}")))
    };
    write(&swapped)?;
    let refused = vote::approve_one(quiet, id, Some(key), None);
    write(&bytes)?;
    match refused {
        Ok(()) => Err(PortError::failed("a proposal whose change was swapped was signed")
            .kind(FailureKind::Integrity)
            .into()),
        Err(failure) => Ok(Tampered {
            id,
            module: record.pins.first().map_or_else(|| ModuleName::new("?"), |pin| pin.module.clone()),
            refusal: failure.message,
            exit: u8::from(failure.exit),
        }),
    }
}

fn unexpected(what: &str) -> Failure {
    PortError::failed(format!("the demo cannot go on: {what}")).into()
}
