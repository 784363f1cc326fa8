//! A state of the superproject in which modules are verified, and what each module sees there.
//!
//! A scene is a commit with edits on it: none for the workspace as it is, those of a change for a
//! candidate. What a module *sees* is its pin and every locked input below it, as the scene's lock
//! has them: while that is the same, so is what Nix builds of it, whatever else moved.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Step;
use crate::domain::canonical;
use crate::domain::change::{PathContent, PathEdit};
use crate::domain::flake::lock::{Lock, NodeId};
use crate::domain::flake::reference::FlakeRef;
use crate::domain::id::{Cid, ModuleName, ObjectId};
use crate::domain::module::Module;

/// A state of the superproject.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The commit that it is on.
    pub commit: ObjectId,
    /// What differs from the commit, path by path, sorted; empty for the workspace as it is.
    pub edits: Vec<PathEdit>,
    /// The tree that both give: its identity.
    pub tree: ObjectId,
    /// Its `flake.lock`, where there is one that can be read.
    pub lock: Option<Lock>,
    /// The modules that have a gitlink in it, by name.
    pub modules: BTreeMap<ModuleName, Placed>,
}

/// One module in a scene.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The module.
    pub module: Module,
    /// What its gitlink records there.
    pub pin: ObjectId,
    /// The identity of what it sees: pin, locked input and everything below it.
    pub sees: Cid,
}

/// What a verdict depends on.
#[derive(Debug, Serialize)]
struct Key<'a> {
    v: u32,
    module: &'a ModuleName,
    sees: &'a Cid,
    steps: &'a [(Step, String)],
}

impl Scene {
    /// The scene of a commit with edits. `committed` gives what the commit itself has: the pin of
    /// each module, and the lock; the edits are put on top of them.
    #[must_use]
    pub fn new(
        commit: ObjectId,
        tree: ObjectId,
        edits: Vec<PathEdit>,
        committed: &BTreeMap<ModuleName, ObjectId>,
        lock: Option<Lock>,
        modules: &[Module],
    ) -> Self {
        let mut pins = committed.clone();
        let mut lock = lock;
        for edit in &edits {
            match &edit.new {
                PathContent::Gitlink(to) => {
                    if let Some(module) = modules.iter().find(|module| module.path == edit.path) {
                        pins.insert(module.name.clone(), *to);
                    }
                }
                PathContent::File { content, .. } if edit.path.as_bytes() == b"flake.lock" => {
                    lock = Lock::parse(content).ok();
                }
                PathContent::File { .. } => {}
            }
        }
        let modules = modules
            .iter()
            .filter_map(|module| {
                let pin = *pins.get(&module.name)?;
                let sees = sees(module, pin, lock.as_ref());
                Some((module.name.clone(), Placed { module: module.clone(), pin, sees }))
            })
            .collect();
        Self { commit, edits, tree, lock, modules }
    }

    /// The content of a file of the scene that an edit put there; `None` when no edit did, and the
    /// commit says what stands there.
    #[must_use]
    pub fn edited(&self, path: &[u8]) -> Option<&PathContent> {
        self.edits.iter().find(|edit| edit.path.as_bytes() == path).map(|edit| &edit.new)
    }

    /// Which other modules each module has below its input in the scene's lock, directly or not.
    #[must_use]
    pub fn below(&self) -> BTreeMap<&ModuleName, BTreeSet<&ModuleName>> {
        let Some(lock) = &self.lock else { return BTreeMap::new() };
        let roots: BTreeMap<&str, NodeId> =
            lock.root_inputs().filter_map(|(name, node)| Some((name, node?))).collect();
        let root = |placed: &Placed| placed.module.input.as_deref().and_then(|input| roots.get(input));
        let modules: BTreeMap<NodeId, &ModuleName> =
            self.modules.iter().filter_map(|(name, placed)| Some((*root(placed)?, name))).collect();
        let walked = |start: NodeId| {
            let (mut met, mut open) = (BTreeSet::from([start]), vec![start]);
            while let Some(here) = open.pop() {
                open.extend(lock.inputs(here).filter_map(|(_, to)| to).filter(|to| met.insert(*to)));
            }
            met.into_iter()
                .filter(|node| *node != start)
                .filter_map(|node| modules.get(&node).copied())
                .collect()
        };
        let modules = self.modules.iter().filter_map(|(name, placed)| Some((name, *root(placed)?)));
        modules.map(|(name, start)| (name, walked(start))).collect()
    }
}

impl Placed {
    /// The key of a verdict on this module by these steps, each with the fingerprint of what runs it.
    #[must_use]
    pub fn key(&self, steps: &[(Step, String)]) -> Cid {
        let key = Key { v: 1, module: &self.module.name, sees: &self.sees, steps };
        identity(&key)
    }
}

/// One node below a module's input, and where its inputs lead, by place in the list.
#[derive(Serialize)]
struct SeenNode<'a> {
    locked: Option<&'a FlakeRef>,
    flake: bool,
    inputs: BTreeMap<&'a str, Option<usize>>,
}

/// The identity of what a module sees.
fn sees(module: &Module, pin: ObjectId, lock: Option<&Lock>) -> Cid {
    let mut nodes: Vec<SeenNode<'_>> = Vec::new();
    let root = lock.zip(module.input.as_ref()).and_then(|(lock, input)| {
        let (_, node) = lock.root_inputs().find(|(name, _)| name == input)?;
        Some((lock, node?))
    });
    if let Some((lock, root)) = root {
        // Places are given in the order of a walk that the input names alone decide: the lock's own
        // node names do not count.
        let mut place: BTreeMap<NodeId, usize> = BTreeMap::from([(root, 0)]);
        let mut queue = vec![root];
        let mut at = 0;
        while let Some(&id) = queue.get(at) {
            at += 1;
            let mut inputs: Vec<(&str, Option<NodeId>)> = lock.inputs(id).collect();
            inputs.sort_unstable_by_key(|(name, _)| *name);
            let mut led = BTreeMap::new();
            for (name, target) in inputs {
                let target = target.map(|target| {
                    *place.entry(target).or_insert_with(|| {
                        queue.push(target);
                        queue.len() - 1
                    })
                });
                led.insert(name, target);
            }
            let node = lock.node(id);
            nodes.push(SeenNode { locked: node.locked.as_ref(), flake: node.flake, inputs: led });
        }
    }
    identity(&(&module.input, pin, nodes))
}

/// The identity of a value. A lock may hold a number that canonical JSON has no form for; equal
/// values have equal plain JSON too.
fn identity(value: &impl Serialize) -> Cid {
    let bytes = canonical::to_canonical(value).ok();
    let bytes = bytes.or_else(|| serde_json::to_vec(value).ok());
    Cid::of(&bytes.expect("because it holds text and numbers alone, in maps with text as keys"))
}
