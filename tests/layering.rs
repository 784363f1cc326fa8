//! The house's one-way dependencies, held by reading every source file's tokens.
//!
//! `cli, daemon → ops → {ports, domain}`, `adapters → {ports, domain}`, `domain → nothing`, and
//! the pure layers do not reach the machine. Paths are followed through `use` groups, `self`,
//! `super` and the arguments of macros; comments and strings are no tokens, and code under
//! `#[cfg(test)]` may do what tests do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What each layer may name of this crate. A layer that is not listed may name nothing.
const LAYERS: [(&str, &[&str]); 9] = [
    ("domain", &["domain"]),
    ("ports", &["ports", "domain"]),
    ("ops", &["ops", "ports", "domain"]),
    ("adapters", &["adapters", "ports", "domain"]),
    ("config", &["config", "ports", "domain"]),
    ("sample", &["sample", "adapters", "ports", "domain"]),
    ("daemon", &["daemon", "ops", "adapters", "config", "ports", "domain"]),
    ("cli", &["cli", "daemon", "sample", "config", "ops", "adapters", "ports", "domain"]),
    ("main", &["cli"]),
];

/// Paths outside this crate that a layer may not name.
const FORBIDDEN: [(&str, &[&str]); 4] = [
    (
        "domain",
        &[
            "std::fs",
            "std::env",
            "std::process",
            "std::net::TcpStream",
            "std::net::TcpListener",
            "std::net::UdpSocket",
            "std::net::ToSocketAddrs",
            "std::io::stdin",
            "std::io::stdout",
            "std::io::stderr",
            "std::os",
            "std::thread",
            "std::sync::mpsc",
            "std::time::SystemTime",
            "std::time::Instant",
            "std::collections::HashMap",
            "std::collections::HashSet",
            "git2",
            "rustix",
            "signal_hook",
            "tempfile",
            "tracing",
            "clap",
        ],
    ),
    (
        "ports",
        &[
            "std::fs",
            "std::env",
            "std::process",
            "std::net::TcpStream",
            "std::net::TcpListener",
            "std::net::UdpSocket",
            "std::net::ToSocketAddrs",
            "std::thread",
            "std::time::SystemTime",
            "std::time::Instant",
            "git2",
            "rustix",
            "tempfile",
            "clap",
        ],
    ),
    (
        "ops",
        &[
            "std::fs",
            "std::env",
            "std::process",
            "std::net::TcpStream",
            "std::net::TcpListener",
            "std::net::UdpSocket",
            "std::net::ToSocketAddrs",
            "std::time::SystemTime",
            "std::time::Instant",
            "std::collections::HashMap",
            "std::collections::HashSet",
            "git2",
            "rustix",
            "tempfile",
            "clap",
        ],
    ),
    ("cli", &["std::process::Command", "git2"]),
];

/// Only here may a program be started.
const STARTS_PROGRAMS: &str = "adapters::process";

/// Methods of paths that ask the file system.
const ASKING_METHODS: [&str; 12] = [
    "canonicalize",
    "exists",
    "try_exists",
    "is_dir",
    "is_file",
    "is_symlink",
    "metadata",
    "symlink_metadata",
    "read_dir",
    "read_link",
    "elapsed",
    "set_permissions",
];

/// One file's paths: absolute ones (`crate::…`, `std::…`, `git2::…`) and methods called.
#[derive(Default)]
struct Named {
    paths: BTreeSet<String>,
    methods: BTreeSet<String>,
    /// Modules declared under `#[cfg(test)]`, as paths within the crate.
    test_modules: BTreeSet<String>,
}

fn read(module: &[String], source: &str) -> Named {
    let tokens: TokenStream = source.parse().expect("a source file of this crate is Rust");
    let mut named = Named::default();
    walk(module, tokens, &mut named);
    named
}

