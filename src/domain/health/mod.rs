//! What is known about a module's health. Unknown is never healthy, and neither is a time-out.
//!
//! ```text
//! scene     a state of the superproject in which modules are verified, and what each sees there
//! evidence  what one step did: command, exit, digests, log, sandbox
//! judge     from the steps' outcomes to one verdict
//! claim     what was found of one tree: what a proposal is bound to
//! record    what the journal remembers of verdicts, and which one is the last known good
//! ```

use serde::{Deserialize, Serialize};

pub mod claim;
pub mod evidence;
pub mod judge;
pub mod record;
pub mod scene;

pub use claim::{Claim, Claims};
pub use evidence::{Evidence, Exit, Outcome, SandboxReport, StepRun, Stream};
pub use record::{VerdictRecord, Verdicts};
pub use scene::{Placed, Scene};

/// One step of verification, in the order in which steps run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Evaluate what the module's outputs are derived from.
    Eval,
    /// Build the module.
    Build,
    /// Load the built module in its host.
    Host,
    /// Run a program of the operator's.
    Command,
}

impl Step {
    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eval => "eval",
            Self::Build => "build",
            Self::Host => "host",
            Self::Command => "command",
        }
    }
}

/// The outcome of verifying one module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// Every step passed.
    Healthy {
        /// How much that says.
        strength: Strength,
        /// Why it says no more than that, as a sentence without a final stop; absent when strong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A step failed.
    Failed {
        /// Which.
        step: Step,
        /// One sentence without a final stop.
        reason: String,
    },
    /// A step did not end within its time.
    TimedOut {
        /// Which.
        step: Step,
        /// One sentence without a final stop.
        reason: String,
    },
    /// It was not verified, and why.
    Unknown {
        /// One sentence without a final stop.
        reason: String,
    },
}

/// How much a healthy verdict says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// Something that is also compatible with a module that does not work: a host that stayed up
    /// without a sign, a build outside a sandbox, a module that failed first. Never a target of healing.
    Weak,
    /// Positive signs, seen by the supervisor, in every step.
    Strong,
}

impl Verdict {
    /// Healthy, by positive signs in every step.
    pub const STRONG: Self = Self::Healthy { strength: Strength::Strong, reason: None };

    /// True only for a verified success.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        matches!(self, Self::Healthy { .. })
    }

    /// True only for a verified success with positive signs in every step.
    #[must_use]
    pub fn is_strong(&self) -> bool {
        matches!(self, Self::Healthy { strength: Strength::Strong, .. })
    }

    /// True when it was tried and found bad: failed or timed out. Not knowing is neither.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::TimedOut { .. })
    }

    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Healthy { .. } => "healthy",
            Self::Failed { .. } => "failed",
            Self::TimedOut { .. } => "timed-out",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// The step that decided it, where one did.
    #[must_use]
    pub fn step(&self) -> Option<Step> {
        match self {
            Self::Failed { step, .. } | Self::TimedOut { step, .. } => Some(*step),
            Self::Healthy { .. } | Self::Unknown { .. } => None,
        }
    }

    /// Why, as a sentence without a final stop.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Healthy { reason, .. } => reason.as_deref(),
            Self::Failed { reason, .. } | Self::TimedOut { reason, .. } | Self::Unknown { reason } => {
                Some(reason)
            }
        }
    }
}
