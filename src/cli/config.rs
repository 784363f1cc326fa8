//! `config show|check|schema`: what is in force and who said so, what is wrong with a file, and
//! the list of keys.

use std::path::PathBuf;

use std::fmt::Write as _;

use serde::Serialize;

use super::place::{self, shown};
use super::{Exit, Failure, Global, show};
use crate::config::{self, Settings, Source, effective, raw};
use crate::ports::FailureKind;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show every key with the value in force and where it comes from
    Show,
    /// Say everything that is wrong with a configuration file, with line and column
    Check {
        /// The file [default: the one that is in force]
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration: every key, its type, range, default and meaning
    Schema,
    /// Print a configuration file to begin with, every default commented out
    Template,
}

#[derive(Serialize)]
struct Shown {
    schema: &'static str,
    file: Option<String>,
    chosen: String,
    keys: Vec<effective::Row>,
}

#[derive(Serialize)]
struct Checked {
    schema: &'static str,
    file: Option<String>,
    chosen: String,
    keys: usize,
    not_acted_on: Vec<String>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Show => show_all(global, &place::find(global).settings?),
        Verb::Check { file: Some(file) } => {
            check(global, &config::from_source(Source::Explicit(file.clone())).map_err(wrong)?)
        }
        Verb::Check { file: None } => check(global, &place::find(global).settings?),
        // A schema is JSON whether or not it is asked for.
        Verb::Schema => {
            let mut schema = serde_json::to_string_pretty(&raw::schema())
                .map_err(|error| Failure::new(Exit::Failed, format!("cannot write the schema: {error}")))?;
            schema.push('\n');
            show::data(&schema)
        }
        Verb::Template => show::data(&effective::template()),
    }
}

/// A file that was named to be checked and cannot be used is wrong input, whatever the reason.
fn wrong(error: crate::ports::PortError) -> Failure {
    error.kind(FailureKind::Usage).into()
}

fn file_of(settings: &Settings) -> Option<String> {
    settings.source.path().map(shown)
}

fn show_all(global: &Global, settings: &Settings) -> Result<Exit, Failure> {
    let keys = effective::rows(settings);
    if global.json {
        return show::json(&Shown {
            schema: "lambda-os/config-show/v1",
            file: file_of(settings),
            chosen: settings.source.to_string(),
            keys,
        });
    }
    let rows: Vec<Vec<String>> = keys
        .into_iter()
        .map(|row| {
            let from = row.line.map_or_else(|| "default".to_owned(), |line| format!("line {line}"));
            let idle = if row.acted_on { "" } else { ", not acted on by this version" };
            vec![row.key, row.value, format!("{from}{idle}")]
        })
        .collect();
    show::data(&format!("{}\n\n{}", settings.source, show::table(&rows)))
}

fn check(global: &Global, settings: &Settings) -> Result<Exit, Failure> {
    let not_acted_on: Vec<String> = settings.not_acted_on().into_iter().map(str::to_owned).collect();
    let keys = settings.leaves().count();
    if global.json {
        return show::json(&Checked {
            schema: "lambda-os/config-check/v1",
            file: file_of(settings),
            chosen: settings.source.to_string(),
            keys,
            not_acted_on,
        });
    }
    let mut said = format!("{}: right, {keys} keys set\n", settings.source);
    for key in not_acted_on {
        let _ = writeln!(said, "  {key}: accepted, not acted on by this version");
    }
    show::data(&said)
}
