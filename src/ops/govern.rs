//! Deciding: taking ballots in, counting them, and what follows from the count.
//!
//! In: signed messages, from `proposal approve` or from the inbox; the journal and what it adds up
//! to. Out: entries (`ballot.cast`, `ballot.refused`, `proposal.closed`, `proposal.certified`) and
//! tallies. Whoever calls has the journal open as its writer, and gives the state as of now:
//! after each call that may append, the state is another.
//!
//! A stored ballot is verified again whenever it is counted: what counts rests on signatures and on
//! the journal's chain, never on what an earlier run said about them.

use std::collections::BTreeSet;

use crate::domain::audit::entry::Entry;
use crate::domain::change::Delta;
use crate::domain::event::Event;
use crate::domain::governance::ballot::{Ballot, SignedBallot, pins_of};
use crate::domain::governance::certificate::{self, Approval, CERTIFICATE_VERSION, Certificate, Proven};
use crate::domain::governance::members::Members;
use crate::domain::governance::policy::Policy;
use crate::domain::governance::signature;
use crate::domain::governance::tally::{Question, Received, Tally, TallyState};
use crate::domain::id::{Cid, ProposalId};
use crate::domain::plan::PinMove;
use crate::domain::proposal::{Closure, Proposal, ProposalRecord, Stage};
use crate::domain::state::State;
use crate::domain::text;
use crate::ports::{FailureKind, Governor, Inbox, Journal, PortError, PortResult};

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
pub fn rules(journal: &dyn Journal, state: &State) -> PortResult<Rules> {
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

/// The proposal with this identity, its manifest and delta checked against it.
///
/// # Errors
/// Usage when there is none; integrity when what is stored is not what was proposed.
pub fn case(journal: &dyn Journal, state: &State, id: ProposalId) -> PortResult<Case> {
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
    journal: &dyn Journal,
    state: &State,
    governor: &dyn Governor,
    id: ProposalId,
    now_ms: i64,
) -> PortResult<Tally> {
    let (rules, case) = (rules(journal, state)?, case(journal, state, id)?);
    count(journal, state, governor, &rules, &case, now_ms)
}

fn count(
    journal: &dyn Journal,
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
        if *other != case.id && record.pins.iter().any(|pin| modules.contains(&(&pin.module, pin.from))) {
            elsewhere.extend(received(journal, &record.ballots)?);
        }
    }
    Ok(governor.tally(&question, &ballots, &elsewhere))
}

/// The stored messages, each verified.
fn received(journal: &dyn Journal, messages: &[Cid]) -> PortResult<Vec<Received>> {
    let one = |message: &Cid| {
        let bytes = stored(journal, message, "a ballot")?;
        let verified = SignedBallot::from_message(&bytes).and_then(|signed| signed.verify());
        Ok(Received { message: *message, verified: verified.map_err(|error| error.to_string()) })
    };
    messages.iter().map(one).collect()
}

/// What became of a message that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is a ballot, and is journalled.
    Cast {
        /// Which message.
        message: Cid,
        /// What it says.
        ballot: Box<Ballot>,
    },
    /// The same message was journalled before.
    Known {
        /// Which message.
        message: Cid,
    },
    /// It is no ballot that can count; journalled as refused.
    Refused {
        /// Which message.
        message: Cid,
        /// Why, as a sentence.
        reason: String,
    },
}

/// Take a signed message in: verify it, store it, journal it.
///
/// # Errors
/// As [`rules`], and when the journal cannot be written.
pub fn take_in(journal: &mut dyn Journal, state: &State, message: &[u8], now_ms: i64) -> PortResult<Taken> {
    let rules = rules(journal, state)?;
    match examine(journal, state, &rules, message, now_ms)? {
        Ok((ballot, canonical)) => {
            let message = journal.store(&canonical)?;
            let known = state.proposals.get(&ballot.proposal).is_some_and(|r| r.ballots.contains(&message));
            if known {
                return Ok(Taken::Known { message });
            }
            let event = Event::BallotCast {
                proposal: ballot.proposal,
                ballot: message,
                voter: ballot.voter.clone(),
                choice: ballot.choice.as_str().to_owned(),
            };
            journal.append(&ballot.proposal.short(), &event)?;
            Ok(Taken::Cast { message, ballot: Box::new(ballot) })
        }
        Err(reason) => {
            let message = journal.store(message)?;
            let event = Event::BallotRefused { message, reason: text::clipped(&text::inert(&reason), 1000) };
            journal.append("ballot", &event)?;
            Ok(Taken::Refused { message, reason })
        }
    }
}

