//! Edits of `flake.nix` and of the generated dependency map that touch nothing else.
//!
//! In: a file's bytes and what shall change. Out: the new bytes. What is replaced is found
//! through the syntax tree, whatever block or style it stands in; comments, order and formatting
//! are the same bytes afterwards, and the result is read again before it is given back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use rnix::ast::{self, HasEntry as _};
use rowan::ast::AstNode as _;

use super::dep_graph::{DepEntry, DepGraph};
use super::nix_reader;
use super::syntax::{ReadError, attr_name, peel};
use crate::domain::text;

/// Why an edit was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no such input.
    #[error("the flake has no input {}", text::quoted(.0))]
    NoInput(String),
    /// Its reference names no revision, so there is none to change.
    #[error("the input {} names no revision", text::quoted(.0))]
    NoRevision(String),
    /// The revision is not written out where the input is defined.
    #[error("the revision of the input {} is not written in its own url or rev", text::quoted(.0))]
    Elsewhere(String),
    /// Not 40 hexadecimal digits in lower case.
    #[error("{} is not a full commit hash", text::quoted(.0))]
    BadRevision(String),
    /// The map's entry is not written as the generator writes it.
    #[error("the entry {} is not written as name = value", text::quoted(.0))]
    OddEntry(String),
}

/// The `flake.nix` with another revision in the reference of a root input.
///
/// # Errors
/// When the file cannot be read or the input's reference holds no revision.
pub fn set_revision(flake: &[u8], input: &str, rev: &str) -> Result<Vec<u8>, EditError> {
    if !is_commit(rev) {
        return Err(EditError::BadRevision(rev.to_owned()));
    }
    let before = nix_reader::read(flake)?;
    let spec = before.inputs.get(input).ok_or_else(|| EditError::NoInput(input.to_owned()))?;
    let old = spec.reference.as_ref().and_then(|reference| reference.rev());
    let old = old
        .filter(|old| is_commit(&old.to_ascii_lowercase()))
        .ok_or_else(|| EditError::NoRevision(input.to_owned()))?;
    let elsewhere = || EditError::Elsewhere(input.to_owned());
    let root = root(flake).ok_or_else(elsewhere)?;
    let mut places = Vec::new();
    for field in ["url", "rev"] {
        for value in find(&root, &["inputs", input, field]) {
            if matches!(value, ast::Expr::Str(_) | ast::Expr::Literal(_)) {
                let range = range(&value);
                let written = flake.get(range.clone()).unwrap_or_default();
                let hits = (0..written.len()).filter(|at| written[*at..].starts_with(old.as_bytes()));
                places.extend(hits.map(|at| range.start + at));
            }
        }
    }
    let [at] = places[..] else { return Err(elsewhere()) };
    let edited = spliced(flake, &[(at..at + old.len(), rev.to_owned())]);
    // The whole change is that one reference's revision, or it is not made.
    let mut expected = before.clone();
    if let Some(reference) = expected.inputs.get_mut(input).and_then(|spec| spec.reference.as_mut()) {
        *reference = reference.with("rev", Some(super::reference::Attr::Str(rev.into())));
    }
    if nix_reader::read(&edited)? == expected { Ok(edited) } else { Err(elsewhere()) }
}

