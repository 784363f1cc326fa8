//! What is not healed, and what goes wrong on the way.

use lambda_os::domain::heal::{HealEnd, HealReport, Reason, Rung};
use lambda_os::domain::health::Outcome;
use lambda_os::domain::id::ModuleName;

use crate::support::Fingerprint;
use crate::world::{World, by_state, fails, passes};

#[test]
fn a_target_that_is_bad_too_is_never_healed_and_freezes_at_the_second_time() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    let module = ModuleName::new(&name);
    world.cycle();
    world.upgrade(&name, "good one");
    world.cycle();
    let bad = world.upgrade(&name, "broken: one");
    // It passes in every candidate, and in the workspace fails wherever it is taken.
    let broken = name.clone();
    world.fake.rule(move |asked| {
        if asked.module == broken && !asked.candidate { fails("only there") } else { by_state(asked) }
    });
    for round in 0..2 {
        let outcome = world.cycle();
        assert!(outcome.moved, "there and back");
        let reason = World::reason(&outcome, &name);
        assert!(matches!(reason, Reason::Restored { .. }), "{reason:?}");
        assert_eq!((world.pin(&name), world.checked_out(&name)), (bad, bad), "as it was before");
        assert_eq!(world.state().heals.is_frozen(&module), round == 1);
        world.assert_sound();
    }
    assert!(matches!(world.left(&name), Reason::Frozen { .. }));
    let ends: Vec<HealEnd> = world.state().heals.of(&module).iter().map(|tried| tried.end).collect();
    assert_eq!(ends, [HealEnd::Restored, HealEnd::Restored]);
    assert!(world.entries("heal.finished").iter().all(|it| it["body"]["outcome"] != "healed"));
    assert!(!world.state().heals.is_bad(&module, bad), "it was not taken back from");
}

#[test]
fn a_target_that_fails_as_a_candidate_is_not_applied() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    world.cycle();
    world.upgrade(&name, "good one");
    world.cycle();
    world.upgrade(&name, "broken: one");
    let broken = name.clone();
    world.fake.rule(move |asked| if asked.module == broken { fails("whatever") } else { by_state(asked) });
    assert!(matches!(world.left(&name), Reason::TargetBad { .. }));
    assert!(matches!(world.left(&name), Reason::TargetBad { .. }), "the one before it is tried too");
    assert!(matches!(world.left(&name), Reason::Frozen { .. }));
    assert_eq!(world.entries("apply.started").len(), 2, "nothing but the upgrades was applied");
}

#[test]
fn what_fails_one_time_in_five_is_not_rolled_back() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    world.cycle();
    let flaky = world.upgrade(&name, "flaky");
    for nth in 0..5 {
        // Each cycle meets another first answer; the tools change so that it is asked again.
        world.fake.other_tools();
        let seen = name.clone();
        world.fake.rule(move |asked| {
            if asked.module == seen && asked.before % 5 == nth { fails("sometimes") } else { passes() }
        });
        assert_eq!(world.cycle().report, HealReport::default());
        assert_eq!(world.pin(&name), flaky);
    }
    assert!(world.entries("heal.started").is_empty());
    let record = world.state().verdicts.of(&ModuleName::new(&name)).to_vec();
    assert!(record.iter().any(|record| record.flaky), "{record:?}");
}

#[test]
fn what_passes_when_it_is_shown_again_is_flaky_and_not_rolled_back() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    world.cycle();
    let tip = world.upgrade(&name, "flaky");
    let seen = name.clone();
    // Twice bad in a row: believed, until it is to be rolled back.
    world.fake.rule(
        move |asked| if asked.module == seen && asked.before < 2 { fails("at first") } else { passes() },
    );
    let reason = world.left(&name);
    assert!(matches!(reason, Reason::Flaky { .. }), "{reason:?}");
    assert_eq!(world.pin(&name), tip);
    let ends = world.state().heals.of(&ModuleName::new(&name)).to_vec();
    assert_eq!(ends[0].end, HealEnd::NotConfirmed);
    assert_eq!(world.cycle().report, HealReport::default());
}

#[test]
fn not_knowing_is_no_failure_and_no_success() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    world.cycle();
    world.upgrade(&name, "broken: one");
    let unknown = || Outcome::Unknown { reason: "no program".to_owned() };
    // Unknown where it is: nothing to heal.
    let seen = name.clone();
    world.fake.rule(move |asked| if asked.module == seen { unknown() } else { passes() });
    assert_eq!(world.cycle().report, HealReport::default());
    // Bad, and unknown where it would go: not applied.
    world.fake.other_tools();
    let seen = name.clone();
    world.fake.rule(
        move |asked| {
            if asked.module == seen && asked.candidate { unknown() } else { by_state(asked) }
        },
    );
    assert!(matches!(world.left(&name), Reason::NotConfirmed { .. }));
    // Nor tried again at once.
    let tried = world.entries("heal.started").len();
    assert!(matches!(world.left(&name), Reason::NotConfirmed { .. }));
    assert_eq!(world.entries("heal.started").len(), tried);
}

#[test]
fn what_is_not_known_once_it_is_there_is_put_back() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    world.cycle();
    world.upgrade(&name, "broken: one");
    let unknown = || Outcome::Unknown { reason: "no program".to_owned() };
    let seen = name.clone();
    world.fake.rule(move |asked| {
        if asked.module == seen && !asked.candidate && asked.state != "broken: one" {
            unknown()
        } else {
            by_state(asked)
        }
    });
    let before = world.pin(&name);
    let outcome = world.cycle();
    assert!(matches!(World::reason(&outcome, &name), Reason::Restored { .. }), "{outcome:?}");
    assert_eq!(world.pin(&name), before);
    world.assert_sound();
}

