//! Keys: made, listed, trusted by a proposal, and cut off at once.

use serde_json::Value;

use crate::world::{World, public};

fn fingerprint(world: &World, key: &str) -> String {
    let mut command = std::process::Command::new("ssh-keygen");
    command.env_clear().envs(crate::support::environment(world.home())).args(["-l", "-f", key]);
    let shown = String::from_utf8(crate::world::finished(&mut command, b"")).expect("UTF-8");
    shown.split(' ').nth(1).expect("a fingerprint").to_owned()
}

#[test]
fn a_key_that_is_made_is_one_that_ssh_keygen_reads_and_is_never_overwritten() {
    let world = World::new();
    let out = world.home().join("keys/new").to_string_lossy().into_owned();
    // No workspace state is needed.
    let made = world.ok(&["key", "generate", "--out", &out, "--comment", "ann at home", "--json"]).json();
    assert_eq!(made["fingerprint"].as_str(), Some(fingerprint(&world, &out).as_str()));
    let rights = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&out).expect("a key"));
    assert_eq!(rights & 0o777, 0o600);
    assert!(std::fs::read_to_string(public(&out)).expect("its public half").ends_with(" ann at home\n"));
    assert!(!world.state().exists());
    world.run(&["key", "generate", "--out", &out]).failed(1, "is there already");
    std::fs::remove_file(&out).expect("removed");
    world.run(&["key", "generate", "--out", &out]).failed(1, "is there already");
    world.run(&["key", "generate", "--out", &(out + "2"), "--comment", "a\nb"]).failed(2, "one line");
}

#[test]
fn a_key_is_trusted_by_those_who_decide() {
    let world = World::new();
    let (ann, second) = (world.ed25519("ann"), world.ed25519("second"));
    world.init(&["--trust", &public(&ann)]);
    world.run(&["key", "trust", &public(&ann), "--as", "ben"]).failed(2, "stands twice");
    world.run(&["key", "trust", &public(&second), "--as", "a b"]).failed(2, "cannot name who decides");
    let trusted = world.ok(&[
        "key",
        "trust",
        &public(&second),
        "--as",
        "ann",
        "--from",
        "2020-01-01T00:00:00Z",
        "--until",
        "2120-01-01T00:00:00Z",
        "--json",
    ]);
    let id = trusted.json()["proposal"].as_str().expect("a proposal").to_owned();
    world.ok(&["proposal", "approve", &id, "--key", &ann]);
    world.ok(&["proposal", "apply", &id]);
    let listed = world.ok(&["key", "list", "--json"]).json();
    let keys = listed["keys"].as_array().expect("a list");
    let of = |key: &str| -> &Value {
        let print = fingerprint(&world, key);
        keys.iter().find(|row| row["fingerprint"].as_str() == Some(print.as_str())).expect("it is listed")
    };
    assert_eq!((of(&ann)["name"].as_str(), of(&second)["name"].as_str()), (Some("ann"), Some("ann")));
    assert_eq!(of(&second)["from_ms"], 1_577_836_800_000_i64);
    assert!(of(&ann)["until_ms"].is_null());
    world.ok(&["run", "--once"]);
    let leaf = world.proposals().remove(0);
    let said = world.ok(&["proposal", "approve", &leaf, "--key", &second, "--json"]).json();
    assert_eq!(said["ballots"][0]["tally"]["state"], "approved");
    // Somebody new: it is said that nobody's threshold grew with him.
    let ben = world.ed25519("ben");
    let said = world.ok(&["key", "trust", &public(&ben)]).stdout;
    assert!(
        said.contains("principals ben: new") && said.contains("thresholds stay as they are, for 2"),
        "{said}"
    );
    world.audited();
}

#[test]
fn a_revoked_key_counts_for_nothing_at_once_and_its_removal_is_proposed() {
    let world = World::new();
    let (ann, spare, ben) = (world.ed25519("ann"), world.ed25519("spare"), world.ed25519("ben"));
    let (ann_public, spare_public, ben_public) = (public(&ann), public(&spare), public(&ben));
    world.init(&[
        "--trust",
        &ann_public,
        "--as",
        "ann",
        "--trust",
        &spare_public,
        "--as",
        "ann",
        "--trust",
        &ben_public,
        "--as",
        "ben",
    ]);
    let leaf = world.proposals().remove(0);
    world.ok(&["proposal", "approve", &leaf, "--key", &ben]);
    let said = world.ok(&["proposal", "approve", &leaf, "--key", &ann, "--json"]).json();
    assert_eq!(said["ballots"][0]["tally"]["state"], "approved");
    let print = fingerprint(&world, &ann);
    world.run(&["key", "revoke", &print, "--reason", " "]).failed(2, "without a reason");
    world.run(&["key", "revoke", "SHA256:nobody", "--reason", "x"]).failed(2, "is nobody's");
    let revoked =
        world.ok(&["key", "revoke", &ann_public, "--reason", "the laptop is lost", "--json"]).json();
    assert_eq!(
        (revoked["fingerprint"].as_str(), &revoked["repeated"]),
        (Some(print.as_str()), &false.into())
    );
    let entry = world.entries("key.revoked").remove(0);
    assert_eq!(entry["body"]["reason"], "the laptop is lost");
    let removal = revoked["proposed"]["proposal"].as_str().expect("a proposal").to_owned();
    // At once: what it signs is not taken in any more.
    let other = world.proposals().into_iter().find(|id| *id != leaf && *id != removal).expect("another");
    world.run(&["proposal", "approve", &other, "--key", &ann]).failed(5, "revoked");
    let again = world.ok(&["key", "revoke", &print, "--reason", "again", "--json"]).json();
    assert_eq!((&again["repeated"], again["proposed"]["is_new"].as_bool()), (&true.into(), Some(false)));
    assert_eq!(world.entries("key.revoked").len(), 1);
    world.run(&["key", "trust", &ann_public, "--as", "ben"]).failed(5, "was revoked here");
    // The others remove it for everyone.
    for key in [&spare, &ben] {
        world.ok(&["proposal", "approve", &removal, "--key", key]);
    }
    world.ok(&["proposal", "apply", &removal]);
    let listed = world.ok(&["key", "list"]).stdout;
    let line = listed.lines().find(|line| line.contains(&print)).expect("it is listed");
    assert!(line.starts_with("nobody") && line.contains("revoked here by entry"), "{listed}");
    world.audited();
}

#[test]
fn a_key_whose_removal_leaves_too_few_is_revoked_all_the_same() {
    let world = World::new();
    let (ann, next) = (world.ed25519("ann"), world.ed25519("next"));
    world.init(&["--trust", &public(&ann)]);
    let said = world.ok(&["key", "revoke", &public(&ann), "--reason", "lost", "--json"]).json();
    assert!(
        said["proposed"].is_null() && said["not_proposed"].as_str().expect("why").contains("no principals")
    );
    assert_eq!(world.entries("key.revoked").len(), 1);
    let said = world.ok(&[
        "key",
        "revoke",
        &public(&ann),
        "--reason",
        "lost",
        "--replace",
        &public(&next),
        "--json",
    ]);
    let changes = said.json()["proposed"]["changes"].to_string();
    assert!(changes.contains("without SHA256:") && changes.contains("with SHA256:"), "{changes}");
}
