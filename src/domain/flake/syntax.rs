//! Nix text to values, without evaluating anything.
//!
//! In: the bytes of a Nix file. Out: `Value`s for what Nix itself regards as trivial
//! (literals, attribute sets, functions, names of a `rec` set's earlier attributes), and
//! `Value::Computed` for everything that only an evaluation could tell.
//!
//! The parser and the tree's destructor recurse, so what would make the tree deep is counted on
//! the token stream first and refused over a bound. Every error has a line and a column.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use rnix::ast::{self, InterpolPart};
use rnix::{SyntaxKind as K, TextSize};
use rowan::ast::AstNode as _;

use super::scope;
use crate::domain::text;

/// The largest Nix file that is read, bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// The deepest nesting of brackets that is read. Real flakes stay below 40.
const MAX_NESTING: usize = 120;

/// The highest tree that is read: nesting, and operators, arguments or bodies in a row. Below the
/// 512 at which the parser gives up, which costs it time quadratic in the rest of the file.
const MAX_HEIGHT: usize = 500;

/// The longest expression, bytes, that a name of a `rec` set is followed to.
const MAX_NAMED: usize = 4_096;

/// Why a Nix file could not be read: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct ReadError {
    /// From 1.
    pub line: usize,
    /// From 1, in bytes.
    pub column: usize,
    /// What is wrong there: inert, without a final stop.
    pub reason: String,
}

/// A byte offset in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At(usize);

impl At {
    pub(super) fn new(offset: usize) -> Self {
        Self(offset)
    }
}

/// Where the lines of a file end, looked for once: every input asks for its place.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    /// The offset of each newline, ascending.
    ends: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
        Self { bytes, ends }
    }
}

/// The text of a file, for positions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a>(&'a Lines<'a>);

impl Source<'_> {
    pub(super) fn error(self, at: At, reason: impl fmt::Display) -> ReadError {
        let (line, column) = self.position(at);
        ReadError { line, column, reason: text::inert(&reason.to_string()) }
    }

    /// Line and column, from 1.
    pub(super) fn position(self, at: At) -> (usize, usize) {
        let Lines { bytes, ends } = self.0;
        let at = at.0.min(bytes.len());
        let before = ends.partition_point(|end| *end < at);
        let start = before.checked_sub(1).map_or(0, |last| ends[last] + 1);
        (before + 1, at - start + 1)
    }
}

/// A value as far as it is known without evaluating.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Str(String),
    /// A path literal, as written.
    Path(String),
    Int(u64),
    Bool(bool),
    Set(Set),
    List(Vec<(At, Value)>),
    /// The names of the formals, where the parameter is a set pattern.
    Function(Option<Vec<(At, String)>>),
    /// A number with a point, or null: never of use in a flake.
    Other(&'static str),
    /// What only an evaluation could tell; Nix calls it a thunk.
    Computed(&'static str),
}

impl Value {
    /// What it is, for "expected … but got …".
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Str(_) => "a string",
            Self::Path(_) => "a path",
            Self::Int(_) => "an integer",
            Self::Bool(_) => "a Boolean",
            Self::Set(_) => "a set",
            Self::List(_) => "a list",
            Self::Function(_) => "a function",
            Self::Other(what) | Self::Computed(what) => what,
        }
    }
}

/// An attribute set whose values are read when they are asked for.
#[derive(Debug, Clone)]
pub(super) struct Set {
    fields: Rc<Fields>,
    /// A name in it is computed: Nix does not regard the set as trivial.
    dynamic: Option<At>,
    /// Sets with `rec` around its values, outermost first.
    scope: Vec<Rc<Fields>>,
}

#[derive(Debug, Clone)]
struct Field {
    at: At,
    definition: Definition,
}

#[derive(Debug, Clone)]
enum Definition {
    /// `name = expression`.
    Expr(ast::Expr),
    /// `name.inner = …`, or several sets merged.
    Merged { fields: Rc<Fields>, dynamic: Option<At>, recursive: bool },
    /// `inherit name` or `inherit (…) name`.
    Inherited,
}

