//! A sample workspace is what it says, as git sees it.

mod support;

use lambda_os::sample::{DepGraphSchema, SampleSpec, UrlStyle};
use support::odd::OddForm;
use support::{Fingerprint, Workspace, git, temp_dir};

#[test]
fn git_finds_a_whole_and_clean_workspace() {
    let workspace = Workspace::new(&SampleSpec::sized(23, 12));
    let path = workspace.path();
    assert_eq!(git(path, ["status", "--porcelain=v2", "--untracked-files=all"]), "");
    git(path, ["fsck", "--strict", "--full"]);
    let status = git(path, ["submodule", "status"]);
    assert_eq!(status.lines().count(), 23);
    for module in &workspace.sample.modules {
        git(&module.upstream, ["fsck", "--strict", "--full"]);
        git(&module.checkout, ["fsck", "--strict", "--full"]);
        assert_eq!(git(&module.checkout, ["status", "--porcelain=v2"]), "");
        assert!(status.contains(&format!(" {} {} ", module.pinned, module.path)), "{status}");
        let branch = format!("refs/heads/{}", module.branch);
        assert_eq!(git(&module.upstream, ["symbolic-ref", "HEAD"]).trim(), branch);
        assert_eq!(git(&module.upstream, ["rev-parse", "HEAD"]).trim(), module.tip.to_string());
        let behind = git(&module.upstream, ["rev-list", "--count", &format!("{}..HEAD", module.pinned)]);
        assert_eq!(behind.trim(), module.behind.to_string(), "{}", module.name);
        assert_eq!(git(&module.checkout, ["ls-files"]).lines().count(), 12, "{}", module.name);
        // git accepts our index as its own: writing it again finds the same tree.
        assert_eq!(
            git(&module.checkout, ["write-tree"]),
            git(&module.checkout, ["rev-parse", "HEAD^{tree}"])
        );
    }
    assert!(workspace.sample.modules.iter().any(|module| module.behind > 1));
}

#[test]
fn git_can_clone_and_fetch_what_was_made() {
    let workspace = Workspace::new(&SampleSpec::sized(4, 10));
    let module = &workspace.sample.modules[3];
    let clone = workspace.temp.path().join("clone");
    git(workspace.temp.path(), ["clone", "-q", &module.upstream.to_string_lossy(), &clone.to_string_lossy()]);
    assert_eq!(git(&clone, ["rev-parse", "HEAD"]).trim(), module.tip.to_string());
    git(&module.checkout, ["fetch", "-q", "origin"]);
    let remote = format!("origin/{}", module.branch);
    assert_eq!(git(&module.checkout, ["rev-parse", &remote]).trim(), module.tip.to_string());
}

#[test]
fn equal_specifications_give_equal_workspaces() {
    let spec = SampleSpec { style: UrlStyle::AutoInputs, ..SampleSpec::sized(12, 14) };
    let (one, two) = (Workspace::new(&spec), Workspace::new(&spec));
    assert_eq!(one.sample.head, two.sample.head);
    // The index holds stat data and git's configuration holds absolute paths.
    let bare = |workspace: &Workspace| {
        let mut all = Fingerprint::of(&workspace.sample.root);
        all.0.retain(|path, _| !path.ends_with("index") && !path.ends_with("config"));
        all
    };
    bare(&one).assert_equal(&bare(&two));
    let other = Workspace::new(&SampleSpec { seed: 1, ..spec });
    assert_ne!(one.sample.head, other.sample.head);
}

#[test]
fn a_directory_that_holds_something_is_refused() {
    let dir = temp_dir();
    std::fs::write(dir.path().join("precious"), "").expect("written");
    let error = SampleSpec::sized(1, 1).build(dir.path()).expect_err("it is refused");
    assert!(error.to_string().contains("not empty"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 1);
}

/// The ids of samples are part of what people can compare: they change only on purpose.
#[test]
fn commit_ids_are_the_same_everywhere() {
    let plain = SampleSpec::sized(26, 12);
    let pinned = SampleSpec { style: UrlStyle::AutoInputs, dep_graph: DepGraphSchema::Old, ..plain.clone() };
    for (spec, head) in [
        (plain, "2fc2cf4b1c91de44e0178d049c862e617faa5574"),
        (pinned, "46ec7aa41f955bcda64a0a42f2d0956d0b14589d"),
    ] {
        assert_eq!(Workspace::new(&spec).sample.head.to_string(), head, "{spec:?}");
    }
}

#[test]
fn the_lock_has_the_shapes_of_a_real_one() {
    let workspace = Workspace::new(&SampleSpec::sized(55, 12));
    let lock = std::fs::read(workspace.path().join("flake.lock")).expect("read");
    let lock: serde_json::Value = serde_json::from_slice(&lock).expect("JSON");
    let nodes = lock["nodes"].as_object().expect("nodes");
    let root = nodes["root"]["inputs"].as_object().expect("inputs");
    let suffixed = root.iter().filter(|(name, node)| node.as_str() != Some(name)).count();
    let paths: Vec<usize> = nodes
        .values()
        .filter_map(|node| node["inputs"].as_object())
        .flat_map(|inputs| inputs.values().filter_map(|edge| edge.as_array().map(Vec::len)))
        .collect();
    assert!(suffixed >= 3, "root inputs that lead to suffixed nodes: {suffixed}");
    assert!(paths.contains(&1) && paths.iter().any(|length| *length > 2), "{paths:?}");
    assert!(nodes.values().any(|node| node["flake"] == false));
    assert!((60..1000).contains(&nodes.len()), "{} nodes", nodes.len());
    let no_input = workspace.sample.modules.iter().filter(|module| module.input.is_none()).count();
    let no_flake = workspace.sample.modules.iter().filter(|module| !module.flake).count();
    assert!(no_input > 0 && no_flake > no_input);
}

#[test]
fn git_puts_a_checkout_into_every_odd_form() {
    for form in OddForm::ALL.into_iter().filter(|form| form.is_possible()) {
        let workspace = Workspace::new(&SampleSpec::sized(2, 60));
        let checkout = &workspace.sample.modules[1].checkout;
        form.apply(checkout);
        assert_eq!(git(checkout, ["status", "--porcelain"]), "", "{form:?}");
    }
}
