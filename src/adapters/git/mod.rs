//! The operator's superproject and its checkouts, only ever read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::module::{Discovery, Module};
use crate::domain::snapshot::Snapshot;
use crate::ports::{PortError, PortResult, Repository, SnapshotOptions};

/// What discovery takes from our own configuration.
#[derive(Debug, Clone, Default)]
pub struct DiscoverSettings {
    /// `[modules.X] url`, by module name.
    pub config_urls: BTreeMap<String, String>,
    /// Upstreams that are paths or `file:` locations are allowed.
    pub allow_local_urls: bool,
}

/// A superproject on this machine.
#[derive(Debug)]
pub struct GitRepository {
    work_tree: PathBuf,
    git_dir: PathBuf,
    common_dir: PathBuf,
}

impl GitRepository {
    /// The superproject whose work tree is at `path` or above it.
    ///
    /// # Errors
    /// When there is none, it is bare, or it belongs to another user.
    pub fn open(path: &Path, _settings: DiscoverSettings) -> PortResult<Self> {
        Err(PortError::failed(format!("cannot open {}", path.display())))
    }

    /// The top of the work tree.
    #[must_use]
    pub fn work_tree(&self) -> &Path {
        &self.work_tree
    }

    /// The git directory of this work tree.
    #[must_use]
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// The git directory that all work trees of the repository share.
    #[must_use]
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }
}

impl Repository for GitRepository {
    fn discover(&self) -> PortResult<Discovery> {
        Err(PortError::failed("cannot read the superproject"))
    }

    fn snapshot(&self, _discovery: &Discovery, _options: &SnapshotOptions) -> PortResult<Snapshot> {
        Err(PortError::failed("cannot read the superproject"))
    }

    fn committed_file(&self, _path: &RepoPath) -> PortResult<Option<Vec<u8>>> {
        Err(PortError::failed("cannot read the superproject"))
    }

    fn module_file(
        &self,
        _module: &Module,
        _commit: ObjectId,
        _path: &RepoPath,
    ) -> PortResult<Option<Vec<u8>>> {
        Err(PortError::failed("cannot read the superproject"))
    }
}
