//! `policy explain`: what a rule forbids and why, how it is written, and how the policy in force sets it.

use std::fmt::Write as _;

use serde::Serialize;

use crate::adapters::journal::JournalReader;
use crate::cli::open::Open;
use crate::cli::show::{self, Paint};
use crate::cli::{Exit, Failure, Global};
use crate::domain::policy::rules::{self, ALL, About, Rules};
use crate::ops::govern;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The rule [default: list all]
    #[arg(value_name = "RULE")]
    rule: Option<String>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    rules: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    rule: &'static str,
    about: &'static str,
    example: &'static str,
    /// How the policy in force sets it; absent when it does not.
    settings: Option<serde_json::Value>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let wanted: Vec<&About> = match &args.rule {
        None => ALL.iter().collect(),
        Some(id) => match ALL.iter().find(|rule| rule.id == id) {
            Some(rule) => vec![rule],
            None => {
                return Err(
                    Failure::new(Exit::Usage, rules::no_such_rule(id)).hint("lambda-os policy explain")
                );
            }
        },
    };
    let set = in_force(global)?;
    let settings = |rule: &About| set.as_ref().and_then(|set| set.get(rule.id).cloned());
    if global.json {
        let rules = wanted.iter().map(|rule| {
            let About { id, about, example, .. } = **rule;
            Row { rule: id, about, example, settings: settings(rule) }
        });
        return show::json(&Report { schema: "lambda-os/policy-explain/v1", rules: rules.collect() });
    }
    let paint = Paint::stdout(global);
    if args.rule.is_none() {
        let rows = wanted.iter().map(|rule| {
            let severity = settings(rule).and_then(|it| Some(it.get("severity")?.as_str()?.to_owned()));
            let first = rule.about.split(['.', ';']).next().unwrap_or_default();
            vec![
                rule.id.to_owned(),
                severity.map_or_else(|| paint.faint("not set"), |it| paint.good(&it)),
                first.to_owned(),
            ]
        });
        return show::data(&show::table(&rows.collect::<Vec<_>>()));
    }
    let mut said = String::new();
    for rule in wanted {
        let _ = writeln!(said, "{}\n\n{}\n", paint.bold(rule.id), rule.about);
        let _ = writeln!(said, "{}\n{}", paint.bold("how it is written"), rule.example.trim_end());
        let _ = match settings(rule) {
            Some(settings) => writeln!(said, "\n{}\n{settings:#}", paint.bold("as it is set")),
            None => writeln!(said, "\nThe policy in force does not set it."),
        };
    }
    show::data(&said)
}

/// The settings of the policy in force; nothing where there is no workspace or no policy here: rules
/// can be read about anywhere.
fn in_force(global: &Global) -> Result<Option<serde_json::Map<String, serde_json::Value>>, Failure> {
    let Ok(open) = Open::new(global) else { return Ok(None) };
    let journal = JournalReader::open(&open.state_dir)?;
    if journal.state().policy.is_none() || journal.state().members.is_none() {
        return Ok(None);
    }
    let set: Rules = govern::rules(&journal, journal.state())?.policy.rules;
    Ok(serde_json::to_value(&set).ok().and_then(|value| value.as_object().cloned()))
}
