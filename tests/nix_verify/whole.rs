//! The whole story through the program: every module of a sample workspace is evaluated, built in Nix's
//! own sandbox and loaded in a host; a bad commit upstream is named and the rest proposed together; a
//! regression is taken back. There is no network.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::domain::id::{ModuleName, ObjectId};
use lambda_os::ops::propose::{Ask, derive_one};
use lambda_os::ports::{Repository as _, Superproject as _};
use lambda_os::sample::SampleSpec;
use serde_json::Value;

use crate::host;
use crate::support::{Workspace, git, lambda_os, said};
use crate::world::{CLOSED, PLAIN, alone};

/// A workspace that verifies by all three steps, and the environment that it is told about Nix.
struct Whole<'a> {
    workspace: Workspace,
    nix: &'a Path,
}

impl<'a> Whole<'a> {
    fn new(nix: &'a Path, spec: &SampleSpec) -> Self {
        let workspace = Workspace::new(spec);
        let host = host::programs("new").join("logos_host");
        let mut config = format!(
            "[workspace]\nallow_local_urls = true\n[verify]\nsteps = [\"eval\", \"build\", \"host\"]\n\
             [verify.host]\nprogram = \"{}\"\nsettle_ms = 100\n",
            host.display()
        );
        for module in &workspace.sample.modules {
            // What is no flake is not built, and what is no plugin has nothing to load.
            if !module.flake || module.plugin.is_none() {
                let steps = if module.flake { "\"eval\", \"build\"" } else { "" };
                let _ = writeln!(config, "[modules.{}]\nsteps = [{steps}]", module.name);
            }
        }
        fs::write(workspace.temp.path().join("whole.toml"), config).expect("written");
        let whole = Self { workspace, nix };
        whole.must(&["init"]);
        whole
    }

    fn run(&self, args: &[&str]) -> (i32, String) {
        let temp = self.workspace.temp.path();
        let bin = self.nix.parent().expect("a directory").to_string_lossy().into_owned();
        let mut command = lambda_os(temp);
        command.env("PATH", format!("{bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"));
        command.env("NIX_CONFIG", format!("{PLAIN}{CLOSED}")).env("USER", "root");
        command.arg("-C").arg(self.workspace.path()).arg("--state-dir").arg(self.workspace.state());
        command.arg("--config").arg(temp.join("whole.toml")).args(args);
        let output = command.output().expect("it runs");
        let code = output.status.code().unwrap_or_else(|| panic!("{args:?}: {}", said(&output)));
        assert!(matches!(code, 0 | 3), "{args:?}: {}", said(&output));
        (code, String::from_utf8(output.stdout).expect("text"))
    }

    fn must(&self, args: &[&str]) -> String {
        let (code, told) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {told}");
        told
    }

    fn json(&self, args: &[&str]) -> (i32, Value) {
        let (code, told) = self.run(&[args, &["--json"]].concat());
        (code, serde_json::from_str(&told).expect("JSON"))
    }
}

fn rows<'v>(value: &'v Value, key: &str) -> &'v Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("{key} in {value}"))
}

