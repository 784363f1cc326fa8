//! The operators' scenario: three agree on a proposal while a fourth, who is one of those who decide too,
//! equivocates, replays, forges, floods and withholds.

use std::collections::BTreeSet;

use crate::support::git;
use crate::world::{Operator, REFS, Shared, World, named, show, shown};

/// A text with another line for a key.
fn with(text: &str, key: &str, value: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(key)).expect("the line is there");
    text.replace(line, &format!("{key}{value}"))
}

fn has(reasons: &[String], part: &str) -> usize {
    reasons.iter().filter(|reason| reason.contains(part)).count()
}

#[test]
fn three_operators_agree_while_a_fourth_lies() {
    let world = World::new(Shared::Repository);
    let [ann, bob, cat, mal] = world.operators(["ann", "bob", "cat", "mal"]);
    let repository = world.shared();

    // Each made the same proposals; what one votes on is what the others find.
    let module = ann.proposals().remove(0).2;
    let other = ann.proposals().remove(1).2;
    let id = ann.proposal_of(&module);
    ann.approve(&id);
    assert_eq!(ann.sync()["published"], 1);

    // Bob signs with plain ssh-keygen what `proposal ballot` prints.
    let came = bob.sync();
    assert_eq!(came["ballots"][0]["by"], "ann", "{came}");
    assert_eq!(bob.proposal_of(&module), id);
    let text = bob.ballot(&id, &["--choice", "approve"]);
    std::fs::write(bob.state().join("inbox/mine.ballot"), bob.signed(&text)).expect("a file");
    assert_eq!(bob.sync()["published"], 1);
    assert_eq!(bob.counted(&id), ("pending".to_owned(), vec!["ann".to_owned(), "bob".to_owned()]));

    // The fourth knows all of it.
    mal.sync();
    let text = mal.ballot(&id, &[]);
    let yes = mal.signed(&text);
    let no = mal.signed(&with(&text, "choice: ", "reject"));
    let forged = mal.signed(&with(&text, "voter: ", "cat"));
    let elsewhere = mal.signed(&with(&text, "workspace: ", &"w".repeat(20)));
    let old = mal.signed(&with(&text, "members-epoch: ", "7"));
    let withdrawn = mal.proposal_of(&other);
    let replayed = mal.signed(&mal.ballot(&withdrawn, &[]));
    let on_ann = ann.signed(&ann.ballot(&ann.proposal_of(&other), &["--choice", "reject"]));
    let voted = ann.entries("ballot.cast").remove(0);
    let again = std::fs::read(ann.object(voted["body"]["ballot"].as_str().expect("an identity")));
    let again = again.expect("it is stored");
    let mut lies: Vec<_> =
        [&forged, &elsewhere, &old, &replayed, &again].map(|message| named(message)).into();
    // Ann's own words on another proposal, with the proposal's name changed, and cut short.
    let text_of_ann = String::from_utf8(on_ann.clone()).expect("text");
    lies.push(named(with(&text_of_ann, "proposal: ", &id).as_bytes()));
    lies.push(named(&on_ann[..on_ann.len() - 40]));
    // What is named wrongly, what is no message, and a flood: ballots of its own, and rubbish.
    lies.push(("hello.ballot".to_owned(), b"x".to_vec()));
    lies.push((named(b"a").0, b"b".to_vec()));
    let seq = |at: usize| named(&mal.signed(&with(&text, "seq: ", &(at + 100).to_string())));
    let flood: Vec<_> = (0..80).map(seq).collect();
    let rubbish = (0..400).map(|at| named(format!("{at}\n-----BEGIN SSH SIGNATURE-----\n").as_bytes()));

    // To ann it says yes, to bob no; and it takes away what they showed.
    let as_mal = |more: &[(String, Vec<u8>)]| show(&repository, "mal", more);
    as_mal(&[vec![named(&yes)], lies.clone()].concat());
    ann.sync();
    git(&repository, ["update-ref", "-d", &format!("{REFS}/bob")]);
    as_mal(&[vec![named(&no)], lies.clone()].concat());
    git(&repository, ["update-ref", "-d", &format!("{REFS}/ann")]);
    bob.sync();
    assert_eq!(ann.counted(&id).1, ["ann", "bob", "mal"]);
    assert_eq!(bob.counted(&id).1, ["ann", "bob", "mal"], "each believes what it was told");

    // Cat hears of it although what ann showed is gone, and what bob shows is all that there is.
    as_mal(&[lies.clone(), flood, rubbish.collect()].concat());
    cat.sync();
    assert_eq!(cat.proposal_of(&module), id, "what one loses the others still show");
    cat.approve(&id);
    for operator in [&cat, &ann, &bob, &cat, &ann, &bob] {
        operator.sync();
    }

    // They agree on the proposal; on whose ballots it rests they need not. Ann was told three yes in time,
    // and what is certified stays so.
    for operator in [&ann, &bob, &cat] {
        let (state, counted) = operator.counted(&id);
        let counted: BTreeSet<&str> = counted.iter().map(String::as_str).collect();
        assert_eq!(state, "approved", "{}", operator.name);
        assert!(counted.len() >= 3 && counted.is_superset(&BTreeSet::from(["ann", "bob"])), "{counted:?}");
        assert_eq!(operator.entries("proposal.certified").len(), 1, "{}", operator.name);
        operator.audited();
    }
    // Both words of the one who said two things are kept by everybody who could know.
    for operator in [&ann, &bob, &cat] {
        let voted = operator.entries("ballot.cast");
        let kept: BTreeSet<&str> =
            voted.iter().map(|entry| entry["body"]["ballot"].as_str().expect("an identity")).collect();
        for message in [&yes, &no] {
            let cid = lambda_os::domain::id::Cid::of(message).to_string();
            assert!(kept.contains(cid.as_str()), "{} does not have it", operator.name);
        }
    }

    // In any order and however often: nothing more happens.
    as_mal(&lies);
    let lengths = |operators: [&Operator; 3]| {
        operators.map(|operator| std::fs::read(operator.state().join("audit.jsonl")).expect("read").len())
    };
    settled(&[&ann, &bob, &cat]);
    for operator in [&ann, &bob, &cat] {
        told_lies(operator);
    }
    let before = lengths([&ann, &bob, &cat]);
    for operator in [&bob, &ann, &cat, &cat, &bob, &ann] {
        assert_eq!(operator.sync()["published"], 0, "{}", operator.name);
    }
    assert_eq!(lengths([&ann, &bob, &cat]), before);
    assert!(shown(&repository, "ann").iter().any(|(name, _)| name.ends_with(".ballot")));
}

