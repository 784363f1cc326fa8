//! Forms of index and repository that git can make and that others often cannot read.

use std::path::Path;

use super::{git, git_command};

/// One form. SHA-256 is none of these: a repository is born with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OddForm {
    /// Most entries are in a shared index file.
    SplitIndex,
    /// Paths are compressed.
    Version4,
    /// The index keeps what it knows of untracked files.
    UntrackedCache,
    /// Only `src/` and the top are checked out; the other entries are skip-worktree.
    SparseCheckout,
    /// As `SparseCheckout`, and the index holds directories.
    SparseIndex,
    /// Refs are in a reftable.
    Reftable,
}

impl OddForm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::SplitIndex,
        Self::Version4,
        Self::UntrackedCache,
        Self::SparseCheckout,
        Self::SparseIndex,
        Self::Reftable,
    ];

    /// Put a clean checkout into this form, with the real git.
    pub fn apply(self, checkout: &Path) {
        let steps: &[&[&str]] = match self {
            Self::SplitIndex => &[&["update-index", "--split-index"]],
            Self::Version4 => &[&["update-index", "--index-version", "4"]],
            Self::UntrackedCache => &[&["update-index", "--force-untracked-cache"], &["status"]],
            Self::SparseCheckout => &[&["sparse-checkout", "set", "--cone", "--no-sparse-index", "src"]],
            Self::SparseIndex => &[&["sparse-checkout", "set", "--cone", "--sparse-index", "src"]],
            Self::Reftable => &[&["refs", "migrate", "--ref-format=reftable"]],
        };
        for step in steps {
            git(checkout, *step);
        }
    }

    /// False when this machine's git is too old to make it.
    pub fn is_possible(self) -> bool {
        self != Self::Reftable
            || git_command(Path::new("/")).args(["refs", "migrate", "-h"]).output().is_ok_and(|output| {
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).contains("ref-format")
            })
    }
}
