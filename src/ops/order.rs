//! Order: read how the workspace is wired, and build the graph of its modules.
//!
//! In: a repository, its mirrors and its modules. Out: a [`Graph`]. A file that cannot be read
//! or parsed costs its edges and adds a note; the other files count.

use crate::domain::graph::{Graph, Wiring, build};
use crate::domain::id::RepoPath;
use crate::domain::module::Discovery;
use crate::domain::snapshot::Snapshot;
use crate::ports::{PortResult, Repository, Sources};

/// Where the generated dependency map is unless the configuration says otherwise.
pub const DEP_GRAPH: &str = "nix/dep-graph.nix";

/// What the workspace and its modules say about dependencies.
///
/// # Errors
/// When the superproject's object database cannot be read.
pub fn wiring(
    _repository: &dyn Repository,
    _sources: &dyn Sources,
    _discovery: &Discovery,
    _snapshot: &Snapshot,
    _dep_graph: &RepoPath,
) -> PortResult<Wiring> {
    Ok(Wiring::default())
}

/// The graph of the workspace's modules.
#[must_use]
pub fn order(discovery: &Discovery, wiring: &Wiring) -> Graph {
    build(&discovery.modules, wiring)
}
