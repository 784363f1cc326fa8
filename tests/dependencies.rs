//! `deny.toml` held with cargo alone: licences, banned crates, sources, and the crates that
//! would bring a network stack. Advisories need the network: `cargo deny check advisories`.
#![expect(clippy::disallowed_methods, reason = "asks cargo for the dependency tree")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn list<'a>(table: &'a toml::Table, section: &str, key: &str) -> Vec<&'a str> {
    let values = table[section][key].as_array().expect("a list");
    values.iter().filter_map(|value| value.as_str().or_else(|| value.get("crate")?.as_str())).collect()
}

/// True when a licence expression can be satisfied with these licences (SPDX; `/` as crates once wrote it).
fn satisfied(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    any(&mut words.into_iter().peekable(), allowed)
}

type Words<'a> = std::iter::Peekable<std::vec::IntoIter<&'a str>>;

fn any(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut fine = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        fine |= all(words, allowed);
    }
    fine
}

fn all(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut fine = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        fine &= one(words, allowed);
    }
    fine
}

fn one(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let fine = any(words, allowed);
        assert_eq!(words.next(), Some(")"));
        return fine;
    }
    let mut licence = words.next().expect("a licence").to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        let _ = write!(licence, " WITH {}", words.next().expect("an exception"));
    }
    allowed.contains(&licence.as_str())
}

#[test]
fn licence_expressions_are_read() {
    for (expression, fine) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND Zlib", true),
        ("(MIT OR Zlib) AND GPL-3.0", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("Apache-2.0 WITH X", false),
    ] {
        assert_eq!(
            satisfied(expression, &["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"]),
            fine,
            "{expression}"
        );
    }
}

#[test]
fn every_dependency_is_allowed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let deny: toml::Table = std::fs::read_to_string(root.join("deny.toml"))
        .expect("deny.toml is there")
        .parse()
        .expect("deny.toml is TOML");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let allowed = list(&deny, "licenses", "allow");
    let banned = list(&deny, "bans", "deny");
    let registries = list(&deny, "sources", "allow-registry");
    let packages = metadata["packages"].as_array().expect("a list");
    assert!(packages.len() > 50, "the tree was read");
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        match package["license"].as_str() {
            Some(licence) if satisfied(licence, &allowed) => {}
            licence => wrong.push(format!("{name}: licence {licence:?}")),
        }
        if banned.contains(&name) {
            wrong.push(format!("{name} is banned"));
        }
        // Our own package has no source.
        if let Some(source) = package["source"].as_str()
            && !source.strip_prefix("registry+").is_some_and(|registry| registries.contains(&registry))
        {
            wrong.push(format!("{name}: source {source}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
