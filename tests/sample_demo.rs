//! `lambda-os demo` shows a rewound upstream and a module that must wait, and says what is next.

mod support;

use std::collections::BTreeMap;

use support::{lambda_os, temp_dir};

#[test]
fn the_demo_tells_its_story() {
    let temp = temp_dir();
    let dir = temp.path().join("demo");
    let output = lambda_os(temp.path()).args(["demo", "--modules", "26", "--files", "12"]).arg(&dir).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", support::said(&output));
    let told = String::from_utf8(output.stdout).expect("UTF-8");
    for part in [
        "The first cycle",
        "Then the world moved",
        "The second cycle",
        "rewritten",
        "One honest change",
        "throw-away key",
        "refused with exit code 7",
        "Verified, and healed",
        "at first: ",
        "taken back: sample-design-system",
        "now: ",
        "Type next",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let workspace = dir.join("workspace");
    let next = format!("lambda-os -C {} status", workspace.display());
    assert!(told.contains(&next), "{told}");

    // What it says to type works.
    let undo = told.lines().find_map(|line| line.split_once(" rollback ")).expect("how to undo it").1;
    let undo: Vec<&str> = undo.split_whitespace().take(3).collect();
    let undo = [&["rollback"], &undo[..]].concat();
    for args in [
        &["status"][..],
        &["plan", "sample-wallet-module"],
        &["proposal", "list"],
        &undo,
        &["audit", "verify"],
    ] {
        let output = lambda_os(temp.path()).arg("-C").arg(&workspace).args(args).output().expect("it runs");
        assert!(matches!(output.status.code(), Some(0 | 3)), "{args:?}: {}", support::said(&output));
    }
}

#[test]
fn the_demo_in_json_holds_both_cycles() {
    let temp = temp_dir();
    let dir = temp.path().join("demo");
    let output = lambda_os(temp.path())
        .args(["--json", "demo", "--modules", "26", "--files", "12"])
        .arg(&dir)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", support::said(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["schema"], "lambda-os/demo/v1");
    let status = |cycle: usize| -> BTreeMap<String, String> {
        let upgrades = told["cycles"][cycle]["upgrades"].as_array().expect("upgrades");
        upgrades
            .iter()
            .map(|row| {
                (row["name"].as_str().expect("name").into(), row["status"].as_str().expect("status").into())
            })
            .collect()
    };
    let (before, after) = (status(0), status(1));
    assert_eq!(before["zone_core"], "behind");
    assert_eq!(after["zone_core"], "rewritten");
    assert_eq!(before["sample-cpp-sdk"], "up-to-date");
    assert_eq!(after["sample-cpp-sdk"], "behind");
    let decision = &told["decision"];
    assert_eq!(decision["module"], "sample-cpp-sdk");
    let head = support::git(&dir.join("workspace"), ["rev-parse", "HEAD"]);
    assert_eq!(decision["applied"]["commit"], head.trim(), "the approved change is HEAD now");
    assert_eq!(decision["tampered"]["exit"], 7, "{decision}");
    let healing = &told["healing"];
    let healed = healing["cycles"][2]["heal"]["healed"].as_array().expect("healed");
    assert_eq!(healed.len(), 1, "{healed:?}");
    assert_eq!((&healed[0]["module"], &healed[0]["from"]), (&healing["broken"], &healing["broken_at"]));
    for cycle in [0, 2] {
        let rows = healing["cycles"][cycle]["health"].as_array().expect("verdicts");
        assert!(rows.len() == 24 && rows.iter().all(|row| row["verdict"] == "healthy"), "{rows:?}");
    }
    let blamed = healing["cycles"][1]["not_proposed"].to_string();
    assert!(blamed.contains("sample-wallet-module"), "the culprit is named: {blamed}");
    let proposed = healing["cycles"][1]["proposals"].to_string();
    assert!(
        proposed.contains("sample-waku-module") && !proposed.contains("sample-wallet-module"),
        "{proposed}"
    );
    let incoherent = told["cycles"][1]["incoherent"].as_array().expect("incoherent");
    assert_eq!(incoherent.len(), 1, "only what was made so: {incoherent:?}");
    let plan = &told["cycles"][1]["plan"];
    let waits = plan["waiting"]
        .as_array()
        .expect("waiting")
        .iter()
        .any(|row| row["settled"] == false && row["module"] == "sample-wallet-module");
    let after = plan["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .any(|step| step["after"].as_array().is_some_and(|after| !after.is_empty()));
    assert!(waits || after, "some module waits for another: {plan}");
}

#[test]
fn the_demo_leaves_what_is_there_alone() {
    let temp = temp_dir();
    let precious = temp.path().join("precious");
    std::fs::write(&precious, "mine").expect("written");
    let output = lambda_os(temp.path()).arg("demo").arg(temp.path()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{}", support::said(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not empty"));
    assert_eq!(std::fs::read_dir(temp.path()).expect("read").count(), 1);
}
