//! The rules that look into modules, each with what it lets pass, what it says, and what it cannot tell.

use serde_json::json;

use super::tests::{id, module, upgrade};
use super::*;
use crate::domain::contents::held::{Bytes, Held, Told};
use crate::domain::contents::touched::{At, Difference, Kind, Links, PathChange};
use crate::domain::contents::vouched::{Carrier, Newcomer, Voucher, VoucherError};
use crate::domain::governance::key::PublicKey;
use crate::domain::id::Cid;
use crate::domain::policy::contents::{ContentFacts, FileFacts};
use crate::domain::policy::facts::ModuleFacts;
use crate::domain::proposal::Purpose;

/// The module `waku`, moved from 1 to 2, with these contents.
fn facts(contents: ContentFacts) -> Facts {
    upgrade(vec![ModuleFacts { contents, ..module("waku") }])
}

fn held(told: &[(&str, &str)]) -> Held {
    let file = |text: &str| Told::File(Bytes(text.as_bytes().to_vec()));
    Held {
        tree: id(9),
        files: 1,
        bytes: 1000,
        licences: BTreeMap::new(),
        told: told.iter().map(|(path, text)| (RepoPath::from(*path), file(text))).collect(),
    }
}

fn holding(told: &[(&str, &str)]) -> Facts {
    facts(ContentFacts { held: Some(Ok(held(told))), ..ContentFacts::default() })
}

/// The findings of these rules, as `path: message`, must be so many, each with the text that is expected.
#[track_caller]
fn check(rules: serde_json::Value, facts: &Facts, expect: &[&str]) {
    let rules: Rules = serde_json::from_value(rules).unwrap();
    let mut found = rules.judge(facts, Asks::Tree);
    found.extend(rules.judge(facts, Asks::World));
    let shown: Vec<String> = found
        .iter()
        .map(|it| {
            format!("{}: {}", it.path.as_ref().map_or_else(String::new, ToString::to_string), it.message)
        })
        .collect();
    assert_eq!(shown.len(), expect.len(), "{shown:#?}");
    for (said, expect) in shown.iter().zip(expect) {
        assert!(said.contains(expect), "{said:?} does not say {expect:?}");
    }
}

fn vector(at: usize) -> (String, String, String) {
    let all: serde_json::Value =
        serde_json::from_str(include_str!("../../contents/signed/vectors.json")).unwrap();
    let text = |key: &str| all[at][key].as_str().unwrap_or_default().to_owned();
    (text("key"), text("text"), text("signature"))
}

