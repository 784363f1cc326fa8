//! The superproject as something that changes are built for and applied to.

use std::path::Path;

use super::GitRepository;
use super::build::loose::Rights;
use super::build::{self, loose};
use super::checkout::Opened;
use super::files::{self, Read, Trouble};
use super::landing::{self, Lander};
use super::refs;
use crate::adapters::durable::{self, Durability, WriteError};
use crate::domain::change::{PathContent, PathEdit};
use crate::domain::id::{ObjectId, RepoPath};
use crate::domain::module::Module;
use crate::ports::{
    FailureKind, FirstTrusted, Landed, Landing, LandingState, PortError, PortResult, SnapshotOptions,
    Superproject,
};

impl GitRepository {
    /// Open the repository and ask something of it.
    fn ask<T>(&self, ask: impl FnOnce(&Opened) -> Read<T>) -> Read<T> {
        ask(&self.opened(&SnapshotOptions::default())?)
    }

    /// Open the repository for landing.
    fn landing<T>(&self, act: impl FnOnce(&Lander<'_>) -> PortResult<T>) -> PortResult<T> {
        let options = SnapshotOptions::default();
        let opened = self
            .opened(&options)
            .map_err(cannot(format!("cannot read the superproject at {}", files::shown(&self.work_tree))))?;
        let sources = |module: &Module| {
            self.mirrors.iter().map(|root| crate::adapters::mirrors::objects_of(root, module)).collect()
        };
        let (disk, context) = (self.disk.as_ref(), self.context(&options));
        act(&Lander { disk, opened, context, sources: &sources })
    }
}

/// A failure to read, as what was attempted.
pub(super) fn cannot(attempted: String) -> impl FnOnce(Trouble) -> PortError {
    move |trouble| PortError::failed(attempted).because(trouble)
}

/// A system call that changed nothing, for what it was attempted.
pub(super) fn not_done(attempted: &str, path: &Path, error: std::io::Error) -> PortError {
    workspace_error(format!("cannot {attempted} {}", files::shown(path)), error)
}

/// What an input/output error on the workspace means to the operator.
fn workspace_error(attempted: String, error: std::io::Error) -> PortError {
    let read_only = durable::is_read_only(&error);
    let failed = durable::port_error(attempted, error);
    if read_only {
        return failed.hint("the workspace cannot be written: check its owner, its rights and its mount");
    }
    failed
}

/// A write that failed: what it was for, where.
pub(super) fn not_written(what: &str, path: &Path, error: WriteError) -> PortError {
    let attempted = format!("cannot write {what}, {}", files::shown(path));
    if error.is_fatal() {
        return PortError::failed(attempted)
            .fatal()
            .hint("check the disk, then start again: what was begun is looked at anew")
            .because(std::io::Error::from(error));
    }
    workspace_error(attempted, error.into())
}

/// Which documents this repository's first operator trusted, in the git common directory.
const TRUSTED: &str = "lambda-os/trusted";

/// Two lines: the members document, then the policy.
fn first_trusted(written: &str) -> Option<FirstTrusted> {
    let mut lines = written.lines();
    let first = FirstTrusted { members: lines.next()?.parse().ok()?, policy: lines.next()?.parse().ok()? };
    lines.next().is_none().then_some(first)
}

fn other_trusted(path: &Path, known: &FirstTrusted) -> PortError {
    let FirstTrusted { members, policy } = known;
    PortError::failed(format!(
        "this repository's operator trusted the members document {members} with the policy {policy} first"
    ))
    .kind(FailureKind::Integrity)
    .hint(format!(
        "name the state directory that it is in with --state-dir; to begin anew on purpose, remove {}",
        files::shown(path)
    ))
}

impl Superproject for GitRepository {
    fn content(&self, commit: ObjectId, path: &RepoPath) -> PortResult<Option<PathContent>> {
        self.ask(|opened| build::content(opened, commit, path))
            .map_err(cannot(format!("cannot read {path} of the superproject's commit {}", commit.short())))
    }

    fn gitlinks(&self, commit: ObjectId, paths: &[&RepoPath]) -> PortResult<Vec<Option<ObjectId>>> {
        self.ask(|opened| build::gitlinks(opened, commit, paths)).map_err(cannot(format!(
            "cannot read the gitlinks of the superproject's commit {}",
            commit.short()
        )))
    }

