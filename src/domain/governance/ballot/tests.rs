use proptest::collection::vec;
use proptest::prelude::*;

use super::super::fixture::{self, World, commit};
use super::*;
use crate::domain::change::{DocumentDelta, DocumentKind, FileContent};

fn ballot() -> Ballot {
    World::new(1).ballot(0, Choice::Approve, 7)
}

#[test]
fn the_text_is_this() {
    let id = |byte: &[u8]| Cid::of(byte);
    let ballot = Ballot {
        workspace: "bafkrei-workspace".to_owned(),
        change: ChangeId(id(b"change")),
        proposal: ProposalId(id(b"proposal")),
        policy: id(b"policy"),
        reason: Some("looked at it".to_owned()),
        ..ballot()
    };
    insta::assert_snapshot!(ballot.to_string());
}

#[test]
fn the_text_names_files_by_their_contents() {
    let ballot = World::of_a_file(1, b"new").ballot(0, Choice::Approve, 7);
    let text = ballot.to_string();
    let (old, new) = (Cid::of(b"old"), Cid::of(b"new"));
    let line = format!("file: {old} -> {new} at docs/a\n");
    assert!(text.contains(&line), "{text}");
    for (is, means) in [
        (format!("file: none -> {new} at docs/a\n"), true),
        (format!("file: {old} -> {new}+x at docs/a\n"), true),
        (format!("file: {old}+x -> {new} at \"a\\n\"\n"), true),
        (format!("file: {old} -> {new}+x+x at docs/a\n"), false),
        (format!("file: {old} -> none at docs/a\n"), false),
        (format!("file: {old} -> {new} at \n"), false),
        (format!("file: {old} -> {new} at \"docs/a\"\n"), false),
        (format!("file: {old}  -> {new} at docs/a\n"), false),
    ] {
        let read = text.replace(&line, &is).parse::<Ballot>();
        assert_eq!(read.is_ok(), means, "{is:?}: {read:?}");
        assert_ne!(read.ok(), Some(ballot.clone()), "{is:?}");
    }
}

#[test]
fn any_other_writing_of_it_is_refused() {
    let text = ballot().to_string();
    assert_eq!(text.parse(), Ok(ballot()));
    for (from, to) in [
        ("v1\n", "v2\n"),
        ("v1\n", "v1\r\n"),
        ("v1\n", "v1\n\n"),
        ("v1\n", "v1 \n"),
        ("workspace: ", "workspace:"),
        ("workspace: ", "Workspace: "),
        ("workspace: ", "workspace:  "),
        ("seen-base: 09", "seen-base: 0"),
        ("at repos/waku", "at \"repos/waku\""),
        ("at repos/waku", "at "),
        (" -> ", " => "),
        ("pin: waku", "pin: wa\u{202e}ku"),
        ("members-epoch: 1", "members-epoch: +1"),
        ("members-epoch: 1", "members-epoch: 01"),
        ("members-epoch: 1", "members-epoch: 9007199254740993"),
        ("verified: no", "verified: No"),
        ("verified: no", "verified: maybe"),
        ("voter: a", "voter: a b"),
        ("choice: approve", "choice: APPROVE"),
        ("choice: approve\n", "choice: approve\nchoice: reject\n"),
        ("choice: approve\nseq: 7\n", "seq: 7\nchoice: approve\n"),
        ("seq: 7", "seq: -7"),
        ("not-after: 1970", "not-after: 1970 "),
        ("20Z\n", "20Z"),
        ("20Z\n", "20Z\nreason: \n"),
        ("20Z\n", "20Z\nreason:  x\n"),
        ("20Z\n", "20Z\nreason: x\nreason: y\n"),
        ("20Z\n", "20Z\nreason: \u{1b}[31m\n"),
        ("20Z\n", "20Z\nmore: x\n"),
    ] {
        let wrong = text.replacen(from, to, 1);
        assert_ne!(wrong, text, "{from:?}");
        assert!(wrong.parse::<Ballot>().is_err(), "{to:?} is taken");
    }
    let change = text.lines().find(|line| line.starts_with("change: ")).unwrap();
    let upper = text.replace(change, &change.to_uppercase().replace("CHANGE", "change"));
    assert!(upper.parse::<Ballot>().is_err());
    for length in 0..text.len() {
        assert!(text[..length].parse::<Ballot>().is_err(), "cut at {length} it is taken");
    }
    assert_eq!("x".repeat(MAX_TEXT + 1).parse::<Ballot>(), Err(BallotError::TooLarge));
}

