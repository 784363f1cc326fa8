use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn written(value: &impl Serialize) -> Result<String, CanonicalError> {
    to_canonical(value).map(|bytes| String::from_utf8(bytes).expect("because canonical JSON is UTF-8"))
}

#[test]
fn keys_are_ordered_by_utf16_code_units() {
    // U+1F602 is D83D DE02 in UTF-16, before U+FB33; in UTF-8 it comes after.
    let value = json!({"\u{fb33}": 1, "\u{1f602}": 2, "a": 3, "\r": 4, "1": 5, "\u{f6}": 6, "\u{20ac}": 7});
    let expect = "{\"\\r\":4,\"1\":5,\"a\":3,\"\u{f6}\":6,\"\u{20ac}\":7,\"\u{1f602}\":2,\"\u{fb33}\":1}";
    assert_eq!(written(&value).unwrap(), expect);
    assert_eq!(check(expect), Ok(()));
    let swapped = "{\"\u{fb33}\":1,\"\u{1f602}\":2}";
    assert!(check(swapped).is_err(), "UTF-8 order is not the canonical order");
}

fn check(text: &str) -> Result<(), CanonicalError> {
    scan::check(text.as_bytes())
}

#[test]
fn what_has_no_canonical_form_is_refused_when_written() {
    assert_eq!(written(&1.5), Err(CanonicalError::NotAnInteger));
    assert_eq!(written(&f64::NAN), Err(CanonicalError::NotAnInteger));
    assert_eq!(written(&[2.0_f32]), Err(CanonicalError::NotAnInteger));
    assert_eq!(written(&MAX_SAFE).unwrap(), "9007199254740991");
    assert_eq!(written(&-MAX_SAFE).unwrap(), "-9007199254740991");
    assert_eq!(written(&(MAX_SAFE + 1)), Err(CanonicalError::OutOfRange));
    assert_eq!(written(&u64::MAX), Err(CanonicalError::OutOfRange));
    assert_eq!(written(&BTreeMap::from([(1_u8, 2_u8)])), Err(CanonicalError::KeyNotText));
    let mut deep = json!(1);
    for _ in 0..MAX_DEPTH {
        deep = json!([deep]);
    }
    assert!(written(&deep).is_ok());
    assert_eq!(written(&json!([deep])), Err(CanonicalError::TooDeep));
}

#[test]
fn a_key_that_two_flattened_parts_both_have_is_refused() {
    #[derive(Serialize)]
    struct Inner {
        a: u8,
    }
    #[derive(Serialize)]
    struct Outer {
        a: u8,
        #[serde(flatten)]
        inner: Inner,
    }
    let twice = Outer { a: 1, inner: Inner { a: 2 } };
    assert_eq!(written(&twice), Err(CanonicalError::DuplicateKey("a".to_owned())));
}

#[test]
fn texts_that_are_not_canonical_are_refused_and_why() {
    let cases = [
        "{ }",
        " 1",
        "1 ",
        "01",
        "-0",
        "+1",
        "1.0",
        "1e3",
        "9007199254740992",
        "\"\\u0041\"",
        "\"\\/\"",
        "\"\\u000a\"",
        "\"\\u000A\"",
        "\"\\u001F\"",
        "\"\n\"",
        "\"\\ud83d\\ude02\"",
        "{\"b\":1,\"a\":2}",
        "[1,]",
        "[1 ,2]",
        "{\"a\":1,\"a\":2}",
        "{\"a\" :1}",
        "tru",
        "nul",
        "",
        "\"",
        "[",
        "{\"a\":1",
        "{1:2}",
        "NaN",
        "[]]",
        "123456789012345678901234567890",
    ];
    for case in cases {
        assert!(check(case).is_err(), "{case} was accepted");
        assert!(parse_canonical(case.as_bytes()).is_err(), "{case} was accepted");
    }
    assert!(scan::check(b"\"\xff\"").is_err());
    assert_eq!(parse(b"{\"a\":1,\"a\":1}"), Err(CanonicalError::DuplicateKey("a".to_owned())));
    assert_eq!(
        parse(b"[{\"x\":{\"k\":1,\"\\u006b\":1}}]"),
        Err(CanonicalError::DuplicateKey("k".to_owned()))
    );
    assert_eq!(parse(b"1.0"), Err(CanonicalError::NotAnInteger));
    let deep = [vec![b'['; MAX_DEPTH + 1], vec![b']'; MAX_DEPTH + 1]].concat();
    assert_eq!(parse(&deep), Err(CanonicalError::TooDeep));
    assert_eq!(scan::check(&deep), Err(CanonicalError::TooDeep));
    let very_deep = vec![b'['; 1_000_000];
    assert!(parse(&very_deep).is_err());
    assert_eq!(scan::check(&very_deep), Err(CanonicalError::TooDeep));
}

