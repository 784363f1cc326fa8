//! The standing authority: making heal certificates, and checking them against the journal.
//!
//! A heal certificate is nobody's signature. It holds because the members document in force grants
//! healing, and because the journal says everything that it rests on: that this heal began, that the
//! module failed where it is, that it was verified strongly where it goes, and that it passes there now.

use crate::domain::event::Event;
use crate::domain::heal::certificate::{self, HEAL_CERTIFICATE_VERSION, Rests, Way};
use crate::domain::heal::{HealCertificate, HealCertificateError, OpenHeal, Rung};
use crate::domain::health::{Evidence, VerdictRecord};
use crate::domain::id::{Cid, ModuleName, ObjectId, ProposalId};
use crate::domain::proposal::{Purpose, Stage};
use crate::domain::state::State;
use crate::ops::authority::Warrant;
use crate::ops::govern::{self, Rules};
use crate::ports::{FailureKind, Journal, PortError, PortResult, Stored};

/// What one application under the standing authority rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which way.
    pub kind: Way,
    /// The rung that it is done on.
    pub rung: Rung,
    /// Sequence of its `heal.started`.
    pub started: u64,
    /// The module.
    pub module: ModuleName,
    /// Where its pin is.
    pub from: ObjectId,
    /// Where its pin goes.
    pub to: ObjectId,
    /// That it is bad where it is.
    pub bad: Option<Rests>,
    /// That it was verified strongly where it goes.
    pub good: Option<Rests>,
    /// That it passes there now.
    pub again: Option<Rests>,
}

/// Make the certificate of a proposal under the standing authority.
///
/// # Errors
/// Integrity when the members document does not grant it, or the journal does not say what it rests
/// on; as [`govern::rules`] and [`govern::case`]; when the journal cannot be written.
pub(in crate::ops) fn certify(
    journal: &mut dyn Journal,
    state: &State,
    grant: &Grant,
    id: ProposalId,
    now_ms: i64,
) -> PortResult<Warrant> {
    let (rules, case) = (govern::rules(journal, state)?, govern::case(journal, state, id)?);
    let epoch = rules.members.epoch;
    let certificate = HealCertificate {
        v: HEAL_CERTIFICATE_VERSION,
        kind: grant.kind,
        proposal: case.proposal,
        delta: case.delta,
        members: rules.members.clone(),
        members_cid: rules.members_cid,
        policy: rules.policy_cid,
        rung: grant.rung,
        started: grant.started,
        module: grant.module.clone(),
        from: grant.from,
        to: grant.to,
        bad: grant.bad,
        good: grant.good,
        again: grant.again,
        base: case.record.base,
        at_ms: now_ms,
    };
    let wrong = |error: HealCertificateError| {
        PortError::failed(format!("cannot certify that {} is healed by {}", grant.module, id.short()))
            .kind(FailureKind::Integrity)
            .because(error)
            .hint("nothing was applied; look with: lambda-os audit verify")
    };
    stopped(state, grant.kind, &grant.module)?;
    let granted = certificate::verify(&certificate, &rules.members_cid).map_err(wrong)?;
    journalled(journal, state, &rules, &certificate)?.map_err(wrong)?;
    if granted.proposal != id {
        return Err(wrong(HealCertificateError::Apart("it is for another proposal")));
    }
    let bytes = certificate.to_canonical().map_err(|error| wrong(error.into()))?;
    let certificate = journal.store(&bytes)?;
    let entry = journal.append(&id.short(), &Event::ProposalCertified { proposal: id, certificate })?;
    Ok(Warrant {
        certificate,
        entry,
        proposal: granted.proposal,
        change: granted.change,
        said: said(grant, epoch),
    })
}

fn said(grant: &Grant, epoch: u64) -> String {
    let Grant { module, from, to, started, .. } = grant;
    let what = match grant.kind {
        Way::Heal => format!(
            "{module} failed at {}, was verified at {} before, and passes there again.",
            from.short(),
            to.short()
        ),
        Way::Restore => format!(
            "{module} did not pass at {} in the workspace: the heal of entry {started} is undone.",
            from.short()
        ),
    };
    format!("{what}\nDone under the standing authority that the members document (epoch {epoch}) grants.")
}

/// Check a stored heal certificate again.
///
/// # Errors
/// Integrity when it does not prove this proposal now; refused when the module was held since.
pub(in crate::ops) fn recheck(
    journal: &(impl Stored + ?Sized),
    state: &State,
    id: ProposalId,
    cid: &Cid,
    held: &HealCertificate,
) -> PortResult<()> {
    let rules = govern::rules(journal, state)?;
    let wrong = |error: HealCertificateError| {
        PortError::failed(format!("the heal certificate {cid} does not prove {}", id.short()))
            .kind(FailureKind::Integrity)
            .because(error)
            .hint(
                "nothing was applied; keep the state directory as it is, and look with: lambda-os audit verify",
            )
    };
    let granted = certificate::verify(held, &rules.members_cid).map_err(wrong)?;
    if granted.proposal != id {
        return Err(wrong(HealCertificateError::Apart("it is for another proposal")));
    }
    journalled(journal, state, &rules, held)?.map_err(wrong)?;
    stopped(state, held.kind, &held.module)
}