/// The ballot in a message with its one form, or why it cannot count.
fn examine(
    journal: &dyn Journal,
    state: &State,
    rules: &Rules,
    message: &[u8],
    now_ms: i64,
) -> PortResult<Result<(Ballot, Vec<u8>), String>> {
    let signed = match SignedBallot::from_message(message) {
        Ok(signed) => signed,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let verified = match signed.verify() {
        Ok(verified) => verified,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let ballot = &verified.ballot;
    let Some(record) = state.proposals.get(&ballot.proposal) else {
        return Ok(Err(format!(
            "it is on the proposal {}, which this workspace does not know",
            ballot.proposal.short()
        )));
    };
    if !matches!(record.stage, Stage::Open | Stage::Applying { .. } | Stage::Stuck { .. }) {
        return Ok(Err(format!("the proposal {} is decided already", ballot.proposal.short())));
    }
    let case = case(journal, state, ballot.proposal)?;
    let question = Question {
        id: case.id,
        proposal: &case.proposal,
        pins: &case.pins,
        members: &rules.members,
        policy: rules.policy_cid,
        base: case.record.base,
        // Rules that may change are for the tally: the ballot is kept.
        allow_unverified: true,
        certified_ms: None,
        now_ms,
    };
    let received = Received { message: Cid::of(message), verified: Ok(verified.clone()) };
    let alone = crate::domain::governance::tally::tally(&question, &[received], &[]);
    Ok(match alone.ignored.into_iter().next() {
        Some(ignored) => Err(ignored.reason),
        None => Ok((verified.ballot, signed.to_message())),
    })
}

/// What importing the inbox did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// Each message's files with what became of it.
    pub taken: Vec<(Vec<String>, Taken)>,
    /// What was left alone, each a sentence.
    pub left_alone: Vec<String>,
}

/// Take in what was dropped into the inbox. A file is removed only after its entry is durable.
///
/// `state` must give the journal's state as it is after what was appended before: a message that
/// stands there twice is known the second time by its identity.
///
/// # Errors
/// As [`take_in`], and when the inbox cannot be read.
pub fn import(
    journal: &mut dyn Journal,
    state: &State,
    inbox: &dyn Inbox,
    now_ms: i64,
) -> PortResult<Imported> {
    let content = inbox.messages()?;
    let mut imported = Imported { taken: Vec::new(), left_alone: content.left_alone };
    if content.messages.is_empty() {
        return Ok(imported);
    }
    if let Err(error) = rules(journal, state) {
        if error.kind == FailureKind::Usage {
            let count = content.messages.len();
            imported.left_alone.push(format!("{count} messages wait in the inbox: nobody is trusted yet"));
            return Ok(imported);
        }
        return Err(error);
    }
    let mut seen = BTreeSet::new();
    for message in content.messages {
        let taken = if seen.insert(Cid::of(&message.bytes)) {
            take_in(journal, state, &message.bytes, now_ms)?
        } else {
            Taken::Known { message: Cid::of(&message.bytes) }
        };
        if let Err(error) = inbox.forget(&message) {
            imported.left_alone.push(error.to_string());
        }
        imported.taken.push((message.files, taken));
    }
    Ok(imported)
}

/// Close the open proposals that were rejected or whose time ran out. Gives what was closed.
///
/// # Errors
/// As [`decide`], and when the journal cannot be written.
pub fn settle(
    journal: &mut dyn Journal,
    state: &State,
    governor: &dyn Governor,
    now_ms: i64,
) -> PortResult<Vec<(ProposalId, Closure)>> {
    let open: Vec<ProposalId> =
        state.open_proposals().filter(|(_, record)| record.stage == Stage::Open).map(|(id, _)| *id).collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let rules = rules(journal, state)?;
    let mut closed = Vec::new();
    for id in open {
        let case = case(journal, state, id)?;
        let tally = count(journal, state, governor, &rules, &case, now_ms)?;
        let (outcome, reason) = match tally.state {
            TallyState::Rejected => (Closure::Rejected, rejected_by(journal, &tally)?),
            TallyState::Expired => (Closure::Expired, "its time ran out undecided or unapplied".to_owned()),
            TallyState::Pending | TallyState::Approved => continue,
        };
        journal.append(&id.short(), &Event::ProposalClosed { proposal: id, outcome, by: None, reason })?;
        closed.push((id, outcome));
    }
    Ok(closed)
}

/// Who rejected and why, as a sentence.
fn rejected_by(journal: &dyn Journal, tally: &Tally) -> PortResult<String> {
    use crate::domain::governance::ballot::Choice;
    let mut said = Vec::new();
    for ballot in tally.counted.iter().filter(|ballot| matches!(ballot.choice, Choice::Reject | Choice::Veto))
    {
        let bytes = stored(journal, &ballot.message, "a ballot")?;
        let reason = SignedBallot::from_message(&bytes)
            .ok()
            .and_then(|signed| signed.text.parse::<Ballot>().ok())
            .and_then(|ballot| ballot.reason);
        said.push(match reason {
            Some(reason) => format!("{} ({reason})", ballot.voter),
            None => ballot.voter.clone(),
        });
    }
    Ok(text::clipped(&format!("rejected by {}", said.join(", ")), 2000))
}

/// Take a proposal back: whoever runs this workspace may, whatever the ballots say.
///
/// # Errors
/// Failed when it is not open; as [`case`]; when the journal cannot be written.
pub fn withdraw(journal: &mut dyn Journal, state: &State, id: ProposalId, reason: &str) -> PortResult<()> {
    let case = case(journal, state, id)?;
    if case.record.stage != Stage::Open {
        return Err(PortError::failed(format!(
            "cannot withdraw the proposal {}: it is not open",
            id.short()
        ))
        .hint("lambda-os proposal show says what became of it"));
    }
    let event = Event::ProposalClosed {
        proposal: id,
        outcome: Closure::Withdrawn,
        by: None,
        reason: text::clipped(&text::inert(reason), 1000),
    };
    journal.append(&id.short(), &event).map(|_| ())
}

/// A certificate that was made, with the entry that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// The certificate, in `objects/`.
    pub certificate: Cid,
    /// Its `proposal.certified`.
    pub entry: Entry,
    /// What it proves.
    pub proven: Proven,
}

