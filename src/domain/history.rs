//! What an upgrade brings from upstream: its commits, and the files that they change.
//!
//! Made by a [`crate::ports::Sources`] from objects that are at hand. Texts are as upstream wrote
//! them: whoever shows them makes them inert.

use serde::{Deserialize, Serialize};

use super::id::{ObjectId, RepoPath};

/// How much of it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Most commits to list; all are counted, up to a bound of its own.
    pub commits: usize,
    /// Most files to list and to compare line by line; all are counted.
    pub files: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { commits: 100, files: 300 }
    }
}

/// From one commit to another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// Commits that the later one has and the earlier one has not, newest first; those that
    /// change no file (merges that add nothing, empty commits) are only counted.
    pub commits: Vec<LogCommit>,
    /// How many commits there are, listed or not: `git rev-list --count from..to`.
    pub total: u32,
    /// How many of them change no file.
    pub silent: u32,
    /// Files that differ, by path.
    pub files: Vec<FileChange>,
    /// How many files differ, listed or not.
    pub files_total: u32,
    /// What could not be read, as a sentence; then the rest is what could be.
    pub incomplete: Option<String>,
}

/// One commit of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCommit {
    /// Its id.
    pub id: ObjectId,
    /// Its author's name.
    pub author: String,
    /// When it was committed, Unix seconds, as its committer's clock said.
    pub time_s: i64,
    /// The first line of its message.
    pub subject: String,
}

/// One file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// The path; of a renamed file both paths are listed.
    pub path: RepoPath,
    /// git's letter: `A`, `D`, `M` or `T`.
    pub letter: char,
    /// Lines added; `None` for what is no text, is too large to compare or became a link.
    pub added: Option<u32>,
    /// Lines removed; `None` likewise.
    pub removed: Option<u32>,
}
