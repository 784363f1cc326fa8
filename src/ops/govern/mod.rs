//! Deciding: taking ballots in, counting them, and what follows from the count.
//!
//! In: signed messages, from `proposal approve` or from the inbox; the journal and what it adds up
//! to. Out: entries (`ballot.cast`, `ballot.refused`, `proposal.closed`, `proposal.certified`) and
//! tallies. Whoever calls has the journal open as its writer, and gives the state as of now:
//! after each call that may append, the state is another.
//!
//! A stored ballot is verified again whenever it is counted: what counts rests on signatures and on
//! the journal's chain, never on what an earlier run said about them.

mod draft;
mod intake;
mod outcome;

pub use draft::{draft, next_seq};
pub use intake::{Imported, Taken, import, take_in};
pub use outcome::{Certified, certify, recheck, settle, withdraw};

use std::collections::BTreeSet;

use crate::domain::change::Delta;
use crate::domain::governance::ballot::{SignedBallot, pins_of};
use crate::domain::governance::members::Members;
use crate::domain::governance::tally::{Question, Received, Tally};
use crate::domain::id::{Cid, ProposalId};
use crate::domain::plan::PinMove;
use crate::domain::policy::Policy;
use crate::domain::proposal::{Proposal, ProposalRecord, Purpose};
use crate::domain::state::State;
use crate::ops::policy;
use crate::ports::{FailureKind, Governor, PortError, PortResult, Stored};

/// By which rules this workspace decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Who decides.
    pub members: Members,
    /// The identity of that document.
    pub members_cid: Cid,
    /// The policy.
    pub policy: Policy,
    /// The identity of that document.
    pub policy_cid: Cid,
}

/// The rules in force.
///
/// # Errors
/// Usage when there are none yet (with the hint `lambda-os init`); integrity when a document is not
/// what the journal names.
pub fn rules(journal: &(impl Stored + ?Sized), state: &State) -> PortResult<Rules> {
    let (Some(in_force), Some(policy_cid)) = (state.members, state.policy) else {
        return Err(PortError::failed("nobody is trusted to decide over this workspace's proposals yet")
            .kind(FailureKind::Usage)
            .hint("lambda-os init"));
    };
    let bytes = stored(journal, &in_force.document, "the members document")?;
    let members = Members::from_canonical(&bytes)
        .map_err(|error| damaged("the members document", &in_force.document).because(error))?;
    if members.epoch != in_force.epoch {
        return Err(damaged("the members document", &in_force.document));
    }
    let bytes = stored(journal, &policy_cid, "the policy")?;
    let policy =
        Policy::from_canonical(&bytes).map_err(|error| damaged("the policy", &policy_cid).because(error))?;
    Ok(Rules { members, members_cid: in_force.document, policy, policy_cid })
}

/// A proposal with everything that deciding over it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Which.
    pub id: ProposalId,
    /// The manifest.
    pub proposal: Proposal,
    /// What it does.
    pub delta: Delta,
    /// The pins that it moves, as ballots name them.
    pub pins: Vec<PinMove>,
    /// What the journal says of it.
    pub record: ProposalRecord,
}

impl Case {
    /// What it does, in one line without a final stop: the subject of its commit.
    #[must_use]
    pub fn title(&self) -> String {
        let verb = match self.record.purpose {
            Purpose::Upgrade => "upgrade",
            Purpose::Realign => "realign",
            Purpose::Rollback => "roll back",
            Purpose::Heal => "heal",
            Purpose::Command => "change",
            Purpose::Amend => "amend",
            Purpose::Combined => "move",
        };
        if let Some(document) = &self.delta.document {
            return format!("{verb} the {}", document.kind.as_str());
        }
        match self.delta.files.as_slice() {
            [] => {}
            [file] => return format!("{verb} {}", file.path),
            files => return format!("{verb} {} files", files.len()),
        }
        match self.pins.as_slice() {
            [pin] if pin.from == pin.to => format!("{verb} {}", pin.module),
            [pin] => format!("{verb} {} to {}", pin.module, pin.to.short()),
            pins => format!("{verb} {} modules together", pins.len()),
        }
    }
}

