use super::super::ballot::Choice;
use super::super::fixture::{World, commit, sign};
use super::super::signature::to_armor;
use super::*;

fn approval(signed: SignedBallot) -> Approval {
    Approval { text: signed.text, signature: to_armor(&signed.signature) }
}

fn certificate(world: &World, voters: &[u8]) -> Certificate {
    let mut ballots: Vec<Approval> = voters
        .iter()
        .map(|voter| approval(sign(&world.ballot(*voter, Choice::Approve, 1), voter + 1)))
        .collect();
    ballots.sort();
    Certificate {
        v: 1,
        proposal: world.proposal.clone(),
        delta: world.delta.clone(),
        members: world.members.clone(),
        successor: None,
        decision: None,
        policy: world.proposal.policy,
        allow_unverified: true,
        base: commit(9),
        at_ms: world.now_ms,
        ballots,
    }
}

#[test]
fn it_stands_alone() {
    let world = World::new(3);
    let trusted = world.members.cid().unwrap();
    let made = certificate(&world, &[0, 2]);
    let read = Certificate::from_canonical(&made.to_canonical().unwrap()).unwrap();
    assert_eq!(read, made);
    let proven = verify(&read, &trusted).unwrap();
    assert_eq!((proven.proposal, proven.change), (world.id(), world.proposal.change));
    let voters: Vec<&str> = proven.tally.approvals().map(|one| one.voter.as_str()).collect();
    assert_eq!(voters, ["a", "c"]);
    // Any set that is enough proves the same.
    assert_eq!(verify(&certificate(&world, &[0, 1, 2]), &trusted).unwrap().proposal, world.id());
}

#[test]
fn what_was_changed_in_it_is_found() {
    let world = World::new(3);
    let trusted = world.members.cid().unwrap();
    let good = certificate(&world, &[0, 1]);
    let check = |change: &dyn Fn(&mut Certificate), said: &str| {
        let mut changed = good.clone();
        change(&mut changed);
        assert_ne!(changed, good);
        let error = verify(&changed, &trusted).expect_err(said);
        assert!(error.to_string().contains(said), "{error}");
    };
    let other = World::with(world.members.clone(), 3);
    check(&|it| it.v = 3, "version 3");
    check(&|it| it.v = 2, "its version is another's");
    check(&|it| drop(it.ballots.pop()), "1 of 2 count");
    check(&|it| it.ballots[1] = it.ballots[0].clone(), "1 of 2 count");
    check(&|it| it.ballots[0].text = it.ballots[0].text.replace("seq: 1", "seq: 2"), "does not hold");
    check(&|it| it.ballots[0].signature = it.ballots[1].signature.clone(), "does not hold");
    check(&|it| it.ballots[0].signature = "x".to_owned(), "not an SSH signature");
    check(&|it| it.delta = other.delta.clone(), "another change");
    check(&|it| it.delta.workspace = "other".to_owned(), "another change");
    check(
        &|it| {
            it.delta = other.delta.clone();
            it.proposal = other.proposal.clone();
        },
        "on another proposal",
    );
    check(&|it| it.proposal.expires_ms += 1, "on another proposal");
    check(&|it| it.policy = Cid::of(b"other"), "another policy");
    check(&|it| it.at_ms = 500_001 + 999, "has run out");
    check(&|it| it.members.heal = true, "is trusted");
    check(&|it| it.members = World::new(1).members, "is trusted");
    check(&|it| it.members.principals.clear(), "no principals");
    let mut rejecting = good.clone();
    rejecting.ballots[0] = approval(sign(&world.ballot(0, Choice::Reject, 2), 1));
    assert!(matches!(verify(&rejecting, &trusted), Err(CertificateError::NotApproved { .. })));
    assert!(matches!(verify(&good, &Cid::of(b"other")), Err(CertificateError::OtherMembers { .. })));
}

#[test]
fn no_flipped_byte_of_it_proves_anything_else() {
    let world = World::new(1);
    let trusted = world.members.cid().unwrap();
    let bytes = certificate(&world, &[0]).to_canonical().unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        let proven = Certificate::from_canonical(&flipped).ok().and_then(|it| verify(&it, &trusted).ok());
        if let Some(proven) = proven {
            // When and on which base it was counted is what the journal says, not the signers.
            assert_eq!(proven.proposal, world.id(), "byte {at}");
        }
    }
}

#[test]
fn a_certificate_has_one_form() {
    let text = String::from_utf8(certificate(&World::new(1), &[0]).to_canonical().unwrap()).unwrap();
    for (from, to) in [("{", "{ "), ("\"v\":1", "\"v\":1,\"x\":1"), ("\"base\":\"09", "\"base\":\"9")] {
        assert!(Certificate::from_canonical(text.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
    }
    assert!(Certificate::from_canonical(&vec![b' '; MAX_CERTIFICATE + 1]).is_err());
}
