//! What the edits of a lock say, and what they leave out.

use std::collections::BTreeSet;

use super::edits::of_lock;
use crate::domain::flake::lock::Lock;

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
