//! Every trouble that a sample can have is there, as git sees it.

mod support;

use lambda_os::sample::{SampleModule, SampleSpec, Trouble};
use support::{Canaries, Workspace, git, git_bytes, git_command};

fn with(trouble: Trouble) -> Workspace {
    Workspace::new(&SampleSpec::sized(28, 12).with([trouble]))
}

fn status(module: &SampleModule) -> String {
    git(&module.checkout, ["status", "--porcelain=v1", "--untracked-files=all"])
}

fn counts(repository: &std::path::Path, range: &str) -> String {
    git(repository, ["rev-list", "--left-right", "--count", range]).trim().replace('\t', " ")
}

#[test]
fn an_uninitialised_module_is_empty() {
    let workspace = with(Trouble::Uninitialised);
    let module = workspace.sample.victim(Trouble::Uninitialised);
    let status = git(workspace.path(), ["submodule", "status", &module.path.to_string()]);
    assert!(status.starts_with(&format!("-{}", module.pinned)), "{status}");
}

#[test]
fn checkouts_stand_to_the_gitlink_as_asked() {
    for (trouble, expected) in [
        (Trouble::AheadCheckout, "0 2"),
        (Trouble::DivergedCheckout, "1 1"),
        (Trouble::BehindCheckout, "1 0"),
        (Trouble::OnBranch, "0 0"),
    ] {
        let workspace = with(trouble);
        let module = workspace.sample.victim(trouble);
        let counted = counts(&module.checkout, &format!("{}...HEAD", module.pinned));
        let behind_two = trouble != Trouble::AheadCheckout && trouble != Trouble::OnBranch;
        let also = expected.replacen('1', "2", 1);
        assert!(counted == expected || behind_two && counted == also, "{trouble:?}: {counted}");
        let head = git_command(&module.checkout).args(["symbolic-ref", "-q", "HEAD"]).output().expect("git");
        assert_eq!(
            head.status.success(),
            matches!(trouble, Trouble::AheadCheckout | Trouble::OnBranch),
            "{trouble:?}"
        );
        assert_eq!(status(module), "", "{trouble:?}");
        git(&module.checkout, ["fsck", "--strict"]);
    }
}

#[test]
fn pins_stand_to_upstream_as_asked() {
    for trouble in [Trouble::AheadPin, Trouble::DivergedPin, Trouble::UpstreamRewound] {
        let workspace = with(trouble);
        let module = workspace.sample.victim(trouble);
        git(&module.checkout, ["fetch", "-q", "origin"]);
        let counted = counts(&module.checkout, &format!("{}...{}", module.pinned, module.tip));
        assert_eq!(counted, format!("{} {}", module.ahead, module.behind), "{trouble:?}");
        match trouble {
            Trouble::AheadPin => assert_eq!((module.ahead, module.behind), (1, 0)),
            _ => assert!(module.ahead > 0 && module.behind > 0, "{trouble:?}: {counted}"),
        }
    }
}

#[test]
fn a_shallow_clone_has_one_commit() {
    let workspace = with(Trouble::Shallow);
    let module = workspace.sample.victim(Trouble::Shallow);
    assert_eq!(git(&module.checkout, ["rev-parse", "--is-shallow-repository"]).trim(), "true");
    assert_eq!(git(&module.checkout, ["rev-list", "--count", "HEAD"]).trim(), "1");
    assert_eq!(status(module), "");
    git(&module.checkout, ["fsck", "--strict"]);
    git(&module.checkout, ["fetch", "-q", "--unshallow"]);
    assert_ne!(git(&module.checkout, ["rev-list", "--count", "HEAD"]).trim(), "1");
}

#[test]
fn work_trees_are_dirty_as_asked() {
    for (trouble, expected) in [
        (Trouble::DirtyModule, " M README.md\n M scripts/build.sh\n D src/state.txt\n"),
        (Trouble::UntrackedModule, "?? notes.txt\n?? src/new/part.cpp\n"),
        (Trouble::StagedModule, "A  src/staged.txt\nM  src/state.txt\n"),
        (Trouble::HiddenEntries, ""),
    ] {
        let workspace = with(trouble);
        let module = workspace.sample.victim(trouble);
        assert_eq!(status(module), expected, "{trouble:?}");
        if trouble == Trouble::HiddenEntries {
            let flags = git(&module.checkout, ["ls-files", "-v", "README.md", "src/state.txt"]);
            assert_eq!(flags, "S README.md\nh src/state.txt\n");
        }
    }
}

#[test]
fn the_superproject_is_dirty_as_asked() {
    for (trouble, expected) in [
        (Trouble::DirtySuperproject, " M README.md\n"),
        (Trouble::UntrackedSuperproject, "?? .env\n?? notes/todo.txt\n"),
        (Trouble::StagedSuperproject, "A  docs/staged.md\n"),
    ] {
        let workspace = with(trouble);
        let status = git(workspace.path(), ["status", "--porcelain=v1", "--untracked-files=all"]);
        assert_eq!(status, expected, "{trouble:?}");
    }
}

