//! A workspace whose modules are verified by a checker that reads their files, and cycles over it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::durable::{Disk, RealDisk};
use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::adapters::journal::{JournalReader, JournalWriter};
use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::adapters::unavailable::Unavailable;
use lambda_os::domain::heal::{HealLimits, Healed, Reason, Rung};
use lambda_os::domain::health::evidence::Lasting;
use lambda_os::domain::health::{Exit, Outcome, Placed, Scene, Step, StepRun, Stream};
use lambda_os::domain::id::{ModuleName, ObjectId};
use lambda_os::domain::report::ModuleHealth;
use lambda_os::domain::state::State;
use lambda_os::ops::heal::{HealLook, HealOptions, HealOutcome, HealWorld, heal};
use lambda_os::ops::recover::{self, Workspace as Reached};
use lambda_os::ops::verify::{Bench, Committed, Known, Runners, Verified, Where, verify};
use lambda_os::ports::{Checker, PortResult, Ran, Repository as _, Runner, SnapshotOptions};
use lambda_os::sample::{SampleModule, SampleSpec};

use crate::support::{self, Workspace, git};

const CLOCK: SystemClock = SystemClock;

/// What the checker is asked.
pub(crate) struct Asked {
    pub(crate) module: String,
    /// The first line of the module's `src/state.txt` at its pin.
    pub(crate) state: String,
    /// How many times it was asked about this module at this pin before.
    pub(crate) before: u32,
    /// True in a candidate, false in the workspace as it is.
    pub(crate) candidate: bool,
}

type Rule = Box<dyn Fn(&Asked) -> Outcome + Send>;

/// A checker whose verdicts a test decides.
pub(crate) struct Fake {
    upstreams: BTreeMap<String, PathBuf>,
    asked: Mutex<BTreeMap<(String, ObjectId), u32>>,
    pub(crate) log: Mutex<Vec<(String, ObjectId, bool)>>,
    rule: Mutex<Rule>,
    tools: Mutex<String>,
}

pub(crate) fn passes() -> Outcome {
    Outcome::Passed { weak: None }
}

pub(crate) fn fails(reason: &str) -> Outcome {
    Outcome::Failed { reason: reason.to_owned(), lasting: Lasting::Transient }
}

/// What every module does unless a test says otherwise: a state that begins with `broken` fails.
pub(crate) fn by_state(asked: &Asked) -> Outcome {
    if asked.state.starts_with("broken") { fails("it says that it is broken") } else { passes() }
}

impl Fake {
    pub(crate) fn rule(&self, rule: impl Fn(&Asked) -> Outcome + Send + 'static) {
        *self.rule.lock().expect("no panic meanwhile") = Box::new(rule);
    }

    /// The machine's tools are others from now on.
    pub(crate) fn other_tools(&self) {
        self.tools.lock().expect("no panic meanwhile").push('+');
    }
}

impl Runner for Fake {
    fn fingerprint(&self) -> Result<String, String> {
        Ok(self.tools.lock().expect("no panic meanwhile").clone())
    }
}

impl Checker for Fake {
    fn check(&self, scene: &Scene, placed: &Placed) -> Ran {
        let module = placed.module.name.to_string();
        let file = format!("{}:src/state.txt", placed.pin);
        let state = git(&self.upstreams[&module], ["show", &file]);
        let state = state.lines().next().unwrap_or_default().to_owned();
        let candidate = !scene.edits.is_empty();
        let before = {
            let mut asked = self.asked.lock().expect("no panic meanwhile");
            let count = asked.entry((module.clone(), placed.pin)).or_default();
            *count += 1;
            *count - 1
        };
        self.log.lock().expect("no panic meanwhile").push((module.clone(), placed.pin, candidate));
        let asked = Asked { module, state, before, candidate };
        let outcome = self.rule.lock().expect("no panic meanwhile")(&asked);
        let run = StepRun {
            step: Step::Command,
            attempt: 1,
            outcome,
            command: vec!["check".to_owned()],
            exit: Exit::Code(0),
            stdout: Stream::default(),
            stderr: Stream::default(),
            log: None,
            duration_ms: 1,
            tools: BTreeMap::new(),
            sandbox: None,
            notes: Vec::new(),
        };
        Ran { run, log: format!("asked about {}\n", asked.state).into_bytes() }
    }
}

