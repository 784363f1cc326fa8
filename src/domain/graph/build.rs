//! From the wiring of a workspace to its graph.
//!
//! A module's direct inputs are those of its root input's node in the workspace's lock, through
//! `follows`; that is what Nix builds. A module that the lock does not have is read from its own
//! flake. Overrides in `flake.nix` and the generated map are further witnesses of an edge.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Edge, EdgeSource, Graph, SeenBy, Sighting};
use crate::domain::flake::dep_graph::DepGraph;
use crate::domain::flake::lock::{Lock, NodeId};
use crate::domain::flake::nix_reader::{FlakeNix, InputSpec};
use crate::domain::flake::reference::FlakeRef;
use crate::domain::id::ModuleName;
use crate::domain::module::Module;
use crate::domain::text;
use crate::domain::url::RepoIdentity;

/// How a workspace wires its modules, as far as it could be read.
#[derive(Debug, Clone, Default)]
pub struct Wiring {
    /// The workspace's `flake.nix`.
    pub flake: Option<FlakeNix>,
    /// The workspace's `flake.lock`.
    pub lock: Option<Lock>,
    /// The generated dependency map.
    pub dep_graph: Option<DepGraph>,
    /// Flakes of modules that the workspace's lock does not have, by module.
    pub own: BTreeMap<ModuleName, OwnFlake>,
    /// Files of the workspace that are there and could not be read, each with its reason, inert.
    pub unreadable: BTreeMap<String, String>,
    /// What else could not be read, each one inert sentence.
    pub notes: Vec<String>,
}

/// A module's own flake at its pin.
#[derive(Debug, Clone, Default)]
pub struct OwnFlake {
    /// Its `flake.nix`.
    pub flake: Option<FlakeNix>,
    /// Its `flake.lock`.
    pub lock: Option<Lock>,
}

/// Who is who: modules by repository and by root input.
pub(in crate::domain) struct Names<'a> {
    by_identity: BTreeMap<&'a RepoIdentity, &'a ModuleName>,
    by_input: BTreeMap<&'a str, &'a ModuleName>,
    inputs: BTreeMap<&'a ModuleName, &'a str>,
}

impl<'a> Names<'a> {
    pub(in crate::domain) fn new(modules: &'a [Module]) -> Self {
        let mut by_identity: BTreeMap<&RepoIdentity, &ModuleName> = BTreeMap::new();
        let mut by_input: BTreeMap<&str, &ModuleName> = BTreeMap::new();
        for module in modules {
            // Two submodules of one repository: the one that is an input, else the first by name.
            let known = by_identity.entry(&module.identity).or_insert(&module.name);
            let is_input = |name: &ModuleName| by_input.values().any(|other| *other == name);
            if (module.input.is_some() && !is_input(known))
                || (module.input.is_none() && !is_input(known) && module.name < **known)
            {
                *known = &module.name;
            }
            if let Some(input) = &module.input {
                by_input.insert(input, &module.name);
            }
        }
        let inputs = by_input.iter().map(|(input, module)| (*module, *input)).collect();
        Self { by_identity, by_input, inputs }
    }

    pub(in crate::domain) fn of_input(&self, input: &str) -> Option<&'a ModuleName> {
        self.by_input.get(input).copied()
    }

    /// The root input that a module is.
    pub(in crate::domain) fn input_of(&self, module: &ModuleName) -> Option<&'a str> {
        self.inputs.get(module).copied()
    }

    pub(in crate::domain) fn of_reference(&self, reference: Option<&FlakeRef>) -> Option<&'a ModuleName> {
        self.by_identity.get(&reference?.identity()?).copied()
    }

    /// The module that each node of a lock is, where it is one. `workspace` says that the root
    /// inputs are the workspace's, whose names are known.
    fn of_nodes(&self, lock: &Lock, workspace: bool) -> BTreeMap<NodeId, &'a ModuleName> {
        let mut found = BTreeMap::new();
        for (id, node) in lock.nodes() {
            if id != lock.root()
                && let Some(module) = node.identity().and_then(|identity| self.by_identity.get(&identity))
            {
                found.insert(id, *module);
            }
        }
        if workspace {
            for (input, node) in lock.root_inputs() {
                if let (Some(module), Some(node)) = (self.of_input(input), node) {
                    found.insert(node, module);
                }
            }
        }
        found
    }
}

