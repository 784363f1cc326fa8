//! Where each module stands to its upstream: one status and one reason each.

use serde::{Deserialize, Serialize};

use super::id::{ModuleName, ObjectId, RepoPath};

/// How a module stands to its upstream. The first that applies, in this order:
/// not-allowed, held, uninitialised, unreachable, rewritten, then the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The pin is the tip of the branch.
    UpToDate,
    /// The tip has commits that the pin has not: an upgrade exists.
    Behind,
    /// The pin has commits that upstream has not.
    Ahead,
    /// Both have commits that the other has not.
    Diverged,
    /// Upstream's branch no longer holds a tip that was seen on it before.
    Rewritten,
    /// The remote did not answer, or refused.
    Unreachable,
    /// Nothing is checked out at the module's path.
    Uninitialised,
    /// A person froze it.
    Held,
    /// Policy or safety forbids asking this location.
    NotAllowed,
    /// It could not be determined.
    Unknown,
}

impl Status {
    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpToDate => "up-to-date",
            Self::Behind => "behind",
            Self::Ahead => "ahead",
            Self::Diverged => "diverged",
            Self::Rewritten => "rewritten",
            Self::Unreachable => "unreachable",
            Self::Uninitialised => "uninitialised",
            Self::Held => "held",
            Self::NotAllowed => "not-allowed",
            Self::Unknown => "unknown",
        }
    }
}

/// One row of `outdated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// The module (or, for a refused one, its inert subject).
    pub name: ModuleName,
    /// Where it is.
    pub path: RepoPath,
    /// The one status.
    pub status: Status,
    /// Commits of the tip that the pin has not, counted as `git rev-list --count from..to`.
    pub behind: Option<u32>,
    /// Commits of the pin that the tip has not, `git rev-list --count to..from`.
    pub ahead: Option<u32>,
    /// The pin: the commit that the superproject's HEAD records.
    pub from: Option<ObjectId>,
    /// The newest commit of the followed branch, as far as it is known.
    pub to: Option<ObjectId>,
    /// The branch that was followed.
    pub branch: Option<String>,
    /// One sentence without a final stop: why this status.
    pub reason: String,
}
