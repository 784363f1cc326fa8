//! Locks: reading and printing one of 5,000 nodes and 4 MB; relocking one input of it and of one of
//! 64 nodes, in this process and by the program; and beside `nix flake update` on the same
//! `git+file:` workspace in the same run, file compared with file.
//!
//! Each time is the median of several runs. `LAMBDA_OS_NIX` is the Nix to compare with
//! (`tests/nix.sh`); without it only our own times are there. `cargo bench --bench lock`.
#![expect(clippy::disallowed_methods, reason = "it runs real programs to compare with")]

mod locks;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature, Time};
use lambda_os::adapters::flake_sources::LocalSources;
use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::flake::relock::{Relocked, Request, Update, relock};

/// A root flake over `modules` git sources; each source's own lock has `1 + 11 * groups` nodes, of
/// which nine in eleven have four inputs that follow another.
struct Workspace {
    root: PathBuf,
    moved: Repository,
    versions: i64,
}

impl Workspace {
    fn new(dir: &Path, modules: usize, groups: usize) -> Self {
        let url = |name: &str| format!("git+file://{}/{name}", dir.display());
        source(&dir.join("base"), "", 1);
        let own = ["first", "other", "third", "toolchain"];
        let base = |name: &str| format!("inputs.{name}.url = \"{}\";\n", url("base"));
        source(&dir.join("leaf"), &own.map(base).concat(), 1);
        let mut leaves = base("leaf0");
        for number in 1..10 {
            let _ = writeln!(leaves, "inputs.leaf{number}.url = \"{}\";", url("leaf"));
            for name in own {
                let _ = writeln!(leaves, "inputs.leaf{number}.inputs.{name}.follows = \"leaf0\";");
            }
        }
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
        let made = update(&nix, &lock, "module0", &LocalSources::new(&self.root), true);
        made.file(Some((&lock, &bytes)))
    }

