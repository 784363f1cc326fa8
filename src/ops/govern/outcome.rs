//! What follows from the count: certificates for what is approved, an end for what is not.

use super::{Case, case, consult, count, finality, now, rules, stored};
use crate::domain::audit::entry::Entry;
use crate::domain::event::Event;
use crate::domain::governance::ballot::{Ballot, Choice, SignedBallot};
use crate::domain::governance::certificate::{self, Certificate, Proven};
use crate::domain::governance::tally::{
    Counted, NarrowedBy, Narrower, Narrowing, Outcome, Tally, TallyState,
};
use crate::domain::id::{Cid, ProposalId};
use crate::domain::moment::Moment;
use crate::domain::proposal::{Closure, Stage};
use crate::domain::state::State;
use crate::domain::text;
use crate::ports::{Clock, FailureKind, Governor, Journal, PortError, PortResult, Stored};

/// What followed from the count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// What ended.
    pub closed: Vec<(ProposalId, Closure)>,
    /// What was certified.
    pub certified: Vec<ProposalId>,
}

/// Certify the open proposals that are approved, and close those that were rejected or whose time ran
/// out. What only narrows ends no proposal: it may pass.
///
/// # Errors
/// As [`super::decide`], and when the journal cannot be written.
pub fn settle(
    journal: &mut dyn Journal,
    state: &State,
    governor: &dyn Governor,
    clock: &dyn Clock,
) -> PortResult<Settled> {
    let open: Vec<ProposalId> =
        state.open_proposals().filter(|(_, record)| record.stage == Stage::Open).map(|(id, _)| *id).collect();
    let mut settled = Settled::default();
    // Before anybody is trusted there is nothing that could decide over what is open.
    if open.is_empty() || state.members.is_none() {
        return Ok(settled);
    }
    let rules = rules(journal, state)?;
    // What is certified or closed bears on those that come after it.
    let mut state = state.clone();
    for id in open {
        consult(journal, &mut state, governor, &rules, id, clock)?;
        let now = now(&state, clock);
        let case = case(journal, &state, id)?;
        let held = finality::held(journal, &rules, &case)?;
        let tally = count(journal, &state, governor, &rules, &case, held.as_ref(), now)?;
        let entry = match tally.state {
            TallyState::Approved if held.is_none() => {
                let (certificate, _) = finality::make(journal, &rules, &case, &tally, now)?;
                settled.certified.push(id);
                finality::record(journal, id, certificate)?
            }
            TallyState::Rejected if tally.outcome == Outcome::Against => {
                settled.closed.push((id, Closure::Rejected));
                let reason = rejected_by(journal, &tally)?;
                close(journal, id, Closure::Rejected, reason)?
            }
            TallyState::Expired => {
                settled.closed.push((id, Closure::Expired));
                close(journal, id, Closure::Expired, "its time ran out undecided or unapplied".to_owned())?
            }
            TallyState::Pending | TallyState::Approved | TallyState::Rejected => continue,
        };
        state.take(&entry);
    }
    Ok(settled)
}

fn close(journal: &mut dyn Journal, id: ProposalId, outcome: Closure, reason: String) -> PortResult<Entry> {
    journal.append(&id.short(), &Event::ProposalClosed { proposal: id, outcome, by: None, reason })
}

