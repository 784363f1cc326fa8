//! `proposal approve`, `reject` and `withdraw`.

use crate::world::{World, public};

#[test]
fn one_operator_approves_with_the_key_that_init_made() {
    let world = World::proposing(&[]);
    let ids = world.proposals();
    let ran = world.ok(&["proposal", "approve", &ids[0], "--json"]);
    let said = ran.json();
    assert_eq!(said["schema"], "lambda-os/proposal-approve/v1");
    let ballot = &said["ballots"][0];
    assert_eq!(
        (&ballot["proposal"], &ballot["tally"]["state"]),
        (&ids[0].as_str().into(), &"approved".into())
    );
    assert!(ran.stderr.contains("unverified") && ran.stderr.contains(" commit"), "{}", ran.stderr);
    let cast = world.entries("ballot.cast");
    assert_eq!((cast.len(), &cast[0]["body"]["voter"]), (1, &"operator".into()));
    // Approving does not apply.
    assert_eq!(world.entries("apply.started").len(), 0);
    world.audited();
}

#[test]
fn a_proposal_is_named_by_a_part_of_its_id_and_never_by_a_path() {
    let world = World::proposing(&[]);
    let ids = world.proposals();
    assert_eq!(world.run(&["proposal", "approve", &ids[0]["bafkrei".len()..][..12]]).exit, 0);
    assert_eq!(world.run(&["proposal", "approve", &ids[1][..20]]).exit, 0);
    for hostile in ["../../x", "/etc/passwd", "", "bafkrei", "--", "no-such-module"] {
        for verb in ["approve", "reject", "withdraw", "ballot"] {
            assert_eq!(world.run(&["proposal", verb, hostile]).exit, 2, "{verb} {hostile}");
        }
    }
}

#[test]
fn several_proposals_are_approved_as_one_with_one_signature() {
    let world = World::proposing(&[]);
    let ids = world.proposals();
    let mixed = [ids[0].as_str(), "bafkreizzzzzzzzzz"];
    assert_eq!(world.run(&["proposal", "approve", mixed[0], mixed[1]]).exit, 2);
    assert_eq!(world.entries("ballot.cast").len(), 0);
    let made = world.entries("proposal.made").len();

    let ran = world.ok(&["proposal", "approve", &ids[0], &ids[1], &ids[0], "--json"]);
    let ballots = &ran.json()["ballots"];
    assert_eq!(ballots.as_array().map(Vec::len), Some(1), "one signature");
    let joined = ballots[0]["proposal"].as_str().expect("an id");
    let mut parts = [ids[0].clone(), ids[1].clone()];
    parts.sort();
    assert_eq!(ballots[0]["combines"], serde_json::json!(parts));
    assert_eq!(ballots[0]["tally"]["state"], "approved");
    for said in ["move 2 modules together", " commit", "what depends on it", "verification:", "policy:"] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert_eq!((world.entries("ballot.cast").len(), world.entries("proposal.made").len()), (1, made + 1));
    let open = world.proposals();
    assert!(open.contains(&joined.to_owned()) && parts.iter().all(|part| !open.contains(part)), "{open:?}");
    let part = world.ok(&["proposal", "show", &parts[1], "--json"]).json();
    assert_eq!((&part["stage"]["outcome"], &part["stage"]["by"]), (&"superseded".into(), &joined.into()));

    // Its parts do not come back while it waits, and it is applied as one commit.
    world.ok(&["run", "--once"]);
    assert_eq!(world.entries("proposal.made").len(), made + 1);
    world.ok(&["proposal", "apply", joined]);
    let applied = world.entries("apply.finished");
    assert_eq!((applied.len(), &applied[0]["body"]["proposal"]), (1, &joined.into()));
    world.audited();
}

