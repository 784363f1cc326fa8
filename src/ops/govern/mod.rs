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
mod early;
mod finality;
mod intake;
mod outcome;
mod program;
mod publish;
pub mod sync;

pub use draft::{Word, draft, next_seq};
pub use finality::{Adopted, adopt};
pub use intake::{Imported, Taken, import, take_in};
pub use outcome::{Certified, Settled, certify, recheck, settle, withdraw};
pub use program::{Redecided, redecide};

use std::collections::{BTreeMap, BTreeSet};

use finality::Held;

use crate::domain::change::{Delta, DocumentKind};
use crate::domain::governance::ballot::{SignedBallot, pins_of};
use crate::domain::governance::members::{MEMBERS_VERSION, Members};
use crate::domain::governance::newer::newer;
use crate::domain::governance::program::Decision;
use crate::domain::governance::tally::{Question, Received, Tally};
use crate::domain::governance::time::{Reading, Times};
use crate::domain::id::{Cid, ProposalId};
use crate::domain::plan::PinMove;
use crate::domain::policy::{POLICY_VERSION, Policy};
use crate::domain::proposal::{Proposal, ProposalRecord, Purpose};
use crate::domain::state::State;
use crate::ops::fan::fan;
use crate::ops::policy;
use crate::ports::{Clock, FailureKind, Governor, Journal, PortError, PortResult, Stored};

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
    refuse_newer("members document", &bytes, MEMBERS_VERSION)?;
    let members = Members::from_canonical(&bytes)
        .map_err(|error| damaged("the members document", &in_force.document).because(error))?;
    if members.epoch != in_force.epoch {
        return Err(damaged("the members document", &in_force.document));
    }
    let bytes = stored(journal, &policy_cid, "the policy")?;
    refuse_newer("policy", &bytes, POLICY_VERSION)?;
    let policy =
        Policy::from_canonical(&bytes).map_err(|error| damaged("the policy", &policy_cid).because(error))?;
    Ok(Rules { members, members_cid: in_force.document, policy, policy_cid })
}

/// A document of a newer version is no damage, and nothing is decided by it.
fn refuse_newer(what: &str, document: &[u8], known: u32) -> PortResult<()> {
    newer(document, known).map_or(Ok(()), |version| {
        Err(PortError::failed(format!(
            "cannot decide by the {what} in force: it has version {version}, and this program knows up to {known}"
        ))
        .hint("use the newer lambda-os that put it in force; nothing was changed"))
    })
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
    /// The members document that it puts in force.
    pub successor: Option<Members>,
    /// What the journal says of it.
    pub record: ProposalRecord,
}

impl Case {
    /// What the program decided that alone decides on the track, newest; `None` where people decide.
    fn decided(&self, rules: &Rules) -> Option<&Decision> {
        let program = rules.members.tracks.get(&self.proposal.track)?.program?;
        self.record.decided.get(&program).map(|decided| &decided.decision)
    }

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
    let successor = match delta.document.filter(|it| it.kind == DocumentKind::Members) {
        None => None,
        Some(document) => {
            let bytes = stored(journal, &document.new, "the next members document")?;
            let next = Members::from_canonical(&bytes)
                .map_err(|error| damaged("the next members document", &document.new).because(error))?;
            Some(next)
        }
    };
    Ok(Case { id, proposal, pins: pins_of(&delta), successor, delta, record: record.clone() })
}

/// This moment, by both clocks and the journal.
pub fn now(state: &State, clock: &dyn Clock) -> Times {
    let boot = clock.boot();
    state.time.at(Reading { wall_ms: clock.wall_ms(), boot: &boot, mono_ms: clock.mono_ms() })
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
    clock: &dyn Clock,
) -> PortResult<Tally> {
    let (rules, case) = (rules(journal, state)?, case(journal, state, id)?);
    let held = finality::held(journal, &rules, &case)?;
    count(journal, state, governor, &rules, &case, held.as_ref(), now(state, clock))
}

fn count(
    journal: &(impl Stored + ?Sized),
    state: &State,
    governor: &dyn Governor,
    rules: &Rules,
    case: &Case,
    held: Option<&Held>,
    now: Times,
) -> PortResult<Tally> {
    let heard = heard(journal, state, rules, case)?;
    let mut narrowed = policy::narrowed(rules, &case.record, now);
    let mut decided = None;
    if program::has_a_say(rules, case) {
        let plain = heard.tally(state, governor, rules, case, now);
        let said = program::said(journal, rules, case, &plain, now)?;
        narrowed.extend(said.narrowed);
        decided = said.decided;
    }
    let question = Question {
        narrowed: &narrowed,
        decided: decided.as_ref(),
        certified: held.map(Held::is_final),
        ..heard.question(state, rules, case, now)
    };
    Ok(governor.tally(&question, &heard.ballots, &heard.elsewhere))
}

