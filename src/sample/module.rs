//! One module on disk: its bare upstream, and its clone in the superproject.

use std::borrow::Cow;
use std::path::Path;

use super::cast::Role;
use super::checkout;
use super::disk;
use super::files::Files;
use super::history::Line;
use super::objects::{Kind, Objects, Pack};
use super::repository::{self, Layout, config_quoted};
use crate::domain::id::ObjectId;
use crate::ports::PortResult;

/// How a clone differs from the ordinary one.
#[derive(Debug)]
pub(super) struct CloneState<'a> {
    /// What is checked out.
    pub(super) files: Cow<'a, Files>,
    /// The commit that it is.
    pub(super) head: ObjectId,
    /// HEAD names the branch.
    pub(super) on_branch: bool,
    /// Only the commit that is checked out, no history.
    pub(super) shallow: bool,
    /// Objects that only the clone has.
    pub(super) local: Option<Pack>,
}

/// A bare upstream with all that the line has.
pub(super) fn upstream(git_dir: &Path, line: &Line, branch: &str) -> PortResult<()> {
    let layout = Layout {
        head: format!("ref: refs/heads/{branch}"),
        config: "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n".to_owned(),
        packed: vec![(format!("refs/heads/{branch}"), line.tip())],
        ..Layout::default()
    };
    repository::create(git_dir, &layout)?;
    line.packs.0.iter().chain(&line.packs.1).try_for_each(|pack| pack.write(git_dir))
}

/// A clone as `git submodule update --init` leaves it: the git directory inside the
/// superproject's, a git file in the checkout, HEAD detached at the pin.
pub(super) fn clone(
    superproject: &Path,
    role: &Role,
    line: &Line,
    upstream: &Path,
    state: &CloneState<'_>,
) -> PortResult<()> {
    let path = format!("repos/{}", role.directory);
    let git_dir = superproject.join(".git/modules").join(&path);
    let work_tree = superproject.join(&path);
    let branch = role.branch;
    let seen = line.seen();
    let head = if state.on_branch { format!("ref: refs/heads/{branch}") } else { state.head.to_string() };
    let layout = Layout {
        head,
        config: format!(
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\
             \tlogallrefupdates = true\n\tworktree = ../../../../{path}\n\
             [remote \"origin\"]\n\turl = {}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n\
             [branch \"{branch}\"]\n\tremote = origin\n\tmerge = refs/heads/{branch}\n",
            config_quoted(&upstream.to_string_lossy()),
        ),
        loose: vec![(
            format!("refs/heads/{branch}"),
            if state.on_branch || state.shallow { state.head } else { seen },
        )],
        packed: vec![(
            format!("refs/remotes/origin/{branch}"),
            if state.shallow { state.head } else { seen },
        )],
        symbolic: vec![("refs/remotes/origin/HEAD".to_owned(), format!("refs/remotes/origin/{branch}"))],
    };
    repository::create(&git_dir, &layout)?;
    disk::create_dir(&work_tree)?;
    disk::write(&work_tree.join(".git"), format!("gitdir: ../../.git/modules/{path}\n").as_bytes())?;
    let mut objects = Objects::default();
    let tree = state.files.tree(&mut objects);
    if state.shallow {
        if let Some(raw) = line.raw(state.head) {
            objects.add_known(state.head, Kind::Commit, raw.clone());
        }
        disk::write(&git_dir.join("shallow"), format!("{}\n", state.head).as_bytes())?;
        if let Some(pack) = objects.take_pack() {
            pack.write(&git_dir)?;
        }
    } else {
        if let Some(pack) = &line.packs.0 {
            pack.link(upstream, &git_dir)?;
        }
        if let Some(pack) = &state.local {
            pack.write(&git_dir)?;
        }
    }
    checkout::check_out(&work_tree, &git_dir, &state.files, &tree)
}
