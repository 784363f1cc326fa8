//! A lock file's bytes to nodes, in one pass: text is never copied out of the file, names and
//! values that every lock has are known, and nothing is built that is not kept.
//!
//! Versions 5 to 7 are read as Nix reads them. What is only found once all nodes are known
//! (references to nodes that are not there) is refused by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::index::Index;
use super::reader::{Faults, Reader};
use super::value::{self, Json};
use super::{Input, InputEdge, Lock, LockError, Node, NodeId};
use crate::domain::flake::named::Named;
use crate::domain::flake::reference::{Attrs, FlakeRef};
use crate::domain::flake::shared::SharedStr;
use crate::domain::text;

/// A file's bytes as the text that a lock is parts of.
pub(super) fn text(bytes: Vec<u8>) -> Result<Arc<String>, LockError> {
    if bytes.len() > Lock::MAX_BYTES {
        return Err(LockError::TooLarge { bytes: bytes.len() });
    }
    String::from_utf8(bytes).map(Arc::new).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        LockError::NotUtf8 {
            line: before.split(|byte| *byte == b'\n').count(),
            column: before.len() - line_start + 1,
        }
    })
}

/// The nodes with their inputs by number; nothing is resolved yet.
pub(super) fn parse(whole: &Arc<String>) -> Result<Lock, LockError> {
    let mut reader = Reader::new(whole);
    let mut targets = Vec::new();
    let raw = RawLock::read(&mut reader, &mut targets)?;
    reader.end()?;
    let number = raw.version.as_ref().and_then(serde_json::Value::as_u64);
    let Some(version) =
        number.filter(|version| (5..=7).contains(version)).and_then(|v| u32::try_from(v).ok())
    else {
        let found = raw.version.map_or_else(|| "none".to_owned(), |version| version.to_string());
        return Err(LockError::Version { found: text::clipped(&text::inert(&found), 40) });
    };
    let missing_root =
        |node: &str| LockError::MissingNode { place: "\"root\"".to_owned(), node: node.to_owned() };
    let root_key = raw.root.ok_or_else(|| missing_root(""))?;
    // Nix sorts nodes by name; names decide, not the file.
    let raw_nodes = raw.nodes.unwrap_or_default();
    let keys: Vec<SharedStr> = raw_nodes.keys().cloned().collect();
    let index = Index::new(&keys);
    let find = |key: &str| index.find(key).map(NodeId);
    let root = find(&root_key).ok_or_else(|| missing_root(&root_key))?;
    let mut nodes = Vec::with_capacity(raw_nodes.len());
    for (key, raw) in raw_nodes {
        let is_root = key == root_key;
        nodes.push(raw.finish(key, root, is_root, &targets, &find)?);
    }
    Ok(Lock { version, root, nodes })
}

#[derive(Default)]
struct RawLock {
    /// As far as it is a number; anything else is refused by name.
    version: Option<serde_json::Value>,
    root: Option<SharedStr>,
    nodes: Option<Named<RawNode>>,
}

impl RawLock {
    /// The names of nodes that inputs have go to `targets`.
    fn read(reader: &mut Reader<'_>, targets: &mut Vec<SharedStr>) -> Result<Self, LockError> {
        let mut lock = Self::default();
        let mut others = std::collections::BTreeSet::new();
        reader.object("a lock file's object", |reader, key| {
            let faults = reader.here();
            match key.as_str() {
                "version" => once(&mut lock.version, &faults, key.as_str(), reader.value::<Json>()?.0),
                "root" => once(&mut lock.root, &faults, key.as_str(), reader.text("a string")?),
                "nodes" => {
                    let room = reader.left() / NODE_BYTES;
                    once(
                        &mut lock.nodes,
                        &faults,
                        key.as_str(),
                        reader.map("an object", room, |reader| RawNode::read(reader, targets))?,
                    )
                }
                _ => {
                    reader.value::<Json>()?;
                    if others.insert(key.as_str().to_owned()) {
                        Ok(())
                    } else {
                        Err(faults.duplicate(key.as_str()))
                    }
                }
            }
        })?;
        Ok(lock)
    }
}

