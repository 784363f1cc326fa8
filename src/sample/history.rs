//! The modules' histories: what was committed when, each flake with a lock that was true then.
//!
//! All modules go through the same ages, one after another, in the order of the cast:
//!
//! 1. *born*: sources, and a flake without inputs;
//! 2. *wired*: the flake names its dependencies, the lock their commits of that moment. A
//!    dependency that comes later in the cast is still newly born: that is how a cycle begins;
//! 3. *worked on*: every second module gets a commit that touches no flake;
//! 4. *relocked*: the lock names what was newest. Here the superproject pins;
//! 5. *later*: every third module gets commits that the superproject does not know yet, and
//!    every sixth of all a new lock on top.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cast::Role;
use super::content;
use super::files::Files;
use super::flake::{self, Input, Lock, Locked};
use super::objects::{self, Kind, Objects, Pack};
use crate::domain::id::ObjectId;

/// The first commit's time: 2026-01-01.
const BEGINNING: i64 = 1_767_225_600;
/// Between two ages.
const AGE: i64 = 7 * 86_400;

/// One module's repository in the making.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) objects: Objects,
    files: Files,
    /// Each commit with its object's content, oldest first.
    commits: Vec<(ObjectId, Arc<[u8]>)>,
    /// Archives of it leave `ci/` out.
    export_ignore: bool,
    /// What a lock of this moment would record.
    current: Option<Arc<Locked>>,
    /// The inputs of the flake at `current`.
    inputs: BTreeMap<String, Input>,
    state: u32,
    time: i64,
    /// What the superproject's first commit pins.
    first: Option<Pin>,
    /// What the superproject pins.
    pin: Option<Pin>,
    seen: Option<ObjectId>,
    /// Objects up to the pin, and those after it.
    pub(super) packs: (Option<Pack>, Option<Pack>),
}

/// A commit that a superproject can pin.
#[derive(Debug, Clone)]
pub(super) struct Pin {
    pub(super) locked: Arc<Locked>,
    pub(super) inputs: BTreeMap<String, Input>,
    pub(super) files: Files,
    /// How many commits upstream had then.
    pub(super) depth: usize,
}

impl Line {
    fn new(files: Files, at: usize, export_ignore: bool) -> Self {
        Self {
            objects: Objects::default(),
            files,
            commits: Vec::new(),
            export_ignore,
            current: None,
            inputs: BTreeMap::new(),
            state: 1,
            time: BEGINNING + 60 * i64::try_from(at).expect("because a cast is small"),
            first: None,
            pin: None,
            seen: None,
            packs: (None, None),
        }
    }

    /// The commits' ids, oldest first.
    pub(super) fn commits(&self) -> impl DoubleEndedIterator<Item = ObjectId> + ExactSizeIterator {
        self.commits.iter().map(|(id, _)| *id)
    }

    /// What the superproject's first commit pins.
    pub(super) fn first(&self) -> &Pin {
        self.first.as_ref().expect("because a line that lived has pins")
    }

    /// What the superproject pins.
    pub(super) fn pin(&self) -> &Pin {
        self.pin.as_ref().expect("because a line that lived has pins")
    }

    /// The newest commit.
    pub(super) fn tip(&self) -> ObjectId {
        self.commits.last().expect("because every line is born before it is asked").0
    }

    /// What a clone saw on the branch: the newest commit when the superproject pinned.
    pub(super) fn seen(&self) -> ObjectId {
        self.seen.unwrap_or_else(|| self.tip())
    }

    /// A commit object of this line.
    pub(super) fn raw(&self, commit: ObjectId) -> Option<&Arc<[u8]>> {
        self.commits.iter().find(|(id, _)| *id == commit).map(|(_, raw)| raw)
    }

    /// Commit the files as they are.
    fn commit(&mut self, message: &str, lock: Lock) {
        self.time += 3600;
        let parents: Vec<ObjectId> = self.commits.last().map(|(id, _)| *id).into_iter().collect();
        let (raw, locked) =
            commit(&mut self.objects, &self.files, self.export_ignore, &parents, self.time, message, lock);
        self.commits.push((locked.rev, raw));
        self.current = Some(Arc::new(locked));
    }

