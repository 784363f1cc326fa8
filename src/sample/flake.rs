//! Flakes of known structure: their `inputs` as text, and the lock that Nix writes for them.
//!
//! In: inputs by name, and for each source the version that is locked, with its own lock.
//! Out: `flake.nix` inputs and `flake.lock` (version 7), byte for byte as `nix flake lock`
//! writes it. This is no relocking algorithm: every node is new, nothing is kept. Source:
//! `computeLocks` in `src/libflake/flake.cc` and `LockFile::toJSON` in `lockfile.cc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::domain::flake::nar::NarHash;
use crate::domain::id::ObjectId;

/// An input of a flake.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// A repository.
    Github {
        owner: String,
        repo: String,
        /// The revision in the URL.
        rev: Option<ObjectId>,
        flake: bool,
        /// `inputs.<name>.follows` for the inputs of this input.
        follows: BTreeMap<String, Vec<String>>,
        /// The version that the lock records.
        locked: Arc<Locked>,
    },
    /// `follows` another input of the same flake, or an input of one.
    Follows(Vec<String>),
}

/// One version of a source, as a lock records it.
#[derive(Debug, Clone)]
pub(super) struct Locked {
    pub(super) rev: ObjectId,
    pub(super) nar_hash: NarHash,
    pub(super) last_modified: i64,
    /// What its own lock holds.
    pub(super) lock: Lock,
}

/// The edges of a lock's node, by input name.
pub(super) type Lock = BTreeMap<String, Edge>;

/// Where an input leads.
#[derive(Debug, Clone)]
pub(super) enum Edge {
    Node(Box<LockNode>),
    Follows(Vec<String>),
}

/// A locked input.
#[derive(Debug, Clone)]
pub(super) struct LockNode {
    locked: Value,
    original: Value,
    flake: bool,
    inputs: Lock,
}

/// The lock of a flake with these inputs.
pub(super) fn lock(inputs: &BTreeMap<String, Input>) -> Lock {
    inputs.iter().map(|(name, input)| (name.clone(), edge(name, input))).collect()
}

fn edge(name: &str, input: &Input) -> Edge {
    let (owner, repo, rev, flake, follows, locked) = match input {
        Input::Follows(path) => return Edge::Follows(path.clone()),
        Input::Github { owner, repo, rev, flake, follows, locked } => {
            (owner, repo, rev, *flake, follows, locked)
        }
    };
    let mut original = json!({ "owner": owner, "repo": repo });
    if let Some(rev) = rev {
        original["rev"] = json!(rev);
    }
    original["type"] = json!("github");
    let inputs = if flake {
        let under = [name.to_owned()];
        locked
            .lock
            .iter()
            .map(|(sub, edge)| {
                let edge = match follows.get(sub) {
                    Some(path) => Edge::Follows(path.clone()),
                    None => prefixed(edge, &under),
                };
                (sub.clone(), edge)
            })
            .collect()
    } else {
        Lock::new()
    };
    Edge::Node(Box::new(LockNode {
        locked: json!({
            "lastModified": locked.last_modified,
            "narHash": locked.nar_hash,
            "owner": owner,
            "repo": repo,
            "rev": locked.rev,
            "type": "github",
        }),
        original,
        flake,
        inputs,
    }))
}

/// A dependency's lock inside another: its `follows` paths start where it is now.
fn prefixed(edge: &Edge, under: &[String]) -> Edge {
    match edge {
        Edge::Follows(path) => Edge::Follows(under.iter().chain(path).cloned().collect()),
        Edge::Node(node) => Edge::Node(Box::new(LockNode {
            inputs: node.inputs.iter().map(|(name, edge)| (name.clone(), prefixed(edge, under))).collect(),
            ..(**node).clone()
        })),
    }
}

