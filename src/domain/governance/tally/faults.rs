//! Ways to be counted twice, too late or for something else: each is refused for a reason of its own.

use super::super::ballot::Ballot;
use super::super::fixture::{World, commit, key, members, received, times};
use super::super::members::{Delegation, Members, Principal, Term, TrackRule, VetoRule};
use super::*;
use crate::domain::change::{DocumentDelta, DocumentKind};
use crate::domain::moment::Moment;

fn of(world: &World, ballots: &[Received]) -> Tally {
    tally(&world.question(), ballots, &[])
}

fn rule(world: &mut World) -> &mut TrackRule {
    world.members.tracks.get_mut(&Track::Leaf).unwrap()
}

fn whys(tally: &Tally) -> Vec<Uncounted> {
    tally.ignored.iter().map(|one| one.why.clone()).collect()
}

fn fingerprint(seed: u8) -> String {
    key(seed).fingerprint()
}

/// A ballot of `a` on a proposal of 2-of-3 that must not count, with what else is different, and why.
type Fault = (&'static str, Ballot, u8, fn(&mut World), Uncounted);

#[test]
fn what_must_not_count_does_not_and_says_why_in_its_own_words() {
    let world = || World::new(3);
    let yes = || world().ballot(0, Choice::Approve, 1);
    let other = World::with(members(3), 3);
    let nothing: fn(&mut World) = |_| {};
    let document = DocumentDelta { kind: DocumentKind::Policy, old: Cid::of(b"old"), new: Cid::of(b"new") };
    let faults: Vec<Fault> = vec![
        (
            "another workspace",
            Ballot { workspace: "x".to_owned(), ..yes() },
            1,
            nothing,
            Uncounted::OtherWorkspace,
        ),
        ("another proposal", Ballot { proposal: other.id(), ..yes() }, 1, nothing, Uncounted::OtherProposal),
        (
            "another change",
            Ballot { change: other.proposal.change, ..yes() },
            1,
            nothing,
            Uncounted::OtherChange,
        ),
        ("other pins", Ballot { pins: other.pins.clone(), ..yes() }, 1, nothing, Uncounted::OtherPins),
        ("a document", Ballot { document: Some(document), ..yes() }, 1, nothing, Uncounted::OtherDocument),
        ("another policy", Ballot { policy: Cid::of(b"x"), ..yes() }, 1, nothing, Uncounted::OtherPolicy),
        (
            "another epoch",
            Ballot { members_epoch: 7, ..yes() },
            1,
            nothing,
            Uncounted::OtherEpoch { epoch: 7 },
        ),
        (
            "another base",
            Ballot { seen_base: commit(8), ..yes() },
            1,
            |it| rule(it).strict_base = true,
            Uncounted::OtherBase,
        ),
        ("run out", Ballot { not_after: Moment::from_ms(9_000), ..yes() }, 1, nothing, Uncounted::Expired),
        (
            "a member who was removed",
            yes(),
            1,
            |it| drop(it.members.principals.remove(0)),
            Uncounted::NotAMember,
        ),
        (
            "a key that was taken away",
            yes(),
            101,
            |it| it.members.principals[0].keys.retain(|one| *one == key(1)),
            Uncounted::NotTheVotersKey,
        ),
        ("somebody else's key", yes(), 2, nothing, Uncounted::NotTheVotersKey),
        ("a key that holds no longer", yes(), 1, |it| term(it, None, Some(9_999)), Uncounted::KeyEnded),
        ("a key that does not hold yet", yes(), 1, |it| term(it, Some(10_001), None), Uncounted::KeyNotYet),
        ("a role that does not decide", yes(), 1, others_lead, Uncounted::NotOnThisTrack),
    ];
    for (what, ballot, seed, change, why) in faults {
        let mut world = world();
        let fine = of(&world, &[world.cast(1, Choice::Approve, 1), received(yes(), 1)]);
        assert_eq!(fine.state, TallyState::Approved);
        change(&mut world);
        let tally = of(&world, &[received(ballot, seed)]);
        assert_eq!((tally.state, tally.approving), (TallyState::Pending, 0), "{what}");
        assert_eq!(whys(&tally), [why], "{what}");
    }
    // A revoked key says since when.
    let world = world();
    let revoked = [(fingerprint(1), 42)].into();
    let tally = tally(&Question { revoked: &revoked, ..world.question() }, &[received(yes(), 1)], &[]);
    assert_eq!(whys(&tally), [Uncounted::KeyRevoked { entry: 42 }]);
    assert!(tally.ignored[0].reason.contains("revoked by entry 42"));
}

/// `b` and `c` decide on the track, and `a` does not.
fn others_lead(world: &mut World) {
    rule(world).roles = vec!["lead".to_owned()];
    for principal in &mut world.members.principals[1..] {
        principal.roles = vec!["lead".to_owned()];
    }
}

fn term(world: &mut World, from_ms: Option<i64>, until_ms: Option<i64>) {
    world.members.principals[0].terms.insert(fingerprint(1), Term { from_ms, until_ms });
}

#[test]
fn one_key_thrice_and_two_keys_of_one_principal_are_one_vote() {
    let world = World::new(3);
    let mine = |seq, seed| received(world.ballot(0, Choice::Approve, seq), seed);
    let thrice = of(&world, &[mine(1, 1), mine(2, 1), mine(3, 1)]);
    assert_eq!((thrice.state, thrice.approving), (TallyState::Pending, 1));
    assert_eq!(whys(&thrice), [Uncounted::Superseded { newer: 3 }, Uncounted::Superseded { newer: 3 }]);
    let two_keys = of(&world, &[mine(1, 1), mine(1, 101)]);
    assert_eq!((two_keys.state, two_keys.approving), (TallyState::Pending, 1));
    assert_eq!(whys(&two_keys), [Uncounted::Again]);
}

#[test]
fn a_threshold_that_was_lowered_after_voting_revives_nothing() {
    let world = World::new(3);
    let ballots = [world.cast(0, Choice::Approve, 1)];
    let mut members = world.members.clone();
    members.epoch = 2;
    members.tracks.entry(Track::Leaf).and_modify(|rule| rule.threshold = 1);
    let anew = World::with(members, 2);
    let tally = of(&anew, &ballots);
    assert_eq!((tally.state, whys(&tally)), (TallyState::Pending, vec![Uncounted::OtherProposal]));
    let renamed = received(Ballot { proposal: anew.id(), ..world.ballot(0, Choice::Approve, 1) }, 1);
    assert_eq!(whys(&of(&anew, &[renamed])), [Uncounted::OtherEpoch { epoch: 1 }]);
}

#[test]
fn two_ballots_at_one_number_void_each_other_and_are_kept() {
    let world = World::new(3);
    let (yes, no) = (world.cast(0, Choice::Approve, 5), world.cast(0, Choice::Reject, 5));
    let tally = of(&world, &[world.cast(0, Choice::Approve, 4), yes.clone(), no.clone()]);
    assert_eq!((tally.state, tally.counted.len()), (TallyState::Pending, 0));
    let both: BTreeSet<Cid> = [yes.message, no.message].into();
    let conflicts = tally.ignored.iter().filter(|one| one.why == Uncounted::Conflict { seq: 5 });
    assert_eq!(conflicts.map(|one| one.message).collect::<BTreeSet<Cid>>(), both);
    // Once the one was certified, the other comes too late to undo it.
    let approvals = [yes.message].into();
    let certified = Some(Final { approvals: &approvals, checked_ms: 0 });
    let late = super::tally(&Question { certified, ..world.question() }, &[yes, no.clone()], &[]);
    assert_eq!((late.state, late.approving), (TallyState::Approved, 1));
    assert_eq!((late.ignored[0].message, &late.ignored[0].why), (no.message, &Uncounted::Late));
}

#[test]
fn keys_that_end_bring_no_older_word_back() {
    let mut world = World::new(1);
    let yes = received(world.ballot(0, Choice::Approve, 1), 101);
    let no = received(world.ballot(0, Choice::Reject, 2), 1);
    term(&mut world, None, Some(9_999));
    let tally = of(&world, &[yes.clone(), no.clone()]);
    assert_eq!((tally.state, tally.approving), (TallyState::Pending, 0));
    // A key that does not hold yet takes nobody's place.
    world.members.principals[0].terms.clear();
    term(&mut world, Some(20_000), None);
    assert_eq!(of(&world, &[yes.clone(), no.clone()]).state, TallyState::Approved);
    // Its term begins by the slower clock.
    let ahead = Times { wall_ms: 30_000, ..times(19_999) };
    let tally = tally_at(&world, ahead, &[no]);
    assert_eq!(whys(&tally), [Uncounted::KeyNotYet]);
}

fn tally_at(world: &World, now: Times, ballots: &[Received]) -> Tally {
    tally(&Question { now, ..world.question() }, ballots, &[])
}

#[test]
fn weights_add_up_and_roles_must_sign() {
    let mut world = World::new(3);
    let heavy = &mut world.members.principals[2];
    (heavy.weight, heavy.roles) = (3, vec!["security".to_owned()]);
    rule(&mut world).threshold = 3;
    world.members.check().unwrap();
    let world = World::with(world.members, 2);
    let yes = |voter| world.cast(voter, Choice::Approve, 1);
    assert_eq!(of(&world, &[yes(0), yes(1)]).state, TallyState::Pending);
    assert_eq!(of(&world, &[yes(2)]).state, TallyState::Approved);
    // Three of five weigh against: two cannot reach three.
    assert_eq!(of(&world, &[world.cast(2, Choice::Reject, 1)]).state, TallyState::Rejected);
    let mut members = world.members.clone();
    let rule = members.tracks.get_mut(&Track::Leaf).unwrap();
    (rule.threshold, rule.at_least) = (2, [("security".to_owned(), 1)].into());
    let world = World::with(members, 2);
    let cast = |voter, choice| world.cast(voter, choice, 1);
    let two = [cast(0, Choice::Approve), cast(1, Choice::Approve)];
    assert_eq!((of(&world, &two).state, of(&world, &two).approving), (TallyState::Pending, 2));
    let against = [two.as_slice(), &[cast(2, Choice::Reject)]].concat();
    assert_eq!(of(&world, &against).state, TallyState::Rejected);
    assert_eq!(
        of(&world, &[two.as_slice(), &[cast(2, Choice::Approve)]].concat()).state,
        TallyState::Approved
    );
}

/// `b` and `c` have `a` speak for them on the leaf track; `d` has `b`.
fn delegating() -> World {
    let mut world = World::new(4);
    for (who, to) in [(1, "a"), (2, "a"), (3, "b")] {
        let delegation = Delegation { to: to.to_owned(), until_ms: 20_000 };
        world.members.principals[who].delegates.insert(Track::Leaf, delegation);
    }
    world.members.check().unwrap();
    World::with(world.members, 2)
}

fn approving(tally: &Tally) -> Vec<&str> {
    tally.approvals().map(|one| one.voter.as_str()).collect()
}

#[test]
fn delegates_speak_for_who_has_not_spoken_and_for_nobody_else() {
    let world = delegating();
    let cast = |voter, choice| world.cast(voter, choice, 1);
    let one = of(&world, &[cast(0, Choice::Approve)]);
    assert_eq!((approving(&one), one.state), (vec!["a", "b", "c"], TallyState::Approved));
    assert_eq!(one.counted[1].through.as_deref(), Some("a"));
    assert_eq!(one.missing, ["d"], "it is not transitive");
    for own in [Choice::Reject, Choice::Abstain, Choice::Veto] {
        let own = of(&world, &[cast(0, Choice::Approve), cast(1, own)]);
        assert_eq!(approving(&own), ["a", "c"]);
    }
    // A word that has run out or that was taken back by another is still the principal's own.
    let short = Ballot { not_after: Moment::from_ms(9_000), ..world.ballot(1, Choice::Reject, 1) };
    assert_eq!(approving(&of(&world, &[cast(0, Choice::Approve), received(short, 2)])), ["a", "c"]);
    // Who speaks himself is counted once, and speaks for his own delegators.
    let both = of(&world, &[cast(0, Choice::Approve), cast(1, Choice::Approve)]);
    assert_eq!((approving(&both), both.approving), (vec!["a", "b", "c", "d"], 4));
    // It ends by its time, and is for its track alone.
    assert_eq!(approving(&tally_at(&world, times(20_001), &[cast(0, Choice::Approve)])), ["a"]);
    let mut core = delegating();
    core.proposal.track = Track::Core;
    assert_eq!(approving(&of(&core, &[core.cast(0, Choice::Approve, 1)])), ["a"]);
    // Who has others say another target elsewhere is not counted here as well.
    let elsewhere = World::with(world.members.clone(), 3);
    let split =
        tally(&world.question(), &[cast(0, Choice::Approve)], &[elsewhere.cast(1, Choice::Approve, 1)]);
    assert_eq!(approving(&split), ["a", "c"]);
    // Being spoken for is no signature of a role.
    let mut members = world.members.clone();
    members.principals[1].roles = vec!["security".to_owned()];
    members.tracks.entry(Track::Leaf).and_modify(|rule| rule.at_least = [("security".to_owned(), 1)].into());
    let world = World::with(members, 2);
    let one = of(&world, &[world.cast(0, Choice::Approve, 1)]);
    assert_eq!((one.approving, one.state), (3, TallyState::Pending));
}

#[test]
fn vetoes_suspend_and_end_and_repeal_nothing() {
    let mut world = World::new(3);
    world.members.principals[2].roles = vec!["guard".to_owned()];
    rule(&mut world).veto = Some(VetoRule { roles: vec!["guard".to_owned()], quorum: 1, expiry_ms: 5_000 });
    world.members.check().unwrap();
    let world = World::with(world.members, 2);
    let veto = |voter, seq, ends| Ballot {
        not_after: Moment::from_ms(ends),
        ..world.ballot(voter, Choice::Veto, seq)
    };
    let yes = [world.cast(0, Choice::Approve, 1), world.cast(1, Choice::Approve, 1)];
    let with = |ballot: Ballot, seed| of(&world, &[yes.as_slice(), &[received(ballot, seed)]].concat());
    let held = with(veto(2, 1, 15_000), 3);
    assert_eq!(
        (held.state, held.suspended_until_ms, held.is_enactable()),
        (TallyState::Approved, Some(15_000), false)
    );
    assert_eq!(held.earliest_enactment_ms, Some(15_000));
    // One that reaches further than the rule lets it does not count yet, and none of who may not.
    assert_eq!(whys(&with(veto(2, 1, 16_000), 3)), [Uncounted::VetoTooLong { most_ms: 5_000 }]);
    assert!(with(veto(2, 1, 16_000), 3).is_enactable());
    assert!(whys(&with(veto(1, 2, 15_000), 2)).contains(&Uncounted::MayNotVeto));
    // After the certificate it suspends as well; its end is seen by the slower clock; then all is as it was.
    let approvals = yes.iter().map(|one| one.message).collect();
    let certified = Some(Final { approvals: &approvals, checked_ms: 0 });
    let all = [yes.as_slice(), &[received(veto(2, 1, 15_000), 3)]].concat();
    let at = |now| tally(&Question { certified, now, ..world.question() }, &all, &[]);
    assert!(!at(times(15_000)).is_enactable() && at(times(15_000)).certified);
    assert!(!at(Times { wall_ms: 900_000, ..times(15_000) }).is_enactable());
    assert!(at(times(16_000)).is_enactable());
    // Taken back by a newer word.
    let back = [all.as_slice(), &[world.cast(2, Choice::Abstain, 2)]].concat();
    assert!(tally(&Question { certified, ..world.question() }, &back, &[]).is_enactable());
}

/// A change of the members document in force to this one.
fn succession(old: &Members, change: impl FnOnce(&mut Members)) -> (World, Members) {
    let mut next = Members { v: 2, epoch: old.epoch + 1, previous: Some(old.cid().unwrap()), ..old.clone() };
    change(&mut next);
    next.check().unwrap();
    let mut world = World::with(old.clone(), 2);
    let document =
        DocumentDelta { kind: DocumentKind::Members, old: old.cid().unwrap(), new: next.cid().unwrap() };
    world.delta.pins.clear();
    world.pins.clear();
    world.delta.document = Some(document);
    world.proposal.change = world.delta.id().unwrap();
    world.proposal.track = Track::Membership;
    (world, next)
}

#[test]
fn a_change_of_the_members_needs_both_documents() {
    // `a` and `b` are there; `c` comes, and all three must agree from then on.
    let old = members(2);
    let (world, next) = succession(&old, |next| {
        next.principals.push(Principal::with_keys("c".to_owned(), vec![key(3)]));
        next.tracks.entry(Track::Membership).and_modify(|rule| rule.threshold = 3);
    });
    let question = Question { successor: Some(&next), ..world.question() };
    let of = |voters: &[u8]| {
        let ballots: Vec<_> = voters.iter().map(|voter| world.cast(*voter, Choice::Approve, 1)).collect();
        tally(&question, &ballots, &[])
    };
    let two = of(&[0, 1]);
    assert_eq!((two.state, two.approving), (TallyState::Pending, 2));
    assert_eq!(two.successor.unwrap().missing, ["c"]);
    assert_eq!(of(&[0, 2]).state, TallyState::Pending);
    let three = of(&[0, 1, 2]);
    assert_eq!((three.state, three.approving, three.ignored.len()), (TallyState::Approved, 2, 0));
    assert_eq!(three.successor.unwrap().approving, 3);
    let against = [world.cast(0, Choice::Approve, 1), world.cast(2, Choice::Reject, 1)];
    assert_eq!(tally(&question, &against, &[]).state, TallyState::Rejected);
    // A stranger to both is none of either; who is in the next alone has no say in the one in force.
    let stranger = received(world.ballot(7, Choice::Approve, 1), 8);
    assert_eq!(whys(&tally(&question, &[stranger], &[])), [Uncounted::NotAMember]);
    let alone = tally(&world.question(), &[world.cast(2, Choice::Approve, 1)], &[]);
    assert_eq!(whys(&alone), [Uncounted::NotAMember]);
    // One successor at a time.
    let (fork, _) = succession(&old, |next| next.heal = true);
    let split = tally(&question, &[world.cast(0, Choice::Approve, 1)], &[fork.cast(0, Choice::Approve, 2)]);
    assert_eq!(whys(&split), [Uncounted::OtherSuccessor { proposal: fork.id() }]);
}

#[test]
fn after_its_end_a_members_document_decides_on_its_successor_alone() {
    let old = Members { expires_ms: Some(9_999), ..members(1) };
    let world = World::with(old.clone(), 2);
    let tally = of(&world, &[world.cast(0, Choice::Approve, 1)]);
    assert_eq!((tally.state, tally.narrowed.len(), tally.outcome), (TallyState::Pending, 1, Outcome::Enough));
    let (world, next) = succession(&old, |next| next.expires_ms = None);
    let question = Question { successor: Some(&next), ..world.question() };
    let tally = super::tally(&question, &[world.cast(0, Choice::Approve, 1)], &[]);
    assert_eq!(tally.state, TallyState::Approved);
}