/// The proposal with this identity, its manifest and delta checked against it.
///
/// # Errors
/// Usage when there is none; integrity when what is stored is not what was proposed.
pub fn case(journal: &(impl Stored + ?Sized), state: &State, id: ProposalId) -> PortResult<Case> {
    let Some(record) = state.proposals.get(&id) else {
        return Err(PortError::failed(format!("there is no proposal {}", id.short()))
            .kind(FailureKind::Usage)
            .hint("lambda-os proposal list"));
    };
    let proposal: Proposal = read(journal, &id.0, "the proposal")?;
    if proposal.change != record.change || proposal.track != record.track {
        return Err(damaged("the proposal", &id.0));
    }
    let delta: Delta = read(journal, &record.change.0, "the change")?;
    Ok(Case { id, proposal, pins: pins_of(&delta), delta, record: record.clone() })
}

/// What the ballots on a proposal add up to now.
///
/// # Errors
/// As [`rules`] and [`case`].
pub fn decide(
    journal: &(impl Stored + ?Sized),
    state: &State,
    governor: &dyn Governor,
    id: ProposalId,
    now_ms: i64,
) -> PortResult<Tally> {
    let (rules, case) = (rules(journal, state)?, case(journal, state, id)?);
    count(journal, state, governor, &rules, &case, now_ms)
}

fn count(
    journal: &(impl Stored + ?Sized),
    state: &State,
    governor: &dyn Governor,
    rules: &Rules,
    case: &Case,
    now_ms: i64,
) -> PortResult<Tally> {
    let question = Question {
        id: case.id,
        proposal: &case.proposal,
        pins: &case.pins,
        files: &case.delta.files,
        document: case.delta.document,
        narrowed: &policy::narrowed(rules, &case.record),
        decided: None,
        members: &rules.members,
        policy: rules.policy_cid,
        base: case.record.base,
        allow_unverified: rules.policy.allow_unverified,
        certified_ms: case.record.certified_wall_ms,
        now_ms,
    };
    let ballots = received(journal, &case.record.ballots)?;
    let modules: BTreeSet<_> = case.pins.iter().map(|pin| (&pin.module, pin.from)).collect();
    let mut elsewhere = Vec::new();
    for (other, record) in state.open_proposals() {
        let pins = record.pins.iter().any(|pin| modules.contains(&(&pin.module, pin.from)));
        // Which files others change, their ballots say.
        let files = !case.delta.files.is_empty() && record.purpose == Purpose::Command;
        if *other != case.id && (pins || files) {
            elsewhere.extend(received(journal, &record.ballots)?);
        }
    }
    Ok(governor.tally(&question, &ballots, &elsewhere))
}

/// The stored messages, each verified.
fn received(journal: &(impl Stored + ?Sized), messages: &[Cid]) -> PortResult<Vec<Received>> {
    let one = |message: &Cid| {
        let bytes = stored(journal, message, "a ballot")?;
        let verified = SignedBallot::from_message(&bytes).and_then(|signed| signed.verify());
        Ok(Received { message: *message, verified: verified.map_err(|error| error.to_string()) })
    };
    messages.iter().map(one).collect()
}

fn stored(journal: &(impl Stored + ?Sized), cid: &Cid, what: &str) -> PortResult<Vec<u8>> {
    journal.stored(cid)?.ok_or_else(|| {
        PortError::failed(format!("cannot read {what} {cid}: it is not in the state directory's objects/"))
            .kind(FailureKind::Integrity)
            .hint("nothing was changed; restore objects/ from a copy, and look with: lambda-os audit verify")
    })
}

fn read<T: serde::de::DeserializeOwned>(
    journal: &(impl Stored + ?Sized),
    cid: &Cid,
    what: &str,
) -> PortResult<T> {
    let bytes = stored(journal, cid, what)?;
    serde_json::from_slice(&bytes).map_err(|error| damaged(what, cid).because(error))
}

fn damaged(what: &str, cid: &Cid) -> PortError {
    PortError::failed(format!("cannot trust {what} {cid}: it is not what the journal says"))
        .kind(FailureKind::Integrity)
        .hint("nothing was changed; keep the state directory as it is, and look with: lambda-os audit verify")
}
