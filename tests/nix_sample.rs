//! Real Nix finds the sample's locks true, and builds its modules offline.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use lambda_os::domain::flake::nar;
use lambda_os::sample::{DepGraphSchema, Sample, SampleSpec, UrlStyle};
use support::nix::Nix;
use support::{Workspace, git, have};

/// Put every locked source of `lock` into the store under its NAR hash, taken from the
/// upstreams as GitHub would archive it.
fn store_sources(nix: &Nix, sample: &Sample, lock: &Path, exports: &Path) {
    let lock: serde_json::Value =
        serde_json::from_slice(&fs::read(lock).expect("a lock is read")).expect("a lock is JSON");
    for (key, node) in lock["nodes"].as_object().expect("nodes") {
        let Some(locked) = node.get("locked") else { continue };
        let text =
            |field: &str| locked[field].as_str().unwrap_or_else(|| panic!("{key}: {field}")).to_owned();
        let upstream = sample.upstreams.join(text("owner")).join(text("repo") + ".git");
        let rev = text("rev");
        let time = git(&upstream, ["show", "-s", "--format=%ct", &rev]);
        assert_eq!(time.trim(), locked["lastModified"].to_string(), "{key}");
        let expected: nar::NarHash = text("narHash").parse().expect("a hash");
        let export = exports.join(&rev).join("source");
        if !export.exists() {
            fs::create_dir_all(&export).expect("a directory is made");
            let tar = exports.join("source.tar");
            git(&upstream, ["archive", "--format=tar", "-o", &tar.to_string_lossy(), &rev]);
            support::unpack(&tar, &export);
            assert_eq!(nix.add_source(&export), nar::store_path("source", &expected), "{key} {rev}");
        }
        assert_eq!(nix.hash(&export), expected.to_string(), "{key} {rev}");
    }
}

fn copy_of_commit(repository: &Path, to: &Path) -> PathBuf {
    fs::create_dir_all(to).expect("a directory is made");
    let tar = to.with_extension("tar");
    git(repository, ["archive", "--format=tar", "-o", &tar.to_string_lossy(), "HEAD"]);
    support::unpack(&tar, to);
    to.to_path_buf()
}

/// Nix neither wants to change a lock nor to fetch anything.
#[test]
fn nix_accepts_every_lock_as_it_is() {
    if !have("nix", "that Nix accepts the sample's locks") {
        return;
    }
    for spec in [
        SampleSpec::sized(23, 14),
        SampleSpec {
            style: UrlStyle::AutoInputs,
            dep_graph: DepGraphSchema::Old,
            ..SampleSpec::sized(12, 14)
        },
    ] {
        let workspace = Workspace::new(&spec);
        let nix = Nix::new(workspace.temp.path());
        let exports = workspace.temp.path().join("exports");
        let flake = copy_of_commit(workspace.path(), &workspace.temp.path().join("flake"));
        store_sources(&nix, &workspace.sample, &flake.join("flake.lock"), &exports);
        nix.accepts_lock(&flake);
        nix.evaluates(&flake.join("nix/dep-graph.nix"));
        for module in workspace.sample.modules.iter().filter(|module| module.flake) {
            let lock = module.checkout.join("flake.lock");
            store_sources(&nix, &workspace.sample, &lock, &exports);
            let copy =
                copy_of_commit(&module.checkout, &workspace.temp.path().join("modules").join(&module.name));
            nix.accepts_lock(&copy);
        }
    }
}

#[test]
fn nix_builds_a_module_and_all_it_needs_offline() {
    if !have("nix", "that the sample's modules build") {
        return;
    }
    let workspace = Workspace::new(&SampleSpec::sized(23, 14));
    let nix = Nix::new(workspace.temp.path());
    let flake = copy_of_commit(workspace.path(), &workspace.temp.path().join("flake"));
    store_sources(&nix, &workspace.sample, &flake.join("flake.lock"), &workspace.temp.path().join("exports"));
    for (module, product, needs) in [
        ("sample-chat-ui", "chat_ui", "needs product chat"),
        ("package_manager", "package_manager", "needs product libsample_libcore"),
        ("sample-test-modules", "test_basic", "needs product libsample_runner_cli"),
        ("sample-waku-module", "waku_module", "uses /nix/store/"),
    ] {
        let built = nix.build(&flake, module);
        let plugin = built.join(format!("lib/{product}_plugin.so"));
        let said =
            fs::read_to_string(&plugin).unwrap_or_else(|error| panic!("{}: {error}", plugin.display()));
        assert!(said.contains(needs), "{said}");
    }
}
