//! Finality: the certificate that a proposal has by ballots, made once and then held to.
//!
//! In: what the journal names. Out: a certificate that proves the approval under the rules in force,
//! or none. What was said beside it is evidence: it takes nothing back.

use std::collections::BTreeSet;

use super::{Case, Rules, case, damaged, now, rules, stored};
use crate::domain::audit::entry::Entry;
use crate::domain::event::Event;
use crate::domain::governance::ballot::SignedBallot;
use crate::domain::governance::certificate::{self, Approval, Certificate, Proven};
use crate::domain::governance::program::Decision;
use crate::domain::governance::signature;
use crate::domain::governance::tally::{Counted, Final, Tally};
use crate::domain::governance::time::Times;
use crate::domain::id::{Cid, ProposalId};
use crate::domain::proposal::Stage;
use crate::domain::state::State;
use crate::ports::{Clock, FailureKind, Journal, PortError, PortResult, Stored};

/// A valid certificate by ballots that the journal names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// The certificate, in `objects/`.
    pub(super) certificate: Cid,
    /// What it proves.
    pub(super) proven: Proven,
    approvals: BTreeSet<Cid>,
    checked_ms: i64,
}

impl Held {
    /// What the tally needs of it.
    pub(super) fn is_final(&self) -> Final<'_> {
        Final { approvals: &self.approvals, checked_ms: self.checked_ms }
    }

    /// The approvals in it: each message with whom it counts for.
    pub(super) fn approvals(&self) -> impl Iterator<Item = (Cid, &str)> {
        approvals(&self.proven).map(|ballot| (ballot.message, ballot.voter.as_str()))
    }
}

/// The certificate that a proposal has, when it is one by ballots and proves this proposal under the
/// rules in force. One of another kind, or of other rules, is none.
///
/// # Errors
/// Integrity when what the journal names is missing or damaged.
pub(super) fn held(journal: &(impl Stored + ?Sized), rules: &Rules, case: &Case) -> PortResult<Option<Held>> {
    let Some(cid) = case.record.certificate else { return Ok(None) };
    let bytes = stored(journal, &cid, "the certificate")?;
    let Some(proven) =
        Certificate::from_canonical(&bytes).ok().and_then(|held| proves(rules, case, &held).ok())
    else {
        return Ok(None);
    };
    Ok(Some(Held {
        certificate: cid,
        approvals: approvals(&proven).map(|ballot| ballot.message).collect(),
        checked_ms: case.record.certified_checked_ms.unwrap_or(i64::MAX),
        proven,
    }))
}

/// The approvals that a certificate rests on.
fn approvals(proven: &Proven) -> impl Iterator<Item = &Counted> {
    let successors = proven.tally.successor.iter().flat_map(|it| &it.counted);
    proven.tally.counted.iter().chain(successors).filter(|ballot| ballot.is_approval())
}

/// What a certificate proves of this proposal by the rules in force, or why it does not.
fn proves(rules: &Rules, case: &Case, held: &Certificate) -> Result<Proven, String> {
    let proven = certificate::verify(held, &rules.members_cid).map_err(|error| error.to_string())?;
    if proven.proposal != case.id {
        return Err("it is for another proposal".to_owned());
    }
    if held.policy != rules.policy_cid || held.allow_unverified != rules.policy.allow_unverified {
        return Err("another policy is in force".to_owned());
    }
    let rule = rules.members.tracks.get(&case.proposal.track);
    if rule.is_some_and(|rule| rule.strict_base) && held.base != case.record.base {
        return Err("it was counted on another base, and the track is strict about it".to_owned());
    }
    Ok(proven)
}

