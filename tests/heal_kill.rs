//! Whole cycles of the program that heal, killed with SIGKILL at random moments.
//!
//! `LAMBDA_OS_KILLS=200 cargo test --test heal_kill` kills two hundred times; by default it is few.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

mod support;

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use lambda_os::sample::SampleSpec;
use serde_json::Value;
use support::{Workspace, git};

/// A module passes unless its state says that it is broken.
const CONFIG: &str = r#"
[workspace]
allow_local_urls = true
[verify]
steps = ["command"]
[verify.command]
program = ["/bin/sh", "-c", "read -r state < \"$1/src/state.txt\"; case $state in broken*) exit 1 ;; esac", "check", "{path}"]
"#;

const PLAIN: &str = "[workspace]\nallow_local_urls = true\n";

struct World {
    workspace: Workspace,
}

impl World {
    /// The program: with nothing verified, as people use it here to bring bad commits in, or not.
    fn command(&self, args: &[&str], config: &str) -> Command {
        let path =
            self.workspace.temp.path().join(if config == CONFIG { "verify.toml" } else { "plain.toml" });
        if !path.exists() {
            std::fs::write(&path, config).expect("written");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_lambda-os"));
        command.env_clear().envs(support::environment(self.workspace.temp.path()));
        command.arg("-C").arg(self.workspace.path()).arg("--state-dir").arg(self.workspace.state());
        command.arg("--config").arg(path).args(args);
        command
    }

    #[track_caller]
    fn whole(&self, args: &[&str]) -> Output {
        self.ended(args, PLAIN)
    }

    /// A cycle that verifies and heals.
    #[track_caller]
    fn cycle(&self) {
        self.ended(&["run", "--once"], CONFIG);
    }

    #[track_caller]
    fn ended(&self, args: &[&str], config: &str) -> Output {
        let output = self.command(args, config).output().expect("it runs");
        let code = output.status.code().expect("it ended by itself");
        assert!(code == 0 || (args[0] == "run" && code == 3), "{args:?}: {}", support::said(&output));
        output
    }

    /// Run one cycle and kill it after a part of its length; true when it had not ended.
    fn killed(&self, length: Duration, percent: u32) -> bool {
        let mut command = self.command(&["run", "--once"], CONFIG);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        // The moment itself is what is tried here.
        std::thread::sleep(length * percent / 100);
        child.kill().expect("it can be killed");
        let status = child.wait().expect("it ends");
        assert_ne!(status.code(), Some(7));
        status.code().is_none()
    }

    fn pin(&self, path: &str) -> String {
        git(self.workspace.path(), ["rev-parse", &format!("HEAD:{path}")]).trim().to_owned()
    }

    fn entries(&self, kind: &str) -> Vec<Value> {
        let journal = std::fs::read_to_string(self.workspace.state().join("audit.jsonl")).expect("a journal");
        let entries = journal.lines().map(|line| serde_json::from_str::<Value>(line).expect("an entry"));
        entries.filter(|entry| entry["type"] == kind).collect()
    }
}

#[test]
fn a_cycle_that_heals_is_killed_at_any_moment_and_converges() {
    let kills: u32 = std::env::var("LAMBDA_OS_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(6);
    let mut world = World { workspace: Workspace::new(&SampleSpec::sized(6, 2)) };
    world.whole(&["init"]);
    // Proposed one by one, since nothing is verified then.
    world.whole(&["run", "--once"]);
    let list = world.whole(&["proposal", "list", "--json"]);
    let list: Value = serde_json::from_slice(&list.stdout).expect("a list");
    let rows = list["proposals"].as_array().expect("rows");
    let alone = rows.iter().find(|row| row["pins"].as_array().is_some_and(|pins| pins.len() == 1));
    let name = alone.expect("one moves alone")["pins"][0]["module"].as_str().expect("a name").to_owned();
    let path = world.workspace.sample.module(&name).path.to_string();
    world.cycle();
    let good = world.pin(&path);
    let mut length = Duration::ZERO;
    // The same moments each time, as far as the machine allows.
    let mut seed = 11_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((seed >> 33) % below).expect("it is small")
    };
    let mut met = 0;
    for round in 0..=kills {
        let bad = world.workspace.sample.push_broken(&name, &format!("{round}")).expect("pushed").to_string();
        world.whole(&["run", "--once"]);
        world.whole(&["proposal", "approve", "--yes", &name]);
        world.whole(&["proposal", "apply", &name]);
        assert_eq!(world.pin(&path), bad);
        let before = world.entries("heal.finished").len();
        let begun = Instant::now();
        if round == 0 {
            world.cycle();
            length = begun.elapsed();
        } else {
            met += u32::from(world.killed(length, random(110)));
            for _ in 0..2 {
                world.cycle();
            }
        }
        assert_eq!(world.pin(&path), good, "round {round}");
        assert_eq!(git(world.workspace.path(), ["status", "--porcelain"]), "", "round {round}");
        let ends = world.entries("heal.finished");
        let healed = ends[before..].iter().filter(|it| it["body"]["outcome"] == "healed").count();
        assert_eq!(healed, 1, "round {round}: {ends:?}");
        assert_eq!(world.entries("heal.started").len(), ends.len());
        assert_eq!(world.entries("apply.started").len(), world.entries("apply.finished").len());
        world.whole(&["audit", "verify"]);
        // The breaker would stop the third: a person lets go each time.
        world.whole(&["unhold", &name]);
    }
    assert!(met * 3 > kills, "only {met} of {kills} were killed in time");
}
