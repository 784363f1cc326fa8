//! By the right that the policy's bounds give: what is known of a change, its certificate, and checking
//! that again against the journal.

use crate::domain::event::Event;
use crate::domain::governance::bounded::{
    self, BOUNDED_CERTIFICATE_VERSION, BoundedCertificate, BoundedError, not_strong,
};
use crate::domain::health::Claims;
use crate::domain::history::HistoryLimits;
use crate::domain::id::{Cid, ModuleName, ProposalId};
use crate::domain::ladder;
use crate::domain::plan::PinMove;
use crate::domain::policy::bounds::{Extent, PinExtent};
use crate::domain::proposal::{ProposalRecord, Purpose};
use crate::domain::state::State;
use crate::ops::authority::Warrant;
use crate::ops::govern;
use crate::ops::policy;
use crate::ports::{FailureKind, Journal, PortError, PortResult, Stored};

use super::One;

/// What one application within bounds rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What is known of the change.
    pub extent: Extent,
    /// What verification says of the tree that it gives.
    pub claims: Claims,
}

impl One<'_, '_> {
    /// What is known of the change, when it is within bounds; else why it waits for people. Cheap: nothing
    /// is verified for what is out of bounds anyway.
    pub(super) fn extent(&self) -> PortResult<Result<Extent, String>> {
        let Some(record) = self.state.proposals.get(&self.id) else {
            return Ok(Err("it is not known any more".to_owned()));
        };
        let Some(bounds) = &self.rules.policy.bounds else {
            return Ok(Err("the policy states no bounds".to_owned()));
        };
        if let Some(why) = left_to_people(record) {
            return Ok(Err(why));
        }
        if let Some(held) = record.pins.iter().find(|pin| self.state.holds.contains_key(&pin.module)) {
            return Ok(Err(format!("{} is held", held.module)));
        }
        let times = policy::now(self.state, self.world.clock);
        let pins =
            record.pins.iter().map(|pin| self.pin(pin, times.checked_ms)).collect::<PortResult<Vec<_>>>()?;
        let enacted_today = ladder::of_the_day(&self.state.enacted, times.checked_ms);
        let extent = Extent { pins, enacted_today };
        let exceeded = bounds.exceeded(&extent);
        Ok(if exceeded.is_empty() { Ok(extent) } else { Err(exceeded.join("; ")) })
    }

    fn pin(&self, pin: &PinMove, checked_ms: i64) -> PortResult<PinExtent> {
        let module = self.discovery.modules.iter().find(|module| module.name == pin.module);
        let commits = match module {
            _ if pin.from == pin.to => Some(0),
            None => None,
            Some(module) => {
                let none = HistoryLimits { commits: 0, files: 0 };
                // Not whole means that it is not known.
                let forward = self.world.sources.history(module, pin.from, pin.to, none)?;
                let back = self.world.sources.history(module, pin.to, pin.from, none)?;
                let known = forward.incomplete.is_none() && back.incomplete.is_none() && back.total == 0;
                known.then_some(u64::from(forward.total))
            }
        };
        let seen = module.map(|module| policy::first_seen(self.world.sources, self.state, module, pin.to));
        let seen = seen.and_then(|seen| seen.ok().flatten());
        let age_ms = seen.map(|seen| checked_ms.saturating_sub(seen));
        Ok(PinExtent { module: pin.module.clone(), commits, age_ms })
    }
}

/// Why a proposal is no machine's to enact, a sentence without a final stop.
fn left_to_people(record: &ProposalRecord) -> Option<String> {
    if !matches!(record.purpose, Purpose::Upgrade | Purpose::Realign) {
        return Some("somebody asked for it, and people decide".to_owned());
    }
    let judged = record.judged.as_ref().filter(|judged| judged.tree == record.tree);
    if let Some(denied) = judged.and_then(|judged| judged.denied.first()) {
        return Some(format!("the policy denies it: {denied}"));
    }
    judged
        .is_some_and(|judged| judged.review)
        .then(|| "a rule of the policy asks for a person's look".to_owned())
}