fn is_commit(rev: &str) -> bool {
    rev.len() == 40 && rev.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A whole dependency map, in the schema of its entries: with `follows` where an entry has it.
#[must_use]
pub fn print_dep_graph(map: &DepGraph) -> String {
    let mut shown = "{\n".to_owned();
    for (name, entry) in &map.entries {
        let _ = writeln!(shown, "  {} = {};", attribute(name), value(entry));
    }
    shown.push_str("}\n");
    shown
}

/// The map's file with other entries: those that stay are the same bytes, those that changed
/// stay where they are, new ones stand at the end, in order.
///
/// # Errors
/// When the file cannot be read, or an entry that must change is not written as `name = value`.
pub fn update_dep_graph(file: &[u8], wanted: &DepGraph) -> Result<Vec<u8>, EditError> {
    let before = DepGraph::parse(file)?;
    let odd = |name: &str| EditError::OddEntry(name.to_owned());
    let root = root(file).ok_or_else(|| odd(""))?;
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut written: BTreeMap<String, (Range<usize>, Range<usize>)> = BTreeMap::new();
    for entry in root.entries() {
        let ast::Entry::AttrpathValue(binding) = entry else { continue };
        let (Some(path), Some(bound)) = (binding.attrpath(), binding.value()) else { continue };
        let mut names = path.attrs().map(|attr| attr_name(&attr));
        if let (Some(Some(name)), None) = (names.next(), names.next()) {
            written.insert(name, (range_of(binding.syntax()), range(&bound)));
        }
    }
    for (name, entry) in &before.entries {
        let place = written.get(name).ok_or_else(|| odd(name));
        match wanted.entries.get(name) {
            Some(same) if same == entry => {}
            Some(other) => edits.push((place?.1.clone(), value(other))),
            None => {
                let whole = place?.0.clone();
                // With the white space before it, up to and with its line's break.
                let start = file[..whole.start].iter().rposition(|byte| !b" \t".contains(byte));
                let start = start.map_or(0, |at| if file[at] == b'\n' { at } else { at + 1 });
                edits.push((start..whole.end, String::new()));
            }
        }
    }
    let new: Vec<_> = wanted.entries.iter().filter(|(name, _)| !before.entries.contains_key(*name)).collect();
    if !new.is_empty() {
        let close = range_of(root.syntax()).end - 1;
        // On a line of its own the brace stays there.
        let line = file[..close].iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        let line = line.filter(|line| file[*line..close].iter().all(|byte| b" \t".contains(byte)));
        let (at, own) = (line.unwrap_or(close), line.is_some());
        let mut text = if own { String::new() } else { "\n".to_owned() };
        for (name, entry) in new {
            let _ = writeln!(text, "  {} = {};", attribute(name), value(entry));
        }
        edits.push((at..at, text));
    }
    let edited = spliced(file, &edits);
    if DepGraph::parse(&edited)? == *wanted { Ok(edited) } else { Err(odd("")) }
}

/// A name where an attribute stands.
fn attribute(name: &str) -> String {
    const KEYWORDS: [&str; 10] =
        ["if", "then", "else", "assert", "with", "let", "in", "rec", "inherit", "or"];
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-'".contains(c))
        && !KEYWORDS.contains(&name);
    if plain { name.to_owned() } else { string(name) }
}

fn string(content: &str) -> String {
    format!("\"{}\"", content.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${"))
}

fn value(entry: &DepEntry) -> String {
    let mut list = "[ ".to_owned();
    for dep in &entry.deps {
        let _ = write!(list, "{} ", string(dep));
    }
    list.push(']');
    if entry.has_tests.is_none() && entry.follows.is_none() {
        return list;
    }
    let mut shown = format!("{{ deps = {list}; ");
    if let Some(has_tests) = entry.has_tests {
        let _ = write!(shown, "hasTests = {has_tests}; ");
    }
    if let Some(follows) = &entry.follows {
        shown.push_str("follows = { ");
        for (input, target) in follows {
            let _ = write!(shown, "{} = {}; ", string(input), string(target));
        }
        shown.push_str("}; ");
    }
    shown.push('}');
    shown
}

/// The set that the file is; its syntax was checked by a reader before.
fn root(file: &[u8]) -> Option<ast::AttrSet> {
    match peel(rnix::Root::parse(std::str::from_utf8(file).ok()?).tree().expr()?) {
        ast::Expr::AttrSet(set) => Some(set),
        _ => None,
    }
}

/// Every value that is defined for a path of names, in whichever mixture of dots and braces.
fn find(set: &ast::AttrSet, path: &[&str]) -> Vec<ast::Expr> {
    let mut found = Vec::new();
    for entry in set.entries() {
        let ast::Entry::AttrpathValue(binding) = entry else { continue };
        let (Some(attrs), Some(value)) = (binding.attrpath(), binding.value()) else { continue };
        let names: Option<Vec<String>> = attrs.attrs().map(|attr| attr_name(&attr)).collect();
        let Some(names) = names.filter(|names| names.len() <= path.len()) else { continue };
        if !names.iter().zip(path).all(|(name, wanted)| name == wanted) {
            continue;
        }
        match (peel(value), &path[names.len()..]) {
            (value, []) => found.push(value),
            (ast::Expr::AttrSet(inner), rest) => found.extend(find(&inner, rest)),
            _ => {}
        }
    }
    found
}

fn range(expression: &ast::Expr) -> Range<usize> {
    range_of(expression.syntax())
}

fn range_of(node: &rnix::SyntaxNode) -> Range<usize> {
    usize::from(node.text_range().start())..usize::from(node.text_range().end())
}

/// The file with parts replaced; they do not overlap.
fn spliced(file: &[u8], edits: &[(Range<usize>, String)]) -> Vec<u8> {
    let mut edits: Vec<_> = edits.iter().collect();
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = Vec::with_capacity(file.len());
    let mut from = 0;
    for (range, text) in edits {
        out.extend_from_slice(&file[from..range.start]);
        out.extend_from_slice(text.as_bytes());
        from = range.end;
    }
    out.extend_from_slice(&file[from..]);
    out
}

#[cfg(test)]
mod tests;
