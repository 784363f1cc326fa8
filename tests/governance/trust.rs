//! `init`: who decides, trusted once.

use crate::support::git;
use crate::world::{World, public};

#[test]
fn without_a_key_one_is_made_that_ssh_keygen_reads() {
    let world = World::new();
    let made = world.ok(&["init", "--json"]).json();
    assert_eq!(made["key_made"], true);
    assert_eq!(made["members"]["principals"][0]["name"], "operator");
    let key = made["key"].as_str().expect("a path");
    assert_eq!(
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(key).expect("it is there")) & 0o777,
        0o600
    );
    let mut command = std::process::Command::new("ssh-keygen");
    command.env_clear().envs(crate::support::environment(world.home())).args(["-l", "-f", key]);
    let shown = String::from_utf8(crate::world::finished(&mut command, b"")).expect("UTF-8");
    let fingerprint = made["members"]["principals"][0]["keys"][0].as_str().expect("a fingerprint");
    assert!(shown.contains(fingerprint) && shown.contains("ED25519"), "{shown}");

    let journal = std::fs::read(world.state().join("audit.jsonl")).expect("the journal");
    let again = world.ok(&["init", "--json"]).json();
    assert_eq!((&again["key_made"], &again["members"]), (&false.into(), &made["members"]));
    assert_eq!(std::fs::read(world.state().join("audit.jsonl")).expect("the journal"), journal);
    world.audited();
}

#[test]
fn entries_bear_the_documents_in_force() {
    let world = World::proposing(&[]);
    let members = &world.entries("members.trusted")[0]["body"]["members"];
    let policy = &world.entries("policy.adopted")[0]["body"]["policy"];
    for kind in ["cycle.started", "proposal.made", "cycle.finished"] {
        for entry in world.entries(kind) {
            assert_eq!((&entry["members"], &entry["policy"]), (members, policy), "{entry}");
        }
    }
}

#[test]
fn a_key_is_trusted_once_and_more_only_by_those_who_decide() {
    let world = World::new();
    let (alice, bob) = (world.ed25519("alice"), world.ed25519("bob"));
    let made = world.ok(&["init", "--json", "--trust", &public(&alice)]).json();
    assert_eq!(made["members"]["principals"][0]["name"], "alice", "after the key's file");
    assert_eq!((&made["key"], &made["key_made"]), (&serde_json::Value::Null, &false.into()));
    world.run(&["init", "--trust", &public(&bob)]).failed(1, "only they decide who joins them");
    assert_eq!(world.entries("members.trusted").len(), 1);
}

#[test]
fn several_principals_may_have_several_keys() {
    let world = World::new();
    let keys = ["a", "b", "c"].map(|name| public(&world.ed25519(name)));
    let made = world.ok(&[
        "init", "--json", "--trust", &keys[0], "--as", "ann", "--trust", &keys[1], "--as", "ben", "--trust",
        &keys[2], "--as", "ann",
    ]);
    let principals = made.json()["members"]["principals"].as_array().expect("a list").clone();
    let shown: Vec<(&str, usize)> = principals
        .iter()
        .map(|one| (one["name"].as_str().expect("a name"), one["keys"].as_array().expect("keys").len()))
        .collect();
    assert_eq!(shown, [("ann", 2), ("ben", 1)]);
}

#[test]
fn what_cannot_be_trusted_is_refused_before_anything_is_made() {
    let world = World::new();
    let key = world.ed25519("key");
    let weak = public(&world.key("weak", &["-t", "rsa", "-b", "2048"]));
    let (public, private) = (public(&key), key.clone());
    for (args, says) in [
        (vec!["--trust", &weak], "RSA key of 2048 bits"),
        (vec!["--trust", &private], "cannot take the key"),
        (vec!["--trust", "/nonexistent.pub"], "cannot read the key"),
        (vec!["--trust", "/dev/zero"], "no file of reasonable size"),
        (vec!["--trust", &public, "--as", "a b"], "cannot name who decides"),
        (vec!["--trust", &public, "--as", "../x"], "cannot name who decides"),
        (vec!["--trust", &public, "--trust", &public, "--as", "a"], "one name for each key"),
        (vec!["--trust", &public, "--as", "a", "--trust", &public, "--as", "b"], "stands twice"),
        (vec!["--as", "a"], "--trust"),
    ] {
        let args: Vec<&str> = ["init"].into_iter().chain(args).collect();
        world.run(&args).failed(2, says);
        assert!(!world.state().exists(), "{args:?}");
    }
}

#[test]
fn an_unborn_superproject_has_nobody_to_trust_yet() {
    let home = crate::support::temp_dir();
    let tree = home.path().join("tree");
    std::fs::create_dir(&tree).expect("a directory");
    git(&tree, ["init", "-q"]);
    let run = |args: &[&str]| {
        let mut command = crate::support::lambda_os(home.path());
        crate::world::ran(&command.arg("-C").arg(&tree).args(args).output().expect("lambda-os runs"))
    };
    let made = run(&["init", "--json"]);
    assert_eq!((made.exit, &made.json()["members"]), (0, &serde_json::Value::Null));
    let world = World::new();
    let key = public(&world.ed25519("key"));
    run(&["init", "--trust", &key]).failed(1, "has no commit yet");
    git(&tree, ["commit", "-q", "--allow-empty", "-m", "first"]);
    assert_eq!(run(&["init", "--trust", &key]).exit, 0);
}

#[test]
fn clones_of_one_workspace_have_one_name() {
    let world = World::new();
    let name = |tree: &std::path::Path, state: &str| {
        let mut command = crate::support::lambda_os(world.home());
        command.arg("-C").arg(tree).arg("--state-dir").arg(world.home().join(state)).args(["init", "--json"]);
        let made = crate::world::ran(&command.output().expect("lambda-os runs")).json();
        made["members"]["workspace"].as_str().expect("a name").to_owned()
    };
    let clone = world.home().join("clone");
    git(world.home(), ["clone", "-q", &world.workspace.path().to_string_lossy(), &clone.to_string_lossy()]);
    git(&clone, ["commit", "-q", "--allow-empty", "-m", "more"]);
    let one = name(world.workspace.path(), "one");
    assert_eq!(one, name(&clone, "two"));
    let other = World::new();
    git(other.workspace.path(), ["checkout", "-q", "--orphan", "other"]);
    git(other.workspace.path(), ["commit", "-q", "-m", "another first commit"]);
    assert_ne!(one, name(other.workspace.path(), "four"));
}
