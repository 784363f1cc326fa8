//! Proposals through cycles of the program: made once, found again, superseded, derived again on a
//! base that moved, ended with a reason.

mod support;

use std::collections::BTreeMap;
use std::fs;

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::journal::JournalWriter;
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::domain::event::Event;
use lambda_os::domain::proposal::Closure;
use lambda_os::ports::Journal as _;
use lambda_os::sample::{SampleModule, SampleSpec, Trouble, UrlStyle};
use serde_json::Value;

use support::{Fingerprint, Workspace, git, git_command};

/// One cycle, its exit code and its report.
fn cycle(workspace: &Workspace) -> Value {
    let output = workspace.lambda_os().args(["run", "--once", "--json"]).output().expect("lambda-os runs");
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 3)), "{}", support::said(&output));
    serde_json::from_slice(&output.stdout).expect("a report")
}

/// Entries of the journal with this type, as bodies.
fn entries(workspace: &Workspace, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(workspace.state().join("audit.jsonl")).expect("a journal");
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|entry| entry["type"] == kind)
        .map(|entry| entry["body"].clone())
        .collect()
}

/// The proposals that `proposal list` shows, by the first module of each.
fn open(workspace: &Workspace) -> BTreeMap<String, Value> {
    let output = workspace.lambda_os().args(["proposal", "list", "--json"]).output().expect("it runs");
    assert!(output.status.success(), "{}", support::said(&output));
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = list["proposals"].as_array().expect("proposals").clone();
    rows.into_iter().map(|row| (text(&row["pins"][0]["module"]), row)).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("text, not {value}")).to_owned()
}

fn names(value: &Value) -> Vec<String> {
    value.as_array().expect("pins").iter().map(|pin| text(&pin["module"])).collect()
}

fn behind(workspace: &Workspace) -> Vec<&SampleModule> {
    workspace.sample.modules.iter().filter(|module| module.behind > 0).collect()
}

/// A commit on the upstream's branch, beside nothing: with another file in its tree.
fn push(module: &SampleModule, message: &str) -> String {
    let tip = git(&module.upstream, ["rev-parse", &module.branch]);
    let tree = format!("{}^{{tree}}", tip.trim());
    let mut command = git_command(&module.upstream);
    command.args(["commit-tree", &tree, "-p", tip.trim(), "-m", message]);
    let output = command.output().expect("git runs");
    let commit = String::from_utf8(output.stdout).expect("an id").trim().to_owned();
    git(&module.upstream, ["update-ref", &format!("refs/heads/{}", module.branch), &commit]);
    commit
}

/// Move only the gitlink of a module, as a person who knows of no other place does.
fn bump_gitlink(workspace: &Workspace, module: &SampleModule, to: &str) {
    let entry = format!("160000,{to},{}", module.path);
    git(workspace.path(), ["update-index", "--cacheinfo", &entry]);
    git(workspace.path(), ["commit", "-q", "-m", "bump"]);
}

/// End a proposal as those who decide do.
fn close(workspace: &Workspace, row: &Value, outcome: Closure) {
    let state = StateDir::resolve_with(Some(&workspace.state()), None, None, workspace.path());
    let mut journal =
        JournalWriter::open(&state.expect("a state directory"), &SystemClock).expect("it opens");
    let proposal = text(&row["id"]).parse().expect("an id");
    let event = Event::ProposalClosed { proposal, outcome, by: None, reason: "no".to_owned() };
    journal.append("test", &event).expect("appended");
}

