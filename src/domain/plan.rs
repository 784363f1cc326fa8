//! What would be proposed, in which order, and for everything else why not.
//!
//! Pure: from (snapshot, graph, upgrades, pins, limits) to a [`Plan`] that says everything.

use serde::{Deserialize, Serialize};

use super::graph::Graph;
use super::id::{ModuleName, ObjectId, RepoPath};
use super::pin::PinCheck;
use super::snapshot::Snapshot;
use super::upgrade::Upgrade;

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
    /// Modules of earlier steps that this component depends on: they come first.
    pub after: Vec<ModuleName>,
    /// Modules that depend on it, directly or not: the blast radius.
    pub affects: Vec<ModuleName>,
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
    /// One sentence without a final stop.
    pub reason: String,
}

/// The plan: each module is in exactly one step or waits for exactly one reason.
#[must_use]
pub fn plan(
    _snapshot: &Snapshot,
    _graph: &Graph,
    _upgrades: &[Upgrade],
    _pins: &[PinCheck],
    _limits: &PlanLimits,
) -> Plan {
    Plan::default()
}
