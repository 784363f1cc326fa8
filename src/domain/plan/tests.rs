#![expect(clippy::format_push_string, reason = "tests are read more often than they run")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::graph::{Edge, EdgeSource, Wiring, build, tests as graphs};
use crate::domain::snapshot::{SuperprojectState, TreeState};

fn id(byte: u8) -> ObjectId {
    ObjectId::from_bytes(&[byte; 20]).expect("20 bytes are an id")
}

fn upgrade(name: &ModuleName, status: Status) -> Upgrade {
    Upgrade {
        name: name.clone(),
        path: RepoPath::from("repos/x"),
        status,
        behind: None,
        ahead: None,
        from: Some(id(1)),
        to: Some(if status == Status::UpToDate { id(1) } else { id(2) }),
        branch: None,
        reason: format!("reason of {name}"),
    }
}

fn empty() -> Snapshot {
    Snapshot {
        superproject: SuperprojectState {
            head: None,
            branch: None,
            operation: None,
            index_locked: false,
            tree: TreeState::default(),
        },
        modules: Vec::new(),
        refused: Vec::new(),
    }
}

/// The plan of a graph of edges `a>b` with statuses `a=behind`, as lines.
fn check(edges: &[&str], statuses: &[(&str, Status)], limits: PlanLimits, expected: &[&str]) {
    let modules: Vec<_> = statuses.iter().map(|(name, _)| graphs::module(name, Some(name))).collect();
    let mut nodes: Vec<String> = vec!["root".to_owned()];
    for (name, _) in statuses {
        nodes[0].push_str(&format!(" {name}={name}"));
        let mut node = format!("{name} {name} r");
        for to in edges.iter().filter_map(|edge| edge.split_once('>')).filter(|(from, _)| from == name) {
            node.push_str(&format!(" {0}=/{0}", to.1));
        }
        nodes.push(node);
    }
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let wiring = Wiring { lock: Some(graphs::lock(&nodes)), ..Wiring::default() };
    let graph = build(&modules, &wiring);
    let upgrades: Vec<Upgrade> =
        statuses.iter().map(|(name, status)| upgrade(&ModuleName::new(name), *status)).collect();
    let plan = plan(&empty(), &graph, &upgrades, &[], &limits);
    let names = |names: &[ModuleName]| names.iter().map(ModuleName::as_str).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = plan
        .steps
        .iter()
        .map(|step| {
            let moved: Vec<ModuleName> = step.pins.iter().map(|moved| moved.module.clone()).collect();
            format!(
                "{} [{}] after [{}] affects {}",
                step.level,
                names(&moved),
                names(&step.after),
                step.affects
            )
        })
        .collect();
    lines.extend(plan.waiting.iter().map(|waiting| {
        let settled = if waiting.settled { " (settled)" } else { "" };
        format!("{}: {}{settled}", waiting.module, waiting.reason)
    }));
    assert_eq!(lines, expected);
}

use Status::{Ahead, Behind, Held, Rewritten, Unreachable, UpToDate};

#[test]
fn components_move_leaves_first() {
    check(
        &["app>lib", "lib>core", "core>lib", "tool>app"],
        &[("app", Behind), ("lib", Behind), ("core", UpToDate), ("tool", UpToDate)],
        PlanLimits::default(),
        &[
            "0 [lib] after [] affects 2",
            "1 [app] after [lib] affects 1",
            "core: reason of core (settled)",
            "tool: reason of tool (settled)",
        ],
    );
}

#[test]
fn a_stopped_member_stops_its_component_and_what_needs_it() {
    check(
        &["app>mid", "mid>lib", "lib>core", "core>lib"],
        &[("app", Behind), ("mid", UpToDate), ("lib", Behind), ("core", Held), ("other", Behind)],
        PlanLimits::default(),
        &[
            "0 [other] after [] affects 0",
            "app: waits for core, which is held",
            "core: held: reason of core",
            "lib: waits for core, which is held",
            "mid: reason of mid (settled)",
        ],
    );
}

