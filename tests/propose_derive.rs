//! Changes derived from a sample workspace, beside what a person gets with git for the same pins.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::domain::change::{EditPlace, PathContent, PathEdit};
use lambda_os::domain::id::ModuleName;
use lambda_os::domain::module::Discovery;
use lambda_os::ops::propose::{Ask, Derived, NotDerived, derive_one};
use lambda_os::ports::Repository as _;
use lambda_os::sample::{SampleModule, SampleSpec, Trouble, UrlStyle};

use support::nix::{Nix, copy_of_commit, store_sources};
use support::{Fingerprint, Workspace, git, git_command};

/// A sample workspace with everything that deriving needs.
struct World {
    workspace: Workspace,
    repository: GitRepository,
    mirrors: Mirrors,
    discovery: Discovery,
}

impl World {
    fn new(spec: &SampleSpec) -> Self {
        let workspace = Workspace::new(spec);
        // The first cycle mirrors every upstream.
        workspace.lambda_os().args(["run", "--once"]).assert().code(0);
        let settings = DiscoverSettings { allow_local_urls: true, ..DiscoverSettings::default() };
        let repository =
            GitRepository::open_in(workspace.path(), settings, Environment::default()).expect("it opens");
        let mirrors =
            Mirrors::open(&workspace.state().join("mirrors"), workspace.path(), repository.common_dir());
        let discovery = repository.discover().expect("modules");
        Self { workspace, repository, mirrors, discovery }
    }

