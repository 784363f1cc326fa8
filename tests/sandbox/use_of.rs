//! How much a program tries to use: processes, memory, disk, output, time.

use std::time::Duration;

use lambda_os::adapters::sandbox::{Confined, Limits};
use lambda_os::domain::health::Exit;

use crate::world::{Outside, attack, limits, said, sandboxes};

/// Run in every sandbox, within bounds changed like this.
fn each(args: &[&str], change: impl Fn(&mut Limits), check: impl Fn(&str, &Confined)) {
    for (name, sandbox) in sandboxes() {
        let outside = Outside::new();
        let mut bounds = limits();
        change(&mut bounds);
        let ran = attack(sandbox, bounds, &outside, args);
        assert!(!said(&ran).contains("GOT"), "{name}: {}", said(&ran));
        check(name, &ran);
    }
}

fn bound(exit: &Exit, of: &str) -> bool {
    matches!(exit, Exit::Bound(bound) if bound.contains(of))
}

#[test]
fn a_fork_bomb_is_bounded_and_ended() {
    let short = |limits: &mut Limits| limits.deadline = Duration::from_secs(2);
    each(&["fork-bomb"], short, |name, ran| {
        assert!(ran.exit == Exit::Deadline || bound(&ran.exit, "processes"), "{name}: {ran:?}");
    });
}

#[test]
fn processes_and_threads_are_bounded() {
    for attack in ["threads", "count-forks"] {
        each(&[attack], |_| {}, |name, ran| assert_ne!(ran.exit, Exit::Deadline, "{name} {attack}"));
    }
}

#[test]
fn the_memory_of_one_process_is_bounded() {
    each(
        &["memory"],
        |_| {},
        |name, ran| {
            assert!(ran.exit == Exit::Code(0) || bound(&ran.exit, "memory"), "{name}: {ran:?}");
        },
    );
}

#[test]
fn the_memory_of_all_processes_together_is_bounded() {
    each(
        &["memory-of-many"],
        |_| {},
        |name, ran| {
            assert!(bound(&ran.exit, "memory"), "{name}: {ran:?}");
        },
    );
    each(
        &["shared-memory"],
        |_| {},
        |name, ran| {
            assert!(bound(&ran.exit, "memory"), "{name}: {ran:?}");
        },
    );
}

#[test]
fn a_full_temporary_directory_stays_within_its_size() {
    // Either it is full, or it was ended when it held too much; files without a name count.
    let short = |limits: &mut Limits| limits.deadline = Duration::from_secs(3);
    each(&["fill"], short, |name, ran| {
        let wrote = said(ran).trim_start_matches("wrote ").trim().parse::<u64>();
        let within = wrote.is_ok_and(|bytes| bytes <= 33 << 20);
        assert!(
            bound(&ran.exit, "bytes written") || (within && ran.exit == Exit::Deadline),
            "{name}: {ran:?}"
        );
    });
}

#[test]
fn shared_memory_files_are_bounded_too() {
    let short = |limits: &mut Limits| limits.deadline = Duration::from_secs(3);
    each(&["fill", "/dev/shm"], short, |name, ran| {
        let wrote = said(ran).trim_start_matches("wrote ").trim().parse::<u64>();
        assert!(wrote.is_ok_and(|bytes| bytes <= 33 << 20), "{name}: {ran:?}");
    });
}

#[test]
fn names_without_end_are_bounded() {
    each(&["names"], |_| {}, |name, ran| assert!(bound(&ran.exit, "files"), "{name}: {ran:?}"));
}

#[test]
fn a_file_is_no_larger_than_its_bound_not_even_with_holes() {
    each(&["sparse"], |_| {}, |name, ran| assert_eq!(ran.exit, Exit::Code(0), "{name}"));
}

#[test]
fn ten_gigabytes_of_output_are_cut_counted_and_not_kept() {
    each(
        &["output"],
        |_| {},
        |name, ran| {
            assert!(bound(&ran.exit, "output"), "{name}: {:?}", ran.exit);
            let read = ran.stdout.total + ran.stderr.total;
            assert!(read > 4 << 20 && read < 64 << 20, "{name}: {read}");
            assert!(ran.stdout.bytes.len() < 1 << 20 && ran.stdout.digest.is_some(), "{name}");
        },
    );
}

#[test]
fn processor_time_is_bounded_for_all_processes_together() {
    let tight = |limits: &mut Limits| limits.cpu = Duration::from_secs(1);
    each(&["burn"], tight, |name, ran| {
        let killed = matches!(ran.exit, Exit::Signal(_));
        assert!(killed || bound(&ran.exit, "processor time"), "{name}: {ran:?}");
    });
}

#[test]
fn a_crash_leaves_no_core_file() {
    each(&["crash"], |_| {}, |name, ran| assert_eq!(ran.exit, Exit::Signal(6), "{name}"));
}
