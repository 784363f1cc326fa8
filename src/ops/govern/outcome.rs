//! What follows from the count: certificates for what is approved, an end for what is not.

use super::{Case, case, count, damaged, rules, stored};
use crate::domain::audit::entry::Entry;
use crate::domain::event::Event;
use crate::domain::governance::ballot::{Ballot, Choice, SignedBallot};
use crate::domain::governance::certificate::{self, Approval, CERTIFICATE_VERSION, Certificate, Proven};
use crate::domain::governance::signature;
use crate::domain::governance::tally::{Tally, TallyState};
use crate::domain::id::{Cid, ProposalId};
use crate::domain::moment::Moment;
use crate::domain::proposal::{Closure, Stage};
use crate::domain::state::State;
use crate::domain::text;
use crate::ports::{FailureKind, Governor, Journal, PortError, PortResult, Stored};

/// Close the open proposals that were rejected or whose time ran out. Gives what was closed.
///
/// # Errors
/// As [`super::decide`], and when the journal cannot be written.
pub fn settle(
    journal: &mut dyn Journal,
    state: &State,
    governor: &dyn Governor,
    now_ms: i64,
) -> PortResult<Vec<(ProposalId, Closure)>> {
    let open: Vec<ProposalId> =
        state.open_proposals().filter(|(_, record)| record.stage == Stage::Open).map(|(id, _)| *id).collect();
    // Before anybody is trusted there is nothing that could decide over what is open.
    if open.is_empty() || state.members.is_none() {
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
fn rejected_by(journal: &(impl Stored + ?Sized), tally: &Tally) -> PortResult<String> {
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
/// expired; integrity when the certificate would not prove what was counted; as [`super::decide`].
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
    journal: &(impl Stored + ?Sized),
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
