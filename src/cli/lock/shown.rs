//! What became of a lock, for people and for scripts.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::show::Paint;
use crate::domain::flake::lock::{Change, Lock, State};
use crate::domain::flake::reference::FlakeRef;
use crate::domain::flake::relock::{Relocked, Warning, shown_reference};
use crate::domain::text;

/// What `--json` prints. Everything but `locked` and `original` is inert text.
#[derive(Serialize)]
pub(super) struct Report {
    schema: &'static str,
    verb: &'static str,
    /// Whether the lock is, or had to be, another one.
    pub(super) changed: bool,
    changes: Vec<Row>,
    /// Changes outside the inputs that were named: what `flake.nix` changed since the last lock.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outside: Vec<String>,
    warnings: Vec<String>,
    /// Inputs whose `follows` were kept without their source: it is not at hand.
    assumed: Vec<String>,
    /// Sources that were not on this machine, and that the `nix` program answered for.
    #[serde(rename = "byNix", skip_serializing_if = "Vec::is_empty")]
    by_nix: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicates: Option<Vec<Twice>>,
}

#[derive(Serialize)]
struct Row {
    path: String,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Side>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Side {
    Locked(FlakeRef),
    Original(FlakeRef),
    Follows(String),
}

#[derive(Serialize)]
struct Twice {
    repository: String,
    revisions: Vec<Seen>,
    /// Lines for the flake.nix of the root that would merge them.
    merges: Vec<String>,
}

#[derive(Serialize)]
struct Seen {
    rev: String,
    /// Input paths.
    as_seen_by: Vec<String>,
}

impl Report {
    pub(super) fn new(
        verb: &'static str,
        before: Option<&Lock>,
        made: &Relocked,
        changed: bool,
        declared: &BTreeSet<String>,
        duplicates: bool,
    ) -> Self {
        let empty = Lock::empty();
        let before_or_empty = before.unwrap_or(&empty);
        let found = before_or_empty.diff(&made.lock);
        let is_outside = |path: &[String]| {
            !declared.is_empty() && path.first().is_none_or(|root| !declared.contains(root))
        };
        Self {
            schema: "lambda-os/lock/v1",
            verb,
            changed,
            changes: found.iter().map(row).collect(),
            outside: found
                .iter()
                .map(|(path, _)| path)
                .filter(|path| is_outside(path))
                .map(|path| shown(path))
                .collect(),
            warnings: made.warnings.iter().map(warning).collect(),
            assumed: made.assumed.iter().map(|path| shown(path)).collect(),
            by_nix: Vec::new(),
            duplicates: duplicates.then(|| twice(&made.lock)),
        }
    }

    /// The same with the sources that Nix answered for.
    pub(super) fn asked(mut self, asked: &[FlakeRef]) -> Self {
        let shown: BTreeSet<String> = asked.iter().map(shown_reference).collect();
        self.by_nix = shown.into_iter().collect();
        self
    }

    pub(super) fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        let line = match (self.verb, self.changed) {
            ("check", false) => paint.good("flake.lock is what Nix would write"),
            ("check", true) => paint.warn("Nix would change flake.lock"),
            (_, false) => "flake.lock is unchanged".to_owned(),
            (_, true) => paint.good("flake.lock is updated"),
        };
        let _ = writeln!(out, "{line}");
        for row in &self.changes {
            let _ = write!(out, "  {} {}", row.what, row.path);
            let sides: Vec<String> = [&row.from, &row.to].into_iter().flatten().map(Side::text).collect();
            let _ = writeln!(out, "  {}", sides.join(" → "));
        }
        if self.changed && self.changes.is_empty() {
            let _ = writeln!(out, "  only its form: no input is locked to anything else");
        }
        if !self.outside.is_empty() {
            let what = "changed beside the inputs that were named, because flake.nix did";
            let _ = writeln!(out, "{}: {}", paint.warn(what), self.outside.join(" "));
        }
        for warning in &self.warnings {
            let _ = writeln!(out, "{}: {warning}", paint.warn("warning"));
        }
        if !self.assumed.is_empty() {
            let what = "kept without their sources, which are not at hand (--strict asks for them)";
            let _ = writeln!(out, "{what}: {}", self.assumed.join(" "));
        }
        if !self.by_nix.is_empty() {
            let _ = writeln!(out, "not on this machine, and asked of Nix: {}", self.by_nix.join(" "));
        }
        for twice in self.duplicates.iter().flatten() {
            let _ = writeln!(out, "{} is locked at {} revisions", twice.repository, twice.revisions.len());
            for seen in &twice.revisions {
                let _ = writeln!(out, "  {} as seen by {}", seen.rev, seen.as_seen_by.join(" "));
            }
            for line in &twice.merges {
                let _ = writeln!(out, "  would merge: {line}");
            }
        }
        out
    }
}

impl Side {
    fn of(state: &State) -> Self {
        match state {
            State::Locked(reference) => Self::Locked(reference.clone()),
            State::Follows(path) => Self::Follows(shown(path)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Locked(reference) => match reference.rev() {
                Some(rev) => text::inert(rev).chars().take(12).collect(),
                None => text::inert(reference.nar_hash().or(reference.relative_path()).unwrap_or("?")),
            },
            Self::Original(reference) => {
                text::clipped(&text::inert(&serde_json::to_string(reference).unwrap_or_default()), 200)
            }
            Self::Follows(path) => format!("follows {path}"),
        }
    }
}

fn shown(path: &[String]) -> String {
    if path.is_empty() { ".".to_owned() } else { text::inert(&path.join("/")) }
}

fn row((path, change): &(Vec<String>, Change)) -> Row {
    let (what, from, to) = match change {
        Change::Added(to) => ("added", None, Some(Side::of(to))),
        Change::Removed(from) => ("removed", Some(Side::of(from)), None),
        Change::Updated { from, to } => ("updated", Some(Side::of(from)), Some(Side::of(to))),
        Change::Reworded { from, to } => {
            ("reworded", Some(Side::Original(from.clone())), Some(Side::Original(to.clone())))
        }
    };
    Row { path: shown(path), what, from, to }
}

fn warning(warning: &Warning) -> String {
    match warning {
        Warning::NoSuchInput { of, name } => {
            format!("{} has no input {}, and flake.nix overrides it", shown(of), text::quoted(name))
        }
        Warning::NotUpdated(path) => format!("{} is no input that can be locked", shown(path)),
        Warning::Unlocked { at, node, reference } => format!(
            "the lock of {} knows {} ({reference}) by its content alone: it names no revision",
            shown(at),
            text::quoted(node)
        ),
    }
}

fn twice(lock: &Lock) -> Vec<Twice> {
    lock.duplicates()
        .into_iter()
        .map(|duplicate| Twice {
            repository: text::inert(duplicate.repository.as_str()),
            revisions: duplicate
                .revisions
                .into_iter()
                .map(|(rev, paths)| Seen {
                    rev: text::inert(&rev),
                    as_seen_by: paths.iter().map(|path| shown(path)).collect(),
                })
                .collect(),
            merges: duplicate.merges.iter().map(|merge| text::inert(&merge.line())).collect(),
        })
        .collect()
}
