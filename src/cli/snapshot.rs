//! `snapshot`: the state of the superproject and of every module, and what differs from before.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::open::Open;
use super::show::{self, Paint, table};
use super::{Exit, Failure, Global};
use crate::domain::drift::Drift;
use crate::domain::snapshot::{Ahead, Change, ModuleState, Snapshot, SuperprojectState, TreeState};
use crate::domain::text;
use crate::ports::Repository as _;

const SCHEMA: &str = "lambda-os/snapshot/v1";

/// How many paths of one repository the text shows.
const MAX_PATHS: usize = 20;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show what differs from an earlier snapshot (the output of `snapshot --json`)
    #[arg(long, value_name = "FILE")]
    drift_from: Option<PathBuf>,
    /// Do not hash untracked files
    #[arg(long)]
    no_hash: bool,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: &'a str,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<&'a Drift>,
}

/// What is read back: other fields are of later versions, or the drift of that time.
#[derive(Debug, Deserialize)]
struct Earlier {
    schema: String,
    #[serde(flatten)]
    snapshot: Snapshot,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let earlier = args.drift_from.as_deref().map(read_earlier).transpose()?;
    let open = Open::new(global)?;
    let mut options = open.settings.snapshot_options();
    if args.no_hash {
        options.hash_untracked_bytes = None;
    }
    let discovery = open.repository.discover()?;
    let snapshot = open.repository.snapshot(&discovery, &options)?;
    let drift = earlier.map(|before| Drift::between(&before, &snapshot, &open.settings.drift_limits()));
    if global.json {
        return show::json(&Report { schema: SCHEMA, snapshot: &snapshot, drift: drift.as_ref() });
    }
    show::data(&shown(&snapshot, drift.as_ref(), Paint::stdout(global)))
}

fn read_earlier(file: &Path) -> Result<Snapshot, Failure> {
    let name = file.display();
    let wrong = |cause: String| {
        let mut failure = Failure::new(Exit::Usage, format!("cannot read the earlier snapshot {name}"))
            .hint("give the output of `lambda-os snapshot --json`");
        failure.causes.push(cause);
        failure
    };
    let bytes = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let earlier: Earlier = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if earlier.schema != SCHEMA {
        return Err(wrong(format!("its schema is {}, not {SCHEMA}", text::quoted(&earlier.schema))));
    }
    Ok(earlier.snapshot)
}

fn shown(snapshot: &Snapshot, drift: Option<&Drift>, paint: Paint) -> String {
    let mut out = format!("{}\n", paint.bold(&headline(&snapshot.superproject)));
    let mut rows = vec![["module", "gitlink", "checked out", "state"].map(str::to_owned).to_vec()];
    rows.extend(snapshot.modules.iter().map(|module| row(module, paint)));
    if snapshot.modules.is_empty() {
        out.push_str("no modules\n");
    } else {
        let _ = write!(out, "\n{}", table(&rows));
    }
    details(&mut out, "superproject", &snapshot.superproject.tree, None);
    for module in &snapshot.modules {
        details(&mut out, module.name.as_str(), &module.tree, module.problem.as_deref());
    }
    if !snapshot.refused.is_empty() {
        out.push_str("\nrefused\n");
        for refused in &snapshot.refused {
            let _ = writeln!(out, "  {}: {}", text::inert(&refused.subject), text::inert(&refused.reason));
        }
    }
    if let Some(drift) = drift {
        out.push_str(if drift.is_empty() { "\nno drift\n" } else { "\ndrift\n" });
        for item in &drift.items {
            let _ = writeln!(out, "  {item}");
        }
        for sentence in &drift.over_limit {
            let _ = writeln!(out, "  {}", paint.bad(&text::inert(sentence)));
        }
    }
    out
}

fn headline(state: &SuperprojectState) -> String {
    let branch = state.branch.as_deref().map_or_else(|| "detached".to_owned(), text::inert);
    let head = state.head.map_or_else(|| "no commit".to_owned(), |head| head.short());
    let mut line = format!("superproject on {branch} at {head}: {}", summary(&state.tree));
    if let Some(operation) = state.operation {
        let _ = write!(line, ", {operation} under way");
    }
    if state.index_locked {
        line.push_str(", index.lock is held");
    }
    line
}

/// "clean", or counts.
fn summary(tree: &TreeState) -> String {
    let counted =
        [(tree.changes.len(), "changed"), (tree.untracked.len(), "untracked"), (tree.hidden.len(), "hidden")];
    let parts: Vec<String> = counted
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if parts.is_empty() { "clean".to_owned() } else { parts.join(", ") }
}

fn row(module: &ModuleState, paint: Paint) -> Vec<String> {
    let id = |id: Option<crate::domain::id::ObjectId>| id.map_or_else(|| "-".to_owned(), |id| id.short());
    let mut words = Vec::new();
    if module.problem.is_some() {
        words.push("problem".to_owned());
    } else if !module.initialised {
        words.push("not initialised".to_owned());
    }
    match module.ahead {
        Ahead::Same => {}
        Ahead::Ahead(commits) => words.push(format!("{commits} ahead")),
        Ahead::Behind(commits) => words.push(format!("{commits} behind")),
        Ahead::Diverged => words.push("diverged".to_owned()),
        Ahead::Unknown => words.push("relation unknown".to_owned()),
    }
    if module.committed != module.gitlink {
        words.push("gitlink staged".to_owned());
    }
    if let Some(branch) = &module.branch {
        words.push(format!("on {}", text::inert(branch)));
    }
    if module.shallow {
        words.push("shallow".to_owned());
    }
    if let Some(operation) = module.operation {
        words.push(format!("{operation} under way"));
    }
    let tree = summary(&module.tree);
    if tree != "clean" {
        words.push(tree);
    }
    let state = if module.problem.is_some() {
        paint.bad(&words.join(", "))
    } else if words.is_empty() {
        paint.good("clean")
    } else {
        paint.warn(&words.join(", "))
    };
    vec![module.name.to_string(), id(module.gitlink), id(module.head), state]
}

/// What is not ordinary, path by path, up to a bound that is said.
fn details(out: &mut String, name: &str, tree: &TreeState, problem: Option<&str>) {
    let mut lines: Vec<String> = Vec::new();
    lines.extend(problem.map(|why| format!("problem: {}", text::inert(why))));
    lines.extend(tree.changes.iter().map(change));
    lines.extend(tree.untracked.iter().map(|file| format!("??      {}", file.path)));
    lines.extend(tree.hidden.iter().map(|entry| format!("hidden  {} ({:?})", entry.path, entry.flag)));
    let more = lines.len().saturating_sub(MAX_PATHS);
    lines.truncate(MAX_PATHS);
    if more > 0 {
        lines.push(format!("and {more} more (see --json)"));
    }
    lines.extend(tree.bounded.iter().map(|said| format!("left out: {}", text::inert(said))));
    if !lines.is_empty() {
        let _ = write!(out, "\n{name}\n  {}\n", lines.join("\n  "));
    }
}

fn change(change: &Change) -> String {
    let sub = change.submodule.map_or_else(
        || "    ".to_owned(),
        |sub| {
            let letter = |is: bool, letter| if is { letter } else { '.' };
            format!("S{}{}{}", letter(sub.commit, 'C'), letter(sub.modified, 'M'), letter(sub.untracked, 'U'))
        },
    );
    format!("{}{} {sub} {}", change.staged.letter(), change.worktree.letter(), change.path)
}
