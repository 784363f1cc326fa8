//! Generated workspaces: git sources with flakes that import each other in every way, a root
//! flake over them, and what may happen to all of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature, Time};
use lambda_os::adapters::flake_sources::LocalSources;
use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::flake::relock::{Relocked, Request, Update, relock};

/// Deterministic numbers (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("it is below a usize")
    }

    /// True so many times in a hundred.
    pub(super) fn percent(&mut self, of: usize) -> bool {
        self.below(100) < of
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Few, so that they meet; some look like suffixed nodes, one like the root.
const NAMES: [&str; 9] = ["a", "b", "c", "d", "x", "x_2", "nixpkgs", "root", "sub"];

/// One input of a flake, or an override.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) url: Option<String>,
    pub(super) attributes: Option<String>,
    pub(super) follows: Option<String>,
    pub(super) flake: bool,
    pub(super) inputs: BTreeMap<String, Wanted>,
}

impl Wanted {
    fn print(&self, out: &mut String) {
        out.push_str("{ ");
        if let Some(url) = &self.url {
            let _ = write!(out, "url = \"{url}\"; ");
        }
        if let Some(attributes) = &self.attributes {
            let _ = write!(out, "{attributes} ");
        }
        if let Some(follows) = &self.follows {
            let _ = write!(out, "follows = \"{follows}\"; ");
        }
        if !self.flake {
            out.push_str("flake = false; ");
        }
        for (name, input) in &self.inputs {
            let _ = write!(out, "inputs.{name} = ");
            input.print(out);
            out.push_str("; ");
        }
        out.push('}');
    }
}

/// A `flake.nix` with these inputs.
pub(super) fn flake_nix(inputs: &BTreeMap<String, Wanted>, note: u64) -> String {
    let mut out = format!("{{\n  description = \"{note}\";\n");
    for (name, input) in inputs {
        let _ = write!(out, "  inputs.{name} = ");
        input.print(&mut out);
        out.push_str(";\n");
    }
    out.push_str("  outputs = _: { };\n}\n");
    out
}

/// A source: a git work tree, and its commits.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) commits: Vec<String>,
    repository: Repository,
}

/// Everything of one case.
pub(super) struct World {
    pub(super) dir: PathBuf,
    pub(super) random: Random,
    pub(super) sources: Vec<Source>,
    pub(super) root: PathBuf,
    pub(super) inputs: BTreeMap<String, Wanted>,
    time: i64,
    /// Nothing that Nix 2.8 locks otherwise.
    plain: bool,
    /// The root overrides nothing.
    pub(super) bare: bool,
    /// Every source's lock is the one of its own `flake.nix`, or not there; and inputs follow others
    /// more often.
    tidy: bool,
}

impl World {
    /// In an empty directory.
    pub(super) fn new(dir: &Path, seed: u64) -> Self {
        Self::with(dir, seed, false, false)
    }

    /// The same, where no source has a lock that is not that of its `flake.nix`.
    pub(super) fn tidy(dir: &Path, seed: u64) -> Self {
        Self::with(dir, seed, false, true)
    }

    /// The same, with nothing that Nix 2.8 locks otherwise.
    pub(super) fn plain(dir: &Path, seed: u64) -> Self {
        Self::with(dir, seed, true, false)
    }

    fn with(dir: &Path, seed: u64, plain: bool, tidy: bool) -> Self {
        let root = dir.join("root");
        fs::create_dir_all(&root).expect("a directory is made");
        let mut world = Self {
            dir: dir.to_owned(),
            random: Random(seed),
            sources: Vec::new(),
            root,
            inputs: BTreeMap::new(),
            time: 1_790_000_000,
            plain,
            bare: plain && seed % 2 == 1,
            tidy,
        };
        // Plain directories as `path:` inputs: one leaf, one with an input.
        for name in ["p0", "p1"] {
            fs::create_dir_all(dir.join(name)).expect("a directory is made");
            fs::write(dir.join(name).join("flake.nix"), flake_nix(&BTreeMap::new(), 0))
                .expect("it is written");
        }
        let count = 3 + world.random.below(5);
        for number in 0..count {
            let path = dir.join(format!("s{number}"));
            let mut options = RepositoryInitOptions::new();
            options.initial_head("main").external_template(false);
            let repository = Repository::init_opts(&path, &options).expect("a repository is made");
            world.sources.push(Source { path, commits: Vec::new(), repository });
            world.write_source(number, true);
        }
        world.write_root(true);
        world
    }