#[test]
fn every_module_that_is_behind_is_in_one_proposal_or_has_one_reason() {
    let spec = SampleSpec { style: UrlStyle::AutoInputs, ..SampleSpec::sized(55, 4) }.with(Trouble::ALL);
    let workspace = Workspace::new(&spec);
    let before = Fingerprint::of(&workspace.sample.root);
    let report = cycle(&workspace);
    before.assert_equal(&Fingerprint::of(&workspace.sample.root));
    let open = open(&workspace);
    let in_plan: Vec<String> = report["plan"]["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .flat_map(|step| names(&step["pins"]))
        .collect();
    let proposed: Vec<String> = open.values().flat_map(|row| names(&row["pins"])).collect();
    let refused: Vec<String> =
        report["not_proposed"].as_array().expect("rows").iter().flat_map(|row| names(&row["pins"])).collect();
    let waiting: Vec<String> =
        report["plan"]["waiting"].as_array().expect("rows").iter().map(|row| text(&row["module"])).collect();
    assert!(proposed.len() > 5, "{proposed:?}");
    for row in report["upgrades"].as_array().expect("upgrades").iter().filter(|row| row["status"] == "behind")
    {
        let name = text(&row["name"]);
        let times = |list: &[String]| list.iter().filter(|other| **other == name).count();
        assert_eq!(times(&proposed) + times(&refused) + times(&waiting), 1, "{name}");
    }
    for name in &in_plan {
        assert!(proposed.contains(name) || refused.contains(name), "{name}");
    }
    for row in report["not_proposed"].as_array().expect("rows") {
        assert!(!text(&row["reason"]).is_empty());
    }
    // Rewritten, diverged, ahead: never.
    for trouble in [Trouble::UpstreamRewound, Trouble::DivergedPin, Trouble::AheadPin] {
        let name = &workspace.sample.victim(trouble).name;
        assert!(!proposed.contains(name), "{trouble:?}: {name} is proposed");
    }
    // Coherent again: what is up to date and whose places disagree gets a realign.
    for trouble in [Trouble::IncoherentGitlink, Trouble::IncoherentUrl, Trouble::StaleDepGraph] {
        let name = &workspace.sample.victim(trouble).name;
        let row = open.get(name).unwrap_or_else(|| panic!("{trouble:?}: {name} has no proposal"));
        let notes = row["notes"].to_string();
        assert!(notes.contains("agree"), "{trouble:?}: {notes}");
    }
}

#[test]
fn nothing_new_makes_nothing_new_and_a_newer_upstream_supersedes() {
    let workspace = Workspace::new(&SampleSpec::sized(12, 4));
    let first = cycle(&workspace);
    let before = open(&workspace);
    assert_eq!(first["proposal_changes"]["made"].as_array().map(Vec::len), Some(before.len()));
    let objects = Fingerprint::of(&workspace.state().join("objects"));
    let second = cycle(&workspace);
    assert_eq!(second["proposal_changes"]["made"], Value::Array(vec![]));
    objects.assert_equal(&Fingerprint::of(&workspace.state().join("objects")));
    assert_eq!(open(&workspace), before);

    let modules = behind(&workspace);
    let module = modules.iter().find(|module| before.contains_key(&module.name)).expect("one alone");
    let newer = push(module, "newer");
    cycle(&workspace);
    let after = open(&workspace);
    assert_eq!(after.len(), before.len());
    let (old, new) = (&before[&module.name], &after[&module.name]);
    assert_ne!(old["id"], new["id"]);
    assert_eq!(new["supersedes"], old["id"]);
    let pins = new["pins"].as_array().expect("pins");
    assert!(pins.iter().any(|pin| pin["to"] == newer.as_str()), "{pins:?}");
    for (name, row) in before.iter().filter(|(name, _)| **name != module.name) {
        assert_eq!(row["id"], after[name]["id"], "{name}");
    }
}

#[test]
fn a_base_that_moved_keeps_what_is_the_same_change_and_ends_what_is_done() {
    let workspace = Workspace::new(&SampleSpec::sized(22, 4));
    let alone = workspace.sample.module("docs");
    let newer = push(alone, "newer");
    cycle(&workspace);
    let before = open(&workspace);
    assert!(before[&alone.name]["notes"].to_string().contains("its gitlink moves alone"));
    fs::write(workspace.path().join("README.md"), "another file\n").expect("written");
    git(workspace.path(), ["commit", "-q", "-am", "docs"]);
    let report = cycle(&workspace);
    let head = git(workspace.path(), ["rev-parse", "HEAD"]);
    let after = open(&workspace);
    assert_eq!(report["proposal_changes"]["made"], Value::Array(vec![]));
    assert_eq!(report["proposal_changes"]["derived"].as_array().map(Vec::len), Some(before.len()));
    for (name, row) in &before {
        assert_eq!((&row["id"], &row["change"]), (&after[name]["id"], &after[name]["change"]), "{name}");
        assert_eq!(after[name]["base"], head.trim());
    }

    // Somebody moves one module's gitlink alone: its proposal puts the other places right now.
    let modules = behind(&workspace);
    let module = modules
        .iter()
        .find(|module| module.input.is_some() && before.contains_key(&module.name))
        .expect("an input");
    bump_gitlink(&workspace, module, &module.tip.to_string());
    cycle(&workspace);
    let realigned = open(&workspace);
    let row = &realigned[&module.name];
    assert_eq!((&row["purpose"], &row["supersedes"]), (&Value::from("realign"), &before[&module.name]["id"]));
    assert_eq!(row["pins"][0]["from"], row["pins"][0]["to"]);

    // One whose only place is the gitlink is done.
    bump_gitlink(&workspace, alone, &newer);
    cycle(&workspace);
    assert!(!open(&workspace).contains_key(&alone.name));
    let closed = entries(&workspace, "proposal.closed");
    let closed = closed.iter().find(|body| body["proposal"] == before[&alone.name]["id"]).expect("closed");
    assert_eq!(closed["outcome"], "obsolete");
    assert!(text(&closed["reason"]).contains("where it would bring"), "{closed}");
}

#[test]
fn what_was_turned_down_stays_away_until_its_target_moves_or_a_person_lets_go() {
    let workspace = Workspace::new(&SampleSpec::sized(8, 4));
    cycle(&workspace);
    let modules = behind(&workspace);
    let before = open(&workspace);
    let module = modules.iter().find(|module| before.contains_key(&module.name)).expect("one alone");
    close(&workspace, &before[&module.name], Closure::Rejected);
    let report = cycle(&workspace);
    assert!(!open(&workspace).contains_key(&module.name));
    let rows = report["not_proposed"].to_string();
    assert!(rows.contains("turned down"), "{rows}");
    push(module, "newer");
    cycle(&workspace);
    let newer = open(&workspace)[&module.name].clone();
    close(&workspace, &newer, Closure::Withdrawn);
    cycle(&workspace);
    assert!(!open(&workspace).contains_key(&module.name));
    workspace.lambda_os().args(["hold", &module.name, "--reason", "to look"]).assert().success();
    workspace.lambda_os().args(["unhold", &module.name]).assert().success();
    cycle(&workspace);
    let again = &open(&workspace)[&module.name];
    assert_eq!(again["change"], newer["change"]);
    assert_ne!(again["id"], newer["id"]);
}

#[test]
fn a_hold_ends_the_open_proposal_and_says_why() {
    let workspace = Workspace::new(&SampleSpec::sized(8, 4));
    cycle(&workspace);
    let before = open(&workspace);
    let modules = behind(&workspace);
    let module = modules.iter().find(|module| before.contains_key(&module.name)).expect("one alone");
    workspace.lambda_os().args(["hold", &module.name, "--reason", "audit"]).assert().success();
    let report = cycle(&workspace);
    assert!(!open(&workspace).contains_key(&module.name));
    let closed = report["proposal_changes"]["closed"].to_string();
    assert!(closed.contains("audit"), "{closed}");
}

#[test]
fn an_upstream_that_does_not_answer_ends_no_proposal() {
    let workspace = Workspace::new(&SampleSpec::sized(8, 4));
    cycle(&workspace);
    let before = open(&workspace);
    let modules = behind(&workspace);
    let module = modules.iter().find(|module| before.contains_key(&module.name)).expect("one alone");
    let away = module.upstream.with_extension("away");
    fs::rename(&module.upstream, &away).expect("moved");
    cycle(&workspace);
    assert_eq!(open(&workspace)[&module.name]["id"], before[&module.name]["id"]);
    // Also when the superproject moves meanwhile.
    git(workspace.path(), ["commit", "-q", "--allow-empty", "-m", "empty"]);
    cycle(&workspace);
    assert_eq!(open(&workspace)[&module.name]["id"], before[&module.name]["id"]);
    fs::rename(&away, &module.upstream).expect("moved back");
    cycle(&workspace);
    assert_eq!(open(&workspace)[&module.name]["id"], before[&module.name]["id"]);
}