    /// A commit that touches no flake.
    fn work(&mut self, message: &str) {
        self.state += 1;
        self.files.put("src/state.txt", format!("{}\n", self.state));
        let lock = self.locked().lock.clone();
        self.commit(message, lock);
    }

    fn locked(&self) -> &Arc<Locked> {
        self.current.as_ref().expect("because every line is born before it is asked")
    }

    fn as_pin(&self) -> Pin {
        Pin {
            locked: Arc::clone(self.locked()),
            inputs: self.inputs.clone(),
            files: self.files.clone(),
            depth: self.commits.len(),
        }
    }

    /// A commit on top of a pin that only a clone has; its objects are added to `local`.
    pub(super) fn unpushed(&self, below: &Pin, local: &mut Objects, message: &str) -> Pin {
        let mut files = below.files.clone();
        files.put("src/local.txt", format!("{message}\n"));
        let time = below.locked.last_modified + 1800;
        let lock = below.locked.lock.clone();
        let (_, locked) = commit(local, &files, self.export_ignore, &[below.locked.rev], time, message, lock);
        Pin { locked: Arc::new(locked), inputs: below.inputs.clone(), files, depth: below.depth }
    }
}

fn commit(
    objects: &mut Objects,
    files: &Files,
    export_ignore: bool,
    parents: &[ObjectId],
    time: i64,
    message: &str,
    lock: Lock,
) -> (Arc<[u8]>, Locked) {
    let tree = files.tree(objects);
    let nar_hash = if export_ignore {
        let mut archived = files.clone();
        archived.0.retain(|path, _| !path.starts_with(b"ci/"));
        archived.tree(&mut Objects::default()).nar_hash()
    } else {
        tree.nar_hash()
    };
    let raw = objects::commit(tree.id, parents, time, message);
    let rev = objects.add(Kind::Commit, Arc::clone(&raw));
    (raw, Locked { rev, nar_hash, last_modified: time, lock })
}

/// Every module's line, and last the one of the toolchain, which is an input and no module.
#[derive(Debug)]
pub(super) struct Histories {
    pub(super) lines: Vec<Line>,
    pub(super) toolchain: Line,
}

/// The owner and repository of the input that is no module.
pub(super) const TOOLCHAIN: (&str, &str) = ("sample-tools", "toolchain");

/// Live through all ages.
pub(super) fn live(cast: &[Role], files: usize, seed: u64) -> Histories {
    let mut toolchain = Files::default();
    toolchain.put("README.md", "# toolchain\n");
    toolchain
        .put("flake.nix", "{\n  description = \"toolchain\";\n\n  outputs = _: { lib.version = 1; };\n}\n");
    let mut toolchain = Line::new(toolchain, 0, false);
    toolchain.commit("toolchain: begin", Lock::new());
    toolchain.pin = Some(toolchain.as_pin());
    toolchain.packs.0 = toolchain.objects.take_pack();

    let lines = cast
        .iter()
        .enumerate()
        .map(|(at, role)| Line::new(content::base(role, files, seed), at, role.export_ignore));
    let mut all = Histories { lines: lines.collect(), toolchain };
    for (at, role) in cast.iter().enumerate() {
        let line = &mut all.lines[at];
        if role.flake {
            line.files.put("flake.nix", content::module_flake(role, &BTreeMap::new(), &[], &[]));
            line.files.put("nix/build.sh", content::BUILD);
        }
        line.commit("begin", Lock::new());
    }
    all.age();
    all.relock_all(cast, "flake: name the dependencies");
    for line in &mut all.lines {
        line.first = Some(line.as_pin());
    }
    all.age();
    for line in all.lines.iter_mut().step_by(2) {
        line.work("state: next");
    }
    all.age();
    all.relock_all(cast, "flake: relock");
    for line in &mut all.lines {
        line.pin = Some(line.as_pin());
        line.seen = Some(line.tip());
        line.packs.0 = line.objects.take_pack();
    }
    all.age();
    for (at, line) in all.lines.iter_mut().enumerate().step_by(3) {
        for number in 0..=at % 4 {
            line.work(if number == 0 { "state: repair a rare case" } else { "state: go on" });
        }
    }
    for (at, role) in cast.iter().enumerate().step_by(6) {
        all.relock(at, role, cast, "flake: relock");
    }
    for line in &mut all.lines {
        line.packs.1 = line.objects.take_pack();
    }
    all
}

