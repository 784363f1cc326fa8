use super::*;

const LOCKED: &str = r#""locked": {"type": "github", "owner": "o", "repo": "r", "rev": "abc", "narHash": "h", "lastModified": 5}, "original": {"type": "github", "owner": "o", "repo": "r"}"#;

fn lock(root_inputs: &str, nodes: &str) -> String {
    format!(
        r#"{{"nodes": {{"root": {{"inputs": {{{root_inputs}}}}} {nodes}}}, "root": "root", "version": 7}}"#
    )
}

fn refused(file: &str) -> String {
    Lock::parse(file.as_bytes()).expect_err("it is refused").to_string()
}

#[test]
fn root_inputs_come_from_the_root_and_not_from_node_names() {
    let file = lock(
        r#""a": "a_61", "b": ["a", "x"]"#,
        &format!(
            r#", "a": {{{LOCKED}}}, "a_61": {{"inputs": {{"x": "x", "y": ["b"], "z": []}}, {LOCKED}}}, "x": {{"flake": false, {LOCKED}, "future": {{"k": [1]}}}}"#
        ),
    );
    let lock = Lock::parse(file.as_bytes()).expect("it is well formed");
    let inputs: Vec<_> = lock
        .root_inputs()
        .map(|(name, node)| (name, node.map(|node| lock.node(node).key.as_str())))
        .collect();
    assert_eq!(inputs, [("a", Some("a_61")), ("b", Some("x"))]);
    assert_eq!(lock.resolve(&["a", "y"]).map(|node| lock.node(node).key.as_str()), Ok("x"));
    assert_eq!(lock.resolve(&["a", "z"]), Ok(lock.root()));
    assert_eq!(
        lock.resolve(&["a", "q"]).map_err(|error| error.to_string()),
        Err("the lock has no input \"a/q\": \"a\" has no input \"q\"".to_owned())
    );
    let x = lock.node(lock.resolve(&["b"]).expect("it is there"));
    assert!(!x.flake);
    assert_eq!(x.rev(), Some("abc"));
    assert_eq!(x.locked.as_ref().and_then(FlakeRef::last_modified), Some(5));
    assert_eq!(x.extra["future"], serde_json::json!({"k": [1]}));
    let paths: Vec<String> = lock.closure().into_iter().map(|(_, path)| path.join("/")).collect();
    assert_eq!(paths, ["", "a", "b"]);
}

#[test]
fn older_versions_are_read_and_others_refused() {
    let five = lock(
        r#""a": "a""#,
        r#", "a": {"info": {"narHash": "h", "lastModified": 7}, "locked": {"type": "git", "url": "https://x.org/r", "rev": "abc"}, "original": {"id": "a", "type": "indirect"}}"#,
    )
    .replace("\"version\": 7", "\"version\": 5");
    let lock = Lock::parse(five.as_bytes()).expect("version 5 is read");
    let node = lock.node(lock.resolve(&["a"]).expect("it is there"));
    assert_eq!(node.locked.as_ref().and_then(FlakeRef::nar_hash), Some("h"));
    assert_eq!(lock.version(), 5);
    for version in ["4", "8", "\"7\"", "-1", "7.0"] {
        let other = five.replace("\"version\": 5", &format!("\"version\": {version}"));
        assert!(refused(&other).ends_with("is not supported; Nix reads versions 5 to 7"), "{version}");
    }
}