/// A node of a lock as Nix writes it takes at least so many bytes.
const NODE_BYTES: usize = 400;

/// An input: a node's name, or a path to follow. Nodes are not all known yet: until they are, the
/// edge has the place of the name among `targets`.
fn input(reader: &mut Reader<'_>, targets: &mut Vec<SharedStr>) -> Result<Input, LockError> {
    let expected = "a node's name or an array of input names";
    let edge = match reader.peek() {
        Some(b'"') => {
            targets.push(reader.text(expected)?);
            InputEdge::Node(NodeId::at(targets.len() - 1))
        }
        Some(b'[') => InputEdge::Follows(reader.texts()?),
        _ => return Err(reader.unexpected(expected)),
    };
    Ok(Input { edge, target: None })
}

#[derive(Default)]
struct RawNode {
    inputs: Option<Named<Input>>,
    locked: Option<Attrs>,
    info: Option<Attrs>,
    original: Option<Attrs>,
    flake: Option<bool>,
    parent: Option<Vec<String>>,
    extra: BTreeMap<String, serde_json::Value>,
}

impl RawNode {
    fn read(reader: &mut Reader<'_>, targets: &mut Vec<SharedStr>) -> Result<Self, LockError> {
        let mut node = Self::default();
        reader.object("a node", |reader, key| {
            let faults = reader.here();
            match key.as_str() {
                "inputs" => once(
                    &mut node.inputs,
                    &faults,
                    key.as_str(),
                    reader.map("an object", 4, |reader| input(reader, targets))?,
                ),
                "locked" => once(&mut node.locked, &faults, key.as_str(), value::attrs(reader, 7)?),
                "original" => once(&mut node.original, &faults, key.as_str(), value::attrs(reader, 4)?),
                "info" => once(&mut node.info, &faults, key.as_str(), value::attrs(reader, 4)?),
                "flake" => once(&mut node.flake, &faults, key.as_str(), reader.value()?),
                "parent" => once(&mut node.parent, &faults, key.as_str(), reader.value()?),
                _ => {
                    let Json(value) = reader.value()?;
                    match node.extra.insert(key.as_str().to_owned(), value) {
                        None => Ok(()),
                        Some(_) => Err(faults.duplicate(key.as_str())),
                    }
                }
            }
        })?;
        Ok(node)
    }

    fn finish(
        self,
        key: SharedStr,
        root: NodeId,
        is_root: bool,
        targets: &[SharedStr],
        find: &impl Fn(&str) -> Option<NodeId>,
    ) -> Result<Node, LockError> {
        let mut inputs = self.inputs.unwrap_or_default();
        for (name, input) in inputs.iter_mut() {
            let InputEdge::Node(target) = &mut input.edge else { continue };
            let wanted = &targets[target.index()];
            let place = || format!("the input {} of the node {}", text::quoted(name), text::quoted(&key));
            match find(wanted) {
                Some(id) if id == root => return Err(LockError::CycleToRoot { place: place() }),
                Some(id) => *target = id,
                None => {
                    let node = wanted.as_str().to_owned();
                    return Err(LockError::MissingNode { place: place(), node });
                }
            }
        }
        let missing = |attribute| LockError::MissingAttribute { node: key.as_str().to_owned(), attribute };
        let mut locked = self.locked;
        match (&mut locked, self.info) {
            // Version 5 keeps narHash and lastModified apart.
            (Some(locked), Some(info)) => locked.extend(info),
            (None, _) if !is_root => return Err(missing("locked")),
            _ => {}
        }
        if self.original.is_none() && !is_root {
            return Err(missing("original"));
        }
        Ok(Node {
            key,
            inputs,
            locked: locked.map(|attrs| FlakeRef::from_attrs(attrs).normalised()),
            original: self.original.map(|attrs| FlakeRef::from_attrs(attrs).normalised()),
            flake: self.flake.unwrap_or(true),
            parent: self.parent,
            extra: self.extra,
        })
    }
}

fn once<T>(slot: &mut Option<T>, faults: &Faults<'_>, key: &str, value: T) -> Result<(), LockError> {
    if slot.replace(value).is_some() { Err(faults.duplicate(key)) } else { Ok(()) }
}
