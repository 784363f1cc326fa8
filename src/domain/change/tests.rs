//! What the edits of a lock say, and what they leave out.

use std::collections::BTreeSet;

use super::edits::of_lock;
use super::{DELTA_VERSION, Delta, Edit, EditPlace, FileContent, FileDelta, PinDelta, Revision};
use crate::domain::flake::lock::Lock;
use crate::domain::id::{Cid, ModuleName, ObjectId};

fn lock(root: &str, nodes: &str) -> Lock {
    let file = format!(r#"{{"nodes":{{"root":{{"inputs":{{{root}}}}}{nodes}}},"root":"root","version":7}}"#);
    Lock::parse(file.as_bytes()).unwrap()
}

fn node(key: &str, rev: &str, inputs: &str) -> String {
    format!(
        r#","{key}":{{"inputs":{{{inputs}}},"locked":{{"type":"git","url":"https://x.org/s","rev":"{rev}"}},"original":{{"type":"git","url":"https://x.org/s"}}}}"#
    )
}

fn edits(before: &Lock, after: &Lock, declared: &[&str]) -> Vec<(String, bool, bool)> {
    let declared: BTreeSet<String> = declared.iter().map(|name| (*name).to_owned()).collect();
    let found = of_lock(before, after, &declared).unwrap();
    found.into_iter().map(|edit| (edit.at.join("/"), edit.old.is_some(), edit.new.is_some())).collect()
}

#[test]
fn edits_name_every_input_path_that_differs_and_no_node() {
    let before = lock(
        r#""a":"a","b":"b""#,
        &[node("a", "1", r#""x":"x""#), node("b", "2", ""), node("x", "3", "")].concat(),
    );
    let after = lock(
        r#""a":"a","b":"b_9""#,
        &[
            node("a", "4", r#""x":["b"],"y":"y""#),
            node("b_9", "2", ""),
            node("y", "5", r#""z":"z""#),
            node("z", "6", ""),
        ]
        .concat(),
    );
    let expected = [("a", true, true), ("a/x", true, true), ("a/y", false, true), ("a/y/z", false, true)];
    assert_eq!(edits(&before, &after, &["a", "b"]), expected.map(|(at, old, new)| (at.to_owned(), old, new)));
    assert_eq!(edits(&before, &after, &["b"]), []);
}

#[test]
fn edits_of_one_input_are_the_same_whatever_another_one_is() {
    let with = |rev: &str, b: &str| {
        lock(r#""a":"a","b":"b""#, &[node("a", rev, r#""x":["b"]"#), node("b", b, "")].concat())
    };
    let declared = BTreeSet::from(["a".to_owned()]);
    let first = of_lock(&with("1", "2"), &with("3", "2"), &declared).unwrap();
    let later = of_lock(&with("1", "9"), &with("3", "9"), &declared).unwrap();
    assert_eq!(first, later);
    assert_ne!(first, of_lock(&with("1", "2"), &with("4", "2"), &declared).unwrap());
    assert!(
        first[0]
            .new
            .as_ref()
            .is_some_and(|new| new.contains(r#""original""#) && new.contains(r#""rev":"3""#))
    );
}

fn delta_of_a_pin() -> Delta {
    let at = |byte, nar: Option<&str>| Revision {
        commit: ObjectId::from_bytes(&[byte; 20]).unwrap(),
        nar: nar.map(str::to_owned),
    };
    Delta {
        v: DELTA_VERSION,
        workspace: "workspace".to_owned(),
        pins: vec![PinDelta {
            module: ModuleName::new("waku"),
            path: "repos/waku".into(),
            from: at(1, None),
            to: at(2, Some("sha256-x")),
        }],
        edits: vec![Edit {
            place: EditPlace::FlakeLock,
            at: vec!["waku".to_owned()],
            old: Some("{}".to_owned()),
            new: None,
        }],
        files: Vec::new(),
        document: None,
    }
}

/// Ballots name changes by these identities: they were so before changes could name files.
#[test]
fn the_identity_of_a_pins_change_stays() {
    let delta = delta_of_a_pin();
    let written = r#"{"edits":[{"at":["waku"],"new":null,"old":"{}","place":"flake-lock"}],"pins":[{"from":{"commit":"0101010101010101010101010101010101010101","nar":null},"module":"waku","path":"repos/waku","to":{"commit":"0202020202020202020202020202020202020202","nar":"sha256-x"}}],"v":1,"workspace":"workspace"}"#;
    assert_eq!(String::from_utf8(delta.to_canonical().unwrap()).unwrap(), written);
    assert_eq!(serde_json::from_str::<Delta>(written).unwrap(), delta);
    assert_eq!(
        delta.id().unwrap().to_string(),
        "bafkreieigz5c4zxoau5ma7o5j4edx5dllz7nshx2kg2gdzqsda5p6lqqte"
    );
}

#[test]
fn every_part_of_a_file_that_changes_is_in_the_identity() {
    let content = |bytes: &[u8]| FileContent { executable: false, content: Cid::of(bytes) };
    let file = FileDelta { path: "a".into(), old: Some(content(b"o")), new: content(b"n") };
    let of = |file: &FileDelta| Delta {
        pins: Vec::new(),
        edits: Vec::new(),
        files: vec![file.clone()],
        ..delta_of_a_pin()
    };
    let delta = of(&file);
    let read: Delta = serde_json::from_slice(&delta.to_canonical().unwrap()).unwrap();
    assert_eq!(read, delta);
    let executable = FileContent { executable: true, ..file.new };
    for other in [
        FileDelta { path: "b".into(), ..file.clone() },
        FileDelta { old: None, ..file.clone() },
        FileDelta { old: Some(content(b"x")), ..file.clone() },
        FileDelta { new: content(b"x"), ..file.clone() },
        FileDelta { new: executable, ..file.clone() },
    ] {
        assert_ne!(of(&other).id().unwrap(), delta.id().unwrap(), "{other:?}");
    }
}
