//! Laws of text from outside: what is shown has no power, and a path that is shown can be read
//! back. Quoting is compared with the real git.

mod support;

use std::io::Write as _;
use std::process::Stdio;

use lambda_os::domain::text::{
    git_quoted, git_unquoted, inert, inert_bytes, inert_lines, is_active, nearest, quoted, word,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

/// Text of which much is active: controls, bidirectional marks, tags, fillers.
fn hostile() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        any::<char>(),
        proptest::char::range('\0', '\u{9f}'),
        proptest::char::range('\u{2000}', '\u{206f}'),
        proptest::char::range('\u{e0000}', '\u{e007f}'),
        Just('"'),
        Just('\\'),
        Just('\u{feff}'),
    ];
    proptest::collection::vec(character, 0..40).prop_map(|some| some.into_iter().collect())
}

#[test]
fn what_moves_or_hides_other_text_is_active_and_letters_are_not() {
    for c in
        "\u{1b}\u{7}\u{7f}\u{9b}\u{200b}\u{200e}\u{202a}\u{202e}\u{2028}\u{2066}\u{2069}\u{feff}\u{e0041}"
            .chars()
    {
        assert!(is_active(c), "{c:?}");
        assert!(!inert(&c.to_string()).contains(c), "{c:?}");
    }
    for c in "aZ09 ü→漢🦀<>&`".chars() {
        assert!(!is_active(c), "{c:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shown_text_is_inert(outside in hostile()) {
        for shown in [inert(&outside), quoted(&outside), word(&outside), git_quoted(outside.as_bytes())] {
            prop_assert!(!shown.chars().any(is_active), "{shown:?}");
        }
        prop_assert!(!inert_lines(&outside).chars().any(|c| c != '\n' && is_active(c)));
    }

    #[test]
    fn a_word_is_one_word(outside in hostile()) {
        prop_assert_eq!(word(&outside).split_whitespace().count(), 1);
    }

    #[test]
    fn shown_bytes_are_inert(outside in proptest::collection::vec(any::<u8>(), 0..60)) {
        prop_assert!(!inert_bytes(&outside).chars().any(is_active));
    }

    #[test]
    fn a_path_that_is_shown_can_be_read_back(path in proptest::collection::vec(any::<u8>(), 0..60)) {
        let shown = git_quoted(&path);
        prop_assert!(!shown.chars().any(is_active), "{shown:?}");
        prop_assert_eq!(git_unquoted(&shown), Some(path));
    }

    #[test]
    fn what_is_read_as_a_path_is_what_would_be_shown(shown in hostile()) {
        if let Some(path) = git_unquoted(&shown) {
            prop_assert_eq!(&git_quoted(&path), &shown);
        }
        let within = format!("\"{shown}\"");
        if let Some(path) = git_unquoted(&within) {
            prop_assert_eq!(git_quoted(&path), within);
        }
    }

    #[test]
    fn a_slip_of_the_finger_is_found(at in 0_usize..10, wrong in "[a-z]") {
        let mut slipped: Vec<char> = "completions".chars().collect();
        slipped[at] = wrong.chars().next().expect("one");
        let slipped: String = slipped.into_iter().collect();
        prop_assert_eq!(nearest(&slipped, ["config", "completions", "status"]), Some("completions"));
    }
}

#[test]
fn words_that_are_not_alike_are_not_suggested() {
    for (word, near) in [
        ("statsu", Some("status")),
        ("STATUS", Some("status")),
        ("stat", Some("status")),
        ("sta", None),
        ("xyz", None),
        ("", None),
        (&"a".repeat(10_000), None),
    ] {
        assert_eq!(nearest(word, ["status", "config"]), near, "{word}");
    }
}

/// 3,000 names in one index: the real git's `ls-files` beside ours, name by name.
#[test]
fn quoting_is_gits() {
    let temp = support::temp_dir();
    support::git(temp.path(), ["init", "-q"]);
    let mut runner = TestRunner::deterministic();
    let bytes =
        proptest::collection::vec(prop_oneof![any::<u8>(), 0_u8..0x80, Just(b'"'), Just(b'\\')], 1..20);
    let unicode = hostile().prop_map(String::into_bytes);
    let names = prop_oneof![bytes, unicode];
    let mut index = Vec::new();
    for number in 0..3000 {
        let name = names.new_tree(&mut runner).expect("a name is made").current();
        index.extend(format!("100644 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 0\t{number}").bytes());
        index.extend(name.iter().filter(|byte| !matches!(byte, 0 | b'/')));
        index.push(0);
    }
    let mut update = support::git_command(temp.path())
        .args(["update-index", "-z", "--index-info"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("git starts");
    update.stdin.take().expect("a pipe").write_all(&index).expect("git reads");
    assert!(update.wait().expect("git ends").success());

    let raw = support::git_bytes(temp.path(), ["ls-files", "-z"]);
    let shown = support::git_bytes(temp.path(), ["ls-files"]);
    let names: Vec<&[u8]> = raw.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    let lines: Vec<&[u8]> = shown.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    assert_eq!((names.len(), lines.len()), (3000, 3000));
    let mut equal = 0;
    for (name, line) in names.iter().zip(&lines) {
        let ours = git_quoted(name);
        // Where git shows something raw that has power, ours is safer and differs.
        let safer =
            !std::str::from_utf8(name).is_ok_and(|name| !name.chars().any(|c| !c.is_ascii() && is_active(c)));
        if safer {
            assert!(ours.starts_with('"') && ours != String::from_utf8_lossy(line), "{ours}");
        } else {
            assert_eq!(ours.as_bytes(), *line, "{ours} is not {}", String::from_utf8_lossy(line));
            equal += 1;
        }
    }
    assert!(equal > 500, "{equal} names were compared");
}
