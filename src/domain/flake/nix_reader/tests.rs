#![expect(
    clippy::format_push_string,
    clippy::format_collect,
    reason = "tests are read more often than they run"
)]

use proptest::prelude::*;

use super::*;

/// The inputs as one line: `name=reference`, `name->follows`, nested ones in brackets.
fn shown(inputs: &BTreeMap<String, InputSpec>) -> String {
    let each = inputs.iter().map(|(name, spec)| {
        let mut line = name.clone();
        if let Some(reference) = &spec.reference {
            let of = |key| reference.text(key).unwrap_or("");
            let place = match reference.kind() {
                "github" => format!("{}/{}", of("owner"), of("repo")),
                "indirect" => of("id").to_owned(),
                "path" => of("path").to_owned(),
                _ => of("url").to_owned(),
            };
            line.push_str(&format!("={}:{place}", reference.kind()));
        }
        if let Some(follows) = &spec.follows {
            line.push_str(&format!("->{}", follows.join("/")));
        }
        if !spec.flake {
            line.push('!');
        }
        if spec.implied {
            line.push('?');
        }
        if !spec.inputs.is_empty() {
            line.push_str(&format!("[{}]", shown(&spec.inputs)));
        }
        line
    });
    each.collect::<Vec<_>>().join(" ")
}

fn check(flake: &str, expected: &str) {
    let answer = match read(flake.as_bytes()) {
        Ok(flake) => shown(&flake.inputs),
        Err(error) => error.to_string(),
    };
    assert_eq!(answer, expected, "{flake}");
}

#[test]
fn what_nix_accepts_is_read() {
    for (inputs, expected) in [
        ("inputs.a.url = \"github:o/a\";", "a=github:o/a"),
        ("inputs = { a.url = \"github:o/a\"; a.flake = false; };", "a=github:o/a!"),
        (
            "inputs = { a = { url = \"github:o/a\"; }; }; inputs.b.url = \"github:o/b\";",
            "a=github:o/a b=github:o/b",
        ),
        ("inputs.a = { url = \"github:o/a\"; }; inputs.a.flake = false;", "a=github:o/a!"),
        ("inputs.\"a b\".url = \"github:o/a\";", "a b=github:o/a"),
        ("/* c */ inputs.a.url = # d\n (\"github:o/a\");", "a=github:o/a"),
        ("inputs.a.url = ''github:o/a'';", "a=github:o/a"),
        ("inputs.a.url = github:o/a;", "a=github:o/a"),
        ("inputs.a = { type = \"github\"; owner = \"o\"; repo = \"a\"; };", "a=github:o/a"),
        ("inputs.a.url = \"path:./sub\";", "a=path:./sub"),
        ("inputs.a.url = ./sub;", "a=path:sub"),
        ("inputs.a.url = ./sub/../.;", "a=path:."),
        ("inputs.a.url = ../other/x;", "a=path:../other/x"),
        ("inputs.a.follows = \"b/c\"; inputs.b.url = \"github:o/b\";", "a->b/c b=github:o/b"),
        ("inputs.a.follows = \"\";", "a->"),
        ("inputs.a = { url = \"github:o/a\"; inputs.b.inputs.c.follows = \"d\"; };", "a=github:o/a[b[c->d]]"),
        ("inputs.${\"a\"}.url = \"github:o/a\";", "a=github:o/a"),
        ("inputs = rec { a = { url = \"github:o/a\"; }; b = a; };", "a=github:o/a b=github:o/a"),
        ("inputs.a = { };", "a=indirect:a"),
        ("inputs.self.submodules = true;", ""),
        ("inputs.a.flake = true;", "a=indirect:a"),
    ] {
        check(&format!("{{ {inputs} outputs = x: {{ }}; }}"), expected);
    }
}

#[test]
fn formals_of_outputs_are_inputs() {
    check(
        "{ inputs.a.url = \"github:o/a\"; outputs = { self, a, nixpkgs, ... }@inputs: { }; }",
        "a=github:o/a nixpkgs=indirect:nixpkgs?",
    );
    check("{ outputs = inputs@{ self, b }: { }; }", "b=indirect:b?");
    check("{ outputs = _: { }; }", "");
}

