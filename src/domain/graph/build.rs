//! From the wiring of a workspace to its graph.

use std::collections::BTreeMap;

use super::Graph;
use crate::domain::flake::dep_graph::DepGraph;
use crate::domain::flake::lock::Lock;
use crate::domain::flake::nix_reader::FlakeNix;
use crate::domain::id::ModuleName;
use crate::domain::module::Module;

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
    /// What could not be read, each one inert sentence.
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

/// The graph of these modules.
#[must_use]
pub fn build(modules: &[Module], wiring: &Wiring) -> Graph {
    let edges = Vec::new();
    let mut names: Vec<ModuleName> = modules.iter().map(|module| module.name.clone()).collect();
    names.sort();
    let components = super::order::condense(&names, &edges);
    Graph { modules: names, edges, components, sightings: Vec::new(), notes: wiring.notes.clone() }
}
