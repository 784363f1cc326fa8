//! From what stood in a file that records pins to what shall stand there: the edits between.
//!
//! An edit says everything of one thing, before and after, as canonical JSON, and nothing of what
//! stands beside it: two changes that make different files have different edits, and the same
//! change has the same edits whatever else changed meanwhile. Node names of a lock say nothing
//! and are not in them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Edit, EditPlace};
use crate::domain::canonical::{self, CanonicalError};
use crate::domain::flake::dep_graph::DepEntry;
use crate::domain::flake::lock::{Input, InputEdge, Lock, Node};
use crate::domain::flake::reference::FlakeRef;

/// What an input of a lock is, in full.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Follows {
        follows: Vec<&'a str>,
    },
    Locked {
        #[serde(skip_serializing_if = "Option::is_none")]
        flake: Option<bool>,
        locked: &'a Option<FlakeRef>,
        original: &'a Option<FlakeRef>,
        #[serde(skip_serializing_if = "Option::is_none")]
        parent: &'a Option<Vec<String>>,
    },
}

/// An entry of the dependency map, in full.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownEntry<'a> {
    deps: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    follows: &'a Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_tests: Option<bool>,
}

/// A value as canonical JSON text.
fn text(value: &impl Serialize) -> Result<String, CanonicalError> {
    let bytes = canonical::to_canonical(value)?;
    Ok(String::from_utf8(bytes).expect("because canonical JSON is UTF-8"))
}

/// An edit of the revision that `flake.nix` names for an input.
///
/// # Errors
/// When a reference has no canonical form.
pub fn of_flake_nix(input: &str, before: &FlakeRef, after: &FlakeRef) -> Result<Edit, CanonicalError> {
    Ok(Edit {
        place: EditPlace::FlakeNix,
        at: vec![input.to_owned()],
        old: Some(text(before)?),
        new: Some(text(after)?),
    })
}

/// An edit of one entry of the dependency map.
///
/// # Errors
/// When an entry has no canonical form.
pub fn of_dep_graph(
    input: &str,
    before: Option<&DepEntry>,
    after: Option<&DepEntry>,
) -> Result<Edit, CanonicalError> {
    let shown = |entry: Option<&DepEntry>| {
        entry
            .map(|entry| {
                text(&ShownEntry { deps: &entry.deps, follows: &entry.follows, has_tests: entry.has_tests })
            })
            .transpose()
    };
    Ok(Edit {
        place: EditPlace::DepGraph,
        at: vec![input.to_owned()],
        old: shown(before)?,
        new: shown(after)?,
    })
}

/// Everything that differs at these root inputs and below them, in the order of input paths.
///
/// What was below an input that is gone or follows another one now is gone with it, and not
/// listed. Nodes of `after` are not shared, as relocking makes them; a format version that
/// changes is an edit of the whole file, at no path.
///
/// # Errors
/// When a reference has no canonical form: a number that is too large.
pub fn of_lock(
    before: &Lock,
    after: &Lock,
    declared: &BTreeSet<String>,
) -> Result<Vec<Edit>, CanonicalError> {
    let mut found = BTreeMap::new();
    if before.version() != after.version() {
        let version = |lock: &Lock| Some(format!("{{\"version\":{}}}", lock.version()));
        found.insert(Vec::new(), (version(before), version(after)));
    }
    let input = |lock, name: &String| Lock::node(lock, lock.root()).inputs.get(name.as_str());
    let mut open: Vec<(Vec<String>, Option<&Input>, Option<&Input>)> =
        declared.iter().map(|name| (vec![name.clone()], input(before, name), input(after, name))).collect();
    while let Some((path, was, is)) = open.pop() {
        let (old, new) = (was.and_then(|was| node(before, was)), is.and_then(|is| node(after, is)));
        let same = match (was, is) {
            (None, None) => true,
            (Some(was), Some(is)) => alike((was, old), (is, new)),
            _ => false,
        };
        if !same {
            let shown = |input: Option<&Input>, node| input.map(|input| shown(input, node)).transpose();
            found.insert(path.clone(), (shown(was, old)?, shown(is, new)?));
        }
        let Some(new) = new else { continue };
        let mut names: BTreeSet<&str> = new.inputs.keys().map(|name| &**name).collect();
        names.extend(old.into_iter().flat_map(|old| old.inputs.keys().map(|name| &**name)));
        for name in names {
            let mut at = path.clone();
            at.push(name.to_owned());
            open.push((at, old.and_then(|old| old.inputs.get(name)), new.inputs.get(name)));
        }
    }
    let edit = |(at, (old, new))| Edit { place: EditPlace::FlakeLock, at, old, new };
    Ok(found.into_iter().map(edit).collect())
}

/// The node of an input that is locked on its own.
fn node<'a>(lock: &'a Lock, input: &Input) -> Option<&'a Node> {
    match &input.edge {
        InputEdge::Node(id) => Some(lock.node(*id)),
        InputEdge::Follows(_) => None,
    }
}

fn alike((was, old): (&Input, Option<&Node>), (is, new): (&Input, Option<&Node>)) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => {
            (&old.locked, &old.original, old.flake, &old.parent)
                == (&new.locked, &new.original, new.flake, &new.parent)
        }
        (None, None) => was.edge == is.edge,
        _ => false,
    }
}

fn shown(input: &Input, node: Option<&Node>) -> Result<String, CanonicalError> {
    match (&input.edge, node) {
        (InputEdge::Follows(path), _) => {
            text(&Shown::Follows { follows: path.iter().map(|name| &**name).collect() })
        }
        (InputEdge::Node(_), None) => unreachable!("an input that follows nothing has its node"),
        (InputEdge::Node(_), Some(node)) => text(&Shown::Locked {
            flake: (!node.flake).then_some(false),
            locked: &node.locked,
            original: &node.original,
            parent: &node.parent,
        }),
    }
}
