//! The account of one cycle: what was seen, what follows, what was not done and why.

use serde::{Deserialize, Serialize};

use super::drift::Drift;
use super::health::Verdict;
use super::id::{Cid, ModuleName};
use super::pin::PinCheck;
use super::plan::Plan;
use super::upgrade::Upgrade;

/// What `run --once` prints and the journal keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleReport {
    /// Always `lambda-os/run/v1`.
    pub schema: String,
    /// The journal sequence of the cycle's first entry: its number for people.
    pub cycle: u64,
    /// When it began, Unix milliseconds: information, not order.
    pub started_wall_ms: i64,
    /// The snapshot's content id (in `objects/`).
    pub snapshot: Cid,
    /// True when the snapshot is byte-identical to the cycle before.
    pub unchanged: bool,
    /// Number of modules accepted, and refused ones with reasons are in the snapshot.
    pub modules: u32,
    /// What changed since the cycle before.
    pub drift: Drift,
    /// One row per module, sorted by name.
    pub upgrades: Vec<Upgrade>,
    /// Modules whose pin's places disagree.
    pub pins: Vec<PinCheck>,
    /// What would be proposed, and why not.
    pub plan: Plan,
    /// Each module's verdict, sorted by name.
    pub health: Vec<ModuleHealth>,
    /// What this version did not do, each as a sentence.
    pub not_done: Vec<String>,
    /// How long each phase took, in order.
    pub phases: Vec<Phase>,
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
    /// Its name: snapshot, drift, detect, order, plan, journal.
    pub name: String,
    /// How long, microseconds of monotonic time.
    pub elapsed_us: u64,
    /// How it went, one short line.
    pub outcome: String,
}
