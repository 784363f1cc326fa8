//! Upgrades verified in combination, through whole cycles: real git, real upstreams, real derivation;
//! a checker decides by what a module's files say at its revision.

#[path = "../support/mod.rs"]
mod support;

mod ladder;
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use lambda_os::domain::candidates::Reason;
use lambda_os::domain::health::Step;
use lambda_os::domain::id::ModuleName;
use lambda_os::domain::plan::PinMove;
use lambda_os::domain::proposal::{Closure, Purpose, Stage};
use lambda_os::domain::report::{CycleReport, NotProposed};

use support::{Fingerprint, git};
use world::World;

fn modules(pins: &[PinMove]) -> BTreeSet<String> {
    pins.iter().map(|pin| pin.module.to_string()).collect()
}

fn not_proposed<'a>(report: &'a CycleReport, module: &str) -> &'a NotProposed {
    let rows = &report.findings.not_proposed;
    let row = rows.iter().find(|row| modules(&row.pins).contains(module));
    row.unwrap_or_else(|| panic!("{module} is not among {rows:#?}"))
}

/// The one open proposal moves exactly what is behind without these, and was verified.
#[track_caller]
fn assert_green(world: &World, report: &CycleReport, without: &[&str]) {
    let mut wanted: BTreeSet<String> = world.behind().into_iter().collect();
    for name in without {
        assert!(wanted.remove(*name), "{name} is not behind");
    }
    let [open] = report.findings.proposals.as_slice() else { panic!("{:#?}", report.findings.proposals) };
    assert_eq!(modules(&open.pins), wanted);
    assert_eq!(open.purpose, Purpose::Upgrade);
    let state = world.state();
    let record = &state.proposals[&open.id];
    let verified = record.verified().expect("it was verified as it is now");
    let claims = world.claims(&verified.claims);
    assert_eq!(claims.tree, record.tree);
    assert!(claims.claims.iter().all(|claim| claim.verdict.is_healthy()));
    let claimed: BTreeSet<String> = claims.claims.iter().map(|claim| claim.module.to_string()).collect();
    assert!(claimed.is_superset(&wanted), "every module that moves was verified: {claimed:?}");
    for claim in &claims.claims {
        assert_eq!(state.verdicts.on(&claim.module, &claim.key).expect("known").evidence, claim.evidence);
    }
    assert!(record.notes[0].contains("verified"), "{:?}", record.notes);
}

#[test]
fn one_bad_commit_is_named_and_the_rest_is_one_proposal() {
    let mut world = World::new(21);
    let bad = "sample-waku-module";
    world.push(bad, "broken by a person");
    let before = Fingerprint::of(&world.workspace.sample.superproject);
    let (report, _) = world.cycle();
    before.assert_equal(&Fingerprint::of(&world.workspace.sample.superproject));
    assert_green(&world, &report, &[bad]);
    let row = not_proposed(&report, bad);
    assert!(row.reason.starts_with(&format!("culprit: with {bad}, ")), "{}", row.reason);
    assert!(row.reason.contains("fails at command: broken by a person (evidence bafkrei"), "{}", row.reason);
    let found = world.found();
    let [aside] = found.aside.as_slice() else { panic!("{:#?}", found.aside) };
    assert_eq!((aside.why, modules(&aside.pins)), (Reason::Culprit, BTreeSet::from([bad.to_owned()])));
    let own = aside.shown_by.iter().find(|claim| claim.module.as_str() == bad).expect("it fails itself");
    assert!(own.verdict.is_bad());
    let evidence: serde_json::Value = world.load(&own.evidence);
    assert_eq!(evidence["module"], bad);

    // Nothing moved: nothing is run, derived or written.
    let entries = world.entries().len();
    let (report, runs) = world.cycle();
    assert_eq!(runs, 0);
    assert_eq!(world.entries()[entries..], ["cycle.started", "cycle.finished"]);
    assert_green(&world, &report, &[bad]);
    assert!(not_proposed(&report, bad).reason.starts_with("culprit"));

    // Upstream repairs it: one proposal with all of it takes the other's place.
    let open = report.findings.proposals[0].id;
    world.push(bad, "good again");
    let (report, _) = world.cycle();
    assert_green(&world, &report, &[]);
    assert_eq!(report.proposal_changes.made[0].supersedes, Some(open));
}