fn walk(module: &[String], tokens: TokenStream, named: &mut Named) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    let mut for_tests = false;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if let Some(TokenTree::Group(attribute)) = tokens.get(at + 1) {
                    let shown = attribute.stream().to_string().replace(' ', "");
                    for_tests |= shown.starts_with("cfg(test)") || shown.starts_with("cfg(all(test");
                    walk(module, attribute.stream(), named);
                    at += 2;
                    continue;
                }
                at += 1;
            }
            TokenTree::Ident(word) if word == "mod" => {
                if let Some(TokenTree::Ident(name)) = tokens.get(at + 1) {
                    let inner: Vec<String> = module.iter().cloned().chain([name.to_string()]).collect();
                    if for_tests {
                        named.test_modules.insert(inner.join("::"));
                    } else if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                        walk(&inner, body.stream(), named);
                    }
                    at += 2;
                }
                at += 1;
                for_tests = false;
            }
            TokenTree::Ident(_) if !continues(&tokens, at) => {
                let end = path(module, &tokens, at, &[], &mut |path| {
                    named.paths.insert(path);
                });
                // Visibility stands between an attribute and its item.
                for_tests = for_tests && matches!(&tokens[at], TokenTree::Ident(word) if word == "pub");
                at = end;
            }
            TokenTree::Punct(punct) if punct.as_char() == '.' => {
                if let (Some(TokenTree::Ident(method)), Some(TokenTree::Group(_))) =
                    (tokens.get(at + 1), tokens.get(at + 2))
                {
                    named.methods.insert(method.to_string());
                }
                at += 1;
            }
            TokenTree::Group(group) => {
                if for_tests && group.delimiter() == Delimiter::Parenthesis {
                    // `pub(super)` between an attribute and its item.
                } else {
                    walk(module, group.stream(), named);
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// True for a name that belongs to a path or a call that began before it; a leading `::` begins one.
fn continues(tokens: &[TokenTree], at: usize) -> bool {
    let is = |back: usize, wanted: char| {
        at.checked_sub(back)
            .is_some_and(|at| matches!(&tokens[at], TokenTree::Punct(punct) if punct.as_char() == wanted))
    };
    if is(1, ':') && is(2, ':') {
        return is(3, '>') || at.checked_sub(3).is_some_and(|at| matches!(&tokens[at], TokenTree::Ident(_)));
    }
    // `..name` is a range, `.name` a field or a method.
    is(1, '.') && !is(2, '.')
}

fn is_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon(at) && colon(at + 1)
}

/// Follow a path from an identifier, through groups of a `use`, and give each in full; returns
/// the position after it.
fn path(
    module: &[String],
    tokens: &[TokenTree],
    mut at: usize,
    before: &[String],
    found: &mut dyn FnMut(String),
) -> usize {
    let mut segments = before.to_vec();
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(word)) => {
                segments.push(word.to_string().trim_start_matches("r#").to_owned());
                at += 1;
                if is_path_separator(tokens, at) {
                    at += 2;
                    continue;
                }
            }
            Some(TokenTree::Punct(punct)) if punct.as_char() == '*' && !segments.is_empty() => {
                segments.push("*".to_owned());
                at += 1;
            }
            Some(TokenTree::Group(group))
                if group.delimiter() == Delimiter::Brace && !segments.is_empty() =>
            {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut position = 0;
                while position < inner.len() {
                    position = match &inner[position] {
                        TokenTree::Ident(_) => path(module, &inner, position, &segments, found),
                        _ => position + 1,
                    };
                }
                return at + 1;
            }
            _ => {}
        }
        break;
    }
    if let Some(absolute) = absolute(module, &segments) {
        found(absolute);
    }
    at.max(1)
}

/// A path from the crate's root or from another crate; `None` for a plain name.
fn absolute(module: &[String], segments: &[String]) -> Option<String> {
    let mut here: Vec<String> = Vec::new();
    let mut rest = segments;
    match segments.first()?.as_str() {
        "crate" => rest = &segments[1..],
        "self" => {
            here = module.to_vec();
            rest = &segments[1..];
        }
        "super" => {
            here = module.to_vec();
            while let Some((first, after)) = rest.split_first() {
                if first != "super" {
                    break;
                }
                here.pop();
                rest = after;
            }
        }
        _ if segments.len() > 1 => return Some(segments.join("::")),
        _ => return None,
    }
    here.extend(rest.iter().cloned());
    // `crate` alone is a visibility.
    (!here.is_empty()).then(|| format!("crate::{}", here.join("::")))
}

/// What one file does that its layer may not.
fn violations(module: &[String], named: &Named) -> Vec<String> {
    let Some(layer) = module.first().map(String::as_str) else { return Vec::new() };
    let allowed = LAYERS.iter().find(|(name, _)| *name == layer).map_or(&[] as &[&str], |(_, may)| may);
    let forbidden = FORBIDDEN.iter().find(|(name, _)| *name == layer).map_or(&[] as &[&str], |(_, not)| not);
    let here = module.join("::");
    let mut wrong = Vec::new();
    let is_below = |path: &str, root: &str| path == root || path.starts_with(&format!("{root}::"));
    for path in &named.paths {
        if let Some(inside) = path.strip_prefix("crate::") {
            let target = inside.split("::").next().unwrap_or_default();
            // A macro or a re-export at the root would be named without a layer.
            if !allowed.contains(&target) {
                wrong.push(format!("{here} names {path}: {layer} may only name {}", allowed.join(", ")));
            }
        } else if path.starts_with("lambda_os::") && layer != "main" {
            wrong.push(format!("{here} names {path}: inside the crate it is called `crate`"));
        } else if forbidden.iter().any(|root| is_below(path, root)) {
            wrong.push(format!("{here} names {path}, which {layer} may not"));
        } else if is_below(path, "std::process::Command") && !is_below(&here, STARTS_PROGRAMS) {
            wrong.push(format!("{here} names {path}: programs are started by {STARTS_PROGRAMS} alone"));
        }
    }
    if matches!(layer, "domain" | "ops") {
        for method in named.methods.iter().filter(|method| ASKING_METHODS.contains(&method.as_str())) {
            wrong.push(format!("{here} calls .{method}(), which asks the machine"));
        }
    }
    wrong
}

