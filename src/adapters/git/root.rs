//! The beginning of the superproject's history: the first commit, which all its clones share.

use super::GitRepository;
use super::files::{Read, Trouble};
use crate::domain::id::ObjectId;
use crate::ports::{PortError, PortResult, SnapshotOptions};

/// Longest history that is walked.
const MAX_COMMITS: u32 = 5_000_000;

impl GitRepository {
    /// The commit without a parent that HEAD's first parents lead to; HEAD itself in a shallow
    /// clone, which does not have it; `None` on an unborn branch.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn first_commit(&self) -> PortResult<Option<ObjectId>> {
        self.walk_first_parents().map_err(|trouble| {
            PortError::failed("cannot find the first commit of the superproject").because(trouble)
        })
    }

    fn walk_first_parents(&self) -> Read<Option<ObjectId>> {
        let opened = self.opened(&SnapshotOptions::default())?;
        let Some(head) = opened.head.id else { return Ok(None) };
        if self.common_dir().join("shallow").exists() {
            return Ok(Some(head));
        }
        let mut commit = head;
        for _ in 0..MAX_COMMITS {
            match opened.objects.first_parent(commit)? {
                Some(parent) => commit = parent,
                None => return Ok(Some(commit)),
            }
        }
        Err(Trouble(format!("the history of {head} is longer than {MAX_COMMITS} commits")))
    }
}
