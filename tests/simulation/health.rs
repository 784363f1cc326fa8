//! What is really the matter with a module in a state of the superproject, and what runs its steps:
//! evaluator, builder, host. Every run is written down here, so that what the product makes of it can
//! be compared with what it was given.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use lambda_os::domain::flake::lock::{Lock, NodeId};
use lambda_os::domain::health::evidence::Lasting;
use lambda_os::domain::health::{Exit, Outcome, Placed, Scene, Step, StepRun, Stream};
use lambda_os::domain::id::{Cid, ModuleName, ObjectId};
use lambda_os::ops::verify::Runners;
use lambda_os::ports::{
    Builder, Built, Checker, Derivations, Evaluated, ModuleHost, NixEvaluator, Ran, Runner,
};

use super::fault::locked;
use super::machine::Machine;
use super::random::{digest, keyed};
use super::upstream::{Nature, Upstream};

/// The steps of every module.
pub(crate) const STEPS: [Step; 3] = [Step::Eval, Step::Build, Step::Host];

/// What is the matter with the machine itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The host fails for everyone.
    HostFails,
    /// The host never comes to an end, for everyone.
    HostHangs,
    /// What is needed for building is not there.
    NoBuilder,
    /// Nothing can be run at all, and it is known before.
    Nothing,
}

/// One step that was run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) module: ModuleName,
    pub(crate) sees: Cid,
    pub(crate) step: Step,
    pub(crate) outcome: Outcome,
}

/// What runs the steps.
#[derive(Default)]
pub(crate) struct Bench {
    pub(crate) trouble: Option<Trouble>,
    /// The version of the programs.
    pub(crate) version: u64,
    /// Counts the processes.
    pub(crate) process: u64,
    /// What the process ran.
    pub(crate) runs: Vec<Run>,
}

/// What is really the matter with a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Really {
    Good,
    Silent,
    /// It does not build.
    Broken,
    /// It fails in the host.
    Fails,
    Hangs,
    Flaky,
    Obscure,
}

impl Really {
    /// Whether a healthy verdict can never be right.
    pub(crate) fn is_never_healthy(self) -> bool {
        matches!(self, Self::Broken | Self::Fails | Self::Hangs | Self::Obscure)
    }
}

/// The revision of a module that is built by a lock, with everything below it.
fn closure(lock: &Lock, input: &str) -> Option<(ObjectId, BTreeMap<String, ObjectId>)> {
    let root = lock.root_inputs().find(|(name, _)| *name == input)?.1?;
    let rev = |node: NodeId| lock.node(node).rev().and_then(|rev| rev.parse().ok());
    let mut below = BTreeMap::new();
    let (mut queue, mut seen) = (vec![root], BTreeSet::from([root]));
    while let Some(node) = queue.pop() {
        for (name, target) in lock.inputs(node) {
            let Some(target) = target else { continue };
            if let Some(rev) = rev(target) {
                below.insert(name.to_owned(), rev);
            }
            if seen.insert(target) {
                queue.push(target);
            }
        }
    }
    below.remove(input);
    Some((rev(root)?, below))
}

/// What is really the matter, and what is built of it.
pub(crate) fn really(upstreams: &[Upstream], lock: &Lock, module: &str) -> Option<(Really, u64)> {
    let (own, below) = closure(lock, module)?;
    let revision = |name: &str, id: &ObjectId| {
        upstreams.iter().find(|upstream| upstream.name == name)?.revisions.get(id)
    };
    let this = revision(module, &own)?;
    let mut contents = vec![this.content.to_le_bytes().to_vec()];
    let mut broken = false;
    for (name, id) in &below {
        let dependency = revision(name, id)?;
        broken |= dependency.nature == Nature::Broken;
        contents.push([name.as_bytes(), &dependency.content.to_le_bytes()].concat());
    }
    let parts: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let really = match this.nature {
        _ if broken => Really::Broken,
        Nature::Good => Really::Good,
        Nature::Silent => Really::Silent,
        Nature::Broken => Really::Broken,
        Nature::Fails => Really::Fails,
        Nature::Hangs => Really::Hangs,
        Nature::Flaky => Really::Flaky,
        Nature::Obscure => Really::Obscure,
        Nature::Needs(level) => {
            let first = this.inputs.first().map(|input| super::upstream::name(*input));
            let level_of =
                |name: String| below.get(&name).and_then(|id| revision(&name, id)).map(|it| it.level);
            let enough = first.and_then(level_of).is_none_or(|found| found >= level);
            if enough { Really::Good } else { Really::Broken }
        }
    };
    Some((really, keyed(0, &parts)))
}

impl Machine {
    /// What runs the steps of all modules.
    pub(crate) fn runners<'a>(&'a self, own_steps: &'a BTreeMap<ModuleName, Vec<Step>>) -> Runners<'a> {
        Runners {
            evaluator: self,
            builder: self,
            host: self,
            checker: self,
            steps: &STEPS,
            own_steps,
            parallel: 1,
        }
    }

