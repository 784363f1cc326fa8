//! A whole application on a disk that fails once, journal and workspace alike: afterwards, once the
//! program has looked again, all of it is there or nothing of it.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::adapters::governors::People;
use lambda_os::adapters::journal::JournalWriter;
use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::domain::id::ProposalId;
use lambda_os::ops::apply::{Applied, Mode, World, apply};
use lambda_os::ops::authority::Authority;
use lambda_os::ops::recover::{self, Workspace as Reached};
use lambda_os::ports::PortResult;
use lambda_os::sample::{SampleModule, SampleSpec};
use support::faulty::{Fault, Faulty};
use support::{Workspace, git, temp_dir};

const CLOCK: SystemClock = SystemClock;

/// A workspace with one approved proposal.
fn approved() -> (Workspace, ProposalId, SampleModule) {
    let workspace = Workspace::new(&SampleSpec::sized(4, 2));
    let run = |args: &[&str]| {
        let output = workspace.lambda_os().args(args).output().expect("lambda-os runs");
        let code = output.status.code();
        assert!(code == Some(0) || code == Some(3), "{args:?}: {}", support::said(&output));
        output.stdout
    };
    run(&["init"]);
    run(&["run", "--once"]);
    let list: serde_json::Value =
        serde_json::from_slice(&run(&["proposal", "list", "--json"])).expect("a list");
    let row = list["proposals"]
        .as_array()
        .expect("rows")
        .iter()
        .find(|row| row["pins"].as_array().is_some_and(|pins| pins.len() == 1))
        .expect("a proposal");
    let id = row["id"].as_str().expect("an id").to_owned();
    let name = row["pins"][0]["module"].as_str().expect("a name");
    let module = workspace.sample.module(name).clone();
    run(&["proposal", "approve", "--yes", &id]);
    (workspace, id.parse().expect("an id"), module)
}

struct Copied(tempfile::TempDir);

impl Copied {
    fn of(workspace: &Workspace) -> Self {
        let temp = temp_dir();
        let mut command = std::process::Command::new("cp");
        command.arg("-a").arg(workspace.path()).arg(workspace.state()).arg(temp.path());
        assert!(command.status().expect("cp starts").success());
        Self(temp)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("workspace")
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// Apply in this process, on this disk.
    fn apply(&self, id: ProposalId, disk: &Faulty) -> PortResult<Applied> {
        let state_dir = StateDir::resolve_with(Some(&self.state()), None, None, Path::new("/nonexistent"))?;
        let settings = DiscoverSettings { allow_local_urls: true, ..DiscoverSettings::default() };
        let environment = Environment { home: Some(self.0.path().to_owned()), ..Environment::default() };
        let repository = GitRepository::open_in(&self.path(), settings, environment)?
            .with_mirrors(state_dir.mirrors())
            .with_disk(Arc::new(disk.clone()));
        let sources = Mirrors::open(&state_dir.mirrors(), repository.work_tree(), repository.common_dir());
        let mut journal = JournalWriter::open_on(&state_dir, &CLOCK, Box::new(disk.clone()))?;
        let state = journal.state().clone();
        recover::recover(
            &mut journal,
            &state,
            Reached { repository: &repository, superproject: &repository },
        )?;
        let state = journal.state().clone();
        let mut world = World {
            repository: &repository,
            superproject: &repository,
            sources: &sources,
            journal: &mut journal,
            authority: Authority::Ballots(&People),
            clock: &CLOCK,
            commands: &[],
        };
        apply(&mut world, &state, id, Mode::Act)
    }

    /// The program, on a disk that works.
    fn run(&self, args: &[&str]) -> (i32, String) {
        let config = self.0.path().join("config.toml");
        std::fs::write(&config, "[workspace]\nallow_local_urls = true\n").expect("written");
        let mut command = support::lambda_os(self.0.path());
        command.arg("-C").arg(self.path()).arg("--state-dir").arg(self.state());
        let output = command.arg("--config").arg(config).args(args).output().expect("it runs");
        (output.status.code().expect("it ended by itself"), support::said(&output))
    }

    fn entries(&self, kind: &str) -> Vec<serde_json::Value> {
        let journal = std::fs::read_to_string(self.state().join("audit.jsonl")).expect("a journal");
        journal
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an entry"))
            .filter(|entry| entry["type"] == kind)
            .collect()
    }
}

#[test]
fn every_failing_call_of_an_application_leaves_all_of_it_or_nothing() {
    let (workspace, id, module) = approved();
    let before = git(workspace.path(), ["rev-parse", "HEAD"]);
    let faults = [Fault::Fails(rustix::io::Errno::NOSPC), Fault::FailsButPersists, Fault::Stops];
    let (mut undone, mut done) = (0, 0);
    // Each call meets one of the faults; a landing's own calls meet all of them elsewhere.
    for at in 0.. {
        let fault = faults[at % faults.len()];
        let copy = Copied::of(&workspace);
        let disk = Faulty::at(at, fault);
        let applied = copy.apply(id, &disk);
        let Some(failed) = disk.failed() else {
            applied.expect("nothing failed");
            assert!(at > 40, "only {at} calls");
            break;
        };
        let place = format!("{fault:?} at call {at} ({failed} on {:?})", disk.failed_on());

        let (code, said) = copy.run(&["run", "--once"]);
        assert!(code == 0 || code == 3, "{place}: {said}");
        let head = git(&copy.path(), ["rev-parse", "HEAD"]);
        let (started, finished) = (copy.entries("apply.started"), copy.entries("apply.finished"));
        assert_eq!(started.len(), finished.len(), "{place}");
        let landed = finished.iter().any(|entry| entry["body"]["outcome"] == "applied");
        assert_eq!(landed, head != before, "{place}");
        let status = git(&copy.path(), ["status", "--porcelain"]);
        if !status.is_empty() {
            // A checkout that could not follow is left whole, and said.
            assert_eq!(status, format!(" M {}\n", module.path), "{place}");
            assert!(finished[0]["body"]["notes"][0].is_string(), "{place}");
            let checkout = copy.path().join(module.path.to_string());
            assert_eq!(git(&checkout, ["status", "--porcelain"]), "", "{place}");
        }
        let (code, said) = copy.run(&["proposal", "apply", &id.to_string()]);
        if landed {
            done += 1;
            assert_eq!(code, 1, "{place}: {said}");
        } else {
            undone += 1;
            assert_eq!(code, 0, "{place}: {said}");
        }
        let pinned = git(&copy.path(), ["rev-parse", &format!("HEAD:{}", module.path)]);
        assert_eq!(pinned.trim(), module.tip.to_string(), "{place}");
        assert_eq!(copy.run(&["audit", "verify"]).0, 0, "{place}");
    }
    assert!(undone > 10 && done > 5, "{undone} undone, {done} done");
}
