//! The account of one cycle: what was seen, what follows, what was not done and why.
//!
//! The [`Findings`] hold no time and no cycle number, so that equal workspaces give equal bytes:
//! the journal stores them by content, once for as long as nothing changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::drift::Drift;
use super::heal::HealReport;
use super::health::Verdict;
use super::id::{Cid, ModuleName, ObjectId, ProposalId};
use super::ladder::Right;
use super::module::RefusedModule;
use super::pin::PinCheck;
use super::plan::{PinMove, Plan};
use super::proposal::{Closure, Purpose, Track};
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
    /// What changed in the proposals.
    pub proposal_changes: ProposalChanges,
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
    /// The proposals that are open after it, by their first module.
    #[serde(default)]
    pub proposals: Vec<OpenProposal>,
    /// What could be proposed and is not, and why.
    #[serde(default)]
    pub not_proposed: Vec<NotProposed>,
    /// Each module's verdict, sorted by name.
    pub health: Vec<ModuleHealth>,
    /// What healing did, and why what is bad was left.
    #[serde(default)]
    pub heal: HealReport,
    /// What the daemon enacted by itself, and what it may enact and why it waits, by proposal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enactments: Vec<Enactment>,
    /// The identity of how they were verified: steps and what ran them. Absent when nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_how: Option<Cid>,
    /// What this version did not do, each as a sentence.
    pub not_done: Vec<String>,
}

/// One module's verdict, in the workspace as its HEAD has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleHealth {
    /// The module.
    pub name: ModuleName,
    /// What is known.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The revision that it is about.
    #[serde(default)]
    pub revision: Option<ObjectId>,
    /// What the verdict depends on; absent when nothing was run.
    #[serde(default)]
    pub key: Option<Cid>,
    /// The evidence, in `objects/`; absent when nothing was run.
    #[serde(default)]
    pub evidence: Option<Cid>,
    /// Since when it stands, Unix milliseconds; absent when nothing was run.
    #[serde(default)]
    pub since_ms: Option<i64>,
    /// Whether it failed once and passed once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flaky: bool,
    /// Whether steps are configured for it: without, not knowing is no trouble.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
}

impl ModuleHealth {
    /// Whether it is in trouble: bad, or not known although it was asked.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        self.verdict.is_bad() || (self.asked && !self.verdict.is_healthy())
    }
}

/// One phase of a cycle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name: snapshot, drift, verify, heal, detect, order, plan, candidates,
    /// propose, policy, enact, record.
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
    /// refused, unreadable, unreachable, rewritten, diverged or unknown, or that was to be verified
    /// and is not healthy.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        !self.refused.is_empty()
            || !self.problems.is_empty()
            || self.upgrades.iter().any(|upgrade| upgrade.status.needs_attention())
            || self.health.iter().any(ModuleHealth::needs_attention)
    }
}

/// A proposal that waits for a decision or for being applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OpenProposal {
    /// The pins that it moves, by module.
    pub pins: Vec<PinMove>,
    /// Its identity.
    pub id: ProposalId,
    /// What it is for.
    pub purpose: Purpose,
    /// Which rules of decision apply.
    pub track: Track,
}

/// A proposal on a rung on which the daemon enacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enactment {
    /// Which.
    pub id: ProposalId,
    /// By what right.
    pub right: Right,
    /// The commit; absent while it waits.
    pub commit: Option<ObjectId>,
    /// Why it waits, as a sentence without a final stop; absent when it was enacted.
    pub waits: Option<String>,
}

/// A change that is not proposed, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NotProposed {
    /// The pins that would move, by module.
    pub pins: Vec<PinMove>,
    /// One sentence without a final stop.
    pub reason: String,
    /// The superproject's commit that it was tried on; `None` when something else is in the way.
    pub tried_on: Option<ObjectId>,
}

/// What one cycle changed in the proposals.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProposalChanges {
    /// Those that were made.
    pub made: Vec<MadeProposal>,
    /// Those that were derived again on a base that moved, and are the same change.
    pub derived: Vec<ProposalId>,
    /// Those that are over.
    pub closed: Vec<ClosedProposal>,
}

/// A proposal that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeProposal {
    /// Its identity.
    pub id: ProposalId,
    /// The one that it takes the place of.
    pub supersedes: Option<ProposalId>,
}

/// A proposal that is over without having been applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedProposal {
    /// Its identity.
    pub id: ProposalId,
    /// How.
    pub outcome: Closure,
    /// What took its place.
    pub by: Option<ProposalId>,
    /// Why, as a sentence.
    pub reason: String,
}

impl ProposalChanges {
    /// True when nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.made.is_empty() && self.derived.is_empty() && self.closed.is_empty()
    }
}
