//! Revisions that must be known for a while before they are taken.

use lambda_os::domain::id::{ModuleName, ObjectId};
use lambda_os::domain::plan::PinMove;
use lambda_os::domain::report::CycleReport;
use lambda_os::sample::SampleSpec;

use crate::world::World;

const HOUR: u64 = 60 * 60 * 1000;

/// Where each pin that the plan moves goes.
fn planned(report: &CycleReport) -> Vec<&PinMove> {
    report.findings.plan.steps.iter().flat_map(|step| &step.pins).collect()
}

fn target(report: &CycleReport, module: &str) -> Option<ObjectId> {
    planned(report).iter().find(|pin| pin.module.as_str() == module).map(|pin| pin.to)
}

fn waits(report: &CycleReport, module: &str) -> String {
    let name = ModuleName::new(module);
    let row = report.findings.plan.waiting.iter().find(|waiting| waiting.module == name);
    row.map_or_else(String::new, |row| row.reason.clone())
}

fn world(rules: &str) -> (World, String) {
    let world = World::with(&SampleSpec::sized(8, 3), rules);
    let report = world.cycle();
    // One that depends on nothing that is behind, so that nothing but its age holds it up.
    let behind = world.workspace.sample.modules.iter().find(|module| module.behind > 0);
    let name = behind.expect("something is behind").name.clone();
    assert!(planned(&report).iter().all(|pin| pin.module.as_str() != name), "it is too young");
    (world, name)
}

#[test]
fn what_is_too_young_waits_and_the_newest_that_is_old_enough_is_taken() {
    let (mut world, name) = world("[rules.minimum-age]\nhours = 3\n");
    world.clock.pass(2 * HOUR);
    let report = world.cycle();
    let said = waits(&report, &name);
    assert!(said.contains("is known for 2 h, and the policy asks for 3 h"), "{said}");
    world.clock.pass(HOUR);
    let first = target(&world.cycle(), &name).expect("it is old enough");
    // Upstream goes on: what is old enough stays the target, until the new one is.
    let second = world.workspace.sample.push_commit(&name, "newer").expect("it is pushed");
    assert_ne!(first, second);
    let report = world.cycle();
    assert_eq!(target(&report, &name), Some(first), "{}", waits(&report, &name));
    world.clock.pass(3 * HOUR);
    assert_eq!(target(&world.cycle(), &name), Some(second));
}

#[test]
fn a_clock_that_is_set_makes_nothing_older() {
    let (world, name) = world("[rules.minimum-age]\nhours = 3\n");
    world.clock.set_by(400 * 24 * 3_600_000);
    assert_eq!(target(&world.cycle(), &name), None);
    world.clock.set_by(-400 * 24 * 3_600_000);
    assert_eq!(target(&world.cycle(), &name), None);
    world.clock.pass(3 * HOUR);
    assert!(target(&world.cycle(), &name).is_some());
}

#[test]
fn what_is_exempt_is_taken_at_once_and_judged_all_the_same() {
    let world = World::with(&SampleSpec::sized(8, 3), "[rules.minimum-age]\nhours = 3\nexempt = ['*']\n");
    let report = world.cycle();
    assert!(!planned(&report).is_empty());
    let phase = report.phases.iter().find(|phase| phase.name == "policy").expect("a phase");
    assert!(phase.outcome.starts_with("1 rules") && phase.outcome.contains("0 denied"), "{}", phase.outcome);
    assert_eq!(world.entries("proposal.judged").len(), report.findings.proposals.len());
}
