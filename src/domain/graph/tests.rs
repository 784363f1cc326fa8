#![expect(
    clippy::format_push_string,
    clippy::needless_range_loop,
    reason = "tests are read more often than they run"
)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::domain::flake::dep_graph::DepGraph;
use crate::domain::flake::lock::Lock;
use crate::domain::flake::nix_reader;
use crate::domain::id::RepoPath;
use crate::domain::module::{FetchFrom, FetchSource, Module};
use crate::domain::url::{RemoteUrl, RepoIdentity, UrlRules};

fn name(name: &str) -> ModuleName {
    ModuleName::new(name)
}

pub(in crate::domain) fn module(module: &str, input: Option<&str>) -> Module {
    let url = RemoteUrl::parse(&format!("https://github.com/o/{module}.git"), UrlRules::REMOTE)
        .expect("it is plain");
    Module {
        name: name(input.unwrap_or(module)),
        submodule: module.to_owned(),
        path: RepoPath::from(format!("repos/{module}").as_str()),
        identity: RepoIdentity::github("o", module),
        declared: url.clone(),
        fetch: FetchFrom { url, source: FetchSource::Gitmodules },
        branch: None,
        input: input.map(str::to_owned),
    }
}

/// A lock of nodes `name repo rev input=node input=/follows/path`; the first is the root.
pub(in crate::domain) fn lock(nodes: &[&str]) -> Lock {
    let mut file = serde_json::json!({"nodes": {}, "root": "root", "version": 7});
    for (at, node) in nodes.iter().enumerate() {
        let mut words = node.split(' ');
        let key = words.next().expect("a node has a name").to_owned();
        let mut value = serde_json::json!({"inputs": {}});
        if at > 0 {
            let (repo, rev) = (words.next().expect("a repo"), words.next().expect("a rev"));
            value["original"] = serde_json::json!({"type": "github", "owner": "o", "repo": repo});
            value["locked"] = value["original"].clone();
            value["locked"]["rev"] = rev.into();
        }
        for (input, target) in words.filter_map(|word| word.split_once('=')) {
            value["inputs"][input] = match target.strip_prefix('/') {
                Some(path) => path.split('/').collect::<Vec<_>>().into(),
                None => target.into(),
            };
        }
        file["nodes"][key] = value;
    }
    Lock::parse(file.to_string().as_bytes()).expect("it is well formed")
}

fn shown(graph: &Graph) -> Vec<String> {
    let edge = |edge: &Edge| {
        let sources: Vec<&str> = edge.sources.iter().map(|source| source.as_str()).collect();
        let via = if edge.via.is_empty() { String::new() } else { format!(" via {}", edge.via.join("/")) };
        format!("{} -> {} [{}]{via}", edge.from, edge.to, sources.join(" "))
    };
    graph.edges.iter().map(edge).collect()
}

#[test]
fn edges_are_a_modules_inputs_through_follows_and_helpers() {
    let modules = [module("a", Some("a")), module("b", Some("b")), module("c", Some("c")), module("d", None)];
    let wiring = Wiring {
        // The lock's own graph has no cycle: b's a is another node.
        lock: Some(lock(&[
            "root a=a_2 b=b c=c n=n",
            "a_2 a r1 b=/b",
            "b b r2 a=a n=/n",
            "a a r0",
            "c c r3 h=h",
            "h h r4 a=/a",
            "n nixpkgs r5",
        ])),
        flake: Some(
            nix_reader::read(
                b"{ inputs.a = { url = \"github:o/a\"; inputs.b.follows = \"b\"; inputs.zz.follows = \"c\"; }; outputs = x: x; }",
            )
            .expect("it is well formed"),
        ),
        dep_graph: Some(DepGraph::parse(b"{ a = { deps = [ \"b\" \"n\" ]; }; c = { deps = [ \"b\" ]; }; }").expect("well formed")),
        own: BTreeMap::from([(
            name("d"),
            OwnFlake { flake: None, lock: Some(lock(&["root c=c", "c c r9 a=a", "a a r9"])) },
        )]),
        ..Wiring::default()
    };
    let graph = build(&modules, &wiring);
    assert_eq!(
        shown(&graph),
        [
            "a -> b [flake-lock flake-nix dep-graph]",
            "b -> a [flake-lock]",
            "c -> a [flake-lock] via h",
            "c -> b [dep-graph]",
            "d -> c [module-flake]",
        ]
    );
    assert_eq!(graph.levels(), [vec![name("a"), name("b")], vec![name("c")], vec![name("d")]]);
    assert_eq!(graph.components[0].members, [name("a"), name("b")]);
    assert_eq!(graph.blast_radius(&[name("a")]), [name("b"), name("c"), name("d")]);
    assert_eq!(graph.closure(&[name("c")]), [name("a"), name("b")]);
    assert_eq!(graph.notes, ["flake.nix overrides the input \"zz\" of \"a\", which has no such input"]);
    let seen: Vec<String> = graph
        .seen(&name("a"))
        .iter()
        .flat_map(|sighting| {
            sighting.seen_by.iter().map(|by| {
                let who = by.module.as_ref().map_or("-", ModuleName::as_str);
                format!("{} {who} {}", sighting.revision.as_deref().unwrap_or("?"), by.path.join("/"))
            })
        })
        .collect();
    assert_eq!(seen, ["r0 b b/a", "r1 - a", "r1 - c/h/a"]);
}