pub(crate) struct World {
    pub(crate) workspace: Workspace,
    pub(crate) fake: Fake,
    /// Modules that a proposal moves alone.
    pub(crate) modules: Vec<String>,
    pub(crate) options: HealOptions,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&["init"])
    }

    /// A small one, to be copied often.
    pub(crate) fn small() -> Self {
        Self::sized(6, &["init"])
    }

    /// With these arguments to begin with.
    pub(crate) fn with(init: &[&str]) -> Self {
        let world = Self::sized(14, init);
        assert!(world.modules.len() >= 4, "{:?}", world.modules);
        world
    }

    fn sized(modules: usize, init: &[&str]) -> Self {
        let workspace = Workspace::new(&SampleSpec::sized(modules, 2));
        let upstreams = workspace
            .sample
            .modules
            .iter()
            .map(|module| (module.name.clone(), module.upstream.clone()))
            .collect();
        let fake = Fake {
            upstreams,
            asked: Mutex::default(),
            log: Mutex::default(),
            rule: Mutex::new(Box::new(by_state)),
            tools: Mutex::new("tools 1".to_owned()),
        };
        let options = HealOptions { rung: Rung::Assisted, limits: HealLimits::default() };
        let mut world = Self { workspace, fake, modules: Vec::new(), options };
        world.ok(init);
        world.ok(&["run", "--once"]);
        let list: serde_json::Value =
            serde_json::from_str(&world.ok(&["proposal", "list", "--json"])).expect("a list");
        let rows = list["proposals"].as_array().expect("rows");
        let alone = rows.iter().filter(|row| row["pins"].as_array().is_some_and(|pins| pins.len() == 1));
        world.modules =
            alone.filter_map(|row| row["pins"][0]["module"].as_str().map(str::to_owned)).collect();
        assert!(!world.modules.is_empty(), "{list}");
        world
    }

    pub(crate) fn run(&self, args: &[&str]) -> (i32, String) {
        let output = self.workspace.lambda_os().args(args).output().expect("lambda-os runs");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = output.status.code().expect("it ended by itself");
        let said = if code == 0 { shown } else { support::said(&output) };
        (code, said)
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let (code, said) = self.run(args);
        assert!(code == 0 || (args[0] == "run" && code == 3), "{args:?}: {code} {said}");
        said
    }

    pub(crate) fn module(&self, name: &str) -> &SampleModule {
        self.workspace.sample.module(name)
    }

    pub(crate) fn path(&self) -> &Path {
        self.workspace.path()
    }

    /// Push a commit and bring it into the workspace, as people do.
    #[track_caller]
    pub(crate) fn upgrade(&mut self, name: &str, message: &str) -> ObjectId {
        let tip = self.workspace.sample.push_commit(name, message).expect("pushed");
        self.ok(&["run", "--once"]);
        self.ok(&["proposal", "approve", "--yes", name]);
        self.ok(&["proposal", "apply", name]);
        assert_eq!(self.pin(name), tip);
        tip
    }

    pub(crate) fn pin(&self, name: &str) -> ObjectId {
        let at = format!("HEAD:{}", self.module(name).path);
        git(self.path(), ["rev-parse", &at]).trim().parse().expect("an id")
    }

    pub(crate) fn checked_out(&self, name: &str) -> ObjectId {
        git(&self.module(name).checkout, ["rev-parse", "HEAD"]).trim().parse().expect("an id")
    }

    pub(crate) fn head(&self) -> String {
        git(self.path(), ["rev-parse", "HEAD"])
    }

    pub(crate) fn state_dir(&self) -> StateDir {
        state_dir(&self.workspace.state())
    }

    pub(crate) fn state(&self) -> State {
        JournalReader::open(&self.state_dir()).expect("a journal").state().clone()
    }

    pub(crate) fn entries(&self, kind: &str) -> Vec<serde_json::Value> {
        entries(&self.workspace.state(), kind)
    }

    /// One cycle, as far as healing goes: recover, look, verify, heal.
    #[track_caller]
    pub(crate) fn cycle(&self) -> HealOutcome {
        self.cycle_at(self.path(), &self.workspace.state(), &RealDisk).expect("a cycle")
    }

    /// The same elsewhere: on a copy of the workspace and its state, on another disk.
    pub(crate) fn cycle_at<D: Disk + Clone + Send + Sync + 'static>(
        &self,
        path: &Path,
        state: &Path,
        disk: &D,
    ) -> PortResult<HealOutcome> {
        let state_dir = state_dir(state);
        let settings = DiscoverSettings { allow_local_urls: true, ..DiscoverSettings::default() };
        let environment =
            Environment { home: Some(self.workspace.temp.path().to_owned()), ..Environment::default() };
        let repository = GitRepository::open_in(path, settings, environment)?
            .with_mirrors(state_dir.mirrors())
            .with_disk(Arc::new(disk.clone()));
        let sources = Mirrors::open(&state_dir.mirrors(), repository.work_tree(), repository.common_dir());
        let mut journal = JournalWriter::open_on(&state_dir, &CLOCK, Box::new(disk.clone()))?;
        let before = journal.state().clone();
        recover::recover(
            &mut journal,
            &before,
            Reached { repository: &repository, superproject: &repository },
        )?;
        let mut state = journal.state().clone();
        let nothing = Unavailable { why: "it is not needed here".to_owned() };
        let own_steps = BTreeMap::new();
        let runners = Runners {
            evaluator: &nothing,
            builder: &nothing,
            host: &nothing,
            checker: &self.fake,
            steps: &[Step::Command],
            own_steps: &own_steps,
            parallel: 1,
        };
        let discovery = repository.discover()?;
        let snapshot = repository.snapshot(&discovery, &SnapshotOptions::default())?;
        let head = snapshot.superproject.head.expect("a commit");
        let scene = Committed::read(&repository, &discovery.modules, head)?.as_it_is();
        let names: Vec<ModuleName> = discovery.modules.iter().map(|module| module.name.clone()).collect();
        let stop = || false;
        let mut bench = Bench { runners, journal: &mut journal, clock: &CLOCK, stop: &stop };
        let verified = verify(&mut bench, &mut state, &scene, &names, Known::Stands, Where::Base)?;
        let rows: Vec<ModuleHealth> = verified.into_values().map(row).collect();
        let mut world = HealWorld {
            repository: &repository,
            superproject: &repository,
            sources: &sources,
            runners,
            journal: &mut journal,
            clock: &CLOCK,
            stop: &stop,
        };
        let look = HealLook { discovery: &discovery, snapshot: &snapshot, rows: &rows };
        let outcome = heal(&mut world, &mut state, look, self.options)?;
        assert_eq!(&state, journal.state(), "the state beside the journal is what the journal adds up to");
        Ok(outcome)
    }

    /// The one module that a cycle healed.
    #[track_caller]
    pub(crate) fn healed(&self) -> Healed {
        let outcome = self.cycle();
        let [healed] = outcome.report.healed.as_slice() else { panic!("{outcome:?}") };
        assert!(outcome.moved);
        healed.clone()
    }

    /// Why a cycle did not heal a module; nothing may have moved.
    #[track_caller]
    pub(crate) fn left(&self, name: &str) -> Reason {
        let before = self.head();
        let outcome = self.cycle();
        assert_eq!((before, outcome.moved), (self.head(), false), "{outcome:?}");
        Self::reason(&outcome, name)
    }

    #[track_caller]
    pub(crate) fn reason(outcome: &HealOutcome, name: &str) -> Reason {
        assert_eq!(outcome.report.healed, [], "{outcome:?}");
        let row = outcome.report.not_healed.iter().find(|row| row.module.as_str() == name);
        row.unwrap_or_else(|| panic!("{outcome:?}")).reason.clone()
    }

    /// What must hold whenever nothing runs: whatever was applied has its certificate and its end, and
    /// what was healed was seen to pass afterwards.
    #[track_caller]
    pub(crate) fn assert_sound(&self) {
        self.ok(&["audit", "verify"]);
        assert_journal_sound(&self.workspace.state());
    }
}

