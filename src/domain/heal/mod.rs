//! Healing: which broken modules go back to a pin that was verified, and which do not.
//!
//! ```text
//! decide       from what is known to one decision for each bad module, or to stopping altogether
//! history      what the journal remembers of healing, and the breaker
//! certificate  the proof by which a heal was applied: the standing authority, and evidence at both ends
//! floor        below which revisions nothing is taken back
//! ```
//!
//! Nothing here looks at a parent commit: a module goes back to a pin that was verified strongly in
//! this workspace, or nowhere. Whoever can break a health check cannot choose a version.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::{Cid, ModuleName, ObjectId, ProposalId};

pub mod certificate;
pub mod decide;
pub mod floor;
pub mod history;

pub use certificate::{HealCertificate, HealCertificateError};
pub use decide::{Course, Decided, Decision, Facts, Mandate, decide};
pub use history::{Heals, OpenHeal, Tried, Uptime};

/// How much is healed, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealLimits {
    /// More broken modules than this at once mean that the host is broken, not the modules.
    pub max_rollbacks_per_cycle: usize,
    /// For how long a rollback counts against a module, milliseconds.
    pub window_ms: i64,
}

/// This many rollbacks of one module within the window freeze it.
pub const BREAKER: usize = 2;

impl Default for HealLimits {
    fn default() -> Self {
        Self { max_rollbacks_per_cycle: 3, window_ms: 24 * 60 * 60 * 1000 }
    }
}

/// How much may be done without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Nothing is changed in the workspace: a person applies.
    Manual,
    /// Modules are healed under the standing authority.
    Assisted,
    /// The same, and what a certificate approves is enacted.
    Gated,
    /// The same, within the bounds that policy states.
    Bounded,
}

impl Rung {
    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Assisted => "assisted",
            Self::Gated => "gated",
            Self::Bounded => "bounded",
        }
    }
}

/// How a heal that was begun ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealEnd {
    /// The pin went back, and the module passed in the workspace as it is then.
    Healed,
    /// The pin went back, the module did not pass there, and the pin is where it was before.
    Restored,
    /// The module does not pass at the target either: nothing was applied.
    TargetBad,
    /// Others would break: nothing was applied.
    WouldBreak,
    /// The failure could not be shown again: nothing was applied.
    NotConfirmed,
    /// The process ended before anything was applied, or applying was not possible then.
    CutShort,
    /// Somebody else moved the pin meanwhile.
    Overtaken,
    /// The pin went back, the module did not pass there, and the pin could not be put back.
    Stuck,
}

impl HealEnd {
    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healed => "healed",
            Self::Restored => "restored",
            Self::TargetBad => "target-bad",
            Self::WouldBreak => "would-break",
            Self::NotConfirmed => "not-confirmed",
            Self::CutShort => "cut-short",
            Self::Overtaken => "overtaken",
            Self::Stuck => "stuck",
        }
    }

    /// Whether it counts for the breaker: the module was given its chance.
    #[must_use]
    pub fn counts(self) -> bool {
        match self {
            Self::Healed | Self::Restored | Self::TargetBad | Self::WouldBreak | Self::Stuck => true,
            Self::NotConfirmed | Self::CutShort | Self::Overtaken => false,
        }
    }
}

/// What healing did and did not do in one cycle, sorted by module.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealReport {
    /// Modules that are verified again at an earlier pin.
    pub healed: Vec<Healed>,
    /// Modules that are bad, and stay where they are.
    pub not_healed: Vec<NotHealed>,
    /// Set when too many are bad at once, so that nothing was rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}

/// One module that was healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healed {
    /// Which.
    pub module: ModuleName,
    /// The bad revision, which is not proposed again before `unhold`.
    pub from: ObjectId,
    /// Where its pin is now.
    pub to: ObjectId,
    /// The commit that brought it there.
    pub commit: Option<ObjectId>,
    /// The proposal that was applied.
    pub proposal: Option<ProposalId>,
    /// The evidence that it was bad, in `objects/`.
    pub bad: Cid,
    /// The evidence that it was verified at that pin before.
    pub good: Cid,
    /// The evidence that it passes there now.
    pub again: Cid,
    /// What was left for a person, each a sentence without a final stop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One module that is bad and was not healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotHealed {
    /// Which.
    pub module: ModuleName,
    /// Where its pin is.
    pub from: ObjectId,
    /// The evidence that it is bad, in `objects/`.
    pub evidence: Option<Cid>,
    /// Why it stays there.
    #[serde(flatten)]
    pub reason: Reason,
}

/// Too many bad modules at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// How many modules that were healthy here are bad now.
    pub bad: usize,
    /// How many may be.
    pub limit: usize,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} modules that were healthy broke at once, over the limit of {}: the host is broken, not the \
             modules; nothing is rolled back",
            self.bad, self.limit
        )
    }
}