/// Make the certificate of a proposal that was counted as approved.
///
/// # Errors
/// Integrity when it would not prove what was counted; when the journal cannot be written.
pub(super) fn make(
    journal: &mut dyn Journal,
    rules: &Rules,
    case: &Case,
    tally: &Tally,
    now: Times,
) -> PortResult<(Cid, Proven)> {
    let failed =
        |kind| PortError::failed(format!("cannot certify the proposal {}", case.id.short())).kind(kind);
    let mut ballots = BTreeSet::new();
    for message in rests_on(rules, case, tally) {
        let signed = SignedBallot::from_message(&stored(journal, &message, "a ballot")?)
            .map_err(|error| damaged("a ballot", &message).because(error))?;
        ballots.insert(Approval { text: signed.text, signature: signature::to_armor(&signed.signature) });
    }
    let decision = case.decided(rules).cloned();
    let certificate = Certificate {
        v: Certificate::version_of(case.successor.as_ref(), decision.as_ref()),
        proposal: case.proposal.clone(),
        delta: case.delta.clone(),
        members: rules.members.clone(),
        successor: case.successor.clone(),
        decision,
        policy: rules.policy_cid,
        allow_unverified: rules.policy.allow_unverified,
        base: case.record.base,
        at_ms: now.wall_ms,
        ballots: ballots.into_iter().collect(),
    };
    let proven = certificate::verify(&certificate, &rules.members_cid)
        .map_err(|error| failed(FailureKind::Integrity).because(error))?;
    let bytes = certificate.to_canonical().map_err(|error| failed(FailureKind::Failed).because(error))?;
    Ok((journal.store(&bytes)?, proven))
}

/// The ballots that a certificate must hold to be counted again as they were: those that count, and
/// those by which somebody who has a delegate spoke, whatever came of it.
fn rests_on(rules: &Rules, case: &Case, tally: &Tally) -> BTreeSet<Cid> {
    let successors = tally.successor.iter().flat_map(|it| &it.counted);
    let counted = tally.counted.iter().chain(successors).map(|ballot| ballot.message);
    let documents = [Some(&rules.members), case.successor.as_ref()];
    let delegates = |voter: &str| {
        let track = case.proposal.track;
        let of = documents.iter().flatten().filter_map(|members| members.principal(voter));
        of.into_iter().any(|principal| principal.delegates.contains_key(&track))
    };
    let spoke = tally.ignored.iter().filter(|one| one.why.is_spoken());
    let spoke = spoke.filter(|one| one.voter.as_deref().is_some_and(delegates)).map(|one| one.message);
    counted.chain(spoke).collect()
}

/// Journal that a proposal is certified.
pub(super) fn record(journal: &mut dyn Journal, id: ProposalId, certificate: Cid) -> PortResult<Entry> {
    journal.append(&id.short(), &Event::ProposalCertified { proposal: id, certificate })
}

/// What became of a certificate that came from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adopted {
    /// It is journalled: the proposal is certified here too.
    Certified(ProposalId),
    /// The proposal has a certificate here already.
    Known(ProposalId),
    /// It proves nothing here; nothing was journalled.
    Refused(String),
}

/// Take in a certificate that others made: any that is valid is final, whichever ballots are here.
///
/// # Errors
/// As [`rules`]; when the journal cannot be read or written.
pub fn adopt(
    journal: &mut dyn Journal,
    state: &State,
    bytes: &[u8],
    clock: &dyn Clock,
) -> PortResult<Adopted> {
    let rules = rules(journal, state)?;
    let refused = |why: String| Ok(Adopted::Refused(why));
    let certificate = match Certificate::from_canonical(bytes) {
        Ok(certificate) => certificate,
        Err(error) => return refused(error.to_string()),
    };
    let Some(id) = certificate.proposal.id().ok().filter(|id| state.proposals.contains_key(id)) else {
        return refused("it is for a proposal that is not known here".to_owned());
    };
    let case = case(journal, state, id)?;
    if !matches!(case.record.stage, Stage::Open | Stage::Applying { .. } | Stage::Stuck { .. }) {
        return refused(format!("the proposal {} is over here", id.short()));
    }
    if held(journal, &rules, &case)?.is_some() {
        return Ok(Adopted::Known(id));
    }
    if certificate.at_ms > now(state, clock).wall_ms {
        return refused("it was counted at a moment that has not come here".to_owned());
    }
    let proven = match proves(&rules, &case, &certificate) {
        Ok(proven) => proven,
        Err(why) => return refused(why),
    };
    // Nobody signs what a program decides: it must have decided the same here.
    let same = proven.decision.as_ref().is_none_or(|theirs| {
        let what = |it: &Decision| (it.program, it.input, it.output, it.verdict);
        case.decided(&rules).is_some_and(|ours| what(ours) == what(theirs))
    });
    if !same {
        return refused("it rests on what a program decided, and here it did not decide that".to_owned());
    }
    let certificate = journal.store(bytes)?;
    record(journal, id, certificate)?;
    Ok(Adopted::Certified(id))
}
