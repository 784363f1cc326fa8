//! An inbox that a group shares: they may drop messages, and nothing else.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use crate::support::have;
use crate::world::{Shared, World};

fn configured(world: &World, group: &str) {
    let path = world.home().join("ann/config.toml");
    let text = std::fs::read_to_string(&path).expect("it is there");
    let plain: String = text
        .lines()
        .filter(|line| !line.starts_with("inbox_group"))
        .fold(String::new(), |text, line| text + line + "\n");
    let with = plain.replace("[governance]\n", &format!("[governance]\ninbox_group = \"{group}\"\n"));
    assert_ne!(with, text);
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(with.as_bytes()).expect("it is written");
}

#[test]
fn the_inbox_is_shared_with_the_group_that_is_configured() {
    let world = World::new(Shared::Directory);
    let [ann] = world.operators(["ann"]);
    let group = std::fs::metadata(world.home()).expect("it is there").gid();
    configured(&world, &group.to_string());
    ann.cycle();
    let rights = |path: &std::path::Path| {
        let found = std::fs::metadata(path).expect("it is there");
        (found.mode() & 0o7777, found.gid())
    };
    assert_eq!(rights(&ann.state()), (0o710, group));
    assert_eq!(rights(&ann.state().join("inbox")), (0o3770, group));
    let doctor = ann.run(&["doctor"]);
    assert!(!doctor.stdout.contains("may be entered by others"), "{}", doctor.stdout);
    // Whom it is shared with is said when there is no such group, and nothing is opened.
    configured(&world, "no-such-group-here");
    let ran = ann.cycle();
    assert!(ran.stderr.contains("there is no group \"no-such-group-here\""), "{}", ran.stderr);
    assert_eq!(rights(&ann.state()), (0o710, group));
}

#[test]
fn people_of_the_group_drop_messages_and_read_nothing() {
    let root = rustix::process::geteuid().is_root();
    if !root || !have("setpriv", "a message dropped by another user") {
        eprintln!("SKIPPED: another user's message: only root can be another user");
        return;
    }
    let world = World::new(Shared::Directory);
    let [ann] = world.operators(["ann"]);
    configured(&world, "4242");
    ann.cycle();
    for path in [world.home(), &world.home().join("ann")] {
        let mut open = Command::new("chmod");
        assert!(open.arg("0711").arg(path).status().expect("it starts").success());
    }
    std::fs::write(ann.state().join("inbox/mine.txt"), "x").expect("a file");
    let other = |group: &str, script: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=4243", &format!("--regid={group}"), "--clear-groups", "sh", "-c", script]);
        command.current_dir(ann.state()).status().expect("it starts").success()
    };
    assert!(other("4242", "printf 'x\\n-----BEGIN SSH SIGNATURE-----\\n' > inbox/theirs.ballot"));
    assert!(!other("4242", "ls . 2>&-"), "the state directory is not listed");
    assert!(!other("4242", "rm -f inbox/mine.txt 2>&-"), "what others dropped stays");
    assert!(!other("4242", "echo x > audit.jsonl 2>&-"));
    assert!(!other("4242", "cat keys/operator 2>&-"));
    assert!(!other("4244", "echo x > inbox/strange.ballot 2>&-"), "only the group");
    let ran = ann.cycle();
    assert!(ran.stderr.contains("theirs.ballot was refused"), "{}", ran.stderr);
    assert!(!ann.state().join("inbox/theirs.ballot").exists());
    ann.audited();
}
