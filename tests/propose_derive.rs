//! Changes derived from a sample workspace, beside what a person gets with git for the same pins.

mod support;

use std::fs;
use std::path::Path;

use lambda_os::adapters::git::{DiscoverSettings, Environment, GitRepository};
use lambda_os::adapters::mirrors::Mirrors;
use lambda_os::domain::change::{EditPlace, PathContent, PathEdit};
use lambda_os::domain::id::ModuleName;
use lambda_os::domain::module::Discovery;
use lambda_os::ops::propose::{Ask, Derived, NotDerived, derive_one};
use lambda_os::ports::Repository as _;
use lambda_os::sample::{SampleModule, SampleSpec, UrlStyle};

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