/// `flake.lock` as Nix writes it: keys are input names, `_2` and on where one is taken, depth
/// first; two spaces; a final newline.
pub(super) fn lock_json(lock: &Lock) -> String {
    let mut writer = LockWriter::default();
    let root = writer.node("root", None, lock);
    let nodes: Map<String, Value> = writer.nodes.into_iter().collect();
    let text = serde_json::to_string_pretty(&json!({ "nodes": nodes, "root": root, "version": 7 }));
    text.expect("because it is a value already") + "\n"
}

#[derive(Default)]
struct LockWriter {
    taken: BTreeSet<String>,
    next: BTreeMap<String, usize>,
    nodes: BTreeMap<String, Value>,
}

impl LockWriter {
    fn node(&mut self, wanted: &str, node: Option<&LockNode>, inputs: &Lock) -> String {
        let key = self.key(wanted);
        let mut shown = BTreeMap::new();
        if node.is_some_and(|node| !node.flake) {
            shown.insert("flake", json!(false));
        }
        if !inputs.is_empty() {
            let inputs: BTreeMap<&String, Value> = inputs
                .iter()
                .map(|(name, edge)| {
                    let value = match edge {
                        Edge::Node(node) => json!(self.node(name, Some(node), &node.inputs)),
                        Edge::Follows(path) => json!(path),
                    };
                    (name, value)
                })
                .collect();
            shown.insert("inputs", json!(inputs));
        }
        if let Some(node) = node {
            shown.insert("locked", node.locked.clone());
            shown.insert("original", node.original.clone());
        }
        self.nodes.insert(key.clone(), json!(shown));
        key
    }

    fn key(&mut self, wanted: &str) -> String {
        if self.taken.insert(wanted.to_owned()) {
            return wanted.to_owned();
        }
        // Numbers below the last one given are taken: looking from there finds the same key.
        let mut number = self.next.get(wanted).copied().unwrap_or(2);
        loop {
            let key = format!("{wanted}_{number}");
            number += 1;
            if self.taken.insert(key.clone()) {
                self.next.insert(wanted.to_owned(), number);
                return key;
            }
        }
    }
}

/// The URL of a repository input.
pub(super) fn github_url(owner: &str, repo: &str, rev: Option<&ObjectId>) -> String {
    match rev {
        None => format!("github:{owner}/{repo}"),
        Some(rev) => format!("github:{owner}/{repo}/{rev}"),
    }
}

/// The attributes of one input, one nested set (as people write it in a module).
pub(super) fn nested(name: &str, input: &Input) -> String {
    match input {
        Input::Follows(path) => format!("    {name}.follows = \"{}\";\n", path.join("/")),
        Input::Github { owner, repo, rev, flake, follows, .. } => {
            let url = github_url(owner, repo, rev.as_ref());
            if *flake && follows.is_empty() {
                return format!("    {name}.url = \"{url}\";\n");
            }
            let mut text = format!("    {name} = {{\n      url = \"{url}\";\n");
            if !flake {
                text.push_str("      flake = false;\n");
            }
            for (sub, path) in follows {
                let _ = writeln!(text, "      inputs.{sub}.follows = \"{}\";", path.join("/"));
            }
            text + "    };\n"
        }
    }
}

/// The `url` line of one input (as a generator writes it).
pub(super) fn url_line(name: &str, input: &Input) -> String {
    match input {
        Input::Follows(_) => nested(name, input),
        Input::Github { owner, repo, rev, .. } => {
            format!("    {name}.url = \"{}\";\n", github_url(owner, repo, rev.as_ref()))
        }
    }
}

/// All but the URL of one input, dotted.
pub(super) fn other_lines(name: &str, input: &Input) -> String {
    let mut text = String::new();
    if let Input::Github { flake, follows, .. } = input {
        if !flake {
            let _ = writeln!(text, "    {name}.flake = false;");
        }
        for (sub, path) in follows {
            let _ = writeln!(text, "    {name}.inputs.{sub}.follows = \"{}\";", path.join("/"));
        }
    }
    text
}
