//! A lock as Nix writes it: bytes, and the names that its nodes get.
//!
//! Names are given on the way down, inputs in the order of their names, each node before its own
//! inputs: the input's name, else the first of `_2`, `_3`, … that is free (`lockfile.cc:
//! toJSON`). Two spaces, sorted keys, no newline at the end: the file has one, the value does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{InputEdge, Lock, Node, NodeId};
use crate::domain::flake::reference::{Attr, FlakeRef};
use crate::domain::flake::shared::SharedStr;

impl Lock {
    /// The file that Nix would write for it, with the newline at its end. Always version 7;
    /// nodes that the root does not reach and attributes that Nix does not know are left out.
    #[must_use]
    pub fn to_json(&self) -> String {
        let names = names(&self.nodes, self.root);
        let mut sorted: Vec<(&SharedStr, NodeId)> =
            (0..).map(NodeId).zip(&names).filter_map(|(id, name)| Some((name.as_ref()?, id))).collect();
        // Nodes are in the order of their names already where Nix wrote the file.
        if !sorted.is_sorted() {
            sorted.sort_unstable();
        }
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

/// The name that Nix gives to every node that `root` reaches, by the node's number.
pub(super) fn names(nodes: &[Node], root: NodeId) -> Vec<Option<SharedStr>> {
    let mut given: Vec<Option<SharedStr>> = vec![None; nodes.len()];
    let mut taken: BTreeSet<SharedStr> = BTreeSet::new();
    // Names are never given back, so a search goes on where the last one for that name ended.
    let mut next: BTreeMap<&str, u32> = BTreeMap::new();
    // An explicit stack: locks nest as deep as their author likes.
    let top = SharedStr::fixed("root");
    let mut open: Vec<(&SharedStr, NodeId)> = vec![(&top, root)];
    while let Some((wanted, id)) = open.pop() {
        let slot = &mut given[id.0 as usize];
        if slot.is_some() {
            continue;
        }
        let mut name = wanted.clone();
        if !taken.insert(name.clone()) {
            let number = next.entry(wanted).or_insert(2);
            loop {
                name = SharedStr::from(format!("{wanted}_{number}"));
                *number += 1;
                if taken.insert(name.clone()) {
                    break;
                }
            }
        }
        *slot = Some(name);
        // The last pushed is the first popped.
        for (name, input) in nodes[id.0 as usize].inputs.iter().rev() {
            if let InputEdge::Node(child) = input.edge {
                open.push((name, child));
            }
        }
    }
    given
}

fn node(out: &mut String, node: &Node, names: &[Option<SharedStr>]) {
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
                InputEdge::Node(id) => string(out, names[id.0 as usize].as_deref().unwrap_or("")),
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

fn array(out: &mut String, path: &[impl AsRef<str>], indent: &str) {
    for (at, element) in path.iter().enumerate() {
        out.push_str(if at == 0 { "[" } else { "," });
        out.push_str(indent);
        out.push_str("  ");
        string(out, element.as_ref());
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
    if text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..b' ')) {
        escaped(out, text);
    } else {
        out.push_str(text);
    }
    out.push('"');
}

fn escaped(out: &mut String, text: &str) {
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
        let names: Vec<String> = (0..)
            .map(NodeId)
            .zip(names(&lock.nodes, lock.root))
            .filter_map(|(id, name)| Some(format!("{} {}", lock.node(id).key, name?)))
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
