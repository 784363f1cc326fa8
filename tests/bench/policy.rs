//! Judging a whole workspace: by the rules that look at how it is wired and where it comes from, and by
//! every rule there is, also those that look into each module's commit. Gathering the facts from git objects
//! is in the times; what it takes to read and parse the workspace's lock stands beside them.
//!
//! `cargo bench --bench policy [-- MODULES…]`; 55 and 1,000 modules by default. Each time is a median.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::hint::black_box;
use std::time::Instant;

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::adapters::journal::JournalWriter;
use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::id::RepoPath;
use lambda_os::domain::policy::rules::{ALL, About};
use lambda_os::domain::policy::{Policy, Severity};
use lambda_os::ops::policy::{self, Site};
use lambda_os::ports::{Repository as _, SnapshotOptions};
use lambda_os::sample::SampleSpec;

const ROUNDS: usize = 15;

/// The rules that look into modules' commits.
const INTO_MODULES: [&str; 7] = [
    "forbidden-paths",
    "licence-and-size",
    "metadata",
    "program-pins",
    "rln",
    "signed-metadata",
    "signed-revisions",
];

fn main() {
    let mut sizes: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![55, 1_000];
    }
    println!("modules  lock KB   parse lock   its wiring    every rule   (ms, medians)");
    for size in sizes {
        measure(size);
    }
}

fn measure(modules: usize) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let sample = SampleSpec::sized(modules, 3).build(&temp.path().join("sample")).expect("a sample");
    let settings = DiscoverSettings { allow_local_urls: true, ..DiscoverSettings::default() };
    let repository =
        GitRepository::open_in(&sample.superproject, settings, Environment::default()).expect("a repository");
    let state_dir = StateDir::resolve(Some(&temp.path().join("state")), None, &sample.superproject)
        .expect("a state directory");
    let mirrors = Mirrors::open(&state_dir.mirrors(), &sample.superproject, repository.common_dir());
    let clock = SystemClock;
    let journal = JournalWriter::open(&state_dir, &clock).expect("a journal");
    let discovery = repository.discover().expect("modules");
    let quick = SnapshotOptions { hash_untracked_bytes: None, ..SnapshotOptions::default() };
    let snapshot = repository.snapshot(&discovery, &quick).expect("a snapshot");
    let head = repository.head().expect("readable").expect("a commit");
    // Every rule, as its own explanation sets it.
    let all: Vec<&About> = ALL.iter().collect();
    let wiring = |rule: &&&About| !INTO_MODULES.contains(&rule.id);
    let outside: Vec<&About> = all.iter().filter(wiring).copied().collect();
    let fixed = "v = 2\nmax_open_proposals = 100\nproposal_days = 30\nallow_unverified = true\n";
    let policy = |rules: &[&About]| {
        let rules: String = rules.iter().map(|rule| rule.example).collect();
        Policy::from_text(&format!("{fixed}{rules}")).expect("a policy")
    };
    let (outside, every) = (policy(&outside), policy(&all));
    let site = Site {
        superproject: &repository,
        sources: &mirrors,
        modules: &discovery.modules,
        commands: &[],
        snapshot: Some(&snapshot),
        upgrades: &[],
    };
    let lock_of =
        || repository.committed_file(&RepoPath::from("flake.lock")).expect("readable").expect("a lock");
    let parse = median(|| drop(black_box(Lock::parse(&lock_of()).expect("a lock"))));
    let judge = |rules: &Policy| {
        let now = policy::now(journal.state(), &clock);
        policy::judge_tree(site, journal.state(), rules, head, now).expect("judged")
    };
    let found = judge(&outside);
    assert!(found.iter().any(|finding| finding.severity == Severity::Deny), "the sample is on this disk");
    let (outside, every) =
        (median(|| drop(black_box(judge(&outside)))), median(|| drop(black_box(judge(&every)))));
    println!(
        "{:>7}  {:>7}  {parse:>11.1}  {outside:>11.1}  {every:>12.1}",
        discovery.modules.len(),
        lock_of().len() / 1024
    );
}

fn median(work: impl Fn()) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}