    /// Write a new version of a source: its flakes, and its lock or an older or none.
    fn write_source(&mut self, number: usize, fresh: bool) {
        let path = self.sources[number].path.clone();
        if fresh || self.random.percent(60) {
            let note = self.random.next();
            for _ in 0..self.patience() {
                let inputs = self.some_inputs(number, 3, path.join("sub").exists(), false);
                fs::write(path.join("flake.nix"), flake_nix(&inputs, note)).expect("it is written");
                if ours(&path, "", None, &BTreeMap::new()).is_ok() {
                    break;
                }
            }
            if self.random.percent(35) {
                let inputs = self.some_inputs(number, 2, false, false);
                fs::create_dir_all(path.join("sub")).expect("a directory is made");
                fs::write(path.join("sub/flake.nix"), flake_nix(&inputs, note)).expect("it is written");
            }
        } else {
            let note = self.random.next().to_string();
            fs::write(path.join("data"), note).expect("it is written");
        }
        if self.tidy {
            for dir in ["", "sub"].iter().filter(|dir| path.join(dir).join("flake.nix").exists()) {
                if !self.random.percent(75) || !lock_in_place(&path, dir) {
                    let _ = fs::remove_file(path.join(dir).join("flake.lock"));
                }
            }
        } else if self.random.percent(75) {
            lock_in_place(&path, "");
        } else if self.random.percent(30) {
            let _ = fs::remove_file(path.join("flake.lock"));
        }
        if !self.tidy && path.join("sub/flake.nix").exists() && self.random.percent(40) {
            lock_in_place(&path, "sub");
        }
        self.time += 60;
        let source = &mut self.sources[number];
        let commit = commit(&source.repository, self.time);
        source.commits.push(commit);
    }

    /// How often a flake is thrown away that nobody could lock: mostly until one is good.
    fn patience(&mut self) -> usize {
        if self.random.percent(90) { 15 } else { 1 }
    }

    fn write_root(&mut self, fresh: bool) {
        let before = self.inputs.clone();
        for _ in 0..self.patience() {
            self.inputs.clone_from(&before);
            self.wish(fresh);
            fs::write(self.root.join("flake.nix"), flake_nix(&self.inputs, 0)).expect("it is written");
            if ours(&self.root, "", None, &BTreeMap::new()).is_ok() {
                return;
            }
        }
    }

    fn wish(&mut self, fresh: bool) {
        let count = self.sources.len();
        let other = self.some_inputs(count, 5, true, true);
        if fresh {
            self.inputs = other;
            let sub = self.some_inputs(count, 2, false, false);
            fs::create_dir_all(self.root.join("sub")).expect("a directory is made");
            fs::write(self.root.join("sub/flake.nix"), flake_nix(&sub, 1)).expect("it is written");
            return;
        }
        let names: Vec<String> = self.inputs.keys().cloned().collect();
        for name in &names {
            if self.random.percent(12) {
                self.inputs.remove(name);
            } else if self.random.percent(30) {
                // Other overrides, the same source.
                let depth = if self.plain { 1 } else { 1 + self.random.below(3) };
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let inner = self.overrides(count, &names, depth);
                if let Some(input) = self.inputs.get_mut(name) {
                    input.inputs = inner;
                }
            }
        }
        for (name, input) in other {
            if self.random.percent(25) {
                self.inputs.insert(name, input);
            }
        }
    }

    /// Move some sources.
    pub(super) fn change_sources(&mut self) {
        for number in 0..self.sources.len() {
            if self.random.percent(40) {
                self.write_source(number, false);
            }
        }
    }

    /// Move some sources, and perhaps the root's wishes.
    pub(super) fn change(&mut self) {
        self.change_sources();
        // 2.8 keeps other inputs when an override is gone: with overrides the root stays as it is.
        let overrides = self.inputs.values().any(|input| !input.inputs.is_empty());
        if self.random.percent(60) && !(self.plain && overrides) {
            self.write_root(false);
        }
    }

    fn some_inputs(&mut self, below: usize, most: usize, sub: bool, root: bool) -> BTreeMap<String, Wanted> {
        let mut inputs = BTreeMap::new();
        let count = usize::from(root) + self.random.below(most + 1);
        let mut names: Vec<&str> = Vec::new();
        for _ in 0..count {
            names.push(*self.random.pick(&NAMES));
        }
        let follows = match (self.plain, self.tidy) {
            (true, _) if !root => 0,
            // What sources say themselves is what is assumed.
            (_, true) if !root => 40,
            _ => 14,
        };
        for name in names.clone() {
            let mut wanted = self.wanted(below, &names, sub, follows);
            if self.random.percent(35) && !(self.plain && (self.bare || !root)) {
                let depth = if self.plain { 1 } else { 1 + self.random.below(3) };
                wanted.inputs = self.overrides(below, &names, depth);
            }
            inputs.insert(name.to_owned(), wanted);
        }
        inputs
    }

