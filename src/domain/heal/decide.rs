//! What to do about each bad module. Pure: from what is known to one decision each.
//!
//! The order of the questions is the order of the answers: was it ever healthy here, did what it
//! sees change, are too many bad at once, is it frozen, is there a pin to go back to, may it be
//! touched. The failure itself is shown again, at both ends, before anything is applied; that is
//! not decided here.

use std::collections::BTreeMap;

use super::history::Now;
use super::{BREAKER, HealLimits, Reason, Stopped};
use crate::domain::health::{VerdictRecord, Verdicts};
use crate::domain::id::{Cid, ModuleName, ObjectId};
use crate::domain::report::ModuleHealth;

/// What is known.
pub struct Facts<'a> {
    /// Each module's verdict in the workspace as HEAD has it.
    pub rows: &'a [ModuleHealth],
    /// What verification found earlier.
    pub verdicts: &'a Verdicts,
    /// What is remembered of healing.
    pub heals: &'a super::Heals,
    /// Frozen modules, and why.
    pub holds: &'a BTreeMap<ModuleName, String>,
    /// Modules whose checkout must not be touched, and why.
    pub unclean: &'a BTreeMap<ModuleName, String>,
    /// The bounds.
    pub limits: HealLimits,
    /// The floor of the policy in force: whether a module may be at a revision, or why not.
    pub floor: &'a dyn Fn(&ModuleName, ObjectId) -> Result<(), String>,
    /// Both clocks.
    pub now: Now,
}

/// By what right something is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mandate {
    /// The members document grants it, and the rung allows it.
    Act,
    /// It is only proposed: why, as a sentence without a final stop.
    Propose(String),
    /// Nobody is trusted yet: it is only reported.
    Report,
}

/// One way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// Which module.
    pub module: ModuleName,
    /// The bad revision.
    pub from: ObjectId,
    /// The newest pin that was verified strongly here.
    pub to: ObjectId,
    /// The evidence that it is bad.
    pub bad: Cid,
    /// The evidence that it was verified at the target.
    pub good: Cid,
}

/// What to do about one bad module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Leave its pin where it is, and say why.
    Leave(Reason),
    /// Take its pin back, once the failure was shown again at both ends.
    Heal(Course),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decided {
    /// Each bad module, by name.
    pub modules: BTreeMap<ModuleName, Decision>,
    /// Set when too many are bad at once: then nothing is to be healed.
    pub stopped: Option<Stopped>,
}

/// Decide.
#[must_use]
pub fn decide(facts: &Facts<'_>) -> Decided {
    let mut modules = BTreeMap::new();
    let mut broken = 0;
    for row in facts.rows.iter().filter(|row| row.verdict.is_bad()) {
        let (Some(key), Some(from)) = (&row.key, row.revision) else { continue };
        let Some(record) = facts.verdicts.on(&row.name, key) else { continue };
        let was_healthy = facts.verdicts.of(&row.name).iter().any(|known| known.base && known.healthy_once);
        if was_healthy && !facts.holds.contains_key(&row.name) {
            broken += 1;
        }
        let decision =
            if was_healthy { regression(facts, record, from, row) } else { Err(Reason::NeverHealthy) };
        let decision = decision.map_or_else(Decision::Leave, Decision::Heal);
        modules.insert(row.name.clone(), decision);
    }
    let limit = facts.limits.max_rollbacks_per_cycle;
    let stopped = (broken > limit).then_some(Stopped { bad: broken, limit });
    if stopped.is_some() {
        for decision in modules.values_mut().filter(|decision| matches!(decision, Decision::Heal(_))) {
            *decision = Decision::Leave(Reason::MassFailure { bad: broken, limit });
        }
    }
    Decided { modules, stopped }
}

/// The way back for a module that was healthy once.
fn regression(
    facts: &Facts<'_>,
    record: &VerdictRecord,
    from: ObjectId,
    row: &ModuleHealth,
) -> Result<Course, Reason> {
    let module = &row.name;
    let known = facts.verdicts.of(module);
    if known.iter().any(|known| known.sees == record.sees && known.healthy_once) {
        return Err(Reason::Environment);
    }
    if let Some(reason) = facts.holds.get(module) {
        let reason = reason.clone();
        return Err(if facts.heals.is_frozen(module) {
            Reason::Frozen { reason }
        } else {
            Reason::Held { reason }
        });
    }
    let good = target(facts, module, from)?;
    if facts.heals.recent(module, &facts.limits, &facts.now) >= BREAKER {
        return Err(Reason::Frozen { reason: frozen_because() });
    }
    if let Some(reason) = facts.unclean.get(module) {
        return Err(Reason::Unclean { reason: reason.clone() });
    }
    if let Some(reason) = facts.heals.tried_just_now(module, from, good.revision, &facts.now) {
        return Err(Reason::NotConfirmed { reason });
    }
    Ok(Course { module: module.clone(), from, to: good.revision, bad: record.evidence, good: good.evidence })
}

/// The newest pin that may be gone back to.
fn target<'a>(facts: &Facts<'a>, module: &ModuleName, from: ObjectId) -> Result<&'a VerdictRecord, Reason> {
    let mut good = facts.verdicts.good_pins(module).peekable();
    if good.peek().is_some_and(|newest| newest.revision == from) {
        return Err(Reason::BelowIt);
    }
    let mut below = None;
    for record in good {
        if record.revision == from || facts.heals.is_bad(module, record.revision) {
            continue;
        }
        match (facts.floor)(module, record.revision) {
            Ok(()) => return Ok(record),
            Err(reason) => {
                below.get_or_insert(reason);
            }
        }
    }
    Err(below.map_or(Reason::NoGoodPin, |reason| Reason::BelowFloor { reason }))
}

/// What a module that the breaker froze is held for.
#[must_use]
pub fn frozen_because() -> String {
    format!("it was taken back {BREAKER} times within the window: a person is needed")
}