#[test]
fn metadata_is_signed_by_a_listed_key_in_either_form() {
    let (manifest_key, manifest, signature) = vector(0);
    let (metadata_key, metadata, _) = vector(1);
    let words = r#"{"name":"waku_module","version":"1.4.0"}"#;
    let rule = |keys: &[(&str, &str)], more: serde_json::Value| {
        let keys: BTreeMap<&str, &str> = keys.iter().copied().collect();
        let mut settings = json!({ "keys": keys });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "signed-metadata": settings })
    };
    let both = rule(&[("release-2026", &metadata_key), ("m", &manifest_key)], json!({}));
    let package =
        [("manifest.json", manifest.as_str()), ("manifest.sig", &signature), ("metadata.json", words)];
    check(both.clone(), &holding(&package), &[]);
    check(both.clone(), &holding(&[("metadata.json", &metadata)]), &[]);
    check(both.clone(), &holding(&[("metadata.json", words)]), &["metadata.json: nobody signed it"]);
    check(both.clone(), &holding(&[]), &["nobody signed it"]);
    check(
        both.clone(),
        &holding(&package[1..]),
        &["manifest.sig: it signs a manifest.json that is not there"],
    );
    check(
        both.clone(),
        &holding(&package[..2]),
        &["manifest.json: it is signed for \"waku_module\" \"1.4.0\", and"],
    );
    // Another module's signed words, replayed.
    let other = [package[0], package[1], ("metadata.json", r#"{"name":"chat","version":"1.4.0"}"#)];
    check(both.clone(), &holding(&other), &["metadata.json says \"chat\" \"1.4.0\""]);
    let older = [package[0], package[1], ("metadata.json", r#"{"name":"waku_module","version":"1.5.0"}"#)];
    check(both, &holding(&older), &["metadata.json says \"waku_module\" \"1.5.0\""]);
    let named = rule(&[("release-2026", &metadata_key)], json!({"names": {"waku": "store"}}));
    check(named, &holding(&[("metadata.json", &metadata)]), &["this module is \"store\""]);
    // One trusted signature does not cover another one that is not.
    let one = rule(&[("release-2026", &metadata_key)], json!({}));
    check(one.clone(), &holding(&package), &["manifest.sig: it is signed with the key"]);
    let mixed = [package[0], package[1], ("metadata.json", metadata.as_str())];
    check(one, &holding(&mixed), &["which the policy does not trust"]);
    let none = rule(&[("m", &manifest_key)], json!({}));
    check(none.clone(), &holding(&[("metadata.json", &metadata)]), &["\"release-2026\", which is not known"]);
    let broken = metadata.replace("1.4.0", "1.4.1");
    let known = rule(&[("release-2026", &metadata_key)], json!({}));
    check(known.clone(), &holding(&[("metadata.json", &broken)]), &["does not hold"]);
    let exempt = rule(&[("m", &manifest_key)], json!({"exempt": ["wa*"]}));
    check(exempt, &holding(&[]), &[]);
    check(none, &facts(ContentFacts::default()), &["was not looked at"]);
    let missing = ContentFacts { held: Some(Err("it is not at hand".to_owned())), ..ContentFacts::default() };
    check(known, &facts(missing), &["cannot be told: it is not at hand"]);
    assert!(serde_json::from_value::<Rules>(json!({"signed-metadata": {}})).is_err(), "no keys");
}

#[test]
fn metadata_is_there_and_well_formed() {
    let rule = json!({ "metadata": {} });
    check(rule.clone(), &holding(&[("metadata.json", r#"{"name":"a","version":"1","type":"core"}"#)]), &[]);
    check(rule.clone(), &holding(&[]), &["metadata.json: it is not there"]);
    check(rule.clone(), &holding(&[("metadata.json", "{}")]), &["no name", "no type", "no version"]);
    let mut link = held(&[]);
    link.told.insert("metadata.json".into(), Told::NoFile);
    let link = ContentFacts { held: Some(Ok(link)), ..ContentFacts::default() };
    check(rule.clone(), &facts(link), &["it is no regular file"]);
    check(json!({"metadata": {"exempt": ["waku"]}}), &holding(&[]), &[]);
    let mut back = holding(&[]);
    back.change.as_mut().unwrap().purpose = Purpose::Heal;
    check(rule, &back, &[]);
}

#[test]
fn rln_is_on_where_messages_go_over_a_network_that_requires_it() {
    let rule = |network: &str| json!({"rln": {"network": network, "required_on": ["twn"]}});
    let words = |rln: &str, capability: &str| {
        format!(r#"{{"name":"a","version":"1","type":"core","capabilities":["{capability}"]{rln}}}"#)
    };
    let scaffold =
        |rln: Option<&str>| Ok(rln.map(|rln| format!("[mix]\nrln_enabled = {rln}\n").into_bytes()));
    for (rln, capability, toml, expect) in [
        ("", "messaging", None, Some("neither metadata.json nor scaffold.toml")),
        ("", "chat", Some("false"), Some("mix.rln_enabled in scaffold.toml switches it off")),
        ("", "delivery", Some("true"), None),
        (r#","rln":true"#, "messaging", None, None),
        (r#","rln":true"#, "messaging", Some("false"), Some("scaffold.toml switches it off")),
        (r#","rln":false"#, "messaging", Some("true"), Some("its metadata.json switches it off")),
        (r#","rln":"yes""#, "messaging", Some("true"), Some("its metadata.json switches it off")),
        ("", "messaging", Some("1"), Some("cannot be told: mix.rln_enabled is neither")),
        ("", "storage", None, None),
    ] {
        let mut facts = holding(&[("metadata.json", &words(rln, capability))]);
        facts.files.insert("scaffold.toml".into(), scaffold(toml));
        check(rule("twn"), &facts, expect.as_slice());
        check(rule("logos.test"), &facts, &[]);
    }
    let mut unclear = holding(&[("metadata.json", "{")]);
    unclear.files.insert("scaffold.toml".into(), Ok(None));
    check(rule("twn"), &unclear, &["whether it carries messages cannot be told"]);
    let mut absent = holding(&[]);
    absent.files.insert("scaffold.toml".into(), Ok(None));
    check(rule("twn"), &absent, &[]);
    // Switching it off in the workspace is judged for modules that do not move.
    let mut off = holding(&[("metadata.json", &words("", "chat"))]);
    (off.modules[0].judged, off.modules[0].moved) = (false, None);
    off.files.insert("scaffold.toml".into(), scaffold(Some("false")));
    check(rule("twn"), &off, &[]);
    off.change.as_mut().unwrap().paths = [RepoPath::from("scaffold.toml")].into();
    check(rule("twn"), &off, &["switches it off"]);
    assert!(serde_json::from_value::<Rules>(json!({"rln": {"network": "twn"}})).is_err());
}

#[test]
fn forbidden_paths_are_found_in_both_trees_under_every_name() {
    let at = |byte| Some(At { kind: Kind::File, id: id(byte) });
    let changed = |path: &str| PathChange { path: path.into(), old: at(1), new: at(2) };
    let difference = |changes: Vec<PathChange>, links: &[(&str, &str)]| {
        let links: Links = links.iter().map(|(path, to)| ((*path).into(), to.as_bytes().to_vec())).collect();
        let difference = Difference { changes, links_before: links.clone(), links_after: links };
        facts(ContentFacts { difference: Some(Ok(difference)), ..ContentFacts::default() })
    };
    let rule = |paths: &[&str]| json!({"forbidden-paths": {"modules": {"wa*": paths}}});
    for (patterns, path, expect) in [
        (&[".github/workflows"][..], ".github/workflows/ci.yml", true),
        (&[".github/workflows"], ".GitHub/Workflows/ci.yml", true),
        (&[".github/workflows"], ".git\u{200c}hub/workflows/ci.yml", true),
        (&["*.pem"], "deep/down/key.PEM", true),
        (&["keys/**"], "keys/a/b", true),
        (&["keys/*"], "keys/a/b", true),
        (&["secrets/"], "a/secrets/b", true),
        (&["keys/*"], "key/a", false),
        (&["/secrets/"], "a/secrets/b", false),
    ] {
        let said: &[&str] = if expect { &["forbids to change it"] } else { &[] };
        check(rule(patterns), &difference(vec![changed(path)], &[]), said);
    }
    let gone = PathChange { path: "ci/a".into(), old: at(5), new: None };
    let come = PathChange { path: "docs/a".into(), old: None, new: at(5) };
    check(
        rule(&["ci"]),
        &difference(vec![gone, come], &[]),
        &["ci/a: \"ci\" forbids to change it, and it is the same file as docs/a"],
    );
    let linked = difference(vec![changed("tools/a.yml")], &[(".github", "tools")]);
    check(rule(&[".github/*.yml"]), &linked, &["tools/a.yml: it is also called .github/a.yml, and"]);
    let other = json!({"forbidden-paths": {"modules": {"chat": ["**"]}}});
    check(other, &linked, &[]);
    let untold = ContentFacts { difference: Some(Err("why".to_owned())), ..ContentFacts::default() };
    check(rule(&["x"]), &facts(untold), &["cannot be told: why"]);
    check(rule(&["x"]), &facts(ContentFacts::default()), &["was not looked at"]);
    let mut back = difference(vec![changed("ci/a")], &[]);
    back.change.as_mut().unwrap().purpose = Purpose::Rollback;
    check(rule(&["ci"]), &back, &[]);

    let own = json!({"forbidden-paths": {"paths": ["nix/dep-graph.nix", "repos/waku", "deploy"]}});
    let mut facts = holding(&[]);
    check(own.clone(), &facts, &["repos/waku: \"repos/waku\" forbids"]);
    facts.change.as_mut().unwrap().paths = ["flake.lock", "ops/run"].map(RepoPath::from).into();
    check(own.clone(), &facts, &[]);
    facts.own_links = Ok([("deploy".into(), b"ops".to_vec())].into());
    check(own.clone(), &facts, &["ops/run: it is also called deploy/run"]);
    facts.own_links = Err("why".to_owned());
    check(own, &facts, &["cannot be told: why"]);
    assert!(serde_json::from_value::<Rules>(json!({"forbidden-paths": {}})).is_err());
}

#[test]
fn revisions_are_signed_by_a_listed_maintainer() {
    let ann = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";
    let key: PublicKey = ann.parse().unwrap();
    let eve: PublicKey =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKYjtq3CK1ZFIW/BP4UmOCPukyk7xTCq60uiQ+nIuk20".parse().unwrap();
    let by = |carrier, key| Voucher { carrier, key };
    let signed = |vouchers: Vec<Voucher>| {
        facts(ContentFacts { vouchers: Some(Ok(vouchers)), ..ContentFacts::default() })
    };
    let rule = |more: serde_json::Value| {
        let mut settings = json!({"keys": {"ann": ann}});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "signed-revisions": settings })
    };
    let tag = || Carrier::Tag("v1".to_owned());
    let plain = rule(json!({}));
    check(plain.clone(), &signed(vec![by(Carrier::Commit, Ok(key.clone()))]), &[]);
    check(
        plain.clone(),
        &signed(vec![by(Carrier::Commit, Ok(eve.clone())), by(tag(), Ok(key.clone()))]),
        &[],
    );
    check(
        plain.clone(),
        &signed(Vec::new()),
        &["020202020202: neither the commit nor a tag of it is signed"],
    );
    check(
        plain.clone(),
        &signed(vec![by(Carrier::Commit, Ok(eve.clone()))]),
        &["the commit is signed with SHA256:"],
    );
    let pgp = by(tag(), Err(VoucherError::Unsupported("OpenPGP")));
    check(plain.clone(), &signed(vec![pgp]), &["the tag v1: it carries an OpenPGP signature, and only SSH"]);
    let commits = rule(json!({"tags": false}));
    check(commits, &signed(vec![by(tag(), Ok(key.clone()))]), &["the commit is not signed"]);
    check(plain.clone(), &facts(ContentFacts::default()), &["was not looked at"]);
    check(rule(json!({"exempt": ["waku"]})), &signed(Vec::new()), &[]);

    let mut every = signed(vec![by(tag(), Ok(key.clone()))]);
    let new = |byte, voucher| Newcomer { commit: id(byte), voucher };
    let mine = Some(by(Carrier::Commit, Ok(key)));
    every.modules[0].contents.newcomers = Some(Ok(vec![new(2, None), new(5, mine.clone())]));
    let all = rule(json!({"every": true}));
    check(all.clone(), &every, &[]);
    let theirs = Some(by(Carrier::Commit, Ok(eve)));
    every.modules[0].contents.newcomers = Some(Ok(vec![new(5, theirs), new(6, None), new(7, mine)]));
    check(all.clone(), &every, &["not signed by anyone the policy trusts: 050505050505, 060606060606"]);
    every.modules[0].contents.newcomers = Some(Err("why".to_owned()));
    check(all, &every, &["which commits it brings cannot be told: why"]);
    assert!(serde_json::from_value::<Rules>(json!({"signed-revisions": {}})).is_err(), "no keys");
}

#[test]
fn pinned_programs_stay_what_they_are() {
    let pinned = |before: &str, after: Option<&str>| {
        let file = |text: &str| Ok(Some(text.as_bytes().to_vec()));
        let files = FileFacts { before: Some(file(before)), after: after.map_or(Ok(None), file) };
        let files = [(RepoPath::from("p.json"), files)].into();
        facts(ContentFacts { files, ..ContentFacts::default() })
    };
    let rule = |more: serde_json::Value| {
        let mut pin = json!({"module": "waku", "path": "p.json"});
        pin.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"program-pins": {"pins": [pin]}})
    };
    let same = rule(json!({}));
    check(same.clone(), &pinned("{}", Some("{}")), &[]);
    check(same.clone(), &pinned("{}", Some("{ }")), &["p.json: it is pinned to bafkrei"]);
    check(same.clone(), &pinned("{}", None), &["would be nothing"]);
    let value = rule(json!({"at": "/token"}));
    check(value.clone(), &pinned(r#"{"token":"a"}"#, Some(r#"{ "x": 1, "token" : "a" }"#)), &[]);
    check(
        value.clone(),
        &pinned(r#"{"token":"a"}"#, Some(r#"{"token":"b"}"#)),
        &["the value at \"/token\": it is"],
    );
    check(value.clone(), &pinned(r#"{"token":"a"}"#, Some("{}")), &["would be nothing"]);
    check(value.clone(), &pinned("{}", Some(r#"{"token":"b"}"#)), &["pinned to nothing"]);
    check(value, &pinned("{}", Some("{")), &["cannot be told"]);
    let exact = rule(json!({"content": Cid::of(b"{}")}));
    check(exact.clone(), &pinned("old", Some("{}")), &[]);
    check(exact.clone(), &pinned("{}", Some("old")), &["it is pinned to"]);
    check(exact, &facts(ContentFacts::default()), &["was not looked at"]);
    check(
        rule(json!({"module": "chat"})),
        &pinned("", Some("")),
        &["the module chat, in which p.json is pinned, is not there"],
    );

    let own = json!({"program-pins": {"pins": [{"path": "scaffold.toml", "at": "/programs/token"}]}});
    let mut facts = holding(&[]);
    let toml = |id: &str| Ok(Some(format!("[programs]\ntoken = '{id}'\n").into_bytes()));
    facts.files_before.insert("scaffold.toml".into(), toml("1"));
    facts.files.insert("scaffold.toml".into(), toml("1"));
    check(own.clone(), &facts, &[]);
    facts.files.insert("scaffold.toml".into(), toml("2"));
    check(own.clone(), &facts, &["scaffold.toml: the value at"]);
    facts.files.insert("scaffold.toml".into(), Err("why".to_owned()));
    check(own, &facts, &["cannot be told: why"]);
    for wrong in [json!({"pins": []}), json!({"pins": [{"path": "a", "at": "b"}]})] {
        assert!(serde_json::from_value::<Rules>(json!({ "program-pins": wrong })).is_err());
    }
}

#[test]
fn licences_that_change_and_sizes_that_jump_are_put_before_a_person() {
    let grown = |bytes: u64, licence: Option<u8>, stated: &str| {
        let text = format!(r#"{{"name":"a","version":"1","type":"core","license":"{stated}"}}"#);
        let mut held = held(&[("metadata.json", &text)]);
        held.bytes = bytes;
        held.licences.extend(licence.map(|byte| ("LICENSE".into(), id(byte))));
        held
    };
    let moved = |before: Held, after: Held| {
        facts(ContentFacts {
            held_before: Some(Ok(before)),
            held: Some(Ok(after)),
            ..ContentFacts::default()
        })
    };
    let rule = json!({"licence-and-size": {"percent": 50, "least_bytes": 100}});
    let base = || grown(1000, Some(1), "MIT");
    for (after, expect) in [
        (base(), None),
        (grown(1500, Some(1), "MIT"), None),
        (grown(1501, Some(1), "MIT"), Some("it grows from 1000 bytes in 1 files to 1501")),
        (grown(499, Some(1), "MIT"), Some("it shrinks")),
        (grown(1000, Some(2), "MIT"), Some("LICENSE: these terms of use change")),
        (grown(1000, None, "MIT"), Some("terms of use are gone")),
        (
            grown(1000, Some(1), "GPL"),
            Some("metadata.json: the licence that it names changes from \"MIT\" to \"GPL\""),
        ),
    ] {
        check(rule.clone(), &moved(base(), after), expect.as_slice());
    }
    check(rule.clone(), &holding(&[]), &["was not looked at"]);
    check(
        rule.clone(),
        &moved(grown(10, None, "MIT"), grown(109, Some(1), "MIT")),
        &["terms of use are new"],
    );
    assert!(
        serde_json::from_value::<Rules>(json!({"licence-and-size": {"licence": false, "percent": 0}}))
            .is_err()
    );
    let found: Rules = serde_json::from_value(rule).unwrap();
    let findings = found.judge(&moved(base(), grown(9000, None, "")), Asks::Tree);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Review) && findings.len() == 3);
}