/// Who needs whom.
type Pair<'a> = (&'a ModuleName, &'a ModuleName);

/// The edges found so far: for each pair who says so, and the shortest way.
#[derive(Default)]
struct Found<'a> {
    edges: BTreeMap<Pair<'a>, (BTreeSet<EdgeSource>, Vec<String>)>,
}

impl<'a> Found<'a> {
    fn add(&mut self, from: &'a ModuleName, to: &'a ModuleName, source: EdgeSource, via: &[&str]) {
        if from == to {
            return;
        }
        let inert = || via.iter().map(|name| text::word(name)).collect::<Vec<_>>();
        let (sources, known) = self.edges.entry((from, to)).or_insert_with(|| (BTreeSet::new(), inert()));
        sources.insert(source);
        if via.len() < known.len() {
            *known = inert();
        }
    }

    /// The edges of `from`, whose node is `start`: modules that it reaches without passing another.
    fn walk(
        &mut self,
        from: &'a ModuleName,
        lock: &Lock,
        start: NodeId,
        nodes: &BTreeMap<NodeId, &'a ModuleName>,
        source: EdgeSource,
    ) {
        let mut seen = BTreeSet::from([start, lock.root()]);
        let mut open: VecDeque<(NodeId, Vec<&str>)> = VecDeque::from([(start, Vec::new())]);
        while let Some((here, via)) = open.pop_front() {
            for (name, target) in lock.inputs(here) {
                let Some(target) = target else { continue };
                if let Some(to) = nodes.get(&target) {
                    self.add(from, to, source, &via);
                } else if seen.insert(target) {
                    let mut longer = via.clone();
                    longer.push(name);
                    open.push_back((target, longer));
                }
            }
        }
    }
}

/// The graph of these modules.
#[must_use]
pub fn build(modules: &[Module], wiring: &Wiring) -> Graph {
    let names = Names::new(modules);
    let mut found = Found::default();
    let mut remarks: BTreeSet<String> = wiring.notes.iter().cloned().collect();
    remarks.extend(wiring.unreadable.iter().map(|(file, why)| format!("cannot read {file}: {why}")));
    let nodes = wiring.lock.as_ref().map(|lock| names.of_nodes(lock, true)).unwrap_or_default();
    for module in modules {
        let root = wiring.lock.as_ref().and_then(|lock| root_node(lock, module).map(|node| (lock, node)));
        match root {
            Some((lock, node)) => found.walk(&module.name, lock, node, &nodes, EdgeSource::FlakeLock),
            None => own_edges(&mut found, &names, module, wiring.own.get(&module.name)),
        }
        let spec =
            module.input.as_ref().and_then(|input| Some((input, wiring.flake.as_ref()?.inputs.get(input)?)));
        if let Some((input, spec)) = spec {
            overrides(&mut found, &mut remarks, &names, wiring, (&module.name, input, spec), root);
        }
    }
    mapped_edges(&mut found, &names, wiring.dep_graph.as_ref());
    let edges: Vec<Edge> = found
        .edges
        .into_iter()
        .map(|((from, to), (sources, via))| Edge { from: from.clone(), to: to.clone(), sources, via })
        .collect();
    let mut sorted: Vec<ModuleName> = modules.iter().map(|module| module.name.clone()).collect();
    sorted.sort();
    let components = super::order::condense(&sorted, &edges);
    let sightings = wiring.lock.as_ref().map(|lock| sightings(lock, &nodes)).unwrap_or_default();
    Graph { modules: sorted, edges, components, sightings, notes: remarks.into_iter().collect() }
}

/// The node of the module as the workspace's root sees it.
pub(in crate::domain) fn root_node(lock: &Lock, module: &Module) -> Option<NodeId> {
    let by_name = module.input.as_ref().and_then(|input| lock.resolve(&[input]).ok());
    by_name.filter(|node| *node != lock.root())
}

