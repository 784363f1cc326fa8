//! The sources of a scene, put into the Nix store from git objects: its own tree with its edits, and
//! every locked input that is at hand.
//!
//! In: a [`Scene`] and the modules to be evaluated there. Out: for each the expression of its flake,
//! and which of the inputs below it are not at hand. A source is put in under the path that its
//! `narHash` names, after which Nix finds it there and fetches nothing; nothing is checked out in the
//! operator's tree. What this process has seen in the store is not asked for again while it is there;
//! all others are asked for with one start of a program, and added with another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::effective::By;
use super::expression;
use super::program::{Nix, Ready};
use crate::adapters::flake_sources::LocalSources;
use crate::adapters::git::GitRepository;
use crate::adapters::git::nar::Fetched;
use crate::adapters::mirrors::Mirrors;
use crate::domain::flake::lock::{Lock, NodeId};
use crate::domain::flake::nar::{NarHash, store_path};
use crate::domain::flake::reference::FlakeRef;
use crate::domain::health::{Placed, Scene};
use crate::domain::text;
use crate::ports::PortError;

/// Sources that are written out before they are added: what is on disk at a time.
const AT_ONCE: usize = 64;

/// Puts sources into the store.
pub(super) struct NixSources<'a> {
    repository: &'a GitRepository,
    mirrors: &'a Mirrors,
    /// Paths that this process has seen in the store.
    seen: Mutex<BTreeSet<String>>,
}

/// What a run of evaluation needs to know.
#[derive(Debug)]
pub(super) struct Laid {
    /// The workspace's own flake, where a module is an input of it.
    pub(super) root: Option<String>,
    /// For each module asked for its flake, or why it cannot be evaluated at all.
    pub(super) flakes: Vec<Result<Flake, String>>,
    /// Something was taken to be in the store because it was seen there before.
    pub(super) trusted: bool,
}

/// A module's flake.
#[derive(Debug, Clone)]
pub(super) struct Flake {
    pub(super) expression: String,
    /// It is an input of the workspace's own flake.
    pub(super) of_root: bool,
    /// Inputs below it that are not at hand.
    pub(super) absent: Vec<Absent>,
}

/// An input that is not at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Absent {
    /// Its input path, and what it is locked to.
    pub(super) input: String,
    /// Why it is not at hand, as a clause.
    pub(super) why: String,
}

