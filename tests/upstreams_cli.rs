//! `outdated`, `hold` and `unhold` as people and scripts run them, on a sample workspace.

mod support;

use lambda_os::sample::{SampleSpec, Trouble};
use serde_json::Value;
use support::{Fingerprint, Workspace};

fn outdated(workspace: &Workspace) -> Vec<Value> {
    let output = workspace.lambda_os().args(["outdated", "--json"]).output().expect("it runs");
    assert!(output.status.success(), "{}", support::said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["schema"], "lambda-os/outdated/v1");
    report["modules"].as_array().expect("modules").clone()
}

fn row<'a>(rows: &'a [Value], name: &str) -> &'a Value {
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {rows:?}"))
}

#[test]
fn every_module_has_the_status_that_the_sample_says_and_nothing_is_written() {
    let spec =
        SampleSpec::sized(24, 5).with([Trouble::Uninitialised, Trouble::AheadPin, Trouble::DivergedPin]);
    let workspace = Workspace::new(&spec);
    let before = Fingerprint::of(workspace.path());
    let rows = outdated(&workspace);
    assert_eq!(rows.len(), workspace.sample.modules.len());
    let uninitialised = &workspace.sample.victim(Trouble::Uninitialised).name;
    for module in &workspace.sample.modules {
        let expected = match (module.behind, module.ahead) {
            _ if module.name == *uninitialised => "uninitialised",
            (0, 0) => "up-to-date",
            (_, 0) => "behind",
            (0, _) => "ahead",
            _ => "diverged",
        };
        let row = row(&rows, &module.name);
        assert_eq!(row["status"], expected, "{row}");
        if expected != "uninitialised" {
            assert_eq!(
                (&row["behind"], &row["ahead"]),
                (&module.behind.into(), &module.ahead.into()),
                "{row}"
            );
            assert_eq!(
                (&row["from"], &row["to"]),
                (&module.pinned.to_string().into(), &module.tip.to_string().into())
            );
        }
    }
    before.assert_equal(&Fingerprint::of(workspace.path()));
    let behind = workspace.sample.modules.iter().find(|module| module.behind > 0 && module.ahead == 0);
    let name = &behind.expect("something is behind").name;
    workspace.lambda_os().args(["outdated", "--exit-code", name]).assert().code(4);
}

#[test]
fn a_hold_shows_its_reason_until_it_is_lifted() {
    let workspace = Workspace::new(&SampleSpec::sized(3, 3));
    let name = workspace.sample.modules[0].name.clone();
    workspace.lambda_os().args(["hold", &name, "--reason", "waits for the fair"]).assert().success();
    let rows = outdated(&workspace);
    assert_eq!(row(&rows, &name)["status"], "held");
    assert_eq!(row(&rows, &name)["reason"], "held: waits for the fair");
    workspace.lambda_os().args(["unhold", &name]).assert().success();
    assert_ne!(row(&outdated(&workspace), &name)["status"], "held");
    let again = workspace.lambda_os().args(["unhold", &name]).output().expect("it runs");
    assert_eq!(again.status.code(), Some(2), "{}", support::said(&again));
    let wrong =
        workspace.lambda_os().args(["hold", &format!("{name}x"), "--reason", "x"]).output().expect("it runs");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(support::said(&wrong).contains(&format!("did you mean {name}?")), "{}", support::said(&wrong));
    workspace.lambda_os().args(["hold", &name, "--reason", " "]).assert().code(2);
}

#[test]
fn offline_says_that_it_was_never_fetched_and_asks_nobody() {
    let workspace = Workspace::new(&SampleSpec::sized(2, 3));
    let output = workspace.lambda_os().args(["--offline", "outdated"]).output().expect("it runs");
    assert!(support::said(&output).contains("this run is offline"), "{}", support::said(&output));
}
