//! What would be proposed, in which order, and for everything else why not.
//!
//! Pure: from (snapshot, graph, upgrades, pins, limits) to a [`Plan`] that says everything.
//!
//! The unit is a component. Its members that are behind move together, or wait together:
//!
//! - a member that cannot be judged or must not move (held, not allowed, uninitialised,
//!   unreachable, rewritten, diverged, unknown) stops its whole component; a member that is up to
//!   date or only ahead of its upstream stays where it is and stops nobody;
//! - a component waits while something that it depends on, directly or not, has an upgrade that
//!   is stopped: rewritten or diverged history, a stopped component, a limit. A dependency that
//!   is merely held, or whose upstream did not answer, stops nobody else: it stays as it is, and
//!   what depends on it was built with it as it is;
//! - a pin moves in all its places or not at all: where a place cannot be read, it waits;
//! - what is dirty or incoherent can be proposed; a note says what stands against applying it.

mod reach;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::graph::{Component, Graph};
use super::id::{ModuleName, ObjectId, RepoPath};
use super::pin::{Coherence, PinCheck};
use super::snapshot::{ModuleState, Snapshot};
use super::upgrade::{Status, Upgrade};

use reach::Reach;

/// How much is proposed at once. What is over a limit waits, and says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanLimits {
    /// Most steps.
    pub max_steps: usize,
    /// Most pins in all steps together.
    pub max_pins: usize,
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self { max_steps: 100, max_pins: 1_000 }
    }
}

/// The whole answer, deterministic for equal input.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// What would be proposed, by level (leaves first), then by first module name.
    pub steps: Vec<Step>,
    /// Every module that is in no step, sorted by name, each with one reason.
    pub waiting: Vec<Waiting>,
}

/// One component that would move together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Level in the graph: 0 has no dependencies inside the workspace.
    pub level: u32,
    /// Pins that would move, sorted by module name.
    pub pins: Vec<PinMove>,
    /// Modules of earlier steps that this component needs, directly or through what does not
    /// move; sorted. What those need in turn stands with them.
    pub after: Vec<ModuleName>,
    /// How many modules depend on it, directly or not: the size of its blast radius. The graph
    /// names them ([`Graph::blast_radius`]); in a plan they would grow with the square of the workspace.
    pub affects: u32,
    /// What to know before it is proposed or applied, each one sentence without a final stop.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// One module's pin, from a revision to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PinMove {
    /// The module.
    pub module: ModuleName,
    /// Where it is.
    pub path: RepoPath,
    /// The revision now.
    pub from: ObjectId,
    /// The revision then.
    pub to: ObjectId,
}

/// A module that does not move, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Waiting {
    /// The module.
    pub module: ModuleName,
    /// True when nothing is to be done (it is up to date); false when something stops it.
    pub settled: bool,
    /// The module that it waits for, where it is another one.
    #[serde(default)]
    pub waits_for: Option<ModuleName>,
    /// One sentence without a final stop.
    pub reason: String,
}

/// What is known of each module, by name.
struct Known<'a> {
    upgrades: BTreeMap<&'a ModuleName, &'a Upgrade>,
    pins: BTreeMap<&'a ModuleName, &'a PinCheck>,
    states: BTreeMap<&'a ModuleName, &'a ModuleState>,
}

/// Why a component does not move although a member could.
#[derive(Clone)]
struct Stop {
    /// The module at the root of it; its own row has the whole reason.
    by: ModuleName,
    /// What is said of that module, in a few words that go on from its name.
    why: String,
}

/// The plan: each module is in exactly one step or waits for exactly one reason.
#[must_use]
pub fn plan(
    snapshot: &Snapshot,
    graph: &Graph,
    upgrades: &[Upgrade],
    pins: &[PinCheck],
    limits: &PlanLimits,
) -> Plan {
    let known = Known {
        upgrades: upgrades.iter().rev().map(|upgrade| (&upgrade.name, upgrade)).collect(),
        pins: pins.iter().map(|pin| (&pin.module, pin)).collect(),
        states: snapshot.by_name(),
    };
    let reach = Reach::of(graph);
    let affected = reach.affected(graph);
    let mut plan = Plan::default();
    // By component: why it holds up what depends on it, and the steps that come before what needs it.
    let mut stopped: Vec<Option<Stop>> = Vec::with_capacity(graph.components.len());
    let mut before: Vec<BTreeSet<usize>> = Vec::with_capacity(graph.components.len());
    let mut pins_moved = 0;
    for (number, component) in graph.components.iter().enumerate() {
        let moves: Vec<PinMove> = component.members.iter().filter_map(|name| known.movement(name)).collect();
        let earlier: BTreeSet<usize> =
            reach.direct(number).iter().flat_map(|needed| before[*needed].iter().copied()).collect();
        let stop = if moves.is_empty() {
            None
        } else {
            known
                .member_stop(component)
                .or_else(|| reach.needs(number).find_map(|needed| stopped[needed].clone()))
        };
        let over = if plan.steps.len() >= limits.max_steps {
            Some(format!("is over the limit of {} steps in one plan", limits.max_steps))
        } else if pins_moved + moves.len() > limits.max_pins {
            Some(format!("is over the limit of {} pins in one plan", limits.max_pins))
        } else {
            None
        };
        let stop = match (stop, over) {
            (None, Some(why)) if !moves.is_empty() => Some(Stop { by: moves[0].module.clone(), why }),
            (stop, _) => stop,
        };
        if moves.is_empty() || stop.is_some() {
            plan.waiting.extend(component.members.iter().map(|name| known.waiting(name, stop.as_ref())));
            stopped.push(stop.or_else(|| known.unresolved(component)));
            before.push(earlier);
            continue;
        }
        stopped.push(None);
        before.push(BTreeSet::from([plan.steps.len()]));
        let staying =
            component.members.iter().filter(|name| !moves.iter().any(|moved| moved.module == **name));
        plan.waiting.extend(staying.map(|name| known.waiting(name, None)));
        pins_moved += moves.len();
        let mut after: Vec<ModuleName> = earlier
            .iter()
            .flat_map(|step| plan.steps[*step].pins.iter().map(|moved| moved.module.clone()))
            .collect();
        after.sort();
        let notes = known.notes(&moves);
        plan.steps.push(Step {
            level: component.level,
            pins: moves,
            after,
            affects: affected[number],
            notes,
        });
    }
    // Rows of what is no module of the graph: refused submodules.
    for (name, upgrade) in &known.upgrades {
        if graph.modules.binary_search(name).is_err() {
            plan.waiting.push(Waiting {
                module: (*name).clone(),
                settled: false,
                waits_for: None,
                reason: upgrade.reason.clone(),
            });
        }
    }
    plan.waiting.sort();
    plan
}

