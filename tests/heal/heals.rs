//! What is healed, and how it is seen.

use lambda_os::domain::heal::{HealEnd, HealReport, Reason};
use lambda_os::domain::id::ModuleName;

use crate::support::{Fingerprint, git};
use crate::world::{World, by_state, fails};

#[test]
fn a_regression_goes_back_is_seen_to_pass_and_does_not_come_again() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    let good = world.upgrade(&name, "good one");
    assert_eq!(world.cycle().report, HealReport::default(), "everything is well");
    let bad = world.upgrade(&name, "broken: one");

    let healed = world.healed();
    assert_eq!((healed.from, healed.to), (bad, good));
    assert_eq!(healed.notes, Vec::<String>::new());
    assert_eq!((world.pin(&name), world.checked_out(&name)), (good, good));
    assert_eq!(git(world.path(), ["status", "--porcelain"]), "");
    let lock = git(world.path(), ["show", "HEAD:flake.lock"]);
    assert!(lock.contains(&good.to_string()) && !lock.contains(&bad.to_string()), "all places moved");
    world.assert_sound();

    // Both ends were run again before, and the workspace afterwards, in this order.
    let log = world.fake.log.lock().expect("no panic meanwhile").clone();
    let of_it: Vec<_> = log.iter().filter(|(module, ..)| *module == name).collect();
    let (last, before) = of_it.split_last().expect("it was run");
    assert_eq!((last.1, last.2), (good, false));
    assert_eq!(before.last().map(|it| (it.1, it.2)), Some((good, true)));

    // The commit says by what right, and the journal holds the certificate.
    let message = git(world.path(), ["log", "-1", "--format=%B"]);
    assert!(message.starts_with(&format!("heal {name} to {}", good.short())), "{message}");
    assert!(message.contains("standing authority") && message.contains("Lambda-OS-Journal: "), "{message}");
    let certified = world.entries("proposal.certified").pop().expect("certified");
    let cid = certified["body"]["certificate"].as_str().expect("a cid").to_owned();
    let path = world.state_dir().root().join("objects").join(&cid[8..10]).join(&cid);
    let held: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).expect("stored")).expect("a certificate");
    assert_eq!((&held["kind"], &held["members"]["heal"]), (&"heal".into(), &true.into()));
    assert_eq!(held["started"], world.entries("heal.started")[0]["seq"]);

    // It stands in the state, with its evidence, and the bad revision is on hold.
    let state = world.state();
    let tried = state.heals.newest().next().expect("it is remembered");
    assert_eq!((tried.end, tried.heal.from, tried.heal.to), (HealEnd::Healed, bad, good));
    assert_eq!(tried.evidence, Some(healed.again));
    assert!(state.heals.is_bad(&ModuleName::new(&name), bad) && state.holds.is_empty());
    let report = world.ok(&["run", "--once", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("a report");
    let waits = report["not_proposed"].to_string();
    assert!(waits.contains(&format!("{name} was taken back from {}", bad.short())), "{waits}");
    assert_eq!(world.cycle().report, HealReport::default());

    // A newer revision is proposed; after unhold the bad one may be again.
    let newer = world.workspace.sample.push_commit(&name, "mended").expect("pushed");
    let proposed = |world: &World| {
        world.ok(&["run", "--once"]);
        world.ok(&["proposal", "list", "--json"])
    };
    assert!(proposed(&world).contains(&newer.to_string()));
    assert!(world.ok(&["unhold", &name]).contains("may be proposed again"));
    assert!(!world.state().heals.is_bad(&ModuleName::new(&name), bad));
}

#[test]
fn after_two_bad_commits_it_goes_to_the_last_verified_pin_and_not_to_the_parent() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    let good = world.pin(&name);
    world.cycle();
    let parent = world.upgrade(&name, "broken: one");
    let bad = world.upgrade(&name, "broken: two");
    let healed = world.healed();
    assert_eq!((healed.from, healed.to), (bad, good));
    assert_ne!(world.pin(&name), parent);
    world.assert_sound();
}

#[test]
fn a_pin_that_was_seen_good_as_a_candidate_alone_is_no_target() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    // Nothing of it was ever verified in the workspace itself.
    let bad = world.upgrade(&name, "broken: one");
    assert_eq!(world.left(&name), Reason::NeverHealthy);
    assert_eq!(world.pin(&name), bad);
}

#[test]
fn what_people_and_other_modules_have_lying_about_stays_as_it_is() {
    let mut world = World::new();
    let (name, other) = (world.modules[0].clone(), world.modules[1].clone());
    world.cycle();
    world.upgrade(&name, "broken: one");
    std::fs::write(world.path().join(".env"), "SECRET=1\n").expect("a file");
    std::fs::write(world.module(&other).checkout.join("mine"), "mine\n").expect("a file");
    let path = world.module(&other).checkout.clone();
    let before = Fingerprint::of(&path);
    world.healed();
    before.assert_equal(&Fingerprint::of(&path));
    assert_eq!(std::fs::read(world.path().join(".env")).expect("it is there"), b"SECRET=1\n");
    let tracked = git(world.path(), ["ls-files"]);
    assert!(!tracked.lines().any(|line| line == ".env"));
}

#[test]
fn a_second_rollback_within_the_window_freezes_the_module_until_a_person_lets_go() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    world.cycle();
    world.upgrade(&name, "broken: one");
    assert_eq!(world.healed().notes, Vec::<String>::new());
    world.upgrade(&name, "broken: two");
    let second = world.healed();
    assert!(second.notes[0].contains("a person is needed"), "{second:?}");
    let module = ModuleName::new(&name);
    let state = world.state();
    assert!(state.heals.is_frozen(&module) && state.holds[&module].contains("taken back 2 times"));
    let shown = world.ok(&["outdated", "--json"]);
    assert!(shown.contains("taken back 2 times"), "{shown}");
    world.ok(&["unhold", &name]);
    let state = world.state();
    assert!(!state.heals.is_frozen(&module) && state.holds.is_empty());
    // The window begins anew.
    world.upgrade(&name, "broken: three");
    assert_eq!(world.healed().notes, Vec::<String>::new());
    world.assert_sound();
}

#[test]
fn going_back_is_not_done_when_others_would_break() {
    let mut world = World::new();
    world.cycle();
    let lock = git(world.path(), ["show", "HEAD:flake.lock"]);
    let lock: serde_json::Value = serde_json::from_str(&lock).expect("a lock");
    let input = |name: &str| world.module(name).input.clone().unwrap_or_default();
    let pair = world.modules.iter().find_map(|user| {
        let node = lock["nodes"]["root"]["inputs"][input(user)].as_str()?;
        let inputs = lock["nodes"][node]["inputs"].as_object()?;
        let follows =
            |name: &&String| *name != user && inputs.values().any(|it| it[0] == input(name).as_str());
        Some((world.modules.iter().find(follows)?.clone(), user.clone()))
    });
    let (name, user) = pair.expect("one of them follows another");
    world.upgrade(&name, "broken: one");
    world.upgrade(&user, "newer");
    let waits = user.clone();
    world.fake.rule(move |asked| {
        if asked.module == waits && asked.candidate {
            fails("it needs the newer one")
        } else {
            by_state(asked)
        }
    });
    let Reason::WouldBreak { modules } = world.left(&name) else { panic!() };
    assert_eq!(modules, [ModuleName::new(&user)]);
    assert!(world.entries("apply.started").len() == 2, "nothing but the upgrades was applied");
}