/// Edges of a module that the workspace's lock does not have.
fn own_edges<'a>(found: &mut Found<'a>, names: &Names<'a>, module: &'a Module, own: Option<&OwnFlake>) {
    let Some(own) = own else { return };
    if let Some(lock) = &own.lock {
        let nodes = names.of_nodes(lock, false);
        found.walk(&module.name, lock, lock.root(), &nodes, EdgeSource::ModuleFlake);
    }
    for spec in own.flake.iter().flat_map(|flake| flake.inputs.values()) {
        if let Some(to) = names.of_reference(spec.reference.as_ref()) {
            found.add(&module.name, to, EdgeSource::ModuleFlake, &[]);
        }
    }
}

/// Edges that overrides in the workspace's `flake.nix` state. Nix ignores an override of an
/// input that is not there, with a warning: so do we, with a note.
fn overrides<'a>(
    found: &mut Found<'a>,
    notes: &mut BTreeSet<String>,
    names: &Names<'a>,
    wiring: &Wiring,
    (module, input, spec): (&'a ModuleName, &str, &InputSpec),
    root: Option<(&Lock, NodeId)>,
) {
    for (name, replaced) in &spec.inputs {
        if let Some((lock, node)) = root
            && !lock.node(node).inputs.contains_key(name)
        {
            notes.insert(format!(
                "flake.nix overrides the input {} of {}, which has no such input",
                text::quoted(name),
                text::quoted(input)
            ));
            continue;
        }
        let to = match (&replaced.follows, &wiring.lock) {
            (Some(path), Some(lock)) => match lock.resolve(path) {
                Ok(node) if path.len() == 1 => {
                    names.of_input(&path[0]).or_else(|| names.of_reference(lock.node(node).locked.as_ref()))
                }
                Ok(node) => names.of_reference(lock.node(node).locked.as_ref()),
                Err(_) => None,
            },
            (Some(path), None) if path.len() == 1 => names.of_input(&path[0]),
            (Some(_), None) => None,
            (None, _) => names.of_reference(replaced.reference.as_ref()),
        };
        if let Some(to) = to {
            found.add(module, to, EdgeSource::FlakeNix, &[]);
        }
    }
}

fn mapped_edges<'a>(found: &mut Found<'a>, names: &Names<'a>, map: Option<&DepGraph>) {
    for (input, entry) in map.iter().flat_map(|map| &map.entries) {
        let Some(from) = names.of_input(input) else { continue };
        for to in entry.deps.iter().filter_map(|dep| names.of_input(dep)) {
            found.add(from, to, EdgeSource::DepGraph, &[]);
        }
    }
}

/// Every revision of every module in the lock, and the nearest way by which each other module,
/// helper repository or the workspace itself has it.
fn sightings(lock: &Lock, nodes: &BTreeMap<NodeId, &ModuleName>) -> Vec<Sighting> {
    type Seen<'a> = BTreeMap<(Option<&'a ModuleName>, Option<&'a str>), Vec<String>>;
    let mut seen: BTreeMap<(&ModuleName, Option<&str>), Seen<'_>> = BTreeMap::new();
    // Nearest first: the first way found is a shortest one.
    for (here, path) in lock.closure() {
        let module = nodes.get(&here).copied();
        let helper = if module.is_some() { None } else { path.last().copied() };
        for (name, target) in lock.inputs(here) {
            let Some((target, of)) = target.and_then(|target| Some((target, nodes.get(&target)?))) else {
                continue;
            };
            let by = seen.entry((*of, lock.node(target).rev())).or_default();
            by.entry((module, helper)).or_insert_with(|| {
                path.iter().chain(std::iter::once(&name)).map(|name| text::word(name)).collect()
            });
        }
    }
    seen.into_iter()
        .map(|((module, revision), by)| {
            let mut seen_by: Vec<SeenBy> =
                by.into_iter().map(|((module, _), path)| SeenBy { module: module.cloned(), path }).collect();
            seen_by.sort();
            Sighting { module: module.clone(), revision: revision.map(text::word), seen_by }
        })
        .collect()
}