    fn head(&self) -> String {
        git(self.workspace.path(), ["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn derive_on(&self, base: &str, asks: &[Ask]) -> Result<Derived, NotDerived> {
        let base = base.parse().expect("an id");
        let modules = &self.discovery.modules;
        derive_one(&self.repository, &self.mirrors, modules, "w", base, asks).expect("it can be read")
    }

    fn derive(&self, asks: &[Ask]) -> Result<Derived, NotDerived> {
        self.derive_on(&self.head(), asks)
    }

    fn module(&self, name: &str) -> &SampleModule {
        self.workspace.sample.module(name)
    }

    fn behind(&self) -> impl Iterator<Item = &SampleModule> {
        self.workspace.sample.modules.iter().filter(|module| module.behind > 0)
    }

    /// Commit a tree on HEAD as `main`, as if it had been applied; gives the commit.
    fn land(&self, derived: &Derived) -> String {
        let tree = by_hand(self.workspace.path(), &self.head(), &derived.edits);
        let commit = git(self.workspace.path(), ["commit-tree", &tree, "-p", &self.head(), "-m", "applied"]);
        git(self.workspace.path(), ["update-ref", "refs/heads/main", commit.trim()]);
        commit.trim().to_owned()
    }
}

fn tip(module: &SampleModule) -> Ask {
    Ask { module: ModuleName::new(&module.name), to: module.tip }
}

/// The tree that a person gets: an index of the base, each entry put in it, written.
fn by_hand(repository: &Path, base: &str, edits: &[PathEdit]) -> String {
    let temp = support::temp_dir();
    let run = |args: &[&str]| {
        let mut command = git_command(repository);
        command.env("GIT_INDEX_FILE", temp.path().join("index")).args(args);
        let output = command.output().expect("git runs");
        assert!(output.status.success(), "{args:?}\n{}", support::said(&output));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    run(&["read-tree", base]);
    for edit in edits {
        let (mode, id) = match &edit.new {
            PathContent::Gitlink(commit) => ("160000", commit.to_string()),
            PathContent::File { executable, content } => {
                let file = temp.path().join("content");
                fs::write(&file, content).expect("written");
                let id = run(&["hash-object", "-w", "--no-filters", &file.to_string_lossy()]);
                (if *executable { "100755" } else { "100644" }, id)
            }
        };
        run(&["update-index", "--add", "--cacheinfo", &format!("{mode},{id},{}", edit.path)]);
    }
    run(&["write-tree"])
}

#[test]
fn every_module_that_is_behind_is_derived_and_its_tree_is_what_git_makes_of_it() {
    for style in [UrlStyle::Unpinned, UrlStyle::AutoInputs] {
        let world = World::new(&SampleSpec { style, ..SampleSpec::sized(24, 5) });
        let before = Fingerprint::of(&world.workspace.sample.root);
        let derived: Vec<(&SampleModule, Derived)> = world
            .behind()
            .map(|module| {
                let derived = world.derive(&[tip(module)]);
                (module, derived.unwrap_or_else(|why| panic!("{}: {why}", module.name)))
            })
            .collect();
        before.assert_equal(&Fingerprint::of(&world.workspace.sample.root));
        assert!(derived.len() > 5, "only {} are behind", derived.len());
        for (module, derived) in derived {
            assert_eq!(derived.tree.to_string(), by_hand(world.workspace.path(), "HEAD", &derived.edits));
            let paths: Vec<String> = derived.edits.iter().map(|edit| edit.path.to_string()).collect();
            let files = match (&module.input, style) {
                (None, _) => vec![],
                (Some(_), UrlStyle::Unpinned) => vec!["flake.lock"],
                (Some(_), UrlStyle::AutoInputs) => vec!["flake.lock", "flake.nix"],
            };
            let gitlink = module.path.to_string();
            let expected: Vec<&str> = files.into_iter().chain([gitlink.as_str()]).collect();
            let moved: Vec<&String> = paths.iter().filter(|path| *path != "nix/dep-graph.nix").collect();
            assert_eq!(moved, expected, "{}", module.name);
            let said = derived.notes.iter().any(|note| note.contains("its gitlink moves alone"));
            assert_eq!(said, module.input.is_none(), "{:?}", derived.notes);
            let places: Vec<EditPlace> = derived.delta.edits.iter().map(|edit| edit.place).collect();
            assert_eq!(places.contains(&EditPlace::FlakeLock), module.input.is_some());
            assert_eq!(derived.delta.pins.len(), 1);
            assert!(derived.delta.pins[0].from.nar.is_some() && derived.delta.pins[0].to.nar.is_some());
        }
    }
}

#[test]
fn a_change_keeps_its_identity_when_another_one_lands_first() {
    let world = World::new(&SampleSpec { style: UrlStyle::AutoInputs, ..SampleSpec::sized(24, 4) });
    let behind: Vec<&SampleModule> = world.behind().collect();
    let before: Vec<Derived> =
        behind.iter().map(|module| world.derive(&[tip(module)]).expect("derived")).collect();
    let head = world.land(&before[0]);
    for (module, before) in behind.iter().zip(&before).skip(1) {
        let after = world.derive_on(&head, &[tip(module)]).expect("derived");
        assert_eq!(after.delta, before.delta, "{}", module.name);
        assert_eq!(after.change, before.change);
        assert_ne!(after.tree, before.tree);
    }
    assert_eq!(world.derive_on(&head, &[tip(behind[0])]), Err(NotDerived::Nothing));
}

#[test]
fn the_current_nix_accepts_every_lock_that_is_proposed_as_it_is() {
    let Some(program) = support::nix::current("that Nix accepts the locks of proposals") else { return };
    for style in [UrlStyle::Unpinned, UrlStyle::AutoInputs] {
        let world = World::new(&SampleSpec { style, ..SampleSpec::sized(16, 5) });
        let dir = world.workspace.temp.path();
        let nix = Nix::at(&program, dir);
        let head = world.head();
        let cycle = ["sample-libcore", "sample-capability-module"].map(|name| tip(world.module(name)));
        let alone = world.behind().filter(|module| module.input.is_some()).map(|module| vec![tip(module)]);
        let mut accepted = 0;
        for (at, asks) in alone.chain([cycle.to_vec()]).enumerate() {
            let derived = match world.derive_on(&head, &asks) {
                Ok(derived) => derived,
                Err(NotDerived::Nothing) => continue,
                Err(why) => panic!("{asks:?}: {why}"),
            };
            world.land(&derived);
            let flake = copy_of_commit(world.workspace.path(), &dir.join(format!("flake-{at}")));
            store_sources(&nix, &world.workspace.sample, &flake.join("flake.lock"), &dir.join("exports"));
            nix.accepts_lock(&flake);
            nix.evaluates(&flake.join("nix/dep-graph.nix"));
            git(world.workspace.path(), ["update-ref", "refs/heads/main", &head]);
            accepted += 1;
        }
        assert!(accepted > 3, "only {accepted} locks were tried");
    }
}

#[test]
fn what_is_wrong_elsewhere_in_the_lock_stops_nobody_and_stays_as_it_is() {
    let spec = SampleSpec { style: UrlStyle::AutoInputs, ..SampleSpec::sized(24, 4) };
    let world = World::new(&spec.with([Trouble::IncoherentUrl]));
    let victim = world.workspace.sample.victim(Trouble::IncoherentUrl);
    let input = victim.input.clone().expect("an input");
    let before = world.derive(&[Ask { module: ModuleName::new(&victim.name), to: victim.pinned }]);
    let places: BTreeSet<EditPlace> =
        before.expect("realigned").delta.edits.iter().map(|edit| edit.place).collect();
    assert!(places.contains(&EditPlace::FlakeNix), "{places:?}");
    let mut tried = 0;
    for module in world.behind().filter(|module| module.name != victim.name) {
        let derived = world.derive(&[tip(module)]).unwrap_or_else(|why| panic!("{}: {why}", module.name));
        let touched = derived.delta.edits.iter().filter(|edit| edit.place == EditPlace::FlakeLock);
        assert!(touched.clone().all(|edit| Some(&edit.at[0]) == module.input.as_ref()), "{}", module.name);
        assert!(touched.clone().all(|edit| edit.at[0] != input));
        tried += 1;
    }
    assert!(tried > 3);
}

#[test]
fn what_cannot_be_locked_is_refused_with_its_reason() {
    let world = World::new(&SampleSpec::sized(12, 4));
    let module = world.behind().find(|module| module.input.is_some()).expect("one is behind");
    let name = ModuleName::new(&module.name);
    let ask = |to: &str| [Ask { module: name.clone(), to: to.parse().expect("an id") }];
    let head = world.head();
    assert_eq!(world.derive(&ask(&head)), Err(NotDerived::OwnCommit(name.clone())));
    assert_eq!(world.derive(&[]), Err(NotDerived::NoPins));
    let twice = [tip(module), tip(module)];
    assert_eq!(world.derive(&twice), Err(NotDerived::Twice(name.clone())));
    let away = world.derive(&ask(&"7".repeat(40))).expect_err("it is nowhere");
    assert!(away.may_pass() && away.to_string().contains(&"7".repeat(12)), "{away}");
    let pinned = module.pinned.to_string();
    assert_eq!(world.derive(&ask(&pinned)), Err(NotDerived::Nothing));
    // A flake.nix upstream that Nix refuses.
    let blob = {
        let file = world.workspace.temp.path().join("flake.nix");
        fs::write(&file, "{ inputs.x = import ./x; outputs = _: { }; }\n").expect("written");
        git(&module.upstream, ["hash-object", "-w", &file.to_string_lossy()])
    };
    let temp = support::temp_dir();
    let run = |args: &[&str]| {
        let mut command = git_command(&module.upstream);
        command.env("GIT_INDEX_FILE", temp.path().join("index")).args(args);
        String::from_utf8(command.output().expect("git runs").stdout).expect("text").trim().to_owned()
    };
    run(&["read-tree", &module.tip.to_string()]);
    run(&["update-index", "--cacheinfo", &format!("100644,{},flake.nix", blob.trim())]);
    let tree = run(&["write-tree"]);
    let bad = run(&["commit-tree", &tree, "-p", &module.tip.to_string(), "-m", "bad"]);
    git(&module.upstream, ["update-ref", &format!("refs/heads/{}", module.branch), &bad]);
    let output = world.workspace.lambda_os().args(["run", "--once", "--json"]).output().expect("it runs");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    let rows = report["not_proposed"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["pins"][0]["module"] == module.name.as_str()).expect("its row");
    let reason = row["reason"].as_str().expect("a reason");
    assert!(reason.contains("flake.nix") && reason.contains("line 1"), "{reason}");
    // The others go on, and what was proposed before stands as it was.
    assert_eq!(rows.len(), 1);
    assert_eq!(report["plan"]["steps"].as_array().map(Vec::len), Some(count(&report)));
    let tip = module.tip.to_string();
    let open = report["proposals"].as_array().expect("proposals");
    assert!(open.iter().any(|row| row["pins"][0]["to"] == tip.as_str()));
}

fn count(report: &serde_json::Value) -> usize {
    report["proposals"]
        .as_array()
        .expect("proposals")
        .iter()
        .filter(|row| row["purpose"] == "upgrade")
        .count()
}
