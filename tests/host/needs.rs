//! What a module needs is loaded before it, or said to be missing.

use std::fs;

use lambda_os::adapters::host::HostSettings;

use crate::world::{HOSTS, World, host, reason, word};

#[test]
fn what_a_module_needs_is_built_and_loaded_first() {
    for which in HOSTS {
        let world = World::with("depends = store\nbehaviour = needs store")
            .and("store", "depends = disk\nbehaviour = needs disk")
            .and("disk", "")
            .and("other", "behaviour = crash-at-load");
        let ran = world.load(host(which));
        let log = String::from_utf8_lossy(&ran.log).into_owned();
        assert_eq!(word(&ran.run.outcome), "strong", "{which:?}: {:?}\n{log}", ran.run.outcome);
        assert!(ran.run.notes.iter().any(|note| note == "loaded after disk, store"), "{:?}", ran.run.notes);
    }
}

#[test]
fn needs_that_go_in_circles_end() {
    let world = World::with("depends = store").and("store", "depends = alpha");
    let outcome = world.outcome(host(HOSTS[1]));
    assert_eq!(word(&outcome), "strong", "{outcome:?}");
}

#[test]
fn what_is_not_there_is_said_and_unknown() {
    let outcome = World::with("depends = store").outcome(host(HOSTS[1]));
    assert!(
        word(&outcome) == "unknown" && reason(&outcome).contains("needs store, which was not built"),
        "{outcome:?}"
    );
    let world = World::with("depends = store").and("store", "").not_built("store");
    let outcome = world.outcome(host(HOSTS[3]));
    assert!(
        word(&outcome) == "unknown"
            && reason(&outcome).contains("needs store of logos-store-module, which was not built"),
        "{outcome:?}"
    );
}

#[test]
fn what_a_module_needs_and_does_not_load_speaks_not_against_it() {
    for which in [HOSTS[0], HOSTS[1], HOSTS[3], HOSTS[4]] {
        let world = World::with("depends = store").and("store", "behaviour = fail");
        let outcome = world.outcome(host(which));
        assert!(
            word(&outcome) == "unknown" && reason(&outcome).starts_with("needs store"),
            "{which:?}: {outcome:?}"
        );
    }
}

#[test]
fn a_need_that_only_the_plugin_knows_is_met_and_noted() {
    let world = World::with("depends = store\nbehaviour = needs store")
        .and("store", "")
        .metadata("alpha", r#"{"name":"alpha","dependencies":[]}"#);
    let ran = world.load(host(HOSTS[1]));
    assert_eq!(word(&ran.run.outcome), "strong", "{:?}", ran.run);
    assert!(ran.run.notes.iter().any(|note| note.contains("the plugin needs store")), "{:?}", ran.run.notes);
}

#[test]
fn needs_are_met_from_directories_of_modules_that_are_there_already() {
    let world = World::with("depends = core\nbehaviour = needs core");
    let ready = world.temp.path().join("ready/core");
    fs::create_dir_all(&ready).expect("a directory");
    fs::write(ready.join("core_plugin.so"), "fake plugin\nname = core\n").expect("a plugin");
    for which in HOSTS {
        let settings = HostSettings { modules: vec![world.temp.path().join("ready")], ..host(which) };
        let ran = world.load(settings);
        let log = String::from_utf8_lossy(&ran.log).into_owned();
        assert_eq!(word(&ran.run.outcome), "strong", "{which:?}: {:?}\n{log}", ran.run.outcome);
    }
}

#[test]
fn without_a_build_the_modules_own_files_at_its_pin_count() {
    let world = World::with("").not_built("alpha");
    let outcome = world.outcome(host(HOSTS[1]));
    assert!(word(&outcome) == "unknown" && reason(&outcome).contains("no plugin of alpha"), "{outcome:?}");
    let modules = world.temp.path().join("tree-logos-alpha-module/result/modules/alpha");
    fs::create_dir_all(&modules).expect("a directory");
    fs::write(modules.join("alpha_plugin.so"), "fake plugin\nname = alpha\n").expect("a plugin");
    let settings = HostSettings { modules_dir: Some("result/modules".into()), ..host(HOSTS[1]) };
    let outcome = world.outcome(settings);
    assert_eq!(word(&outcome), "strong", "{outcome:?}");
}

#[test]
fn a_module_without_metadata_is_unknown_and_with_bad_metadata_failed() {
    let world = World::with("").metadata("alpha", "{\"name\":\"../../alpha\"}");
    let outcome = world.outcome(host(HOSTS[1]));
    assert!(word(&outcome) == "failed" && reason(&outcome).contains("no name of a module"), "{outcome:?}");
}
