//! What stands where a step of verification has nothing to run it: it says why, and every module
//! that has the step is unknown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::domain::health::{Placed, Scene, Step};
use crate::ports::{Builder, Built, Checker, Derivations, Evaluated, ModuleHost, NixEvaluator, Ran, Runner};

/// A step that nothing runs here.
#[derive(Debug, Clone)]
pub struct Unavailable {
    /// Why, as a sentence without a final stop.
    pub why: String,
}

impl Unavailable {
    fn ran(&self, step: Step) -> Ran {
        Ran::not_run(step, self.why.clone())
    }
}

impl Runner for Unavailable {
    fn fingerprint(&self) -> Result<String, String> {
        Err(self.why.clone())
    }
}

impl NixEvaluator for Unavailable {
    fn evaluate(&self, _: &Scene, modules: &[&Placed]) -> Vec<Evaluated> {
        let unknown = || Evaluated { derivations: Derivations::new(), ran: self.ran(Step::Eval) };
        modules.iter().map(|_| unknown()).collect()
    }
}

impl Builder for Unavailable {
    fn build(&self, _: &Scene, _: &Placed, _: &Derivations) -> Built {
        Built { outputs: BTreeMap::new(), ran: self.ran(Step::Build) }
    }
}

impl ModuleHost for Unavailable {
    fn load(&self, _: &Scene, _: &Placed, _: &BTreeMap<String, PathBuf>) -> Ran {
        self.ran(Step::Host)
    }
}

impl Checker for Unavailable {
    fn check(&self, _: &Scene, _: &Placed) -> Ran {
        self.ran(Step::Command)
    }
}
