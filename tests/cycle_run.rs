//! Cycles through the program, on real workspaces: what they see, what they write, and what
//! remains when they are stopped in the middle.
#![expect(clippy::disallowed_methods, reason = "tests run real programs to compare with")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lambda_os::sample::{SampleSpec, Trouble, UrlStyle};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Canaries, Fingerprint, Workspace, git, git_command};

fn report(workspace: &Workspace, args: &[&str]) -> (i32, Value) {
    let output = workspace.lambda_os().args(args).arg("--json").output().expect("lambda-os runs");
    let value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}\n{}", support::said(&output)));
    (output.status.code().expect("it ended by itself"), value)
}

fn entries(workspace: &Workspace) -> Vec<Value> {
    let journal =
        std::fs::read_to_string(workspace.state().join("audit.jsonl")).expect("the journal is read");
    journal.lines().map(|line| serde_json::from_str(line).expect("an entry is JSON")).collect()
}

fn types(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["type"].as_str().expect("a type")).collect()
}

fn verify_journal(workspace: &Workspace) {
    workspace.lambda_os().args(["audit", "verify"]).assert().success();
}

/// The superproject's and every checkout's bytes, git directories included.
fn fingerprint(workspace: &Workspace) -> Fingerprint {
    Fingerprint::of(&workspace.sample.root)
}

#[test]
fn a_cycle_says_for_every_module_what_git_says() {
    let spec = SampleSpec { style: UrlStyle::AutoInputs, ..SampleSpec::sized(30, 5) };
    let workspace = Workspace::new(&spec);
    let before = fingerprint(&workspace);
    let (exit, report) = report(&workspace, &["run", "--once"]);
    before.assert_equal(&fingerprint(&workspace));

    assert_eq!(report["schema"], "lambda-os/run/v1");
    let upgrades: BTreeMap<&str, &Value> = report["upgrades"]
        .as_array()
        .expect("upgrades")
        .iter()
        .map(|upgrade| (upgrade["name"].as_str().expect("a name"), upgrade))
        .collect();
    assert_eq!(upgrades.len(), workspace.sample.modules.len());
    for module in &workspace.sample.modules {
        let range = format!("{}..{}", module.pinned, module.tip);
        let behind: u64 =
            git(&module.upstream, ["rev-list", "--count", &range]).trim().parse().expect("a count");
        let upgrade = upgrades[module.name.as_str()];
        assert_eq!(upgrade["behind"], behind, "{}", module.name);
        assert_eq!(upgrade["to"], module.tip.to_string(), "{}", module.name);
        let status = if behind == 0 { "up-to-date" } else { "behind" };
        assert_eq!(upgrade["status"], status, "{}: {upgrade}", module.name);
    }
    assert_eq!(exit, 0, "{report:#}");
    assert!(report["health"].as_array().expect("health").iter().all(|health| health["verdict"] == "unknown"));
    verify_journal(&workspace);
}

#[test]
fn a_cycle_with_nothing_new_writes_its_beginning_and_its_end_and_no_object() {
    let workspace = Workspace::new(&SampleSpec::sized(8, 4));
    report(&workspace, &["run", "--once"]);
    let before = entries(&workspace).len();
    let objects = Fingerprint::of(&workspace.state().join("objects"));
    let (_, second) = report(&workspace, &["run", "--once"]);
    assert_eq!(second["unchanged"], true);
    assert_eq!(types(&entries(&workspace)[before..]), ["cycle.started", "cycle.finished"]);
    objects.assert_equal(&Fingerprint::of(&workspace.state().join("objects")));
}