#[test]
fn what_nix_refuses_is_refused_with_its_place() {
    for (file, expected) in [
        (
            "let a = 1; in { outputs = x: x; }",
            "line 1, column 1: the file must be an attribute set, not something computed",
        ),
        (
            "x: { outputs = x: x; }",
            "line 1, column 1: the file must be an attribute set, not something computed",
        ),
        ("{ }", "line 1, column 4: the flake lacks the attribute \"outputs\""),
        ("{ outputs = x: x; foo = 1; }", "line 1, column 19: unsupported attribute \"foo\""),
        ("{ outputs = { }; }", "line 1, column 3: expected a function but got a set"),
        (
            "{\n  inputs = let a = 1; in { };\n outputs = x: x; }",
            "line 2, column 3: expected a set but got a \"let\" expression, which would have to be computed",
        ),
        (
            "{ inputs = { } // { }; outputs = x: x; }",
            "line 1, column 3: expected a set but got an operation, which would have to be computed",
        ),
        (
            "{ inputs = import ./i.nix; outputs = x: x; }",
            "line 1, column 3: expected a set but got a function call, which would have to be computed",
        ),
        (
            "{ inputs.a.url = \"github:${\"o\"}/a\"; outputs = x: x; }",
            "line 1, column 12: expected a string or a path but got an interpolated string, which would have to be computed",
        ),
        (
            "{ inputs.a.url = \"a\" + \"b\"; outputs = x: x; }",
            "line 1, column 12: expected a string or a path but got an operation, which would have to be computed",
        ),
        (
            "{ inputs.a = { inherit (map) url; }; outputs = x: x; }",
            "line 1, column 30: expected a string or a path but got an inherited value, which would have to be computed",
        ),
        (
            "{ inputs.${\"a\" + \"b\"}.url = \"github:o/a\"; outputs = x: x; }",
            "line 1, column 10: expected a set but got one with a computed name",
        ),
        (
            "{ inputs.a.url = \"github:o/a\";\n  inputs.a.url = \"github:o/b\"; outputs = x: x; }",
            "line 2, column 12: the attribute \"url\" is already defined at line 1, column 12",
        ),
        (
            "{ outputs = x: { a = 1; b = { c = 1; c = 2; }; }; }",
            "line 1, column 38: the attribute \"c\" is already defined at line 1, column 31",
        ),
        ("{ outputs = x:\n  y; }", "line 2, column 3: the variable \"y\" is not defined"),
        ("{ outputs = { a, a }: 1; }", "line 1, column 18: the argument \"a\" stands twice"),
        (
            "{ inputs.a = { url = \"github:o/a\"; follows = \"b\"; }; outputs = x: x; }",
            "line 1, column 10: the input has both a flake reference and a \"follows\" attribute",
        ),
        (
            "{ inputs.a.follows = \"b c\"; outputs = x: x; }",
            "line 1, column 12: invalid input path element \"b c\"",
        ),
        (
            "{ inputs.a.foo = \"b\"; outputs = x: x; }",
            "line 1, column 10: unexpected flake input attribute \"foo\"",
        ),
        (
            "{ inputs.a.inputs.self = { }; outputs = x: x; }",
            "line 1, column 19: the input \"self\" is not allowed here",
        ),
        (
            "{ inputs.a.url = \"github:o\"; outputs = x: x; }",
            "line 1, column 12: the flake reference \"github:o\" names no owner and repository",
        ),
        ("{ outputs = x: ( 1 ]; }", "line 1, column 20: syntax error: unexpected \"]\""),
        ("{ outputs = x: x;", "line 1, column 18: syntax error: the file ends too early"),
        (
            "{ inputs = rec { b = a; a = { url = \"github:o/a\"; }; }; outputs = x: x; }",
            "line 1, column 18: expected a set but got a name that is defined later, which would have to be computed",
        ),
    ] {
        check(file, expected);
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    let error = read(b"{\n  a = \"\xff\";\n}").expect_err("it is not UTF-8");
    assert_eq!(error.to_string(), "line 2, column 8: the file is not UTF-8 text");
}

#[test]
fn what_would_overflow_the_stack_is_refused() {
    let many = 60_000;
    let chains = [
        format!("{}{}", "[".repeat(many), "]".repeat(many)),
        format!("{}1{}", "(".repeat(many), ")".repeat(many)),
        format!("{}1", "-".repeat(many)),
        format!("{}1", "!".repeat(many)),
        format!("1{}", " + 1".repeat(many)),
        format!("f{}", " x".repeat(many)),
        format!("1{}", " ++ 1".repeat(many)),
        format!("{}1", "x: ".repeat(many)),
        format!("{}1", "with a; ".repeat(many)),
        format!("{}1", "let a = 1; in ".repeat(many)),
        format!("{}1{}", "\"${".repeat(many), "}\"".repeat(many)),
        format!("{}1", "if a then b else ".repeat(many)),
        format!("a{}", ".a".repeat(many)),
        format!("{}a{}", "(".repeat(100), &" + a".repeat(200).add_close().repeat(100)),
    ];
    for chain in chains {
        let file = format!("{{ outputs = x: {chain}; }}");
        let error = read(file.as_bytes()).expect_err("it is too deep");
        assert!(error.reason.contains("too deeply"), "{}: {error}", &file[..60]);
    }
}

trait AddClose {
    fn add_close(self) -> String;
}

impl AddClose for String {
    fn add_close(mut self) -> String {
        self.push(')');
        self
    }
}

#[test]
fn long_flat_files_are_read() {
    let list = "\"a\" ".repeat(20_000);
    let set: String = (0..20_000).map(|n| format!("a{n} = {n}; ")).collect();
    check(&format!("{{ outputs = x: {{ l = [ {list} ]; s = {{ {set} }}; }}; }}"), "");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(tokens in proptest::collection::vec(prop_oneof![
        Just("{"), Just("}"), Just("inputs"), Just("outputs"), Just("="), Just(";"), Just("."), Just("\""),
        Just("''"), Just("${"), Just("a"), Just("x:"), Just("("), Just(")"), Just("["), Just("]"), Just("inherit"),
        Just("rec"), Just("let"), Just("in"), Just("@"), Just(","), Just("..."), Just("?"), Just("or"), Just("url"),
        Just("github:o/r"), Just("./x"), Just("<x>"), Just("~/x"), Just("1"), Just("1.5"), Just("\\"), Just("#\n"),
        Just("/*"), Just("*/"), Just("-"), Just("__curPos"), Just("é"), Just("with"), Just("assert"), Just("if"),
    ], 0..60), space in any::<bool>()) {
        let _ = read(tokens.join(if space { " " } else { "" }).as_bytes());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }
}
