//! Nothing is healed on the strength of a certificate that does not hold.

use lambda_os::adapters::durable::RealDisk;
use lambda_os::domain::heal::Reason;
use lambda_os::domain::id::{ModuleName, ObjectId};
use lambda_os::domain::policy::Policy;
use lambda_os::domain::policy::rules::{Rules, SecurityFloor};
use lambda_os::ports::FailureKind;

use crate::support::faulty::{Fault, Faulty};
use crate::support::temp_dir;
use crate::world::{World, copied};

/// A world in which applying a heal began, and nothing of it has happened yet; with the certificate.
fn begun() -> (World, String, String) {
    let mut world = World::small();
    let name = world.modules[0].clone();
    world.cycle();
    world.upgrade(&name, "broken: one");
    let state = world.workspace.state();
    let applied = world.entries("apply.started").len();
    let kept = temp_dir();
    copied(world.path(), kept.path());
    copied(&state, kept.path());
    // Cut at this call: whether `apply.started` was durable by then.
    let cut_at = |at: usize| {
        std::fs::remove_dir_all(world.path()).expect("removed");
        std::fs::remove_dir_all(&state).expect("removed");
        copied(&kept.path().join("workspace"), world.path());
        copied(&kept.path().join("state"), &state);
        let _ = world.cycle_at(world.path(), &state, &Faulty::at(at, Fault::Stops));
        world.entries("apply.started").len() > applied
    };
    // The first call at which it was: before it nothing of the landing can have happened.
    let (mut before, mut after) = (0, 1);
    while !cut_at(after) {
        (before, after) = (after, after * 2);
    }
    while before + 1 < after {
        let middle = before.midpoint(after);
        if cut_at(middle) { after = middle } else { before = middle }
    }
    // One run may make a call more or less than another: it is somewhere near.
    let begun = |at: usize| cut_at(at) && world.state().open_apply.is_some();
    assert!((after.saturating_sub(3)..after + 9).any(begun), "no call near {after} leaves it begun");
    let started = world.entries("apply.started").pop().expect("it began");
    let cid = started["body"]["certificate"].as_str().expect("a cid").to_owned();
    (world, name, cid)
}

#[test]
fn a_heal_certificate_that_was_changed_is_an_integrity_failure_and_nothing_is_applied() {
    let (world, name, cid) = begun();
    let path = world.state_dir().root().join("objects").join(&cid[8..10]).join(&cid);
    let good = std::fs::read(&path).expect("stored");
    let text = String::from_utf8(good.clone()).expect("text");
    assert!(text.contains("\"kind\":\"heal\""), "{text}");
    std::fs::write(&path, text.replace("\"rung\":\"assisted\"", "\"rung\":\"bounded\"")).expect("written");
    let (head, pin) = (world.head(), world.pin(&name));
    let error =
        world.cycle_at(world.path(), &world.workspace.state(), &RealDisk).expect_err("it is not whole");
    assert_eq!(error.kind, FailureKind::Integrity, "{error}");
    assert_eq!((world.head(), world.pin(&name)), (head, pin));
    let finished = world.entries("apply.finished").pop().expect("it is closed");
    assert_eq!(finished["body"]["outcome"], "undone");
    std::fs::write(&path, &good).expect("as it was");
    world.healed();
    world.assert_sound();
}

#[test]
fn a_module_that_is_held_meanwhile_is_not_healed_by_going_on() {
    let (world, name, _) = begun();
    let head = world.head();
    world.ok(&["hold", &name, "--reason", "wait"]);
    let outcome = world.cycle();
    assert_eq!(world.head(), head);
    assert_eq!(World::reason(&outcome, &name), Reason::Held { reason: "wait".to_owned() });
    world.ok(&["unhold", &name]);
    world.healed();
    world.assert_sound();
}

#[test]
fn a_heal_never_goes_below_the_floor_that_the_policy_states() {
    let mut world = World::small();
    let name = world.modules[0].clone();
    world.cycle();
    let good = world.pin(&name);
    let bad = world.upgrade(&name, "broken: one");
    // The good pin lacks what the floor has.
    adopt_floor(&world, &name, bad);
    let head = world.head();
    let outcome = world.cycle();
    let reason = World::reason(&outcome, &name);
    assert!(
        matches!(&reason, Reason::BelowFloor { reason } if reason.contains("security floor")),
        "{reason:?}"
    );
    assert_eq!((world.head(), world.pin(&name)), (head, bad));
    // One that the good pin holds is none in its way.
    adopt_floor(&world, &name, good);
    world.healed();
    assert_eq!(world.pin(&name), good);
    world.assert_sound();
}

/// From here on the policy has this floor.
fn adopt_floor(world: &World, name: &str, floor: ObjectId) {
    let rule = SecurityFloor { modules: [(ModuleName::new(name), floor)].into(), ..SecurityFloor::default() };
    let rules = Rules { security_floor: Some(rule), ..Rules::default() };
    let policy = Policy { rules, ..Policy::default() };
    let file = world.workspace.temp.path().join("policy.json");
    std::fs::write(&file, policy.to_canonical().expect("canonical")).expect("written");
    let made = world.ok(&["policy", "propose", &file.to_string_lossy(), "--json"]);
    let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    let id = made["proposal"].as_str().expect("an identity");
    world.ok(&["proposal", "approve", "--yes", id]);
    world.ok(&["proposal", "apply", id]);
}
