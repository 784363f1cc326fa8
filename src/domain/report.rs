//! The account of one cycle: what was seen, what follows, what was not done and why.
//!
//! The [`Findings`] hold no time and no cycle number, so that equal workspaces give equal bytes:
//! the journal stores them by content, once for as long as nothing changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::drift::Drift;
use super::health::Verdict;
use super::id::{Cid, ModuleName};
use super::module::RefusedModule;
use super::pin::PinCheck;
use super::plan::Plan;
use super::upgrade::{Status, Upgrade};

/// What `run --once` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleReport {
    /// Always `lambda-os/run/v1`.
    pub schema: String,
    /// The journal sequence of the cycle's first entry: its number for people.
    pub cycle: u64,
    /// When it began, Unix milliseconds: information, not order.
    pub started_wall_ms: i64,
    /// True when the workspace's snapshot is byte-identical to the cycle before.
    pub unchanged: bool,
    /// What was found.
    #[serde(flatten)]
    pub findings: Findings,
    /// What changed in the workspace since the cycle before; empty at the first.
    pub drift: Drift,
    /// How long each phase took, in order.
    pub phases: Vec<Phase>,
}

/// Everything that a cycle found out, as stored in `objects/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The snapshot, in `objects/`.
    pub snapshot: Cid,
    /// How many modules were accepted.
    pub modules: u32,
    /// Submodules that were refused, and why.
    pub refused: Vec<RefusedModule>,
    /// Modules (or the superproject, as `.`) whose state could not be read fully, and why.
    pub problems: BTreeMap<ModuleName, String>,
    /// One row per module, sorted by name.
    pub upgrades: Vec<Upgrade>,
    /// Components of more than one module, sorted.
    pub cycles: Vec<Vec<ModuleName>>,
    /// Modules whose pin's places disagree.
    pub incoherent: Vec<PinCheck>,
    /// What would be proposed, and why not the rest.
    pub plan: Plan,
    /// Each module's verdict, sorted by name.
    pub health: Vec<ModuleHealth>,
    /// What this version did not do, each as a sentence.
    pub not_done: Vec<String>,
}

/// One module's verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleHealth {
    /// The module.
    pub name: ModuleName,
    /// What is known.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// One phase of a cycle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name: recover, snapshot, drift, detect, order, plan, record.
    pub name: String,
    /// How long, microseconds of monotonic time.
    pub elapsed_us: u64,
    /// How it went, one short line.
    pub outcome: String,
}

impl Findings {
    /// How many modules have this status.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        self.upgrades.iter().filter(|upgrade| upgrade.status == status).count()
    }

    /// True when something waits for a person or could not be found out: a module that is
    /// refused, unreadable, unreachable, rewritten, diverged or unknown.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        !self.refused.is_empty()
            || !self.problems.is_empty()
            || self.upgrades.iter().any(|upgrade| upgrade.status.needs_attention())
    }
}
