//! Ballots that come before their proposal.

use crate::world::{Shared, World};

#[test]
fn a_ballot_waits_for_its_proposal() {
    let world = World::new(Shared::Directory);
    let [ann, bob] = world.operators(["ann", "bob"]);
    let module = ann.proposals().remove(0).2;
    let id = ann.proposal_of(&module);
    ann.approve(&id);
    let cast = ann.entries("ballot.cast").remove(0);
    let message = std::fs::read(ann.object(cast["body"]["ballot"].as_str().expect("an identity")));
    let message = message.expect("it is stored");

    // On foot, before the proposal: twice, which is once.
    for name in ["one", "two"] {
        std::fs::write(bob.state().join(format!("inbox/{name}.ballot")), &message).expect("a file");
        bob.cycle();
    }
    assert_eq!(bob.entries("ballot.waits").len(), 1);
    assert_eq!(bob.entries("ballot.refused").len(), 0);
    assert_eq!(std::fs::read_dir(bob.state().join("inbox")).expect("it is there").count(), 0);

    // Then the proposal comes, and the ballot counts.
    ann.sync();
    bob.cycle();
    bob.cycle();
    assert_eq!(bob.proposal_of(&module), id);
    assert_eq!(bob.counted(&id).1, ["ann"]);
    bob.audited();
}

#[test]
fn what_waits_of_one_voter_is_bounded_and_a_stranger_waits_for_nothing() {
    let world = World::new(Shared::Directory);
    let [ann, bob] = world.operators(["ann", "bob"]);
    let module = ann.proposals().remove(0).2;
    let text = bob.ballot(&bob.proposal_of(&module), &[]);
    let other = |at: usize| {
        let cid = lambda_os::domain::id::Cid::of(&at.to_be_bytes()).to_string();
        let line = text.lines().find(|line| line.starts_with("proposal: ")).expect("a line");
        text.replace(line, &format!("proposal: {cid}"))
    };
    for at in 0..70 {
        let file = ann.state().join(format!("inbox/b{at:02}.ballot"));
        std::fs::write(file, bob.signed(&other(at))).expect("a file");
    }
    // Signed by ann in bob's name: nobody's.
    std::fs::write(ann.state().join("inbox/forged.ballot"), ann.signed(&other(99))).expect("a file");
    ann.cycle();
    assert_eq!(ann.entries("ballot.waits").len(), 64);
    let reasons = ann.refusals();
    assert_eq!(reasons.len(), 7, "{reasons:?}");
    assert_eq!(reasons.iter().filter(|reason| reason.starts_with("64 ballots of bob wait")).count(), 6);
}
