//! A workspace whose cycles run here, with a checker that decides by what a module's files say at the
//! revision that the scene has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::adapters::governors::People;
use lambda_os::adapters::journal::JournalWriter;
use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::adapters::unavailable::Unavailable;
use lambda_os::domain::candidates::Candidates;
use lambda_os::domain::drift::DriftLimits;
use lambda_os::domain::heal::{HealLimits, Rung};
use lambda_os::domain::health::evidence::{Exit, Lasting};
use lambda_os::domain::health::{Claims, Outcome, Placed, Scene, Step, StepRun};
use lambda_os::domain::id::{Cid, ModuleName, ObjectId, RepoPath};
use lambda_os::domain::ladder::Ladder;
use lambda_os::domain::plan::PlanLimits;
use lambda_os::domain::report::CycleReport;
use lambda_os::domain::state::State;
use lambda_os::ops::cycle::{self, CycleOptions};
use lambda_os::ops::heal::HealOptions;
use lambda_os::ops::verify::Runners;
use lambda_os::ports::{
    Checker, Derivations, DetectOptions, Evaluated, Journal as _, NixEvaluator, Ran, Runner, SnapshotOptions,
    Sources as _,
};
use lambda_os::sample::SampleSpec;

use crate::support::Workspace;

/// A workspace, and what its cycles need.
pub(crate) struct World {
    pub(crate) workspace: Workspace,
    repository: GitRepository,
    mirrors: Mirrors,
    pub(crate) checker: Files,
    /// The steps that every module has.
    pub(crate) steps: Vec<Step>,
    /// How much the configuration lets be done without a person.
    pub(crate) rung: Rung,
}

impl World {
    pub(crate) fn new(modules: usize) -> Self {
        let workspace = Workspace::new(&SampleSpec::sized(modules, 4));
        let settings = DiscoverSettings { allow_local_urls: true, ..DiscoverSettings::default() };
        let repository =
            GitRepository::open_in(workspace.path(), settings, Environment::default()).expect("it opens");
        let open =
            || Mirrors::open(&workspace.state().join("mirrors"), workspace.path(), repository.common_dir());
        let pinned = workspace.sample.modules.iter();
        let pinned = pinned.map(|module| (ModuleName::new(&module.name), module.pinned)).collect();
        let (mirrors, files) = (open(), open());
        let checker = Files {
            mirrors: files,
            pinned,
            breaks: BTreeMap::new(),
            always: BTreeSet::new(),
            missing: None,
            machine_is_broken: AtomicBool::new(false),
            runs: Mutex::default(),
        };
        Self { workspace, repository, mirrors, checker, steps: vec![Step::Command], rung: Rung::Assisted }
    }

    /// A commit with this first line in what the checker reads.
    pub(crate) fn push(&mut self, module: &str, line: &str) -> ObjectId {
        self.workspace.sample.push_commit(module, line).expect("it is pushed")
    }

    /// The modules that are behind.
    pub(crate) fn behind(&self) -> Vec<String> {
        let modules = self.workspace.sample.modules.iter();
        modules.filter(|module| module.behind > 0).map(|module| module.name.clone()).collect()
    }

    /// The journal, to write.
    pub(crate) fn journal<T>(&self, act: impl FnOnce(&mut JournalWriter<'_>) -> T) -> T {
        let clock = SystemClock;
        act(&mut JournalWriter::open(&self.directory(), &clock).expect("a journal"))
    }

    fn directory(&self) -> StateDir {
        StateDir::resolve(Some(&self.workspace.state()), None, self.workspace.path())
            .expect("a state directory")
    }

    /// One cycle; gives its report and how often a step was run in it.
    pub(crate) fn cycle(&self) -> (CycleReport, usize) {
        self.cycle_with(true)
    }

    pub(crate) fn cycle_with(&self, verified: bool) -> (CycleReport, usize) {
        self.cycle_on(verified, None)
    }

    /// One cycle that knows the journal as it was then.
    pub(crate) fn cycle_from(&self, state: State) -> (CycleReport, usize) {
        self.cycle_on(true, Some(state))
    }

    fn cycle_on(&self, verified: bool, state: Option<State>) -> (CycleReport, usize) {
        let before = self.checker.runs();
        let clock = SystemClock;
        let mut journal = JournalWriter::open(&self.directory(), &clock).expect("a journal");
        let state = state.unwrap_or_else(|| journal.state().clone());
        let absent = Unavailable { why: "it is not there".to_owned() };
        let own_steps = BTreeMap::new();
        let runners = Runners {
            evaluator: &self.checker,
            builder: &absent,
            host: &absent,
            checker: &self.checker,
            steps: &self.steps,
            own_steps: &own_steps,
            parallel: 2,
        };
        let options = CycleOptions {
            snapshot: SnapshotOptions::default(),
            detect: DetectOptions {
                offline: false,
                probe_timeout: Duration::from_mins(1),
                fetch_timeout: Duration::from_mins(1),
                parallel: 2,
                parallel_per_host: 2,
                max_mirror_bytes: 1 << 30,
                max_refs: 1000,
                allow_local_urls: true,
            },
            drift: DriftLimits::default(),
            plan: PlanLimits::default(),
            heal: HealOptions { rung: Rung::Assisted, limits: HealLimits::default() },
            ladder: Ladder { rung: self.rung, tracks: BTreeMap::new() },
            commands: Vec::new(),
        };
        let mut world = cycle::World {
            repository: &self.repository,
            superproject: &self.repository,
            sources: &self.mirrors,
            runners: verified.then_some(runners),
            governor: &People,
            journal: &mut journal,
            clock: &clock,
            stop: &|| false,
        };
        let report = cycle::run(&mut world, &state, &options, "once").expect("a cycle");
        (report, self.checker.runs() - before)
    }

    pub(crate) fn state(&self) -> State {
        let clock = SystemClock;
        JournalWriter::open(&self.directory(), &clock).expect("a journal").state().clone()
    }

    pub(crate) fn load<T: serde::de::DeserializeOwned>(&self, cid: &Cid) -> T {
        let clock = SystemClock;
        let journal = JournalWriter::open(&self.directory(), &clock).expect("a journal");
        let bytes = journal.load(cid).expect("readable").expect("stored");
        serde_json::from_slice(&bytes).expect("of this shape")
    }

    /// What the newest combination gave.
    pub(crate) fn found(&self) -> Candidates {
        self.load(&self.state().candidates.expect("something was combined").outcome)
    }

    pub(crate) fn claims(&self, cid: &Cid) -> Claims {
        self.load(cid)
    }

    /// The types of all entries.
    pub(crate) fn entries(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.workspace.state().join("audit.jsonl")).expect("a journal");
        let kind = |line: &str| {
            let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
            entry["type"].as_str().expect("a type").to_owned()
        };
        text.lines().map(kind).collect()
    }
}