/// Parse a whole file whose value is an attribute set.
pub(super) fn parse_set<'a>(lines: &'a Lines<'a>) -> Result<(Source<'a>, Set), ReadError> {
    let (source, bytes) = (Source(lines), lines.bytes);
    if bytes.len() > MAX_BYTES {
        return Err(source
            .error(At(0), format_args!("the file has {} bytes; at most {MAX_BYTES} are read", bytes.len())));
    }
    let file = std::str::from_utf8(bytes)
        .map_err(|error| source.error(At(error.valid_up_to()), "the file is not UTF-8 text"))?;
    check_height(source, file)?;
    let parsed = rnix::Root::parse(file);
    if let Some(error) = parsed.errors().first() {
        let at = match error {
            rnix::ParseError::Unexpected(range)
            | rnix::ParseError::UnexpectedExtra(range)
            | rnix::ParseError::UnexpectedWanted(_, range, _)
            | rnix::ParseError::UnexpectedDoubleBind(range)
            | rnix::ParseError::DuplicatedArgs(range, _) => offset(range.start()),
            _ => At(file.len()),
        };
        return Err(source.error(at, syntax_error(error)));
    }
    let root = parsed.tree();
    check_duplicates(source, &root)?;
    scope::check(source, &root)?;
    let Some(expression) = root.expr() else {
        return Err(source.error(At(0), "the file is empty"));
    };
    match peel(expression) {
        ast::Expr::AttrSet(set) => Ok((source, Set::of(source, &set, &[])?)),
        other => {
            Err(source.error(start(&other), "the file must be an attribute set, not something computed"))
        }
    }
}

fn syntax_error(error: &rnix::ParseError) -> String {
    match error {
        rnix::ParseError::UnexpectedEOF | rnix::ParseError::UnexpectedEOFWanted(_) => {
            "syntax error: the file ends too early".to_owned()
        }
        rnix::ParseError::RecursionLimitExceeded => "the expressions nest too deeply".to_owned(),
        rnix::ParseError::DuplicatedArgs(_, name) => {
            format!("the argument {} stands twice", text::quoted(name))
        }
        _ => "syntax error".to_owned(),
    }
}

fn offset(size: TextSize) -> At {
    At::new(usize::from(size))
}

pub(super) fn start(node: &impl rowan::ast::AstNode<Language = rnix::NixLanguage>) -> At {
    offset(node.syntax().text_range().start())
}

/// One open bracket: what closes it, and how high the tree below it can be.
struct Frame {
    closes: K,
    /// Items stand side by side in it: a list, a string, a set pattern.
    flat: bool,
    inner: usize,
    row: usize,
    height: usize,
    /// `with` and `assert` whose semicolon is still to come: it ends no binding.
    pending: usize,
    /// Nothing stands in it yet.
    fresh: bool,
}

/// Refuse brackets that do not match, and what would make the syntax tree higher than
/// [`MAX_HEIGHT`]: the bound of the stack that parsing and dropping it takes.
fn check_height(source: Source<'_>, file: &str) -> Result<(), ReadError> {
    let frame = |closes, flat| Frame { closes, flat, inner: 0, row: 0, height: 0, pending: 0, fresh: true };
    let mut stack = vec![frame(K::TOKEN_ERROR, false)];
    let mut at = 0;
    for (kind, token) in rnix::tokenize(file) {
        let here = At(at);
        at += token.len();
        let closes = match kind {
            K::TOKEN_WHITESPACE | K::TOKEN_COMMENT => continue,
            K::TOKEN_L_PAREN => Some((K::TOKEN_R_PAREN, false)),
            K::TOKEN_L_BRACE => Some((K::TOKEN_R_BRACE, false)),
            K::TOKEN_L_BRACK => Some((K::TOKEN_R_BRACK, true)),
            K::TOKEN_INTERPOL_START => Some((K::TOKEN_INTERPOL_END, false)),
            K::TOKEN_STRING_START => Some((K::TOKEN_STRING_END, true)),
            K::TOKEN_LET => Some((K::TOKEN_IN, false)),
            _ => None,
        };
        // The old `let { … }` has no `in`.
        if kind == K::TOKEN_L_BRACE && stack.last().is_some_and(|top| top.fresh && top.closes == K::TOKEN_IN)
        {
            stack.pop();
        }
        if let Some(top) = stack.last_mut() {
            top.fresh = false;
        }
        if let Some((closes, flat)) = closes {
            stack.push(frame(closes, flat));
            if stack.len() > MAX_NESTING {
                return Err(source.error(here, "the expressions nest too deeply"));
            }
            continue;
        }
        let Some(top) = stack.last_mut() else { break };
        let mut grown = 0;
        match kind {
            K::TOKEN_R_PAREN
            | K::TOKEN_R_BRACE
            | K::TOKEN_R_BRACK
            | K::TOKEN_INTERPOL_END
            | K::TOKEN_STRING_END
            | K::TOKEN_IN => {
                if top.closes != kind {
                    return Err(
                        source.error(here, format_args!("syntax error: unexpected {}", text::quoted(token)))
                    );
                }
                let height = top.height.max(top.inner + top.row) + 1;
                stack.pop();
                if let Some(outer) = stack.last_mut() {
                    outer.inner = outer.inner.max(height);
                    outer.row += usize::from(!outer.flat);
                    grown = outer.inner + outer.row;
                }
            }
            K::TOKEN_SEMICOLON if top.pending > 0 => top.pending -= 1,
            K::TOKEN_SEMICOLON | K::TOKEN_COMMA => {
                top.height = top.height.max(top.inner + top.row);
                top.inner = 0;
                top.row = 0;
            }
            _ if top.flat => {}
            _ => {
                top.row += 1;
                top.pending += usize::from(matches!(kind, K::TOKEN_WITH | K::TOKEN_ASSERT));
                grown = top.inner + top.row;
            }
        }
        if grown > MAX_HEIGHT {
            return Err(source.error(here, "the expression is too long or nests too deeply"));
        }
    }
    Ok(())
}

