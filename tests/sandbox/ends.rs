//! How a program tries to end, or not to: verdicts that it claims, processes that stay behind,
//! supervisors that it kills.

use std::time::Duration;

use lambda_os::adapters::sandbox::{Profile, Watch};
use lambda_os::domain::health::Exit;
use lambda_os::domain::id::Cid;

use crate::world::{Outside, attack, attack_watched, hostile, left, limits, marker, said, sandboxes};

#[test]
fn a_program_runs_and_its_end_is_told() {
    for (name, sandbox) in sandboxes() {
        let outside = Outside::new();
        let ran = attack(sandbox, limits(), &outside, &["exit", "7"]);
        assert_eq!(ran.exit, Exit::Code(7), "{name}: {ran:?}");
        assert_eq!(said(&ran), "leaving\n", "{name}");
        assert_eq!((ran.stdout.total, ran.stdout.digest), (8, Some(Cid::of(b"leaving\n"))), "{name}");
        assert_eq!(ran.left_behind, 0, "{name}");
    }
}

#[test]
fn it_reads_what_it_is_given() {
    for (name, sandbox) in sandboxes() {
        let argv = ["/bin/cat".into()];
        let input = vec![b'x'; 1 << 20];
        let ran = sandbox.run(&Profile::new(limits()), &argv, &input, &mut |_| Watch::GoOn);
        assert_eq!((ran.exit.clone(), ran.stdout.total), (Exit::Code(0), 1 << 20), "{name}");
        assert_eq!(ran.stdout.digest, Some(Cid::of(&input)), "{name}");
    }
}

#[test]
fn what_it_claims_does_not_count() {
    for (name, sandbox) in sandboxes() {
        let outside = Outside::new();
        let ran = attack(sandbox, limits(), &outside, &["claims", "1"]);
        assert_eq!(ran.exit, Exit::Code(1), "{name}: {ran:?}");
        assert!(said(&ran).starts_with("OK\n") && !said(&ran).contains("GOT"), "{name}: {}", said(&ran));
    }
}

#[test]
fn a_hang_is_no_success_whatever_it_said() {
    for (name, sandbox) in sandboxes() {
        let outside = Outside::new();
        let bounds = lambda_os::adapters::sandbox::Limits { deadline: Duration::from_secs(1), ..limits() };
        let ran = attack(sandbox, bounds, &outside, &["hang"]);
        assert_eq!((ran.exit.clone(), said(&ran).as_str()), (Exit::Deadline, "OK\n"), "{name}");
    }
}

#[test]
fn daemons_end_with_the_program_or_at_the_deadline() {
    for (name, sandbox) in sandboxes() {
        let outside = Outside::new();
        let ran = attack(sandbox, limits(), &outside, &["daemonise", "0"]);
        assert_eq!(ran.exit, Exit::Code(0), "{name}: {ran:?}");
        let bounds = lambda_os::adapters::sandbox::Limits { deadline: Duration::from_secs(1), ..limits() };
        let ran = attack(sandbox, bounds, &outside, &["daemonise", "-1"]);
        assert_eq!(ran.exit, Exit::Deadline, "{name}: {ran:?}");
    }
}

#[test]
fn a_daemon_that_stays_is_counted() {
    for (name, sandbox) in sandboxes() {
        let argv = ["/bin/sh".into(), "-c".into(), "sleep 100 & sleep 100 & exit 0".into()];
        let ran = sandbox.run(&Profile::new(limits()), &argv, b"", &mut |_| Watch::GoOn);
        assert_eq!((ran.exit.clone(), ran.left_behind), (Exit::Code(0), 2), "{name}");
    }
}

#[test]
fn its_supervisors_outlive_it() {
    for (name, sandbox) in sandboxes() {
        let outside = Outside::new();
        let ran = attack(sandbox, limits(), &outside, &["kills"]);
        // Its own kill of everyone may take it along: that is its end, and no success either.
        assert!(matches!(ran.exit, Exit::Code(3) | Exit::Signal(9)), "{name}: {ran:?}");
        assert!(!said(&ran).contains("GOT"), "{name}: {}", said(&ran));
    }
}

#[test]
fn whoever_watches_sees_it_live_and_may_end_it() {
    for (name, sandbox) in sandboxes() {
        let outside = Outside::new();
        let mut saw = false;
        let ran = attack_watched(sandbox, limits(), &outside, &["hang"], &mut |look| {
            saw |= look.tmp.join("home").is_dir();
            if look.stdout == b"OK\n" { Watch::Enough } else { Watch::GoOn }
        });
        assert_eq!((ran.exit.clone(), saw), (Exit::Stopped, true), "{name}");
        let ran =
            attack_watched(sandbox, limits(), &outside, &["hang"], &mut |_| Watch::Stop("enough".to_owned()));
        assert_eq!(ran.exit, Exit::Bound("enough".to_owned()), "{name}");
    }
}

#[test]
fn what_cannot_be_started_says_nothing_of_the_program() {
    for (name, sandbox) in sandboxes() {
        let argv = ["/does/not/exist".into()];
        let ran = sandbox.run(&Profile::new(limits()), &argv, b"", &mut |_| Watch::GoOn);
        assert_eq!(ran.exit, Exit::NotRun, "{name}");
        assert!(ran.trouble.is_some_and(|why| why.contains("/does/not/exist")), "{name}");
    }
}

#[test]
fn nothing_outlives_a_supervisor_that_is_killed() {
    // A supervisor of its own, so that it can be killed: this test, run once more as a child.
    const PART: &str = "LAMBDA_OS_TEST_SUPERVISES";
    #[expect(clippy::disallowed_methods, reason = "the child is told what it is")]
    let part = std::env::var(PART).ok();
    if let Some(part) = part {
        let (which, marker) = part.split_once(' ').expect("two words");
        let Some((_, sandbox)) = sandboxes().iter().find(|(name, _)| name.starts_with(which)) else { return };
        let profile = Profile::new(limits()).env("MARKER", marker);
        let argv = [hostile().into(), "daemonise".into(), "-1".into()];
        sandbox.run(&profile, &argv, b"", &mut |_| Watch::GoOn);
        return;
    }
    for (name, _) in sandboxes() {
        let marker = marker();
        let which = name.split(' ').next().expect("a word");
        let mut child = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "ends::nothing_outlives_a_supervisor_that_is_killed", "--nocapture"])
            .env(PART, format!("{which} {marker}"))
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("starts");
        until(|| left(&format!("MARKER={marker}")).len() >= 2);
        child.kill().expect("killed");
        child.wait().expect("waited");
        until(|| left(&format!("MARKER={marker}")).is_empty());
    }
}

/// Wait for something that happens in other processes; the test's own time is the bound.
fn until(holds: impl Fn() -> bool) {
    while !holds() {
        std::thread::yield_now();
    }
}