impl Known<'_> {
    /// The move of a module that is behind.
    fn movement(&self, name: &ModuleName) -> Option<PinMove> {
        let upgrade = self.upgrades.get(name)?;
        match (upgrade.status, upgrade.from, upgrade.to) {
            (Status::Behind, Some(from), Some(to)) if from != to => {
                Some(PinMove { module: name.clone(), path: upgrade.path.clone(), from, to })
            }
            _ => None,
        }
    }

    /// A member that keeps its whole component where it is.
    fn member_stop(&self, component: &Component) -> Option<Stop> {
        component.members.iter().find_map(|name| {
            let why = match self.upgrades.get(name) {
                None => "has no status".to_owned(),
                Some(upgrade) => match upgrade.status {
                    Status::UpToDate | Status::Ahead => return None,
                    Status::Behind if self.movement(name).is_some() => match self.pins.get(name) {
                        Some(pin) if pin.verdict == Coherence::Unknown => {
                            format!("has places that cannot be read: {}", pin.sentence)
                        }
                        _ => return None,
                    },
                    Status::Behind => "is behind, and has nowhere to go yet".to_owned(),
                    status => is(status),
                },
            };
            Some(Stop { by: name.clone(), why })
        })
    }

    /// A member with an upgrade that a person must look at, in a component where nothing moves.
    fn unresolved(&self, component: &Component) -> Option<Stop> {
        component.members.iter().find_map(|name| {
            let upgrade = self.upgrades.get(name)?;
            matches!(upgrade.status, Status::Rewritten | Status::Diverged)
                .then(|| Stop { by: name.clone(), why: is(upgrade.status) })
        })
    }

    /// The one reason of a module that is in no step.
    fn waiting(&self, name: &ModuleName, stop: Option<&Stop>) -> Waiting {
        let module = name.clone();
        let waits = |waits_for, reason| Waiting { module: module.clone(), settled: false, waits_for, reason };
        let Some(upgrade) = self.upgrades.get(name) else {
            return waits(None, "nothing is known of its upstream".to_owned());
        };
        match (upgrade.status, stop) {
            (Status::Behind, Some(stop)) if stop.by == *name => waits(None, format!("it {}", stop.why)),
            (Status::Behind, Some(stop)) => {
                waits(Some(stop.by.clone()), format!("waits for {}, which {}", stop.by, stop.why))
            }
            // Whoever aimed it said why there is none.
            (Status::Behind, None) => waits(None, upgrade.reason.clone()),
            (Status::UpToDate, _) => match self.pins.get(name) {
                Some(pin) if pin.verdict == Coherence::Incoherent => {
                    waits(None, format!("it is up to date, and its places disagree: {}", pin.sentence))
                }
                _ => Waiting { module, settled: true, waits_for: None, reason: upgrade.reason.clone() },
            },
            // Many reasons begin with the status already.
            (status, _) if upgrade.reason.contains(status.as_str()) => waits(None, upgrade.reason.clone()),
            (status, _) => waits(None, format!("{}: {}", status.as_str(), upgrade.reason)),
        }
    }

    /// What stands against applying a step, and what it puts right.
    fn notes(&self, moves: &[PinMove]) -> Vec<String> {
        let mut notes = Vec::new();
        for PinMove { module, .. } in moves {
            if let Some(state) = self.states.get(module) {
                if let Some(problem) = &state.problem {
                    notes.push(format!(
                        "{module} cannot be applied while its checkout cannot be read: {problem}"
                    ));
                } else if state.dirty {
                    notes.push(format!(
                        "{module} has local changes: it can be proposed, and applied when they are gone"
                    ));
                }
            }
            if let Some(pin) = self.pins.get(module).filter(|pin| pin.verdict == Coherence::Incoherent) {
                notes.push(format!("the places of {module} disagree now: {}", pin.sentence));
            }
        }
        notes
    }
}

/// What the modules that wait for this one say about it.
fn is(status: Status) -> String {
    format!("is {}", status.as_str().replace('-', " "))
}

#[cfg(test)]
mod tests;