#[test]
fn a_message_is_the_text_with_its_signature() {
    let signed = fixture::sign(&ballot(), 1);
    let message = signed.to_message();
    assert_eq!(SignedBallot::from_message(&message), Ok(signed.clone()));
    assert_eq!(signed.verify().unwrap(), VerifiedBallot { ballot: ballot(), key: fixture::key(1) });
    let wrong = |bytes: &[u8]| {
        SignedBallot::from_message(bytes).and_then(|signed| signed.verify()).map(|_| ()).unwrap_err()
    };
    let text = String::from_utf8(message.clone()).unwrap();
    assert_eq!(wrong(ballot().to_string().as_bytes()), BallotError::Unsigned.into());
    assert_eq!(wrong(b"\xff"), BallotError::NotText.into());
    assert_eq!(wrong(&vec![b'x'; MAX_MESSAGE + 1]), BallotError::TooLarge.into());
    assert!(matches!(wrong((text.clone() + "x").as_bytes()), MessageError::Signature(_)));
    assert!(matches!(wrong((text.clone() + &text).as_bytes()), MessageError::Signature(_)));
    let other = text.replacen("choice: approve", "choice: reject", 1);
    assert_eq!(wrong(other.as_bytes()), SignatureError::Wrong.into());
}

#[test]
fn no_flipped_bit_of_a_message_says_anything_else() {
    let message = fixture::sign(&ballot(), 1).to_message();
    for at in 0..message.len() {
        let mut flipped = message.clone();
        flipped[at] ^= 1 << (at % 8);
        let verified = SignedBallot::from_message(&flipped).and_then(|signed| signed.verify());
        // White space within the armor may change, nothing else.
        if let Ok(verified) = verified {
            assert_eq!(verified.ballot, ballot(), "byte {at}");
            let (was, is) = (char::from(message[at]), char::from(flipped[at]));
            assert!(was.is_whitespace() && is.is_whitespace(), "byte {at}: {was:?} to {is:?}");
        }
    }
}

fn any_ballot() -> impl Strategy<Value = Ballot> {
    let pin = ("\\PC{1,20}", vec(any::<u8>(), 1..40), any::<u8>(), any::<bool>()).prop_map(
        |(module, path, byte, long)| PinMove {
            module: ModuleName::new(&module),
            path: RepoPath::new(path),
            from: commit(byte),
            to: if long { ObjectId::from_bytes(&[byte; 32]).unwrap() } else { commit(byte ^ 1) },
        },
    );
    let content = (any::<u8>(), any::<bool>())
        .prop_map(|(byte, executable)| FileContent { executable, content: Cid::of(&[byte]) });
    let file = (vec(any::<u8>(), 1..40), proptest::option::of(content.clone()), content)
        .prop_map(|(path, old, new)| FileDelta { path: RepoPath::new(path), old, new });
    let document = (any::<bool>(), any::<u8>(), any::<u8>()).prop_map(|(members, old, new)| DocumentDelta {
        kind: if members { DocumentKind::Members } else { DocumentKind::Policy },
        old: Cid::of(&[old]),
        new: Cid::of(&[new]),
    });
    let changes = (vec(pin, 0..4), vec(file, 0..4), proptest::option::of(document));
    let reason = proptest::option::of("[!-~][ -~]{0,50}[!-~]");
    let numbers = (0..=MAX_SAFE.unsigned_abs(), 0..=MAX_SAFE.unsigned_abs(), any::<i64>());
    let choice = (0..4_usize).prop_map(|at| Choice::ALL[at]);
    (changes, "[a-zA-Z0-9][a-zA-Z0-9._@+-]{0,63}", reason, numbers, any::<bool>(), choice).prop_map(
        |((pins, files, document), voter, reason, (members_epoch, seq, wall_ms), verified, choice)| Ballot {
            pins,
            files,
            document,
            members_epoch,
            verified,
            voter,
            choice,
            seq,
            not_after: Moment::from_ms(wall_ms),
            reason,
            ..ballot()
        },
    )
}

proptest! {
    #[test]
    fn a_ballot_is_read_as_it_was_written(ballot in any_ballot()) {
        prop_assert_eq!(ballot.check(), Ok(()));
        prop_assert_eq!(ballot.to_string().parse(), Ok(ballot));
    }

    #[test]
    fn what_is_read_is_written_the_same(text in "\\PC*", at in 0..200_usize, ballot in any_ballot()) {
        let mut written = ballot.to_string();
        if written.is_char_boundary(at.min(written.len())) {
            written.insert_str(at.min(written.len()), &text);
        }
        if let Ok(read) = written.parse::<Ballot>() {
            prop_assert_eq!(read.to_string(), written);
        }
    }
}
