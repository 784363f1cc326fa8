use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::ballot::Ballot;
use super::super::fixture::{World, commit, received, times};
use super::*;
use crate::domain::moment::Moment;

fn of(world: &World, ballots: &[Received]) -> Tally {
    tally(&world.question(), ballots, &[])
}

/// The only ballot is ignored for this reason, and nothing counts.
#[track_caller]
fn ignored(world: &World, ballot: Received, why: Uncounted) {
    let tally = of(world, &[ballot]);
    assert_eq!(tally.ignored.iter().map(|one| &one.why).collect::<Vec<_>>(), [&why]);
    assert_eq!(tally.counted, []);
    assert_ne!(tally.state, TallyState::Approved);
}

#[test]
fn one_of_one_approves_and_rejects() {
    let world = World::new(1);
    assert_eq!(of(&world, &[]).state, TallyState::Pending);
    assert_eq!(of(&world, &[]).missing, ["a"]);
    let approved = of(&world, &[world.cast(0, Choice::Approve, 1)]);
    assert_eq!((approved.state, approved.earliest_enactment_ms), (TallyState::Approved, Some(10_000)));
    assert!(approved.missing.is_empty());
    assert_eq!(of(&world, &[world.cast(0, Choice::Reject, 1)]).state, TallyState::Rejected);
    assert_eq!(of(&world, &[world.cast(0, Choice::Veto, 1)]).state, TallyState::Rejected);
    assert_eq!(of(&world, &[world.cast(0, Choice::Abstain, 1)]).state, TallyState::Pending);
}

#[test]
fn principals_are_counted_not_keys_and_not_ballots() {
    let world = World::new(3);
    let mine = |seq, seed| received(world.ballot(0, Choice::Approve, seq), seed);
    // Three ballots of one key; and one each of two keys of one principal.
    for ballots in [[mine(1, 1), mine(2, 1), mine(3, 1)], [mine(1, 1), mine(1, 101), mine(2, 101)]] {
        let tally = of(&world, &ballots);
        assert_eq!((tally.state, tally.approvals().count()), (TallyState::Pending, 1));
        assert_eq!(tally.ignored.len(), 2);
    }
    // The same ballot signed by both keys of its voter is one ballot.
    let again = of(&world, &[mine(1, 1), mine(1, 101)]);
    assert_eq!(again.ignored[0].why, Uncounted::Again);
    let two = of(&world, &[mine(1, 1), world.cast(1, Choice::Approve, 1)]);
    assert_eq!(two.state, TallyState::Approved);
    assert_eq!(two.missing, ["c"]);
}

#[test]
fn enough_rejections_decide() {
    let world = World::new(3);
    let one = [world.cast(0, Choice::Reject, 1), world.cast(1, Choice::Approve, 1)];
    assert_eq!(of(&world, &one).state, TallyState::Pending);
    let two = [world.cast(0, Choice::Reject, 1), world.cast(1, Choice::Reject, 1)];
    assert_eq!(of(&world, &two).state, TallyState::Rejected);
}

#[test]
fn a_ballot_for_anything_else_does_not_count() {
    let world = World::new(1);
    let ballot = || world.ballot(0, Choice::Approve, 1);
    let other = World::with(world.members.clone(), 3);
    for (wrong, why) in [
        (Ballot { workspace: "other".to_owned(), ..ballot() }, Uncounted::OtherWorkspace),
        (Ballot { proposal: other.id(), ..ballot() }, Uncounted::OtherProposal),
        (Ballot { change: other.proposal.change, ..ballot() }, Uncounted::OtherChange),
        (Ballot { pins: other.pins.clone(), ..ballot() }, Uncounted::OtherPins),
        (Ballot { pins: Vec::new(), ..ballot() }, Uncounted::OtherPins),
        (Ballot { policy: Cid::of(b"other"), ..ballot() }, Uncounted::OtherPolicy),
        (Ballot { members_epoch: 2, ..ballot() }, Uncounted::OtherEpoch { epoch: 2 }),
        (Ballot { voter: "z".to_owned(), ..ballot() }, Uncounted::NotAMember),
        (Ballot { not_after: Moment::from_ms(9_000), ..ballot() }, Uncounted::Expired),
    ] {
        ignored(&world, received(wrong, 1), why);
    }
    ignored(&world, received(ballot(), 2), Uncounted::NotTheVotersKey);
    let said = "the signature does not hold".to_owned();
    let broken = Received { message: Cid::of(b"x"), verified: Err(said.clone()) };
    ignored(&world, broken, Uncounted::Invalid { said });
}

