//! `snapshot` as scripts run it: its JSON, drift from an earlier one, and untracked files unhashed.

mod support;

use lambda_os::sample::SampleSpec;
use serde_json::Value;
use support::{Fingerprint, Workspace};

fn snapshot(workspace: &Workspace, args: &[&str]) -> Value {
    let output = workspace.lambda_os().args(["snapshot", "--json"]).args(args).output().expect("it runs");
    assert!(output.status.success(), "{}", support::said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn untracked<'a>(report: &'a Value, module: &str) -> &'a Value {
    let modules = report["modules"].as_array().expect("modules");
    let module = modules.iter().find(|row| row["name"] == module).expect("the module");
    &module["tree"]["untracked"]
}

#[test]
fn an_earlier_snapshot_shows_what_differs_and_a_file_that_is_none_is_refused() {
    let workspace = Workspace::new(&SampleSpec::sized(3, 4));
    let module = &workspace.sample.modules[0];
    let first = snapshot(&workspace, &[]);
    assert_eq!(first["schema"], "lambda-os/snapshot/v1");
    assert_eq!(first["modules"].as_array().map(Vec::len), Some(workspace.sample.modules.len()));
    assert!(first.get("drift").is_none());

    let temp = support::temp_dir();
    let earlier = temp.path().join("earlier.json");
    std::fs::write(&earlier, first.to_string()).expect("written");
    let earlier = earlier.to_str().expect("a plain path");
    let same = snapshot(&workspace, &["--drift-from", earlier]);
    assert_eq!(same["drift"]["items"], Value::Array(Vec::new()));

    std::fs::write(module.checkout.join("new"), "new\n").expect("written");
    let before = Fingerprint::of(workspace.path());
    let later = snapshot(&workspace, &["--drift-from", earlier]);
    before.assert_equal(&Fingerprint::of(workspace.path()));
    let items = later["drift"]["items"].to_string();
    assert!(items.contains(&module.name) && items.contains("new"), "{items}");

    let none = temp.path().join("none.json");
    std::fs::write(&none, r#"{"schema":"lambda-os/plan/v1"}"#).expect("written");
    let wrong = workspace.lambda_os().arg("snapshot").arg("--drift-from").arg(&none).output();
    assert_eq!(wrong.expect("it runs").status.code(), Some(2));
}

#[test]
fn untracked_files_are_hashed_unless_it_is_asked_not_to() {
    let workspace = Workspace::new(&SampleSpec::sized(2, 4));
    let module = &workspace.sample.modules[0];
    std::fs::write(module.checkout.join("new"), "new\n").expect("written");
    let with = snapshot(&workspace, &[]);
    assert_eq!(untracked(&with, &module.name)[0]["path"], "new");
    assert!(untracked(&with, &module.name)[0]["content"].is_string(), "{with}");
    let without = snapshot(&workspace, &["--no-hash"]);
    assert_eq!(untracked(&without, &module.name)[0]["path"], "new");
    assert!(untracked(&without, &module.name)[0].get("content").is_none_or(Value::is_null), "{without}");
}
