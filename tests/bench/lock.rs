//! Relocking one input: a lock of 64 nodes and one of 5,000 (2.5 MB), beside `nix flake update` on the
//! same `git+file:` workspace in the same run.
//!
//! [`rows`] gives the table; each time is the median of several runs. `LAMBDA_OS_NIX` is the Nix to
//! compare with (`tests/nix.sh`); without it only our own times are there.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::allow_attributes,
    reason = "a part of the benches and a program of its own; it runs real programs to compare with"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature, Time};
use lambda_os::adapters::flake_sources::LocalSources;
use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::flake::relock::{Request, Update, relock};

/// One measured operation.
pub struct Row {
    /// What was done to what.
    pub what: String,
    /// The median.
    pub median: Duration,
}

/// A root flake over `modules` git sources; each source's own lock has `1 + 11 * groups` nodes.
struct Workspace {
    root: PathBuf,
    moved: Repository,
    versions: i64,
}

impl Workspace {
    fn new(dir: &Path, modules: usize, groups: usize) -> Self {
        let url = |name: &str| format!("git+file://{}/{name}", dir.display());
        source(&dir.join("leaf"), "", 1);
        let leaf = |n| format!("inputs.leaf{n}.url = \"{}\";\n", url("leaf"));
        let leaves = (0..10).map(leaf).collect::<Vec<_>>().concat();
        source(&dir.join("group"), &leaves, 1);
        let group = |n| format!("inputs.group{n}.url = \"{}\";\n", url("group"));
        let groups = (0..groups).map(group).collect::<Vec<_>>().concat();
        let mut inputs = String::new();
        let mut moved = None;
        for number in 0..modules {
            let name = format!("module{number}");
            let repository = source(&dir.join(&name), &groups, 100);
            let _ = writeln!(inputs, "inputs.{name}.url = \"{}\";", url(&name));
            moved.get_or_insert(repository);
        }
        let root = dir.join("root");
        fs::create_dir_all(&root).expect("a directory is made");
        write_flake(&root, &inputs);
        lock_in_place(&root);
        Self { root, moved: moved.expect("there is a module"), versions: 0 }
    }

    /// A newer commit of the first module.
    fn move_on(&mut self) {
        self.versions += 1;
        let top = self.moved.workdir().expect("it has a work tree").to_owned();
        fs::write(top.join("version"), self.versions.to_string()).expect("it is written");
        commit(&self.moved, 1_790_000_000 + self.versions);
    }

    /// Everything that `lock update --stdout` does, in this process.
    fn ours(&self) -> Vec<u8> {
        let nix = fs::read(self.root.join("flake.nix")).expect("it is there");
        let bytes = fs::read(self.root.join("flake.lock")).expect("it is there");
        let lock = Lock::parse(&bytes).expect("it is a lock");
        let updates = BTreeMap::from([(vec!["module0".to_owned()], Update::Newest)]);
        let request =
            Request { flake_nix: &nix, dir: "", lock: Some(&lock), updates: &updates, strict: true };
        relock(request, &LocalSources::new(&self.root)).expect("all is at hand").file(Some((&lock, &bytes)))
    }

    fn theirs(&self, nix: &Path) -> Vec<u8> {
        let home = self.root.join("../home");
        fs::create_dir_all(&home).expect("a directory is made");
        let mut command = Command::new(nix);
        command.env_clear().env("HOME", &home).env("NIX_REMOTE", "dummy://?read-only=false").env(
            "NIX_CONFIG",
            "experimental-features = nix-command flakes\nsubstituters =\nflake-registry =\n",
        );
        command.args(["flake", "update", "module0", "--flake"]).arg(format!("path:{}", self.root.display()));
        let output = command.output().expect("Nix starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(self.root.join("flake.lock")).expect("it is there")
    }
}

fn write_flake(dir: &Path, inputs: &str) {
    fs::write(dir.join("flake.nix"), format!("{{\n{inputs}outputs = _: {{ }};\n}}\n"))
        .expect("it is written");
}

fn lock_in_place(dir: &Path) {
    let nix = fs::read(dir.join("flake.nix")).expect("it is there");
    let updates = BTreeMap::new();
    let request = Request { flake_nix: &nix, dir: "", lock: None, updates: &updates, strict: true };
    let made = relock(request, &LocalSources::new(dir)).expect("all is at hand");
    fs::write(dir.join("flake.lock"), made.lock.to_json()).expect("it is written");
}

/// A git repository with a flake, its lock, and so many files.
fn source(dir: &Path, inputs: &str, files: usize) -> Repository {
    let mut options = RepositoryInitOptions::new();
    options.initial_head("main").external_template(false);
    let repository = Repository::init_opts(dir, &options).expect("a repository is made");
    write_flake(dir, inputs);
    for number in 0..files {
        fs::write(dir.join(format!("file{number}")), format!("{number}\n").repeat(200))
            .expect("it is written");
    }
    lock_in_place(dir);
    commit(&repository, 1_790_000_000);
    repository
}

fn commit(repository: &Repository, time: i64) {
    let mut index = repository.index().expect("an index");
    index.add_all(["*"], IndexAddOption::DEFAULT, None).expect("files are added");
    index.write().expect("the index is written");
    let tree = index.write_tree().and_then(|id| repository.find_tree(id)).expect("a tree");
    let person = Signature::new("Bench", "bench@example.org", &Time::new(time, 0)).expect("a signature");
    let parent = repository.head().ok().and_then(|head| head.peel_to_commit().ok());
    let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
    repository.commit(Some("HEAD"), &person, &person, "x", &tree, &parents).expect("a commit");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Relock one input of both workspaces; the two programs' files must be equal each time.
#[must_use]
fn rows() -> Vec<Row> {
    let nix = std::env::var_os("LAMBDA_OS_NIX").map(PathBuf::from);
    let mut rows = Vec::new();
    for (modules, groups) in [(5, 1), (50, 9)] {
        let temp = tempfile::Builder::new().prefix("lambda-os-bench-").tempdir().expect("a directory");
        let mut workspace = Workspace::new(temp.path(), modules, groups);
        let bytes = fs::metadata(workspace.root.join("flake.lock")).expect("it is there").len();
        let nodes = 1 + modules * (1 + 11 * groups);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            workspace.move_on();
            let begun = Instant::now();
            let mine = workspace.ours();
            ours.push(begun.elapsed());
            if let Some(nix) = &nix {
                let begun = Instant::now();
                let written = workspace.theirs(nix);
                theirs.push(begun.elapsed());
                assert!(mine == written, "Nix wrote another lock");
            } else {
                fs::write(workspace.root.join("flake.lock"), mine).expect("it is written");
            }
        }
        let of = format!("one input of a lock of {nodes} nodes, {bytes} bytes");
        rows.push(Row { what: format!("relock {of}"), median: median(ours) });
        if !theirs.is_empty() {
            rows.push(Row { what: format!("nix flake update, {of}"), median: median(theirs) });
        }
    }
    rows
}

fn main() {
    let rows = rows();
    for row in &rows {
        println!("{:>12.3?}  {}", row.median, row.what);
    }
    for pair in rows.chunks_exact(2) {
        println!("{:>11.1}x  {}", pair[1].median.as_secs_f64() / pair[0].median.as_secs_f64(), pair[0].what);
    }
}