#[test]
fn another_base_counts_unless_the_track_is_strict() {
    let mut world = World::new(1);
    let elsewhere = received(Ballot { seen_base: commit(8), ..world.ballot(0, Choice::Approve, 1) }, 1);
    assert_eq!(of(&world, std::slice::from_ref(&elsewhere)).state, TallyState::Approved);
    world.members.tracks.get_mut(&crate::domain::proposal::Track::Leaf).unwrap().strict_base = true;
    ignored(&world, elsewhere, Uncounted::OtherBase);
    assert_eq!(of(&world, &[world.cast(0, Choice::Approve, 1)]).state, TallyState::Approved);
}

#[test]
fn what_is_unverified_counts_only_where_the_policy_allows_it() {
    let world = World::new(1);
    let strict = Question { allow_unverified: false, ..world.question() };
    let plain = tally(&strict, &[world.cast(0, Choice::Approve, 1)], &[]);
    assert_eq!(plain.ignored[0].why, Uncounted::Unverified);
    let rejected = tally(&strict, &[world.cast(0, Choice::Reject, 1)], &[]);
    assert_eq!(rejected.state, TallyState::Rejected);
    let verified = received(Ballot { verified: true, ..world.ballot(0, Choice::Approve, 1) }, 1);
    assert_eq!(tally(&strict, &[verified], &[]).state, TallyState::Approved);
}

#[test]
fn the_last_word_holds_even_when_it_has_run_out() {
    let world = World::new(1);
    let (yes, no) = (world.cast(0, Choice::Approve, 1), world.cast(0, Choice::Reject, 2));
    assert_eq!(of(&world, &[yes.clone(), no]).state, TallyState::Rejected);
    let short = Ballot { not_after: Moment::from_ms(9_000), ..world.ballot(0, Choice::Reject, 2) };
    let tally = of(&world, &[yes, received(short, 1)]);
    assert_eq!((tally.state, tally.counted.len()), (TallyState::Pending, 0));
    let whys: Vec<_> = tally.ignored.into_iter().map(|ignored| ignored.why).collect();
    assert!(
        whys.contains(&Uncounted::Expired) && whys.contains(&Uncounted::Superseded { newer: 2 }),
        "{whys:?}"
    );
}

#[test]
fn two_words_at_one_number_void_each_other() {
    let world = World::new(1);
    let (yes, no) = (world.cast(0, Choice::Approve, 5), world.cast(0, Choice::Reject, 5));
    let older = world.cast(0, Choice::Approve, 4);
    let tally = of(&world, &[older.clone(), yes.clone(), no.clone()]);
    assert_eq!((tally.state, tally.counted.len()), (TallyState::Pending, 0));
    let conflicts = tally.ignored.iter().filter(|one| one.why == Uncounted::Conflict { seq: 5 });
    assert_eq!(conflicts.map(|one| one.message).collect::<Vec<_>>(), {
        let mut both = vec![yes.message, no.message];
        both.sort();
        both
    });
    // Also when they only differ in something small, and when one of them has run out.
    let later = Ballot { not_after: Moment::from_ms(9_000), ..world.ballot(0, Choice::Approve, 5) };
    assert_eq!(of(&world, &[yes.clone(), received(later, 1)]).counted, []);
    // A later word settles it.
    let settled = of(&world, &[yes, no, world.cast(0, Choice::Approve, 6)]);
    assert_eq!(settled.state, TallyState::Approved);
}

#[test]
fn one_principal_approves_one_target_at_a_time() {
    let world = World::new(1);
    let other = World::with(world.members.clone(), 3);
    let ours = [world.cast(0, Choice::Approve, 5)];
    let with = |elsewhere: &[Received]| tally(&world.question(), &ours, elsewhere);
    for (choice, seq, state) in [
        (Choice::Approve, 4, TallyState::Approved),
        (Choice::Approve, 5, TallyState::Pending),
        (Choice::Approve, 6, TallyState::Pending),
        (Choice::Reject, 6, TallyState::Approved),
        (Choice::Abstain, 6, TallyState::Approved),
    ] {
        assert_eq!(with(&[other.cast(0, choice, seq)]).state, state, "{choice:?} {seq}");
    }
    let why = with(&[other.cast(0, Choice::Approve, 6)]).ignored.remove(0).why;
    assert_eq!(why, Uncounted::OtherTarget { proposal: other.id(), module: "waku".to_owned() });
    // Taken back there; another's; run out; of a stranger; for the same target.
    let taken_back = [other.cast(0, Choice::Approve, 6), other.cast(0, Choice::Abstain, 7)];
    assert_eq!(with(&taken_back).state, TallyState::Approved);
    let late = Ballot { not_after: Moment::from_ms(1_000), ..other.ballot(0, Choice::Approve, 6) };
    assert_eq!(with(&[received(late, 1)]).state, TallyState::Approved);
    let stranger = received(other.ballot(0, Choice::Approve, 6), 77);
    assert_eq!(with(&[stranger]).state, TallyState::Approved);
    let same = Ballot { pins: world.pins.clone(), ..other.ballot(0, Choice::Approve, 6) };
    assert_eq!(with(&[received(same, 1)]).state, TallyState::Approved);
}

