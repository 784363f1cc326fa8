//! Order: read how the workspace is wired, and build the graph of its modules.
//!
//! In: a repository, its mirrors and its modules. Out: a [`Graph`]. A file that cannot be read
//! or parsed costs its edges and adds a note; the other files count. What is read is what is
//! committed: HEAD of the superproject, and each module at the commit that HEAD records.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::domain::flake::dep_graph::DepGraph;
use crate::domain::flake::lock::Lock;
use crate::domain::flake::nix_reader;
use crate::domain::graph::{Graph, OwnFlake, Wiring, build};
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::module::{Discovery, Module};
use crate::domain::snapshot::Snapshot;
use crate::domain::text;
use crate::ports::{PortResult, Repository, SnapshotOptions, Sources};

/// Where the generated dependency map is unless the configuration says otherwise.
pub const DEP_GRAPH: &str = "nix/dep-graph.nix";

/// What the workspace and its modules say about dependencies.
///
/// # Errors
/// When the superproject's object database cannot be read.
pub fn wiring(
    repository: &dyn Repository,
    sources: &dyn Sources,
    discovery: &Discovery,
    snapshot: &Snapshot,
    dep_graph: &RepoPath,
) -> PortResult<Wiring> {
    let mut wiring = Wiring::default();
    let read = |path: &RepoPath| repository.committed_file(path);
    let (flake_nix, flake_lock) = (RepoPath::from("flake.nix"), RepoPath::from("flake.lock"));
    let (flake, lock, map) = (read(&flake_nix)?, read(&flake_lock)?, read(dep_graph)?);
    let mut unreadable = |path: &RepoPath, why: &dyn Display| {
        wiring.unreadable.insert(path.to_string(), text::inert(&why.to_string()));
    };
    wiring.flake =
        flake.and_then(|bytes| nix_reader::read(&bytes).map_err(|error| unreadable(&flake_nix, &error)).ok());
    wiring.lock =
        lock.and_then(|bytes| Lock::parse(&bytes).map_err(|error| unreadable(&flake_lock, &error)).ok());
    wiring.dep_graph =
        map.and_then(|bytes| DepGraph::parse(&bytes).map_err(|error| unreadable(dep_graph, &error)).ok());
    let locked: BTreeSet<String> = wiring
        .lock
        .iter()
        .flat_map(|lock| lock.root_inputs().filter(|(_, node)| node.is_some()))
        .map(|(name, _)| name.to_owned())
        .collect();
    let states = snapshot.by_name();
    for module in &discovery.modules {
        if module.input.as_ref().is_some_and(|input| locked.contains(input)) {
            continue;
        }
        let pinned = states.get(&module.name).and_then(|state| state.committed.or(state.gitlink));
        if let Some(commit) = pinned {
            let own = own_flake(repository, sources, module, commit, &mut wiring.notes);
            if own.flake.is_some() || own.lock.is_some() {
                wiring.own.insert(module.name.clone(), own);
            }
        }
    }
    Ok(wiring)
}

/// The graph of the workspace's modules.
#[must_use]
pub fn order(discovery: &Discovery, wiring: &Wiring) -> Graph {
    build(&discovery.modules, wiring)
}

/// A workspace's modules, their state and how they are wired: what `graph` and `pin` ask for.
#[derive(Debug)]
pub struct Seen {
    /// The modules.
    pub discovery: Discovery,
    /// Their state.
    pub snapshot: Snapshot,
    /// How they are wired.
    pub wiring: Wiring,
}

/// Read the workspace once.
///
/// # Errors
/// When the superproject cannot be read.
pub fn see(
    repository: &dyn Repository,
    sources: &dyn Sources,
    options: &SnapshotOptions,
) -> PortResult<Seen> {
    let discovery = repository.discover()?;
    let snapshot = repository.snapshot(&discovery, options)?;
    let wiring = wiring(repository, sources, &discovery, &snapshot, &RepoPath::from(DEP_GRAPH))?;
    Ok(Seen { discovery, snapshot, wiring })
}

/// A module's own flake at a commit, from its checkout, else from its mirror.
fn own_flake(
    repository: &dyn Repository,
    sources: &dyn Sources,
    module: &Module,
    commit: ObjectId,
    notes: &mut Vec<String>,
) -> OwnFlake {
    let mut own = OwnFlake::default();
    let mut note = |file: &str, why: &dyn Display| {
        notes.push(text::inert(&format!(
            "cannot read {file} of {} at {}: {why}",
            module.name,
            commit.short()
        )));
    };
    let read = |file: &str| -> PortResult<Option<Vec<u8>>> {
        let path = RepoPath::from(file);
        // A checkout that cannot be read does not hide what the mirror has.
        let checkout = repository.module_file(module, commit, &path);
        match checkout {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            other => match sources.file(module, commit, &path) {
                Ok(None) => other,
                found => found,
            },
        }
    };
    match read("flake.nix") {
        Ok(Some(bytes)) => match nix_reader::read(&bytes) {
            Ok(flake) => own.flake = Some(flake),
            Err(error) => note("flake.nix", &error),
        },
        Ok(None) => {}
        Err(error) => note("flake.nix", &error),
    }
    match read("flake.lock") {
        Ok(Some(bytes)) => match Lock::parse_owned(bytes) {
            Ok((lock, _)) => own.lock = Some(lock),
            Err(error) => note("flake.lock", &error),
        },
        Ok(None) => {}
        Err(error) => note("flake.lock", &error),
    }
    own
}
