//! Proposals for a whole workspace in one cycle: every module is behind, mirrors are at hand.
//!
//! `cargo bench --bench propose [-- MODULESxFILES…]`; the default is 60x50, which has 56
//! components. `propose` is that phase of `run --once`, from the plan to proposals that survive
//! power loss. `bytes` writes as many files with the same bytes and syncs them twice as a whole,
//! appends the same lines and syncs them. `git` is what a person types for the same trees: an
//! index of the base, the changed entries, `git write-tree`, for each proposal.
#![expect(clippy::disallowed_methods, reason = "a benchmark starts real git and the program")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use lambda_os::sample::{Sample, SampleSpec};
use serde_json::Value;

/// Cycles of each size.
const ROUNDS: usize = 5;

fn main() {
    let sizes: Vec<(usize, usize)> = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.split_once('x').map(|(a, b)| (a.to_owned(), b.to_owned())))
        .filter_map(|(modules, files)| Some((modules.parse().ok()?, files.parse().ok()?)))
        .collect();
    println!(
        "modules x files  proposals  propose   warm  bytes    git  propose/bytes  git/propose   (ms, medians)"
    );
    for size in if sizes.is_empty() { vec![(60, 50)] } else { sizes } {
        measure(size);
    }
}

fn measure((modules, files): (usize, usize)) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let sample = SampleSpec::sized(modules, files).build(&temp.path().join("sample")).expect("a sample");
    let config = temp.path().join("config.toml");
    std::fs::write(&config, "[workspace]\nallow_local_urls = true\n").expect("a configuration");
    let cycle = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lambda-os"));
        command.arg("-C").arg(&sample.superproject).arg("--state-dir").arg(temp.path().join("state"));
        command.arg("--config").arg(&config).args(["run", "--once", "--json"]);
        let output = command.output().expect("the program starts");
        serde_json::from_slice::<Value>(&output.stdout).expect("a report")
    };
    // Mirrors every upstream; not counted.
    cycle();
    let (mut proposing, mut warm, mut bytes, mut git) = (vec![], vec![], vec![], vec![]);
    let mut proposals = 0;
    for round in 0..ROUNDS {
        push_all(&sample, temp.path(), round);
        let journal = temp.path().join("state/audit.jsonl");
        let before = std::fs::metadata(&journal).map_or(0, |meta| meta.len());
        let report = cycle();
        proposing.push(phase(&report, "propose"));
        let made = report["proposal_changes"]["made"].as_array().expect("made");
        assert_eq!(report["not_proposed"].as_array().map(Vec::len), Some(0));
        proposals = made.len();
        let lines = std::fs::metadata(&journal).map_or(0, |meta| meta.len()) - before;
        let values: Vec<Vec<u8>> = objects(&temp.path().join("state"), made);
        bytes.push(timed(|| write(temp.path(), &values, usize::try_from(lines).unwrap_or(0))));
        warm.push(phase(&cycle(), "propose"));
        if round == 0 {
            git.push(timed(|| by_hand(&sample, temp.path(), &report)));
        }
    }
    let (proposing, warm) = (median(proposing), median(warm));
    let (bytes, git) = (median(bytes), median(git));
    println!(
        "{modules:>7} x {files:<6} {proposals:>9} {proposing:>8.1} {warm:>6.2} {bytes:>6.1} {git:>6.0} {:>14.1} {:>12.1}",
        proposing / bytes,
        git / proposing
    );
}

/// One more commit on every upstream, with a file of its own.
fn push_all(sample: &Sample, temp: &Path, round: usize) {
    for module in &sample.modules {
        let branch = format!("refs/heads/{}", module.branch);
        let index = temp.join("index");
        let file = temp.join("content");
        std::fs::write(&file, format!("{} {round}\n", module.name)).expect("written");
        let run = |args: &[&str]| run(&module.upstream, &index, args);
        let blob = run(&["hash-object", "-w", &file.to_string_lossy()]);
        run(&["read-tree", &branch]);
        run(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},round")]);
        let tree = run(&["write-tree"]);
        let commit = run(&["commit-tree", &tree, "-p", &branch, "-m", "round"]);
        run(&["update-ref", &branch, &commit]);
    }
}

/// The stored values of the proposals that were made, manifests and changes.
fn objects(state: &Path, made: &[Value]) -> Vec<Vec<u8>> {
    let read = |cid: &str| {
        let path: PathBuf = state.join("objects").join(&cid[8..10]).join(cid);
        std::fs::read(path).expect("an object")
    };
    made.iter()
        .flat_map(|row| {
            let manifest = read(row["id"].as_str().expect("an id"));
            let parsed: Value = serde_json::from_slice(&manifest).expect("a manifest");
            let delta = read(parsed["change"].as_str().expect("a change"));
            [manifest, delta]
        })
        .collect()
}

fn write(temp: &Path, values: &[Vec<u8>], lines: usize) {
    let dir = tempfile::tempdir_in(temp).expect("a directory");
    for (at, value) in values.iter().enumerate() {
        std::fs::write(dir.path().join(at.to_string()), value).expect("written");
    }
    let open = std::fs::File::open(dir.path()).expect("opened");
    rustix::fs::syncfs(&open).expect("synced");
    for at in 0..values.len() {
        std::fs::rename(dir.path().join(at.to_string()), dir.path().join(format!("v{at}"))).expect("renamed");
    }
    rustix::fs::syncfs(&open).expect("synced");
    let mut journal = std::fs::File::create(dir.path().join("journal")).expect("created");
    journal.write_all(&vec![b'x'; lines]).expect("written");
    journal.sync_data().expect("synced");
}

/// For each proposal: an index of the base, its gitlinks, `git write-tree`. Without the files: no
/// program of git makes those.
fn by_hand(sample: &Sample, temp: &Path, report: &Value) {
    let index = temp.join("by-hand");
    for row in report["proposals"].as_array().expect("proposals") {
        run(&sample.superproject, &index, &["read-tree", "HEAD"]);
        for pin in row["pins"].as_array().expect("pins") {
            let text = |field: &str| pin[field].as_str().expect("text").to_owned();
            let entry = format!("160000,{},{}", text("to"), text("path"));
            run(&sample.superproject, &index, &["update-index", "--cacheinfo", &entry]);
        }
        run(&sample.superproject, &index, &["write-tree"]);
    }
}

fn run(dir: &Path, index: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(args).current_dir(dir).env("GIT_INDEX_FILE", index);
    command.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")]);
    for (name, value) in [("NAME", "Bench"), ("EMAIL", "bench@example.org"), ("DATE", "1790000000 +0000")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    let output = command.output().expect("git starts");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn phase(report: &Value, name: &str) -> f64 {
    let phases = report["phases"].as_array().expect("phases");
    let phase = phases.iter().find(|phase| phase["name"] == name).expect("the phase");
    phase["elapsed_us"].as_f64().unwrap_or(0.0) / 1000.0
}

fn timed(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1000.0
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}