#[test]
fn published_vectors_hold_where_they_are_integers_and_are_refused_elsewhere() {
    #[expect(clippy::disallowed_methods, reason = "the vectors' place is only known to who runs the tests")]
    let Some(root) = std::env::var_os("LAMBDA_OS_VECTORS") else {
        eprintln!("SKIPPED: LAMBDA_OS_VECTORS is not set, so the published RFC 8785 vectors were not tried");
        return;
    };
    let root = std::path::Path::new(&root).join("jcs/testdata");
    let mut held = 0;
    for name in ["arrays", "french", "structures", "unicode", "values", "weird"] {
        let file = |kind: &str| std::fs::read(root.join(kind).join(format!("{name}.json"))).expect(name);
        let (input, output) = (file("input"), file("output"));
        match canonicalise(&input) {
            Ok(ours) => {
                assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&output), "{name}");
                assert_eq!(scan::check(&output), Ok(()), "{name}");
                held += 1;
            }
            Err(refused) => {
                assert_eq!(refused, CanonicalError::NotAnInteger, "{name}");
                assert!(matches!(name, "structures" | "values"), "{name} has no fractions");
            }
        }
    }
    assert_eq!(held, 4);
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-c]{0,3}",
        any::<String>(),
        Just("\u{e000}".to_owned()),
        Just("\u{10000}".to_owned()),
        Just("\u{0}\u{1f}\u{7f}\u{8}\u{c}".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-MAX_SAFE..=MAX_SAFE).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The slow and plain definition that the scanner is held against.
fn canonical_by_definition(text: &[u8]) -> bool {
    serde_json::from_slice::<Value>(text)
        .is_ok_and(|value| to_canonical(&value).is_ok_and(|again| again == text))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back_and_is_accepted(value in any_json()) {
        if let Ok(bytes) = to_canonical(&value) {
            prop_assert_eq!(parse_canonical(&bytes).unwrap(), value.clone());
            prop_assert_eq!(parse(&bytes).unwrap(), value);
        }
    }

    #[test]
    fn the_scanner_agrees_with_the_definition_on_mutated_texts(
        value in any_json(),
        at in any::<prop::sample::Index>(),
        change in 0..4_u8,
        byte in prop_oneof![any::<u8>(), prop::sample::select(b"\"\\{}[],:0123456789-.eEu ntf\n".to_vec())],
    ) {
        let mut text = serde_json::to_vec(&value).unwrap();
        let at = at.index(text.len());
        match change {
            0 => text[at] = byte,
            1 => text.insert(at, byte),
            2 => { text.remove(at); }
            _ => {}
        }
        prop_assert_eq!(scan::check(&text).is_ok(), canonical_by_definition(&text), "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn the_scanner_agrees_with_the_definition_on_json_like_noise(text in "[\\[\\]{}\",:0-9a\\\\u\\-.e \u{e000}\u{10000}]{0,12}") {
        prop_assert_eq!(check(&text).is_ok(), canonical_by_definition(text.as_bytes()), "{}", text);
    }
}
