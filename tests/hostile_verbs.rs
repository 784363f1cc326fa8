//! Every verb on a hostile sample workspace: nothing that the repositories configure is run, the
//! workspace stays byte-identical, hostile modules are refused and shown inert, the others go on.

mod support;

use std::fs;

use lambda_os::sample::{SampleSpec, Trouble};
use support::{Fingerprint, Workspace};

#[test]
fn no_verb_runs_or_writes_anything_of_a_hostile_workspace() {
    let spec = SampleSpec::sized(12, 4).with([
        Trouble::HostileConfig,
        Trouble::HostileModules,
        Trouble::HostileFileNames,
    ]);
    let workspace = Workspace::new(&spec);
    let before = Fingerprint::of(workspace.path());
    let canaries = workspace.sample.root.join("canaries");
    let good = workspace.sample.modules[0].name.clone();
    let verbs: &[&[&str]] = &[
        &["snapshot"],
        &["snapshot", "--json"],
        &["outdated"],
        &["outdated", "--json"],
        &["graph"],
        &["pin", "list"],
        &["pin", "check"],
        &["plan"],
        &["status"],
        &["doctor"],
        &["config", "show"],
        &["hold", &good, "--reason", "x"],
        &["unhold", &good],
        &["run", "--once"],
        &["run", "--once", "--json"],
        &["audit", "log"],
        &["audit", "verify"],
    ];
    for verb in verbs {
        let output = workspace.lambda_os().args(*verb).output().expect("it runs");
        let said = support::said(&output);
        assert!(output.status.code().is_some_and(|code| code < 128), "{verb:?}: {said}");
        assert!(!said.contains("panicked"), "{verb:?}: {said}");
        let shown = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\n' | b'\t');
        assert!(!output.stdout.iter().any(shown), "{verb:?} shows control bytes");
        let sung: Vec<_> = fs::read_dir(&canaries)
            .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
            .unwrap_or_default();
        assert!(sung.is_empty(), "{verb:?} ran {sung:?}");
        before.assert_equal(&Fingerprint::of(workspace.path()));
    }
    let output = workspace.lambda_os().args(["outdated", "--json"]).output().expect("it runs");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = report["modules"].as_array().expect("modules");
    let status = |name: &str| rows.iter().find(|row| row["name"] == name).map(|row| row["status"].clone());
    let mut with_command = 0;
    for module in &workspace.sample.modules {
        // The one regular module whose section was given `update = !command`.
        let Some(found) = status(&module.name) else {
            with_command += 1;
            assert_eq!(status(&module.path.to_string()), Some("not-allowed".into()), "{rows:#?}");
            continue;
        };
        assert!(found != "not-allowed" && found != "unknown", "{}: {found}", module.name);
    }
    assert_eq!(with_command, 1);
    let refused: Vec<_> = rows.iter().filter(|row| row["status"] == "not-allowed").collect();
    assert!(refused.len() >= 5, "{refused:?}");
    assert!(refused.iter().all(|row| row["reason"].as_str().is_some_and(|reason| !reason.is_empty())));
}