/// What is wanted in the store.
#[derive(Clone, Copy)]
enum Wanted<'l> {
    Root,
    Locked(&'l FlakeRef),
    Module(&'l Placed),
}

impl<'a> NixSources<'a> {
    pub(super) fn new(repository: &'a GitRepository, mirrors: &'a Mirrors) -> Self {
        Self { repository, mirrors, seen: Mutex::default() }
    }

    /// Forget what was seen in the store: it may have been collected.
    pub(super) fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Put in what these modules need in this scene.
    pub(super) fn lay(
        &self,
        nix: &Nix,
        ready: &Ready,
        scene: &Scene,
        modules: &[&Placed],
    ) -> Result<Laid, String> {
        let local = self.mirrors.local(scene.modules.values().map(|placed| &placed.module));
        let inputs: Vec<Option<Input<'_>>> = modules.iter().map(|placed| Input::of(scene, placed)).collect();
        let mut wanted: BTreeMap<String, Wanted<'_>> = BTreeMap::new();
        let mut root = None;
        if inputs.iter().any(Option::is_some) {
            let hash = self.root_hash(scene).map_err(|error| chain(&error))?;
            wanted.insert(store_path("source", &hash), Wanted::Root);
            root = Some(expression::flake(&hash, &[]));
            // Nix looks at any of them to lock, and the workspace's own outputs may use any.
            want_locked(scene.lock.as_ref(), &mut wanted);
        }
        let own: Vec<Option<Result<Own, String>>> = modules
            .iter()
            .zip(&inputs)
            .map(|(placed, input)| input.is_none().then(|| Own::of(&local, placed)))
            .collect();
        for (placed, own) in modules.iter().zip(&own) {
            if let Some(Ok(own)) = own {
                wanted.insert(store_path("source", &own.hash), Wanted::Module(placed));
                want_locked(own.lock.as_ref(), &mut wanted);
            }
        }
        let (absent, trusted) = self.ensure(nix, ready, scene, &local, &wanted)?;
        if let Some(why) = wanted.iter().find_map(|(path, it)| match it {
            Wanted::Root => absent.get(path),
            _ => None,
        }) {
            return Err(format!("the workspace's own files cannot be put into the Nix store: {why}"));
        }
        let flakes = inputs.into_iter().zip(own).map(|(input, own)| match (input, own) {
            (Some(input), _) => Ok(Flake {
                expression: format!("root.inputs.{}", expression::string(input.name)?),
                of_root: true,
                absent: absent_below(input.lock, input.node, &absent),
            }),
            (None, Some(own)) => {
                let own = own?;
                let source = store_path("source", &own.hash);
                if let Some(why) = absent.get(&source) {
                    return Err(format!("its source cannot be put into the Nix store: {why}"));
                }
                let below = own.lock.as_ref().map(|lock| absent_below(lock, lock.root(), &absent));
                Ok(Flake { expression: own.expression(), of_root: false, absent: below.unwrap_or_default() })
            }
            (None, None) => Err("it is no flake".to_owned()),
        });
        Ok(Laid { root, flakes: flakes.collect(), trusted })
    }

    /// The hash of the scene's own tree, computed once for each tree.
    fn root_hash(&self, scene: &Scene) -> Result<NarHash, PortError> {
        let hashes = self.mirrors.hashes();
        if let Some(known) = hashes.get(scene.tree, Fetched::Git) {
            return Ok(known);
        }
        let hash = self.repository.edited_hash(scene.commit, &scene.edits)?;
        hashes.add(scene.tree, Fetched::Git, hash);
        Ok(hash)
    }

    /// Put in what is not there; why what is still not there is not at hand, by path, and whether
    /// anything was not asked for.
    fn ensure(
        &self,
        nix: &Nix,
        ready: &Ready,
        scene: &Scene,
        local: &LocalSources,
        wanted: &BTreeMap<String, Wanted<'_>>,
    ) -> Result<(BTreeMap<String, String>, bool), String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // A store on this machine can be looked at: what is no file is not in it, and what was collected
        // meanwhile is seen to be gone. What is a file may still be half of one.
        let here = !matches!(ready.effective.by, By::Elsewhere(_));
        let nowhere = |path: &str| here && Path::new(path).symlink_metadata().is_err();
        let (mut lacking, rest): (BTreeSet<&str>, BTreeSet<&str>) =
            wanted.keys().map(String::as_str).partition(|path| nowhere(path));
        let unsure: Vec<&str> = rest.iter().copied().filter(|path| !seen.contains(*path)).collect();
        let trusted = unsure.len() < rest.len();
        let store = nix.store(ready);
        let mut there: BTreeSet<String> = BTreeSet::new();
        if !unsure.is_empty() {
            let invalid = store.lacking(&unsure).map_err(|error| chain(&error))?;
            there
                .extend(unsure.iter().filter(|path| !invalid.contains(*path)).map(|path| (*path).to_owned()));
            lacking.extend(invalid);
        }
        let mut absent = BTreeMap::new();
        for some in lacking.into_iter().collect::<Vec<_>>().chunks(AT_ONCE) {
            let dir = tempfile::tempdir()
                .map_err(|error| format!("no temporary directory can be made: {error}"))?;
            let mut written: Vec<(&str, PathBuf)> = Vec::new();
            for (number, path) in some.iter().copied().enumerate() {
                // The last name is a part of the store path.
                let source = dir.path().join(number.to_string()).join("source");
                let made = std::fs::create_dir(dir.path().join(number.to_string()))
                    .map_err(|error| format!("no directory can be made: {error}"))
                    .and_then(|()| self.write(scene, local, wanted[path], &source));
                match made {
                    Ok(()) => written.push((path, source)),
                    Err(why) => {
                        absent.insert(path.to_owned(), why);
                    }
                }
            }
            if written.is_empty() {
                continue;
            }
            let directories: Vec<PathBuf> = written.iter().map(|(_, source)| source.clone()).collect();
            let added = store.add_directories(&directories).map_err(|error| chain(&error))?;
            for ((path, _), added) in written.iter().zip(added) {
                if added == *path {
                    there.insert((*path).to_owned());
                } else {
                    let added = text::inert(&added);
                    absent.insert(
                        (*path).to_owned(),
                        format!("its files belong to {added}, not to what is locked"),
                    );
                }
            }
        }
        seen.extend(there);
        Ok((absent, trusted))
    }

    fn write(
        &self,
        scene: &Scene,
        local: &LocalSources,
        wanted: Wanted<'_>,
        to: &Path,
    ) -> Result<(), String> {
        match wanted {
            Wanted::Root => {
                let written = self.repository.edited_files(scene.commit, &scene.edits, to);
                written.map_err(|error| chain(&error))
            }
            Wanted::Locked(locked) => local.write_files(locked, to).map_err(|error| error.to_string()),
            Wanted::Module(placed) => {
                local.write_module(&placed.module, placed.pin, to).map_err(|error| error.to_string())
            }
        }
    }
}