/// Who rejected and why, as a sentence.
fn rejected_by(journal: &(impl Stored + ?Sized), tally: &Tally) -> PortResult<String> {
    let mut said = Vec::new();
    let successors = tally.successor.iter().flat_map(|it| &it.counted);
    let mut against: Vec<&Counted> = tally
        .counted
        .iter()
        .chain(successors)
        .filter(|ballot| matches!(ballot.choice, Choice::Reject | Choice::Veto) && ballot.through.is_none())
        .collect();
    against.dedup_by_key(|ballot| ballot.message);
    if against.is_empty() {
        let why = tally.program.as_ref().and_then(|program| program.reason.as_deref()).unwrap_or_default();
        return Ok(text::clipped(&format!("rejected by the track's program: {}", text::inert(why)), 2000));
    }
    for ballot in against {
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

/// The certificate of a proposal that may be enacted now: the one that it has, or one that is made
/// when it is counted as approved. Its entry is journalled, again where it was before.
///
/// # Errors
/// Approvals missing when it is not approved, or something holds it up; refused when it was rejected or
/// expired, or the policy denies it; integrity when the certificate would not prove what was counted;
/// as [`super::decide`].
pub fn certify(
    journal: &mut dyn Journal,
    state: &State,
    governor: &dyn Governor,
    id: ProposalId,
    clock: &dyn Clock,
) -> PortResult<Certified> {
    let (rules, mut state) = (rules(journal, state)?, state.clone());
    consult(journal, &mut state, governor, &rules, id, clock)?;
    let (case, now) = (case(journal, &state, id)?, now(&state, clock));
    let held = finality::held(journal, &rules, &case)?;
    let tally = count(journal, &state, governor, &rules, &case, held.as_ref(), now)?;
    enough(&case, &tally)?;
    if held.is_some() && !tally.is_enactable() {
        return Err(waits(&case.id, &tally));
    }
    let (certificate, proven) = match held {
        Some(held) => (held.certificate, held.proven),
        None => finality::make(journal, &rules, &case, &tally, now)?,
    };
    let entry = finality::record(journal, id, certificate)?;
    if !tally.is_enactable() {
        return Err(waits(&case.id, &tally));
    }
    Ok(Certified { certificate, entry, proven })
}

/// An error unless the tally says approved.
fn enough(case: &Case, tally: &Tally) -> PortResult<()> {
    let id = case.id.short();
    let hint = format!("lambda-os proposal show {id}");
    if tally.state != TallyState::Approved
        && let Some(error) = held_up(&case.id, tally).filter(|error| error.kind == FailureKind::Refused)
    {
        return Err(error);
    }
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
                (None, Some(_)) if tally.outcome == Outcome::Enough => reasons(tally),
                (None, Some(threshold)) => {
                    let ours = waits_for("", tally.approving, Some(threshold), &tally.missing);
                    let theirs = tally
                        .successor
                        .iter()
                        .map(|it| waits_for("; by its successor ", it.approving, it.threshold, &it.missing));
                    std::iter::once(ours).chain(theirs).collect()
                }
            };
            Err(PortError::failed(format!("the proposal {id} is not approved: {why}"))
                .kind(FailureKind::ApprovalsMissing)
                .hint(format!("lambda-os proposal approve {id}")))
        }
    }
}

/// What is there of the approvals that one members document asks for, and who said nothing.
fn waits_for(by: &str, approving: u32, threshold: Option<u32>, missing: &[String]) -> String {
    let missing = if missing.is_empty() { "nobody".to_owned() } else { missing.join(", ") };
    let threshold = threshold.unwrap_or_default();
    format!("{by}{approving} of {threshold} approvals; not heard: {missing}")
}

fn reasons(tally: &Tally) -> String {
    let reasons: Vec<String> = tally.narrowed.iter().map(|one| text::inert(&one.reason)).collect();
    text::clipped(&reasons.join("; "), 2000)
}

/// What narrows it, as an error: refused where the policy or its program does.
fn held_up(id: &ProposalId, tally: &Tally) -> Option<PortError> {
    if tally.narrowed.is_empty() || tally.state == TallyState::Expired {
        return None;
    }
    let refused = |one: &Narrowing| {
        one.verdict == Narrower::Reject || matches!(one.by, NarrowedBy::Policy | NarrowedBy::Freeze)
    };
    let is_refused = tally.narrowed.iter().any(refused);
    let kind = if is_refused { FailureKind::Refused } else { FailureKind::ApprovalsMissing };
    let error = PortError::failed(format!("the proposal {} is held up: {}", id.short(), reasons(tally)));
    Some(error.kind(kind).hint(format!("lambda-os proposal show {}", id.short())))
}

/// Why what is approved is not enacted now.
fn waits(id: &ProposalId, tally: &Tally) -> PortError {
    if let Some(error) = held_up(id, tally) {
        return error;
    }
    let earliest = tally.earliest_enactment_ms.map(Moment::from_ms);
    let until = earliest.map_or_else(String::new, |moment| format!(" until {moment}"));
    let hint = if tally.suspended_until_ms.is_some() {
        "a quorum of vetoes suspends it; each ends at its time, or by a newer ballot of its voter"
    } else {
        "the track's delay runs from its certificate; apply it again after that"
    };
    PortError::failed(format!("the proposal {} is approved, and waits{until}", id.short()))
        .kind(FailureKind::ApprovalsMissing)
        .hint(hint)
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
