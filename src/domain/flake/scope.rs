//! Names that nothing defines, or that are none: Nix refuses a file with one, also where it never
//! looks.
//!
//! In: a file's syntax tree. Out: nothing, or the first name that no `let`, `rec`, argument or
//! `with` around it can give, and that is no global one (`nixexpr.cc: bindVars`). Names that begin
//! with `__` are Nix's own, differ between its versions and settings, and are all taken. The walk
//! keeps its own stack: the tree may be higher than a thread's.

use std::collections::{BTreeMap, BTreeSet};

use rnix::ast;
use rnix::{SyntaxKind as K, SyntaxNode};
use rowan::ast::AstNode as _;

use super::syntax::{At, ReadError, Source, attr_name, start};
use crate::domain::text;

/// What every file can name, in an evaluation of a flake (Nix 2.34).
const GLOBAL: [&str; 23] = [
    "abort",
    "baseNameOf",
    "break",
    "builtins",
    "derivation",
    "derivationStrict",
    "dirOf",
    "false",
    "fetchGit",
    "fetchMercurial",
    "fetchTarball",
    "fetchTree",
    "fromTOML",
    "import",
    "isNull",
    "map",
    "null",
    "placeholder",
    "removeAttrs",
    "scopedImport",
    "throw",
    "toString",
    "true",
];

/// What is still to be done, last first.
enum Step {
    Visit(SyntaxNode),
    /// These names are defined from here on.
    Enter(BTreeSet<String>),
    Leave,
    /// Any name may be defined from here on.
    EnterWith,
    LeaveWith,
}

#[derive(Default)]
struct Walk {
    steps: Vec<Step>,
    /// How many scopes around this place define a name.
    defined: BTreeMap<String, usize>,
    entered: Vec<BTreeSet<String>>,
    /// How many `with` are around this place.
    withs: usize,
}

/// Refuse a name that nothing defines.
pub(super) fn check(source: Source<'_>, root: &ast::Root) -> Result<(), ReadError> {
    let mut walk = Walk { steps: vec![Step::Visit(root.syntax().clone())], ..Walk::default() };
    while let Some(step) = walk.steps.pop() {
        match step {
            Step::Enter(names) => {
                for name in &names {
                    *walk.defined.entry(name.clone()).or_default() += 1;
                }
                walk.entered.push(names);
            }
            Step::Leave => {
                for name in walk.entered.pop().unwrap_or_default() {
                    if let Some(count) = walk.defined.get_mut(&name) {
                        *count -= 1;
                    }
                }
            }
            Step::EnterWith => walk.withs += 1,
            Step::LeaveWith => walk.withs -= 1,
            Step::Visit(node) => walk.visit(source, &node)?,
        }
    }
    Ok(())
}

impl Walk {
    fn visit(&mut self, source: Source<'_>, node: &SyntaxNode) -> Result<(), ReadError> {
        match node.kind() {
            K::NODE_IDENT => return self.name(source, &node.text().to_string(), start_of(node)),
            // Names of attributes are no variables; what is interpolated in them is.
            K::NODE_ATTRPATH => {
                for name in node.children() {
                    plain_name(source, &name)?;
                }
                self.children(node, |child| child.kind() != K::NODE_IDENT);
            }
            K::NODE_ATTR_SET | K::NODE_LEGACY_LET => {
                let recursive = ast::AttrSet::cast(node.clone()).is_none_or(|set| set.rec_token().is_some());
                self.bindings(source, node, recursive)?;
            }
            K::NODE_LET_IN => self.bindings(source, node, true)?,
            K::NODE_LAMBDA => self.lambda(node),
            K::NODE_WITH => {
                let Some(with) = ast::With::cast(node.clone()) else { return Ok(()) };
                self.steps.push(Step::LeaveWith);
                self.steps.extend(with.body().map(|body| Step::Visit(body.syntax().clone())));
                self.steps.push(Step::EnterWith);
                self.steps.extend(with.namespace().map(|names| Step::Visit(names.syntax().clone())));
            }
            _ => self.children(node, |_| true),
        }
        Ok(())
    }

    fn children(&mut self, node: &SyntaxNode, wanted: impl Fn(&SyntaxNode) -> bool) {
        let from = self.steps.len();
        self.steps.extend(node.children().filter(wanted).map(Step::Visit));
        self.steps[from..].reverse();
    }

    fn name(&self, source: Source<'_>, name: &str, at: At) -> Result<(), ReadError> {
        let known = self.withs > 0
            || self.defined.get(name).is_some_and(|count| *count > 0)
            || GLOBAL.contains(&name)
            || name.starts_with("__");
        if known {
            return Ok(());
        }
        Err(source.error(at, format_args!("the variable {} is not defined", text::quoted(name))))
    }

