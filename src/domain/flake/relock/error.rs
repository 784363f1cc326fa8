//! Why a lock cannot be made.

use super::InputPath;
use crate::domain::flake::lock::LockError;
use crate::domain::flake::reference::FlakeRef;
use crate::domain::flake::syntax::ReadError;
use crate::domain::text;

/// Why a lock cannot be made. Input paths are shown with `/`; the root flake's own is `.`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelockError {
    /// Sources that are needed and not at hand: all that are known, at least one.
    #[error("{}", needed(.0))]
    Needs(Vec<Needed>),
    /// A source was asked for and its answer is unusable.
    #[error("the input {} ({reference}) cannot be locked: {what}", shown(at))]
    Source {
        /// Where it is.
        at: InputPath,
        /// What was asked for, shown.
        reference: String,
        /// Why.
        what: String,
    },
    /// A flake without a `flake.nix`.
    #[error("the input {} ({reference}) has no {file}", shown(at))]
    NoFlake {
        /// Where it is.
        at: InputPath,
        /// What was asked for, shown.
        reference: String,
        /// The file that is missing, with its directory.
        file: String,
    },
    /// A `flake.nix` that Nix would refuse.
    #[error("{}, {error}", file(at, "flake.nix"))]
    FlakeNix {
        /// Whose.
        at: InputPath,
        /// Where and what.
        error: ReadError,
    },
    /// A `flake.lock` that Nix would refuse.
    #[error("{}: {error}", file(at, "flake.lock"))]
    FlakeLock {
        /// Whose.
        at: InputPath,
        /// Where and what.
        error: LockError,
    },
    /// A lock that names a source by something that can change, and not its content either.
    #[error("{} holds the unlocked input {reference} at {}", file(at, "flake.lock"), text::quoted(node))]
    Unlocked {
        /// Whose lock.
        at: InputPath,
        /// The node.
        node: String,
        /// What it is, shown.
        reference: String,
    },
    /// The new lock would hold a source by something that can change.
    #[error("the input {} would be unlocked: {reference} names no revision", shown(at))]
    WouldBeUnlocked {
        /// Where it is.
        at: InputPath,
        /// What it is, shown.
        reference: String,
    },
    /// A flake that imports itself by way of its inputs.
    #[error("the input {} is a circular import of {reference}", shown(at))]
    CircularImport {
        /// Where it closes.
        at: InputPath,
        /// Which flake, shown.
        reference: String,
    },
    /// A revision was asked for, and the reference already names another one.
    #[error(
        "the input {} is pinned to {pinned} by {reference}; it cannot be locked to {}",
        shown(at),
        text::inert(wanted)
    )]
    Pinned {
        /// Where it is.
        at: InputPath,
        /// What pins it, shown.
        reference: String,
        /// To what.
        pinned: String,
        /// What was asked for.
        wanted: String,
    },
    /// A `path:` input that leads out of its flake's source.
    #[error("the input {} leads out of its source: {}", shown(at), text::quoted(path))]
    Outside {
        /// Where it is.
        at: InputPath,
        /// The path.
        path: String,
    },
    /// An input follows one that is not there.
    #[error("the input {} follows {}, which is not there", shown(at), shown(follows))]
    FollowsNothing {
        /// Where it is.
        at: InputPath,
        /// What it follows.
        follows: InputPath,
    },
    /// Inputs follow each other in a circle, or so it seems to Nix.
    #[error("inputs follow each other in a circle: {}", text::clipped(&cycle.iter().map(|path| shown(path)).collect::<Vec<_>>().join(" -> "), 500))]
    FollowsCircle {
        /// The paths on it.
        cycle: Vec<InputPath>,
    },
    /// The same, found when the whole lock was resolved.
    #[error("{0}")]
    Circle(LockError),
    /// A lock that nests without end or grows beyond the bound.
    #[error("the lock has {what} at {}", shown(at))]
    TooLarge {
        /// Where it was given up.
        at: InputPath,
        /// Which bound.
        what: &'static str,
    },
}

/// A source that is needed and not at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// The input that needs it.
    pub at: InputPath,
    /// What it is.
    pub reference: FlakeRef,
    /// The revision, when it is known.
    pub revision: Option<String>,
    /// What was looked for, as a clause.
    pub why: String,
}

impl Needed {
    /// The source in the form that people write (`github:owner/repo`), without its revision.
    #[must_use]
    pub fn source(&self) -> String {
        reference(&self.reference.with("rev", None).with("narHash", None))
    }
}

impl std::fmt::Display for Needed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "needs source {}", self.source())?;
        match &self.revision {
            Some(revision) => write!(f, " at {}", text::inert(revision))?,
            None => f.write_str(" at its newest revision")?,
        }
        write!(f, ", seen at input path {}: {}", shown(&self.at), self.why)
    }
}

fn needed(all: &[Needed]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// An input path for people.
pub(super) fn shown(path: &[String]) -> String {
    if path.is_empty() { ".".to_owned() } else { text::inert(&path.join("/")) }
}

fn file(at: &[String], name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{name} of the input {}", shown(at)) }
}

/// A reference for people: the URL form as far as it has one, else its attributes.
#[must_use]
pub fn reference(of: &FlakeRef) -> String {
    let text = |name| of.text(name).unwrap_or("");
    let mut shown = match of.kind() {
        kind @ ("github" | "gitlab" | "sourcehut") => {
            let at = of.git_ref().or(of.rev()).map_or_else(String::new, |at| format!("/{at}"));
            format!("{kind}:{}/{}{at}", text("owner"), text("repo"))
        }
        "git" => {
            let url = text("url");
            let mut query: Vec<String> = Vec::new();
            query.extend(of.git_ref().map(|name| format!("ref={name}")));
            query.extend(of.rev().map(|rev| format!("rev={rev}")));
            let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
            let plus = if url.starts_with("git:") { "" } else { "git+" };
            format!("{plus}{url}{query}")
        }
        "path" => format!("path:{}", text("path")),
        "indirect" => {
            let at = of.git_ref().or(of.rev()).map_or_else(String::new, |at| format!("/{at}"));
            format!("{}{at}", text("id"))
        }
        "tarball" | "file" => text("url").to_owned(),
        _ => serde_json::to_string(of).unwrap_or_default(),
    };
    if !of.dir().is_empty() {
        shown.push_str(if shown.contains('?') { "&dir=" } else { "?dir=" });
        shown.push_str(of.dir());
    }
    text::clipped(&text::inert(&shown), 200)
}
