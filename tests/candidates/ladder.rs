//! What the daemon enacts by itself, rung by rung: real cycles, real commits, ballots that are signed.

use lambda_os::adapters::clock::SystemClock;
use lambda_os::adapters::governors::People;
use lambda_os::domain::event::Event;
use lambda_os::domain::governance::ballot::{Choice, SignedBallot};
use lambda_os::domain::governance::bounded::BoundedCertificate;
use lambda_os::domain::governance::key::PublicKey;
use lambda_os::domain::governance::members::{TrackRule, workspace_id};
use lambda_os::domain::governance::signature::{self, NAMESPACE};
use lambda_os::domain::heal::Rung;
use lambda_os::domain::id::ProposalId;
use lambda_os::domain::ladder::Right;
use lambda_os::domain::policy::{Bounds, Policy};
use lambda_os::domain::proposal::{Stage, Track};
use lambda_os::domain::report::{CycleReport, Enactment};
use lambda_os::ops::govern::Word;
use lambda_os::ops::{govern, trust};
use lambda_os::ports::{Clock as _, Journal as _};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::support::git;
use super::world::World;

fn key() -> PrivateKey {
    PrivateKey::new(KeypairData::from(Ed25519Keypair::from_seed(&[7; 32])), "operator").expect("a key")
}

fn bounds() -> Bounds {
    Bounds { modules: vec!["*".to_owned()], max_commits: 1000, max_per_day: 5, min_age_ms: 0 }
}

/// Every pin may be moved on this rung, as far as the policy says.
fn policy(rung: Rung, bounds: Option<Bounds>) -> Policy {
    Policy { rungs: [(Track::Leaf, rung), (Track::Core, rung)].into(), bounds, ..Policy::default() }
}

/// A workspace of one operator, in which something is behind.
fn world(policy: &Policy, delay_ms: i64) -> World {
    world_where(policy, |rule| rule.delay_ms = delay_ms)
}

/// The same with these rules of every track.
fn world_where(policy: &Policy, set: impl Fn(&mut TrackRule)) -> World {
    let mut world = World::new(8);
    world.rung = Rung::Bounded;
    let first = git(world.workspace.path(), ["rev-list", "--max-parents=0", "HEAD"]);
    let public = PublicKey::from_data(key().public_key().key_data().clone()).expect("it may sign");
    let workspace = workspace_id(first.trim().parse().expect("a commit"));
    let mut members = trust::founding(
        workspace,
        &[trust::Trusted { name: "operator".to_owned(), key: public, term: None }],
    )
    .expect("members");
    for rule in members.tracks.values_mut() {
        set(rule);
    }
    world.journal(|journal| {
        let state = journal.state().clone();
        trust::trust(journal, &state, &members, policy).expect("they are trusted");
    });
    assert!(!world.behind().is_empty());
    world
}

fn head(world: &World) -> String {
    git(world.workspace.path(), ["rev-parse", "HEAD"]).trim().to_owned()
}

fn vote(world: &World, id: ProposalId, choice: Choice) {
    world.journal(|journal| {
        let state = journal.state().clone();
        let rules = govern::rules(journal, &state).expect("rules");
        let case = govern::case(journal, &state, id).expect("a case");
        let seq = govern::next_seq(journal, &state, "operator").expect("a number");
        let head = case.record.base;
        let clock = SystemClock;
        let now_ms = clock.wall_ms();
        let said = Word { voter: "operator", choice, seq, reason: None, now_ms };
        let text = govern::draft(&rules, &case, head, &said).to_string();
        let signed = key().sign(NAMESPACE, HashAlg::Sha512, text.as_bytes()).expect("signed");
        let armor = signed.to_pem(LineEnding::LF).expect("armored");
        let signature = signature::from_armor(&armor).expect("a signature");
        let message = SignedBallot { text, signature }.to_message();
        govern::take_in(journal, &state, &message, now_ms).expect("taken in");
        if choice == Choice::Approve {
            // The certificate stands, also where its delay has to be waited for.
            let state = journal.state().clone();
            let _ = govern::certify(journal, &state, &People, id, &clock);
        }
    });
}

#[track_caller]
fn only(report: &CycleReport) -> &Enactment {
    let [one] = report.findings.enactments.as_slice() else {
        panic!("{:#?} of {:#?}", report.findings.enactments, report.findings.proposals)
    };
    one
}

