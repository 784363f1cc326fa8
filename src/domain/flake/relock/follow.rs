//! Every `follows` leads somewhere (`lockfile.cc: LockFile::check`, `doFind`).
//!
//! Nix remembers every path that it meets on the way from one `follows`, and takes the second
//! meeting for a circle, also where it is none. A lock that Nix refuses is of no use, so that is
//! repeated here exactly.

use std::collections::BTreeSet;

use super::RelockError;
use crate::domain::flake::lock::{InputEdge, Node, NodeId};
use crate::domain::flake::shared::{self, SharedStr};

/// Check all nodes that the first one reaches.
///
/// # Errors
/// The first input, in Nix's order, that follows nothing or runs in a circle.
pub(super) fn check(nodes: &[Node]) -> Result<(), RelockError> {
    let follows = nodes.iter().flat_map(|node| node.inputs.values()).filter_map(|input| match &input.edge {
        InputEdge::Follows(follows) if !follows.is_empty() => Some(follows),
        _ => None,
    });
    let mut visited = Vec::new();
    for follows in follows {
        visited.clear();
        if !matches!(find(nodes, follows, &mut visited, 0), Ok(Some(_))) {
            return first_fault(nodes);
        }
    }
    Ok(())
}

/// Something is wrong: what Nix comes to first.
fn first_fault(nodes: &[Node]) -> Result<(), RelockError> {
    let mut all: Vec<(Vec<&str>, &[SharedStr])> = Vec::new();
    let mut done = BTreeSet::new();
    let mut open = vec![(Vec::new(), NodeId::at(0))];
    while let Some((path, id)) = open.pop() {
        if !done.insert(id) {
            continue;
        }
        for (name, input) in &nodes[id.index()].inputs {
            let mut at = path.clone();
            at.push(name.as_str());
            match &input.edge {
                InputEdge::Node(id) => open.push((at, *id)),
                InputEdge::Follows(follows) => all.push((at, follows)),
            }
        }
    }
    all.sort_unstable();
    for (at, follows) in all {
        if !follows.is_empty() && find(nodes, follows, &mut Vec::new(), 0)?.is_none() {
            let at = at.into_iter().map(str::to_owned).collect();
            return Err(RelockError::FollowsNothing { at, follows: shared::owned(follows) });
        }
    }
    Ok(())
}

/// More `follows` through each other than this are a circle for every purpose.
const MAX_DEPTH: usize = 500;

fn find<'a>(
    nodes: &'a [Node],
    path: &'a [SharedStr],
    visited: &mut Vec<&'a [SharedStr]>,
    depth: usize,
) -> Result<Option<NodeId>, RelockError> {
    let circle = |from: usize, visited: &[&[SharedStr]]| RelockError::FollowsCircle {
        cycle: visited[from..].iter().chain([&path]).map(|path| shared::owned(path)).collect(),
    };
    if let Some(from) = visited.iter().position(|known| *known == path) {
        return Err(circle(from, visited));
    }
    if depth > MAX_DEPTH {
        return Err(circle(0, visited));
    }
    visited.push(path);
    let mut here = NodeId::at(0);
    for name in path {
        match nodes[here.index()].inputs.get(name).map(|input| &input.edge) {
            None => return Ok(None),
            Some(InputEdge::Node(id)) => here = *id,
            Some(InputEdge::Follows(path)) => match find(nodes, path, visited, depth + 1)? {
                Some(id) => here = id,
                None => return Ok(None),
            },
        }
    }
    Ok(Some(here))
}
