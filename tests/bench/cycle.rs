//! A warm cycle, `run --once` with nothing new and every upstream on this disk, beside what git does
//! with the same workspace and beside the physical bound, all in the same run.
//!
//! `cargo bench --bench cycle [-- MODULESxFILES…]`; the default sizes are 55x50, 55x500, 55x5000
//! and 1000x50. `cycle` is the whole program, from its start to its end. `git` is
//! `git submodule status` and `git status --porcelain` together: what a person types to see
//! what the snapshot alone sees. `verified` is the same cycle with a step of verification on every module,
//! whose verdicts all stand: what it takes more is what verification costs when nothing changed.
#![expect(clippy::disallowed_methods, reason = "a benchmark starts real git and the program")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its table")]

mod bound;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use lambda_os::sample::SampleSpec;
use serde_json::Value;

use bound::raw_bound;

/// Cycles of each size.
const ROUNDS: usize = 15;
/// Only every so many of them are accompanied by git, which takes longer.
const GIT_EVERY: usize = 5;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.iter().any(|arg| arg == "--once") {
        // Started again as the program itself, to see what it used.
        let exit = lambda_os::cli::run();
        eprintln!("{} {}", cpu_us(), peak_kib());
        return exit;
    }
    let mut sizes: Vec<(usize, usize)> = args
        .iter()
        .filter_map(|arg| arg.split_once('x'))
        .filter_map(|(modules, files)| Some((modules.parse().ok()?, files.parse().ok()?)))
        .collect();
    if sizes.is_empty() {
        sizes = vec![(55, 50), (55, 500), (55, 5000), (1000, 50)];
    }
    println!(
        "modules x files     bound    cycle  ratio  submodule status  status --porcelain  git/cycle   CPU  peak MiB   (ms, medians)"
    );
    for size in sizes {
        measure(size);
    }
    ExitCode::SUCCESS
}

fn measure((modules, files): (usize, usize)) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let sample = SampleSpec::sized(modules, files).build(&temp.path().join("sample")).expect("a sample");
    let root = sample.superproject;
    let config = temp.path().join("config.toml");
    std::fs::write(&config, "[workspace]\nallow_local_urls = true\n").expect("a configuration");
    // As a person leaves it: every index is refreshed, and newer than the files.
    git(&root, &["submodule", "--quiet", "foreach", "git status"]);
    git(&root, &["status"]);
    let verifying = temp.path().join("verifying.toml");
    let steps = "[verify]\nsteps = [\"command\"]\n[verify.command]\nprogram = [\"/bin/true\"]\n";
    std::fs::write(&verifying, format!("[workspace]\nallow_local_urls = true\n{steps}"))
        .expect("a configuration");
    let run = |program: PathBuf, config: &Path, state: &str| {
        let mut command = Command::new(program);
        command.arg("-C").arg(&root).arg("--state-dir").arg(temp.path().join(state));
        command.arg("--config").arg(config).args(["run", "--once", "--json"]);
        command.output().expect("the program starts")
    };
    let cycle = |program: PathBuf| run(program, &config, "state");
    let program = || PathBuf::from(env!("CARGO_BIN_EXE_lambda-os"));
    // The first one mirrors every upstream, verifies every module, and is not counted.
    cycle(program());
    let first = run(program(), &verifying, "verifying");
    let first: Value = serde_json::from_slice(&first.stdout).expect("a report");
    let healthy = first["health"]
        .as_array()
        .expect("verdicts")
        .iter()
        .filter(|row| row["verdict"] == "healthy")
        .count();
    let (mut with_steps, mut verify_alone) = (vec![], vec![]);
    let (mut bounds, mut cycles, mut submodules, mut statuses) = (vec![], vec![], vec![], vec![]);
    let mut phases: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        bounds.push(timed(|| raw_bound(&root)));
        let mut output = None;
        cycles.push(timed(|| output = Some(cycle(program()))));
        let mut with = None;
        with_steps.push(timed(|| with = Some(run(program(), &verifying, "verifying"))));
        let with: Value = serde_json::from_slice(&with.expect("it ran").stdout).expect("a report");
        let phases_with = with["phases"].as_array().expect("phases").iter();
        let verify = phases_with.filter(|phase| phase["name"] == "verify");
        verify_alone.extend(verify.filter_map(|phase| phase["elapsed_us"].as_f64()).map(|us| us / 1000.0));
        let output = output.expect("it ran").stdout;
        let report: Value = serde_json::from_slice(&output).expect("a report");
        assert_eq!(report["unchanged"], true, "nothing is new in a warm cycle");
        for phase in report["phases"].as_array().expect("phases") {
            let name = phase["name"].as_str().expect("a name").to_owned();
            if round == 0 {
                order.push(name.clone());
            }
            let elapsed = phase["elapsed_us"].as_f64().unwrap_or(0.0) / 1000.0;
            phases.entry(name).or_default().push(elapsed);
        }
        if round % GIT_EVERY == 0 {
            submodules.push(timed(|| git(&root, &["submodule", "status"])));
            statuses.push(timed(|| git(&root, &["status", "--porcelain"])));
        }
    }
    let output = cycle(std::env::current_exe().expect("this program"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let used: Vec<f64> =
        said.lines().last().into_iter().flat_map(str::split_whitespace).flat_map(str::parse).collect();
    let [cpu_us, peak_kib] = used.as_slice() else { panic!("what it used: {said}") };
    let (bound, cycle) = (median(bounds), median(cycles));
    let (submodule, status) = (median(submodules), median(statuses));
    println!(
        "{modules:>7} x {files:<6} {bound:>8.2} {cycle:>8.2} {:>6.2} {submodule:>17.1} {status:>19.1} {:>10.1} {:>5.1} {:>9.1}",
        cycle / bound,
        (submodule + status) / cycle,
        cpu_us / 1000.0,
        peak_kib / 1024.0,
    );
    let phases: Vec<String> = order
        .into_iter()
        .map(|name| {
            let elapsed = median(phases.remove(&name).unwrap_or_default());
            format!("{name} {elapsed:.2}")
        })
        .collect();
    println!("                  {}", phases.join(", "));
    let with = median(with_steps);
    println!(
        "                  verified: {with:.2} ms, {:+.2} ms; its phase verify {:.2} ms; {healthy} healthy",
        with - cycle,
        median(verify_alone)
    );
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

/// Processor time of this process, microseconds.
fn cpu_us() -> i64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec * 1_000_000 + used.tv_nsec / 1000
}

/// `VmHWM` of this process, KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0)
}

fn git(dir: &Path, args: &[&str]) {
    let status = Command::new("git")
        .args(args)
        .current_dir(dir)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .stdout(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "git {args:?}");
}
