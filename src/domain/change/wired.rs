//! The generated dependency map, kept true: the entry of a module whose pin moves.
//!
//! In: the lock as it shall be, and the map as it is. Out: the entry as its generator would write
//! it, as far as that can be told without evaluating anything: what still stands keeps its place,
//! what the generator alone knows (`hasTests`, names that are no module) stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::flake::dep_graph::{DepEntry, DepGraph};
use crate::domain::flake::lock::{Lock, NodeId};
use crate::domain::graph::{Names, root_node};
use crate::domain::id::ModuleName;
use crate::domain::module::Module;

/// Which of the workspace's root inputs each input of a node is, for those that are modules.
pub(in crate::domain) fn wired<'a>(
    lock: &Lock,
    node: NodeId,
    names: &Names<'a>,
) -> BTreeMap<String, (&'a str, &'a ModuleName)> {
    let roots: BTreeMap<NodeId, &str> =
        lock.root_inputs().filter_map(|(name, node)| Some((node?, name))).collect();
    let of = |target: NodeId| {
        let by_name = roots.get(&target).and_then(|name| names.of_input(name));
        let module = by_name.or_else(|| names.of_reference(lock.node(target).locked.as_ref()))?;
        Some((names.input_of(module)?, module))
    };
    lock.inputs(node).filter_map(|(name, target)| Some((name.to_owned(), of(target?)?))).collect()
}

/// The map's entry for a module, with another lock; `None` when the module is no input of it.
#[must_use]
pub fn entry(modules: &[Module], module: &Module, lock: &Lock, map: &DepGraph) -> Option<DepEntry> {
    let names = Names::new(modules);
    let input = module.input.as_deref()?;
    let node = root_node(lock, module)?;
    let mut wired = wired(lock, node, &names);
    wired.retain(|_, (needed, _)| *needed != input);
    let wanted: BTreeSet<&str> = wired.values().map(|(needed, _)| *needed).collect();
    let like = map.entries.values().next();
    let mut entry = map.entries.get(input).cloned().unwrap_or_else(|| DepEntry {
        deps: Vec::new(),
        has_tests: like.and_then(|entry| entry.has_tests).map(|_| false),
        follows: like.and_then(|entry| entry.follows.as_ref()).map(|_| BTreeMap::new()),
    });
    let listed: BTreeSet<&ModuleName> = entry.deps.iter().filter_map(|dep| names.of_input(dep)).collect();
    let new: BTreeSet<&str> =
        wired.values().filter(|(_, module)| !listed.contains(module)).map(|(needed, _)| *needed).collect();
    if let Some(follows) = &mut entry.follows {
        follows.retain(|name, target| {
            lock.node(node).inputs.contains_key(name.as_str())
                && (names.of_input(target).is_none() || wanted.contains(target.as_str()))
        });
        for (name, (needed, _)) in &wired {
            if new.contains(needed) {
                follows.insert(name.clone(), (*needed).to_owned());
            }
        }
    }
    entry.deps.retain(|dep| names.of_input(dep).is_none() || wanted.contains(dep.as_str()));
    entry.deps.extend(new.into_iter().map(str::to_owned));
    Some(entry)
}