/// Go round until nobody shows anything new: a flood is looked at a bounded part at a time.
fn settled(operators: &[&Operator]) {
    for _ in 0..10 {
        let rounds: Vec<_> = operators.iter().map(|operator| operator.sync()).collect();
        let quiet = rounds
            .iter()
            .all(|round| round["published"] == 0 && round["refused"].as_array().is_some_and(Vec::is_empty));
        if quiet {
            return;
        }
    }
    panic!("they never come to rest");
}

/// Each lie was refused with its own reason, and a flood is bounded.
fn told_lies(operator: &Operator) {
    let reasons = operator.refusals();
    for part in ["the key that signed it is not one of the voter's", "it is for another workspace"] {
        assert_eq!(has(&reasons, part), 1, "{}: {part}: {reasons:?}", operator.name);
    }
    assert!(has(&reasons, "members epoch 7") == 1, "{reasons:?}");
    assert!(has(&reasons, "signature") >= 1, "{reasons:?}");
    assert!(reasons.len() <= 6 * 16, "{}: {}", operator.name, reasons.len());
    let of_mal = operator.entries("ballot.cast").into_iter().filter(|entry| entry["body"]["voter"] == "mal");
    assert!(of_mal.count() <= 65, "{}", operator.name);
}

#[test]
fn a_certificate_that_one_has_is_final_for_all() {
    let world = World::new(Shared::Repository);
    let [ann, bob, cat, mal] = world.operators(["ann", "bob", "cat", "mal"]);
    let repository = world.shared();
    let module = ann.proposals().remove(0).2;
    let id = ann.proposal_of(&module);
    ann.approve(&id);
    ann.sync();
    bob.sync();
    bob.approve(&id);
    bob.sync();
    // The third of four is the one that lies: to ann yes.
    mal.sync();
    let text = mal.ballot(&id, &[]);
    let (yes, no) = (mal.signed(&text), mal.signed(&with(&text, "choice: ", "reject")));
    show(&repository, "mal", &[named(&yes)]);
    ann.sync();
    assert_eq!(ann.counted(&id).0, "approved");
    // To everybody else both; and it takes away what ann shows.
    show(&repository, "mal", &[named(&yes), named(&no)]);
    git(&repository, ["update-ref", "-d", &format!("{REFS}/ann")]);
    cat.sync();
    let pending = ("pending".to_owned(), vec!["ann".to_owned(), "bob".to_owned()]);
    assert_eq!(cat.counted(&id), pending, "two different ballots at one number are none");
    ann.ok(&["proposal", "apply", &id]);
    ann.sync();
    let came = cat.sync();
    assert_eq!(came["certified"][0], id.as_str(), "{came}");
    assert_eq!(cat.entries("proposal.certified").len(), 1);
    assert_eq!(cat.counted(&id).0, "approved");
    let came = cat.sync();
    assert_eq!(came["certified"].as_array().map(Vec::len), Some(0), "once");
    cat.audited();
}

