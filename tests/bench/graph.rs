//! Locks, graphs and plans: a lock of 5,000 nodes (2.9 MB) beside a plain JSON parse of the same bytes, and graph
//! and plan at 55 and 1,000 modules.
//!
//! `cargo bench --bench graph`; each time is the median of several runs.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use lambda_os::domain::flake::lock::Lock;
use lambda_os::domain::graph::{Wiring, build};
use lambda_os::domain::id::{ModuleName, ObjectId, RepoPath};
use lambda_os::domain::module::{FetchFrom, FetchSource, Module};
use lambda_os::domain::plan::{PlanLimits, plan};
use lambda_os::domain::snapshot::{Snapshot, SuperprojectState, TreeState};
use lambda_os::domain::upgrade::{Status, Upgrade};
use lambda_os::domain::url::{RemoteUrl, RepoIdentity, UrlRules};

/// One measured operation, and the median of its times.
struct Row {
    what: String,
    median: Duration,
}

fn main() {
    for row in rows() {
        println!("{:>9.3} ms  {}", row.median.as_secs_f64() * 1000.0, row.what);
    }
}

/// A lock of `nodes` nodes over `modules` repositories, as Nix prints it.
fn lock(nodes: usize, modules: usize) -> String {
    let mut all = serde_json::Map::new();
    let mut root = serde_json::Map::new();
    for number in 0..nodes {
        let repo = number % modules;
        let key =
            if number < modules { format!("module-{repo:04}") } else { format!("module-{repo:04}_{number}") };
        let mut inputs = serde_json::Map::new();
        // What a module needs has a smaller number: the only cycle would be one of our making.
        for step in [1, 2, 5] {
            if repo >= step {
                let needed = format!("module-{:04}", repo - step);
                inputs.insert(
                    needed.clone(),
                    if number < modules { vec![needed].into() } else { needed.into() },
                );
            }
        }
        let rev = format!("{number:040x}");
        let original = serde_json::json!({"owner": "example-org", "repo": format!("module-{repo:04}"), "type": "github"});
        let mut locked = original.clone();
        locked["rev"] = rev.into();
        locked["narHash"] = format!("sha256-{number:0>43}=").into();
        locked["lastModified"] = (1_700_000_000 + number).into();
        if number < modules {
            root.insert(key.clone(), key.clone().into());
        } else if number % 7 == 0 {
            let extra = format!("module-{repo:04}_{number}");
            root.insert(extra.clone(), extra.into());
        }
        all.insert(key, serde_json::json!({"inputs": inputs, "locked": locked, "original": original}));
    }
    all.insert("root".to_owned(), serde_json::json!({"inputs": root}));
    let file = serde_json::json!({"nodes": all, "root": "root", "version": 7});
    format!("{}\n", serde_json::to_string_pretty(&file).expect("it is plain data"))
}

fn modules(count: usize) -> Vec<Module> {
    (0..count)
        .map(|number| {
            let name = format!("module-{number:04}");
            let url = RemoteUrl::parse(&format!("https://github.com/example-org/{name}"), UrlRules::REMOTE)
                .expect("it is plain");
            Module {
                name: ModuleName::new(&name),
                submodule: name.clone(),
                path: RepoPath::from(format!("repos/{name}").as_str()),
                identity: RepoIdentity::github("example-org", &name),
                declared: url.clone(),
                fetch: FetchFrom { url, source: FetchSource::Gitmodules },
                branch: None,
                input: Some(name),
            }
        })
        .collect()
}

fn median(runs: usize, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// Measure everything.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let file = lock(5_000, 1_000);
    let megabytes = file.len() / 100_000;
    rows.push(Row {
        what: format!("parse a flake.lock of {}.{} MB, 5,000 nodes", megabytes / 10, megabytes % 10),
        median: median(15, || drop(black_box(Lock::parse(file.as_bytes()).expect("it is well formed")))),
    });
    rows.push(Row {
        what: "the same bytes as plain JSON values".to_owned(),
        median: median(15, || {
            drop(black_box(serde_json::from_str::<serde_json::Value>(&file).expect("it is JSON")));
        }),
    });
    for count in [55, 1_000] {
        let modules = modules(count);
        let lock = Lock::parse(lock(count * 5, count).as_bytes()).expect("it is well formed");
        let wiring = Wiring { lock: Some(lock), own: BTreeMap::new(), ..Wiring::default() };
        rows.push(Row {
            what: format!("graph of {count} modules, {} lock nodes", count * 5),
            median: median(9, || drop(black_box(build(&modules, &wiring)))),
        });
        let graph = build(&modules, &wiring);
        let id = |byte| ObjectId::from_bytes(&[byte; 20]);
        let upgrades: Vec<Upgrade> = modules
            .iter()
            .map(|module| Upgrade {
                name: module.name.clone(),
                path: module.path.clone(),
                status: Status::Behind,
                behind: Some(1),
                ahead: Some(0),
                from: id(1),
                to: id(2),
                branch: None,
                reason: "1 commit behind".to_owned(),
            })
            .collect();
        let snapshot = Snapshot {
            superproject: SuperprojectState {
                head: None,
                branch: None,
                operation: None,
                index_locked: false,
                tree: TreeState::default(),
            },
            modules: Vec::new(),
            refused: Vec::new(),
        };
        let limits = PlanLimits { max_steps: usize::MAX, max_pins: usize::MAX };
        rows.push(Row {
            what: format!("plan of {count} modules, all behind"),
            median: median(9, || drop(black_box(plan(&snapshot, &graph, &upgrades, &[], &limits)))),
        });
    }
    rows
}