#[test]
fn what_moved_since_the_cycle_before_is_said_once() {
    let workspace = Workspace::new(&SampleSpec::sized(8, 4));
    report(&workspace, &["run", "--once"]);
    std::fs::write(workspace.path().join("surprise.txt"), "new\n").expect("a file is written");
    let (_, second) = report(&workspace, &["run", "--once"]);
    assert_eq!(second["unchanged"], false);
    let items = second["drift"]["items"].as_array().expect("drift items");
    assert!(items.iter().any(|item| item["what"] == "untracked"), "{items:?}");
    let (_, third) = report(&workspace, &["run", "--once"]);
    assert_eq!(third["unchanged"], true);
    assert_eq!(third["drift"]["items"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_rewound_upstream_is_rewritten_until_a_person_accepts_it() {
    let workspace = Workspace::new(&SampleSpec::sized(8, 4));
    report(&workspace, &["run", "--once"]);
    let module = workspace.sample.modules.iter().find(|module| module.behind > 0).expect("one is behind");
    // A commit that nobody saw before, on top of the pin: the tip that was seen is gone.
    let tree = format!("{}^{{tree}}", module.pinned);
    let forged =
        git(&module.upstream, ["commit-tree", &tree, "-p", &module.pinned.to_string(), "-m", "other"]);
    git(&module.upstream, ["update-ref", &format!("refs/heads/{}", module.branch), forged.trim()]);

    let status = |value: &Value| {
        let rows = value["upgrades"].as_array().expect("upgrades").clone();
        let row = rows.into_iter().find(|row| row["name"] == module.name).expect("the module's row");
        row["status"].as_str().expect("a status").to_owned()
    };
    let (exit, second) = report(&workspace, &["run", "--once"]);
    assert_eq!((exit, status(&second).as_str()), (3, "rewritten"));
    let plan = second["plan"]["steps"].to_string();
    assert!(!plan.contains(&format!("\"{}\"", module.name)), "{plan}");
    // It stays so by itself …
    let (_, third) = report(&workspace, &["run", "--once"]);
    assert_eq!(status(&third), "rewritten");
    // … until a person says so.
    workspace.lambda_os().args(["unhold", &module.name]).assert().success();
    let (_, fourth) = report(&workspace, &["run", "--once"]);
    assert_eq!(status(&fourth), "behind");
    verify_journal(&workspace);
}

#[test]
fn a_hold_keeps_a_module_out_of_the_plan() {
    let workspace = Workspace::new(&SampleSpec::sized(8, 4));
    let module = workspace.sample.modules.iter().find(|module| module.behind > 0).expect("one is behind");
    workspace.lambda_os().args(["hold", &module.name, "--reason", "audit"]).assert().success();
    let (_, seen) = report(&workspace, &["run", "--once"]);
    let rows = seen["upgrades"].as_array().expect("upgrades");
    let row = rows.iter().find(|row| row["name"] == module.name).expect("the module's row");
    assert_eq!(row["status"], "held");
    assert!(row["reason"].as_str().is_some_and(|reason| reason.contains("audit")), "{row}");
}

#[test]
fn every_trouble_at_once_leaves_the_workspace_byte_identical_and_runs_nothing() {
    let spec = SampleSpec { style: UrlStyle::AutoInputs, ..SampleSpec::sized(40, 6) }.with(Trouble::ALL);
    let workspace = Workspace::new(&spec);
    let canaries = Canaries::new(workspace.temp.path().join("canaries"));
    let before = fingerprint(&workspace);
    let verbs: [&[&str]; 12] = [
        &["run", "--once"],
        &["run", "--once", "--json"],
        &["snapshot", "--json"],
        &["snapshot"],
        &["outdated"],
        &["graph"],
        &["graph", "--format", "dot"],
        &["plan"],
        &["pin", "list"],
        &["pin", "check"],
        &["status"],
        &["doctor"],
    ];
    for verb in verbs {
        let output = workspace.lambda_os().args(verb).output().expect("lambda-os runs");
        let code = output.status.code().expect("it ended by itself");
        assert!([0, 3].contains(&code), "{verb:?}\n{}", support::said(&output));
        let shown = String::from_utf8(output.stdout).expect("output is UTF-8");
        assert!(!shown.contains('\u{1b}'), "{verb:?} shows an escape sequence");
    }
    canaries.assert_silent();
    before.assert_equal(&fingerprint(&workspace));
    verify_journal(&workspace);
}

#[test]
fn a_second_cycle_at_the_same_time_is_refused_and_names_the_first() {
    let workspace = Workspace::new(&SampleSpec::sized(4, 4));
    let mut daemon = Daemon::start(&workspace);
    let line = daemon.line();
    assert!(line.contains("modules"), "{line}");
    let output = workspace.lambda_os().args(["run", "--once"]).output().expect("lambda-os runs");
    assert_eq!(output.status.code(), Some(9), "{}", support::said(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&daemon.child.id().to_string()), "{said}");
    // Reading goes on beside the daemon.
    workspace.lambda_os().args(["audit", "verify"]).assert().success();
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
    let all = entries(&workspace);
    assert_eq!(types(&all).last(), Some(&"cycle.finished"));
    workspace.lambda_os().args(["run", "--once"]).assert().code(0);
}

#[test]
fn a_daemon_runs_cycle_after_cycle_until_it_is_interrupted() {
    let workspace = Workspace::new(&SampleSpec::sized(4, 4));
    let mut daemon = Daemon::start(&workspace);
    let mut cycles = 0;
    while cycles < 2 {
        if daemon.line().starts_with("cycle ") {
            cycles += 1;
        }
    }
    assert_eq!(daemon.stop(Signal::INT), Some(0));
    verify_journal(&workspace);
}

/// `lambda-os run --interval 1` in the background.
struct Daemon {
    child: std::process::Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Daemon {
    fn start(workspace: &Workspace) -> Self {
        let mut child = background(workspace, &["run", "--interval", "1"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).expect("a line is read");
        assert!(read > 0, "the daemon ended by itself");
        line
    }

    fn stop(&mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn background(workspace: &Workspace, args: &[&str]) -> Command {
    let program = env!("CARGO_BIN_EXE_lambda-os");
    let mut command = Command::new(program);
    let config = workspace.temp.path().join("config.toml");
    std::fs::write(&config, "[workspace]\nallow_local_urls = true\n[cycle]\njitter_s = 0\n")
        .expect("written");
    command.env_clear().envs(support::environment(workspace.temp.path()));
    command.arg("-C").arg(workspace.path()).arg("--state-dir").arg(workspace.state());
    command.arg("--config").arg(config).args(args);
    command
}

/// A cycle is killed at moments spread over its whole length, upstreams moving all the while.
/// Whatever the moment: the journal verifies, no entry is doubled, and the next cycle converges.
#[test]
fn killed_at_any_moment_a_cycle_loses_nothing_and_the_next_one_converges() {
    let kills: u32 = std::env::var("LAMBDA_OS_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(40);
    let workspace = Workspace::new(&SampleSpec::sized(6, 4));
    let modules: Vec<_> = workspace.sample.modules.iter().collect();
    // The first cycle makes the mirrors; those after it, which fetch what was pushed, are the measure.
    let mut whole = Duration::MAX;
    for round in 0..3 {
        push(&modules[0].upstream, &modules[0].branch, &format!("before {round}"));
        let begun = Instant::now();
        let status =
            background(&workspace, &["run", "--once"]).stdout(Stdio::null()).status().expect("it runs");
        assert!(status.code().is_some());
        whole = whole.min(begun.elapsed());
    }
    let mut killed = 0;
    for round in 0..kills {
        let module = modules[round as usize % modules.len()];
        push(&module.upstream, &module.branch, &format!("commit {round}"));
        let mut child = background(&workspace, &["run", "--once"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        // The moment itself is what is tried here: an even spread over a cycle's length.
        std::thread::sleep(whole * (round * 37 % 100) / 100);
        child.kill().expect("it can be killed");
        let status = child.wait().expect("it ends");
        killed += u32::from(status.code().is_none());
        if round % 10 == 9 {
            verify_journal(&workspace);
        }
    }
    assert!(killed > kills / 3, "only {killed} of {kills} were killed in time");

    let (_, last) = report(&workspace, &["run", "--once"]);
    for module in &modules {
        let tip = git(&module.upstream, ["rev-parse", &module.branch]);
        let rows = last["upgrades"].as_array().expect("upgrades");
        let row = rows.iter().find(|row| row["name"] == module.name).expect("the module's row");
        assert_eq!(row["to"], tip.trim(), "{row}");
    }
    verify_journal(&workspace);
    let all = entries(&workspace);
    for (index, entry) in all.iter().enumerate() {
        assert_eq!(entry["seq"], index, "entries are numbered without gaps");
    }
    // Every cycle that began has exactly one end.
    let ends: Vec<&Value> =
        all.iter().filter(|entry| entry["type"] == "cycle.finished").map(|e| &e["body"]["started"]).collect();
    let begins: Vec<&Value> =
        all.iter().filter(|entry| entry["type"] == "cycle.started").map(|e| &e["seq"]).collect();
    assert_eq!(begins, ends);
    // No tip was journalled twice, and nothing stray lies about.
    let moved: Vec<String> = all
        .iter()
        .filter(|entry| entry["type"] == "upstream.moved")
        .map(|entry| entry["body"].to_string())
        .collect();
    let mut once = moved.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), moved.len());
    assert_eq!(stray(&workspace.state()), Vec::<String>::new());
    assert_eq!(git(workspace.path(), ["worktree", "list"]).lines().count(), 1);
}

fn push(upstream: &Path, branch: &str, message: &str) {
    let tip = git(upstream, ["rev-parse", branch]);
    let tree = format!("{}^{{tree}}", tip.trim());
    let mut command = git_command(upstream);
    command.args(["commit-tree", &tree, "-p", tip.trim(), "-m", message]);
    let output = command.output().expect("git runs");
    let commit = String::from_utf8(output.stdout).expect("an id");
    git(upstream, ["update-ref", &format!("refs/heads/{branch}"), commit.trim()]);
}

/// Temporary files and locks of git or ours that outlived their process.
fn stray(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory is read") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let ending = path.extension().unwrap_or_default();
            if path.is_dir() {
                open.push(path);
            } else if name.starts_with("tmp_")
                || name.starts_with(".tmp")
                || ending == "tmp"
                || ending == "lock" && dir.ends_with("objects")
            {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_doctor_counts_modules_as_the_configuration_has_them_and_groups_what_is_refused() {
    let workspace = Workspace::new(&SampleSpec::sized(6, 4));
    let (exit, seen) = report(&workspace, &["doctor"]);
    assert!([0, 3].contains(&exit), "{seen}");
    let shown = seen.to_string();
    assert!(shown.contains("6 modules") && !shown.contains("refused"), "{shown}");
    // Without the configuration, local upstreams are refused: one finding for all of them.
    let output = support::lambda_os(workspace.temp.path())
        .arg("-C")
        .arg(workspace.path())
        .arg("--state-dir")
        .arg(workspace.state())
        .args(["doctor", "--json"])
        .output()
        .expect("it runs");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(shown.matches("allow_local_urls is off").count(), 1, "{shown}");
    assert!(shown.contains("and 5 more are refused"), "{shown}");
}