/// Decides by the first line of `src/state.txt` at the module's pin:
///
/// - `broken …`: it fails;
/// - `with X …`: it fails when X is not where it was at first;
/// - `needs X …`: it fails when X is where it was at first;
/// - `blind …`: that could not be found out.
pub(crate) struct Files {
    mirrors: Mirrors,
    pinned: BTreeMap<ModuleName, ObjectId>,
    /// A module that fails when another one moved, whatever its own files say.
    pub(crate) breaks: BTreeMap<ModuleName, ModuleName>,
    /// Modules that fail wherever they are.
    pub(crate) always: BTreeSet<ModuleName>,
    /// Why nothing can be run.
    pub(crate) missing: Option<String>,
    /// Everything fails, for now.
    pub(crate) machine_is_broken: AtomicBool,
    runs: Mutex<Vec<ModuleName>>,
}

impl Files {
    fn runs(&self) -> usize {
        self.runs.lock().expect("no panic").len()
    }

    fn moved(&self, scene: &Scene, name: &ModuleName) -> bool {
        scene.modules.get(name).map(|placed| placed.pin) != self.pinned.get(name).copied()
    }

    fn outcome(&self, scene: &Scene, placed: &Placed) -> Outcome {
        let failed = |reason: String, lasting| Outcome::Failed { reason, lasting };
        if self.machine_is_broken.load(Ordering::Relaxed) {
            return failed("no memory".to_owned(), Lasting::Transient);
        }
        let name = &placed.module.name;
        if self.always.contains(name) {
            return failed("it always does".to_owned(), Lasting::Permanent);
        }
        if let Some(other) = self.breaks.get(name).filter(|other| self.moved(scene, other)) {
            return failed(format!("{other} is another"), Lasting::Permanent);
        }
        let path = RepoPath::from("src/state.txt");
        let content = self.mirrors.file(&placed.module, placed.pin, &path).expect("the mirror is there");
        let content = String::from_utf8(content.unwrap_or_default()).expect("text");
        let line = content.lines().next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let (word, other) = (words.next().unwrap_or_default(), words.next().map(ModuleName::new));
        match (word, other) {
            ("broken", _) => failed(line.to_owned(), Lasting::Permanent),
            ("with", Some(other)) if self.moved(scene, &other) => failed(line.to_owned(), Lasting::Permanent),
            ("needs", Some(other)) if !self.moved(scene, &other) => {
                failed(line.to_owned(), Lasting::Permanent)
            }
            ("blind", _) => Outcome::Unknown { reason: line.to_owned() },
            _ => Outcome::Passed { weak: None },
        }
    }

    fn ran(&self, step: Step, scene: &Scene, placed: &Placed) -> Ran {
        self.runs.lock().expect("no panic").push(placed.module.name.clone());
        let outcome = self.outcome(scene, placed);
        let run = StepRun { outcome, exit: Exit::Code(0), ..StepRun::not_run(step, "") };
        Ran { run, log: format!("the log of {}", placed.module.name).into_bytes() }
    }
}

impl Runner for Files {
    fn fingerprint(&self) -> Result<String, String> {
        self.missing.clone().map_or_else(|| Ok("files".to_owned()), Err)
    }
}

impl Checker for Files {
    fn check(&self, scene: &Scene, placed: &Placed) -> Ran {
        self.ran(Step::Command, scene, placed)
    }
}

/// Nothing that moves is anything that Nix builds from.
impl NixEvaluator for Files {
    fn evaluate(&self, scene: &Scene, modules: &[&Placed]) -> Vec<Evaluated> {
        let one = |placed: &&Placed| {
            let name = placed.module.name.as_str();
            let path = format!("/nix/store/00000000000000000000000000000000-{name}.drv");
            let derivations = Derivations::from([("packages.x86_64-linux.default".to_owned(), path)]);
            Evaluated { derivations, ran: self.ran(Step::Eval, scene, placed) }
        };
        modules.iter().map(one).collect()
    }
}
