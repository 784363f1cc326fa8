//! `lock inputs`: what a `flake.nix` asks for, as Nix reads it, without Nix.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;

use serde::Serialize;

use crate::cli::show;
use crate::cli::{Exit, Failure, Global};
use crate::domain::flake::nix_reader::{self, InputSpec};
use crate::domain::flake::reference::{Attr, Attrs, FlakeRef};
use crate::domain::flake::syntax::MAX_BYTES;
use crate::domain::text;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory of a flake, or its flake.nix
    #[arg(value_name = "FLAKE")]
    flake: PathBuf,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    inputs: BTreeMap<&'a str, Row<'a>>,
    /// What the flake asks of its own source (`inputs.self`).
    #[serde(rename = "self", skip_serializing_if = "Attrs::is_empty")]
    own: &'a Attrs,
}

/// One input, or an override of an input's input.
#[derive(Serialize)]
struct Row<'a> {
    /// Nix's own attributes; absent where the input follows another, or is only overridden.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a FlakeRef>,
    /// The input path that it is the same as; empty for `follows = ""`.
    #[serde(skip_serializing_if = "Option::is_none")]
    follows: Option<&'a [String]>,
    flake: bool,
    /// Only the formals of `outputs` name it.
    implied: bool,
    /// The line that first names it, from 1.
    line: usize,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    inputs: BTreeMap<&'a str, Row<'a>>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let file = if args.flake.is_dir() { args.flake.join("flake.nix") } else { args.flake.clone() };
    let shown = text::inert(&file.to_string_lossy());
    let failed = |because: String| {
        let mut failure = Failure::new(Exit::Failed, format!("cannot read the inputs of {shown}"));
        failure.causes.push(because);
        failure
    };
    let mut bytes = Vec::new();
    std::fs::File::open(&file)
        .and_then(|open| open.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| failed(error.to_string()).hint("name a directory with a flake.nix in it"))?;
    let flake = nix_reader::read(&bytes)
        .map_err(|error| failed(format!("{shown}:{}:{}: {}", error.line, error.column, error.reason)))?;
    if global.json {
        let inputs = rows(&flake.inputs);
        return show::json(&Report { schema: "lambda-os/lock-inputs/v1", inputs, own: &flake.own });
    }
    let mut lines = Vec::new();
    list(&flake.inputs, "", &mut lines);
    show::data(&show::table(&lines))
}

fn rows(inputs: &BTreeMap<String, InputSpec>) -> BTreeMap<&str, Row<'_>> {
    inputs.iter().map(|(name, spec)| (name.as_str(), Row::of(spec))).collect()
}

impl<'a> Row<'a> {
    fn of(spec: &'a InputSpec) -> Self {
        Self {
            reference: spec.reference.as_ref(),
            follows: spec.follows.as_deref(),
            flake: spec.flake,
            implied: spec.implied,
            line: spec.line,
            inputs: rows(&spec.inputs),
        }
    }
}

/// One line an input: its path, then what it is.
fn list(inputs: &BTreeMap<String, InputSpec>, above: &str, lines: &mut Vec<Vec<String>>) {
    for (name, spec) in inputs {
        let path = format!("{above}{}", text::word(name));
        let mut words = String::new();
        if let Some(follows) = &spec.follows {
            let target: Vec<String> = follows.iter().map(|name| text::word(name)).collect();
            let target = if target.is_empty() { "nothing".to_owned() } else { target.join("/") };
            let _ = write!(words, "follows {target} ");
        }
        if let Some(reference) = &spec.reference {
            let _ = write!(words, "{} ", text::word(reference.kind()));
            for (name, value) in reference.attrs().iter().filter(|(name, _)| name.as_str() != "type") {
                let value = match value {
                    Attr::Bool(value) => value.to_string(),
                    Attr::Int(number) => number.to_string(),
                    Attr::Str(value) => text::word(value),
                };
                let _ = write!(words, "{}={value} ", text::word(name));
            }
        }
        if !spec.flake {
            words.push_str("(not a flake) ");
        }
        if spec.implied {
            words.push_str("(named by outputs alone)");
        }
        lines.push(vec![path.clone(), words.trim_end().to_owned()]);
        list(&spec.inputs, &format!("{path}/"), lines);
    }
}