#[test]
fn damage_is_refused_by_name_and_place() {
    let good = format!(r#", "a": {{{LOCKED}}}"#);
    for (file, expected) in [
        (
            lock(r#""a": "b""#, ""),
            "the input \"a\" of the node \"root\" names the node \"b\", which is not there",
        ),
        (
            lock(r#""a": "a""#, &format!(r#", "a": {{"inputs": {{"r": "root"}}, {LOCKED}}}"#)),
            "the input \"r\" of the node \"a\" names the root node",
        ),
        (lock(r#""a": "a""#, r#", "a": {}"#), "the node \"a\" has no locked"),
        (
            lock(r#""a": ["b"], "b": ["c"], "c": ["a"]"#, ""),
            "inputs follow each other in a circle: root.a -> root.b -> root.c -> root.a",
        ),
        (lock(r#""a": ["a"]"#, ""), "inputs follow each other in a circle: root.a -> root.a"),
        (lock(r#""a": "a", "a": "a""#, &good), "line 1, column 44: the key \"a\" stands twice in one object"),
        (
            lock(r#""a": "a""#, &format!("{good}{good}")),
            "line 1, column 219: the key \"a\" stands twice in one object",
        ),
        ("{\n\"nodes\": 1}".to_owned(), "line 2, column 10: invalid type: integer `1`, expected an object"),
        ("{}".to_owned(), "version none is not supported; Nix reads versions 5 to 7"),
        (
            r#"{"version": 7, "nodes": {}, "root": "r"}"#.to_owned(),
            "\"root\" names the node \"r\", which is not there",
        ),
        (String::new(), "line 1, column 0: EOF while parsing a value"),
        ("{} x".to_owned(), "line 1, column 4: trailing characters"),
    ] {
        assert_eq!(refused(&file), expected);
    }
    let error = Lock::parse(b"{\n \"\xff\"}").expect_err("it is not UTF-8");
    assert_eq!(error.to_string(), "line 2, column 3: it is not UTF-8 text");
}

#[test]
fn json_a_hundred_thousand_deep_is_refused_without_overflow() {
    for open in ["[", "{\"a\":"] {
        let deep = open.repeat(100_000);
        assert!(refused(&deep).contains(if open == "[" { "invalid type" } else { "recursion limit" }));
        let inside = lock("", &format!(r#", "a": {{"x": {deep}"#));
        assert!(refused(&inside).contains("recursion limit"));
    }
}

#[test]
fn follows_through_follows_cost_their_length() {
    // A chain of 50,000, and one where every path names its predecessor twice: without memory
    // the second takes two to the power of its length.
    let chain: Vec<String> = (0..50_000)
        .map(|n| if n == 0 { r#""i0": "a""#.to_owned() } else { format!(r#""i{n}": ["i{}"]"#, n - 1) })
        .collect();
    let lock_file = lock(&chain.join(","), &format!(r#", "a": {{{LOCKED}}}"#));
    let parsed = Lock::parse(lock_file.as_bytes()).expect("a long chain is no circle");
    assert_eq!(parsed.resolve(&["i49999"]).map(|node| parsed.node(node).key.as_str()), Ok("a"));

    let own: Vec<String> = (1..60)
        .map(|n| format!(r#""i{n}": ["i{0}", "i{0}"]"#, n - 1))
        .chain(["\"i0\": \"a\"".to_owned()])
        .collect();
    let own = own.join(",");
    let doubling = lock(&own, &format!(r#", "a": {{"inputs": {{{own}}}, {LOCKED}}}"#));
    let parsed = Lock::parse(doubling.as_bytes()).expect("it is no circle");
    assert!(parsed.resolve(&["i59"]).is_ok());
}

#[test]
fn a_followed_input_that_is_not_there_is_said_and_not_guessed() {
    let parsed =
        Lock::parse(lock(r#""a": ["nowhere", "b"]"#, "").as_bytes()).expect("the lock itself is whole");
    assert_eq!(parsed.root_inputs().collect::<Vec<_>>(), [("a", None)]);
}

#[test]
fn before_a_new_lock_a_circle_comes_to_nothing_and_the_rest_to_what_it_is() {
    let file = lock(
        r#""a": ["b"], "b": ["a"], "c": ["a", "x"], "d": "d", "e": ["d"]"#,
        &format!(r#", "d": {{"inputs": {{"f": ["d", "f"]}}, {LOCKED}}}"#),
    );
    assert!(Lock::parse(file.as_bytes()).is_err());
    let (parsed, _) = Lock::parse_for_relock(file.into_bytes()).expect("it is well formed");
    let found: Vec<(&str, bool)> = parsed.root_inputs().map(|(name, node)| (name, node.is_some())).collect();
    assert_eq!(found, [("a", false), ("b", false), ("c", false), ("d", true), ("e", true)]);
    assert_eq!(parsed.resolve(&["e"]), parsed.resolve(&["d"]));
    assert!(parsed.resolve(&["d", "f"]).is_err());
}
