//! Flake references and whole `flake.nix` files against real Nix: what it accepts, what it
//! refuses, and the attributes it makes of them. Hundreds of cases; `LAMBDA_OS_CASES` for more.
#![expect(clippy::disallowed_methods, reason = "the environment says how many cases to try")]
#![expect(clippy::format_push_string, reason = "a flake is put together piece by piece")]
#![expect(clippy::case_sensitive_file_extension_comparisons, reason = "these are attribute names")]

mod support;

use std::fs;

use lambda_os::domain::flake::nix_reader;
use lambda_os::domain::flake::reference::FlakeRef;
use serde_json::Value;
use support::nix::{self, Nix};
use support::{lambda_os, temp_dir};

const REV: &str = "0123456789abcdef0123456789abcdef01234567";

/// Choices that a seed decides.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("it is below")
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

fn cases(usual: usize) -> usize {
    std::env::var("LAMBDA_OS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

fn nix_string(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${");
    format!("\"{escaped}\"")
}

/// A string as `nix repl` shows it.
fn unescaped(shown: &str) -> String {
    let mut text = String::new();
    let mut chars = shown.trim_matches('"').chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { chars.next().expect("an escaped character") } else { c });
    }
    text
}

const SCHEMES: [&str; 46] = [
    "github:",
    "gitlab:",
    "sourcehut:",
    "git+https://",
    "git+http://",
    "git+ssh://",
    "git+file:",
    "git+file://",
    "git+file:///",
    "git:",
    "git://",
    "path:",
    "path:/",
    "path:./",
    "path:../",
    "path://",
    "path:///",
    "flake:",
    "https://",
    "http://",
    "file://",
    "file:///",
    "file:",
    "tarball+https://",
    "tarball+file://",
    "file+https://",
    "file+file:///",
    "hg+https://",
    "hg+file://",
    "hg:",
    "",
    "/",
    "nixpkgs",
    "nixpkgs/",
    "GITHUB:",
    "Git+https://",
    "foo:",
    "git+foo://",
    "git+",
    "ssh://",
    "file+git://",
    "git+ssh:",
    "tarball+git://",
    "1a:",
    "a_b:",
    "./",
];
const HOSTS: [&str; 21] = [
    "x.org",
    "x.org",
    "x.org",
    "x.org:80",
    "u@x.org",
    "u:p@x.org",
    "git@github.com",
    "[::1]",
    "[::1]:8080",
    "127.0.0.1",
    "",
    "x.org:0",
    "x.org:99999",
    "x.org:",
    "x.org:ab",
    "u@",
    "X.ORG",
    "a_b",
    "x%41",
    "[v1.a]",
    "a+b.org",
];
const PARTS: [&str; 44] = [
    "o",
    "r",
    "NixOS",
    "a-b",
    "a_b",
    "a.b",
    "x+y",
    "~u",
    "a%2Fb",
    "a%20b",
    "%41",
    "a b",
    "1",
    "@",
    "a@b",
    "a:b",
    "v1.0",
    "a..b",
    ".x",
    "x.lock",
    "x.",
    "-x",
    "main",
    "",
    REV,
    "0123456789ABCDEF0123456789ABCDEF01234567",
    "0123456789abcdef0123456789abcdef0123456",
    "é",
    "a,b",
    "a'b",
    "a\"b",
    "a(b)",
    "a[b]",
    "a|b",
    "a^b",
    "a*b",
    "%zz",
    "%ff",
    "..",
    ".",
    "$x",
    "a;b",
    "a.tar.gz",
    "x.zip",
];
const KEYS: [&str; 23] = [
    "ref",
    "rev",
    "dir",
    "narHash",
    "submodules",
    "shallow",
    "host",
    "allRefs",
    "lfs",
    "exportIgnore",
    "lastModified",
    "revCount",
    "x",
    "name",
    "unpack",
    "url",
    "verifyCommit",
    "keytype",
    "publicKey",
    "",
    "a b",
    "type",
    "a%20b",
];
const VALUES: [&str; 27] = [
    "1",
    "0",
    "true",
    "main",
    "a/b",
    REV,
    "abc",
    "",
    "x y",
    "a%2Fb",
    "a+b",
    "git.x.org",
    "sub",
    "../x",
    "-1",
    "12",
    "99999999999999999999",
    "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "a=b",
    "é",
    "a..b",
    "x%",
    "\"q\"",
    "a[0]",
    "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
    "a:b",
    "0001",
];

fn random_reference(pick: &mut Choices) -> String {
    let mut text = pick.of(&SCHEMES).to_owned();
    if text.ends_with("://") {
        text.push_str(pick.of(&HOSTS));
        text.push_str(pick.of(&["/", "/", ""]));
    }
    let parts: Vec<&str> = (0..pick.below(5)).map(|_| pick.of(&PARTS)).collect();
    text.push_str(&parts.join("/"));
    if pick.below(2) == 0 {
        let pairs: Vec<String> = (0..pick.below(4))
            .map(|_| match pick.below(7) {
                0 => pick.of(&KEYS).to_owned(),
                _ => format!("{}={}", pick.of(&KEYS), pick.of(&VALUES)),
            })
            .collect();
        text.push('?');
        text.push_str(&pairs.join("&"));
    }
    if pick.below(12) == 0 {
        text.push('#');
        text.push_str(pick.of(&["", "x", "a b", "%20", "^x", "[", "a#b"]));
    }
    text
}

/// `builtins.parseFlakeRef` takes no relative path, which `flake.nix` may have.
fn is_relative(reference: &FlakeRef) -> bool {
    reference.relative_path().is_some()
}

#[test]
fn references_are_those_of_nix() {
    let Some(current) = nix::current("that flake references are those of Nix") else { return };
    let temp = temp_dir();
    let nix = Nix::at(&current, temp.path());
    let mut pick = Choices(0x5eed_0001);
    let references: Vec<String> = (0..cases(800)).map(|_| random_reference(&mut pick)).collect();
    let lines: Vec<String> = references
        .iter()
        .map(|text| format!("builtins.toJSON (builtins.parseFlakeRef {})", nix_string(text)))
        .collect();
    let mut accepted = 0;
    for (text, answer) in references.iter().zip(nix.repl(&lines)) {
        let theirs = answer.lines().find(|line| line.starts_with("\"{"));
        let theirs = theirs.map(|shown| serde_json::from_str::<Value>(&unescaped(shown)).expect("JSON"));
        let ours = FlakeRef::parse(text);
        match (ours, theirs) {
            (Ok(ours), Some(theirs)) => {
                accepted += 1;
                assert_eq!(serde_json::to_value(&ours).expect("JSON"), theirs, "{text}");
            }
            (Err(_), None) => {}
            (Ok(ours), None) if is_relative(&ours) && answer.contains("is not an absolute path") => {}
            // Nix reads an empty path as `/` in a flake.nix, and not at all in this builtin.
            (Ok(ours), None) if ours.text("path") == Some("/") && !text.contains('/') => {}
            (ours, theirs) => panic!("{text}\nours {ours:?}\nnix  {theirs:?}\n{answer}"),
        }
    }
    assert!(accepted * 8 > references.len(), "only {accepted} cases were accepted");
}

/// Values that may stand for a URL, a path of inputs, a Boolean.
const ANY: [&str; 26] = [
    "\"path:./sub\"",
    "./sub",
    "(\"path:./sub\")",
    "''path:./sub''",
    "path:./sub",
    "\"x\" + \"y\"",
    "\"${\"a\"}\"",
    "let a = 1; in \"x\"",
    "import ./x.nix",
    "null",
    "1",
    "1.5",
    "-1",
    "[ ]",
    "{ }",
    "true",
    "false",
    "\"\"",
    "\"b\"",
    "\"a/b\"",
    "\"a b\"",
    "x",
    "/abs",
    "<nixpkgs>",
    "(true)",
    "rec { }",
];

fn random_input(pick: &mut Choices, depth: usize) -> String {
    let names = [
        "url",
        "url",
        "url",
        "url",
        "flake",
        "flake",
        "follows",
        "inputs",
        "inputs",
        "url",
        "\"url\"",
        "${\"flake\"}",
        "type",
        "path",
        "rev",
        "dir",
        "foo",
    ];
    let mut fields = String::new();
    for _ in 0..=pick.below(2) {
        let name = pick.of(&names);
        let value = match name {
            "url" | "\"url\"" if pick.below(14) > 0 => {
                pick.of(&["\"path:./sub\"", "./sub", "\"b\"", "''path:./sub''"]).to_owned()
            }
            "flake" | "${\"flake\"}" if pick.below(14) > 0 => {
                pick.of(&["true", "false", "(false)"]).to_owned()
            }
            "follows" if pick.below(14) > 0 => {
                pick.of(&["\"\"", "\"b\"", "\"b/c\"", "\"/b\"", "''b''"]).to_owned()
            }
            "inputs" if depth < 3 && pick.below(14) > 0 => random_inputs(pick, depth + 1),
            "type" if pick.below(14) > 0 => {
                pick.of(&["\"path\"", "\"git\"", "\"indirect\"", "\"github\"", "\"tarball\""]).to_owned()
            }
            "path" if pick.below(14) > 0 => "\"./sub\"".to_owned(),
            _ => pick.of(&ANY).to_owned(),
        };
        fields.push_str(&format!("{name} = {value}; "));
    }
    match pick.below(40) {
        0 => pick.of(&ANY).to_owned(),
        1 => format!("rec {{ {fields}}}"),
        _ => format!("{{ {fields}}}"),
    }
}

fn random_inputs(pick: &mut Choices, depth: usize) -> String {
    let names = [
        "a",
        "b",
        "c",
        "a",
        "\"b\"",
        "${\"c\"}",
        "self",
        "a.inputs.b",
        "b.url",
        "c.follows",
        "a.flake",
        "\"d e\"",
        "${x}",
    ];
    let mut fields = String::new();
    for _ in 0..pick.below(4) {
        let name = pick.of(&names);
        let value = if name.ends_with(".url") && pick.below(6) > 0 {
            pick.of(&["./sub", "\"path:./sub\"", "\"b\"", "\"github:o/r\""]).to_owned()
        } else if name.ends_with(".follows") && pick.below(6) > 0 {
            pick.of(&["\"b\"", "\"a/b\"", "\"\""]).to_owned()
        } else if name.ends_with(".url") || name.ends_with(".follows") || name.ends_with(".flake") {
            pick.of(&ANY).to_owned()
        } else if name == "self" {
            pick.of(&["{ submodules = true; }", "{ lfs = false; }", "{ x = 1; }", "1", "{ submodules = x; }"])
                .to_owned()
        } else {
            random_input(pick, depth)
        };
        fields.push_str(&format!("{name} = {value}; "));
    }
    match pick.below(40) {
        0 => pick.of(&ANY).to_owned(),
        1 => format!("rec {{ {fields}}}"),
        2 => format!("({{ {fields}}})"),
        3 => format!("let in {{ {fields}}}"),
        4 => format!("{{ {fields}}} // {{ }}"),
        _ => format!("{{ {fields}}}"),
    }
}

fn random_flake(pick: &mut Choices) -> String {
    let mut fields = Vec::new();
    for _ in 0..=pick.below(2) {
        fields.push(match pick.below(6) {
            0 => format!("inputs.a = {};", random_input(pick, 0)),
            1 if pick.below(5) == 0 => format!("inputs.b.url = {};", pick.of(&ANY)),
            2 if pick.below(5) == 0 => format!(
                "inputs.\"a\".{} = {};",
                pick.of(&["flake", "follows", "url", "inputs"]),
                pick.of(&ANY)
            ),
            _ => format!("inputs = {};", random_inputs(pick, 0)),
        });
    }
    if pick.below(6) == 0 {
        fields.push(format!("description = {};", pick.of(&["\"d\"", "1", "\"a\" + \"b\"", "(''d'')", "x"])));
    }
    if pick.below(8) == 0 {
        let value = pick.of(&[
            "{ }",
            "{ a = \"x\"; }",
            "{ a = 1; b = true; c = [ \"x\" ]; }",
            "1",
            "{ a = [ 1 ]; }",
            "{ a = null; }",
            "{ a = { }; }",
            "{ a = x; }",
            "{ a.b = 1; }",
            "{ a = [ x ]; }",
            "{ a = [ (\"x\") ]; }",
        ]);
        fields.push(format!("nixConfig = {value};"));
    }
    if pick.below(30) == 0 {
        fields.push(pick.of(&["foo = 1;", "\"${\"x\"}\" = 1;", "inherit (x) y;", "edition = 1;"]).to_owned());
    }
    let outputs = pick.of(&[
        "_: { }",
        "_: { }",
        "_: { }",
        "{ self, ... }: { }",
        "{ self, a, ... }@i: { }",
        "(_: { })",
        "i@{ self, z, ... }: { }",
        "{ }",
        "let in _: { }",
        "{ a, a }: { }",
        "import ./o.nix",
        "{ self, z ? 1, ... }: { }",
    ]);
    let at = pick.below(fields.len() + 1);
    if pick.below(30) > 0 {
        fields.insert(at, format!("outputs = {outputs};"));
    }
    let body = fields.join(" ");
    match pick.below(25) {
        0 => format!("rec {{ {body} }}"),
        1 => format!("({{ {body} }})"),
        2 => format!("let in {{ {body} }}"),
        3 => format!("_: {{ {body} }}"),
        _ => format!("{{ {body} }}"),
    }
}

/// An input that Nix reads, in one of many spellings; as the inside of a set.
fn good_input(pick: &mut Choices, depth: usize) -> String {
    let mut fields: Vec<String> = Vec::new();
    let value = |pick: &mut Choices, text: &str| match pick.below(5) {
        0 => format!("''{text}''"),
        1 => format!("(\"{text}\")"),
        _ => format!("\"{text}\""),
    };
    match pick.below(12) {
        0..6 => {
            let shown = match pick.below(9) {
                0 => "./sub".to_owned(),
                1 => "path:./sub".to_owned(),
                2 => "( ./sub )".to_owned(),
                3 => value(pick, "github:o/r"),
                4 => value(pick, &format!("git+https://x.org/r?rev={REV}")),
                5 => "b:c".to_owned(),
                6 => value(pick, "./sub"),
                _ => value(pick, "path:./sub"),
            };
            // An address without a scheme that Nix knows is refused where it is a URL only.
            let shown = if shown == "b:c" { "\"nixpkgs/main\"".to_owned() } else { shown };
            fields.push(format!("{} = {shown};", pick.of(&["url", "url", "\"url\"", "${\"url\"}", " url "])));
        }
        6 => fields.push("type = \"path\"; path = \"./sub\";".to_owned()),
        7 => fields.push(format!("type = \"github\"; owner = \"o\"; repo = (\"r\"); rev = \"{REV}\";")),
        8 => fields.push(
            "type = \"git\"; url = \"https://x.org/r\"; submodules = true; shallow = false;".to_owned(),
        ),
        9 => fields.push("type = \"indirect\"; id = \"nixpkgs\"; ref = ''main'';".to_owned()),
        10 => fields.push("type = \"tarball\"; url = \"https://x.org/a.zip\"; lastModified = 12;".to_owned()),
        _ => fields
            .push(format!("follows = {};", pick.of(&["\"b\"", "\"\"", "''b/c''", "(\"/b\")", "\"b//c/\""]))),
    }
    if pick.below(4) == 0 {
        fields.push(format!("flake = {};", pick.of(&["true", "false", "(false)"])));
    }
    if depth < 3 && pick.below(3) == 0 {
        fields.push(match pick.below(4) {
            0 => format!("inputs.a.follows = {};", pick.of(&["\"b\"", "\"\"", "\"a/b\""])),
            1 => format!("inputs.\"b\".inputs = {{ {} }};", good_inputs(pick, depth + 1)),
            _ => format!("inputs = {{ {} }};", good_inputs(pick, depth + 1)),
        });
    }
    if pick.below(2) == 0 {
        fields.reverse();
    }
    fields.join(pick.of(&[" ", "\n", " /* x */ ", " # x\n"]))
}

/// Inputs that Nix reads, each once; as the inside of a set.
fn good_inputs(pick: &mut Choices, depth: usize) -> String {
    let mut fields: Vec<String> = Vec::new();
    for name in ["a", "b", "c", "d e", "logos-x"] {
        if pick.below(3) > 0 {
            continue;
        }
        let shown = match pick.below(6) {
            0 => format!("\"{name}\""),
            1 => format!("${{\"{name}\"}}"),
            _ if name.contains(' ') => format!("\"{name}\""),
            _ => name.to_owned(),
        };
        let inside = good_input(pick, depth);
        fields.push(match pick.below(8) {
            0 => format!("{shown}.url = ./sub; {shown}.flake = true;"),
            1 => format!("{shown}.follows = \"b\";"),
            2 => format!("{shown} = {{ {inside} }}; {shown}.inputs.z.follows = \"a\";").replace(
                "inputs.z",
                if inside.contains("inputs =") || inside.contains("inputs.") {
                    "inputs.\"z\""
                } else {
                    "inputs.z"
                },
            ),
            3 => format!("{shown} = rec {{ {inside} }};"),
            4 => format!("{shown} = ({{ {inside} }});"),
            _ => format!("{shown} = {{ {inside} }};"),
        });
    }
    if depth == 0 && pick.below(10) == 0 {
        fields.push("self.submodules = true;".to_owned());
    }
    fields.join(" ")
}

/// A flake that Nix reads, mostly; now and then with one word too many, too few or out of place.
fn good_flake(pick: &mut Choices) -> String {
    let inside = good_inputs(pick, 0);
    let mut fields = vec![match pick.below(6) {
        0 => format!("inputs = rec {{ {inside} }};"),
        1 => format!("inputs = ({{ {inside} }});"),
        2 => format!("\"inputs\" = {{ {inside} }};"),
        3 => format!("inputs = {{ {inside} }}; inputs.e.url = ./sub;"),
        4 => format!("inputs.g = {{ {} }}; inputs.h.inputs.a.follows = \"\";", good_input(pick, 0)),
        _ => format!("inputs = {{ {inside} }};"),
    }];
    fields.push(format!(
        "outputs = {};",
        pick.of(&[
            "_: { }",
            "{ self, ... }: { }",
            "{ self, z, ... }@i: { }",
            "i: { }",
            "{ self, a ? 1, ... }: { }",
            "(_: { })",
            "a: b"
        ])
    ));
    if pick.below(3) == 0 {
        fields.push(format!("description = {};", pick.of(&["\"d\"", "''d''", "\"a \\${x}\"", "(\"d\")"])));
    }
    if pick.below(4) == 0 {
        fields.push(format!(
            "nixConfig = {};",
            pick.of(&[
                "{ }",
                "{ a = \"x\"; }",
                "{ a = 1; b = true; c = [ \"x\" ]; }",
                "{ a = [ (\"x\") ]; }"
            ])
        ));
    }
    if pick.below(2) == 0 {
        fields.reverse();
    }
    let text = format!("{{ {} }}", fields.join("\n"));
    if pick.below(10) < 6 {
        return text;
    }
    let mut words: Vec<&str> = text.split_inclusive(' ').collect();
    let at = pick.below(words.len());
    match pick.below(4) {
        0 => drop(words.remove(at)),
        1 => words.insert(at, words[at]),
        2 => words.insert(
            at,
            pick.of(&["x ", "rec ", "; ", "inherit ", "1 ", "\"a\" ", "with { }; ", "${x} ", "or ", "... "]),
        ),
        _ => words[at] = pick.of(&ANY),
    }
    words.concat()
}

#[test]
fn flakes_are_read_where_nix_reads_them_and_refused_where_it_refuses() {
    let Some(current) = nix::current("that flake.nix is read as Nix reads it") else { return };
    let temp = temp_dir();
    let nix = Nix::at(&current, temp.path());
    let mut pick = Choices(0x5eed_0002);
    let flakes: Vec<String> = (0..cases(400))
        .map(|_| if pick.below(4) == 0 { random_flake(&mut pick) } else { good_flake(&mut pick) })
        .collect();
    let mut lines = Vec::new();
    for (at, flake) in flakes.iter().enumerate() {
        let dir = temp.path().join(format!("flakes/{at}"));
        fs::create_dir_all(dir.join("sub")).expect("made");
        fs::write(dir.join("sub/flake.nix"), "{ outputs = _: { }; }").expect("written");
        fs::write(dir.join("flake.nix"), flake).expect("written");
        lines.push(format!("builtins.attrNames (builtins.getFlake \"path:{}\")", dir.display()));
    }
    let mut accepted = 0;
    let mut differences = Vec::new();
    for (flake, answer) in flakes.iter().zip(nix.repl(&lines)) {
        // Whatever fails once locking has begun, or in the outputs, was read.
        let after = [
            "while updating the lock file",
            "not writing modified lock file",
            "attempt to call something which is not a function",
            "while calling the 'outputs'",
            "called without required argument",
            "unexpected argument",
        ];
        let read = !answer.contains("error:") || after.iter().any(|later| answer.contains(later));
        let ours = nix_reader::read(flake.as_bytes());
        accepted += usize::from(read);
        if ours.is_ok() != read {
            differences.push(format!("{flake}\nours {ours:?}\nnix  {answer}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences[..differences.len().min(12)].join("\n\n")
    );
    eprintln!("{} flakes, {accepted} of them accepted by both", flakes.len());
    assert!(accepted * 5 > flakes.len() * 2, "only {accepted} were accepted");
}

#[test]
fn the_verb_shows_attributes_and_the_place_of_a_fault() {
    let temp = temp_dir();
    let flake = temp.path().join("flake.nix");
    let text = format!(
        "{{\n  inputs.a.url = \"github:o/a/{REV}?dir=sub\";\n  inputs.b = {{ url = \"https://x.org/b\"; flake = false; }};\n  \
         inputs.a.inputs.c.follows = \"b\";\n  inputs.self.submodules = true;\n  outputs = {{ self, a, b, nixpkgs }}: {{ }};\n}}\n"
    );
    fs::write(&flake, &text).expect("written");
    let mut verb = lambda_os(temp.path());
    let output = verb.args(["--json", "lock", "inputs", "."]).output().expect("it starts");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let expected = serde_json::json!({
        "schema": "lambda-os/lock-inputs/v1",
        "inputs": {
            "a": {
                "reference": { "type": "github", "owner": "o", "repo": "a", "rev": REV, "dir": "sub" },
                "flake": true, "implied": false, "line": 2,
                "inputs": { "c": { "follows": ["b"], "flake": true, "implied": false, "line": 4 } }
            },
            "b": { "reference": { "type": "file", "url": "https://x.org/b" }, "flake": false, "implied": false, "line": 3 },
            "nixpkgs": { "reference": { "type": "indirect", "id": "nixpkgs" }, "flake": true, "implied": true, "line": 6 }
        },
        "self": { "submodules": true }
    });
    assert_eq!(report, expected);
    let output = lambda_os(temp.path()).args(["lock", "inputs", "flake.nix"]).output().expect("it starts");
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        shown.contains(&format!("a        github dir=sub owner=o repo=a rev={REV}\na/c      follows b\n")),
        "{shown}"
    );
    assert!(shown.contains("nixpkgs  indirect id=nixpkgs (named by outputs alone)\n"), "{shown}");

    fs::write(&flake, "{\n  inputs.a.url = \"a\" + \"b\";\n  outputs = _: { };\n}\n").expect("written");
    let output = lambda_os(temp.path()).args(["lock", "inputs", "flake.nix"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains("flake.nix:2:12: expected a string or a path but got an operation"), "{said}");
}
