//! Whole cycles with approvals and applications, killed with SIGKILL at random moments.
//!
//! `LAMBDA_OS_KILLS=1000 cargo test --test apply_kill` kills a thousand times; by default it is few.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lambda_os::domain::id::Cid;
use lambda_os::sample::{SampleModule, SampleSpec};
use serde_json::Value;
use support::{Workspace, git, git_command};

struct World {
    workspace: Workspace,
    /// Modules that a proposal moves alone.
    modules: Vec<SampleModule>,
    /// How long each verb takes at least.
    lengths: BTreeMap<&'static str, Duration>,
}

/// What is killed, in the order in which it is done.
const VERBS: [&str; 3] = ["run", "approve", "apply"];

impl World {
    fn new() -> Self {
        let workspace = Workspace::new(&SampleSpec::sized(6, 3));
        let mut world = Self { workspace, modules: Vec::new(), lengths: BTreeMap::new() };
        world.whole(&["init"]);
        world.whole(&["run", "--once"]);
        let list = world.json(&["proposal", "list"]);
        let rows = list["proposals"].as_array().expect("rows");
        let alone = rows.iter().filter(|row| row["pins"].as_array().is_some_and(|pins| pins.len() == 1));
        let names: Vec<&str> = alone.filter_map(|row| row["pins"][0]["module"].as_str()).collect();
        world.modules = names.iter().map(|name| world.workspace.sample.module(name).clone()).collect();
        assert!(world.modules.len() > 1, "{list}");
        // How long each verb takes, so that kills are spread over all of it.
        let module = world.modules[0].clone();
        World::push(&module, "measured");
        for verb in VERBS {
            let begun = Instant::now();
            world.whole(&World::args(verb, &module.name));
            world.lengths.insert(verb, begun.elapsed());
        }
        world
    }

    fn args<'a>(verb: &str, module: &'a str) -> Vec<&'a str> {
        match verb {
            "run" => vec!["run", "--once"],
            "approve" => vec!["proposal", "approve", "--yes", module],
            _ => vec!["proposal", "apply", module],
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let config = self.workspace.temp.path().join("config.toml");
        if !config.exists() {
            std::fs::write(&config, "[workspace]\nallow_local_urls = true\n").expect("written");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_lambda-os"));
        command.env_clear().envs(support::environment(self.workspace.temp.path()));
        command.arg("-C").arg(self.workspace.path()).arg("--state-dir").arg(self.workspace.state());
        command.arg("--config").arg(config).args(args);
        command
    }

    /// Run a verb to its end. It may be refused, but nothing may be found damaged.
    #[track_caller]
    fn whole(&self, args: &[&str]) -> i32 {
        let output = self.command(args).output().expect("it runs");
        let code = output.status.code().expect("it ended by itself");
        assert_ne!(code, 7, "{args:?}: {}", support::said(&output));
        code
    }

    /// Run a verb and kill it after a part of its length; true when it had not ended.
    fn killed(&self, args: &[&str], length: Duration, percent: u32) -> bool {
        let mut child =
            self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        // The moment itself is what is tried here.
        std::thread::sleep(length * percent / 100);
        child.kill().expect("it can be killed");
        let status = child.wait().expect("it ends");
        assert_ne!(status.code(), Some(7), "{args:?}");
        status.code().is_none()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.command(args).arg("--json").output().expect("it runs");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}\n{}", support::said(&output)))
    }

    fn push(module: &SampleModule, message: &str) {
        let upstream = &module.upstream;
        let tip = git(upstream, ["rev-parse", &module.branch]);
        let tree = format!("{}^{{tree}}", tip.trim());
        let mut command = git_command(upstream);
        command.args(["commit-tree", &tree, "-p", tip.trim(), "-m", message]);
        let output = command.output().expect("git runs");
        let commit = String::from_utf8(output.stdout).expect("an id");
        git(upstream, ["update-ref", &format!("refs/heads/{}", module.branch), commit.trim()]);
    }

    fn entries(&self) -> Vec<(Value, Cid)> {
        let journal = std::fs::read_to_string(self.workspace.state().join("audit.jsonl")).expect("a journal");
        let entry = |line: &str| {
            let value = serde_json::from_str(line).expect("an entry is JSON");
            (value, Cid::of(line.as_bytes()))
        };
        journal.lines().map(entry).collect()
    }
}

fn of<'a>(entries: &'a [(Value, Cid)], kind: &str) -> Vec<&'a Value> {
    entries.iter().map(|(entry, _)| entry).filter(|entry| entry["type"] == kind).collect()
}

