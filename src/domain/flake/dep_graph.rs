//! The generated dependency map of a workspace (`nix/dep-graph.nix`), read statically.
//!
//! Two schemas, `name = { deps = [ "a" ]; hasTests = true; }` and the newer one that adds
//! `follows = { "<input of name>" = "<workspace input>"; }`; and an
//! older list, `name = [ "a" ]`. Names are those of workspace inputs.
//! Attributes that are not known here are ignored: the file belongs to another generator.

use std::collections::BTreeMap;

use super::syntax::{Lines, ReadError, Source, Value, parse_set};
use crate::domain::text;

/// A parsed map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DepGraph {
    /// Entries by workspace input.
    pub entries: BTreeMap<String, DepEntry>,
}

/// What the map says about one workspace input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DepEntry {
    /// The workspace inputs that it needs, as listed.
    pub deps: Vec<String>,
    /// Whether its flake has checks; `None` when the map does not say.
    pub has_tests: Option<bool>,
    /// Its own input names to workspace inputs; `None` in the older schema.
    pub follows: Option<BTreeMap<String, String>>,
}

impl DepGraph {
    /// Parse the file.
    ///
    /// # Errors
    /// With what is not of either schema, and where.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReadError> {
        let lines = Lines::of(bytes);
        let (source, map) = parse_set(&lines)?;
        if let Some(at) = map.dynamic() {
            return Err(source.error(at, "an entry with a computed name is not read"));
        }
        let mut entries = BTreeMap::new();
        for (name, at) in map.names() {
            let entry = match map.get(source, name)? {
                Some((_, Value::Set(set))) => set,
                Some((_, Value::List(items))) => {
                    let deps = strings(source, name, items)?;
                    entries.insert(name.to_owned(), DepEntry { deps, ..DepEntry::default() });
                    continue;
                }
                _ => return Err(wrong(source, at, name, "a set")),
            };
            let mut read = DepEntry::default();
            for (field, at) in entry.names() {
                let value = entry.get(source, field)?.map(|(_, value)| value);
                match (field, value) {
                    ("deps", Some(Value::List(items))) => read.deps = strings(source, name, items)?,
                    ("deps", _) => return Err(wrong(source, at, name, "a list of strings")),
                    ("hasTests", Some(Value::Bool(value))) => read.has_tests = Some(value),
                    ("hasTests", _) => return Err(wrong(source, at, name, "a Boolean")),
                    ("follows", Some(Value::Set(set))) => {
                        let mut follows = BTreeMap::new();
                        for (input, at) in set.names() {
                            match set.get(source, input)? {
                                Some((_, Value::Str(target))) => follows.insert(input.to_owned(), target),
                                _ => return Err(wrong(source, at, name, "a string")),
                            };
                        }
                        read.follows = Some(follows);
                    }
                    ("follows", _) => return Err(wrong(source, at, name, "a set of strings")),
                    _ => {}
                }
            }
            entries.insert(name.to_owned(), read);
        }
        Ok(Self { entries })
    }
}

fn strings(
    source: Source<'_>,
    name: &str,
    items: Vec<(super::syntax::At, Value)>,
) -> Result<Vec<String>, ReadError> {
    items
        .into_iter()
        .map(|(at, item)| match item {
            Value::Str(text) => Ok(text),
            _ => Err(wrong(source, at, name, "a string")),
        })
        .collect()
}

fn wrong(source: Source<'_>, at: super::syntax::At, name: &str, wanted: &str) -> ReadError {
    source.error(at, format_args!("the entry {} should have {wanted} here", text::quoted(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemas_are_read() {
        let map = DepGraph::parse(
            b"# generated\n{\n  a = { deps = []; hasTests = false; };\n  \"b\" = { deps = [ \"a\" ]; hasTests = true; follows = { \"x\" = \"a\"; }; };\n}\n",
        )
        .expect("it is well formed");
        assert_eq!(map.entries["a"], DepEntry { deps: vec![], has_tests: Some(false), follows: None });
        assert_eq!(map.entries["b"].deps, ["a"]);
        let old = DepGraph::parse(b"{ c = [ \"a\" \"b\" ]; }").expect("it is well formed");
        assert_eq!(old.entries["c"].deps, ["a", "b"]);
        assert_eq!(map.entries["b"].follows, Some(BTreeMap::from([("x".to_owned(), "a".to_owned())])));
    }

    #[test]
    fn other_shapes_are_refused_with_their_place() {
        for (file, expected) in [
            ("{ a = 1; }", "line 1, column 3: the entry \"a\" should have a set here"),
            (
                "{\n a = { deps = [ map ]; }; }",
                "line 2, column 17: the entry \"a\" should have a string here",
            ),
            ("x: { }", "line 1, column 1: the file must be an attribute set, not something computed"),
        ] {
            let error = DepGraph::parse(file.as_bytes()).expect_err("it is malformed");
            assert_eq!(error.to_string(), expected);
        }
    }
}