#[test]
fn pins_are_incoherent_as_asked() {
    let committed =
        |workspace: &Workspace, path: &str| git(workspace.path(), ["show", &format!("HEAD:{path}")]);

    let workspace = with(Trouble::IncoherentGitlink);
    let module = workspace.sample.victim(Trouble::IncoherentGitlink);
    assert!(!committed(&workspace, "flake.lock").contains(&module.pinned.to_string()));
    assert!(git(workspace.path(), ["submodule", "status"]).contains(&format!(" {}", module.pinned)));

    let workspace = with(Trouble::IncoherentUrl);
    let module = workspace.sample.victim(Trouble::IncoherentUrl);
    let flake = committed(&workspace, "flake.nix");
    assert!(flake.contains(&format!("github:{}/{}/", module.owner, module.repo)), "{flake}");
    assert!(!flake.contains(&module.pinned.to_string()));
    assert!(committed(&workspace, "flake.lock").contains(&module.pinned.to_string()));

    let stale = with(Trouble::StaleDepGraph);
    let module = stale.sample.victim(Trouble::StaleDepGraph);
    let plain = Workspace::new(&SampleSpec::sized(28, 12));
    let (stale, fresh) = (committed(&stale, "nix/dep-graph.nix"), committed(&plain, "nix/dep-graph.nix"));
    assert!(stale.len() < fresh.len() && stale.contains(module.input.as_deref().expect("an input")));
}

#[test]
fn remotes_are_missing_as_asked() {
    let workspace = with(Trouble::MissingRemote);
    let module = workspace.sample.victim(Trouble::MissingRemote);
    let url = git(workspace.path(), ["config", &format!("submodule.{}.url", module.path)]);
    assert!(!std::path::Path::new(url.trim()).exists());

    let workspace = with(Trouble::MissingBranch);
    let module = workspace.sample.victim(Trouble::MissingBranch);
    let key = format!("submodule.{}.branch", module.path);
    let branch = git(workspace.path(), ["config", "-f", ".gitmodules", &key]);
    assert_eq!(git(&module.upstream, ["for-each-ref", &format!("refs/heads/{}", branch.trim())]), "");
}

#[test]
fn hard_file_names_are_tracked_and_untracked() {
    let workspace = with(Trouble::HostileFileNames);
    let module = workspace.sample.victim(Trouble::HostileFileNames);
    let listed = git_bytes(&module.checkout, ["ls-files", "-z"]);
    let untracked = git_bytes(&module.checkout, ["ls-files", "-z", "--others"]);
    for all in [listed, untracked] {
        assert!(all.windows(2).any(|pair| pair == b"\xff\xfe"), "not UTF-8");
        assert!(all.contains(&b'\n'));
        assert!(all.split(|byte| *byte == 0).any(|path| path.len() > 3000));
    }
    assert_eq!(git(&module.checkout, ["status", "--porcelain", "--untracked-files=no"]), "");
    git(&module.checkout, ["fsck", "--strict"]);
}

#[test]
fn hostile_configuration_really_runs_under_git() {
    let workspace = with(Trouble::HostileConfig);
    let module = workspace.sample.victim(Trouble::HostileConfig);
    let canaries = Canaries::new(workspace.sample.canaries.clone());
    canaries.assert_silent();
    // The point of it: plain git in that module does run something.
    let _ = git_command(&module.checkout).args(["-c", "alias.x=x", "status"]).output().expect("git starts");
    assert!(std::fs::read_dir(&workspace.sample.canaries).expect("read").count() > 0, "the canary is dead");
}

#[test]
fn hostile_modules_are_in_gitmodules_and_index() {
    let workspace = with(Trouble::HostileModules);
    let modules = git_bytes(workspace.path(), ["config", "-z", "-f", ".gitmodules", "--list"]);
    let modules = String::from_utf8(modules).expect("UTF-8");
    for needle in [
        "submodule.../../../evil.path",
        "\n../outside",
        "\next::sh",
        "\n-oProxy",
        "return\r",
        "submodule.twice-two",
    ] {
        assert!(modules.contains(needle), "{needle:?} in {modules:?}");
    }
    let index = git_bytes(workspace.path(), ["ls-files", "-s", "-z"]);
    let index = String::from_utf8(index).expect("UTF-8");
    for path in ["\t-upath\0", "\trepos/Hostile-Case\0", "\trepos/hostile-case\0", "return\r\0"] {
        assert!(index.contains(path), "{path:?}");
    }
    let link = workspace.path().join("repos/hostile-link");
    assert!(link.symlink_metadata().expect("there").is_symlink());
}

#[test]
fn all_trouble_at_once_can_be_had() {
    let spec = SampleSpec::sized(55, 12).with(Trouble::ALL);
    let workspace = Workspace::new(&spec);
    let hit = Trouble::ALL.iter().filter(|trouble| trouble.hits_a_module()).count();
    assert_eq!(workspace.sample.victims.len(), hit);
    let names: std::collections::BTreeSet<_> = workspace.sample.victims.values().collect();
    assert_eq!(names.len(), hit, "each hits another module");
    let again = Workspace::new(&spec);
    assert_eq!(workspace.sample.head, again.sample.head);
    let error = SampleSpec::sized(3, 12).with(Trouble::ALL).build(&workspace.state()).expect_err("too few");
    assert!(error.hint.is_some(), "{error}");
}

#[test]
fn upstreams_move_on_request() {
    let mut workspace = Workspace::new(&SampleSpec::sized(5, 10));
    let name = workspace.sample.modules[3].name.clone();
    let before = workspace.sample.module(&name).clone();
    let pushed = workspace.sample.push_commit(&name, "news").expect("pushed");
    let module = workspace.sample.module(&name);
    assert_eq!((module.tip, module.behind), (pushed, before.behind + 1));
    assert_eq!(git(&module.upstream, ["rev-parse", "HEAD^"]).trim(), before.tip.to_string());
    git(&module.upstream, ["fsck", "--strict"]);
    let rewound = workspace.sample.rewind_upstream(&name, 1).expect("rewound");
    let module = workspace.sample.module(&name);
    assert_eq!(git(&module.upstream, ["rev-parse", "HEAD"]).trim(), rewound.to_string());
    assert_eq!(counts(&module.upstream, &format!("{pushed}...{rewound}")), "1 1");
}
