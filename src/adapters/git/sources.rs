//! A git repository as a place of sources: commits by any name, and what Nix records of them.
//!
//! In: the path of a git directory or of the top of a checkout. Nothing above the path is looked
//! at, nothing is run, nothing is written. SHA-256 repositories and reftables, which libgit2
//! cannot read, are refused as it words it.

use std::io::Write;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, Repository};

use super::nar::{Fetched, Objects, SourceFacts, rev_count, source_facts_cached, write_archive};
use super::nar_cache::NarCache;
use crate::domain::flake::nar::NarHash;
use crate::domain::id::ObjectId;
use crate::domain::text;
use crate::ports::{PortError, PortResult};

/// An open repository.
pub struct SourceRepository {
    repository: Repository,
    /// Where its objects are, apart from alternates.
    directories: Vec<PathBuf>,
    shown: String,
}

impl SourceRepository {
    /// Open the repository at this very path.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open(path: &Path) -> PortResult<Self> {
        let shown = text::inert(&path.to_string_lossy());
        let repository = Repository::open(path).map_err(|error| {
            PortError::failed(format!("cannot open the git repository {shown}"))
                .because(error.message().to_owned())
                .hint("name a git directory or the top of a checkout")
        })?;
        let directories = vec![repository.commondir().join("objects")];
        Ok(Self { repository, directories, shown })
    }

    /// The commit that a revision names: a hash or the start of one, a tag, a branch, `HEAD~2`.
    ///
    /// # Errors
    /// When there is no such commit here.
    pub fn commit(&self, revision: &str) -> PortResult<ObjectId> {
        let found = self.repository.revparse_single(revision).and_then(|object| object.peel_to_commit());
        let failed = || {
            PortError::failed(format!("cannot find the commit {} in {}", text::quoted(revision), self.shown))
        };
        match found {
            Ok(commit) => ObjectId::from_bytes(commit.id().as_bytes()).ok_or_else(failed),
            Err(error) => {
                let failed =
                    failed().hint("fetch it first; a shallow or partial repository has not all commits");
                Err(match error.code() {
                    ErrorCode::NotFound => failed,
                    _ => failed.because(error.message().to_owned()),
                })
            }
        }
    }

    fn objects(&self) -> Objects<'_> {
        Objects::of(&self.repository, &self.directories)
    }

    /// What a lock records of a commit's source.
    ///
    /// # Errors
    /// As [`source_facts_cached`].
    pub fn facts(&self, commit: ObjectId, fetched: Fetched, cache: &NarCache) -> PortResult<SourceFacts> {
        source_facts_cached(self.objects(), commit, fetched, cache)
    }

    /// Write the NAR of a commit's source, at most `max_bytes` of it, and give its hash.
    ///
    /// # Errors
    /// As [`source_facts_cached`], and when `out` fails.
    pub fn archive(
        &self,
        commit: ObjectId,
        fetched: Fetched,
        out: impl Write,
        max_bytes: u64,
    ) -> PortResult<NarHash> {
        write_archive(self.objects(), commit, fetched, out, max_bytes)
    }

    /// `revCount` of a commit; `None` in a shallow repository.
    ///
    /// # Errors
    /// As [`rev_count`].
    pub fn rev_count(&self, commit: ObjectId) -> PortResult<Option<u64>> {
        rev_count(&self.repository, commit)
    }

    /// Whether its history ends before its beginning.
    #[must_use]
    pub fn is_shallow(&self) -> bool {
        self.repository.is_shallow()
    }
}