/// Every file of `src` with its module path, sorted.
fn sources() -> BTreeMap<Vec<String>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    let mut waiting = vec![root.clone()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(&dir).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&root).expect("it is below src").with_extension("");
                let mut module: Vec<String> =
                    inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
                if module.last().is_some_and(|last| last == "mod" || last == "lib") {
                    module.pop();
                }
                files.insert(module, std::fs::read_to_string(&path).expect("a source file is readable"));
            }
        }
    }
    files
}

#[test]
fn dependencies_point_one_way() {
    let files = sources();
    assert!(files.len() > 40, "the sources were found: {}", files.len());
    let named: BTreeMap<&Vec<String>, Named> =
        files.iter().map(|(module, source)| (module, read(module, source))).collect();
    let test_modules: BTreeSet<String> =
        named.values().flat_map(|named| named.test_modules.iter().cloned()).collect();
    let is_test = |module: &[String]| {
        (1..=module.len()).any(|depth| test_modules.contains(&module[..depth].join("::")))
    };
    let wrong: Vec<String> = named
        .iter()
        .filter(|(module, _)| !is_test(module))
        .flat_map(|(module, named)| violations(module, named))
        .collect();
    assert!(wrong.is_empty(), "{} violations:\n{}", wrong.len(), wrong.join("\n"));
}

/// The checker on a snippet: how many violations a file with this module path and text has.
fn wrong_in(module: &str, source: &str) -> Vec<String> {
    let module: Vec<String> = module.split("::").map(str::to_owned).collect();
    violations(&module, &read(&module, source))
}

#[test]
fn planted_violations_are_found() {
    for (module, source) in [
        ("domain::x", "use crate::adapters::git::GitRepository;"),
        ("domain::x", "use crate::{domain::id, adapters::{clock, lock}};"),
        ("domain::x::y", "use super::super::super::ports::Clock;"),
        ("domain::x", "fn f() { let _ = crate::ops::run(); }"),
        ("domain::x", "fn f() { println!(\"{}\", crate::ops::run()); }"),
        ("domain::x", "use std::{collections::BTreeMap, fs};"),
        ("domain::x", "fn f() { std::fs::read(\"/etc/passwd\"); }"),
        ("domain::x", "use std::time::{Duration, Instant};"),
        ("domain::x", "use crate::*;"),
        ("domain::x", "use std::net::TcpStream;"),
        ("domain::x", "type X = std::collections::HashMap<u8, u8>;"),
        ("domain::x", "fn f(p: &Path) -> bool { p.exists() }"),
        ("domain::x", "mod inner { use super::super::super::cli::Exit; }"),
        ("domain::x", "fn f() { git2::Repository::open(p); }"),
        ("ports", "use crate::ops::plan;"),
        ("ops::plan", "use crate::adapters::mirrors::Mirrors;"),
        ("ops::plan", "use crate::config::Settings;"),
        ("ops::plan", "fn f() { ::std::env::var(\"X\"); }"),
        ("adapters::git", "use crate::ops::plan;"),
        ("adapters::git", "fn f() { std::process::Command::new(\"git\"); }"),
        ("adapters::git", "use std::process::{Command, Stdio};"),
        ("config", "use crate::adapters::clock::SystemClock;"),
        ("sample", "use crate::cli::Exit;"),
        ("web", "use crate::domain::id::Cid;"),
    ] {
        assert_eq!(wrong_in(module, source).len().min(1), 1, "not found in {module}: {source}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    for (module, source) in [
        ("domain::x", "//! std::fs crate::adapters\n/// [`crate::ports`]\nuse super::id::Cid;"),
        ("domain::x", "const S: &str = \"std::fs::read crate::adapters\";"),
        ("domain::x", "#[cfg(test)]\nmod tests { use super::*; fn f() { std::fs::read(\"x\"); } }"),
        ("domain::x", "#[cfg(test)] pub(crate) mod tests { use crate::adapters::git; }"),
        ("domain::x", "use std::time::Duration; use std::collections::{BTreeMap, BTreeSet};"),
        ("domain::x", "fn f(x: &X) -> bool { x.exists.is_empty() }"),
        ("ops::plan", "use crate::{domain::id, ports::{Clock, Journal}};"),
        ("adapters::process", "use std::process::Command;"),
        ("adapters::git", "use super::lock::CycleLock;"),
        ("cli::run", "use std::process::ExitCode; use crate::ops::cycle;"),
    ] {
        assert_eq!(wrong_in(module, source), [] as [String; 0], "in {module}: {source}");
    }
}