    fn overrides(&mut self, below: usize, names: &[&str], depth: usize) -> BTreeMap<String, Wanted> {
        let mut inputs = BTreeMap::new();
        for _ in 0..=self.random.below(2) {
            let name = *self.random.pick(&NAMES);
            let mut wanted = if self.random.percent(25) && depth > 1 {
                Wanted { url: None, attributes: None, follows: None, flake: true, inputs: BTreeMap::new() }
            } else {
                self.wanted(below, names, false, if self.plain { 100 } else { 65 })
            };
            if depth > 1 && self.random.percent(50) {
                wanted.inputs = self.overrides(below, names, depth - 1);
            }
            inputs.insert(name.to_owned(), wanted);
        }
        inputs
    }

    fn wanted(&mut self, below: usize, names: &[&str], sub: bool, follows: usize) -> Wanted {
        let mut wanted =
            Wanted { url: None, attributes: None, follows: None, flake: true, inputs: BTreeMap::new() };
        if self.random.percent(follows) {
            let mut path = vec![*self.random.pick(names)];
            while !self.plain && path.len() < 3 && self.random.percent(25) {
                path.push(*self.random.pick(&NAMES));
            }
            wanted.follows = Some(if self.random.percent(4) { String::new() } else { path.join("/") });
            return wanted;
        }
        wanted.flake = !self.random.percent(10);
        // Now and then a source that comes later: a circle, unless somebody breaks it.
        let reach = if self.random.percent(8) { self.sources.len() } else { below };
        if reach == 0 || self.random.percent(12) {
            let path = *self.random.pick(&["p0", "p1"]);
            let relative = if self.plain { 2 } else { 0 };
            wanted.url = Some(match relative + self.random.below(if sub { 4 } else { 60 }) {
                0 => "path:./sub".to_owned(),
                1 => "./sub".to_owned(),
                _ => format!("path:{}", self.dir.join(path).display()),
            });
            return wanted;
        }
        let source = &self.sources[self.random.below(reach)];
        let place = source.path.display().to_string();
        let url = format!("git+file://{place}");
        let commits = source.commits.clone();
        wanted.url = Some(match self.random.below(20) {
            2 | 3 | 5 | 6 | 7 if self.plain => url,
            0 | 1 => format!("{url}?ref=main"),
            2 | 3 if !commits.is_empty() => format!("{url}?rev={}", self.random.pick(&commits)),
            4 if !commits.is_empty() => format!("{url}?ref=main&rev={}", self.random.pick(&commits)),
            5 | 6 if source.path.join("sub").exists() => format!("{url}?dir=sub"),
            7 => format!("{url}?shallow=1"),
            8 => {
                wanted.attributes =
                    Some(format!("type = \"git\"; url = \"file://{place}\"; ref = \"main\";"));
                return wanted;
            }
            _ => url,
        });
        wanted
    }
}

/// Everything that is added, committed on the branch that HEAD names.
fn commit(repository: &Repository, time: i64) -> String {
    let mut index = repository.index().expect("an index");
    index.add_all(["*"], IndexAddOption::DEFAULT, None).expect("files are added");
    index.update_all(["*"], None).expect("files are removed");
    index.write().expect("the index is written");
    let tree = index.write_tree().and_then(|id| repository.find_tree(id)).expect("a tree");
    let person = Signature::new("Test", "test@example.org", &Time::new(time, 0)).expect("a signature");
    let parent = repository.head().ok().and_then(|head| head.peel_to_commit().ok());
    let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
    repository.commit(Some("HEAD"), &person, &person, "x", &tree, &parents).expect("a commit").to_string()
}

/// Our own lock of a flake in a source, as its author would have committed it; left as it is when
/// it cannot be made, which is `false`.
fn lock_in_place(top: &Path, dir: &str) -> bool {
    let place = top.join(dir);
    let before = fs::read(place.join("flake.lock")).ok();
    if let Ok(made) = ours(top, dir, before.as_deref(), &BTreeMap::new()) {
        let lock = before.clone().and_then(|bytes| Some(Lock::parse_for_relock(bytes).ok()?.0));
        if made.differs_from(lock.as_ref()) {
            fs::write(place.join("flake.lock"), made.lock.to_json()).expect("it is written");
        }
        return true;
    }
    false
}

/// What we make of a flake.
pub(super) fn ours(
    top: &Path,
    dir: &str,
    before: Option<&[u8]>,
    updates: &BTreeMap<Vec<String>, Update>,
) -> Result<Relocked, String> {
    let flake = fs::read(top.join(dir).join("flake.nix")).map_err(|error| error.to_string())?;
    let lock = before.map(|bytes| Lock::parse_for_relock(bytes.to_vec())).transpose();
    let lock = lock.map_err(|error| error.to_string())?.map(|(lock, _)| lock);
    let request = Request { flake_nix: &flake, dir, lock: lock.as_ref(), updates, strict: false };
    relock(request, &LocalSources::new(top)).map_err(|error| error.to_string())
}