    fn really(&self, scene: &Scene, module: &Placed) -> Option<(Really, u64)> {
        let input = module.module.input.as_ref()?;
        really(&locked(&self.upstreams), scene.lock.as_ref()?, input)
    }

    /// Run a step, and write down that it was run.
    fn run(&self, step: Step, scene: &Scene, module: &Placed) -> Ran {
        let really = self.really(scene, module).map(|(really, _)| really);
        let name = &module.module.name;
        let outcome = {
            let bench = locked(&self.bench);
            let before = bench.runs.iter().filter(|run| run.module == *name && run.step == step).count();
            let process = bench.process.to_le_bytes();
            let chance = keyed(bench.process, &[name.as_str().as_bytes(), &process, &before.to_le_bytes()]);
            outcome(step, really, bench.trouble, chance)
        };
        let (module, sees) = (name.clone(), module.sees);
        locked(&self.bench).runs.push(Run { module, sees, step, outcome: outcome.clone() });
        let log = format!("{step:?} of {name}: {outcome:?}").into_bytes();
        let run = StepRun {
            step,
            attempt: 1,
            outcome,
            command: vec!["simulated".to_owned()],
            exit: Exit::Code(0),
            stdout: Stream::of(&log),
            stderr: Stream::default(),
            log: None,
            duration_ms: 1,
            tools: BTreeMap::new(),
            sandbox: None,
            notes: Vec::new(),
        };
        Ran { run, log }
    }
}

fn outcome(step: Step, really: Option<Really>, trouble: Option<Trouble>, chance: u64) -> Outcome {
    let failed = |reason: &str, lasting| Outcome::Failed { reason: reason.to_owned(), lasting };
    let unknown = |reason: &str| Outcome::Unknown { reason: reason.to_owned() };
    let passed = Outcome::Passed { weak: None };
    let Some(really) = really else { return unknown("its source is not at hand") };
    match (step, trouble, really) {
        (_, Some(Trouble::Nothing), _) => unknown("nothing can be run"),
        (Step::Build, Some(Trouble::NoBuilder), _) => unknown("there is no builder"),
        (Step::Build, _, Really::Broken) => failed("it does not build", Lasting::Permanent),
        (Step::Host, Some(Trouble::HostFails), _) => failed("the host fails", Lasting::Transient),
        (Step::Host, Some(Trouble::HostHangs), _) => {
            Outcome::TimedOut { reason: "the host hangs".to_owned() }
        }
        (Step::Host, _, Really::Fails) => failed("it ends at once", Lasting::Transient),
        (Step::Host, _, Really::Hangs) => Outcome::TimedOut { reason: "it hangs".to_owned() },
        (Step::Host, _, Really::Obscure) => unknown("the host cannot tell"),
        (Step::Host, _, Really::Silent) => Outcome::Passed { weak: Some("no sign".to_owned()) },
        (Step::Host, _, Really::Flaky) if chance.is_multiple_of(2) => failed("this time", Lasting::Transient),
        _ => passed,
    }
}

impl Runner for Machine {
    fn fingerprint(&self) -> Result<String, String> {
        let bench = locked(&self.bench);
        match bench.trouble {
            Some(Trouble::Nothing) => Err("nothing can be run here".to_owned()),
            _ => Ok(format!("simulated {}", bench.version)),
        }
    }
}

impl NixEvaluator for Machine {
    fn evaluate(&self, scene: &Scene, modules: &[&Placed]) -> Vec<Evaluated> {
        self.faults.plain("evaluator.evaluate", || {
            let one = |module: &&Placed| {
                let ran = self.run(Step::Eval, scene, module);
                let passed = matches!(ran.run.outcome, Outcome::Passed { .. });
                let built = self.really(scene, module).filter(|_| passed);
                let derivations = built.map(|(_, content)| {
                    let hash = digest(&[module.module.name.as_str().as_bytes(), &content.to_le_bytes()]);
                    let path = format!("/nix/store/{}.drv", Cid::from_sha256(hash));
                    ("packages.x86_64-linux.default".to_owned(), path)
                });
                Evaluated { derivations: derivations.into_iter().collect(), ran }
            };
            modules.iter().map(one).collect()
        })
    }
}

impl Builder for Machine {
    fn build(&self, scene: &Scene, module: &Placed, derivations: &Derivations) -> Built {
        let ran = self.run(Step::Build, scene, module);
        let outputs =
            derivations.keys().map(|name| (name.clone(), PathBuf::from("/nix/store/out"))).collect();
        Built { outputs, ran }
    }
}

impl ModuleHost for Machine {
    fn load(&self, scene: &Scene, module: &Placed, _: &BTreeMap<String, PathBuf>) -> Ran {
        self.run(Step::Host, scene, module)
    }
}

impl Checker for Machine {
    fn check(&self, scene: &Scene, module: &Placed) -> Ran {
        self.run(Step::Command, scene, module)
    }
}
