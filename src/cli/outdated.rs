//! `outdated`: every module's pin against its upstream, one status and one reason each.

use std::collections::BTreeMap;

use serde::Serialize;

use super::open::Open;
use super::show::{self, Paint};
use super::{Exit, Failure, Global};
use crate::domain::id::{ModuleName, ObjectId, RepoPath};
use crate::domain::text;
use crate::domain::upgrade::{Status, Upgrade};
use crate::ops::detect;
use crate::ports::{Repository as _, SnapshotOptions};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these modules
    #[arg(value_name = "MODULE")]
    modules: Vec<String>,
    /// Exit with 4 when a module is behind
    #[arg(long)]
    exit_code: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    modules: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a ModuleName,
    path: &'a RepoPath,
    status: Status,
    behind: Option<u32>,
    ahead: Option<u32>,
    from: Option<ObjectId>,
    to: Option<ObjectId>,
    branch: Option<&'a str>,
    reason: &'a str,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let open = Open::new(global)?;
    let options = open.cycle_options();
    let state = open.state()?;
    let mut discovery = open.repository.discover()?;
    let known: Vec<&str> = discovery.modules.iter().map(|module| module.name.as_str()).collect();
    for wanted in &args.modules {
        if !known.contains(&wanted.as_str()) {
            return Err(unknown_module(wanted, &known));
        }
    }
    if !args.modules.is_empty() {
        discovery.modules.retain(|module| args.modules.iter().any(|name| name == module.name.as_str()));
        discovery.refused.clear();
    }
    let quick = SnapshotOptions { hash_untracked_bytes: None, ..options.snapshot };
    let snapshot = open.repository.snapshot(&discovery, &quick)?;
    let found = detect::detect(&open.sources, &discovery, &snapshot, &state, &options.detect);
    let behind = found.upgrades.iter().any(|row| row.status == Status::Behind);
    let exit = if args.exit_code && behind { Exit::Changes } else { Exit::Ok };
    if global.json {
        show::json(&Report {
            schema: "lambda-os/outdated/v1",
            modules: found.upgrades.iter().map(row).collect(),
        })?;
    } else {
        show::data(&shown(&found.upgrades, Paint::stdout(global)))?;
    }
    Ok(exit)
}

/// The failure for a module that does not exist, with the name that may have been meant.
pub(super) fn unknown_module(wanted: &str, known: &[&str]) -> Failure {
    let failure = Failure::new(Exit::Usage, format!("there is no module {}", text::quoted(wanted)));
    match text::nearest(wanted, known.iter().copied()) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint("lambda-os outdated lists the modules"),
    }
}

fn row(upgrade: &Upgrade) -> Row<'_> {
    Row {
        name: &upgrade.name,
        path: &upgrade.path,
        status: upgrade.status,
        behind: upgrade.behind,
        ahead: upgrade.ahead,
        from: upgrade.from,
        to: upgrade.to,
        branch: upgrade.branch.as_deref(),
        reason: &upgrade.reason,
    }
}

/// A table and a line that counts.
fn shown(upgrades: &[Upgrade], paint: Paint) -> String {
    if upgrades.is_empty() {
        return "no modules\n".to_owned();
    }
    let short = |id: Option<ObjectId>| id.map_or_else(|| "-".to_owned(), |id| id.short());
    let mut rows = vec![["MODULE", "STATUS", "FROM", "TO", "REASON"].map(str::to_owned).to_vec()];
    let mut counts: BTreeMap<Status, usize> = BTreeMap::new();
    for upgrade in upgrades {
        *counts.entry(upgrade.status).or_default() += 1;
        rows.push(vec![
            upgrade.name.to_string(),
            upgrade.status.as_str().to_owned(),
            short(upgrade.from),
            short(upgrade.to),
            painted(upgrade.status, &text::inert(&upgrade.reason), paint),
        ]);
    }
    let counted: Vec<String> =
        counts.iter().map(|(status, count)| format!("{count} {}", status.as_str())).collect();
    format!("{}{}\n", show::table(&rows), counted.join(", "))
}

fn painted(status: Status, reason: &str, paint: Paint) -> String {
    match status {
        Status::UpToDate => paint.faint(reason),
        Status::Behind => paint.good(reason),
        Status::Rewritten | Status::NotAllowed => paint.bad(reason),
        _ => paint.warn(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_inert_and_counts() {
        let upgrade = |name: &str, status, reason: &str| Upgrade {
            name: ModuleName::new(name),
            path: RepoPath::from(name),
            status,
            behind: Some(1),
            ahead: Some(0),
            from: Some("1".repeat(40).parse().expect("an id")),
            to: None,
            branch: None,
            reason: reason.to_owned(),
        };
        let rows = [upgrade("a", Status::Behind, "x\u{1b}[2J"), upgrade("long-name", Status::Unknown, "y")];
        assert_eq!(
            shown(&rows, Paint::plain()),
            "MODULE     STATUS   FROM          TO  REASON\n\
             a          behind   111111111111  -   x\\u{1b}[2J\n\
             long-name  unknown  111111111111  -   y\n\
             1 behind, 1 unknown\n"
        );
        assert_eq!(shown(&[], Paint::plain()), "no modules\n");
    }

    #[test]
    fn an_unknown_module_is_answered_with_the_nearest_name() {
        let failure = unknown_module("lib-on", &["lib-one", "other"]);
        assert_eq!(failure.hint.as_deref(), Some("did you mean lib-one?"));
        assert_eq!(failure.exit, Exit::Usage);
    }
}