/// Parentheses change nothing.
pub(super) fn peel(mut expression: ast::Expr) -> ast::Expr {
    while let ast::Expr::Paren(paren) = &expression {
        match paren.expr() {
            Some(inner) => expression = inner,
            None => break,
        }
    }
    expression
}

/// The text of a string literal; `None` when anything is interpolated.
fn constant(string: &ast::Str) -> Option<String> {
    let mut whole = String::new();
    for part in string.normalized_parts() {
        match part {
            InterpolPart::Literal(literal) => whole.push_str(&literal),
            InterpolPart::Interpolation(_) => return None,
        }
    }
    Some(whole)
}

/// The name that an attribute has; `None` when it is computed.
pub(super) fn attr_name(attr: &ast::Attr) -> Option<String> {
    match attr {
        ast::Attr::Ident(ident) => Some(ident.syntax().text().to_string()),
        ast::Attr::Str(string) => constant(string),
        ast::Attr::Dynamic(dynamic) => match peel(dynamic.expr()?) {
            ast::Expr::Str(string) => constant(&string),
            _ => None,
        },
    }
}

fn duplicate(source: Source<'_>, at: At, name: &str, first: At) -> ReadError {
    let (line, column) = source.position(first);
    source.error(
        at,
        format_args!(
            "the attribute {} is already defined at line {line}, column {column}",
            text::quoted(name)
        ),
    )
}

type Fields = BTreeMap<String, Field>;

/// The fields of a set or `let`, merged as Nix's parser merges them (`addAttr` in
/// `parser-state.hh`): `a.b` and `a.c` are one set, and so are two literal sets for `a`.
fn fields(source: Source<'_>, node: &impl ast::HasEntry) -> Result<(Fields, Option<At>), ReadError> {
    let mut fields = Fields::new();
    let mut dynamic = None;
    for entry in node.entries() {
        match entry {
            ast::Entry::Inherit(inherit) => {
                for attr in inherit.attrs() {
                    let at = start(&attr);
                    let name = attr_name(&attr)
                        .ok_or_else(|| source.error(at, "a computed name cannot be inherited"))?;
                    insert(source, &mut fields, name, Field { at, definition: Definition::Inherited })?;
                }
            }
            ast::Entry::AttrpathValue(binding) => {
                let (Some(path), Some(value)) = (binding.attrpath(), binding.value()) else { continue };
                let attrs: Vec<ast::Attr> = path.attrs().collect();
                let Some((last, parents)) = attrs.split_last() else { continue };
                let mut here = &mut fields;
                let mut flag = &mut dynamic;
                let mut constant_path = true;
                for parent in parents {
                    let at = start(parent);
                    let Some(name) = attr_name(parent) else {
                        *flag = flag.or(Some(at));
                        constant_path = false;
                        break;
                    };
                    let field = here.entry(name.clone()).or_insert_with(|| Field {
                        at,
                        definition: Definition::Merged {
                            fields: Rc::default(),
                            dynamic: None,
                            recursive: false,
                        },
                    });
                    let first = field.at;
                    expand(source, field)?;
                    let Definition::Merged { fields, dynamic, .. } = &mut field.definition else {
                        return Err(duplicate(source, at, &name, first));
                    };
                    here = Rc::make_mut(fields);
                    flag = dynamic;
                }
                if !constant_path {
                    continue;
                }
                let at = start(last);
                match attr_name(last) {
                    Some(name) => {
                        insert(source, here, name, Field { at, definition: Definition::Expr(peel(value)) })?;
                    }
                    None => *flag = flag.or(Some(at)),
                }
            }
        }
    }
    Ok((fields, dynamic))
}

