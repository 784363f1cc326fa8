//! Components and levels of a set of edges.

use std::collections::BTreeMap;

use petgraph::algo::kosaraju_scc;
use petgraph::graphmap::DiGraphMap;

use super::{Component, Edge};
use crate::domain::id::ModuleName;

/// The strongly connected components with their levels, by level, then by first member.
/// `modules` is sorted and holds both ends of every edge; other edges are ignored.
pub(super) fn condense(modules: &[ModuleName], edges: &[Edge]) -> Vec<Component> {
    let index: BTreeMap<&ModuleName, u32> = modules.iter().zip(0..).collect();
    let mut graph: DiGraphMap<u32, ()> = DiGraphMap::new();
    for node in index.values() {
        graph.add_node(*node);
    }
    for edge in edges {
        if let (Some(from), Some(to)) = (index.get(&edge.from), index.get(&edge.to)) {
            graph.add_edge(*from, *to, ());
        }
    }
    // Kosaraju's algorithm works with explicit stacks and gives components in reverse
    // topological order: what a component needs stands before it.
    let mut level_of: BTreeMap<u32, u32> = BTreeMap::new();
    let mut component_of: BTreeMap<u32, usize> = BTreeMap::new();
    let mut components = Vec::new();
    for (number, nodes) in kosaraju_scc(&graph).into_iter().enumerate() {
        for node in &nodes {
            component_of.insert(*node, number);
        }
        let level = nodes
            .iter()
            .flat_map(|node| graph.neighbors(*node))
            .filter(|needed| component_of.get(needed) != Some(&number))
            .filter_map(|needed| level_of.get(&needed))
            .map(|level| level + 1)
            .max()
            .unwrap_or(0);
        let mut members: Vec<ModuleName> = Vec::with_capacity(nodes.len());
        for node in nodes {
            level_of.insert(node, level);
            members.extend(modules.get(node as usize).cloned());
        }
        members.sort();
        components.push(Component { level, members });
    }
    components.sort();
    components
}