/// The one proposal waits for this, and nothing moved.
#[track_caller]
fn waits(world: &World, before: &str, said: &str) -> CycleReport {
    let (report, _) = world.cycle();
    let why = only(&report).waits.as_deref().unwrap_or("it does not wait");
    assert!(why.contains(said), "{said}: {why}");
    assert_eq!(head(world), before);
    report
}

#[test]
fn within_bounds_an_upgrade_is_verified_enacted_and_says_that_nobody_voted() {
    let world = world(&policy(Rung::Bounded, Some(bounds())), 0);
    let before = head(&world);
    let (report, _) = world.cycle();
    let done = only(&report);
    assert_eq!((done.right, done.waits.as_deref()), (Right::Bounds, None));
    let commit = done.commit.expect("a commit").to_string();
    assert_eq!(head(&world), commit);
    assert_eq!(git(world.workspace.path(), ["rev-parse", "HEAD~1"]).trim(), before);
    assert_eq!(git(world.workspace.path(), ["status", "--porcelain", "--ignore-submodules=all"]), "");
    let message = git(world.workspace.path(), ["log", "-1", "--format=%B"]);
    assert!(message.contains("nobody voted") && message.contains("Verified: baf"), "{message}");
    let kinds = world.entries();
    let order = ["enact.started", "proposal.certified", "apply.started", "apply.finished"];
    let found: Vec<&String> = kinds.iter().filter(|kind| order.contains(&kind.as_str())).collect();
    assert_eq!(found, order);
    let record = &world.state().proposals[&done.id];
    let certificate: BoundedCertificate = world.load(&record.certificate.expect("certified"));
    assert_eq!(certificate.extent.enacted_today, 0);
    assert!(certificate.claims.claims.iter().all(|claim| claim.verdict.is_strong()));
    // Nothing is left to do, and nothing is done again.
    let (again, _) = world.cycle();
    assert!(again.findings.enactments.is_empty(), "{:#?}", again.findings.enactments);
    assert_eq!(head(&world), commit);
}

#[test]
fn what_exceeds_a_bound_waits_for_people_with_the_reason() {
    for (bounds, said) in [
        (Bounds { modules: vec!["another".to_owned()], ..bounds() }, "may move without a ballot"),
        (Bounds { min_age_ms: 1000, ..bounds() }, "seen there"),
    ] {
        let world = world(&policy(Rung::Bounded, Some(bounds)), 0);
        waits(&world, &head(&world), said);
    }
    let mut world = world(&policy(Rung::Bounded, Some(Bounds { max_commits: 1, ..bounds() })), 0);
    let module = world.behind().remove(0);
    world.push(&module, "one");
    world.push(&module, "and two");
    waits(&world, &head(&world), "commits, and 1 may be");
}

#[test]
fn a_day_has_as_many_as_the_policy_says() {
    let mut world = world(&policy(Rung::Bounded, Some(Bounds { max_per_day: 1, ..bounds() })), 0);
    let (report, _) = world.cycle();
    assert!(only(&report).commit.is_some());
    let module = world.workspace.sample.modules[0].name.clone();
    world.push(&module, "one more");
    waits(&world, &head(&world), "1 changes were enacted within bounds in 24 hours, and 1 may be");
}

#[test]
fn nothing_here_raises_what_the_policy_says() {
    for policy in [policy(Rung::Assisted, Some(bounds())), policy(Rung::Gated, Some(bounds()))] {
        let world = world(&policy, 0);
        let before = head(&world);
        let (report, _) = world.cycle();
        assert!(report.findings.enactments.is_empty());
        assert!(!report.findings.proposals.is_empty());
        assert_eq!(head(&world), before);
    }
    let unbounded = world(&policy(Rung::Bounded, None), 0);
    waits(&unbounded, &head(&unbounded), "states no bounds");
    let mut lowered = world(&policy(Rung::Bounded, Some(bounds())), 0);
    lowered.rung = Rung::Assisted;
    let before = head(&lowered);
    assert!(lowered.cycle().0.findings.enactments.is_empty());
    assert_eq!(head(&lowered), before);
}

