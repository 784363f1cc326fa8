//! `flake.lock`: a model that keeps everything, and every input resolved to its node.
//!
//! In: the file's bytes. Out: a [`Lock`], or an error that names what is wrong and where.
//! Versions 5 to 7 are read as Nix reads them (`libflake/lockfile.cc`). Bounded: 64 MiB, 128
//! levels of JSON, and everything after the parse is linear in the number of inputs. Stricter
//! than Nix where leniency has no honest use: duplicate keys, references to nodes that are not
//! there and circular `follows` are refused, also in nodes that the root does not reach.
//! Attributes that are not known here are kept, so that nothing is lost when it is written back.

mod build;
mod diff;
mod duplicates;
mod index;
mod parse;
mod print;
mod reader;
mod resolve;
mod scan;
mod value;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::named::Named;
use super::reference::FlakeRef;
use super::shared::SharedStr;
use crate::domain::text;
use crate::domain::url::RepoIdentity;

pub use diff::{Change, State};
pub use duplicates::{Duplicate, Merge};

/// A parsed lock whose inputs are all resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    version: u32,
    root: NodeId,
    nodes: Vec<Node>,
}

/// A node of one [`Lock`]; nodes are numbered in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// One node: the root, or a locked input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Its name in the file: a label without meaning (`x_61`).
    pub key: SharedStr,
    /// Its inputs by name.
    pub inputs: Named<Input>,
    /// What it is pinned to; `None` only for the root.
    pub locked: Option<FlakeRef>,
    /// What was asked for; `None` only for the root.
    pub original: Option<FlakeRef>,
    /// False for a source without a `flake.nix`.
    pub flake: bool,
    /// The input path of the flake that a relative `path:` input belongs to.
    pub parent: Option<Vec<String>>,
    /// What else the file says about it.
    pub extra: BTreeMap<String, serde_json::Value>,
}

/// One input of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// As the file has it.
    pub edge: InputEdge,
    /// The node that it comes to; `None` when it follows an input that is not there.
    pub target: Option<NodeId>,
}

/// How the file names an input's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputEdge {
    /// By the node's name.
    Node(NodeId),
    /// By an input path from the root; empty means the root itself.
    Follows(Vec<SharedStr>),
}

/// Why bytes are not a lock: what, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Too large.
    #[error("it has {bytes} bytes; at most {} are read", Lock::MAX_BYTES)]
    TooLarge {
        /// How large.
        bytes: usize,
    },
    /// Bytes that are no text.
    #[error("line {line}, column {column}: it is not UTF-8 text")]
    NotUtf8 {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// No JSON, too deep, a duplicate key, or a value of the wrong type.
    #[error("line {line}, column {column}: {}", text::clipped(&text::inert(what), 300))]
    Json {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// A version that Nix does not read.
    #[error("version {found} is not supported; Nix reads versions 5 to 7")]
    Version {
        /// The version, or `none`.
        found: String,
    },
    /// A node that is named and not there.
    #[error("{} names the node {}, which is not there", text::inert(place), text::quoted(node))]
    MissingNode {
        /// Who names it.
        place: String,
        /// The node.
        node: String,
    },
    /// An input of a node names the root.
    #[error("{} names the root node", text::inert(place))]
    CycleToRoot {
        /// Who names it.
        place: String,
    },
    /// A node other than the root without one of its references.
    #[error("the node {} has no {attribute}", text::quoted(node))]
    MissingAttribute {
        /// The node.
        node: String,
        /// `locked` or `original`.
        attribute: &'static str,
    },
    /// Inputs that follow each other in a circle.
    #[error("inputs follow each other in a circle: {}", text::clipped(&text::inert(&cycle.join(" -> ")), 500))]
    FollowsCycle {
        /// The inputs on it, as `node.input`, the first again at the end.
        cycle: Vec<String>,
    },
}

/// Why an input path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the lock has no input {}: {} has no input {}", text::quoted(&path.join("/")),
    if at.is_empty() { "the root".to_owned() } else { text::quoted(&at.join("/")) }, text::quoted(missing))]
pub struct ResolveError {
    /// The whole path.
    pub path: Vec<String>,
    /// How far it led.
    pub at: Vec<String>,
    /// What is not there.
    pub missing: String,
}

impl Lock {
    /// The largest file that is read.
    pub const MAX_BYTES: usize = 64 << 20;