#[test]
fn two_targets_never_both_have_their_quorum() {
    // Three principals, two needed; one equivocates between the targets at every seq.
    let (left, right) = (World::new(3), World::with(World::new(3).members, 3));
    for seq in 1..4 {
        let mine = [left.cast(0, Choice::Approve, 1), left.cast(1, Choice::Approve, seq)];
        let theirs = [right.cast(2, Choice::Approve, 1), right.cast(1, Choice::Approve, 2)];
        let approved =
            [tally(&left.question(), &mine, &theirs).state, tally(&right.question(), &theirs, &mine).state];
        assert!(approved.iter().filter(|state| **state == TallyState::Approved).count() <= 1, "{approved:?}");
    }
}

#[test]
fn a_new_epoch_or_policy_voids_what_was_said() {
    let world = World::new(3);
    let ballots = [world.cast(0, Choice::Approve, 1), world.cast(1, Choice::Approve, 1)];
    assert_eq!(of(&world, &ballots).state, TallyState::Approved);
    let mut members = world.members.clone();
    members.epoch = 2;
    let question = Question { members: &members, ..world.question() };
    assert_eq!(tally(&question, &ballots, &[]).counted, []);
    let question = Question { policy: Cid::of(b"new"), ..world.question() };
    assert_eq!(tally(&question, &ballots, &[]).counted, []);
    // One who left, one key that was revoked, a threshold that fell: all come with a new epoch, and
    // would not help without one either.
    let mut members = world.members.clone();
    members.principals.remove(0);
    let question = Question { members: &members, ..world.question() };
    let tally = tally(&question, &ballots, &[]);
    assert_eq!(tally.ignored[0].why, Uncounted::NotAMember);
    assert_eq!(tally.approvals().count(), 1);
}

#[test]
fn time_runs_out_and_delays_are_waited_for() {
    let mut world = World::new(1);
    world.members.tracks.get_mut(&crate::domain::proposal::Track::Leaf).unwrap().delay_ms = 500;
    let yes = [world.cast(0, Choice::Approve, 1)];
    let fresh = of(&world, &yes);
    assert_eq!(fresh.earliest_enactment_ms, Some(10_500));
    assert!(!fresh.is_enactable() && !fresh.certified);
    // The delay runs from the certificate, in checked time.
    let approvals = [yes[0].message].into();
    let held = |checked_ms, now| {
        let certified = Some(Final { approvals: &approvals, checked_ms });
        tally(&Question { certified, now, ..world.question() }, &yes, &[])
    };
    assert_eq!(
        (held(9_501, times(10_000)).waits_ms, held(9_500, times(10_000)).waits_ms),
        (Some(1), Some(0))
    );
    assert!(!held(9_501, times(10_000)).is_enactable() && held(9_500, times(10_000)).is_enactable());
    // A wall clock that jumped lets nothing pass.
    let jumped = held(9_501, Times { wall_ms: 900_000, ..times(10_000) });
    assert_eq!((jumped.is_enactable(), jumped.earliest_enactment_ms), (false, Some(900_001)));
    world.now_ms = 1_000_001;
    assert_eq!(of(&world, &yes).state, TallyState::Expired);
    assert_eq!(of(&world, &[]).state, TallyState::Expired);
}

#[test]
fn a_track_without_a_rule_and_a_governor_that_is_away_leave_it_pending() {
    let mut world = World::new(1);
    let yes = [world.cast(0, Choice::Approve, 1)];
    let away = unanswered(&world.question(), "it is away");
    assert_eq!((away.state, away.unanswered.as_deref()), (TallyState::Pending, Some("it is away")));
    world.members.tracks.remove(&crate::domain::proposal::Track::Leaf);
    assert_eq!((of(&world, &yes).state, of(&world, &yes).threshold), (TallyState::Pending, None));
}