#[test]
fn a_word_against_it_leaves_it_to_people() {
    let mut world = world(&policy(Rung::Bounded, Some(bounds())), 0);
    world.rung = Rung::Assisted;
    let (report, _) = world.cycle();
    let id = report.findings.proposals[0].id;
    vote(&world, id, Choice::Reject);
    world.rung = Rung::Bounded;
    let before = head(&world);
    let (report, _) = world.cycle();
    assert!(report.findings.enactments.iter().all(|row| row.id != id), "{:#?}", report.findings.enactments);
    assert_eq!(head(&world), before);
}

#[test]
fn what_was_approved_is_enacted_by_the_daemon_when_it_still_passes() {
    let mut world = world(&policy(Rung::Gated, None), 0);
    let (report, _) = world.cycle();
    let id = report.findings.proposals[0].id;
    vote(&world, id, Choice::Approve);
    // It passed when it was proposed and approved: that is not enough.
    let before = head(&world);
    world.checker.missing = Some("the tool is away".to_owned());
    waits(&world, &before, "the tool is away");
    world.checker.missing = None;
    let runs = world.cycle();
    let done = only(&runs.0);
    assert_eq!((done.id, done.right, done.waits.as_deref()), (id, Right::Ballots, None));
    assert_ne!(head(&world), before);
    assert!(runs.1 > 0, "what moves is run again, not remembered");
    let message = git(world.workspace.path(), ["log", "-1", "--format=%B"]);
    assert!(message.contains("Approved by operator. Verified: baf"), "{message}");
}

#[test]
fn what_was_approved_and_fails_now_is_not_enacted() {
    let mut world = world(&policy(Rung::Gated, None), 0);
    let (report, _) = world.cycle();
    let proposal = &report.findings.proposals[0];
    vote(&world, proposal.id, Choice::Approve);
    // Nothing that its key knows of changed: only running it again shows it.
    world.checker.always.insert(proposal.pins[0].module.clone());
    waits(&world, &head(&world), "is failed with it: it always does");
}

#[test]
fn a_track_that_is_strict_about_its_base_takes_no_certificate_of_another() {
    let world = world_where(&policy(Rung::Gated, None), |rule| rule.strict_base = true);
    let (report, _) = world.cycle();
    let id = report.findings.proposals[0].id;
    vote(&world, id, Choice::Approve);
    assert!(world.state().proposals[&id].certificate.is_some());
    git(world.workspace.path(), ["commit", "-q", "--allow-empty", "-m", "somebody else's"]);
    let before = head(&world);
    let (report, _) = world.cycle();
    assert_eq!(head(&world), before, "{:#?}", report.findings.enactments);
    // Where the track is not strict the same is enacted.
    let world = world_where(&policy(Rung::Gated, None), |_| {});
    let (report, _) = world.cycle();
    vote(&world, report.findings.proposals[0].id, Choice::Approve);
    git(world.workspace.path(), ["commit", "-q", "--allow-empty", "-m", "somebody else's"]);
    let before = head(&world);
    world.cycle();
    assert_ne!(head(&world), before);
}

#[test]
fn a_delay_is_waited_for() {
    let world = world(&policy(Rung::Gated, None), 3_600_000);
    let (report, _) = world.cycle();
    vote(&world, report.findings.proposals[0].id, Choice::Approve);
    waits(&world, &head(&world), "its delay or what holds it up is not over");
}

#[test]
fn a_stop_of_everything_stops_the_daemon_also_in_the_middle_of_a_cycle() {
    let world = world(&policy(Rung::Bounded, Some(bounds())), 0);
    let before = head(&world);
    world
        .journal(|journal| journal.append("all", &Event::AllHeld { reason: "an incident".to_owned() }))
        .expect("held");
    let (report, _) = world.cycle();
    assert!(report.findings.enactments.is_empty());
    assert_eq!(head(&world), before);
    world.journal(|journal| journal.append("all", &Event::AllUnheld {})).expect("let go of");
    // As a person who stops it while the cycle runs: the cycle's own view of the state is older.
    let stale = world.state();
    world
        .journal(|journal| journal.append("all", &Event::AllHeld { reason: "an incident".to_owned() }))
        .expect("held");
    let (report, _) = world.cycle_from(stale);
    let why = only(&report).waits.as_deref().expect("it waits");
    assert!(why.contains("everything is held: an incident"), "{why}");
    assert_eq!(head(&world), before);
    let record = &world.state().proposals[&only(&report).id];
    assert_eq!(record.stage, Stage::Open);
    assert!(world.state().open_apply.is_none());
}
