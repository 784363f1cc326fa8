//! Real Nix on an applied commit: it accepts the lock as it is and builds the proposed revision,
//! without a network.

mod support;

use std::fs;
use std::path::Path;

use lambda_os::domain::flake::nar;
use lambda_os::sample::{Sample, SampleSpec};
use support::nix::Nix;
use support::{Workspace, git, have};

/// Put every locked source into the store under its NAR hash, as GitHub would archive it.
fn store_sources(nix: &Nix, sample: &Sample, lock: &Path, exports: &Path) {
    let lock: serde_json::Value =
        serde_json::from_slice(&fs::read(lock).expect("a lock is read")).expect("a lock is JSON");
    for (key, node) in lock["nodes"].as_object().expect("nodes") {
        let Some(locked) = node.get("locked") else { continue };
        let text =
            |field: &str| locked[field].as_str().unwrap_or_else(|| panic!("{key}: {field}")).to_owned();
        let upstream = sample.upstreams.join(text("owner")).join(text("repo") + ".git");
        let rev = text("rev");
        let expected: nar::NarHash = text("narHash").parse().expect("a hash");
        let export = exports.join(&rev).join("source");
        if !export.exists() {
            fs::create_dir_all(&export).expect("a directory is made");
            let tar = exports.join("source.tar");
            git(&upstream, ["archive", "--format=tar", "-o", &tar.to_string_lossy(), &rev]);
            support::unpack(&tar, &export);
            assert_eq!(nix.add_source(&export), nar::store_path("source", &expected), "{key} {rev}");
        }
    }
}

#[test]
fn nix_builds_the_proposed_revision_from_the_applied_commit() {
    if !have("nix", "that the applied commit builds") {
        return;
    }
    let workspace = Workspace::new(&SampleSpec::sized(23, 14));
    let run = |args: &[&str]| {
        let output = workspace.lambda_os().args(args).output().expect("lambda-os runs");
        let code = output.status.code();
        assert!(code == Some(0) || code == Some(3), "{args:?}: {}", support::said(&output));
        output.stdout
    };
    run(&["init"]);
    run(&["run", "--once"]);
    let list: serde_json::Value =
        serde_json::from_slice(&run(&["proposal", "list", "--json"])).expect("a list");
    let module = list["proposals"]
        .as_array()
        .expect("rows")
        .iter()
        .filter(|row| row["pins"].as_array().is_some_and(|pins| pins.len() == 1))
        .filter_map(|row| row["pins"][0]["module"].as_str())
        .map(|name| workspace.sample.module(name).clone())
        .find(|module| module.flake && module.input.is_some() && module.plugin.is_some())
        .expect("a proposal of a module that builds");
    run(&["proposal", "approve", "--yes", &module.name]);
    run(&["proposal", "apply", &module.name]);

    let nix = Nix::new(workspace.temp.path());
    let flake = workspace.temp.path().join("flake");
    fs::create_dir_all(&flake).expect("a directory is made");
    let tar = workspace.temp.path().join("flake.tar");
    git(workspace.path(), ["archive", "--format=tar", "-o", &tar.to_string_lossy(), "HEAD"]);
    support::unpack(&tar, &flake);
    let lock = flake.join("flake.lock");
    let before = fs::read(&lock).expect("a lock");
    let locked: serde_json::Value = serde_json::from_slice(&before).expect("a lock is JSON");
    let input = module.input.as_deref().expect("an input");
    let node = locked["nodes"]["root"]["inputs"][input].as_str().expect("a node");
    assert_eq!(locked["nodes"][node]["locked"]["rev"], module.tip.to_string());
    store_sources(&nix, &workspace.sample, &lock, &workspace.temp.path().join("exports"));
    nix.accepts_lock(&flake);
    let built = nix.build(&flake, input);
    assert!(built.join("lib").is_dir(), "{}", built.display());
    assert_eq!(fs::read(&lock).expect("a lock"), before, "the lock is as it was applied");
}