/// Make the certificate of a proposal within bounds.
///
/// # Errors
/// Integrity when the policy does not allow it, or the journal does not say what it rests on; as
/// [`govern::rules`] and [`govern::case`]; when the journal cannot be written.
pub(in crate::ops) fn certify(
    journal: &mut dyn Journal,
    state: &State,
    grant: &Grant,
    id: ProposalId,
    now_ms: i64,
) -> PortResult<Warrant> {
    let (rules, case) = (govern::rules(journal, state)?, govern::case(journal, state, id)?);
    let moved: Vec<&ModuleName> = case.pins.iter().map(|pin| &pin.module).collect();
    if let Some(why) = not_strong(&grant.claims, &moved) {
        return Err(PortError::failed(format!("cannot enact {} without ballots: {why}", id.short()))
            .kind(FailureKind::ApprovalsMissing));
    }
    let wrong = |error: BoundedError| {
        PortError::failed(format!("cannot certify that {} is within bounds", id.short()))
            .kind(FailureKind::Integrity)
            .because(error)
            .hint("nothing was applied; look with: lambda-os audit verify")
    };
    let certificate = BoundedCertificate {
        v: BOUNDED_CERTIFICATE_VERSION,
        proposal: case.proposal,
        delta: case.delta,
        members: rules.members_cid,
        bounded_by: rules.policy,
        extent: grant.extent.clone(),
        claims: grant.claims.clone(),
        base: case.record.base,
        at_ms: now_ms,
    };
    let proven = bounded::verify(&certificate, &rules.members_cid, &rules.policy_cid).map_err(wrong)?;
    journalled(state, id, &certificate).map_err(wrong)?;
    let bytes = certificate.to_canonical().map_err(|error| wrong(error.into()))?;
    let certificate = journal.store(&bytes)?;
    let entry = journal.append(&id.short(), &Event::ProposalCertified { proposal: id, certificate })?;
    let epoch = rules.members.epoch;
    Ok(Warrant {
        certificate,
        entry,
        proposal: proven.proposal,
        change: proven.change,
        said: format!(
            "Enacted within the bounds that the policy states (members of epoch {epoch}); nobody voted.\nVerified: {}.",
            case.record.verification.map_or_else(|| "nothing".to_owned(), |it| it.claims.to_string())
        ),
    })
}

/// Check a stored certificate again.
///
/// # Errors
/// Integrity when it does not prove this proposal now.
pub(in crate::ops) fn recheck(
    journal: &(impl Stored + ?Sized),
    state: &State,
    id: ProposalId,
    cid: &Cid,
    held: &BoundedCertificate,
) -> PortResult<()> {
    let rules = govern::rules(journal, state)?;
    let wrong = |error: BoundedError| {
        PortError::failed(format!(
            "the certificate {cid} does not prove that {} is within bounds",
            id.short()
        ))
        .kind(FailureKind::Integrity)
        .because(error)
        .hint("nothing was applied; keep the state directory as it is, and look with: lambda-os audit verify")
    };
    let proven = bounded::verify(held, &rules.members_cid, &rules.policy_cid).map_err(wrong)?;
    if proven.proposal != id {
        return Err(wrong(BoundedError::Apart("it is for another proposal")));
    }
    journalled(state, id, held).map_err(wrong)
}

/// Whether the journal says what a certificate rests on.
fn journalled(state: &State, id: ProposalId, held: &BoundedCertificate) -> Result<(), BoundedError> {
    let not = |why: &str| Err(BoundedError::NotJournalled(why.to_owned()));
    let Some(record) = state.proposals.get(&id) else { return not("it knows no such proposal") };
    if !state.enacted.iter().any(|one| one.proposal == id) {
        return not("nobody began to enact it within bounds");
    }
    let claims = held.claims.to_canonical().map(|bytes| Cid::of(&bytes))?;
    if record.verified().map(|it| it.claims) != Some(claims) || held.claims.tree != record.tree {
        return not("it was not verified so");
    }
    let unknown = held.claims.claims.iter().find(|claim| {
        let known = state.verdicts.on(&claim.module, &claim.key);
        !known.is_some_and(|known| known.verdict.is_strong() && !known.flaky)
    });
    if let Some(claim) = unknown {
        return not(&format!("{} is not known to be strongly healthy with it", claim.module));
    }
    if let Some(held) = record.pins.iter().find(|pin| state.holds.contains_key(&pin.module)) {
        return not(&format!("{} is held", held.module));
    }
    left_to_people(record).map_or(Ok(()), |why| not(&why))
}
