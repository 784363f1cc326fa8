//! `flake.nix`, read statically: its inputs, as Nix itself would take them.
//!
//! Nix refuses inputs that need computation ("expected a set but got a thunk"), so reading them
//! without an evaluator loses nothing. What Nix refuses is refused here with a line, a column and
//! its reason (`libflake/flake.cc`: `parseFlakeInputs`, `parseFlakeInput`, `readFlake`).
//! Where Nix versions differ, the newer one is followed: `url = ./sub` and `inputs.self` are read.

use std::collections::BTreeMap;

use super::reference::{Attr, Attrs, FlakeRef, is_flake_id};
use super::syntax::{At, Lines, ReadError, Set, Source, Value, parse_set};
use crate::domain::text;

/// What a `flake.nix` declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlakeNix {
    /// Its inputs by name, also those that only the formals of `outputs` name; never `self`.
    pub inputs: BTreeMap<String, InputSpec>,
    /// What it asks of its own source with `inputs.self` (`submodules`, `lfs`).
    pub own: Attrs,
}

/// One input, or an override of an input's input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InputSpec {
    /// Where it comes from.
    pub reference: Option<FlakeRef>,
    /// The input path from the root flake that it is the same as; empty for `follows = ""`.
    pub follows: Option<Vec<String>>,
    /// False for a source without a `flake.nix`.
    pub flake: bool,
    /// Overrides of its own inputs.
    pub inputs: BTreeMap<String, InputSpec>,
    /// True when only the formals of `outputs` name it.
    pub implied: bool,
    /// The line that first names it, from 1.
    pub line: usize,
}

/// Read a `flake.nix`.
///
/// # Errors
/// With what Nix would refuse, and where.
pub fn read(bytes: &[u8]) -> Result<FlakeNix, ReadError> {
    let lines = Lines::of(bytes);
    let (source, flake) = parse_set(&lines)?;
    if let Some(at) = flake.dynamic() {
        return Err(source.error(at, "an attribute with a computed name is not read"));
    }
    for (name, at) in flake.names() {
        if !["description", "inputs", "outputs", "nixConfig"].contains(&name) {
            return Err(source.error(at, format_args!("unsupported attribute {}", text::quoted(name))));
        }
    }
    if let Some((at, description)) = flake.get(source, "description")?
        && !matches!(description, Value::Str(_))
    {
        return Err(expected(source, at, "a string", &description));
    }
    let mut own = Attrs::new();
    let mut inputs = match flake.get(source, "inputs")? {
        Some((at, value)) => read_inputs(source, at, value, Some(&mut own))?,
        None => BTreeMap::new(),
    };
    let formals = match flake.get(source, "outputs")? {
        Some((_, Value::Function(formals))) => formals.unwrap_or_default(),
        Some((at, other)) => return Err(expected(source, at, "a function", &other)),
        None => return Err(source.error(source_end(bytes), "the flake lacks the attribute \"outputs\"")),
    };
    if let Some((at, value)) = flake.get(source, "nixConfig")? {
        check_config(source, at, value)?;
    }
    for (name, spec) in &mut inputs {
        if spec.reference.is_none() && spec.follows.is_none() {
            spec.reference = Some(indirect(name));
        }
    }
    for (at, name) in formals.into_iter().filter(|(_, name)| name != "self") {
        let line = source.position(at).0;
        inputs.entry(name.clone()).or_insert_with(|| InputSpec {
            reference: Some(indirect(&name)),
            flake: true,
            implied: true,
            line,
            ..InputSpec::default()
        });
    }
    Ok(FlakeNix { inputs, own })
}

/// `nixConfig`: settings that are plain values. They are never applied here.
fn check_config(source: Source<'_>, at: At, value: Value) -> Result<(), ReadError> {
    let settings = set(source, at, value)?;
    for (name, at) in settings.names() {
        match settings.get(source, name)?.map(|(_, value)| value) {
            None | Some(Value::Str(_) | Value::Path(_) | Value::Int(_) | Value::Bool(_)) => {}
            Some(Value::List(items)) => {
                for (at, item) in items {
                    if !matches!(item, Value::Str(_)) {
                        return Err(expected(source, at, "a string", &item));
                    }
                }
            }
            Some(other) => {
                return Err(expected(source, at, "a string, a path, a number, a Boolean or a list", &other));
            }
        }
    }
    Ok(())
}

fn source_end(bytes: &[u8]) -> At {
    At::new(bytes.len())
}

/// What Nix asks the registry for when an input says nothing about itself.
fn indirect(name: &str) -> FlakeRef {
    let text = |text: &str| Attr::Str(text.into());
    FlakeRef::from_attrs(Attrs::from([("type", text("indirect")), ("id", text(name))]))
}

fn expected(source: Source<'_>, at: At, wanted: &str, got: &Value) -> ReadError {
    let thunk = if matches!(got, Value::Computed(_)) { ", which would have to be computed" } else { "" };
    source.error(at, format_args!("expected {wanted} but got {}{thunk}", got.what()))
}

