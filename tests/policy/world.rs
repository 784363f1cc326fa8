//! A workspace with a policy of our own: its verbs by the program, its cycles also here, with clocks
//! that are turned by hand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::adapters::governors::People;
use lambda_os::adapters::journal::JournalWriter;
use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::domain::drift::DriftLimits;
use lambda_os::domain::event::Event;
use lambda_os::domain::heal::{HealLimits, Rung};
use lambda_os::domain::ladder::Ladder;
use lambda_os::domain::plan::PlanLimits;
use lambda_os::domain::policy::Policy;
use lambda_os::domain::report::CycleReport;
use lambda_os::ops::cycle::{self, CycleOptions};
use lambda_os::ops::heal::HealOptions;
use lambda_os::ports::{Clock, DetectOptions, Journal as _, SnapshotOptions};
use lambda_os::sample::SampleSpec;
use serde_json::Value;

use crate::support::Workspace;

/// The rules that every policy here has beside its own.
const HEAD: &str = "v = 2\nmax_open_proposals = 100\nproposal_days = 30\nallow_unverified = true\n";

pub(crate) struct World {
    pub(crate) workspace: Workspace,
    pub(crate) clock: Hands,
}

/// Clocks that are turned by hand.
#[derive(Debug)]
pub(crate) struct Hands {
    wall_ms: AtomicI64,
    mono_ms: AtomicU64,
}

impl Hands {
    /// Time passes.
    pub(crate) fn pass(&self, ms: u64) {
        self.mono_ms.fetch_add(ms, Ordering::Relaxed);
        self.wall_ms.fetch_add(i64::try_from(ms).expect("not that long"), Ordering::Relaxed);
    }

    /// Somebody sets the clock on the wall.
    pub(crate) fn set_by(&self, ms: i64) {
        self.wall_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn wall_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::Relaxed)
    }
    fn mono_ms(&self) -> u64 {
        self.mono_ms.load(Ordering::Relaxed)
    }
    fn mono_us(&self) -> u64 {
        self.mono_ms() * 1000
    }
    fn boot(&self) -> String {
        "boot".to_owned()
    }
}

/// A finished run of the program.
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stderr))
    }

    #[track_caller]
    pub(crate) fn is(&self, exit: i32, says: &str) {
        assert_eq!(self.exit, exit, "{}{}", self.stdout, self.stderr);
        let all = format!("{}{}", self.stdout, self.stderr);
        assert!(all.contains(says), "{says:?} in {all}");
    }
}

impl World {
    /// A sample of which this is wrong, and whose policy has these rules (TOML), before `init`.
    pub(crate) fn with(spec: &SampleSpec, rules: &str) -> Self {
        let workspace = Workspace::new(spec);
        let clock = Hands { wall_ms: AtomicI64::new(1_790_000_000_000), mono_ms: AtomicU64::new(1_000) };
        let world = Self { workspace, clock };
        let policy = Policy::from_text(&format!("{HEAD}{rules}")).unwrap_or_else(|error| panic!("{error}"));
        let mut journal = JournalWriter::open(&world.directory(), &world.clock).expect("a journal");
        let policy = journal.store(&policy.to_canonical().expect("canonical")).expect("stored");
        let adopted = Event::PolicyAdopted { policy, enacts: None, certificate: None };
        journal.append("policy", &adopted).expect("adopted");
        drop(journal);
        world.run(&["init"]).is(0, "");
        world
    }

    fn directory(&self) -> StateDir {
        StateDir::resolve(Some(&self.workspace.state()), None, self.workspace.path()).expect("a directory")
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let output = self.workspace.lambda_os().args(args).output().expect("lambda-os runs");
        Ran {
            exit: output.status.code().expect("it ends by itself"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The open proposals, by the program.
    pub(crate) fn proposals(&self) -> Vec<String> {
        let listed = self.run(&["proposal", "list", "--json"]).json();
        let ids = listed["proposals"].as_array().expect("a list").iter();
        ids.map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// The bodies of the entries of a type.
    pub(crate) fn entries(&self, kind: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.workspace.state().join("audit.jsonl")).expect("a journal");
        let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        entries.filter(|entry| entry["type"] == kind).map(|entry| entry["body"].clone()).collect()
    }

    /// One cycle here, by the clocks that are turned by hand.
    pub(crate) fn cycle(&self) -> CycleReport {
        let repository = self.repository();
        let mirrors = Mirrors::open(
            &self.workspace.state().join("mirrors"),
            self.workspace.path(),
            repository.common_dir(),
        );
        let mut journal = JournalWriter::open(&self.directory(), &self.clock).expect("a journal");
        let state = journal.state().clone();
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
            heal: HealOptions { rung: Rung::Manual, limits: HealLimits::default() },
            ladder: Ladder { rung: Rung::Manual, tracks: BTreeMap::new() },
            commands: Vec::new(),
        };
        let mut world = cycle::World {
            repository: &repository,
            superproject: &repository,
            sources: &mirrors,
            runners: None,
            governor: &People,
            journal: &mut journal,
            clock: &self.clock,
            stop: &|| false,
        };
        cycle::run(&mut world, &state, &options, "once").expect("a cycle")
    }

    pub(crate) fn repository(&self) -> GitRepository {
        let settings = DiscoverSettings { allow_local_urls: true, ..DiscoverSettings::default() };
        GitRepository::open_in(self.workspace.path(), settings, Environment::default()).expect("a repository")
    }

    /// The journal's end by the system's clock: nothing here may have been written by it.
    pub(crate) fn audited(&self) {
        let clock = SystemClock;
        drop(JournalWriter::open(&self.directory(), &clock).expect("an intact journal"));
        self.run(&["audit", "verify"]).is(0, "");
    }
}