/// What was said, on a proposal and on those that bear on it.
struct Heard {
    ballots: Vec<Received>,
    elsewhere: Vec<Received>,
    /// Ballots that are part of the certificates of others.
    is_final: BTreeMap<Cid, BTreeSet<String>>,
}

impl Heard {
    /// The question without anything that narrows, and without a certificate.
    fn question<'a>(
        &'a self,
        state: &'a State,
        rules: &'a Rules,
        case: &'a Case,
        now: Times,
    ) -> Question<'a> {
        Question {
            id: case.id,
            proposal: &case.proposal,
            pins: &case.pins,
            files: &case.delta.files,
            document: case.delta.document,
            narrowed: &[],
            members: &rules.members,
            successor: case.successor.as_ref(),
            policy: rules.policy_cid,
            base: case.record.base,
            allow_unverified: rules.policy.allow_unverified,
            revoked: &state.revoked,
            decided: None,
            certified: None,
            final_elsewhere: &self.is_final,
            now,
        }
    }

    /// What the ballots add up to by themselves.
    fn tally(&self, state: &State, governor: &dyn Governor, rules: &Rules, case: &Case, now: Times) -> Tally {
        governor.tally(&self.question(state, rules, case, now), &self.ballots, &self.elsewhere)
    }
}

fn heard(journal: &(impl Stored + ?Sized), state: &State, rules: &Rules, case: &Case) -> PortResult<Heard> {
    let ballots = received(journal, &case.record.ballots)?;
    let modules: BTreeSet<_> = case.pins.iter().map(|pin| (&pin.module, pin.from)).collect();
    let mut elsewhere = Vec::new();
    let mut final_elsewhere: BTreeMap<Cid, BTreeSet<String>> = BTreeMap::new();
    for (other, record) in state.open_proposals() {
        let pins = record.pins.iter().any(|pin| modules.contains(&(&pin.module, pin.from)));
        // Which files or documents others change, their ballots say.
        let files = !case.delta.files.is_empty() && record.purpose == Purpose::Command;
        let documents = case.delta.document.is_some() && record.purpose == Purpose::Amend;
        if *other == case.id || !(pins || files || documents) {
            continue;
        }
        elsewhere.extend(received(journal, &record.ballots)?);
        if record.certificate.is_some() {
            let other = self::case(journal, state, *other)?;
            for (message, voter) in finality::held(journal, rules, &other)?.iter().flat_map(Held::approvals) {
                final_elsewhere.entry(message).or_default().insert(voter.to_owned());
            }
        }
    }
    Ok(Heard { ballots, elsewhere, is_final: final_elsewhere })
}

/// What the programs that have a say on a proposal are given now.
///
/// # Errors
/// As [`rules`] and [`case`].
pub fn program_input(
    journal: &(impl Stored + ?Sized),
    state: &State,
    governor: &dyn Governor,
    id: ProposalId,
    clock: &dyn Clock,
) -> PortResult<Vec<u8>> {
    let (rules, case, now) = (rules(journal, state)?, case(journal, state, id)?, now(state, clock));
    let plain = heard(journal, state, &rules, &case)?.tally(state, governor, &rules, &case, now);
    program::given(journal, &rules, &case, &plain, now)
}

/// Ask the programs that have a say on a proposal, and journal what they say where it is new.
fn consult(
    journal: &mut dyn Journal,
    state: &mut State,
    governor: &dyn Governor,
    rules: &Rules,
    id: ProposalId,
    clock: &dyn Clock,
) -> PortResult<()> {
    let case = case(journal, state, id)?;
    let Some(executor) = governor.executor().filter(|_| program::has_a_say(rules, &case)) else {
        return Ok(());
    };
    let now = now(state, clock);
    let plain = heard(journal, state, rules, &case)?.tally(state, governor, rules, &case, now);
    program::ask(journal, state, executor, rules, &case, &plain, now)
}

/// The stored messages, each verified.
fn received(journal: &(impl Stored + ?Sized), messages: &[Cid]) -> PortResult<Vec<Received>> {
    let load = |message: &Cid| Ok((*message, stored(journal, message, "a ballot")?));
    let stored = messages.iter().map(load).collect::<PortResult<Vec<(Cid, Vec<u8>)>>>()?;
    Ok(fan(&stored, |(message, bytes)| {
        let verified = SignedBallot::from_message(bytes).and_then(|signed| signed.verify());
        Received { message: *message, verified: verified.map_err(|error| error.to_string()) }
    }))
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