#[test]
fn killed_at_any_moment_nothing_is_lost_doubled_or_applied_without_its_certificate() {
    let kills: u32 = std::env::var("LAMBDA_OS_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(30);
    let world = World::new();
    let begin = world.workspace.sample.head.to_string();
    // The same moments each time, as far as the machine allows.
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((seed >> 33) % below).expect("it is small")
    };
    let mut met = 0;
    for round in 0..kills {
        let module = &world.modules[round as usize % world.modules.len()];
        World::push(module, &format!("commit {round}"));
        let victim = VERBS[random(5).min(2) as usize];
        for verb in VERBS {
            let args = World::args(verb, &module.name);
            if verb == victim {
                met += u32::from(world.killed(&args, world.lengths[verb], random(110)));
            } else {
                world.whole(&args);
            }
        }
        if round % 20 == 19 {
            assert_sound(&world, &begin);
        }
    }
    assert!(met * 3 > kills, "only {met} of {kills} were killed in time");

    // It converges: what is open is decided and applied, and then nothing is left to do.
    for _ in 0..3 {
        world.whole(&["run", "--once"]);
        for module in &world.modules {
            world.whole(&World::args("approve", &module.name));
            world.whole(&World::args("apply", &module.name));
        }
    }
    world.whole(&["run", "--once"]);
    for module in &world.modules {
        let tip = git(&module.upstream, ["rev-parse", &module.branch]);
        let pinned = git(world.workspace.path(), ["rev-parse", &format!("HEAD:{}", module.path)]);
        assert_eq!(pinned, tip, "{}", module.name);
        assert_eq!(git(&module.checkout, ["rev-parse", "HEAD"]), tip, "{}", module.name);
    }
    assert_eq!(git(world.workspace.path(), ["status", "--porcelain"]), "");
    assert_sound(&world, &begin);
    assert_eq!(stray(&world), Vec::<String>::new());
    assert_eq!(git(world.workspace.path(), ["worktree", "list"]).lines().count(), 1);
}

/// What must hold whenever nothing runs.
#[track_caller]
fn assert_sound(world: &World, begin: &str) {
    // Closes what the last kill left.
    world.whole(&["run", "--once"]);
    assert_eq!(world.whole(&["audit", "verify"]), 0);
    let entries = world.entries();
    for (at, (entry, _)) in entries.iter().enumerate() {
        assert_eq!(entry["seq"], at, "entries are numbered without gaps");
    }
    // Every proposal is there in full, once.
    let made: Vec<&str> =
        of(&entries, "proposal.made").iter().filter_map(|entry| entry["body"]["proposal"].as_str()).collect();
    let mut once = made.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), made.len(), "a proposal was made twice");
    for entry in of(&entries, "proposal.made") {
        for key in ["proposal", "change"] {
            let cid = entry["body"][key].as_str().expect("a cid");
            let path = world.workspace.state().join("objects").join(&cid[8..10]).join(cid);
            let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(Cid::of(&bytes).to_string(), cid);
        }
    }
    // What began has one end; what was applied is a commit that rests on its certificate.
    let started: Vec<&Value> = of(&entries, "apply.started").iter().map(|entry| &entry["seq"]).collect();
    let finished = of(&entries, "apply.finished");
    let ended: Vec<&Value> = finished.iter().map(|entry| &entry["body"]["started"]).collect();
    assert_eq!(started, ended);
    assert!(finished.iter().all(|entry| entry["body"]["outcome"] != "stuck"), "{finished:?}");
    let mut applied: Vec<(String, String)> = finished
        .iter()
        .filter(|entry| entry["body"]["outcome"] == "applied")
        .map(|entry| {
            let text = |key: &str| entry["body"][key].as_str().expect("a text").to_owned();
            (text("commit"), text("proposal"))
        })
        .collect();
    let format = "--format=%H %(trailers:key=Lambda-OS-Proposal,valueonly,separator=) \
                  %(trailers:key=Lambda-OS-Journal,valueonly,separator=)";
    let log = git(world.workspace.path(), ["log", "--reverse", format, &format!("{begin}..HEAD")]);
    let mut commits: Vec<(String, String)> = Vec::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [commit, proposal, seq, cid] = words.as_slice() else { panic!("{line}") };
        let (entry, line_id) = &entries[seq.parse::<usize>().expect("a number")];
        assert_eq!(line_id.to_string(), **cid);
        assert_eq!(
            (&entry["type"], &entry["body"]["proposal"]),
            (&"proposal.certified".into(), &(*proposal).into())
        );
        commits.push(((*commit).to_owned(), (*proposal).to_owned()));
    }
    assert_eq!(applied, commits, "the journal and the branch tell the same history");
    applied.sort_by(|left, right| left.1.cmp(&right.1));
    applied.dedup_by(|left, right| left.1 == right.1);
    assert_eq!(applied.len(), commits.len(), "a proposal was applied twice");
}

/// Temporary files and locks of git or ours that outlived their process.
fn stray(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![world.workspace.state(), world.workspace.path().to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory is read") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_lock = Path::new(&name).extension().is_some_and(|ending| ending == "lock");
            let of_git = path.components().any(|part| part.as_os_str() == ".git");
            if path.is_dir() {
                open.push(path);
            } else if name.starts_with("tmp_")
                || name.starts_with(".lambda-os-")
                || name.contains(".tmp")
                || is_lock && of_git
            {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}