/// Ballots of four principals (one with two keys) and a stranger, on two proposals.
fn any_ballots() -> impl Strategy<Value = Vec<(u8, bool, u64, usize, bool)>> {
    vec((0..5_u8, any::<bool>(), 1..4_u64, 0..4_usize, prop::bool::weighted(0.2)), 0..12)
}

fn cast(worlds: &[World; 2], spec: &[(u8, bool, u64, usize, bool)]) -> (Vec<Received>, Vec<Received>) {
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for (voter, second_key, seq, choice, other) in spec {
        let world = &worlds[usize::from(*other)];
        let ballot = world.ballot(*voter, Choice::ALL[*choice], *seq);
        let seed = if *second_key && *voter == 0 { 101 } else { *voter + 1 };
        if *other { &mut elsewhere } else { &mut here }.push(received(ballot, seed));
    }
    (here, elsewhere)
}

fn worlds() -> [World; 2] {
    let left = World::new(4);
    let right = World::with(left.members.clone(), 3);
    [left, right]
}

proptest! {
    #[test]
    fn order_and_repetition_change_nothing(
        spec in any_ballots(),
        swaps in vec((any::<Index>(), any::<Index>()), 0..12),
        again in vec(any::<Index>(), 0..4),
    ) {
        let worlds = worlds();
        let (here, elsewhere) = cast(&worlds, &spec);
        let straight = tally(&worlds[0].question(), &here, &elsewhere);
        let shuffle = |ballots: &[Received]| {
            let mut ballots = ballots.to_vec();
            for at in &again {
                if !ballots.is_empty() {
                    ballots.push(ballots[at.index(ballots.len())].clone());
                }
            }
            for (a, b) in &swaps {
                if !ballots.is_empty() {
                    let (a, b) = (a.index(ballots.len()), b.index(ballots.len()));
                    ballots.swap(a, b);
                }
            }
            ballots
        };
        prop_assert_eq!(tally(&worlds[0].question(), &shuffle(&here), &shuffle(&elsewhere)), straight);
    }

    #[test]
    fn every_ballot_is_counted_or_ignored_and_nobody_counts_twice(spec in any_ballots()) {
        let worlds = worlds();
        let (here, elsewhere) = cast(&worlds, &spec);
        let tally = tally(&worlds[0].question(), &here, &elsewhere);
        let mut said: Vec<Cid> = tally.counted.iter().map(|one| one.message).collect();
        said.extend(tally.ignored.iter().map(|one| one.message));
        said.sort();
        let mut given: Vec<Cid> = here.iter().map(|one| one.message).collect();
        given.sort();
        given.dedup();
        prop_assert_eq!(said, given);
        let mut voters: Vec<&str> = tally.counted.iter().map(|one| one.voter.as_str()).collect();
        voters.dedup();
        prop_assert_eq!(voters.len(), tally.counted.len());
        prop_assert_eq!(voters.len() + tally.missing.len(), 4);
        let approvals = u32::try_from(tally.approvals().count()).unwrap();
        prop_assert_eq!(tally.state == TallyState::Approved, Some(approvals) >= tally.threshold);
    }

    #[test]
    fn a_new_epoch_voids_every_ballot(spec in any_ballots()) {
        let worlds = worlds();
        let (here, elsewhere) = cast(&worlds, &spec);
        let mut members = worlds[0].members.clone();
        members.epoch += 1;
        let question = Question { members: &members, ..worlds[0].question() };
        prop_assert_eq!(tally(&question, &here, &elsewhere).counted, vec![]);
    }
}

#[test]
fn a_ballot_on_files_counts_for_these_contents_alone() {
    let (left, right) = (World::of_a_file(1, b"left"), World::of_a_file(1, b"right"));
    let ours = left.ballot(0, Choice::Approve, 1);
    assert_eq!(tally(&left.question(), &[received(ours.clone(), 1)], &[]).state, TallyState::Approved);
    for files in [
        Vec::new(),
        right.delta.files.clone(),
        [left.delta.files.clone(), right.delta.files.clone()].concat(),
    ] {
        ignored(&left, received(Ballot { files, ..ours.clone() }, 1), Uncounted::OtherFiles);
    }
    // One content for a file at a time.
    let elsewhere = |seq| [right.cast(0, Choice::Approve, seq)];
    let counted = |seq| tally(&left.question(), &[left.cast(0, Choice::Approve, 5)], &elsewhere(seq));
    assert_eq!(counted(4).state, TallyState::Approved);
    let other = counted(6);
    assert_eq!(other.state, TallyState::Pending);
    let why = Uncounted::OtherContent { proposal: right.id(), path: "docs/a".into() };
    assert_eq!(other.ignored[0].why, why);
}
