//! Real Nix finds the sample's locks true, and builds its modules offline.

mod support;

use std::fs;

use lambda_os::sample::{DepGraphSchema, SampleSpec, UrlStyle};
use support::nix::{Nix, copy_of_commit, store_sources};
use support::{Workspace, have};

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
