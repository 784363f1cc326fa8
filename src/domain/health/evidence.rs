//! Evidence: what the steps of one verification did, as the supervisor saw it.
//!
//! An [`Evidence`] is canonical JSON in the journal's store; a verdict names it. Logs are kept
//! out of line, bounded, by content. Nothing in it was said by the module alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Step, Verdict};
use crate::domain::canonical::{self, CanonicalError};
use crate::domain::id::{Cid, ModuleName, ObjectId};

/// The version of the canonical form of an [`Evidence`].
pub const EVIDENCE_VERSION: u32 = 1;

/// What verifying one module once or twice gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Format version, 1.
    pub v: u32,
    /// The module.
    pub module: ModuleName,
    /// The revision that was verified.
    pub revision: ObjectId,
    /// The key of the verdict: what it depends on.
    pub key: Cid,
    /// The superproject's tree that it was verified in.
    pub tree: ObjectId,
    /// What follows.
    pub verdict: Verdict,
    /// The steps that ran, in order; those of a second try after those of the first.
    pub runs: Vec<StepRun>,
}

impl Evidence {
    /// The bytes that the identity is of.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn to_canonical(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_canonical(self)
    }
}

/// One step, run once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRun {
    /// Which step.
    pub step: Step,
    /// Which try of it, from 1.
    pub attempt: u32,
    /// What it showed.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The program and its arguments, each inert and clipped; empty when nothing had to run.
    pub command: Vec<String>,
    /// How the program ended.
    pub exit: Exit,
    /// What it wrote to its standard output.
    pub stdout: Stream,
    /// What it wrote to its standard error.
    pub stderr: Stream,
    /// The bounded log of both, in `objects/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Cid>,
    /// How long it took, milliseconds of monotonic time.
    pub duration_ms: u64,
    /// What ran it: names to versions (`nix`, `host`, `lambda-os`).
    pub tools: BTreeMap<String, String>,
    /// How it was confined; absent when it ran nothing of the module's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxReport>,
    /// What to know about it, each a sentence without a final stop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl StepRun {
    /// A step that could not be run at all, and why, as a sentence without a final stop.
    #[must_use]
    pub fn not_run(step: Step, reason: impl Into<String>) -> Self {
        Self {
            step,
            attempt: 1,
            outcome: Outcome::Unknown { reason: reason.into() },
            command: Vec::new(),
            exit: Exit::NotRun,
            stdout: Stream::default(),
            stderr: Stream::default(),
            log: None,
            duration_ms: 0,
            tools: BTreeMap::new(),
            sandbox: None,
            notes: Vec::new(),
        }
    }
}

/// What one step showed, in the supervisor's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// It holds.
    Passed {
        /// Why that says little, as a sentence without a final stop.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weak: Option<String>,
    },
    /// It does not hold.
    Failed {
        /// One sentence without a final stop.
        reason: String,
        /// Whether the same input can give another outcome.
        lasting: Lasting,
    },
    /// It did not end within its time.
    TimedOut {
        /// One sentence without a final stop.
        reason: String,
    },
    /// It could not be found out: no program, no sandbox, no source. Says nothing of the module.
    Unknown {
        /// One sentence without a final stop.
        reason: String,
    },
}

/// Whether the same input can give another outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lasting {
    /// It may: the machine, the time or chance had a part in it.
    Transient,
    /// It does not: the same input gives the same failure.
    Permanent,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "value")]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was stopped at its deadline, with everything that it started.
    Deadline,
    /// It was stopped over a bound: which.
    Bound(String),
    /// It was stopped because enough had been seen.
    Stopped,
    /// It did not run.
    NotRun,
}

/// What was written to a stream: all of it is counted and hashed, whatever the log keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stream {
    /// How many bytes.
    pub bytes: u64,
    /// Their SHA-256, as a content id; absent when there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Cid>,
}

impl Stream {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, digest: (!bytes.is_empty()).then(|| Cid::of(bytes)) }
    }
}

/// How a program was confined.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SandboxReport {
    /// The layers that held it, by name, outermost first: `bubblewrap`, `landlock`, `seccomp`,
    /// `rlimits`, `cgroup`, `nix`.
    pub layers: Vec<String>,
    /// What this machine could not provide, each a sentence without a final stop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}