    fn tree_with(&self, base: ObjectId, edits: &[PathEdit]) -> PortResult<ObjectId> {
        self.ask(|opened| Ok(build::tree(opened, base, edits)?.tree))
            .map_err(cannot(format!("cannot build a change on the superproject's commit {}", base.short())))
    }

    fn branch(&self) -> PortResult<(String, ObjectId)> {
        let attempted = || "cannot tell the branch that a change would go to".to_owned();
        self.ask(|opened| match (landing::head_obstacle(opened), &opened.head.branch, opened.head.id) {
            (None, Some(branch), Some(id)) => Ok((format!("refs/heads/{branch}"), id)),
            (why, ..) => Err(Trouble(why.unwrap_or_else(|| "HEAD names nothing".to_owned()))),
        })
        .map_err(cannot(attempted()))
    }

    fn edits_between(&self, from: ObjectId, to: ObjectId) -> PortResult<Vec<PathEdit>> {
        self.ask(|opened| landing::edits_between(opened, from, to))
            .map_err(cannot(format!("cannot tell what the superproject's commit {} changes", to.short())))
    }

    fn newest_landed(&self) -> PortResult<Option<(ObjectId, Vec<u8>)>> {
        let read = |opened: &Opened| {
            let Some(id) = refs::resolve(opened, landing::LANDED.as_bytes())? else { return Ok(None) };
            let content = opened.objects.commit(id)?.ok_or_else(|| {
                Trouble(format!("the commit {id} that {} names is missing", landing::LANDED))
            })?;
            let message = content
                .windows(2)
                .position(|pair| pair == b"\n\n")
                .map_or_else(Vec::new, |end| content[end + 2..].to_vec());
            Ok(Some((id, message)))
        };
        self.ask(read).map_err(cannot("cannot read the newest applied commit".to_owned()))
    }

    fn trusted(&self) -> PortResult<Option<FirstTrusted>> {
        let path = self.common_dir().join(TRUSTED);
        let cannot = || PortError::failed(format!("cannot read {}", files::shown(&path)));
        match std::fs::read_to_string(&path) {
            Ok(written) => first_trusted(&written).map(Some).ok_or_else(|| {
                cannot()
                    .kind(FailureKind::Integrity)
                    .hint("it does not hold the identities of a members document and a policy")
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot().because(error)),
        }
    }

    fn remember_trusted(&self, first: FirstTrusted) -> PortResult<()> {
        let path = self.common_dir().join(TRUSTED);
        match self.trusted()? {
            Some(known) if known == first => return Ok(()),
            Some(known) => return Err(other_trusted(&path, &known)),
            None => {}
        }
        let disk = self.disk.as_ref();
        let failed = |error| durable::port_error(format!("cannot write {}", files::shown(&path)), error);
        if let Some(directory) = path.parent() {
            disk.create_dir(directory).map_err(failed)?;
        }
        let written = format!("{}\n{}\n", first.members, first.policy);
        durable::write_file(disk, &path, written.as_bytes(), Durability::Synced)
            .map_err(|error| failed(std::io::Error::from(error)))
    }

    fn obstacles(&self, base: ObjectId, edits: &[PathEdit]) -> PortResult<Vec<String>> {
        self.landing(|lander| lander.obstacles(base, edits))
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
            self.opened(&SnapshotOptions::default()).map_err(|trouble| cannot(attempted())(trouble))?;
        let built = build::tree(&opened, base, edits).map_err(|trouble| cannot(attempted())(trouble))?;
        let commit = build::commit(built.tree, base, message, time_ms, opened.hash);
        let id = commit.id;
        let mut objects = built.objects;
        objects.push(commit);
        let rights = Rights::of(opened.config.string("core", None, "sharedrepository"));
        let disk = self.disk.as_ref();
        durable::sweep_named(disk, opened.objects.directory(), "tmp_obj_");
        loose::write(disk, opened.objects.directory(), &opened.objects, rights, &objects)
            .map_err(|not| not_written("an object of the superproject", &not.path, not.error))?;
        Ok(id)
    }

    fn land(&self, landing: &Landing) -> PortResult<Landed> {
        self.landing(|lander| lander.land(landing))
    }

    fn landing_state(&self, landing: &Landing) -> PortResult<LandingState> {
        self.landing(|lander| lander.landing_state(landing))
    }

    fn abandon(&self, landing: &Landing) -> PortResult<()> {
        self.landing(|lander| lander.abandon(landing))
    }
}
