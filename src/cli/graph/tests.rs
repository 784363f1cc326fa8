use std::collections::BTreeSet;

use super::*;
use crate::domain::graph::{Component, SeenBy};

fn graph() -> Graph {
    let name = ModuleName::new;
    let edge = |from: &str, to: &str, via: &[&str]| Edge {
        from: name(from),
        to: name(to),
        sources: BTreeSet::from([EdgeSource::FlakeLock, EdgeSource::DepGraph]),
        via: via.iter().map(|name| (*name).to_owned()).collect(),
    };
    let sighting = |rev: &str, by: Option<&str>, path: &[&str]| Sighting {
        module: name("a"),
        revision: Some(rev.to_owned()),
        seen_by: vec![SeenBy { module: by.map(name), path: path.iter().map(|p| (*p).to_owned()).collect() }],
    };
    Graph {
        modules: vec![name("a"), name("b"), name("x\"]<b>\\")],
        edges: vec![edge("a", "b", &[]), edge("b", "a", &[]), edge("x\"]<b>\\", "a", &["h"])],
        components: vec![
            Component { level: 0, members: vec![name("a"), name("b")] },
            Component { level: 1, members: vec![name("x\"]<b>\\")] },
        ],
        sightings: vec![
            sighting("0000000000000000", Some("b"), &["b", "a"]),
            sighting("1111111111111111", None, &["a"]),
        ],
        notes: vec!["cannot read flake.nix: line 1, column 2: syntax error".to_owned()],
    }
}

#[test]
fn levels_are_shown_leaves_first() {
    insta::assert_snapshot!(levels(&graph(), Paint::plain()), @r#"
    3 modules, 3 edges, 2 levels, 1 cyclic components

    level 0
      { a b }  need each other

    level 1
      x"]<b>\

    note: cannot read flake.nix: line 1, column 2: syntax error
    "#);
}

#[test]
fn one_module_is_explained() {
    insta::assert_snapshot!(explain(&graph(), &ModuleName::new("a"), Paint::plain()), @r#"
    a is on level 0
    component: { a b } need each other and move together

    needs:
      b  flake-lock, dep-graph

    is needed by:
      b        flake-lock, dep-graph
      x"]<b>\  flake-lock, dep-graph  via h

    blast radius: 2 of 3 modules
      b x"]<b>\

    2 revisions in the lock:
      000000000000  a as seen by b  (b/a)
      111111111111  a as seen by the workspace  (a)
    "#);
}

#[test]
fn names_cannot_leave_their_quotes_in_other_languages() {
    insta::assert_snapshot!(formats::dot(&graph()), @r#"
    digraph modules {
      rankdir = "BT";
      node [shape = "box"];
      subgraph "cluster_0" {
        "a";
        "b";
      }
      "x\"]<b>\\";
      "a" -> "b";
      "b" -> "a";
      "x\"]<b>\\" -> "a" [style = "dashed"];
    }
    "#);
    insta::assert_snapshot!(formats::mermaid(&graph()), @r#"
    flowchart BT
      subgraph c0[" "]
        m0["a"]
        m1["b"]
      end
      m2["x#34;#93;#60;b#62;#92;"]
      m0 --> m1
      m1 --> m0
      m2 -.-> m0
    "#);
}

#[test]
fn json_has_the_promised_fields() {
    let graph = graph();
    let report = serde_json::to_value(Report::of(&graph)).expect("it is plain data");
    assert_eq!(report["components"], serde_json::json!([["a", "b"], ["x\"]<b>\\"]]));
    assert_eq!(report["levels"], serde_json::json!([["a", "b"], ["x\"]<b>\\"]]));
    assert_eq!(report["edges"][0]["from"], "a");
    assert_eq!(report["edges"][0]["to"], "b");
    assert_eq!(report["edges"][0]["source"], "flake-lock");
}
