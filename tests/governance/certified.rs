//! What is certified, and what a certificate proves to somebody who has nothing else.

use std::path::PathBuf;

use crate::support::lambda_os;
use crate::world::{Ran, World, public, ran};

/// An approved proposal, its certificate and the members document.
fn certified() -> (World, String, PathBuf, PathBuf) {
    let world = World::proposing(&[]);
    let id = world.proposals().remove(0);
    world.ok(&["proposal", "approve", &id]);
    let entry = world.entries("proposal.certified").remove(0);
    let certificate = world.object(entry["body"]["certificate"].as_str().expect("an identity"));
    let trusted = world.entries("members.trusted").remove(0);
    let members = world.object(trusted["body"]["members"].as_str().expect("an identity"));
    (world, id, certificate, members)
}

#[test]
fn what_is_certified_is_final_and_what_is_said_later_is_evidence() {
    let (world, id, _, _) = certified();
    for (verb, seq) in [("reject", 2), ("abstain", 3), ("veto", 4), ("approve", 5)] {
        let said = world.ok(&["proposal", verb, &id, "--json"]).json();
        assert_eq!(said["ballots"][0]["seq"], seq);
        let tally = &said["ballots"][0]["tally"];
        assert_eq!((&tally["state"], &tally["certified"]), (&"approved".into(), &true.into()), "{verb}");
        assert_eq!(tally["approving"], 1);
        let late =
            tally["ignored"].as_array().expect("a list").iter().filter(|one| one["why"] == "late").count();
        assert_eq!(late, 1, "{tally}");
    }
    // It was certified once, by approving; applying names the same certificate.
    let certificates = |world: &World| -> Vec<String> {
        world
            .entries("proposal.certified")
            .iter()
            .map(|entry| entry["body"]["certificate"].to_string())
            .collect()
    };
    assert_eq!(certificates(&world).len(), 1);
    world.ok(&["proposal", "apply", &id]);
    let named = certificates(&world);
    assert_eq!((named.len(), &named[0]), (2, &named[1]));
    world.audited();
}

#[test]
fn a_veto_where_no_rule_lets_it_suspend_is_a_rejection() {
    let world = World::proposing(&[]);
    let id = world.proposals().remove(0);
    let said = world.ok(&["proposal", "veto", &id, "--reason", "it is mine", "--json"]).json();
    assert_eq!(said["schema"], "lambda-os/proposal-veto/v1");
    assert_eq!(said["ballots"][0]["tally"]["state"], "rejected");
    let closed = world.entries("proposal.closed");
    assert_eq!(closed[0]["body"]["reason"], "rejected by operator (it is mine)");
}

/// In a directory where nothing is, with nothing but these files.
fn verify(world: &World, arguments: &[&str]) -> Ran {
    let mut command = lambda_os(world.home());
    command.current_dir(world.home()).args(["proposal", "verify-certificate"]).args(arguments);
    ran(&command.output().expect("lambda-os runs"))
}

#[test]
fn a_certificate_stands_alone() {
    let (world, id, certificate, members) = certified();
    let elsewhere = world.home().join("carried");
    std::fs::create_dir(&elsewhere).expect("a directory");
    let carried = |from: &PathBuf, name: &str| {
        let to = elsewhere.join(name);
        std::fs::copy(from, &to).expect("copied");
        to.to_string_lossy().into_owned()
    };
    let (proof, trusted) = (carried(&certificate, "proof"), carried(&members, "members"));
    // Whatever the workspace was: it is gone.
    std::fs::remove_dir_all(world.state()).expect("removed");
    let said = verify(&world, &[&proof, "--members", &trusted, "--json"]);
    assert_eq!(said.exit, 0, "{}", said.stderr);
    let said = said.json();
    assert_eq!(said["schema"], "lambda-os/proposal-verify-certificate/v1");
    assert_eq!((&said["proposal"], &said["approved_by"][0]), (&id.as_str().into(), &"operator".into()));
    let text = verify(&world, &[&proof, "--members", &trusted]);
    assert!(
        text.stdout.contains("it proves that the proposal") && text.stdout.contains("by operator (1 of 1)")
    );

    let bytes = std::fs::read(&proof).expect("read");
    let changed = elsewhere.join("changed").to_string_lossy().into_owned();
    let text = String::from_utf8(bytes).expect("text");
    for (from, to, says) in [
        ("choice: approve", "choice: abstain", "does not hold"),
        ("\"threshold\":1", "\"threshold\":2", "its members document"),
        ("\"epoch\":1", "\"epoch\":2", "its members document"),
        ("{", "{ ", "not canonical"),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text);
        std::fs::write(&changed, other).expect("written");
        verify(&world, &[&changed, "--members", &trusted]).failed(7, says);
    }
    // Trust is the reader's: by another document it proves nothing, and no document is none.
    let eve = world.ed25519("eve");
    let other = World::new();
    other.init(&["--trust", &public(&eve)]);
    let entry = other.entries("members.trusted").remove(0);
    let theirs = other.object(entry["body"]["members"].as_str().expect("an identity"));
    verify(&world, &[&proof, "--members", &theirs.to_string_lossy()]).failed(7, "is trusted");
    verify(&world, &[&proof, "--members", &proof]).failed(2, "is no members document");
    verify(&world, &[&trusted, "--members", &trusted]).failed(7, "proves nothing");
    verify(&world, &["nowhere", "--members", &trusted]).failed(1, "cannot read nowhere");
}