#[test]
fn a_workspace_is_evaluated_built_and_loaded_and_heals_without_a_network() {
    alone("whole::a_workspace_is_evaluated_built_and_loaded_and_heals_without_a_network", |nix| {
        let mut whole = Whole::new(nix, &SampleSpec::sized(24, 14));
        let (code, first) = whole.json(&["run", "--once"]);
        let mut strong = 0;
        for row in rows(&first, "health") {
            let module = whole.workspace.sample.module(row["name"].as_str().expect("a name"));
            if module.flake {
                assert_eq!(
                    (&row["verdict"], &row["strength"]),
                    (&"healthy".into(), &"strong".into()),
                    "{row}"
                );
                strong += 1;
            } else {
                assert_eq!(row["verdict"], "unknown", "{row}");
            }
        }
        assert!(strong >= 18, "{strong} are verified");
        assert_eq!(code, 0, "{first:#}");
        // Nothing is run again, and nothing is written but the frame of a cycle.
        let (_, again) = whole.json(&["verify"]);
        assert!(rows(&again, "modules").iter().all(|row| row["from"] != "run"), "{again:#}");

        // A bad commit upstream: the rest is proposed together, and it is named.
        let leaf = |whole: &Whole<'_>, but: &str| {
            let modules = &whole.workspace.sample.modules;
            let used =
                |name: &str| modules.iter().any(|other| other.dependencies.iter().any(|it| it == name));
            let found = modules.iter().find(|module| {
                module.flake
                    && module.plugin.is_some()
                    && module.behind == 0
                    && module.ahead == 0
                    && module.name != but
                    && !used(&module.name)
            });
            found.expect("a leaf").name.clone()
        };
        let culprit = leaf(&whole, "");
        let regressed = leaf(&whole, &culprit);
        whole.workspace.sample.push_broken(&culprit, "it does not build").expect("pushed");
        let (_, second) = whole.json(&["run", "--once"]);
        let proposed: Vec<&Value> =
            rows(&second, "proposals").iter().flat_map(|row| rows(row, "pins")).collect();
        assert!(proposed.len() > 2, "{second:#}");
        assert!(proposed.iter().all(|pin| pin["module"] != culprit.as_str()), "{proposed:?}");
        let blamed = rows(&second, "not_proposed").iter().find(|row| row.to_string().contains(&culprit));
        let blamed = blamed.unwrap_or_else(|| panic!("{culprit} is not named: {second:#}"));
        assert!(blamed["reason"].as_str().is_some_and(|why| why.contains("build")), "{blamed}");

        // A regression: somebody pins a broken revision in all its places.
        let good = whole.workspace.sample.module(&regressed).pinned;
        let broken = whole.workspace.sample.push_broken(&regressed, "it does not build").expect("pushed");
        pin_by_hand(&whole, &regressed, broken);
        let (_, third) = whole.json(&["run", "--once"]);
        let healed = rows(&third["heal"], "healed");
        assert_eq!(healed.len(), 1, "{:#}", third["heal"]);
        assert_eq!(
            (&healed[0]["module"], &healed[0]["to"]),
            (&regressed.as_str().into(), &good.to_string().into())
        );
        let gitlink = git(
            whole.workspace.path(),
            ["rev-parse", &format!("HEAD:repos/{}", directory(&whole, &regressed))],
        );
        assert_eq!(gitlink.trim(), good.to_string());
        let (_, status) = whole.run(&["status"]);
        assert!(status.contains(&regressed) && status.contains("bafkrei"), "{status}");
        whole.must(&["audit", "verify"]);
    });
}

fn directory(whole: &Whole<'_>, module: &str) -> String {
    let path = whole.workspace.sample.module(module).path.to_string();
    path.trim_start_matches("repos/").to_owned()
}

/// Somebody commits a pin in all its places, without a look at what it does, and it is pulled here.
fn pin_by_hand(whole: &Whole<'_>, name: &str, to: ObjectId) {
    let module = whole.workspace.sample.module(name);
    let checkout = whole.workspace.path().join(module.path.to_string());
    git(&checkout, ["fetch", "-q", &module.upstream.to_string_lossy(), &module.branch]);
    git(&checkout, ["checkout", "-q", &to.to_string()]);
    let settings = DiscoverSettings { allow_local_urls: true, ..DiscoverSettings::default() };
    let repository =
        GitRepository::open_in(whole.workspace.path(), settings, Environment::default()).expect("it opens");
    let mirrors = Mirrors::open(
        &whole.workspace.state().join("mirrors"),
        whole.workspace.path(),
        repository.common_dir(),
    );
    let modules = repository.discover().expect("modules").modules;
    let head = repository.head().expect("read").expect("a commit");
    let asks = [Ask { module: ModuleName::new(name), to }];
    let derived =
        derive_one(&repository, &mirrors, &modules, "w", head, &asks).expect("read").expect("derived");
    let commit =
        repository.commit(head, &derived.edits, "take the newest\n", 1_800_000_000_000).expect("made");
    git(whole.workspace.path(), ["merge", "-q", "--ff-only", &commit.to_string()]);
}