impl Histories {
    fn age(&mut self) {
        for line in &mut self.lines {
            line.time += AGE;
        }
    }

    fn relock_all(&mut self, cast: &[Role], message: &str) {
        for (at, role) in cast.iter().enumerate() {
            self.relock(at, role, cast, message);
        }
    }

    /// Give a module a flake and a lock that name the newest of its dependencies; nothing
    /// happens when that is what it has.
    fn relock(&mut self, at: usize, role: &Role, cast: &[Role], message: &str) {
        if !role.flake || role.needs.is_empty() && at != 0 {
            return;
        }
        let inputs = self.module_inputs(at, role, cast);
        let lock = flake::lock(&inputs);
        let text = flake::lock_json(&lock);
        let names: Vec<String> =
            role.needs.iter().map(|need| cast[*need].called_by_modules().to_owned()).collect();
        let (packages, sources): (Vec<String>, Vec<String>) = names
            .iter()
            .cloned()
            .partition(|name| matches!(&inputs[name], Input::Github { flake: true, .. }));
        let plugins: Vec<String> = role.needs.iter().filter_map(|need| cast[*need].plugin.clone()).collect();
        let line = &mut self.lines[at];
        if line.files.0.get(&b"flake.lock"[..]).is_some_and(|file| *file.content == *text.as_bytes()) {
            return;
        }
        line.files.put("flake.nix", content::module_flake(role, &inputs, &packages, &sources));
        line.files.put("flake.lock", text);
        line.files.put("metadata.json", content::metadata(role, &plugins, &format!("1.{}.0", line.state)));
        line.inputs = inputs;
        line.commit(message, lock);
    }

    fn module_inputs(&self, at: usize, role: &Role, cast: &[Role]) -> BTreeMap<String, Input> {
        let mut inputs = BTreeMap::new();
        if at == 0 {
            inputs.insert("toolchain".to_owned(), self.toolchain_input());
        } else if role.needs.contains(&0) {
            inputs.insert(
                "toolchain".to_owned(),
                Input::Follows(vec!["sample-nix".into(), "toolchain".into()]),
            );
        }
        for need in &role.needs {
            let dependency = &cast[*need];
            let line = &self.lines[*need];
            let mut follows: BTreeMap<String, Vec<String>> = cast
                .iter()
                .enumerate()
                .filter(|(other, _)| other < need && role.needs.contains(other))
                .map(|(_, other)| other.called_by_modules().to_owned())
                .filter(|name| line.inputs.contains_key(name))
                .map(|name| (name.clone(), vec![name]))
                .collect();
            // Older Nix refuses a path that leads through an input that follows another.
            if follows.contains_key("sample-nix") && line.inputs.contains_key("toolchain") {
                follows.insert("toolchain".to_owned(), vec!["toolchain".to_owned()]);
            }
            inputs.insert(
                dependency.called_by_modules().to_owned(),
                Input::Github {
                    owner: dependency.owner.to_owned(),
                    repo: dependency.repo.clone(),
                    rev: None,
                    flake: dependency.flake,
                    follows,
                    locked: Arc::clone(line.locked()),
                },
            );
        }
        inputs
    }

    /// The input that is no module.
    pub(super) fn toolchain_input(&self) -> Input {
        Input::Github {
            owner: TOOLCHAIN.0.to_owned(),
            repo: TOOLCHAIN.1.to_owned(),
            rev: None,
            flake: true,
            follows: BTreeMap::new(),
            locked: Arc::clone(self.toolchain.locked()),
        }
    }
}
