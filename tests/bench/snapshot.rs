//! The snapshot beside `git status`, `git submodule status` and the physical bound: a program that
//! only lists every directory and looks at every file, on two threads, in the same run.
//!
//! `cargo bench --bench snapshot [-- MODULESxFILES…]`; the default sizes are 55x50, 55x500 and 1000x50.
//!
//! `snapshot` is the port's call alone on a repository just opened, so nothing is remembered from
//! the run before; `open` is opening and discovery before it. Bound and snapshot take turns, and
//! both ratios are printed: of wall time, and of processor time (user and system, all threads),
//! which other work on the machine disturbs less. `LAMBDA_OS_BENCH_RUNS` sets how many turns (15).
#![expect(clippy::disallowed_methods, reason = "a benchmark starts real git and itself")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod bound;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::domain::module::Discovery;
use lambda_os::ports::{Repository, SnapshotOptions};
use lambda_os::sample::SampleSpec;
use rustix::time::{ClockId, clock_gettime};

use bound::raw_bound;

/// One size, medians in milliseconds.
struct Row {
    size: (usize, usize),
    bound: Cost,
    snapshot: Cost,
    open: Cost,
    git_status: f64,
    submodule_status: f64,
    peak_kib: u64,
}

/// Milliseconds.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    processor: f64,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [one, dir] = args.as_slice()
        && one == "--one"
    {
        take(&open(Path::new(dir)));
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
        println!("{}", peak.trim().trim_end_matches(" kB"));
        return;
    }
    let mut sizes: Vec<(usize, usize)> = args
        .iter()
        .filter_map(|arg| arg.split_once('x'))
        .filter_map(|(modules, files)| Some((modules.parse().ok()?, files.parse().ok()?)))
        .collect();
    if sizes.is_empty() {
        sizes = vec![(55, 50), (55, 500), (1000, 50)];
    }
    println!(
        "modules x files     bound  snapshot  ratio  (cpu: bound snapshot  ratio)   open  git status  submodule status  peak MiB   (ms, medians)"
    );
    for row in sizes.into_iter().map(measure) {
        println!(
            "{:>7} x {:<6} {:>8.2} {:>9.2} {:>6.2} {:>12.2} {:>8.2} {:>6.2} {:>8.2} {:>11.1} {:>17.1} {:>9.1}",
            row.size.0,
            row.size.1,
            row.bound.wall,
            row.snapshot.wall,
            row.snapshot.wall / row.bound.wall,
            row.bound.processor,
            row.snapshot.processor,
            row.snapshot.processor / row.bound.processor,
            row.open.wall,
            row.git_status,
            row.submodule_status,
            f64::from(u32::try_from(row.peak_kib).unwrap_or(u32::MAX)) / 1024.0,
        );
    }
}

fn measure(size: (usize, usize)) -> Row {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let sample = SampleSpec::sized(size.0, size.1).build(&temp.path().join("sample")).expect("a sample");
    let root = sample.superproject;
    // As a person leaves it: every index is refreshed, and newer than the files.
    git(&root, &["submodule", "--quiet", "foreach", "git status"]);
    git(&root, &["status"]);
    let runs = std::env::var("LAMBDA_OS_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(15);
    let (mut bounds, mut ours, mut opens) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        bounds.push(cost(|| raw_bound(&root)).0);
        let (open, opened) = cost(|| open(&root));
        opens.push(open);
        ours.push(cost(|| take(&opened)).0);
    }
    let times = |args: &[&str]| median((0..3).map(|_| cost(|| git(&root, args)).0.wall).collect());
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).arg("--one").arg(&root).output().expect("itself starts");
    Row {
        size,
        bound: medians(&bounds),
        snapshot: medians(&ours),
        open: medians(&opens),
        git_status: times(&["status", "--porcelain=v2", "-z", "--untracked-files=all"]),
        submodule_status: times(&["submodule", "status"]),
        peak_kib: String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(0),
    }
}

fn cost<T>(work: impl FnOnce() -> T) -> (Cost, T) {
    let processor = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    let (begun, used) = (Instant::now(), processor());
    let result = work();
    let (wall, processor) = (begun.elapsed(), processor().saturating_sub(used));
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    (Cost { wall: milliseconds(wall), processor: milliseconds(processor) }, result)
}

fn medians(costs: &[Cost]) -> Cost {
    Cost {
        wall: median(costs.iter().map(|cost| cost.wall).collect()),
        processor: median(costs.iter().map(|cost| cost.processor).collect()),
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
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

fn open(root: &Path) -> (GitRepository, Discovery) {
    let settings = DiscoverSettings { allow_local_urls: true, ..DiscoverSettings::default() };
    let repository = GitRepository::open_in(root, settings, Environment::default()).expect("opens");
    let discovery = repository.discover().expect("modules");
    (repository, discovery)
}

/// What is measured: the state of everything, on two threads.
fn take((repository, discovery): &(GitRepository, Discovery)) {
    let options = SnapshotOptions { threads: 2, ..SnapshotOptions::default() };
    let snapshot = repository.snapshot(discovery, &options).expect("a snapshot");
    assert!(!snapshot.modules.is_empty());
}