#[test]
fn what_cannot_be_one_change_is_not_combined_and_nothing_is_signed() {
    let world = World::proposing(&[]);
    let ids = world.proposals();
    let entries = std::fs::read(world.state().join("audit.jsonl")).expect("it is read");
    // A key that does not sign leaves the parts as they are.
    let missing = ["proposal", "approve", &ids[0], &ids[1], "--key", "/nonexistent/key"];
    assert_ne!(world.run(&missing).exit, 0);
    assert_eq!(std::fs::read(world.state().join("audit.jsonl")).expect("it is read"), entries);
    // A rejection says no to each.
    world.ok(&["proposal", "reject", &ids[0], &ids[1]]);
    assert_eq!(world.entries("ballot.cast").len(), 2);
}

#[test]
fn a_rejection_ends_it_and_the_reason_stays() {
    let world = World::proposing(&[]);
    let id = world.proposals().remove(0);
    world.ok(&["proposal", "abstain", &id]);
    world.run(&["proposal", "reject", &id, "--reason", "too \u{202e}early"]).failed(2, "reason:");
    let said = world.ok(&["proposal", "reject", &id, "--reason", "too early", "--json"]).json();
    assert_eq!(said["ballots"][0]["tally"]["state"], "rejected");
    assert_eq!(said["ballots"][0]["seq"], 2, "it takes the place of the abstention");
    let closed = world.entries("proposal.closed");
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0]["body"]["outcome"], "rejected");
    assert_eq!(closed[0]["body"]["reason"], "rejected by operator (too early)");
    assert!(!world.proposals().contains(&id));
    world.run(&["proposal", "approve", &id]).failed(1, "is not open any more");
    world.audited();
}

#[test]
fn what_was_certified_is_repealed_by_no_later_word_but_can_be_withdrawn() {
    let world = World::proposing(&[]);
    let id = world.proposals().remove(0);
    world.ok(&["proposal", "approve", &id]);
    let late = world.ok(&["proposal", "reject", &id, "--reason", "I was wrong"]);
    assert!(late.stdout.contains("proposal withdraw"), "{}", late.stdout);
    assert!(world.proposals().contains(&id));
    let shown = world.ok(&["proposal", "show", &id, "--json"]).json();
    assert_eq!(shown["tally"]["state"], "approved");
    world.ok(&["proposal", "withdraw", &id, "--reason", "I was wrong"]);
    assert!(!world.proposals().contains(&id));
    world.audited();
}

#[test]
fn withdrawing_needs_no_ballot() {
    let world = World::proposing(&[]);
    let id = world.proposals().remove(0);
    world.ok(&["proposal", "withdraw", &id, "--reason", "a mistake"]);
    let closed = world.entries("proposal.closed");
    assert_eq!(
        (&closed[0]["body"]["outcome"], &closed[0]["body"]["reason"]),
        (&"withdrawn".into(), &"a mistake".into())
    );
    world.run(&["proposal", "withdraw", &id]).failed(1, "it is not open");
}

#[test]
fn two_of_three_are_two_principals() {
    let world = World::new();
    let keys = ["a", "a2", "b", "c"].map(|name| world.ed25519(name));
    let public = keys.each_ref().map(|key| public(key));
    world.init(&[
        "--trust", &public[0], "--as", "ann", "--trust", &public[1], "--as", "ann", "--trust", &public[2],
        "--as", "ben", "--trust", &public[3], "--as", "cleo",
    ]);
    let id = world.proposals().remove(0);
    let approve = |key: &str| {
        world.ok(&["proposal", "approve", &id, "--key", key, "--json"]).json()["ballots"][0]["tally"].clone()
    };
    for key in [&keys[0], &keys[1], &keys[0]] {
        let tally = approve(key);
        assert_eq!(
            (&tally["state"], tally["counted"].as_array().expect("a list").len()),
            (&"pending".into(), 1)
        );
        assert_eq!(tally["missing"], serde_json::json!(["ben", "cleo"]));
    }
    assert_eq!(approve(&keys[2])["state"], "approved");
}

