//! Which pins would move together now: the steps of the plan, and pins whose places disagree.
//!
//! One component of the graph is one candidate: its members that are behind move, and those whose
//! places disagree are put right with them. Only what is up to date or ahead of its upstream is
//! realigned: to what the superproject's HEAD records, whatever the lock says.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::candidates::{Candidates, GreenSet, Reason};
use crate::domain::graph::Graph;
use crate::domain::id::{ModuleName, ProposalId};
use crate::domain::pin::PinCheck;
use crate::domain::plan::{PinMove, Plan};
use crate::domain::proposal::{MAX_PINS, ProposalRecord, Purpose, Stage, Track, Verification};
use crate::domain::state::State;
use crate::domain::upgrade::{Status, Upgrade};

/// Pins that would move together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ops) struct Candidate {
    /// By module. A pin that is only put right has equal ends.
    pub(in crate::ops) pins: Vec<PinMove>,
    pub(in crate::ops) purpose: Purpose,
    pub(in crate::ops) track: Track,
    /// What to know about it, each a sentence without a final stop.
    pub(in crate::ops) notes: Vec<String>,
    /// What was verified: the tree, and the claims in `objects/`.
    pub(in crate::ops) verified: Option<Verification>,
}

/// By which rules moving these modules is decided: leaf where no other module depends on them.
#[must_use]
pub fn track_of(graph: &Graph, modules: &[ModuleName]) -> Track {
    if graph.blast_radius(modules).is_empty() { Track::Leaf } else { Track::Core }
}

/// What keeps a candidate from being proposed, whatever it would change.
pub(in crate::ops) fn in_the_way(state: &State, candidate: &Candidate) -> Option<String> {
    let refused =
        |pin: &PinMove| state.rejected.get(&pin.module).is_some_and(|refused| refused.contains(&pin.to));
    if candidate.pins.iter().all(refused) {
        let name = &candidate.pins[0].module;
        return Some(format!(
            "it was turned down; it comes back when its target moves, or after lambda-os unhold {name}"
        ));
    }
    let bad = |pin: &&PinMove| state.heals.is_bad(&pin.module, pin.to);
    if let Some(pin) = candidate.pins.iter().find(bad) {
        let (name, at) = (&pin.module, pin.to.short());
        return Some(format!(
            "{name} was taken back from {at}, which did not pass; it comes back when its target moves, \
             or after lambda-os unhold {name}"
        ));
    }
    if candidate.pins.len() > MAX_PINS {
        return Some(format!("more than {MAX_PINS} pins would move together"));
    }
    let joined = state.open_proposals().find(|(_, record)| {
        let has = |pin| record.pins.contains(pin);
        record.purpose == Purpose::Combined && candidate.pins.iter().all(has)
    });
    if let Some((id, _)) = joined {
        return Some(format!("it is part of the proposal {}", id.short()));
    }
    let applying = state.open_proposals().find(|(_, record)| {
        matches!(record.stage, Stage::Applying { .. }) && overlap(&record.pins, &candidate.pins)
    });
    if let Some((id, _)) = applying {
        return Some(format!("the proposal {} is being applied", id.short()));
    }
    decided_over(state, &candidate.pins).map(|(id, _)| {
        format!("the proposal {} moves one of them, was approved, and waits to be applied", id.short())
    })
}

/// The proposal that people decided for and that moves one of these modules.
pub(super) fn decided_over<'a>(
    state: &'a State,
    pins: &[PinMove],
) -> Option<(&'a ProposalId, &'a ProposalRecord)> {
    state.open_proposals().find(|(id, record)| state.is_decided(id, record) && overlap(&record.pins, pins))
}

/// Whether two changes move a module both.
pub(super) fn overlap(one: &[PinMove], other: &[PinMove]) -> bool {
    one.iter().any(|pin| other.iter().any(|also| also.module == pin.module))
}

/// Every candidate: realigns first, then the plan's steps in their order.
pub(in crate::ops) fn candidates(
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
        steps.push(Candidate { pins, purpose: Purpose::Upgrade, track, notes: all, verified: None });
    }
    let alone = realigns.into_values().map(|(pins, notes)| {
        let modules: Vec<ModuleName> = pins.iter().map(|pin| pin.module.clone()).collect();
        let track = track_of(graph, &modules);
        Candidate { pins, purpose: Purpose::Realign, track, notes, verified: None }
    });
    alone.chain(steps).collect()
}

/// A candidate, or why it is none any more.
pub(super) enum Sorted {
    /// It is to be proposed.
    Offer(Candidate),
    /// It is set aside, and why, as a sentence without a final stop.
    Aside(Candidate, String),
}

/// The candidates after they were verified in combination: what holds together is one, and what does not is
/// none. What could not be verified stays as it is and says so, unless that is not allowed.
pub(super) fn sorted(all: Vec<Candidate>, found: &Candidates, allow_unverified: bool) -> Vec<Sorted> {
    let mut sets: Vec<(&GreenSet, Option<Candidate>)> = found.green.iter().map(|set| (set, None)).collect();
    let mut sorted = Vec::new();
    for mut candidate in all {
        let within = |set: &GreenSet| candidate.pins.iter().all(|pin| set.pins.contains(pin));
        if let Some((set, merged)) = sets.iter_mut().find(|(set, _)| within(set)) {
            match merged {
                None => {
                    let own = std::mem::take(&mut candidate.notes);
                    candidate.notes = set.notes.iter().cloned().chain(own).collect();
                    candidate.verified = Some(Verification { tree: set.tree, claims: set.claims });
                    *merged = Some(candidate);
                }
                Some(merged) => merged.join(candidate),
            }
            continue;
        }
        let aside = found.aside.iter().find(|aside| aside.pins == candidate.pins);
        match aside {
            Some(aside) if aside.why == Reason::Unverified && allow_unverified => {
                candidate.notes.insert(0, format!("not verified: {}", aside.reason));
                sorted.push(Sorted::Offer(candidate));
            }
            Some(aside) => sorted.push(Sorted::Aside(candidate, aside.reason.clone())),
            None => sorted.push(Sorted::Offer(candidate)),
        }
    }
    // First those that hold together: they take the place of what was proposed of them before.
    let merged = sets.into_iter().filter_map(|(_, merged)| merged).map(Sorted::Offer);
    merged.chain(sorted).collect()
}

impl Candidate {
    /// Two that move together.
    fn join(&mut self, other: Self) {
        self.pins.extend(other.pins);
        self.pins.sort();
        self.track = self.track.max(other.track);
        self.purpose = self.purpose.min(other.purpose);
        self.notes.extend(other.notes);
    }
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