    /// The same by the program.
    fn program(&self) -> Vec<u8> {
        program(&self.root, &["module0", "--strict"])
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

/// One input of a lock at its newest.
fn update(nix: &[u8], lock: &Lock, input: &str, sources: &LocalSources, strict: bool) -> Relocked {
    let updates = BTreeMap::from([(vec![input.to_owned()], Update::Newest)]);
    let request = Request { flake_nix: nix, dir: "", lock: Some(lock), updates: &updates, strict };
    relock(request, sources).expect("all is at hand")
}

/// What `lock update --stdout` prints.
fn program(root: &Path, args: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lambda-os"));
    command.env_clear().env("HOME", root).args(["lock", "update", "--stdout"]).arg(root).args(args);
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
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
    source_with(dir, &format!("{{\n{inputs}outputs = _: {{ }};\n}}\n"), None, files)
}

fn source_with(dir: &Path, flake_nix: &str, lock: Option<&str>, files: usize) -> Repository {
    let mut options = RepositoryInitOptions::new();
    options.initial_head("main").external_template(false);
    let repository = Repository::init_opts(dir, &options).expect("a repository is made");
    fs::write(dir.join("flake.nix"), flake_nix).expect("it is written");
    for number in 0..files {
        fs::write(dir.join(format!("file{number}")), format!("{number}\n").repeat(200))
            .expect("it is written");
    }
    match lock {
        Some(lock) => fs::write(dir.join("flake.lock"), lock).expect("it is written"),
        None => lock_in_place(dir),
    }
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

fn time<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    times.push(begun.elapsed());
    done
}

fn repeated<T>(runs: usize, mut work: impl FnMut() -> T) -> Duration {
    let mut times = Vec::new();
    for _ in 0..runs {
        black_box(time(&mut times, &mut work));
    }
    median(times)
}

/// The time that this process had a processor: what a busy machine leaves as it is.
fn processor(runs: usize, mut work: impl FnMut()) -> Duration {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::try_from(time).expect("since the start")
    };
    let times = (0..runs).map(|_| {
        let begun = now();
        work();
        now().saturating_sub(begun)
    });
    median(times.collect())
}

fn show(what: &str, time: Duration) {
    println!("{time:>12.3?}  {what}");
}

fn ratio(what: &str, slow: Duration, fast: Duration) {
    println!("{:>11.1}x  {what}", slow.as_secs_f64() / fast.as_secs_f64());
}

/// Reading and printing, beside `serde_json` reading the same into its own values.
fn read_and_print() {
    let made = locks::workspace(5_000);
    let (bytes, nodes) = (made.lock.len(), made.nodes);
    assert!(bytes >= 4_000_000 && nodes >= 5_000, "{bytes} bytes, {nodes} nodes");
    let of = format!("a lock of {nodes} nodes, {bytes} bytes");
    let ours = repeated(21, || Lock::parse(made.lock.as_bytes()).expect("it is a lock"));
    show(&format!("read {of}"), ours);
    let read = || drop(black_box(Lock::parse_owned(made.lock.clone().into_bytes())));
    let copied = processor(21, || drop(black_box(made.lock.clone())));
    let busy = processor(21, read).saturating_sub(copied);
    show(&format!("read and drop, processor time, {of}"), busy);
    let lock = Lock::parse(made.lock.as_bytes()).expect("it is a lock");
    assert!(lock.to_json() == made.lock, "it is printed as it was");
    show(&format!("print {of}"), repeated(21, || lock.to_json()));
    // Last: what it leaves behind of the heap would slow the others down.
    let values = repeated(21, || serde_json::from_str::<serde_json::Value>(&made.lock).expect("JSON"));
    show(&format!("serde_json to values, {of}"), values);
    let value = || drop(black_box(serde_json::from_str::<serde_json::Value>(&made.lock)));
    let values_busy = processor(21, value);
    show(&format!("serde_json to values and drop, processor time, {of}"), values_busy);
    ratio("serde_json to values / read, processor time", values_busy, busy);
    ratio("serde_json to values / read", values, ours);
}

/// One input of `github:` modules of which one is at hand, as a clone in a folder.
fn relock_from_clones() {
    for nodes in [64, 5_000] {
        let temp = tempfile::Builder::new().prefix("lambda-os-bench-").tempdir().expect("a directory");
        let module = locks::module(60);
        let clone = temp.path().join("sources/logos-co+logos-module-0/repo");
        source_with(&clone, &module.flake_nix, Some(&module.lock), 100);
        let made = locks::workspace(nodes);
        let root = temp.path().join("root");
        fs::create_dir_all(&root).expect("a directory is made");
        fs::write(root.join("flake.nix"), &made.flake_nix).expect("it is written");
        fs::write(root.join("flake.lock"), &made.lock).expect("it is written");
        let lock = Lock::parse(made.lock.as_bytes()).expect("it is a lock");
        let sources = || {
            let mut sources = LocalSources::new(&root);
            sources.add_folder(&temp.path().join("sources")).expect("it is listed");
            sources
        };
        let of = format!("a lock of {} nodes, {} bytes", made.nodes, made.lock.len());
        let nix = made.flake_nix.as_bytes();
        let fresh = repeated(11, || update(nix, &lock, "logos-module-0", &sources(), false));
        show(&format!("relock one input, lock read, source new: {of}"), fresh);
        let warm = sources();
        let again = repeated(11, || update(nix, &lock, "logos-module-0", &warm, false));
        show(&format!("relock one input, lock read, source known: {of}"), again);
        let folder = temp.path().join("sources").display().to_string();
        let whole = repeated(11, || program(&root, &["logos-module-0", "--sources", &folder]));
        show(&format!("the program, relock one input: {of}"), whole);
    }
}

/// Relock one input of both workspaces; the two programs' files must be equal each time.
fn relock_beside_nix() {
    let nix = std::env::var_os("LAMBDA_OS_NIX").map(PathBuf::from);
    for (modules, groups) in [(5, 1), (50, 9)] {
        let temp = tempfile::Builder::new().prefix("lambda-os-bench-").tempdir().expect("a directory");
        let mut workspace = Workspace::new(temp.path(), modules, groups);
        let bytes = fs::metadata(workspace.root.join("flake.lock")).expect("it is there").len();
        let nodes = 1 + modules * (1 + 11 * groups);
        let (mut ours, mut programs, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..11 {
            workspace.move_on();
            let mine = time(&mut ours, || workspace.ours());
            let printed = time(&mut programs, || workspace.program());
            assert!(mine == printed, "the program printed another lock");
            match &nix {
                Some(nix) => {
                    let written = time(&mut theirs, || workspace.theirs(nix));
                    assert!(mine == written, "Nix wrote another lock");
                }
                None => fs::write(workspace.root.join("flake.lock"), mine).expect("it is written"),
            }
        }
        let of = format!("git+file:, one input of a lock of {nodes} nodes, {bytes} bytes");
        let (ours, programs) = (median(ours), median(programs));
        show(&format!("relock in this process: {of}"), ours);
        show(&format!("the program: {of}"), programs);
        if !theirs.is_empty() {
            let theirs = median(theirs);
            show(&format!("nix flake update: {of}"), theirs);
            ratio("nix flake update / relock in this process", theirs, ours);
            ratio("nix flake update / the program", theirs, programs);
        }
    }
}

fn main() {
    read_and_print();
    relock_from_clones();
    relock_beside_nix();
}