/// Why a bad module is not healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Reason {
    /// It was never verified healthy here: that it is bad is no regression.
    NeverHealthy,
    /// What it sees is as it was when it was healthy: the machine changed, not the module.
    Environment,
    /// Its own pin is the last good one: something below it changed.
    BelowIt,
    /// No other pin of it was verified strongly in this workspace.
    NoGoodPin,
    /// The good pin is below the policy's floor.
    BelowFloor {
        /// Why, as a sentence without a final stop.
        reason: String,
    },
    /// It is frozen by a person.
    Held {
        /// Why.
        reason: String,
    },
    /// The breaker is open: it waits for a person.
    Frozen {
        /// Why.
        reason: String,
    },
    /// Its checkout holds what must not be touched.
    Unclean {
        /// What, as a sentence without a final stop.
        reason: String,
    },
    /// Too many modules are bad at once.
    MassFailure {
        /// How many.
        bad: usize,
        /// How many may be.
        limit: usize,
    },
    /// The superproject cannot be changed now.
    NotNow {
        /// Why, as a sentence without a final stop.
        reason: String,
    },
    /// The move back cannot be made.
    NotDerived {
        /// Why, as a sentence without a final stop.
        reason: String,
    },
    /// Run again, it passed.
    Flaky {
        /// The evidence of that.
        evidence: Option<Cid>,
    },
    /// Run again, it could not be told.
    NotConfirmed {
        /// Why, as a sentence without a final stop.
        reason: String,
    },
    /// It does not pass at the pin that was verified before either.
    TargetBad {
        /// That pin.
        to: ObjectId,
        /// What it does there, as a sentence without a final stop.
        reason: String,
    },
    /// Going back would break others.
    WouldBreak {
        /// Which.
        modules: Vec<ModuleName>,
    },
    /// It went back, did not pass there, and is where it was before.
    Restored {
        /// The pin that it was at meanwhile.
        to: ObjectId,
        /// What it did there, as a sentence without a final stop.
        reason: String,
    },
    /// Somebody else moved its pin meanwhile.
    Overtaken,
    /// Its pin could not be put back where it was.
    Stuck {
        /// Why, as a sentence without a final stop.
        reason: String,
    },
    /// The move back waits for people.
    Proposed {
        /// As this.
        proposal: ProposalId,
        /// Why it is not applied by itself, as a sentence without a final stop.
        reason: String,
    },
    /// Nobody is trusted to decide, and nobody granted anything.
    NobodyDecides,
}

impl Reason {
    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NeverHealthy => "never-healthy",
            Self::Environment => "environment",
            Self::BelowIt => "below-it",
            Self::NoGoodPin => "no-good-pin",
            Self::BelowFloor { .. } => "below-floor",
            Self::Held { .. } => "held",
            Self::Frozen { .. } => "frozen",
            Self::Unclean { .. } => "unclean",
            Self::MassFailure { .. } => "mass-failure",
            Self::NotNow { .. } => "not-now",
            Self::NotDerived { .. } => "not-derived",
            Self::Flaky { .. } => "flaky",
            Self::NotConfirmed { .. } => "not-confirmed",
            Self::TargetBad { .. } => "target-bad",
            Self::WouldBreak { .. } => "would-break",
            Self::Restored { .. } => "restored",
            Self::Overtaken => "overtaken",
            Self::Stuck { .. } => "stuck",
            Self::Proposed { .. } => "proposed",
            Self::NobodyDecides => "nobody-decides",
        }
    }
}

impl fmt::Display for Reason {
    /// One sentence without a final stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverHealthy => f.write_str("it was never verified healthy here, so this is no regression"),
            Self::Environment => f.write_str(
                "nothing that it sees changed since it was healthy: the machine or its tools did, so it is not rolled back",
            ),
            Self::BelowIt => f.write_str(
                "its own pin is the last one that was verified: what changed is below it, so it is not rolled back",
            ),
            Self::NoGoodPin => f.write_str("no other pin of it was verified strongly in this workspace"),
            Self::BelowFloor { reason } => write!(f, "the last good pin is below the policy's floor: {reason}"),
            Self::Held { reason } => write!(f, "it is held: {reason}"),
            Self::Frozen { reason } => write!(f, "it is frozen: {reason}"),
            Self::Unclean { reason } => write!(f, "its checkout is not touched: {reason}"),
            Self::MassFailure { bad, limit } => Stopped { bad: *bad, limit: *limit }.fmt(f),
            Self::NotNow { reason } => write!(f, "the workspace cannot be changed now: {reason}"),
            Self::NotDerived { reason } => write!(f, "the move back cannot be made: {reason}"),
            Self::Flaky { .. } => f.write_str("run again in a fresh sandbox it passed: it is flaky, and not rolled back"),
            Self::NotConfirmed { reason } => write!(f, "that it is bad could not be shown again: {reason}"),
            Self::TargetBad { to, reason } => {
                write!(f, "it does not pass at {} either, which was verified before: {reason}", to.short())
            }
            Self::WouldBreak { modules } => {
                let names: Vec<&str> = modules.iter().map(ModuleName::as_str).collect();
                write!(f, "going back would break {}", names.join(", "))
            }
            Self::Restored { to, reason } => write!(
                f,
                "it went back to {} and did not pass there, so its pin is where it was: {reason}",
                to.short()
            ),
            Self::Overtaken => f.write_str("its pin was moved meanwhile"),
            Self::Stuck { reason } => write!(f, "its pin could not be put back where it was: {reason}"),
            Self::Proposed { proposal, reason } => {
                write!(f, "going back is proposed as {}, and not done: {reason}", proposal.short())
            }
            Self::NobodyDecides => f.write_str("nobody is trusted to decide here yet: lambda-os init"),
        }
    }
}

#[cfg(test)]
mod tests;