/// Make a literal set a merged one, so that more can be put in.
fn expand(source: Source<'_>, field: &mut Field) -> Result<(), ReadError> {
    if let Definition::Expr(ast::Expr::AttrSet(set)) = &field.definition {
        let recursive = set.rec_token().is_some();
        let (fields, dynamic) = fields(source, set)?;
        field.definition = Definition::Merged { fields: Rc::new(fields), dynamic, recursive };
    }
    Ok(())
}

fn insert(source: Source<'_>, into: &mut Fields, name: String, mut field: Field) -> Result<(), ReadError> {
    let Some(known) = into.get_mut(&name) else {
        into.insert(name, field);
        return Ok(());
    };
    let (at, first) = (field.at, known.at);
    expand(source, known)?;
    expand(source, &mut field)?;
    match (&mut known.definition, field.definition) {
        (
            Definition::Merged { fields: old, dynamic: old_dynamic, .. },
            Definition::Merged { fields: new, dynamic, .. },
        ) => {
            *old_dynamic = old_dynamic.or(dynamic);
            let old = Rc::make_mut(old);
            for (name, field) in Rc::unwrap_or_clone(new) {
                insert(source, old, name, field)?;
            }
            Ok(())
        }
        _ => Err(duplicate(source, at, &name, first)),
    }
}

/// Nix refuses a file with a duplicate anywhere in it, also where it never looks.
fn check_duplicates(source: Source<'_>, root: &ast::Root) -> Result<(), ReadError> {
    for node in root.syntax().descendants() {
        if let Some(set) = ast::AttrSet::cast(node.clone()) {
            fields(source, &set)?;
        } else if let Some(bindings) = ast::LetIn::cast(node.clone()) {
            fields(source, &bindings)?;
        } else if let Some(pattern) = ast::Pattern::cast(node) {
            formals(source, &pattern)?;
        }
    }
    Ok(())
}

fn formals(source: Source<'_>, pattern: &ast::Pattern) -> Result<Vec<(At, String)>, ReadError> {
    let mut names: BTreeMap<String, At> = BTreeMap::new();
    let bound =
        pattern.pat_bind().and_then(|bind| bind.ident()).map(|ident| ident.syntax().text().to_string());
    let mut found = Vec::new();
    for ident in pattern.pat_entries().filter_map(|entry| entry.ident()) {
        let (at, name) = (start(&ident), ident.syntax().text().to_string());
        if bound.as_ref() == Some(&name) || names.insert(name.clone(), at).is_some() {
            return Err(source.error(at, format_args!("the argument {} stands twice", text::quoted(&name))));
        }
        found.push((at, name));
    }
    Ok(found)
}

impl Set {
    fn of(source: Source<'_>, set: &ast::AttrSet, scope: &[Rc<Fields>]) -> Result<Self, ReadError> {
        let (fields, dynamic) = fields(source, set)?;
        Ok(Self::with(Rc::new(fields), dynamic, set.rec_token().is_some(), scope))
    }

    fn with(fields: Rc<Fields>, dynamic: Option<At>, recursive: bool, scope: &[Rc<Fields>]) -> Self {
        let mut scope = scope.to_vec();
        if recursive {
            scope.push(fields.clone());
        }
        Self { fields, dynamic, scope }
    }

    /// Where a name in it is computed.
    pub(super) fn dynamic(&self) -> Option<At> {
        self.dynamic
    }

    /// The names in it with their places, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, At)> {
        self.fields.iter().map(|(name, field)| (name.as_str(), field.at))
    }

    /// The value of a name and its place.
    pub(super) fn get(&self, source: Source<'_>, name: &str) -> Result<Option<(At, Value)>, ReadError> {
        match self.fields.get(name) {
            Some(field) => Ok(Some((field.at, value_of(source, field, &self.scope)?))),
            None => Ok(None),
        }
    }
}