#[test]
fn of_two_that_break_only_together_the_later_waits_and_says_with_what() {
    let mut world = World::new(21);
    let (lower, upper) = ("sample-waku-module", "sample-chat-module");
    world.push(lower, "another protocol");
    world.push(upper, &format!("with {lower} it does not get on"));
    let (report, _) = world.cycle();
    assert_green(&world, &report, &[upper]);
    let reason = &not_proposed(&report, upper).reason;
    let wanted = format!("conflict: together with {lower}, {upper} fails at command: with {lower}");
    assert!(reason.starts_with(&wanted) && reason.ends_with("by itself it holds"), "{reason}");
    assert_eq!(world.found().aside[0].with, [ModuleName::new(lower)]);
}

#[test]
fn what_needs_another_moves_with_it_and_waits_when_that_is_a_culprit() {
    let mut world = World::new(21);
    let (lower, upper) = ("sample-waku-module", "sample-chat-module");
    world.push(lower, "a new interface");
    world.push(upper, &format!("needs {lower} as it is now"));
    let (report, _) = world.cycle();
    assert_green(&world, &report, &[]);

    // The lower one breaks; the upper one held with it in the run that showed that.
    world.push(lower, "broken meanwhile");
    let (report, _) = world.cycle();
    assert_green(&world, &report, &[lower, upper]);
    assert!(not_proposed(&report, lower).reason.starts_with("culprit"));
    let reason = &not_proposed(&report, upper).reason;
    assert!(
        reason.starts_with(&format!("waits for {lower}, set aside: without it, {upper} fails")),
        "{reason}"
    );
}

#[test]
fn a_module_that_does_not_move_can_name_the_culprit() {
    let mut world = World::new(21);
    let (moves, fails) = ("sample-waku-module", "sample-chat-ui");
    assert!(!world.behind().contains(&fails.to_owned()), "it stays where it is");
    world.push(moves, "another protocol");
    world.checker.breaks.insert(ModuleName::new(fails), ModuleName::new(moves));
    let (report, _) = world.cycle();
    assert_green(&world, &report, &[moves]);
    let reason = &not_proposed(&report, moves).reason;
    let wanted = format!("culprit: with {moves}, {fails} fails at command: {moves} is another");
    assert!(reason.starts_with(&wanted), "{reason}");
}

#[test]
fn all_bad_proposes_nothing_and_ends_what_was_open() {
    let mut world = World::new(12);
    let (report, _) = world.cycle_with(false);
    let open = report.findings.proposals.len();
    assert!(open > 1);
    // What is open is for these revisions, and stays; what comes new is bad.
    for name in world.behind() {
        world.push(&name, "broken everywhere");
    }
    let (report, _) = world.cycle_with(false);
    assert_eq!(report.findings.proposals.len(), open, "unverified, they are proposed");
    let (report, _) = world.cycle();
    assert!(report.findings.proposals.is_empty(), "{:#?}", report.findings.proposals);
    assert_eq!(report.proposal_changes.closed.len(), open);
    for name in world.behind() {
        assert!(not_proposed(&report, &name).reason.starts_with("culprit"), "{name}");
    }
    assert!(world.state().proposals.values().all(|record| record.stage != Stage::Open));
}

#[test]
fn what_was_proposed_one_by_one_gives_way_to_what_holds_together() {
    let mut world = World::new(12);
    let bad = world.behind().pop().expect("one is behind");
    world.push(&bad, "broken");
    let (report, _) = world.cycle_with(false);
    let open = report.findings.proposals.len();
    assert!(open > 2);
    let (report, _) = world.cycle();
    assert_green(&world, &report, &[&bad]);
    let closed = &report.proposal_changes.closed;
    let over = |outcome| closed.iter().filter(|row| row.outcome == outcome).count();
    // One is superseded by being named so, the others are closed; the culprit's own is over.
    assert_eq!((over(Closure::Superseded), over(Closure::Obsolete)), (open - 2, 1));
    let own = closed.iter().find(|row| row.outcome == Closure::Obsolete).expect("the culprit's own");
    assert!(own.reason.starts_with("culprit"), "{}", own.reason);
}

#[test]
fn what_cannot_be_verified_is_proposed_one_by_one_and_says_so() {
    let mut world = World::new(12);
    world.checker.missing = Some("no sandbox can be had".to_owned());
    let (report, _) = world.cycle();
    let open = &report.findings.proposals;
    assert!(open.len() > 1);
    let state = world.state();
    for row in open {
        let record = &state.proposals[&row.id];
        assert!(record.verified().is_none());
        let note = &record.notes[0];
        assert!(note.starts_with("not verified: could not be verified"), "{note}");
        assert!(note.contains("no sandbox can be had"), "{note}");
    }
    let found = world.found();
    assert!(found.green.is_empty() && found.runs == 1);
    let entries = world.entries().len();
    world.cycle();
    assert_eq!(world.entries()[entries..], ["cycle.started", "cycle.finished"]);

    // The sandbox is there: everything is verified, and one proposal takes the place of all.
    world.checker.missing = None;
    let (report, _) = world.cycle();
    assert_green(&world, &report, &[]);
}

