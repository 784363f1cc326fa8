//! A checker that answers as a test says, and counts.

use std::collections::BTreeMap;
use std::sync::Mutex;

use lambda_os::domain::health::evidence::{Exit, StepRun};
use lambda_os::domain::health::{Outcome, Placed, Scene, Step};
use lambda_os::domain::id::ModuleName;
use lambda_os::ports::{Checker, Ran, Runner};

/// Passes strongly where nothing else is said.
#[derive(Debug, Default)]
pub(super) struct Scripted {
    fingerprint: String,
    missing: Option<String>,
    always: BTreeMap<ModuleName, Outcome>,
    at_first: BTreeMap<ModuleName, Outcome>,
    runs: Mutex<BTreeMap<ModuleName, usize>>,
}

impl Scripted {
    /// Another program.
    pub(super) fn named(fingerprint: &str) -> Self {
        Self { fingerprint: fingerprint.to_owned(), ..Self::default() }
    }

    /// One that cannot run.
    pub(super) fn missing(why: &str) -> Self {
        Self { missing: Some(why.to_owned()), ..Self::default() }
    }

    pub(super) fn always(mut self, module: &ModuleName, outcome: Outcome) -> Self {
        self.always.insert(module.clone(), outcome);
        self
    }

    /// At the first run alone.
    pub(super) fn at_first(mut self, module: &ModuleName, outcome: Outcome) -> Self {
        self.at_first.insert(module.clone(), outcome);
        self
    }

    pub(super) fn runs(&self) -> usize {
        self.runs.lock().expect("no panic").values().sum()
    }

    pub(super) fn runs_of(&self, module: &ModuleName) -> usize {
        self.runs.lock().expect("no panic").get(module).copied().unwrap_or(0)
    }
}

impl Runner for Scripted {
    fn fingerprint(&self) -> Result<String, String> {
        self.missing.clone().map_or_else(|| Ok(self.fingerprint.clone()), Err)
    }
}

impl Checker for Scripted {
    fn check(&self, _: &Scene, placed: &Placed) -> Ran {
        let name = &placed.module.name;
        let run = {
            let mut runs = self.runs.lock().expect("no panic");
            let run = runs.entry(name.clone()).or_default();
            *run += 1;
            *run
        };
        let first = self.at_first.get(name).filter(|_| run == 1);
        let outcome = first.or_else(|| self.always.get(name)).cloned();
        let outcome = outcome.unwrap_or(Outcome::Passed { weak: None });
        let run = StepRun { outcome, exit: Exit::Code(0), ..StepRun::not_run(Step::Command, "") };
        Ran { run, log: format!("the log of {name}").into_bytes() }
    }
}