#[test]
fn what_breaks_without_anything_having_changed_is_the_environment() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    world.cycle();
    world.upgrade(&name, "good one");
    world.cycle();
    // Other tools, the same module.
    world.fake.other_tools();
    let seen = name.clone();
    world.fake.rule(move |asked| if asked.module == seen { fails("the host changed") } else { passes() });
    assert_eq!(world.left(&name), Reason::Environment);
    assert!(world.entries("heal.started").is_empty());
}

#[test]
fn too_many_at_once_stop_everything_and_are_said_once() {
    let mut world = World::new();
    world.cycle();
    let names: Vec<String> = world.modules.iter().take(4).cloned().collect();
    for name in &names {
        world.upgrade(name, "broken: together");
    }
    for name in &names {
        assert_eq!(world.left(name), Reason::MassFailure { bad: 4, limit: 3 });
    }
    assert_eq!(world.state().heals.stopped, Some((4, 3)));
    assert_eq!(world.entries("heal.stopped").len(), 1);
    assert!(world.entries("heal.started").is_empty());
    // One of them is mended: the rest are healed, and it is over.
    world.upgrade(&names[0], "mended");
    let outcome = world.cycle();
    assert_eq!(outcome.report.healed.len(), 3, "{outcome:?}");
    assert_eq!(world.state().heals.stopped, None);
    world.assert_sound();
}

#[test]
fn a_dirty_module_is_not_touched() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    world.cycle();
    world.upgrade(&name, "broken: one");
    let checkout = world.module(&name).checkout.clone();
    std::fs::write(checkout.join("mine.txt"), "mine\n").expect("a file");
    let (tree, own) = (Fingerprint::of(world.path()), Fingerprint::of(&checkout));
    assert!(matches!(world.left(&name), Reason::Unclean { .. }));
    own.assert_equal(&Fingerprint::of(&checkout));
    tree.assert_equal(&Fingerprint::of(world.path()));
    assert!(world.entries("heal.started").is_empty());
    std::fs::remove_file(checkout.join("mine.txt")).expect("removed");
    world.healed();
}

#[test]
fn a_held_module_is_left_and_healed_once_it_is_let_go() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    world.cycle();
    world.upgrade(&name, "broken: one");
    world.ok(&["hold", &name, "--reason", "I look at it"]);
    assert_eq!(world.left(&name), Reason::Held { reason: "I look at it".to_owned() });
    world.ok(&["unhold", &name]);
    world.healed();
}

#[test]
fn a_superproject_at_work_is_waited_for() {
    let mut world = World::new();
    let name = world.modules[0].clone();
    world.cycle();
    world.upgrade(&name, "broken: one");
    let lock = world.path().join("flake.lock");
    let content = std::fs::read(&lock).expect("a lock");
    std::fs::write(&lock, [&content[..], b"\n"].concat()).expect("edited");
    assert!(matches!(world.left(&name), Reason::NotNow { .. }));
    assert!(world.entries("heal.started").is_empty(), "nothing was run for nothing");
    std::fs::write(&lock, content).expect("as it was");
    world.healed();
}

#[test]
fn on_the_rung_manual_and_without_a_grant_going_back_is_only_proposed() {
    for manual in [true, false] {
        let mut world = World::with(if manual { &["init"] } else { &["init", "--no-heal"] });
        if manual {
            world.options.rung = Rung::Manual;
        }
        let name = world.modules[0].clone();
        world.cycle();
        let good = world.pin(&name);
        world.upgrade(&name, "broken: one");
        let Reason::Proposed { proposal, reason } = world.left(&name) else { panic!() };
        assert!(reason.contains(if manual { "manual" } else { "members document" }), "{reason}");
        let runs = world.fake.log.lock().expect("no panic meanwhile").len();
        assert!(matches!(world.left(&name), Reason::Proposed { proposal: again, .. } if again == proposal));
        assert_eq!(world.fake.log.lock().expect("no panic meanwhile").len(), runs, "nothing is run again");
        assert!(world.entries("heal.started").is_empty());
        // It outlives cycles, and people decide.
        world.ok(&["run", "--once"]);
        world.ok(&["proposal", "approve", "--yes", &proposal.to_string()]);
        world.ok(&["proposal", "apply", &proposal.to_string()]);
        assert_eq!(world.pin(&name), good);
        assert_eq!(world.cycle().report, HealReport::default());
        let state = world.state();
        assert_eq!(state.heals.bad(&ModuleName::new(&name)).len(), 1, "it does not come again");
        world.assert_sound();
    }
}

#[test]
fn a_proposal_to_heal_ends_when_the_module_is_well_where_it_is() {
    let mut world = World::new();
    world.options.rung = Rung::Manual;
    let name = world.modules[0].clone();
    world.cycle();
    world.upgrade(&name, "broken: one");
    let Reason::Proposed { proposal, .. } = world.left(&name) else { panic!() };
    world.fake.other_tools();
    world.fake.rule(|_| passes());
    assert_eq!(world.cycle().report, HealReport::default());
    assert!(world.state().open_proposals().all(|(id, _)| *id != proposal));
}
