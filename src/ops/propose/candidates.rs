//! Which pins would move together now: the steps of the plan, and pins whose places disagree.
//!
//! One component of the graph is one candidate: its members that are behind move, and those whose
//! places disagree are put right with them. Only what is up to date or ahead of its upstream is
//! realigned: to what the superproject's HEAD records, whatever the lock says.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::graph::Graph;
use crate::domain::id::ModuleName;
use crate::domain::pin::PinCheck;
use crate::domain::plan::{PinMove, Plan};
use crate::domain::proposal::{Purpose, Track};
use crate::domain::upgrade::{Status, Upgrade};

/// Pins that would move together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// By module. A pin that is only put right has equal ends.
    pub(super) pins: Vec<PinMove>,
    pub(super) purpose: Purpose,
    pub(super) track: Track,
    /// What to know about it, each a sentence without a final stop.
    pub(super) notes: Vec<String>,
}

/// By which rules moving these modules is decided: leaf where no other module depends on them.
#[must_use]
pub fn track_of(graph: &Graph, modules: &[ModuleName]) -> Track {
    if graph.blast_radius(modules).is_empty() { Track::Leaf } else { Track::Core }
}

/// Every candidate: realigns first, then the plan's steps in their order.
pub(super) fn candidates(
    plan: &Plan,
    graph: &Graph,
    checks: &[PinCheck],
    upgrades: &[Upgrade],
) -> Vec<Candidate> {
    let component: BTreeMap<&ModuleName, usize> = graph
        .components
        .iter()
        .enumerate()
        .flat_map(|(number, component)| component.members.iter().map(move |name| (name, number)))
        .collect();
    let mut realigns = realigns(&component, checks, upgrades);
    let mut steps = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let number = step.pins.first().and_then(|pin| component.get(&pin.module));
        let (more, notes) = number.and_then(|number| realigns.remove(number)).unwrap_or_default();
        let mut pins: Vec<PinMove> = step.pins.iter().cloned().chain(more).collect();
        pins.sort();
        let modules: Vec<ModuleName> = pins.iter().map(|pin| pin.module.clone()).collect();
        // The plan knows already of what is outside the component.
        let track = if step.affects > 0 { Track::Core } else { track_of(graph, &modules) };
        let mut all = step.notes.clone();
        let moves: BTreeSet<&ModuleName> = step.pins.iter().map(|pin| &pin.module).collect();
        let odd = checks.iter().filter(|check| check.is_incoherent() && moves.contains(&check.module));
        all.extend(odd.map(|check| format!("this makes the places of {} agree", check.module)));
        all.extend(notes);
        steps.push(Candidate { pins, purpose: Purpose::Upgrade, track, notes: all });
    }
    let alone = realigns.into_values().map(|(pins, notes)| {
        let modules: Vec<ModuleName> = pins.iter().map(|pin| pin.module.clone()).collect();
        let track = track_of(graph, &modules);
        Candidate { pins, purpose: Purpose::Realign, track, notes }
    });
    alone.chain(steps).collect()
}

/// Pins that stay where they are and whose places disagree, by component.
fn realigns(
    component: &BTreeMap<&ModuleName, usize>,
    checks: &[PinCheck],
    upgrades: &[Upgrade],
) -> BTreeMap<usize, (Vec<PinMove>, Vec<String>)> {
    let upgrades: BTreeMap<&ModuleName, &Upgrade> = upgrades.iter().map(|one| (&one.name, one)).collect();
    let mut found: BTreeMap<usize, (Vec<PinMove>, Vec<String>)> = BTreeMap::new();
    for check in checks.iter().filter(|check| check.is_incoherent()) {
        let (Some(upgrade), Some(number)) = (upgrades.get(&check.module), component.get(&check.module))
        else {
            continue;
        };
        let (Status::UpToDate | Status::Ahead, Some(at)) = (upgrade.status, upgrade.from) else { continue };
        let (pins, notes) = found.entry(*number).or_default();
        pins.push(PinMove { module: check.module.clone(), path: check.path.clone(), from: at, to: at });
        notes.push(format!(
            "the places of {} disagree now, and this makes them agree: {}",
            check.module, check.sentence
        ));
    }
    found
}
