use super::*;
use crate::domain::flake::nix_reader;
use crate::domain::graph::tests as graphs;
use crate::domain::id::ObjectId;
use crate::domain::snapshot::{Ahead, SuperprojectState, TreeState};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn check_x(committed: &str, url: &str, locked: &str, map: &str) -> String {
    let modules = [graphs::module("x", Some("x")), graphs::module("y", Some("y"))];
    let commit: ObjectId = committed.parse().expect("it is an id");
    let state = ModuleState {
        name: modules[0].name.clone(),
        path: modules[0].path.clone(),
        gitlink: Some(commit),
        committed: Some(commit),
        head: None,
        branch: None,
        initialised: false,
        detached: false,
        shallow: false,
        ahead: Ahead::Same,
        dirty: false,
        operation: None,
        tree: TreeState::default(),
        problem: None,
    };
    let snapshot = Snapshot {
        superproject: SuperprojectState {
            head: None,
            branch: None,
            operation: None,
            index_locked: false,
            tree: TreeState::default(),
        },
        modules: vec![state],
        refused: Vec::new(),
    };
    let flake = format!("{{ inputs.x.url = \"{url}\"; inputs.y.url = \"github:o/y\"; outputs = _: {{ }}; }}");
    let wiring = Wiring {
        flake: Some(nix_reader::read(flake.as_bytes()).expect("it is well formed")),
        lock: Some(graphs::lock(&["root x=x y=y", &format!("x x {locked} y=/y"), &format!("y y {A}")])),
        dep_graph: Some(DepGraph::parse(map.as_bytes()).expect("it is well formed")),
        ..Wiring::default()
    };
    let checks = check(&modules, &snapshot, &wiring);
    format!("{:?}: {}", checks[0].verdict, checks[0].sentence)
}

#[test]
fn places_are_compared_and_the_ones_that_disagree_are_named() {
    let map = "{ x = { deps = [ \"y\" ]; }; y = { deps = [ ]; }; }";
    for (committed, url, locked, map, expected) in [
        (A, "github:o/x", A, map, "Coherent: 2 places record aaaaaaaaaaaa"),
        (
            A,
            "github:o/x",
            B,
            map,
            "Incoherent: the gitlink is at aaaaaaaaaaaa, flake.lock is at bbbbbbbbbbbb",
        ),
        (
            A,
            &format!("github:o/x/{B}"),
            B,
            map,
            "Incoherent: the gitlink is at aaaaaaaaaaaa, flake.nix and flake.lock are at bbbbbbbbbbbb; flake.lock was made before flake.nix named a revision",
        ),
        (
            A,
            "github:o/x/main",
            A,
            map,
            "Incoherent: flake.lock was made for another branch than flake.nix names",
        ),
        (
            A,
            "github:o/z",
            A,
            map,
            "Incoherent: flake.lock was made for another repository than flake.nix names",
        ),
        (A, "github:o/x", A, "{ x = { deps = [ ]; }; }", "Incoherent: the dependency map lacks y"),
        (A, "github:o/x", A, "{ }", "Incoherent: the dependency map has no entry for it"),
    ] {
        assert_eq!(check_x(committed, url, locked, map), expected);
    }
}