#[test]
fn whose_key_it_is_decides_whose_ballot_it_is() {
    let world = World::new();
    let (ann, ben, eve) = (world.ed25519("ann"), world.ed25519("ben"), world.ed25519("eve"));
    world.init(&["--trust", &public(&ann), "--trust", &public(&ben)]);
    let id = world.proposals().remove(0);
    world.run(&["proposal", "approve", &id]).failed(2, "there is no key to sign the ballot with");
    world.run(&["proposal", "approve", &id, "--key", &eve]).failed(2, "is nobody's who decides");
    world.run(&["proposal", "approve", &id, "--key", &ann, "--as", "ben"]).failed(2, "is ann's, not ben's");
    world.run(&["proposal", "approve", &id, "--key", &ann, "--as", "eve"]).failed(2, "does not decide");
    assert_eq!(world.entries("ballot.cast").len(), 0);
    world.ok(&["proposal", "approve", &id, "--key", &ann, "--as", "ann"]);
}

#[test]
fn nobody_decides_before_init() {
    let world = World::new();
    world.ok(&["run", "--once"]);
    let id = world.proposals().remove(0);
    for verb in ["approve", "reject", "ballot"] {
        world.run(&["proposal", verb, &id]).failed(2, "lambda-os init");
    }
    // What was proposed before was proposed to nobody: after init it is proposed anew.
    world.init(&[]);
    assert!(!world.proposals().contains(&id));
    world.ok(&["proposal", "approve", &world.proposals()[0]]);
}

#[test]
fn what_is_stored_is_checked_before_anybody_signs() {
    for which in ["change", "proposal"] {
        let world = World::proposing(&[]);
        let made = world.entries("proposal.made").remove(0);
        let cid = made["body"][which].as_str().expect("an identity");
        let path = world.object(cid);
        let mut bytes = std::fs::read(&path).expect("it is stored");
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).expect("it is swapped");
        let id = made["body"]["proposal"].as_str().expect("an identity");
        world.run(&["proposal", "approve", id]).failed(7, "cannot trust");
        std::fs::remove_file(&path).expect("it is removed");
        world.run(&["proposal", "approve", id]).failed(7, "objects/");
        assert_eq!(world.entries("ballot.cast").len(), 0);
    }
}

#[test]
fn a_change_that_is_another_on_a_new_base_is_not_signed() {
    let world = World::proposing(&[]);
    let made = world.entries("proposal.made").remove(0);
    let (id, pin) = (made["body"]["proposal"].as_str().expect("an id"), &made["body"]["pins"][0]);
    let tree = world.workspace.path();
    // Somebody moves the same gitlink by hand.
    let elsewhere = crate::support::git(tree, ["rev-parse", "HEAD"]);
    let entry = format!("160000,{},{}", elsewhere.trim(), pin["path"].as_str().expect("a path"));
    crate::support::git(tree, ["update-index", "--cacheinfo", &entry]);
    crate::support::git(tree, ["commit", "-q", "-m", "by hand"]);
    world.run(&["proposal", "approve", id]).failed(5, "is not the same change");
    assert_eq!(world.entries("ballot.cast").len(), 0);
}

#[test]
fn a_backend_that_is_not_here_leaves_everything_pending() {
    let world = World::proposing(&[]);
    let id = world.proposals().remove(0);
    let config = world.home().join("other.toml");
    let text = "[workspace]\nallow_local_urls = true\n[governance]\nbackend = \"multisig\"\n\
                [governance.multisig]\nname = \"operator\"\ndirectory = \"/nonexistent\"\n";
    std::fs::write(&config, text).expect("a configuration is written");
    let mut command = crate::support::lambda_os(world.home());
    command.arg("-C").arg(world.workspace.path()).arg("--state-dir").arg(world.state());
    command.arg("--config").arg(&config).args(["proposal", "approve", &id, "--json"]);
    let said = crate::world::ran(&command.output().expect("lambda-os runs")).json();
    let tally = &said["ballots"][0]["tally"];
    assert_eq!(tally["state"], "pending");
    assert!(tally["unanswered"].as_str().expect("a reason").contains("ballots of others may be missing"));
}
