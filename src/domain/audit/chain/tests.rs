use proptest::prelude::*;

use super::super::entry::Entry;
use super::*;

fn lines(count: u64) -> Vec<Vec<u8>> {
    let mut before = None;
    (0..count)
        .map(|seq| {
            let entry = Entry {
                v: 1,
                log: "journal".to_owned(),
                seq,
                prev: before,
                wall_ms: 0,
                boot: "boot".to_owned(),
                mono_ms: seq,
                policy: None,
                members: None,
                subject: "cycle".to_owned(),
                event: Event::CycleStarted { cause: "once".to_owned() },
            };
            let line = entry.line().unwrap();
            before = Some(Cid::of(&line));
            line
        })
        .collect()
}

fn head_of(lines: &[Vec<u8>]) -> Head {
    Head { cid: Cid::of(lines.last().unwrap()), seq: u64::try_from(lines.len()).unwrap() - 1 }
}

fn verify(lines: &[Vec<u8>], head: Option<Head>) -> Result<Verified, Broken> {
    let mut verifier = Verifier::new();
    if let Some(head) = head {
        verifier.anchor(head, "head");
    }
    for line in lines {
        verifier.push(line);
    }
    verifier.finish()
}

#[test]
fn a_whole_journal_is_linked_and_its_text_identity_is_the_real_one() {
    let good = lines(5);
    let verified = verify(&good, Some(head_of(&good))).unwrap();
    assert_eq!(verified.entries, 5);
    assert_eq!(verified.head, Some(head_of(&good)));
    assert_eq!(verified.log, "journal");
    assert_eq!(verify(&[], None).unwrap().head, None);
    for line in &good {
        let cid = Cid::of(line);
        assert_eq!(cid_text(cid.sha256()).as_slice(), cid.to_string().as_bytes());
    }
}

#[test]
fn it_goes_on_where_an_earlier_verification_ended() {
    let good = lines(6);
    let mut verifier = Verifier::resume("journal", head_of(&good[..3]), None);
    for line in &good[3..] {
        verifier.push(line);
    }
    assert_eq!(verifier.finish().unwrap().head, Some(head_of(&good)));
    let mut verifier = Verifier::resume("another", head_of(&good[..3]), None);
    verifier.push(&good[3]);
    assert_eq!(verifier.finish().unwrap_err().reason, Reason::WrongLog("journal".to_owned()));
}

#[test]
fn a_whole_rewrite_is_linked_and_only_a_kept_identity_shows_it() {
    let good = lines(4);
    let mut forged = lines(4);
    for line in &mut forged {
        *line = String::from_utf8(line.clone()).unwrap().replace("once", "twice").into_bytes();
    }
    let mut before: Option<Cid> = None;
    for line in &mut forged {
        let mut entry: Entry = serde_json::from_slice(line).unwrap();
        entry.prev = before;
        *line = entry.line().unwrap();
        before = Some(Cid::of(line));
    }
    assert!(verify(&forged, None).is_ok());
    let broken = verify(&forged, Some(head_of(&good))).unwrap_err();
    assert_eq!(broken, Broken { seq: 3, reason: Reason::Changed(Witness::Kept("head".to_owned())) });
}

#[test]
fn a_newer_version_and_a_newer_type_are_told_apart() {
    let mut good = lines(3);
    let newer = String::from_utf8(good[2].clone()).unwrap().replace("cycle.started", "moon.landed");
    good[2] = newer.into_bytes();
    assert_eq!(verify(&good, None).unwrap().unknown, Some((2, "moon.landed".to_owned())));
    let newer = String::from_utf8(good[1].clone()).unwrap().replace("\"v\":1", "\"v\":2");
    good[1] = newer.into_bytes();
    let broken = verify(&good, None).unwrap_err();
    assert_eq!((broken.seq, matches!(broken.reason, Reason::Version(_))), (1, true));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_flipped_byte_breaks_it_at_that_entry(count in 1..7_u64, line in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let good = lines(count);
        let mut bad = good.clone();
        let line = line.index(bad.len());
        let at = at.index(bad[line].len());
        bad[line][at] ^= flip;
        // As a file: the flipped byte may be a newline now.
        let bad: Vec<Vec<u8>> = bad.join(&b'\n').split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let broken = verify(&bad, Some(head_of(&good))).unwrap_err();
        prop_assert_eq!(broken.seq, u64::try_from(line).unwrap(), "{}", broken);
    }

    #[test]
    fn a_deleted_entry_is_missing(count in 2..7_u64, line in any::<prop::sample::Index>()) {
        let good = lines(count);
        let mut bad = good.clone();
        let line = line.index(bad.len());
        bad.remove(line);
        let broken = verify(&bad, Some(head_of(&good))).unwrap_err();
        prop_assert_eq!(broken.seq, u64::try_from(line).unwrap());
        let told = matches!(broken.reason, Reason::Missing { .. } | Reason::Cut { .. });
        prop_assert!(told, "{}", broken);
    }

    #[test]
    fn two_swapped_entries_are_out_of_order(count in 2..7_u64, first in any::<prop::sample::Index>(), second in any::<prop::sample::Index>()) {
        let good = lines(count);
        let mut bad = good.clone();
        let (first, second) = (first.index(bad.len()), second.index(bad.len()));
        prop_assume!(first != second);
        bad.swap(first, second);
        let broken = verify(&bad, Some(head_of(&good))).unwrap_err();
        prop_assert_eq!(broken.seq, u64::try_from(first.min(second)).unwrap());
        let told = matches!(broken.reason, Reason::Reordered { .. });
        prop_assert!(told, "{}", broken);
    }

    #[test]
    fn a_repeated_entry_is_told(count in 1..7_u64, line in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let good = lines(count);
        let mut bad = good.clone();
        let line = line.index(bad.len());
        let to = line + 1 + to.index(bad.len() - line);
        bad.insert(to, good[line].clone());
        let broken = verify(&bad, Some(head_of(&good))).unwrap_err();
        prop_assert_eq!(broken, Broken { seq: u64::try_from(line).unwrap(), reason: Reason::Repeated { expected: u64::try_from(to).unwrap() } });
    }

    #[test]
    fn a_cut_tail_is_told_by_the_head_and_by_nothing_else(count in 1..7_u64, keep in any::<prop::sample::Index>()) {
        let good = lines(count);
        let keep = keep.index(good.len());
        prop_assert!(verify(&good[..keep], None).is_ok());
        let broken = verify(&good[..keep], Some(head_of(&good))).unwrap_err();
        prop_assert_eq!(broken.seq, u64::try_from(keep).unwrap());
        let told = matches!(broken.reason, Reason::Cut { .. });
        prop_assert!(told, "{}", broken);
    }
}