fn set(source: Source<'_>, at: At, value: Value) -> Result<Set, ReadError> {
    match value {
        Value::Set(set) => match set.dynamic() {
            Some(at) => Err(source.error(at, "expected a set but got one with a computed name")),
            None => Ok(set),
        },
        other => Err(expected(source, at, "a set", &other)),
    }
}

fn read_inputs(
    source: Source<'_>,
    at: At,
    value: Value,
    mut own: Option<&mut Attrs>,
) -> Result<BTreeMap<String, InputSpec>, ReadError> {
    let inputs = set(source, at, value)?;
    let mut specs = BTreeMap::new();
    for (name, at) in inputs.names() {
        let Some((_, value)) = inputs.get(source, name)? else { continue };
        if name == "self" {
            match &mut own {
                Some(own) => **own = read_self(source, at, value)?,
                None => return Err(source.error(at, "the input \"self\" is not allowed here")),
            }
            continue;
        }
        specs.insert(name.to_owned(), read_input(source, at, value)?);
    }
    Ok(specs)
}

/// `inputs.self`: attributes of the flake's own source.
fn read_self(source: Source<'_>, at: At, value: Value) -> Result<Attrs, ReadError> {
    let fields = set(source, at, value)?;
    let mut own = Attrs::new();
    for (name, at) in fields.names() {
        if !["submodules", "lfs"].contains(&name) {
            return Err(source
                .error(at, format_args!("the \"self\" attribute {} is not supported", text::quoted(name))));
        }
        if let Some((_, value)) = fields.get(source, name)? {
            own.insert(name.to_owned(), attribute(source, at, value)?);
        }
    }
    Ok(own)
}

/// An attribute of a reference.
fn attribute(source: Source<'_>, at: At, value: Value) -> Result<Attr, ReadError> {
    match value {
        Value::Str(text) => Ok(Attr::Str(text.into())),
        Value::Int(number) => Ok(Attr::Int(number)),
        Value::Bool(value) => Ok(Attr::Bool(value)),
        other => Err(expected(source, at, "a string, a Boolean or an integer", &other)),
    }
}

fn read_input(source: Source<'_>, at: At, value: Value) -> Result<InputSpec, ReadError> {
    let fields = set(source, at, value)?;
    let mut spec = InputSpec { flake: true, line: source.position(at).0, ..InputSpec::default() };
    let mut attrs = Attrs::new();
    let mut url = None;
    for (name, at) in fields.names() {
        let Some((_, value)) = fields.get(source, name)? else { continue };
        match (name, value) {
            ("url", Value::Str(text)) => url = Some((at, text)),
            ("url", Value::Path(path)) => match relative(&path) {
                Some(path) => url = Some((at, format!("path:{path}"))),
                None => return Err(source.error(at, "a path must be in the source tree of the flake")),
            },
            ("url", other) => return Err(expected(source, at, "a string or a path", &other)),
            ("flake", Value::Bool(flake)) => spec.flake = flake,
            ("flake", other) => return Err(expected(source, at, "a Boolean", &other)),
            ("inputs", value) => spec.inputs = read_inputs(source, at, value, None)?,
            ("follows", Value::Str(path)) => spec.follows = Some(input_path(source, at, &path)?),
            ("follows", other) => return Err(expected(source, at, "a string", &other)),
            (name, value) => {
                attrs.insert(name.to_owned(), attribute(source, at, value)?);
            }
        }
    }
    if attrs.contains_key("type") {
        if let Some((_, url)) = url {
            attrs.insert("url".to_owned(), Attr::Str(url.into()));
        }
        let stated = FlakeRef::from_stated(attrs);
        spec.reference = Some(stated.map_err(|error| source.error(at, error))?);
    } else if let Some(name) = attrs.keys().next() {
        return Err(source.error(at, format_args!("unexpected flake input attribute {}", text::quoted(name))));
    } else if let Some((at, url)) = url {
        let parsed = FlakeRef::parse_as(&url, spec.flake);
        spec.reference = Some(parsed.map_err(|error| source.error(at, error))?);
    }
    if spec.reference.is_some() && spec.follows.is_some() {
        return Err(source.error(at, "the input has both a flake reference and a \"follows\" attribute"));
    }
    Ok(spec)
}

/// A path literal as Nix hands it on: without `.`, `..` and empty elements where they cancel;
/// `None` for an absolute one, which is outside the flake's source.
fn relative(path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

/// Nix's `parseInputAttrPath`: empty elements do not count.
fn input_path(source: Source<'_>, at: At, path: &str) -> Result<Vec<String>, ReadError> {
    path.split('/')
        .filter(|element| !element.is_empty())
        .map(|element| {
            if is_flake_id(element) {
                Ok(element.to_owned())
            } else {
                Err(source.error(at, format_args!("invalid input path element {}", text::quoted(element))))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
