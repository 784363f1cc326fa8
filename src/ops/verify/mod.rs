//! Verify: run the steps of modules in a scene, and say what follows.
//!
//! In: a [`Scene`](crate::domain::health::Scene), what runs the steps, and what the journal remembers. Out: one verdict for each
//! module asked for, with its evidence stored and journalled. What a verdict depends on is its key;
//! a key that is known is not run again, and equal derivations share a verdict. A module that fails
//! is tried once more in a fresh sandbox before it is believed.

mod gate;
mod run;
pub mod scenes;

use std::collections::BTreeMap;

use crate::domain::health::evidence::Lasting;
use crate::domain::health::{Step, Verdict};
use crate::domain::id::{Cid, ModuleName, ObjectId};
use crate::ports::{Builder, Checker, Clock, Journal, ModuleHost, NixEvaluator};

pub use run::{how, verify};
pub use scenes::Committed;

/// What runs the steps, and which steps each module has.
#[derive(Clone, Copy)]
pub struct Runners<'a> {
    /// `eval`.
    pub evaluator: &'a dyn NixEvaluator,
    /// `build`.
    pub builder: &'a dyn Builder,
    /// `host`.
    pub host: &'a dyn ModuleHost,
    /// `command`.
    pub checker: &'a dyn Checker,
    /// The steps of all modules that have none of their own, in order.
    pub steps: &'a [Step],
    /// The steps of single modules.
    pub own_steps: &'a BTreeMap<ModuleName, Vec<Step>>,
    /// Modules that are worked on at once; more may be loaded, see [`ModuleHost::at_once`].
    pub parallel: usize,
}

impl<'a> Runners<'a> {
    /// The steps of a module, in order.
    #[must_use]
    pub fn steps_of(&self, module: &ModuleName) -> &'a [Step] {
        self.own_steps.get(module).map_or(self.steps, Vec::as_slice)
    }

    /// True when some module is verified at all.
    #[must_use]
    pub fn verify_anything(&self) -> bool {
        !self.steps.is_empty() || self.own_steps.values().any(|steps| !steps.is_empty())
    }
}

/// What verifying works with.
pub struct Bench<'a> {
    /// What runs the steps.
    pub runners: Runners<'a>,
    /// The journal, whose one writer we are.
    pub journal: &'a mut dyn Journal,
    /// Time.
    pub clock: &'a dyn Clock,
    /// True once somebody asks to stop; looked at between modules.
    pub stop: &'a dyn Fn() -> bool,
}

/// How known verdicts count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// What stands is not run again.
    Stands,
    /// Everything is run again, in fresh sandboxes: to confirm, or because a person asked.
    RunAgain,
}

/// Where modules are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// In the workspace as its HEAD has it: what was approved, or was there at `init`.
    Base,
    /// In a candidate.
    Candidate,
}

/// What became of one module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The module.
    pub module: ModuleName,
    /// The revision; absent when the scene has none.
    pub revision: Option<ObjectId>,
    /// What the verdict depends on; absent when nothing could be run.
    pub key: Option<Cid>,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the same key can give another one.
    pub lasting: Lasting,
    /// Whether it failed once and passed once.
    pub flaky: bool,
    /// The evidence, in `objects/`; absent when nothing was run.
    pub evidence: Option<Cid>,
    /// Since when it stands, Unix milliseconds of wall time; absent when nothing was run.
    pub since_ms: Option<i64>,
    /// Where the verdict comes from.
    pub from: Origin,
}

/// Where a verdict comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was run now.
    Run,
    /// It was known, and stands.
    Stands,
    /// Its derivations are those of a verdict that stands.
    Inherited,
    /// Nothing was run: no steps, or nothing to run them with.
    Nowhere,
}
