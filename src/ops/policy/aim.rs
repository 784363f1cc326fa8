//! Where upgrades go: the newest revision, or the newest one that is old enough for the policy.

use crate::domain::governance::time::Times;
use crate::domain::module::Module;
use crate::domain::policy::rules::MinimumAge;
use crate::domain::seen::SeenRevision;
use crate::domain::state::State;
use crate::domain::upgrade::{Relation, Status, Upgrade};
use crate::ops::govern;
use crate::ports::{PortResult, Sources, Stored};

const HOUR_MS: i64 = 60 * 60 * 1000;

/// The upgrades as the plan shall take them. A module whose upstream's tip is too young for the policy
/// goes to the newest revision that was its tip, is old enough and is still on the way there; without
/// any it has nowhere to go, and its reason says since when the tip is known.
///
/// # Errors
/// When the rules in force cannot be read.
pub fn aim(
    journal: &(impl Stored + ?Sized),
    sources: &dyn Sources,
    modules: &[Module],
    state: &State,
    upgrades: &[Upgrade],
    now: Times,
) -> PortResult<Vec<Upgrade>> {
    let mut aimed = upgrades.to_vec();
    if state.members.is_none() || state.policy.is_none() {
        return Ok(aimed);
    }
    let rules = govern::rules(journal, state)?.policy.rules;
    let Some(rule) = &rules.minimum_age else { return Ok(aimed) };
    for upgrade in aimed.iter_mut().filter(|upgrade| upgrade.status == Status::Behind) {
        if let Some(module) = modules.iter().find(|module| module.name == upgrade.name) {
            aim_one(sources, module, state.seen.tips(&module.name), rule, upgrade, now);
        }
    }
    Ok(aimed)
}

fn aim_one(
    sources: &dyn Sources,
    module: &Module,
    tips: &[SeenRevision],
    rule: &MinimumAge,
    upgrade: &mut Upgrade,
    now: Times,
) {
    let (Some(asked), Some(from), Some(tip)) = (rule.asked_ms(&module.name), upgrade.from, upgrade.to) else {
        return;
    };
    let age = |seen: &SeenRevision| now.checked_ms.saturating_sub(seen.checked_ms);
    let of_tip = tips.iter().find(|seen| seen.revision == tip).map_or(0, age);
    if of_tip >= asked {
        return;
    }
    let forward = |from, to| match sources.relation(module, from, to) {
        Ok(Relation::Counted { behind, ahead: 0 }) => Some(behind),
        _ => None,
    };
    let hours = |ms: i64| ms.max(0) / HOUR_MS;
    let young = format!(
        "its newest revision {} is known for {} h, and the policy asks for {} h",
        tip.short(),
        hours(of_tip),
        rule.hours
    );
    let old_enough = tips.iter().rev().filter(|seen| seen.revision != tip && age(seen) >= asked);
    let found = old_enough.map(|seen| seen.revision).find_map(|seen| {
        let commits = forward(from, seen).filter(|commits| *commits > 0)?;
        forward(seen, tip)?;
        Some((seen, commits))
    });
    (upgrade.to, upgrade.behind, upgrade.reason) = match found {
        Some((to, commits)) => (Some(to), Some(commits), format!("{young}: {} is old enough", to.short())),
        None => (None, upgrade.behind, young),
    };
}
