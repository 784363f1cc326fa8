//! Which module needs which: edges, components, levels, blast radius, "X as seen by Y".
//!
//! In: the modules, and how the workspace and each module wire their inputs ([`Wiring`]).
//! Out: a [`Graph`] whose every list is sorted, so that equal input gives equal bytes whatever
//! order it came in. Nodes are modules by repository identity, never lock nodes: the graph of a
//! lock has no cycle where the graph of the modules has one. What is no module (nixpkgs, helper
//! repositories) is no node; a module that is reached only through such inputs is an edge with
//! its [`Edge::via`].

mod build;
mod order;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::id::ModuleName;

pub(in crate::domain) use build::{Names, root_node};
pub use build::{OwnFlake, Wiring, build};

/// The modules and what they need, condensed and ordered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Graph {
    /// Every module, sorted.
    pub modules: Vec<ModuleName>,
    /// Every dependency, sorted by (from, to); at most one for a pair.
    pub edges: Vec<Edge>,
    /// Strongly connected components: members sorted, components by level, then by first member.
    pub components: Vec<Component>,
    /// What the workspace's lock holds of each module, sorted by (module, revision).
    pub sightings: Vec<Sighting>,
    /// What could not be read or does not fit together, each one inert sentence, sorted.
    pub notes: Vec<String>,
}

/// One module needs another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    /// The module that needs.
    pub from: ModuleName,
    /// The module that is needed.
    pub to: ModuleName,
    /// Who says so, strongest first; never empty.
    pub sources: BTreeSet<EdgeSource>,
    /// Inputs that are no modules on the shortest way between; empty for a direct input.
    pub via: Vec<String>,
}

/// Who says that a module needs another, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeSource {
    /// The workspace's `flake.lock`, through `follows`.
    FlakeLock,
    /// An override (`inputs.X.inputs.Y…`) in the workspace's `flake.nix`.
    FlakeNix,
    /// The module's own `flake.nix` and `flake.lock` at its pin.
    ModuleFlake,
    /// The generated dependency map.
    DepGraph,
}

impl EdgeSource {
    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FlakeLock => "flake-lock",
            Self::FlakeNix => "flake-nix",
            Self::ModuleFlake => "module-flake",
            Self::DepGraph => "dep-graph",
        }
    }
}

/// Modules that need each other, directly or not: they move together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Component {
    /// 0 needs no other component; otherwise one more than the highest that it needs.
    pub level: u32,
    /// The members, sorted.
    pub members: Vec<ModuleName>,
}

/// One revision of a module somewhere in the workspace's lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sighting {
    /// The module.
    pub module: ModuleName,
    /// Its locked revision, inert; `None` when the node records none.
    pub revision: Option<String>,
    /// Everybody whose input it is, sorted.
    pub seen_by: Vec<SeenBy>,
}

/// Whose input a revision is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeenBy {
    /// The module that has the input; `None` for the workspace itself or a repository that is no module.
    pub module: Option<ModuleName>,
    /// The input path from the workspace's root, inert.
    pub path: Vec<String>,
}

impl Graph {
    /// Levels, leaves first: the modules of each, sorted.
    #[must_use]
    pub fn levels(&self) -> Vec<Vec<ModuleName>> {
        let mut levels: BTreeMap<u32, BTreeSet<&ModuleName>> = BTreeMap::new();
        for component in &self.components {
            levels.entry(component.level).or_default().extend(&component.members);
        }
        levels.into_values().map(|level| level.into_iter().cloned().collect()).collect()
    }

    /// The component that a module is in.
    #[must_use]
    pub fn component_of(&self, module: &ModuleName) -> Option<&Component> {
        self.components.iter().find(|component| component.members.binary_search(module).is_ok())
    }

    /// The edges that leave a module: its direct dependencies.
    pub fn dependencies<'a>(&'a self, module: &'a ModuleName) -> impl Iterator<Item = &'a Edge> {
        self.edges.iter().filter(move |edge| edge.from == *module)
    }

    /// The edges that reach a module: its direct dependents.
    pub fn dependents<'a>(&'a self, module: &'a ModuleName) -> impl Iterator<Item = &'a Edge> {
        self.edges.iter().filter(move |edge| edge.to == *module)
    }

    /// Every other module that needs one of these, directly or not, sorted: the blast radius.
    #[must_use]
    pub fn blast_radius(&self, modules: &[ModuleName]) -> Vec<ModuleName> {
        self.reach(modules, |edge| (&edge.to, &edge.from))
    }

    /// Every other module that one of these needs, directly or not, sorted.
    #[must_use]
    pub fn closure(&self, modules: &[ModuleName]) -> Vec<ModuleName> {
        self.reach(modules, |edge| (&edge.from, &edge.to))
    }

    fn reach<'a>(
        &'a self,
        modules: &[ModuleName],
        step: impl Fn(&'a Edge) -> (&'a ModuleName, &'a ModuleName),
    ) -> Vec<ModuleName> {
        let mut next: BTreeMap<&ModuleName, Vec<&ModuleName>> = BTreeMap::new();
        for edge in &self.edges {
            let (here, there) = step(edge);
            next.entry(here).or_default().push(there);
        }
        let mut seen: BTreeSet<&ModuleName> = modules.iter().collect();
        let mut open: Vec<&ModuleName> = modules.iter().collect();
        while let Some(here) = open.pop() {
            for there in next.get(here).into_iter().flatten() {
                if seen.insert(there) {
                    open.push(there);
                }
            }
        }
        seen.into_iter().filter(|module| !modules.contains(module)).cloned().collect()
    }

    /// The revisions of a module in the lock, where there is more than one: "X as seen by Y".
    #[must_use]
    pub fn seen(&self, module: &ModuleName) -> Vec<&Sighting> {
        self.sightings.iter().filter(|sighting| sighting.module == *module).collect()
    }
}

#[cfg(test)]
pub(in crate::domain) mod tests;