/// A module that is an input of the workspace's own flake, and is a flake there.
struct Input<'s> {
    name: &'s str,
    lock: &'s Lock,
    node: NodeId,
}

impl<'s> Input<'s> {
    fn of(scene: &'s Scene, placed: &'s Placed) -> Option<Self> {
        let (lock, name) = (scene.lock.as_ref()?, placed.module.input.as_deref()?);
        let (_, node) = lock.root_inputs().find(|(input, _)| *input == name)?;
        let node = node.filter(|node| lock.node(*node).flake)?;
        Some(Self { name, lock, node })
    }
}

/// A module's own flake, at its pin.
struct Own {
    hash: NarHash,
    more: Vec<(&'static str, String)>,
    lock: Option<Lock>,
}

impl Own {
    fn of(local: &LocalSources, placed: &Placed) -> Result<Self, String> {
        let (module, pin) = (&placed.module, placed.pin);
        let absent =
            |error: crate::domain::flake::relock::SourceError| format!("its source is not at hand: {error}");
        if local.module_file(module, pin, "flake.nix").map_err(absent)?.is_none() {
            return Err("it has no flake.nix".to_owned());
        }
        let facts = local.module_facts(module, pin).map_err(absent)?;
        let lock = local.module_file(module, pin, "flake.lock").map_err(absent)?;
        let mut more = Vec::new();
        // What Nix knows of a source that it took from git itself; only such a revision is one for it.
        if pin.as_bytes().len() == 20 {
            more.push(("rev", pin.to_string()));
        }
        if facts.last_modified >= 0 {
            more.push(("lastModified", facts.last_modified.to_string()));
        }
        // A lock that cannot be read is Nix's to complain about.
        Ok(Self { hash: facts.nar_hash, more, lock: lock.and_then(|bytes| Lock::parse(&bytes).ok()) })
    }

    fn expression(&self) -> String {
        expression::flake(&self.hash, &self.more)
    }
}

/// Where a locked source is in the store.
fn path_of(locked: &FlakeRef) -> Option<String> {
    let hash: NarHash = locked.nar_hash()?.parse().ok()?;
    Some(store_path("source", &hash))
}

fn want_locked<'l>(lock: Option<&'l Lock>, wanted: &mut BTreeMap<String, Wanted<'l>>) {
    let Some(lock) = lock else { return };
    for (id, _) in lock.closure() {
        let locked = lock.node(id).locked.as_ref();
        if let Some((locked, path)) = locked.and_then(|locked| Some((locked, path_of(locked)?))) {
            wanted.entry(path).or_insert(Wanted::Locked(locked));
        }
    }
}

/// What is not at hand of a node and of everything below it.
fn absent_below(lock: &Lock, node: NodeId, absent: &BTreeMap<String, String>) -> Vec<Absent> {
    let mut below = BTreeSet::from([node]);
    let mut open = vec![node];
    while let Some(id) = open.pop() {
        for target in lock.inputs(id).filter_map(|(_, target)| target) {
            if below.insert(target) {
                open.push(target);
            }
        }
    }
    let closure = lock.closure();
    let named = closure.iter().filter(|(id, _)| below.contains(id));
    named
        .filter_map(|(id, path)| {
            let locked = lock.node(*id).locked.as_ref()?;
            let why = match path_of(locked) {
                Some(path) => absent.get(&path)?.clone(),
                // A relative path is in the source of the flake above it.
                None if locked.kind() == "path" => return None,
                None => "its lock has no narHash".to_owned(),
            };
            let input =
                format!("{} ({})", path.join("/"), crate::domain::flake::relock::shown_reference(locked));
            Some(Absent { input: text::clipped(&text::inert(&input), 200), why })
        })
        .collect()
}

/// An error with its causes, inert.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut shown = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        shown = format!("{shown}: {cause}");
        next = cause.source();
    }
    text::clipped(&text::inert(&shown), 400)
}