#[test]
fn a_module_without_any_flake_stands_alone() {
    let graph = build(&[module("a", None)], &Wiring::default());
    assert_eq!(graph.levels(), [vec![name("a")]]);
    assert!(graph.edges.is_empty());
}

fn numbered(n: usize) -> ModuleName {
    name(&format!("m{n:03}"))
}

fn graph_of(count: usize, pairs: &[(usize, usize)]) -> Graph {
    let modules: Vec<ModuleName> = (0..count).map(numbered).collect();
    let pairs: BTreeSet<(usize, usize)> = pairs.iter().copied().filter(|(from, to)| from != to).collect();
    let edges: Vec<Edge> = pairs
        .into_iter()
        .map(|(from, to)| Edge {
            from: numbered(from),
            to: numbered(to),
            sources: BTreeSet::from([EdgeSource::FlakeLock]),
            via: Vec::new(),
        })
        .collect();
    let components = super::order::condense(&modules, &edges);
    Graph { modules, edges, components, ..Graph::default() }
}

pub(in crate::domain) fn any_graph() -> impl Strategy<Value = Graph> {
    (1..14usize)
        .prop_flat_map(|count| (Just(count), proptest::collection::vec((0..count, 0..count), 0..30)))
        .prop_map(|(count, pairs)| graph_of(count, &pairs))
}

proptest! {
    #[test]
    fn components_are_exactly_the_modules_that_reach_each_other(graph in any_graph()) {
        // Naive: Warshall's closure.
        let count = graph.modules.len();
        let mut reach = vec![vec![false; count]; count];
        let number = |name: &ModuleName| graph.modules.binary_search(name).expect("it is a node");
        for edge in &graph.edges {
            reach[number(&edge.from)][number(&edge.to)] = true;
        }
        for middle in 0..count {
            for from in 0..count {
                for to in 0..count {
                    reach[from][to] = reach[from][to] || (reach[from][middle] && reach[middle][to]);
                }
            }
        }
        for a in 0..count {
            for b in 0..count {
                let together = a == b || (reach[a][b] && reach[b][a]);
                let same = graph.component_of(&graph.modules[a]) == graph.component_of(&graph.modules[b]);
                prop_assert_eq!(together, same);
            }
        }
        let members: usize = graph.components.iter().map(|component| component.members.len()).sum();
        prop_assert_eq!(members, count);
    }

    #[test]
    fn levels_respect_every_edge_and_leave_no_gap(graph in any_graph()) {
        let level = |name: &ModuleName| graph.component_of(name).expect("it is in one").level;
        for edge in &graph.edges {
            let same = graph.component_of(&edge.from) == graph.component_of(&edge.to);
            prop_assert!(same || level(&edge.to) < level(&edge.from));
        }
        for component in graph.components.iter().filter(|component| component.level > 0) {
            let below = component.members.iter().flat_map(|name| graph.dependencies(name)).map(|edge| level(&edge.to));
            prop_assert_eq!(below.filter(|level| *level < component.level).max(), Some(component.level - 1));
        }
    }

    #[test]
    fn the_order_of_the_modules_changes_nothing(
        pairs in proptest::collection::vec((0..8usize, 0..8usize), 0..20),
        order in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut nodes: Vec<String> = (0..8).map(|n| format!("x{n} m{n} r{n}")).collect();
        for (from, to) in pairs.iter().filter(|(from, to)| from != to) {
            nodes[*from].push_str(&format!(" i{to}=/m{to}"));
        }
        let root = (0..8).fold("root".to_owned(), |root, n| format!("{root} m{n}=x{n}"));
        let nodes: Vec<&str> = std::iter::once(root.as_str()).chain(nodes.iter().map(String::as_str)).collect();
        let wiring = Wiring { lock: Some(lock(&nodes)), ..Wiring::default() };
        let of = |n: &usize| module(&format!("m{n}"), Some(&format!("m{n}")));
        let sorted: Vec<Module> = (0..8).map(|n| of(&n)).collect();
        let shuffled: Vec<Module> = order.iter().map(of).collect();
        let graph = build(&sorted, &wiring);
        prop_assert_eq!(&graph, &build(&shuffled, &wiring));
        let wanted: BTreeSet<_> = pairs.iter().filter(|(a, b)| a != b).collect();
        prop_assert_eq!(graph.edges.len(), wanted.len());
    }
}
