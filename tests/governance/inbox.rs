//! The inbox against whoever may write to it.

use std::os::unix::fs::symlink;

use crate::world::{NAMESPACE, World, public};

#[test]
fn what_is_no_message_is_left_alone_and_said() {
    let world = World::proposing(&[]);
    let secret = world.home().join("secret");
    std::fs::write(&secret, "a secret\n").expect("a file");
    let inbox = world.inbox();
    symlink(&secret, inbox.join("link.ballot")).expect("a link");
    symlink("/dev/zero", inbox.join("endless.ballot")).expect("a link");
    std::fs::create_dir(inbox.join("directory.ballot")).expect("a directory");
    let mut fifo = std::process::Command::new("mkfifo");
    assert!(fifo.arg(inbox.join("pipe.ballot")).status().expect("it starts").success());
    std::fs::write(inbox.join("notes.txt"), "x").expect("a file");
    std::fs::write(inbox.join("a b\u{202e}.ballot"), "x").expect("a file");
    std::fs::write(inbox.join(".hidden.ballot"), "x").expect("a file");
    std::fs::write(inbox.join("large.ballot"), vec![b'x'; 1 << 20]).expect("a file");
    std::fs::write(inbox.join("waiting.ballot"), "lambda-os ballot v1\n").expect("a file");
    std::fs::write(inbox.join("lonely.ballot.sig"), "x").expect("a file");
    let before = std::fs::read_dir(&inbox).expect("it is there").count();
    let ran = world.ok(&["run", "--once"]);
    for said in
        ["link.ballot", "directory.ballot", "pipe.ballot", "notes.txt", "large.ballot", "waiting.ballot"]
    {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains('\u{202e}') && !ran.stderr.contains("a secret"), "{}", ran.stderr);
    assert_eq!(std::fs::read_dir(&inbox).expect("it is there").count(), before);
    assert_eq!(std::fs::read(&secret).expect("it is there"), b"a secret\n");
    assert_eq!(world.entries("ballot.cast").len() + world.entries("ballot.refused").len(), 0);
}

#[test]
fn refused_messages_are_kept_by_content_and_leave_the_inbox() {
    let world = World::proposing(&[]);
    let rubbish = b"\xff\xfe-----BEGIN SSH SIGNATURE-----\nrubbish";
    std::fs::write(world.inbox().join("rubbish.ballot"), rubbish).expect("a file");
    let ran = world.ok(&["run", "--once"]);
    assert!(
        ran.stderr.contains("rubbish.ballot was refused: not a ballot: it is not UTF-8"),
        "{}",
        ran.stderr
    );
    let refused = world.entries("ballot.refused").remove(0);
    let stored = world.object(refused["body"]["message"].as_str().expect("an identity"));
    assert_eq!(std::fs::read(stored).expect("it is stored"), rubbish);
    assert!(!world.inbox().join("rubbish.ballot").exists());
    world.audited();
}

#[test]
fn many_messages_are_taken_in_a_bounded_number_at_a_time() {
    let world = World::proposing(&[]);
    for at in 0..300 {
        let text = format!("{at}\n-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n");
        std::fs::write(world.inbox().join(format!("m{at:03}.ballot")), text).expect("a file");
    }
    let ran = world.ok(&["run", "--once"]);
    assert!(ran.stderr.contains("the rest waits"), "{}", ran.stderr);
    assert_eq!(world.entries("ballot.refused").len(), 256);
    world.ok(&["run", "--once"]);
    assert_eq!(world.entries("ballot.refused").len(), 300);
}

#[test]
fn before_init_messages_wait() {
    let world = World::new();
    world.ok(&["run", "--once"]);
    std::fs::create_dir_all(world.inbox()).expect("a directory");
    let message = "x\n-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n";
    std::fs::write(world.inbox().join("early.ballot"), message).expect("a file");
    let ran = world.ok(&["run", "--once"]);
    assert!(ran.stderr.contains("nobody is trusted yet"), "{}", ran.stderr);
    assert!(world.inbox().join("early.ballot").exists());
}

#[test]
fn a_crash_between_the_entry_and_the_removal_takes_it_in_once() {
    let world = World::new();
    let ann = world.ed25519("ann");
    world.init(&["--trust", &public(&ann)]);
    let text = world.ballot(&world.proposals()[0], &[]);
    let message = [text.as_bytes(), &world.keygen_sign(&ann, NAMESPACE, text.as_bytes())].concat();
    let file = world.inbox().join("one.ballot");
    std::fs::write(&file, &message).expect("a file");
    world.ok(&["run", "--once"]);
    assert!(!file.exists());
    // As if the removal had been lost.
    std::fs::write(&file, &message).expect("a file");
    world.ok(&["run", "--once"]);
    assert!(!file.exists());
    assert_eq!(world.entries("ballot.cast").len(), 1);
}
