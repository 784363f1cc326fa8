//! One `proposal apply`, the whole program from its start to its end, on a workspace whose
//! proposals are all approved.
//!
//! `cargo bench --bench apply [-- MODULESxFILES…]`; the default is 55x50. `bound` is what no such
//! program can do without: three starts of git's plumbing, and a raw write with a sync for each of
//! the [`SYNCS`] durable steps. `git` is what a person types for the gitlink alone: the module's
//! `git fetch` and `git checkout`, `git update-index --cacheinfo` and `git commit`.
#![expect(clippy::disallowed_methods, reason = "a benchmark starts real git and the program")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use lambda_os::sample::SampleSpec;
use serde_json::Value;

/// Proposals applied, each once.
const ROUNDS: usize = 12;
/// Durable steps that an application cannot do without: the certificate and its entry, two entries
/// around the landing, and the objects of blobs, trees and the commit.
const SYNCS: usize = 8;

fn main() {
    let sizes: Vec<(usize, usize)> = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.split_once('x').map(|(a, b)| (a.to_owned(), b.to_owned())))
        .filter_map(|(modules, files)| Some((modules.parse().ok()?, files.parse().ok()?)))
        .collect();
    println!("modules x files  applied   apply   bound     git  apply/bound  git/apply   (ms, medians)");
    for size in if sizes.is_empty() { vec![(55, 50)] } else { sizes } {
        measure(size);
    }
}

fn measure((modules, files): (usize, usize)) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let sample = SampleSpec::sized(modules, files).build(&temp.path().join("sample")).expect("a sample");
    let config = temp.path().join("config.toml");
    std::fs::write(&config, "[workspace]\nallow_local_urls = true\n").expect("a configuration");
    let lambda_os = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lambda-os"));
        command.arg("-C").arg(&sample.superproject).arg("--state-dir").arg(temp.path().join("state"));
        command.arg("--config").arg(&config).args(args).env_remove("SSH_AUTH_SOCK");
        command.output().expect("the program starts")
    };
    succeed(&lambda_os(&["init"]));
    lambda_os(&["run", "--once"]);
    let listed: Value =
        serde_json::from_slice(&lambda_os(&["proposal", "list", "--json"]).stdout).expect("JSON");
    let ids: Vec<&str> =
        listed["proposals"].as_array().expect("a list").iter().filter_map(|one| one["id"].as_str()).collect();
    // One by one: several at once would be one change.
    for id in ids.iter().take(ROUNDS) {
        succeed(&lambda_os(&["proposal", "approve", "--yes", "--quiet", id]));
    }
    let (mut applying, mut bounds, mut gits) = (vec![], vec![], vec![]);
    let scratch = temp.path().join("scratch");
    for id in ids.iter().take(ROUNDS) {
        bounds.push(timed(|| bound(&sample.superproject, &scratch)));
        gits.push(timed(|| by_hand(&sample.superproject)));
        let mut output = None;
        applying.push(timed(|| output = Some(lambda_os(&["proposal", "apply", id]))));
        succeed(&output.expect("it ran"));
    }
    let applied = applying.len();
    let (apply, bound, git) = (median(applying), median(bounds), median(gits));
    println!(
        "{modules:>7} x {files:<6} {applied:>7} {apply:>7.1} {bound:>7.1} {git:>7.1} {:>12.2} {:>10.1}",
        apply / bound,
        git / apply
    );
}

/// Three programs started, and so many writes that are on the disk.
fn bound(root: &Path, scratch: &Path) {
    for _ in 0..3 {
        git(root, &["rev-parse", "HEAD"]);
    }
    for _ in 0..SYNCS {
        let mut file = std::fs::File::create(scratch).expect("made");
        file.write_all(&[b'x'; 4096]).expect("written");
        file.sync_all().expect("synced");
    }
}

/// A person's steps for one gitlink, ending where they began.
fn by_hand(root: &Path) {
    let listed = git(root, &["ls-files", "-s", "repos"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let row = listed.lines().find(|row| row.starts_with("160000 ")).expect("a gitlink");
    let (id, path) = (&row[7..47], row.split_once('\t').expect("a path").1);
    let module = root.join(path);
    git(&module, &["fetch", "-q", "origin"]);
    git(&module, &["checkout", "-q", "--detach", "HEAD"]);
    git(root, &["update-index", "--cacheinfo", &format!("160000,{id},{path}")]);
    let commit =
        ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "--allow-empty", "-m", "by hand"];
    git(root, &commit);
    git(root, &["update-ref", "HEAD", "HEAD~1"]);
}

fn git(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(["-c", "protocol.file.allow=always"]).args(args);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.output().expect("git starts")
}

fn succeed(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn timed(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