/// Count, and make the certificate when the proposal is approved and its delay is over.
///
/// # Errors
/// Approvals missing when it is not approved or its delay runs; refused when it was rejected or
/// expired; integrity when the certificate would not prove what was counted; as [`decide`].
pub fn certify(
    journal: &mut dyn Journal,
    state: &State,
    governor: &dyn Governor,
    id: ProposalId,
    now_ms: i64,
) -> PortResult<Certified> {
    let (rules, case) = (rules(journal, state)?, case(journal, state, id)?);
    let tally = count(journal, state, governor, &rules, &case, now_ms)?;
    enough(&case, &tally)?;
    if case.record.certificate.is_some() && !tally.is_enactable(now_ms) {
        return Err(waits(&case.id, &tally));
    }
    let mut ballots = Vec::new();
    for counted in tally.approvals() {
        let signed = SignedBallot::from_message(&stored(journal, &counted.message, "a ballot")?)
            .map_err(|error| damaged("a ballot", &counted.message).because(error))?;
        ballots.push(Approval { text: signed.text, signature: signature::to_armor(&signed.signature) });
    }
    ballots.sort();
    let certificate = Certificate {
        v: CERTIFICATE_VERSION,
        proposal: case.proposal,
        delta: case.delta,
        members: rules.members,
        policy: rules.policy_cid,
        allow_unverified: rules.policy.allow_unverified,
        base: case.record.base,
        at_ms: now_ms,
        ballots,
    };
    let proven = certificate::verify(&certificate, &rules.members_cid).map_err(|error| {
        PortError::failed(format!("cannot certify the proposal {}", id.short()))
            .kind(FailureKind::Integrity)
            .because(error)
    })?;
    let bytes = certificate.to_canonical().map_err(|error| {
        PortError::failed(format!("cannot write the certificate of {}", id.short())).because(error)
    })?;
    let certificate = journal.store(&bytes)?;
    let entry = journal.append(&id.short(), &Event::ProposalCertified { proposal: id, certificate })?;
    if !tally.is_enactable(now_ms) {
        return Err(waits(&case.id, &tally));
    }
    Ok(Certified { certificate, entry, proven })
}

