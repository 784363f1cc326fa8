//! Ballots that leave and enter through plain `ssh-keygen`.

use std::process::Command;

use crate::support::environment;
use crate::world::{NAMESPACE, World, finished, public};

/// Every kind of key that `ssh-keygen` makes without a token.
const KINDS: [(&str, &[&str]); 5] = [
    ("ed25519", &["-t", "ed25519"]),
    ("p256", &["-t", "ecdsa", "-b", "256"]),
    ("p384", &["-t", "ecdsa", "-b", "384"]),
    ("p521", &["-t", "ecdsa", "-b", "521"]),
    ("rsa", &["-t", "rsa", "-b", "3072"]),
];

/// A workspace over which one principal for each kind of key decides; and their keys.
fn everybody() -> (World, Vec<String>) {
    let world = World::new();
    let keys: Vec<String> = KINDS.iter().map(|(name, args)| world.key(name, args)).collect();
    let publics: Vec<String> = keys.iter().map(|key| public(key)).collect();
    let args: Vec<&str> = publics.iter().flat_map(|key| ["--trust", key.as_str()]).collect();
    world.init(&args);
    (world, keys)
}

#[test]
fn what_ssh_keygen_signs_is_taken_in() {
    let (world, keys) = everybody();
    let id = world.proposals().remove(0);
    for ((name, _), key) in KINDS.iter().zip(&keys) {
        let text = world.ballot(&id, &["--as", name, "--choice", "approve"]);
        assert!(text.starts_with("lambda-os ballot v1\nworkspace: "), "{text}");
        let file = world.inbox().join(format!("{name}.ballot"));
        let signature = world.keygen_sign(key, NAMESPACE, text.as_bytes());
        // Both ways of putting it there.
        if *name == "p256" {
            std::fs::write(&file, [text.as_bytes(), &signature].concat()).expect("a file");
        } else {
            std::fs::write(&file, &text).expect("a file");
            std::fs::write(world.inbox().join(format!("{name}.ballot.sig")), signature).expect("a file");
        }
    }
    world.ok(&["run", "--once"]);
    let voters: Vec<String> =
        world.entries("ballot.cast").iter().map(|entry| entry["body"]["voter"].to_string()).collect();
    assert_eq!(voters, ["\"ed25519\"", "\"p256\"", "\"p384\"", "\"p521\"", "\"rsa\""]);
    assert_eq!(world.entries("ballot.refused").len(), 0);
    assert_eq!(std::fs::read_dir(world.inbox()).expect("it is there").count(), 0);
    world.audited();
}

#[test]
fn ssh_keygen_verifies_what_we_sign() {
    let (world, keys) = everybody();
    let id = world.proposals().remove(0);
    let allowed = world.home().join("allowed_signers");
    let lines: Vec<String> = KINDS
        .iter()
        .zip(&keys)
        .map(|((name, _), key)| {
            let line = std::fs::read_to_string(public(key)).expect("a key");
            format!("{name} namespaces=\"{NAMESPACE}\" {line}")
        })
        .collect();
    std::fs::write(&allowed, lines.concat()).expect("a file");
    for ((name, _), key) in KINDS.iter().zip(&keys) {
        let said = world.ok(&["proposal", "approve", &id, "--key", key, "--json"]).json();
        let stored = world.object(said["ballots"][0]["ballot"].as_str().expect("an identity"));
        let message = std::fs::read_to_string(stored).expect("it is stored");
        let (text, armor) = message.split_at(message.find("-----BEGIN").expect("a signature"));
        let signature = world.home().join("one.sig");
        std::fs::write(&signature, armor).expect("a file");
        let mut command = Command::new("ssh-keygen");
        command
            .env_clear()
            .envs(environment(world.home()))
            .args(["-Y", "verify", "-n", NAMESPACE, "-I", name]);
        command.arg("-f").arg(&allowed).arg("-s").arg(&signature);
        finished(&mut command, text.as_bytes());
    }
    assert_eq!(world.entries("ballot.cast").len(), KINDS.len());
}