#[test]
fn a_directory_serves_as_well_as_a_repository() {
    let world = World::new(Shared::Directory);
    let [ann, bob] = world.operators(["ann", "bob"]);
    let module = ann.proposals().remove(0).2;
    let id = ann.proposal_of(&module);
    ann.approve(&id);
    ann.sync();
    assert!(world.shared().join("ann").is_dir());
    bob.cycle();
    assert_eq!(bob.proposal_of(&module), id);
    bob.approve(&id);
    bob.cycle();
    ann.cycle();
    for operator in [&ann, &bob] {
        assert_eq!(operator.counted(&id), ("approved".to_owned(), vec!["ann".to_owned(), "bob".to_owned()]));
    }
    // What bob brings from a proposal that only he has made comes with his word, not before.
    assert_eq!(bob.proposal_of(&module), id);
}

#[test]
fn a_certificate_brings_back_no_revoked_key_and_no_word_that_was_taken_back() {
    let nothing = |operator: &Operator, id: &str| {
        let came = operator.sync();
        assert_eq!(came["certified"].as_array().map(Vec::len), Some(0), "{came}");
        assert_eq!(operator.counted(id).0, "pending");
        assert!(operator.entries("proposal.certified").is_empty());
    };
    let world = World::new(Shared::Repository);
    let [ann, bob, cat] = world.operators(["ann", "bob", "cat"]);
    let proposals = ann.proposals();
    let id = ann.proposal_of(&proposals[0].2);
    ann.approve(&id);
    ann.sync();
    bob.sync();
    // Cat has both words of ann's; bob decides by the first alone.
    ann.ok(&["proposal", "abstain", "--yes", &id, "--key", &ann.key]);
    ann.sync();
    nothing(&cat, &id);
    bob.approve(&id);
    assert_eq!(bob.counted(&id).0, "approved");
    bob.sync();
    nothing(&cat, &id);

    let world = World::new(Shared::Repository);
    let [ann, bob, cat] = world.operators(["ann", "bob", "cat"]);
    let id = ann.proposal_of(&ann.proposals()[0].2);
    ann.approve(&id);
    ann.sync();
    bob.sync();
    bob.approve(&id);
    bob.sync();
    assert_eq!(bob.counted(&id).0, "approved");
    cat.ok(&["key", "revoke", &format!("{}.pub", bob.key), "--reason", "the laptop is stolen"]);
    nothing(&cat, &id);
}