/// Whether the journal says everything that a certificate rests on.
fn journalled(
    journal: &(impl Stored + ?Sized),
    state: &State,
    rules: &Rules,
    held: &HealCertificate,
) -> PortResult<Result<(), HealCertificateError>> {
    let not = |why: &str| Ok(Err(HealCertificateError::NotJournalled(why.to_owned())));
    let Some(open) = state.heals.open.as_ref().filter(|open| open.started == held.started) else {
        return not("no heal is under way that began there");
    };
    if held.policy != rules.policy_cid {
        return not("another policy is in force");
    }
    let purpose = held.proposal.id().ok().and_then(|id| state.proposals.get(&id)).map(|it| it.purpose);
    if purpose != Some(Purpose::Heal) {
        return not("the proposal is not one to heal");
    }
    let fits = match held.kind {
        Way::Heal => heals(state, open, held),
        Way::Restore => restores(state, open, held),
    };
    if let Err(why) = fits {
        return not(&why);
    }
    for (rests, at) in [(held.bad, held.from), (held.good, held.to), (held.again, held.to)] {
        let Some(rests) = rests else { continue };
        let bytes = journal.stored(&rests.evidence)?;
        let evidence = bytes.and_then(|bytes| serde_json::from_slice::<Evidence>(&bytes).ok());
        // A verdict on equal derivations rests on the evidence of another key, of another revision then.
        let inherited = |it: &Evidence| it.key != rests.key;
        let ours =
            evidence.is_some_and(|it| it.module == held.module && (it.revision == at || inherited(&it)));
        if !ours {
            return not("evidence that it names is missing, or about something else");
        }
    }
    Ok(Ok(()))
}

/// Whether a person stopped it since it was decided. The policy and the floors are asked again where it
/// is applied.
fn stopped(state: &State, kind: Way, module: &ModuleName) -> PortResult<()> {
    if kind == Way::Restore {
        return Ok(());
    }
    let held = state.holds.get(module).map(|reason| format!("it is held: {reason}"));
    held.map_or(Ok(()), |why| {
        Err(PortError::failed(format!("cannot heal {module}: {why}")).kind(FailureKind::Refused))
    })
}

/// What the journal must say of a move back.
fn heals(state: &State, open: &OpenHeal, held: &HealCertificate) -> Result<(), String> {
    let ends = (&open.module, open.from, open.to) == (&held.module, held.from, held.to);
    if !ends {
        return Err("the heal that began is of another module or between other revisions".to_owned());
    }
    let known = |rests: Option<Rests>, at, is: fn(&VerdictRecord) -> bool| {
        record(state, &held.module, rests).is_some_and(|record| record.revision == at && is(record))
    };
    if !known(held.bad, held.from, |record| record.base && record.verdict.is_bad()) {
        return Err("it is not known to be bad where it is".to_owned());
    }
    if !known(held.good, held.to, VerdictRecord::is_good) {
        return Err("it was not verified strongly where it goes, in the workspace itself".to_owned());
    }
    if !known(held.again, held.to, |record| record.verdict.is_strong() && !record.flaky) {
        return Err("it is not known to pass where it goes".to_owned());
    }
    Ok(())
}

/// What the journal must say of putting a pin back where it was.
fn restores(state: &State, open: &OpenHeal, held: &HealCertificate) -> Result<(), String> {
    let ends = (&open.module, open.from, open.to) == (&held.module, held.to, held.from);
    if !ends {
        return Err("it does not undo the heal that began".to_owned());
    }
    let healed = open.proposal.and_then(|id| state.proposals.get(&id));
    if !healed.is_some_and(|record| matches!(record.stage, Stage::Applied { .. })) {
        return Err("that heal was not applied".to_owned());
    }
    let Some(rests) = held.bad else { return Ok(()) };
    match record(state, &held.module, Some(rests)) {
        Some(record) if record.revision == held.from && !record.verdict.is_healthy() => Ok(()),
        _ => Err("it is not known to fail where it was taken".to_owned()),
    }
}

fn record<'a>(state: &'a State, module: &ModuleName, rests: Option<Rests>) -> Option<&'a VerdictRecord> {
    let rests = rests?;
    state.verdicts.on(module, &rests.key).filter(|record| record.evidence == rests.evidence)
}