#[test]
fn one_module_that_cannot_be_looked_at_keeps_out_itself_alone() {
    let mut world = World::new(21);
    world.push("sample-wallet-ui", "blind");
    let (report, _) = world.cycle();
    let open = &report.findings.proposals;
    let own =
        open.iter().find(|row| modules(&row.pins).contains("sample-wallet-ui")).expect("it is proposed");
    assert_eq!(own.pins.len(), 1);
    let state = world.state();
    assert!(state.proposals[&own.id].verified().is_none());
    let note = &state.proposals[&own.id].notes[0];
    assert!(note.contains("of sample-wallet-ui nothing is known: command: blind"), "{note}");
    let rest = open.iter().find(|row| row.id != own.id).expect("the others");
    assert_eq!((open.len(), rest.pins.len()), (2, world.behind().len() - 1));
    assert!(state.proposals[&rest.id].verified().is_some());
}

#[test]
fn a_base_that_moved_is_verified_anew_and_nothing_is_run() {
    let world = World::new(12);
    let (report, _) = world.cycle();
    let before = report.findings.proposals.clone();
    assert_green(&world, &report, &[]);
    std::fs::write(world.workspace.path().join("README.md"), "another file\n").expect("written");
    git(world.workspace.path(), ["commit", "-q", "-am", "docs"]);
    let entries = world.entries().len();
    let (report, runs) = world.cycle();
    assert_eq!(runs, 0, "what the modules see is the same");
    assert_eq!(report.findings.proposals, before);
    assert_green(&world, &report, &[]);
    let new = &world.entries()[entries..];
    assert!(new.contains(&"proposal.derived".to_owned()) && new.contains(&"proposal.verified".to_owned()));
}

#[test]
fn what_fails_as_it_did_before_is_nobodys_fault() {
    let mut world = World::new(21);
    let (moves, fails) = ("sample-waku-module", "sample-chat-ui");
    world.push(moves, "another protocol");
    world.checker.always.insert(ModuleName::new(fails));
    let (report, _) = world.cycle();
    let health = report.findings.health.iter().find(|row| row.name.as_str() == fails).expect("a row");
    assert!(health.verdict.is_bad());
    assert!(world.found().aside.is_empty() && report.findings.not_proposed.is_empty());
    let state = world.state();
    let record = &state.proposals[&report.findings.proposals[0].id];
    let claims = world.claims(&record.verified().expect("it was verified").claims);
    let claim =
        claims.claims.iter().find(|claim| claim.module.as_str() == fails).expect("it sees what moves");
    assert!(claim.verdict.is_bad() && claim.as_before);
    assert!(record.notes.iter().any(|note| note.contains("as it is without this")), "{:?}", record.notes);
}

#[test]
fn a_machine_that_breaks_meanwhile_names_no_culprit() {
    let mut world = World::new(12);
    world.cycle();
    let behind = world.behind();
    world.push(&behind[0], "something new");
    world.checker.machine_is_broken.store(true, Ordering::Relaxed);
    let (report, _) = world.cycle();
    let found = world.found();
    assert!(found.aside.iter().all(|aside| aside.why == Reason::Unverified), "{:#?}", found.aside);
    assert!(found.aside.iter().any(|aside| aside.reason.contains("in the workspace as it is, too")));
    assert!(report.findings.not_proposed.is_empty(), "{:#?}", report.findings.not_proposed);
    // What was seen of the workspace meanwhile is reported, and is what the journal says.
    let state = world.state();
    for row in &report.findings.health {
        let known = state.verdicts.on(&row.name, &row.key.expect("it was run")).expect("journalled");
        assert_eq!(known.verdict, row.verdict, "{}", row.name);
    }
    assert!(report.findings.health.iter().any(|row| row.verdict.is_bad()));
}

#[test]
fn an_upgrade_that_changes_no_derivation_says_so() {
    let mut world = World::new(12);
    world.steps = vec![Step::Eval];
    let (report, _) = world.cycle();
    let state = world.state();
    let notes = &state.proposals[&report.findings.proposals[0].id].notes;
    assert!(notes.iter().any(|note| note.starts_with("it changes no derivation")), "{notes:?}");
    // With a step that looks at the files themselves there is no derivation to speak of.
    let world = World::new(12);
    let (report, _) = world.cycle();
    let state = world.state();
    let notes = &state.proposals[&report.findings.proposals[0].id].notes;
    assert!(!notes.iter().any(|note| note.starts_with("it changes no derivation")), "{notes:?}");
}