/// An error unless the tally says approved.
fn enough(case: &Case, tally: &Tally) -> PortResult<()> {
    let id = case.id.short();
    let hint = format!("lambda-os proposal show {id}");
    match tally.state {
        TallyState::Approved => Ok(()),
        TallyState::Rejected => Err(PortError::failed(format!("the proposal {id} was rejected"))
            .kind(FailureKind::Refused)
            .hint(hint)),
        TallyState::Expired => Err(PortError::failed(format!("the time of the proposal {id} ran out"))
            .kind(FailureKind::Refused)
            .hint("lambda-os run --once proposes anew what is still behind")),
        TallyState::Pending => {
            let why = match (&tally.unanswered, tally.threshold) {
                (Some(why), _) => why.clone(),
                (None, None) => {
                    format!("the members document has no rule for the track {}", case.proposal.track.as_str())
                }
                (None, Some(threshold)) => format!(
                    "{} of {threshold} approvals; not heard: {}",
                    tally.approvals().count(),
                    if tally.missing.is_empty() { "nobody".to_owned() } else { tally.missing.join(", ") }
                ),
            };
            Err(PortError::failed(format!("the proposal {id} is not approved: {why}"))
                .kind(FailureKind::ApprovalsMissing)
                .hint(format!("lambda-os proposal approve {id}")))
        }
    }
}

fn waits(id: &ProposalId, tally: &Tally) -> PortError {
    use crate::domain::governance::moment::Moment;
    let earliest = tally.earliest_enactment_ms.map(Moment::from_ms);
    let until = earliest.map_or_else(String::new, |moment| format!(" until {moment}"));
    PortError::failed(format!("the proposal {} is approved, and waits{until}", id.short()))
        .kind(FailureKind::ApprovalsMissing)
        .hint("the track's delay runs from its certificate; apply it again after that")
}

/// Check a stored certificate again: it proves this proposal under the members document and the
/// policy in force. For whoever acts on it: applying, recovering.
///
/// # Errors
/// Integrity when it does not; as [`rules`].
pub fn recheck(
    journal: &dyn Journal,
    state: &State,
    id: ProposalId,
    certificate: &Cid,
) -> PortResult<Proven> {
    let rules = rules(journal, state)?;
    let wrong = || {
        PortError::failed(format!(
            "the certificate {certificate} does not prove that the proposal {} was approved",
            id.short()
        ))
        .kind(FailureKind::Integrity)
        .hint("nothing was applied; keep the state directory as it is, and look with: lambda-os audit verify")
    };
    let bytes = stored(journal, certificate, "the certificate")?;
    let held = Certificate::from_canonical(&bytes).map_err(|error| wrong().because(error))?;
    let proven = certificate::verify(&held, &rules.members_cid).map_err(|error| wrong().because(error))?;
    let ours = proven.proposal == id
        && held.policy == rules.policy_cid
        && held.allow_unverified == rules.policy.allow_unverified;
    if ours { Ok(proven) } else { Err(wrong()) }
}

fn stored(journal: &dyn Journal, cid: &Cid, what: &str) -> PortResult<Vec<u8>> {
    journal.load(cid)?.ok_or_else(|| {
        PortError::failed(format!("cannot read {what} {cid}: it is not in the state directory's objects/"))
            .kind(FailureKind::Integrity)
            .hint("nothing was changed; restore objects/ from a copy, and look with: lambda-os audit verify")
    })
}

fn read<T: serde::de::DeserializeOwned>(journal: &dyn Journal, cid: &Cid, what: &str) -> PortResult<T> {
    let bytes = stored(journal, cid, what)?;
    serde_json::from_slice(&bytes).map_err(|error| damaged(what, cid).because(error))
}

fn damaged(what: &str, cid: &Cid) -> PortError {
    PortError::failed(format!("cannot trust {what} {cid}: it is not what the journal says"))
        .kind(FailureKind::Integrity)
        .hint("nothing was changed; keep the state directory as it is, and look with: lambda-os audit verify")
}
