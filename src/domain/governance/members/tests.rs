use super::super::fixture;
use super::*;

fn text() -> String {
    String::from_utf8(fixture::members(3).to_canonical().unwrap()).unwrap()
}

#[test]
fn a_document_is_read_as_it_was_written() {
    let members = fixture::members(3);
    assert_eq!(Members::from_canonical(text().as_bytes()), Ok(members.clone()));
    assert_eq!(members.owner(&fixture::key(101)).unwrap().name, "a");
    assert_eq!(members.owner(&fixture::key(50)), None);
}

#[test]
fn every_slip_is_refused_with_its_reason() {
    let one = fixture::key(2);
    for (from, to, said) in [
        ("\"v\":1", "\"v\":2", "version 2"),
        ("\"v\":1", "\"v\":1,\"w\":1", "unknown field"),
        ("\"heal\":false", "\"heal\":0", "expected a boolean"),
        ("\"workspace\":\"workspace\"", "\"workspace\":\"\"", "is not one word"),
        ("\"workspace\":\"workspace\"", "\"workspace\":\"a b\"", "is not one word"),
        ("\"epoch\":1", "\"epoch\":0", "epoch is 0"),
        ("\"name\":\"b\"", "\"name\":\"a\"", "the name a stands twice"),
        ("\"name\":\"b\"", "\"name\":\"A\"", "the name A stands twice"),
        ("\"name\":\"b\"", "\"name\":\"-b\"", "is not a name"),
        ("\"name\":\"b\"", "\"name\":\"b b\"", "is not a name"),
        ("\"name\":\"b\"", "\"name\":\"\"", "is not a name"),
        ("\"name\":\"b\"", "\"name\":\"\u{e9}\"", "is not a name"),
        ("\"name\":\"b\"", "\"name\":\"z\"", "not sorted"),
        (one.line(), fixture::key(1).line(), "stands twice"),
        (one.line(), &format!("{one} comment"), "more than algorithm and base64"),
        (one.line(), "ssh-dss AAAA", "may not sign ballots"),
        (&format!("\"{one}\""), "", "b has no key"),
        ("\"threshold\":2}", "\"threshold\":0}", "has the threshold 0"),
        ("\"threshold\":2}", "\"threshold\":4}", "has the threshold 4, and there are 3"),
        ("\"threshold\":2}", "\"threshold\":2,\"treshold\":1}", "unknown field"),
        ("\"delay_ms\":0", "\"delay_ms\":-1", "has a delay below 0"),
        ("\"expiry_ms\":2592000000", "\"expiry_ms\":0", "expiry of 0 or less"),
        ("\"core\":", "\"cord\":", "unknown variant"),
        ("{", " {", "not canonical"),
    ] {
        let wrong = text().replacen(from, to, 1);
        assert_ne!(wrong, text(), "{from}");
        let error = Members::from_canonical(wrong.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(said), "{from} → {to}: {error}");
    }
    let nobody = Members { principals: Vec::new(), ..fixture::members(1) };
    assert_eq!(nobody.check(), Err(MembersError::NoPrincipals));
    let nothing = Members { tracks: BTreeMap::new(), ..fixture::members(1) };
    assert_eq!(nothing.check(), Err(MembersError::NoTracks));
    assert_eq!(Members::founding("w".to_owned(), Vec::new()), Err(MembersError::NoPrincipals));
}

#[test]
fn a_founding_document_asks_for_a_majority_and_for_more_to_change_the_rules() {
    let asked = |count, track: Track| fixture::members(count).tracks[&track].threshold;
    let thresholds: Vec<(u32, u32)> =
        (1..=7).map(|count| (asked(count, Track::Leaf), asked(count, Track::Membership))).collect();
    assert_eq!(thresholds, [(1, 1), (2, 2), (2, 3), (3, 3), (3, 4), (4, 5), (4, 5)]);
}

#[test]
fn weak_keys_may_not_sign() {
    // The neutral element, and the canonical encoding of a point of order 8.
    for point in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ] {
        let bytes = data_encoding::HEXLOWER.decode(point.as_bytes()).unwrap();
        let weak = ssh_key::public::Ed25519PublicKey(bytes.try_into().unwrap());
        let refused = PublicKey::from_data(ssh_key::public::KeyData::Ed25519(weak));
        assert_eq!(refused, Err(super::super::key::KeyError::WeakPoint));
    }
}