/// The entries of one type.
pub(crate) fn entries(state: &Path, kind: &str) -> Vec<serde_json::Value> {
    let journal = std::fs::read_to_string(state.join("audit.jsonl")).expect("a journal");
    journal
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an entry"))
        .filter(|entry| entry["type"] == kind)
        .collect()
}

#[track_caller]
pub(crate) fn assert_journal_sound(state: &Path) {
    let of = |kind: &str| entries(state, kind);
    let (started, finished) = (of("apply.started"), of("apply.finished"));
    assert_eq!(started.len(), finished.len());
    let commits: Vec<_> = finished
        .iter()
        .filter(|entry| entry["body"]["outcome"] == "applied")
        .map(|entry| entry["body"]["commit"].clone())
        .collect();
    let mut once = commits.clone();
    once.dedup();
    assert_eq!(once, commits);
    let passes = of("verify.finished");
    for healed in of("heal.finished").iter().filter(|it| it["body"]["outcome"] == "healed") {
        let after = finished
            .iter()
            .find(|entry| entry["body"]["commit"] == healed["body"]["commit"])
            .expect("it was applied");
        let seen = passes.iter().any(|it| {
            it["body"]["evidence"] == healed["body"]["evidence"]
                && it["body"]["verdict"] == "healthy"
                && it["body"]["base"] == true
                && it["seq"].as_u64() > after["seq"].as_u64()
                && it["seq"].as_u64() < healed["seq"].as_u64()
        });
        assert!(seen, "healed without having passed afterwards: {healed}");
    }
}

pub(crate) fn state_dir(at: &Path) -> StateDir {
    StateDir::resolve_with(Some(at), None, None, Path::new("/nonexistent")).expect("a state directory")
}

fn row(verified: Verified) -> ModuleHealth {
    let Verified { module, revision, key, verdict, flaky, evidence, since_ms, .. } = verified;
    ModuleHealth { name: module, verdict, revision, key, evidence, since_ms, flaky, asked: true }
}

/// Copy a directory with everything in it.
pub(crate) fn copied(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp starts");
    assert!(status.success());
}
