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

#[test]
fn an_allowed_signers_file_says_who_decides_and_until_when() {
    let world = World::new();
    let (ann, ben, git) = (world.ed25519("ann"), world.ed25519("ben"), world.ed25519("git"));
    let line = |key: &str| std::fs::read_to_string(public(key)).expect("a key");
    let file = world.home().join("allowed_signers");
    let content = format!(
        "# the team\nann@example.org {}ben namespaces=\"ballot@lambda-os,git\",valid-before=\"21200101Z\" {}\
         git namespaces=\"git\" {}",
        line(&ann),
        line(&ben),
        line(&git)
    );
    std::fs::write(&file, &content).expect("a file");
    let file = file.to_string_lossy().into_owned();
    world.run(&["init", "--trust", &file, "--as", "ann"]).failed(2, "--as is for single keys");
    let made = world.ok(&["init", "--trust", &file, "--json"]);
    assert!(
        made.stderr.contains("line 4") && made.stderr.contains("not for ballot@lambda-os"),
        "{}",
        made.stderr
    );
    let members = &made.json()["members"]["principals"];
    let names: Vec<&str> =
        members.as_array().expect("a list").iter().map(|one| one["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["ann@example.org", "ben"]);
    let keys = world.ok(&["key", "list", "--json"]).json();
    assert_eq!(keys["keys"][1]["until_ms"], 4_733_510_400_000_i64);
    assert!(keys["keys"][0]["until_ms"].is_null());
    // What ssh-keygen would say of the same file.
    world.ok(&["run", "--once"]);
    let id = world.proposals().remove(0);
    let text = world.ballot(&id, &["--as", "ben"]);
    let signature = world.home().join("one.sig");
    std::fs::write(&signature, world.keygen_sign(&ben, crate::world::NAMESPACE, text.as_bytes()))
        .expect("a file");
    let mut command = std::process::Command::new("ssh-keygen");
    command.env_clear().envs(crate::support::environment(world.home()));
    command
        .args(["-Y", "verify", "-n", crate::world::NAMESPACE, "-I", "ben", "-f", &file, "-s"])
        .arg(&signature);
    crate::world::finished(&mut command, text.as_bytes());
    assert_eq!(world.run(&["proposal", "approve", &id, "--key", &ben]).exit, 0);
    world.run(&["proposal", "approve", &id, "--key", &git]).failed(2, "is nobody's");

    let world = World::new();
    for (line, says) in [
        ("*@example.org", "is a pattern"),
        ("ann valid-after=\"20260101\"", "write 20260101Z"),
        ("ann cert-authority", "certificate authority"),
        ("ann namespaces=\"file\"", "no key in"),
    ] {
        let content = content.replace("ann@example.org", line).replace("ballot@lambda-os,git", "git");
        std::fs::write(world.home().join("signers"), content).expect("a file");
        world.run(&["init", "--trust", &world.home().join("signers").to_string_lossy()]).failed(2, says);
        assert!(!world.state().exists(), "{line}");
    }
}

#[test]
fn a_second_operator_joins_by_the_identity_that_the_first_reads_out() {
    let world = World::new();
    let ann = world.ed25519("ann");
    let made = world.ok(&["init", "--trust", &public(&ann), "--json"]).json();
    let told = made["members"]["document"].as_str().expect("an identity").to_owned();
    let file = world.home().join("members.json");
    std::fs::write(&file, world.ok(&["members", "show", "--canonical"]).stdout).expect("a file");
    let file = file.to_string_lossy().into_owned();
    let other = world.home().join("other-state");
    let join = |args: &[&str]| {
        let mut command = crate::support::lambda_os(world.home());
        command.arg("-C").arg(world.workspace.path()).arg("--state-dir").arg(&other).arg("init").args(args);
        crate::world::ran(&command.output().expect("lambda-os runs"))
    };
    let unseen = join(&["--members", &file]);
    unseen.failed(2, "cannot trust");
    assert!(unseen.stderr.contains(&format!("--fingerprint {told}")), "{}", unseen.stderr);
    let wrong = told.replace(&told[40..44], "aaaa");
    join(&["--members", &file, "--fingerprint", &wrong]).failed(7, "is not the members document");
    let elsewhere = World::new();
    git(elsewhere.workspace.path(), ["checkout", "-q", "--orphan", "other"]);
    git(elsewhere.workspace.path(), ["commit", "-q", "-m", "another first commit"]);
    elsewhere.run(&["init", "--members", &file, "--fingerprint", &told]).failed(2, "for another workspace");
    assert!(!other.exists() && !elsewhere.state().exists());
    let joined = join(&["--members", &file, "--fingerprint", &told, "--json"]);
    assert_eq!(joined.exit, 0, "{}", joined.stderr);
    assert_eq!((&joined.json()["members"], &joined.json()["policy"]), (&made["members"], &made["policy"]));
    assert_eq!(joined.json()["key_made"], false);
    assert_eq!(join(&["--members", &file, "--fingerprint", &told]).exit, 0, "the same once more");
    join(&["--trust", &public(&ann)]).failed(1, "only they decide who joins them");
}
