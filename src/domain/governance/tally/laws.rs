//! Laws of the tally, over random documents and ballots.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::fixture::{World, key, name, received, times};
use super::super::members::{Delegation, VetoRule};
use super::*;
use crate::domain::moment::Moment;

/// How many principals there are.
const PRINCIPALS: u8 = 5;

/// One ballot: of whom (one more than there are is a stranger), by the second key, its number, what it
/// says, whether it is on the other proposal, whether it has run out.
type Cast = (u8, bool, u64, usize, bool, bool);

/// The document: of each its weight, role and delegate; the threshold; roles, signatures and vetoes asked for.
type Document = (Vec<(u32, bool, Option<u8>)>, Index, bool, Option<u32>, Option<u32>);

fn any_ballots() -> impl Strategy<Value = Vec<Cast>> {
    let (other, late) = (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    vec((0..=PRINCIPALS, any::<bool>(), 1..4_u64, 0..4_usize, other, late), 0..16)
}

fn any_document() -> impl Strategy<Value = Document> {
    let one = (1..4_u32, any::<bool>(), proptest::option::weighted(0.4, 0..PRINCIPALS));
    let count = || proptest::option::weighted(0.3, 1..3_u32);
    (vec(one, usize::from(PRINCIPALS)), any::<Index>(), prop::bool::weighted(0.3), count(), count())
}

/// A world whose leaf track is ruled so; as far as there can be such a document.
fn world((principals, threshold, by_role, at_least, veto): &Document, to: u8) -> World {
    let mut members = World::new(PRINCIPALS).members;
    let role = || vec!["lead".to_owned()];
    for (at, (weight, leads, delegate)) in principals.iter().enumerate() {
        let principal = &mut members.principals[at];
        principal.weight = *weight;
        principal.roles = if *leads { role() } else { Vec::new() };
        if let Some(to) = delegate.filter(|to| usize::from(*to) != at) {
            principal.delegates.insert(Track::Leaf, Delegation { to: name(to), until_ms: 400_000 });
        }
    }
    let leads = u32::try_from(principals.iter().filter(|one| one.1).count()).unwrap();
    let all: u32 = principals.iter().filter(|one| !by_role || leads == 0 || one.1).map(|one| one.0).sum();
    let leaf = members.tracks.get_mut(&Track::Leaf).unwrap();
    leaf.threshold = 1 + u32::try_from(threshold.index(usize::try_from(all).unwrap())).unwrap();
    if leads > 0 {
        leaf.roles = if *by_role { role() } else { Vec::new() };
        leaf.at_least = at_least.iter().map(|asked| ("lead".to_owned(), (*asked).min(leads))).collect();
    }
    leaf.veto = veto.map(|quorum| VetoRule { roles: Vec::new(), quorum, expiry_ms: 1_000_000 });
    members.check().unwrap();
    World::with(members, to)
}

fn cast(worlds: &[World; 2], spec: &[Cast]) -> (Vec<Received>, Vec<Received>) {
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for (voter, second_key, seq, choice, other, late) in spec {
        let world = &worlds[usize::from(*other)];
        let mut ballot = world.ballot(*voter, Choice::ALL[*choice], *seq);
        if *late {
            ballot.not_after = Moment::from_ms(5_000);
        }
        let seed = if *second_key && *voter == 0 { 101 } else { *voter + 1 };
        if *other { &mut elsewhere } else { &mut here }.push(received(ballot, seed));
    }
    (here, elsewhere)
}

fn worlds(document: &Document) -> [World; 2] {
    [world(document, 2), world(document, 3)]
}

/// The messages that count of themselves, hold up, or do not count; each as often as it stands there.
fn accounted(tally: &Tally) -> Vec<Cid> {
    let own = tally.counted.iter().filter(|one| one.through.is_none()).chain(&tally.vetoes);
    let mut messages: Vec<Cid> = own.map(|one| one.message).collect();
    messages.extend(tally.ignored.iter().map(|one| one.message));
    messages.sort();
    messages
}

fn messages(ballots: &[Received]) -> Vec<Cid> {
    let mut messages: Vec<Cid> = ballots.iter().map(|one| one.message).collect();
    messages.sort();
    messages.dedup();
    messages
}

proptest! {
    #[test]
    fn order_and_repetition_change_nothing(
        document in any_document(),
        spec in any_ballots(),
        swaps in vec((any::<Index>(), any::<Index>()), 0..12),
        again in vec(any::<Index>(), 0..4),
    ) {
        let worlds = worlds(&document);
        let (here, elsewhere) = cast(&worlds, &spec);
        let straight = tally(&worlds[0].question(), &here, &elsewhere);
        let shuffle = |ballots: &[Received]| {
            let mut ballots = ballots.to_vec();
            if !ballots.is_empty() {
                for at in &again {
                    ballots.push(ballots[at.index(ballots.len())].clone());
                }
                for (a, b) in &swaps {
                    let (a, b) = (a.index(ballots.len()), b.index(ballots.len()));
                    ballots.swap(a, b);
                }
            }
            ballots
        };
        prop_assert_eq!(tally(&worlds[0].question(), &shuffle(&here), &shuffle(&elsewhere)), straight);
    }

    #[test]
    fn every_ballot_is_accounted_for_once_and_so_is_everybody(document in any_document(), spec in any_ballots()) {
        let worlds = worlds(&document);
        let (here, elsewhere) = cast(&worlds, &spec);
        let tally = tally(&worlds[0].question(), &here, &elsewhere);
        prop_assert_eq!(accounted(&tally), messages(&here));
        let heard: Vec<&str> = tally.counted.iter().chain(&tally.vetoes).map(|one| one.voter.as_str()).collect();
        let distinct: BTreeSet<&str> = heard.iter().copied().collect();
        prop_assert_eq!(heard.len(), distinct.len());
        let weight: u32 = tally.approvals().map(|one| one.weight).sum();
        prop_assert_eq!(tally.approving, weight);
        if tally.state == TallyState::Approved {
            prop_assert!(Some(weight) >= tally.threshold);
            prop_assert!(tally.missing.iter().all(|name| !distinct.contains(name.as_str())));
        }
    }

    #[test]
    fn another_epoch_voids_and_nothing_revives(
        document in any_document(),
        spec in any_ballots(),
        removed in 0..PRINCIPALS,
    ) {
        let worlds = worlds(&document);
        let (here, elsewhere) = cast(&worlds, &spec);
        // Somebody leaves and one approval is enough: whatever was said before counts for nothing.
        let mut members = worlds[0].members.clone();
        members.epoch += 1;
        members.principals.remove(usize::from(removed));
        members.tracks.entry(Track::Leaf).and_modify(|rule| rule.threshold = 1);
        let anew = World::with(members.clone(), 2);
        for question in [Question { members: &members, ..worlds[0].question() }, anew.question()] {
            let tally = tally(&question, &here, &elsewhere);
            prop_assert!(tally.counted.is_empty() && tally.vetoes.is_empty());
            prop_assert!(tally.state != TallyState::Approved && tally.approving == 0);
        }
    }

    #[test]
    fn a_revoked_key_takes_away_and_never_adds(
        document in any_document(),
        spec in any_ballots(),
        seeds in btree_set(1..=PRINCIPALS, 0..4),
    ) {
        let worlds = worlds(&document);
        let (here, elsewhere) = cast(&worlds, &spec);
        let before = tally(&worlds[0].question(), &here, &elsewhere);
        let revoked: BTreeMap<String, u64> = seeds.iter().map(|seed| (key(*seed).fingerprint(), 7)).collect();
        let after = tally(&Question { revoked: &revoked, ..worlds[0].question() }, &here, &elsewhere);
        prop_assert!(after.approving <= before.approving);
        let was: BTreeSet<&Counted> = before.approvals().collect();
        prop_assert!(after.approvals().all(|one| was.contains(one)));
        prop_assert!(after.counted.iter().all(|one| !revoked.contains_key(&one.key)));
        if before.state != TallyState::Approved {
            prop_assert_ne!(after.state, TallyState::Approved);
        }
    }

    #[test]
    fn what_narrows_is_never_outvoted(document in any_document(), spec in any_ballots(), rejects in any::<bool>()) {
        let worlds = worlds(&document);
        let (here, elsewhere) = cast(&worlds, &spec);
        let verdict = if rejects { Narrower::Reject } else { Narrower::Wait };
        let narrowed = [Narrowing { by: NarrowedBy::Policy, verdict, reason: "denied".to_owned() }];
        let question = Question { narrowed: &narrowed, ..worlds[0].question() };
        let open = tally(&question, &here, &elsewhere);
        prop_assert!(open.state != TallyState::Approved && !open.is_enactable());
        prop_assert!(!rejects || open.state == TallyState::Rejected);
        prop_assert_eq!(open.outcome, tally(&worlds[0].question(), &here, &elsewhere).outcome);
    }

    #[test]
    fn what_is_certified_stays_so_whatever_is_said(
        document in any_document(),
        spec in any_ballots(),
        later in any_ballots(),
        now_ms in 10_000..900_000_i64,
        seed in 1..=PRINCIPALS,
    ) {
        let worlds = worlds(&document);
        let (mut here, elsewhere) = cast(&worlds, &spec);
        // Enough approve, with a word that nothing before it takes back.
        here.extend((0..PRINCIPALS).map(|voter| worlds[0].cast(voter, Choice::Approve, 9)));
        let before = tally(&worlds[0].question(), &here, &elsewhere);
        prop_assert_eq!(before.state, TallyState::Approved);
        let approvals: BTreeSet<Cid> = before.approvals().map(|one| one.message).collect();
        let (late, more) = cast(&worlds, &later);
        let late: Vec<Received> = late
            .into_iter()
            .map(|mut one| {
                if let Ok(verified) = &mut one.verified {
                    // Also at the very number that was certified: a conflict that comes too late.
                    verified.ballot.seq += 7;
                    one.message = Cid::of(format!("{}{}", verified.ballot, verified.key).as_bytes());
                }
                one
            })
            .collect();
        let all = [here.clone(), late].concat();
        let revoked = [(key(seed).fingerprint(), 3)].into();
        let narrowed = [Narrowing { by: NarrowedBy::Freeze, verdict: Narrower::Wait, reason: "frozen".to_owned() }];
        let certified = Some(Final { approvals: &approvals, checked_ms: 0 });
        let question =
            Question { certified, revoked: &revoked, narrowed: &narrowed, now: times(now_ms), ..worlds[0].question() };
        let after = tally(&question, &all, &[elsewhere, more].concat());
        prop_assert_eq!(after.state, TallyState::Approved);
        prop_assert!(after.certified && !after.is_enactable());
        let own = after.counted.iter().filter(|one| one.through.is_none()).map(|one| one.message);
        prop_assert_eq!(&own.collect::<BTreeSet<Cid>>(), &approvals);
        prop_assert_eq!(accounted(&after), messages(&all));
        let free = Question { revoked: worlds[0].question().revoked, narrowed: &[], ..question };
        let free = tally(&free, &all, &[]);
        prop_assert_eq!(free.is_enactable(), free.suspended_until_ms.is_none());
    }

    #[test]
    fn who_certified_one_target_is_not_counted_for_another(
        document in any_document(),
        left in any_ballots(),
        right in any_ballots(),
        yes in btree_set(0..PRINCIPALS, 0..=usize::from(PRINCIPALS)),
    ) {
        let worlds = worlds(&document);
        let (mut here, mut there) = cast(&worlds, &left);
        let (more_here, more_there) = cast(&worlds, &right);
        here.extend(yes.iter().map(|voter| worlds[0].cast(*voter, Choice::Approve, 9)));
        // Whether it was enough or not: those who approve it are those that a certificate would name.
        let first = tally(&worlds[0].question(), &here, &there);
        let mut approvals: BTreeMap<Cid, BTreeSet<String>> = BTreeMap::new();
        for one in first.approvals() {
            approvals.entry(one.message).or_default().insert(one.voter.clone());
        }
        // More is said on both, and everybody who certified the one approves the other with a newer word.
        here.extend(more_here);
        there.extend(more_there);
        there.extend((0..PRINCIPALS).map(|voter| worlds[1].cast(voter, Choice::Approve, 20)));
        let question = Question { final_elsewhere: &approvals, ..worlds[1].question() };
        let second = tally(&question, &there, &here);
        let certified: BTreeSet<&str> = first.approvals().map(|one| one.voter.as_str()).collect();
        prop_assert!(second.approvals().all(|one| !certified.contains(one.voter.as_str())));
    }
}
