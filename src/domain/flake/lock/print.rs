//! A lock as Nix writes it: bytes, and the names that its nodes get.
//!
//! Names are given on the way down, inputs in the order of their names, each node before its own
//! inputs: the input's name, else the first of `_2`, `_3`, … that is free (`lockfile.cc:
//! toJSON`). Two spaces, sorted keys, no newline at the end: the file has one, the value does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{InputEdge, Lock, Node, NodeId};
use crate::domain::flake::reference::{Attr, FlakeRef};

impl Lock {
    /// The file that Nix would write for it, with the newline at its end. Always version 7;
    /// nodes that the root does not reach and attributes that Nix does not know are left out.
    #[must_use]
    pub fn to_json(&self) -> String {
        let names = names(&self.nodes, self.root);
        let mut sorted: Vec<(&str, NodeId)> = names.iter().map(|(id, name)| (name.as_str(), *id)).collect();
        sorted.sort_unstable();
        let mut out = String::with_capacity(sorted.len() * 900 + 100);
        out.push_str("{\n  \"nodes\": {");
        for (at, (name, id)) in sorted.into_iter().enumerate() {
            out.push_str(if at == 0 { "\n    " } else { ",\n    " });
            string(&mut out, name);
            out.push_str(": ");
            node(&mut out, self.node(id), &names);
        }
        out.push_str("\n  },\n  \"root\": \"root\",\n  \"version\": 7\n}\n");
        out
    }
}

/// The name that Nix gives to every node that `root` reaches.
pub(super) fn names(nodes: &[Node], root: NodeId) -> BTreeMap<NodeId, String> {
    let mut given: BTreeMap<NodeId, String> = BTreeMap::new();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    // Names are never given back, so a search goes on where the last one for that name ended.
    let mut next: BTreeMap<&str, u32> = BTreeMap::new();
    // An explicit stack: locks nest as deep as their author likes.
    let mut open: Vec<(&str, NodeId)> = vec![("root", root)];
    while let Some((wanted, id)) = open.pop() {
        if given.contains_key(&id) {
            continue;
        }
        let mut name = wanted.to_owned();
        if !taken.insert(name.clone()) {
            let number = next.entry(wanted).or_insert(2);
            loop {
                name.truncate(wanted.len());
                write!(name, "_{number}").unwrap_or_default();
                *number += 1;
                if taken.insert(name.clone()) {
                    break;
                }
            }
        }
        given.insert(id, name);
        // The last pushed is the first popped.
        for (name, input) in nodes[id.0 as usize].inputs.iter().rev() {
            if let InputEdge::Node(child) = input.edge {
                open.push((name, child));
            }
        }
    }
    given
}

fn node(out: &mut String, node: &Node, names: &BTreeMap<NodeId, String>) {
    let mut separator = "{\n      ";
    let mut key = |out: &mut String, key: &str| {
        out.push_str(separator);
        separator = ",\n      ";
        string(out, key);
        out.push_str(": ");
    };
    if !node.flake && node.locked.is_some() {
        key(out, "flake");
        out.push_str("false");
    }
    if !node.inputs.is_empty() {
        key(out, "inputs");
        let mut separator = "{\n        ";
        for (name, input) in &node.inputs {
            out.push_str(separator);
            separator = ",\n        ";
            string(out, name);
            out.push_str(": ");
            match &input.edge {
                InputEdge::Node(id) => string(out, names.get(id).map_or("", String::as_str)),
                InputEdge::Follows(path) => array(out, path, "\n        "),
            }
        }
        out.push_str("\n      }");
    }
    if let Some(locked) = &node.locked {
        key(out, "locked");
        attributes(out, locked);
    }
    if let Some(original) = &node.original {
        key(out, "original");
        attributes(out, original);
    }
    if let Some(parent) = &node.parent {
        key(out, "parent");
        array(out, parent, "\n      ");
    }
    out.push_str(if separator.starts_with('{') { "{}" } else { "\n    }" });
}

fn attributes(out: &mut String, reference: &FlakeRef) {
    let mut separator = "{\n        ";
    for (name, value) in reference.attrs() {
        out.push_str(separator);
        separator = ",\n        ";
        string(out, name);
        out.push_str(": ");
        match value {
            Attr::Bool(value) => write!(out, "{value}").unwrap_or_default(),
            Attr::Int(value) => write!(out, "{value}").unwrap_or_default(),
            Attr::Str(value) => string(out, value),
        }
    }
    out.push_str(if separator.starts_with('{') { "{}" } else { "\n      }" });
}

fn array(out: &mut String, path: &[String], indent: &str) {
    for (at, element) in path.iter().enumerate() {
        out.push_str(if at == 0 { "[" } else { "," });
        out.push_str(indent);
        out.push_str("  ");
        string(out, element);
    }
    if path.is_empty() {
        out.push_str("[]");
    } else {
        out.push_str(indent);
        out.push(']');
    }
}

/// Nix's JSON escapes are those of `serde_json`: the short ones, `\u00xx` below a space, and
/// everything else as it is.
fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c)).unwrap_or_default(),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Nix 2.34.8 wrote.
    const WRITTEN: &str = include_str!("testdata/written.lock");

    #[test]
    fn what_nix_wrote_is_printed_byte_for_byte() {
        let lock = Lock::parse(WRITTEN.as_bytes()).expect("Nix wrote it");
        assert_eq!(lock.to_json(), WRITTEN);
    }

    #[test]
    fn names_in_the_file_do_not_matter_and_unreachable_nodes_go() {
        let leaf = |rev: &str| {
            format!(
                r#"{{"locked": {{"type": "github", "owner": "o", "repo": "r", "rev": "{rev}", "narHash": "h"}}, "original": {{"type": "indirect", "id": "x"}}"#
            )
        };
        let file = format!(
            r#"{{"version": 6, "root": "top", "nodes": {{
                "top": {{"inputs": {{"b": "q", "a": "z", "x_2": "y2"}}}},
                "z": {}, "inputs": {{"x": "y"}}}}, "q": {}, "inputs": {{"x": "y1", "x_2": ["a"], "e": []}}}},
                "y": {}}}, "y1": {}}}, "y2": {}}}, "unreached": {}}}}}}}"#,
            leaf("1"),
            leaf("2"),
            leaf("3"),
            leaf("4"),
            leaf("5"),
            leaf("6")
        );
        let lock = Lock::parse(file.as_bytes()).expect("it is well formed");
        let names: Vec<String> = names(&lock.nodes, lock.root)
            .into_iter()
            .map(|(id, name)| format!("{} {name}", lock.node(id).key))
            .collect();
        assert_eq!(names, ["q b", "top root", "y x", "y1 x_2", "y2 x_2_2", "z a"]);
        let printed = lock.to_json();
        assert!(!printed.contains("unreached"));
        assert!(printed.contains("\"e\": [],"), "{printed}");
        let again = Lock::parse(printed.as_bytes()).expect("it is a lock");
        assert_eq!(again.to_json(), printed);
    }

    #[test]
    fn outside_text_is_escaped_as_nix_does() {
        let mut out = String::new();
        string(&mut out, "\u{1}\u{8}\t\n\u{c}\r\"\\\u{7f}é\u{2028}");
        assert_eq!(out, "\"\\u0001\\b\\t\\n\\f\\r\\\"\\\\\u{7f}é\u{2028}\"");
        assert_eq!(
            out,
            serde_json::to_string("\u{1}\u{8}\t\n\u{c}\r\"\\\u{7f}é\u{2028}").expect("it is text")
        );
    }
}