#[test]
fn a_ballot_counts_for_what_it_was_made_for_and_nothing_else() {
    let world = World::new();
    let (ann, eve) = (world.ed25519("ann"), world.ed25519("eve"));
    world.init(&["--trust", &public(&ann)]);
    let ids = world.proposals();
    let text = world.ballot(&ids[0], &[]);
    let other = world.ballot(&ids[1], &[]);
    let line =
        |text: &str, key: &str| text.lines().find(|line| line.starts_with(key)).expect("a line").to_owned();
    let with = |key: &str, value: String| text.replace(&line(&text, key), &value);
    let cid = line(&text, "change: ")["change: ".len()..].to_owned();
    let zero = "0".repeat(40);
    let pin = line(&text, "pin: ");
    let cases = [
        ("other-workspace", with("workspace: ", format!("workspace: {cid}")), "it is for another workspace"),
        ("other-change", with("change: ", line(&other, "change: ")), "it names another change"),
        ("other-pins", with("pin: ", line(&other, "pin: ")), "it names other pins"),
        ("no-pins", with("pin: ", String::new()).replace("\n\n", "\n"), "it names other pins"),
        (
            "other-target",
            text.replace(pin.split(' ').nth(4).expect("a commit"), &zero),
            "it names other pins",
        ),
        ("other-policy", with("policy: ", format!("policy: {cid}")), "it was made under another policy"),
        ("other-epoch", with("members-epoch: ", "members-epoch: 2".to_owned()), "members epoch 2"),
        ("stranger", with("voter: ", "voter: eve".to_owned()), "nobody of that name decides"),
        ("late", with("not-after: ", "not-after: 2020-01-01T00:00:00Z".to_owned()), "it has run out"),
        ("form", with("choice: ", "choice: yes".to_owned()), "not a ballot"),
    ];
    for (name, text, _) in &cases {
        let signature = world.keygen_sign(&ann, NAMESPACE, text.as_bytes());
        let message = [text.as_bytes(), &signature].concat();
        std::fs::write(world.inbox().join(format!("{name}.ballot")), message).expect("a file");
    }
    // On a proposal that is not known here it waits.
    let early = with("proposal: ", format!("proposal: {cid}"));
    let early = [early.as_bytes(), &world.keygen_sign(&ann, NAMESPACE, early.as_bytes())].concat();
    std::fs::write(world.inbox().join("early.ballot"), early).expect("a file");
    for (name, key, namespace) in [("namespace", &ann, "file"), ("key", &eve, NAMESPACE)] {
        let message = [text.as_bytes(), &world.keygen_sign(key, namespace, text.as_bytes())].concat();
        std::fs::write(world.inbox().join(format!("{name}.ballot")), message).expect("a file");
    }
    world.ok(&["run", "--once"]);
    assert_eq!((world.entries("ballot.cast").len(), world.entries("ballot.waits").len()), (0, 1));
    let mut reasons: Vec<String> = world
        .entries("ballot.refused")
        .iter()
        .map(|entry| entry["body"]["reason"].as_str().expect("a reason").to_owned())
        .collect();
    assert_eq!(reasons.len(), cases.len() + 2, "{reasons:?}");
    let wanted =
        cases.iter().map(|(_, _, reason)| *reason).chain(["namespace \"file\"", "not one of the voter's"]);
    for wanted in wanted {
        let at = reasons.iter().position(|reason| reason.contains(wanted));
        reasons.remove(at.unwrap_or_else(|| panic!("{wanted}: {reasons:?}")));
    }
    assert_eq!(std::fs::read_dir(world.inbox()).expect("it is there").count(), 0);
    world.audited();
}

#[test]
fn a_ballot_that_comes_again_changes_nothing() {
    let world = World::new();
    let ann = world.ed25519("ann");
    world.init(&["--trust", &public(&ann)]);
    let id = world.proposals().remove(0);
    let text = world.ballot(&id, &[]);
    let message = [text.as_bytes(), &world.keygen_sign(&ann, NAMESPACE, text.as_bytes())].concat();
    for round in 0..3 {
        for name in ["one", "two"] {
            std::fs::write(world.inbox().join(format!("{name}{round}.ballot")), &message).expect("a file");
        }
        world.ok(&["run", "--once"]);
    }
    assert_eq!(world.entries("ballot.cast").len(), 1);
    assert_eq!(world.entries("ballot.refused").len(), 0);
    // After its proposal is over it is refused.
    world.ok(&["proposal", "withdraw", &id]);
    std::fs::write(world.inbox().join("late.ballot"), &message).expect("a file");
    world.ok(&["run", "--once"]);
    let refused = world.entries("ballot.refused");
    assert!(refused[0]["body"]["reason"].as_str().expect("a reason").contains("is decided already"));
}

#[test]
fn two_different_ballots_of_one_number_void_each_other() {
    let world = World::new();
    let ann = world.ed25519("ann");
    world.init(&["--trust", &public(&ann)]);
    let id = world.proposals().remove(0);
    for choice in ["approve", "abstain"] {
        let text = world.ballot(&id, &["--choice", choice]);
        let message = [text.as_bytes(), &world.keygen_sign(&ann, NAMESPACE, text.as_bytes())].concat();
        std::fs::write(world.home().join(choice), message).expect("a file");
    }
    for choice in ["approve", "abstain"] {
        let file = format!("{choice}.ballot");
        std::fs::rename(world.home().join(choice), world.inbox().join(file)).expect("it is moved");
    }
    world.ok(&["run", "--once"]);
    assert_eq!(world.entries("ballot.cast").len(), 2, "both are kept");
    // The next word settles it.
    let said = world.ok(&["proposal", "approve", &id, "--key", &ann, "--json"]).json();
    assert_eq!(
        (&said["ballots"][0]["seq"], &said["ballots"][0]["tally"]["state"]),
        (&2.into(), &"approved".into())
    );
    let whys: Vec<&str> = said["ballots"][0]["tally"]["ignored"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["why"].as_str().expect("a word"))
        .collect();
    assert_eq!(whys, ["superseded", "superseded"]);
}