    /// Parse a `flake.lock`.
    ///
    /// # Errors
    /// With what is wrong and where; see [`LockError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LockError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(LockError::TooLarge { bytes: bytes.len() });
        }
        Self::parse_owned(bytes.to_vec()).map(|(lock, _)| lock)
    }

    /// As [`parse`](Self::parse), without a copy of the file; it comes back as the text that the
    /// lock is parts of.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_owned(bytes: Vec<u8>) -> Result<(Self, Arc<String>), LockError> {
        let whole = parse::text(bytes)?;
        let mut lock = parse::parse(&whole)?;
        resolve::resolve_all(&mut lock.nodes, lock.root)?;
        Ok((lock, whole))
    }

    /// The lock before a new one is made, as Nix reads it then: as
    /// [`parse_owned`](Self::parse_owned), and inputs may follow each other in a
    /// circle (2.8 wrote such locks) and come to nothing. Whether the new lock has one is seen
    /// when it is made.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), but for [`LockError::FollowsCycle`].
    pub fn parse_for_relock(bytes: Vec<u8>) -> Result<(Self, Arc<String>), LockError> {
        let whole = parse::text(bytes)?;
        let mut lock = parse::parse(&whole)?;
        // What it says is noted in the targets as well.
        let _circle = resolve::resolve_all(&mut lock.nodes, lock.root);
        Ok((lock, whole))
    }

    /// The format's version: 5, 6 or 7.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The node of the flake itself.
    #[must_use]
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// Every node, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// One node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The inputs of the flake itself and the node that each comes to, through `follows`;
    /// resolved from the root's own inputs, never by node name.
    pub fn root_inputs(&self) -> impl Iterator<Item = (&str, Option<NodeId>)> {
        self.inputs(self.root)
    }

    /// The inputs of a node and the node that each comes to.
    pub fn inputs(&self, id: NodeId) -> impl Iterator<Item = (&str, Option<NodeId>)> {
        self.node(id).inputs.iter().map(|(name, input)| (name.as_str(), input.target))
    }

    /// The node at an input path from the root.
    ///
    /// # Errors
    /// When an element of the path is no input of the node before it.
    pub fn resolve<S: AsRef<str>>(&self, path: &[S]) -> Result<NodeId, ResolveError> {
        let mut here = self.root;
        for (depth, name) in path.iter().enumerate() {
            here = self.node(here).inputs.get(name.as_ref()).and_then(|input| input.target).ok_or_else(
                || {
                    let owned = |part: &[S]| part.iter().map(|name| name.as_ref().to_owned()).collect();
                    ResolveError {
                        path: owned(path),
                        at: owned(&path[..depth]),
                        missing: name.as_ref().to_owned(),
                    }
                },
            )?;
        }
        Ok(here)
    }

    /// Every node that the root reaches without a `follows`: those that Nix reads.
    #[must_use]
    pub fn owned_nodes(&self) -> BTreeSet<NodeId> {
        let mut seen = BTreeSet::from([self.root]);
        let mut open = vec![self.root];
        while let Some(id) = open.pop() {
            for input in self.node(id).inputs.values() {
                if let InputEdge::Node(target) = input.edge
                    && seen.insert(target)
                {
                    open.push(target);
                }
            }
        }
        seen
    }

    /// Every node that the root reaches, each with its first shortest input path, nearest first.
    #[must_use]
    pub fn closure(&self) -> Vec<(NodeId, Vec<&str>)> {
        let mut seen = BTreeSet::from([self.root]);
        let mut open = VecDeque::from([(self.root, Vec::new())]);
        let mut found = Vec::new();
        while let Some((id, path)) = open.pop_front() {
            for (name, target) in self.inputs(id) {
                if let Some(target) = target
                    && seen.insert(target)
                {
                    let mut longer = path.clone();
                    longer.push(name);
                    open.push_back((target, longer));
                }
            }
            found.push((id, path));
        }
        found
    }
}

impl Node {
    /// The revision that it is pinned to.
    #[must_use]
    pub fn rev(&self) -> Option<&str> {
        self.locked.as_ref()?.rev()
    }

    /// Which repository it is; the original reference answers where the locked one does not.
    #[must_use]
    pub fn identity(&self) -> Option<RepoIdentity> {
        let of = |reference: &Option<FlakeRef>| reference.as_ref().and_then(FlakeRef::identity);
        of(&self.locked).or_else(|| of(&self.original))
    }
}

#[cfg(test)]
mod tests;
