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
        ("\"v\":2", "\"v\":3", "version 3"),
        ("\"v\":2", "\"v\":2,\"w\":1", "unknown field"),
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

/// A document with everything that version 2 added.
fn rich() -> Members {
    let mut members = fixture::members(3);
    members.epoch = 2;
    members.previous = Some(Cid::of(b"before"));
    members.expires_ms = Some(5);
    members.floor.insert(ModuleName::new("waku"), fixture::commit(3));
    let fingerprint = fixture::key(1).fingerprint();
    let first = &mut members.principals[0];
    first.weight = 2;
    first.roles = vec!["security".to_owned()];
    first.terms.insert(fingerprint, Term { from_ms: Some(1), until_ms: Some(2) });
    first.delegates.insert(Track::Leaf, Delegation { to: "b".to_owned(), until_ms: 9 });
    let rule = members.tracks.get_mut(&Track::Leaf).unwrap();
    rule.roles = vec!["security".to_owned()];
    rule.at_least.insert("security".to_owned(), 1);
    rule.veto = Some(VetoRule { roles: Vec::new(), quorum: 3, expiry_ms: 1 });
    rule.program = Some(Cid::of(b"program"));
    members
}

#[test]
fn what_the_second_version_added_is_read_as_it_was_written_and_is_none_of_the_first() {
    let members = rich();
    assert_eq!(Members::from_canonical(&members.to_canonical().unwrap()), Ok(members.clone()));
    assert_eq!(Members { v: 1, ..members }.check(), Err(MembersError::Newer));
    let old = Members { v: 1, ..fixture::members(3) };
    assert_eq!(Members::from_canonical(&old.to_canonical().unwrap()), Ok(old));
}

#[test]
fn every_slip_in_what_the_second_version_added_is_refused() {
    type Slip = fn(&mut Members);
    let slips: [(Slip, &str); 14] = [
        (|it| it.previous = None, "names none before"),
        (|it| it.epoch = 1, "names none before"),
        (|it| it.principals[0].weight = 0, "a weight"),
        (|it| it.principals[0].weight = 1001, "a weight"),
        (|it| it.principals[0].roles.insert(0, "z".to_owned()), "roles"),
        (|it| it.principals[0].roles.push("a b".to_owned()), "roles"),
        (
            |it| {
                it.principals[1]
                    .terms
                    .extend([("SHA256:x".to_owned(), Term { from_ms: Some(1), until_ms: None })]);
            },
            "a term",
        ),
        (|it| it.principals[0].terms.values_mut().for_each(|term| term.until_ms = Some(0)), "a term"),
        (|it| it.principals[0].delegates.values_mut().for_each(|one| one.to = "a".to_owned()), "a delegate"),
        (|it| it.principals[0].delegates.values_mut().for_each(|one| one.to = "z".to_owned()), "a delegate"),
        (|it| it.principals[0].roles.clear(), "asks for the role"),
        (
            |it| it.tracks.values_mut().for_each(|rule| rule.at_least.values_mut().for_each(|n| *n = 2)),
            "asks for the role",
        ),
        (
            |it| {
                it.tracks.values_mut().flat_map(|rule| &mut rule.veto).for_each(|veto| veto.quorum = 4);
            },
            "veto quorum",
        ),
        (|it| it.tracks.values_mut().for_each(|rule| rule.threshold = 5), "has the threshold 5"),
    ];
    for (slip, said) in slips {
        let mut members = rich();
        slip(&mut members);
        let error = members.check().unwrap_err();
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
}
