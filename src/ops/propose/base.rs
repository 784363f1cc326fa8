//! The commit that changes are derived on: its files that record pins, read and parsed once.
//!
//! Everything is read from the commit's tree, never from the index or the work tree, so that a
//! change is the same whatever the operator has edited.

use crate::domain::change::PathContent;
use crate::domain::flake::dep_graph::DepGraph;
use crate::domain::flake::lock::Lock;
use crate::domain::flake::nix_reader::{self, FlakeNix};
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::domain::text;
use crate::ports::{PortResult, Superproject};

use super::derive::NotDerived;

/// What one commit of the superproject says about pins.
#[derive(Debug)]
pub struct Base<'a> {
    /// The commit.
    pub commit: ObjectId,
    /// The workspace's modules.
    pub modules: &'a [Module],
    pub(super) flake: Option<File<FlakeNix>>,
    pub(super) lock: Option<File<Lock>>,
    pub(super) map: Option<File<DepGraph>>,
}

/// A file of the base, as bytes and as what they say.
#[derive(Debug)]
pub(super) struct File<T> {
    pub(super) path: RepoPath,
    pub(super) executable: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) says: T,
}

impl<T> File<T> {
    /// What stands there, for an edit.
    pub(super) fn content(&self) -> PathContent {
        self.with(self.bytes.clone())
    }

    /// The same file with other bytes.
    pub(super) fn with(&self, content: Vec<u8>) -> PathContent {
        PathContent::File { executable: self.executable, content }
    }
}

impl<'a> Base<'a> {
    /// Read a commit of the superproject.
    ///
    /// # Errors
    /// When its objects cannot be read. A file that cannot be understood is a value: nothing can
    /// be derived then.
    pub fn read(
        superproject: &dyn Superproject,
        modules: &'a [Module],
        commit: ObjectId,
        dep_graph: &RepoPath,
    ) -> PortResult<Result<Self, NotDerived>> {
        let read = |path: &RepoPath| superproject.content(commit, path);
        let (flake, lock) = (RepoPath::from("flake.nix"), RepoPath::from("flake.lock"));
        let contents = (read(&flake)?, read(&lock)?, read(dep_graph)?);
        let parsed = || {
            Ok(Self {
                commit,
                modules,
                flake: file(&flake, contents.0, |bytes| nix_reader::read(bytes).map_err(|e| e.to_string()))?,
                lock: file(&lock, contents.1, |bytes| Lock::parse(bytes).map_err(|e| e.to_string()))?,
                map: file(dep_graph, contents.2, |bytes| DepGraph::parse(bytes).map_err(|e| e.to_string()))?,
            })
        };
        Ok(parsed())
    }
}

fn file<T>(
    path: &RepoPath,
    content: Option<PathContent>,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<Option<File<T>>, NotDerived> {
    let unreadable = |why: String| NotDerived::Unreadable { path: path.clone(), why: text::inert(&why) };
    match content {
        None => Ok(None),
        Some(PathContent::Gitlink(_)) => Err(unreadable("a submodule stands there".to_owned())),
        Some(PathContent::File { executable, content }) => {
            let says = parse(&content).map_err(unreadable)?;
            Ok(Some(File { path: path.clone(), executable, bytes: content, says }))
        }
    }
}
