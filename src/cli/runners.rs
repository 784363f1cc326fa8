//! What runs the steps of verification, as configured: the one place where their adapters are built.

use std::collections::BTreeMap;

use super::open::Open;
use crate::adapters::unavailable::Unavailable;
use crate::config::checked::Step as Configured;
use crate::domain::health::Step;
use crate::domain::id::ModuleName;
use crate::ops::verify::Runners;
use crate::ports::{Builder, Checker, ModuleHost, NixEvaluator};

/// The adapters, and which steps each module has.
pub struct Tools {
    evaluator: Box<dyn NixEvaluator>,
    builder: Box<dyn Builder>,
    host: Box<dyn ModuleHost>,
    checker: Box<dyn Checker>,
    steps: Vec<Step>,
    own_steps: BTreeMap<ModuleName, Vec<Step>>,
    parallel: usize,
}

impl Tools {
    /// What the configuration says.
    #[must_use]
    pub fn of(open: &Open) -> Self {
        let settings = &open.settings;
        let absent = |step: &str| Unavailable { why: format!("this version does not run {step}") };
        let own_steps = settings.modules.iter().filter_map(|(name, module)| {
            let steps = module.steps.as_deref()?;
            Some((ModuleName::new(name), steps.iter().copied().map(step).collect()))
        });
        Self {
            evaluator: Box::new(absent("eval")),
            builder: Box::new(absent("build")),
            host: Box::new(absent("host")),
            checker: Box::new(absent("command")),
            steps: settings.steps.iter().copied().map(step).collect(),
            own_steps: own_steps.collect(),
            parallel: usize::try_from(settings.effective.verify.parallel).unwrap_or(1),
        }
    }

    /// The same, for those who verify.
    #[must_use]
    pub fn runners(&self) -> Runners<'_> {
        Runners {
            evaluator: self.evaluator.as_ref(),
            builder: self.builder.as_ref(),
            host: self.host.as_ref(),
            checker: self.checker.as_ref(),
            steps: &self.steps,
            own_steps: &self.own_steps,
            parallel: self.parallel,
        }
    }
}

fn step(step: Configured) -> Step {
    match step {
        Configured::Eval => Step::Eval,
        Configured::Build => Step::Build,
        Configured::Host => Step::Host,
        Configured::Command => Step::Command,
    }
}