fn value_of(source: Source<'_>, field: &Field, scope: &[Rc<Fields>]) -> Result<Value, ReadError> {
    match &field.definition {
        Definition::Inherited => Ok(Value::Computed("an inherited value")),
        Definition::Merged { fields, dynamic, recursive } => {
            Ok(Value::Set(Set::with(fields.clone(), *dynamic, *recursive, scope)))
        }
        Definition::Expr(expression) => value(source, expression, scope),
    }
}

/// What Nix takes without computing; the rest is [`Value::Computed`].
fn value(source: Source<'_>, expression: &ast::Expr, scope: &[Rc<Fields>]) -> Result<Value, ReadError> {
    Ok(match expression {
        ast::Expr::Str(string) => {
            constant(string).map_or(Value::Computed("an interpolated string"), Value::Str)
        }
        ast::Expr::PathRel(_) | ast::Expr::PathAbs(_) => {
            let written = expression.syntax().text().to_string();
            if written.contains("${") {
                Value::Computed("an interpolated path")
            } else {
                Value::Path(written)
            }
        }
        ast::Expr::PathHome(_) | ast::Expr::PathSearch(_) => Value::Computed("a path outside the flake"),
        ast::Expr::Literal(literal) => match literal.kind() {
            ast::LiteralKind::Integer(number) => match ast::AstToken::syntax(&number).text().parse() {
                Ok(number) => Value::Int(number),
                Err(_) => return Err(source.error(start(literal), "the number is too large")),
            },
            ast::LiteralKind::Float(_) => Value::Other("a number with a point"),
            ast::LiteralKind::Uri(_) => Value::Str(literal.syntax().text().to_string()),
        },
        ast::Expr::AttrSet(set) => Value::Set(Set::of(source, set, scope)?),
        ast::Expr::List(list) => {
            let mut items = Vec::new();
            for item in list.items() {
                let item = peel(item);
                items.push((start(&item), value(source, &item, scope)?));
            }
            Value::List(items)
        }
        ast::Expr::Lambda(lambda) => Value::Function(match lambda.param() {
            Some(ast::Param::Pattern(pattern)) => Some(formals(source, &pattern)?),
            _ => None,
        }),
        ast::Expr::Ident(ident) => named(source, ident, scope)?,
        ast::Expr::With(_) => Value::Computed("a \"with\" expression"),
        ast::Expr::LetIn(_) | ast::Expr::LegacyLet(_) => Value::Computed("a \"let\" expression"),
        ast::Expr::Apply(_) => Value::Computed("a function call"),
        ast::Expr::IfElse(_) | ast::Expr::Assert(_) => Value::Computed("a condition"),
        ast::Expr::BinOp(_) | ast::Expr::UnaryOp(_) => Value::Computed("an operation"),
        ast::Expr::Select(_) | ast::Expr::HasAttr(_) => Value::Computed("a selection"),
        _ => Value::Computed("an expression"),
    })
}

/// A name: a constant, or an attribute of a `rec` set that stands before it. Nix hands the
/// value itself on where it already has one; for a later attribute it has none yet.
fn named(source: Source<'_>, ident: &ast::Ident, scope: &[Rc<Fields>]) -> Result<Value, ReadError> {
    let name = ident.syntax().text().to_string();
    let at = start(ident);
    for (depth, fields) in scope.iter().enumerate().rev() {
        if let Some(field) = fields.get(&name) {
            // A hostile file could name one large value very often, or chain names without end.
            let small = match &field.definition {
                Definition::Expr(ast::Expr::Ident(_)) | Definition::Inherited => false,
                Definition::Expr(expression) => {
                    usize::from(expression.syntax().text_range().len()) <= MAX_NAMED
                }
                Definition::Merged { fields, .. } => fields.len() <= MAX_NAMED / 64,
            };
            return match &field.definition {
                _ if !small => Ok(Value::Computed("a name for something long")),
                _ if field.at < at => value_of(source, field, &scope[..=depth]),
                _ => Ok(Value::Computed("a name that is defined later")),
            };
        }
    }
    Ok(match name.as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Other("null"),
        _ => Value::Computed("a name from elsewhere"),
    })
}
