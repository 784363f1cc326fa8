//! An older program that meets what a newer one left: it says so, and rewrites nothing.

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::journal::JournalWriter;
use lambda_os::adapters::state_dir::StateDir;
use lambda_os::domain::event::Event;
use lambda_os::domain::id::Cid;
use lambda_os::ports::Journal as _;
use serde_json::Value;

use crate::support::Fingerprint;
use crate::world::{Operator, Shared, World};

/// What every verb that writes says, and that nothing is written: by it, and by those that look.
#[track_caller]
fn refuses(operator: &Operator, id: &str, says: &str) {
    // A lock file says which process held it last.
    let seen = || {
        let locks = ["daemon.lock", "journal.lock"].map(std::path::Path::new);
        Fingerprint::without(&operator.state(), &locks)
    };
    let before = seen();
    for args in [
        &["run", "--once"][..],
        &["proposal", "sync"],
        &["proposal", "approve", id],
        &["proposal", "reject", id],
        &["proposal", "withdraw", id],
        &["proposal", "apply", id],
        &["hold", "--all", "--reason", "r"],
        &["status"],
        &["proposal", "list"],
        &["audit", "verify"],
        &["doctor"],
    ] {
        let ran = operator.run(args);
        let looks = matches!(args[0], "status" | "audit" | "doctor") || args == ["proposal", "list"];
        assert!(
            looks || (ran.exit != 0 && ran.stderr.contains(says)),
            "{args:?}: {}{}",
            ran.exit,
            ran.stderr
        );
        assert_ne!(ran.exit, 7, "{args:?} takes what is newer for damage: {}", ran.stderr);
        assert!(looks || ran.stderr.contains("use the newer lambda-os"), "{args:?}: {}", ran.stderr);
        before.assert_equal(&seen());
    }
}

/// An operator whose journal says that a document of its own with another version is in force.
fn with(change: impl Fn(&mut Value), which: &str) -> (World, Operator, String) {
    let world = World::new(Shared::Directory);
    let [ann] = world.operators(["ann"]);
    let id = ann.proposals().remove(0).0;
    let common = world.home().join("ann/work/.git");
    let directory = StateDir::resolve_with(Some(&ann.state()), None, None, &common).expect("it is there");
    let clock = SystemClock;
    let mut journal = JournalWriter::open(&directory, &clock).expect("it opens");
    let state = journal.state().clone();
    let members = state.members.expect("somebody is trusted");
    let cid = if which == "members" { members.document } else { state.policy.expect("there is one") };
    let mut document: Value =
        serde_json::from_slice(&journal.load(&cid).expect("it is read").expect("it is there")).expect("JSON");
    change(&mut document);
    let newer: Cid = journal.store(document.to_string().as_bytes()).expect("it is stored");
    let event = if which == "members" {
        Event::MembersTrusted { members: newer, epoch: members.epoch, enacts: None, certificate: None }
    } else {
        Event::PolicyAdopted { policy: newer, enacts: None, certificate: None }
    };
    journal.append("rules", &event).expect("it is written");
    (world, ann, id)
}

#[test]
fn newer_members_are_not_damage_and_nothing_is_decided_by_them() {
    let (_world, ann, id) = with(
        |document| {
            document["v"] = 99.into();
            document["moons"] = 2.into();
        },
        "members",
    );
    refuses(&ann, &id, "the members document in force has version 99");
}

#[test]
fn a_newer_policy_is_not_damage_and_nothing_is_decided_by_it() {
    let (_world, ann, id) = with(|document| document["v"] = 99.into(), "policy");
    refuses(&ann, &id, "the policy in force has version 99");
}

#[test]
fn entries_of_a_newer_kind_stop_every_writer() {
    let world = World::new(Shared::Directory);
    let [ann] = world.operators(["ann"]);
    let id = ann.proposals().remove(0).0;
    let journal = ann.state().join("audit.jsonl");
    let text = std::fs::read_to_string(&journal).expect("it is read");
    // As a newer program would have appended it: linked, and of a type that is not known here.
    let last = text.lines().last().expect("an entry");
    let mut entry: Value = serde_json::from_str(last).expect("JSON");
    entry["prev"] = Cid::of(last.as_bytes()).to_string().into();
    entry["seq"] = (entry["seq"].as_u64().expect("a number") + 1).into();
    entry["type"] = "moon.landed".into();
    let line = lambda_os::domain::canonical::to_canonical(&entry).expect("canonical");
    std::fs::write(&journal, [text.as_bytes(), &line, b"\n"].concat()).expect("it is written");
    refuses(&ann, &id, "which this program does not know");
}

#[test]
fn a_newer_layout_stops_everybody() {
    let world = World::new(Shared::Directory);
    let [ann] = world.operators(["ann"]);
    let id = ann.proposals().remove(0).0;
    std::fs::write(ann.state().join("layout"), "{\"format\":\"lambda-os/state\",\"v\":99}\n")
        .expect("a file");
    refuses(&ann, &id, "layout version 99");
}