    /// A set or the bindings of a `let`, with its body.
    fn bindings(&mut self, source: Source<'_>, node: &SyntaxNode, recursive: bool) -> Result<(), ReadError> {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for entry in node.children().filter_map(ast::Entry::cast) {
            match entry {
                ast::Entry::Inherit(inherit) => {
                    for attr in inherit.attrs() {
                        plain_name(source, attr.syntax())?;
                        let Some(name) = attr_name(&attr) else { continue };
                        if inherit.from().is_none() {
                            // Of the scope outside, whatever is defined here.
                            self.name(source, &name, start(&attr))?;
                        }
                        *names.entry(name).or_default() += 1;
                    }
                }
                ast::Entry::AttrpathValue(binding) => {
                    if let Some(name) = first_name(&binding) {
                        *names.entry(name).or_default() += 1;
                    }
                }
            }
        }
        if recursive {
            self.steps.push(Step::Leave);
        }
        let from = self.steps.len();
        for child in node.children() {
            let visit = Step::Visit(child.clone());
            match ast::Entry::cast(child) {
                Some(ast::Entry::Inherit(inherit)) => {
                    self.steps.extend(inherit.from().map(|from| Step::Visit(from.syntax().clone())));
                }
                // Sets for one name are merged, and may define names for each other.
                Some(ast::Entry::AttrpathValue(binding))
                    if first_name(&binding).is_some_and(|name| names[&name] > 1) =>
                {
                    self.steps.extend([Step::EnterWith, visit, Step::LeaveWith]);
                }
                _ => self.steps.push(visit),
            }
        }
        self.steps[from..].reverse();
        if recursive {
            self.steps.push(Step::Enter(names.into_keys().collect()));
        }
        Ok(())
    }

    fn lambda(&mut self, node: &SyntaxNode) {
        let Some(lambda) = ast::Lambda::cast(node.clone()) else { return };
        let mut names = BTreeSet::new();
        let mut defaults = Vec::new();
        match lambda.param() {
            Some(ast::Param::IdentParam(param)) => {
                names.extend(param.ident().map(|ident| ident.syntax().text().to_string()));
            }
            Some(ast::Param::Pattern(pattern)) => {
                let bound = pattern.pat_bind().and_then(|bound| bound.ident());
                names.extend(bound.map(|ident| ident.syntax().text().to_string()));
                for entry in pattern.pat_entries() {
                    names.extend(entry.ident().map(|ident| ident.syntax().text().to_string()));
                    defaults.extend(entry.default());
                }
            }
            None => {}
        }
        self.steps.push(Step::Leave);
        self.steps.extend(lambda.body().map(|body| Step::Visit(body.syntax().clone())));
        self.steps.extend(defaults.iter().rev().map(|default| Step::Visit(default.syntax().clone())));
        self.steps.push(Step::Enter(names));
    }
}

/// The parser here takes an indented string where a name stands, and Nix does not.
fn plain_name(source: Source<'_>, name: &SyntaxNode) -> Result<(), ReadError> {
    let indented = name.first_token().is_some_and(|token| token.text().starts_with("''"));
    if name.kind() == K::NODE_STRING && indented {
        return Err(source.error(start_of(name), "syntax error: an indented string cannot be a name"));
    }
    Ok(())
}

fn first_name(binding: &ast::AttrpathValue) -> Option<String> {
    binding.attrpath()?.attrs().next().and_then(|attr| attr_name(&attr))
}

fn start_of(node: &SyntaxNode) -> At {
    At::new(node.text_range().start().into())
}

#[cfg(test)]
mod tests {
    use crate::domain::flake::nix_reader;

    fn refused(outputs: &str) -> Option<String> {
        let flake = format!("{{ outputs = {outputs}; }}");
        nix_reader::read(flake.as_bytes()).err().map(|error| error.reason)
    }

    #[test]
    fn every_way_of_defining_a_name_is_one() {
        for outputs in [
            "a: a",
            "{ self, b ? self, ... }@all: [ self b all ]",
            "all@{ self, ... }: all.self.x or self",
            "_: let a = b; b = 1; inherit (a) c; in c",
            "_: let inherit (d) c; d = { c = 1; }; in c",
            "_: rec { a = b; b.c = 1; \"d\" = a; ${\"e\"} = d; f = e; }",
            "x: { inherit x; y.x = x; ${x} = \"${x}\"; z = x ? a.${x} && ./${x} == x; }",
            "x: with x; y",
            "x: (with x; { a = y; }) // { inherit (x) y; }",
            "_: let { a = 1; body = a; }",
            "_: map toString [ true false null (import ./x) builtins.x __sub __curPos <nixpkgs> ]",
            "_: { a = rec { x = 1; }; a.y = x; }",
            "x: ''${x} $${y} ''${y}''",
            "_: (x: y: x + y) 1",
        ] {
            assert_eq!(refused(outputs), None, "{outputs}");
        }
    }

    #[test]
    fn an_indented_string_is_no_name() {
        for outputs in ["_: { ''a'' = 1; }", "x: x.''a''", "x: x ? b.''a''", "x: { inherit (x) ''a''; }"] {
            let reason = refused(outputs);
            assert_eq!(
                reason.as_deref(),
                Some("syntax error: an indented string cannot be a name"),
                "{outputs}"
            );
        }
    }

    #[test]
    fn a_name_that_nothing_defines_is_refused() {
        for (outputs, name) in [
            ("_: b", "b"),
            ("{ self, ... }: nixpkgs", "nixpkgs"),
            ("_: { a = 1; b = a; }", "a"),
            ("_: let inherit a; in a", "a"),
            ("_: rec { inherit a; }", "a"),
            ("(a: a) a", "a"),
            ("{ a ? b, ... }: let b = 1; in a", "b"),
            ("x: (with x; y) + y", "y"),
            ("x: with y; y", "y"),
            ("_: \"${a}\"", "a"),
            ("_: { ${a} = 1; }", "a"),
            ("_: x.a or 1", "x"),
            ("_: 1 + currentSystem", "currentSystem"),
        ] {
            assert_eq!(
                refused(outputs),
                Some(format!("the variable \"{name}\" is not defined")),
                "{outputs}"
            );
        }
    }
}
