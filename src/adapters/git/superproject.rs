//! The superproject as something that changes are built for and applied to.

use super::GitRepository;
use std::path::Path;

use super::build::loose::Rights;
use super::build::{self, loose};
use super::checkout::Opened;
use super::files::{self, Read, Trouble};
use crate::adapters::durable::{self, WriteError};
use crate::domain::change::{PathContent, PathEdit};
use crate::domain::id::{ObjectId, RepoPath};
use crate::ports::{Landed, Landing, LandingState, PortError, PortResult, SnapshotOptions, Superproject};

impl GitRepository {
    /// Open the repository and ask something of it.
    fn ask<T>(&self, ask: impl FnOnce(&Opened) -> Read<T>) -> Read<T> {
        ask(&self.opened(&SnapshotOptions::default())?)
    }
}

fn failed(attempted: String) -> impl FnOnce(Trouble) -> PortError {
    move |trouble| PortError::failed(attempted).because(trouble)
}

/// A write that failed: what it was for, where.
fn not_written(what: &str, path: &Path, error: WriteError) -> PortError {
    let attempted = format!("cannot write {what}, {}", files::shown(path));
    if error.is_fatal() {
        return PortError::failed(attempted)
            .fatal()
            .hint("check the disk, then start again: what was begun is looked at anew")
            .because(std::io::Error::from(error));
    }
    durable::port_error(attempted, error.into())
}

/// What is refused until applying is there.
fn not_applied() -> PortError {
    PortError::failed("cannot apply a change: this version only builds changes")
}

impl Superproject for GitRepository {
    fn content(&self, commit: ObjectId, path: &RepoPath) -> PortResult<Option<PathContent>> {
        self.ask(|opened| build::content(opened, commit, path))
            .map_err(failed(format!("cannot read {path} of the superproject's commit {}", commit.short())))
    }

    fn tree_with(&self, base: ObjectId, edits: &[PathEdit]) -> PortResult<ObjectId> {
        self.ask(|opened| Ok(build::tree(opened, base, edits)?.tree))
            .map_err(failed(format!("cannot build a change on the superproject's commit {}", base.short())))
    }

    fn obstacles(&self, _: ObjectId, _: &[PathEdit]) -> PortResult<Vec<String>> {
        Err(not_applied())
    }

    fn commit(
        &self,
        base: ObjectId,
        edits: &[PathEdit],
        message: &str,
        time_ms: i64,
    ) -> PortResult<ObjectId> {
        let attempted =
            || format!("cannot make the commit of a change on the superproject's {}", base.short());
        let opened =
            self.opened(&SnapshotOptions::default()).map_err(|trouble| failed(attempted())(trouble))?;
        let built = build::tree(&opened, base, edits).map_err(|trouble| failed(attempted())(trouble))?;
        let commit = build::commit(built.tree, base, message, time_ms, opened.hash);
        let id = commit.id;
        let mut objects = built.objects;
        objects.push(commit);
        let rights = Rights::of(opened.config.string("core", None, "sharedrepository"));
        let disk = self.disk.as_ref();
        durable::sweep(disk, opened.objects.directory());
        loose::write(disk, opened.objects.directory(), &opened.objects, rights, &objects)
            .map_err(|not| not_written("an object of the superproject", &not.path, not.error))?;
        Ok(id)
    }

    fn land(&self, _: &Landing) -> PortResult<Landed> {
        Err(not_applied())
    }

    fn landing_state(&self, _: &Landing) -> PortResult<LandingState> {
        Err(not_applied())
    }
}