#[test]
fn rewritten_history_holds_up_dependents_and_a_silent_remote_does_not() {
    check(
        &["a>x", "b>y", "c>z", "d>h"],
        &[
            ("a", Behind),
            ("b", Behind),
            ("c", Behind),
            ("d", Behind),
            ("h", Held),
            ("x", Rewritten),
            ("y", Unreachable),
            ("z", Ahead),
        ],
        PlanLimits::default(),
        &[
            "1 [b] after [] affects 0",
            "1 [c] after [] affects 0",
            "1 [d] after [] affects 0",
            "a: waits for x, which is rewritten",
            "h: held: reason of h",
            "x: rewritten: reason of x",
            "y: unreachable: reason of y",
            "z: ahead: reason of z",
        ],
    );
}

#[test]
fn what_is_over_a_limit_waits_and_says_so() {
    check(
        &["c>b"],
        &[("a", Behind), ("b", Behind), ("c", Behind)],
        PlanLimits { max_steps: 1, max_pins: 10 },
        &[
            "0 [a] after [] affects 0",
            "b: it is over the limit of 1 steps in one plan",
            "c: waits for b, which is over the limit of 1 steps in one plan",
        ],
    );
}

fn any_status() -> impl Strategy<Value = Status> {
    prop_oneof![
        4 => Just(Behind), 3 => Just(UpToDate), 1 => Just(Ahead), 1 => Just(Status::Diverged), 1 => Just(Rewritten),
        1 => Just(Unreachable), 1 => Just(Held), 1 => Just(Status::Unknown), 1 => Just(Status::Uninitialised),
    ]
}

proptest! {
    #[test]
    fn every_module_is_in_exactly_one_place_and_order_respects_every_edge(
        graph in graphs::any_graph(),
        statuses in proptest::collection::vec(any_status(), 14),
        (max_steps, max_pins) in (0..6usize, 0..8usize),
        reversed in any::<bool>(),
    ) {
        let mut upgrades: Vec<Upgrade> =
            graph.modules.iter().zip(&statuses).map(|(name, status)| upgrade(name, *status)).collect();
        let limits = PlanLimits { max_steps, max_pins };
        let made = plan(&empty(), &graph, &upgrades, &[], &limits);
        if reversed {
            upgrades.reverse();
        }
        prop_assert_eq!(&made, &plan(&empty(), &graph, &upgrades, &[], &limits));

        let moved = made.steps.iter().flat_map(|step| step.pins.iter().map(|moved| &moved.module));
        let mut placed: Vec<&ModuleName> = moved.chain(made.waiting.iter().map(|waiting| &waiting.module)).collect();
        placed.sort();
        prop_assert_eq!(placed, graph.modules.iter().collect::<Vec<_>>());
        prop_assert!(made.steps.len() <= max_steps);
        prop_assert!(made.steps.iter().map(|step| step.pins.len()).sum::<usize>() <= max_pins);

        let step_of = |name: &ModuleName| {
            made.steps.iter().position(|step| step.pins.iter().any(|moved| moved.module == *name))
        };
        for Edge { from, to, .. } in &graph.edges {
            if let (Some(later), Some(earlier)) = (step_of(from), step_of(to)) {
                prop_assert!(earlier <= later);
                if earlier != later {
                    prop_assert!(made.steps[later].after.contains(to));
                }
            }
        }
        // The count is of the graph's own blast radius; `after` leads to everything that is needed.
        for (number, step) in made.steps.iter().enumerate() {
            let component = graph.component_of(&step.pins[0].module).expect("it is in one");
            let radius = graph.blast_radius(&component.members);
            prop_assert_eq!(step.affects as usize, radius.len());
            let mut led_to: BTreeSet<usize> = BTreeSet::new();
            let mut open = vec![number];
            while let Some(at) = open.pop() {
                for earlier in made.steps[at].after.iter().filter_map(step_of) {
                    if led_to.insert(earlier) {
                        open.push(earlier);
                    }
                }
            }
            let needed: BTreeSet<usize> = graph.closure(&component.members).iter().filter_map(step_of).collect();
            prop_assert_eq!(led_to, needed);
        }
        // A component moves whole: no member that is behind stays while another moves.
        for component in &graph.components {
            let behind = component.members.iter().filter(|name| {
                upgrades.iter().any(|upgrade| upgrade.name == **name && upgrade.status == Behind)
            });
            let places: BTreeSet<Option<usize>> = behind.map(step_of).collect();
            prop_assert!(places.len() <= 1);
        }
        prop_assert!(made.waiting.iter().all(|waiting| !waiting.reason.is_empty()));
        let _ = EdgeSource::FlakeLock;
    }
}
