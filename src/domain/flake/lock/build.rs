//! A lock made from nodes instead of bytes.

use super::{InputEdge, Lock, LockError, Node, NodeId, print, resolve};
use crate::domain::flake::shared::SharedStr;

impl NodeId {
    /// The node at this place of a vector that [`Lock::from_nodes`] is given.
    ///
    /// # Panics
    /// Never: callers bound the number of nodes far below 2³².
    pub(in crate::domain::flake) fn at(index: usize) -> Self {
        Self(u32::try_from(index).expect("because no lock has four thousand million nodes"))
    }

    /// The place again.
    pub(in crate::domain::flake) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Lock {
    /// The lock of a flake without inputs; what a lock that is not there is compared as.
    #[must_use]
    pub fn empty() -> Self {
        let root = Node { key: SharedStr::fixed("root"), flake: true, ..Node::default() };
        Self { version: 7, root: NodeId(0), nodes: vec![root] }
    }

    /// The lock of these nodes, the first of which is the root. Their edges are places in the
    /// vector; names are given as Nix does, and nodes that the root does not reach are dropped.
    ///
    /// # Errors
    /// When inputs follow each other in a circle.
    pub(in crate::domain::flake) fn from_nodes(nodes: Vec<Node>) -> Result<Self, LockError> {
        let names = print::names(&nodes, NodeId(0));
        let mut kept: Vec<(&SharedStr, usize)> =
            names.iter().enumerate().filter_map(|(old, name)| Some((name.as_ref()?, old))).collect();
        kept.sort_unstable();
        let mut new = vec![NodeId(0); nodes.len()];
        for (at, (_, old)) in kept.iter().enumerate() {
            new[*old] = NodeId::at(at);
        }
        let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
        let mut sorted = Vec::with_capacity(kept.len());
        for (key, old) in kept {
            let Some(mut node) = nodes[old].take() else { continue };
            for input in node.inputs.values_mut() {
                if let InputEdge::Node(target) = &mut input.edge {
                    *target = new[target.index()];
                }
            }
            node.key = key.clone();
            sorted.push(node);
        }
        let root = new[0];
        resolve::resolve_all(&mut sorted, root)?;
        Ok(Self { version: 7, root, nodes: sorted })
    }
}
