//! One path of a landing: what it was, what it shall be, and what is there now.

use std::os::fd::AsFd as _;

use gix_index::entry::Flags;
use rustix::fs::{AtFlags, FileType, OFlags, statat};
use rustix::io::Errno;

use crate::adapters::git::attributes::{Attributes, Place};
use crate::adapters::git::build::{entry_of, identity};
use crate::adapters::git::checkout::Opened;
use crate::adapters::git::files::{self, Blocked, Read, Trouble, directory_beneath};
use crate::adapters::git::index::Index;
use crate::adapters::git::objects::{MODE_GITLINK, MODE_LINK};
use crate::domain::change::PathEdit;
use crate::domain::id::{ObjectId, RepoPath};

/// The largest file that a landing replaces.
pub(super) const MAX_FILE: u64 = 256 << 20;

/// An entry of a tree without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) mode: u32,
    pub(super) id: ObjectId,
}

/// One path, before and after. The two differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) path: RepoPath,
    pub(super) old: Option<Leaf>,
    pub(super) new: Option<Leaf>,
}

impl Step {
    /// An edit by its identities.
    pub(super) fn of(edit: &PathEdit, hash: gix_hash::Kind) -> Self {
        let leaf = |content| {
            let (mode, id) = entry_of(content, hash);
            Leaf { mode, id }
        };
        Self { path: edit.path.clone(), old: edit.old.as_ref().map(leaf), new: Some(leaf(&edit.new)) }
    }

    /// True when a submodule is on either side.
    pub(super) fn is_gitlink(&self) -> bool {
        [self.old, self.new].iter().flatten().any(|leaf| leaf.mode == MODE_GITLINK)
    }

    /// The directory that it is in, and its name there.
    pub(super) fn split(&self) -> (&[u8], &[u8]) {
        let path = self.path.as_bytes();
        match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&[], path),
        }
    }
}

/// Where one side of a path stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    Old,
    New,
    /// Neither: what is there, and what to do, as a sentence.
    Elsewhere(String),
}

/// Where a path stands in the index and in the work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) index: At,
    pub(super) work: At,
}

impl Standing {
    /// The sentence of the side that is neither old nor new.
    pub(super) fn trouble(&self) -> Option<&str> {
        [&self.index, &self.work].into_iter().find_map(|at| match at {
            At::Elsewhere(why) => Some(why.as_str()),
            At::Old | At::New => None,
        })
    }

    pub(super) fn is(&self, both: &At) -> bool {
        self.index == *both && self.work == *both
    }
}

/// Where a step stands.
pub(super) fn standing(opened: &Opened, index: &Index, step: &Step) -> Read<Standing> {
    let at_index = in_index(index, step);
    let work = if step.is_gitlink() { gitlink_place(opened, step)? } else { in_work_tree(opened, step)? };
    Ok(Standing { index: at_index, work })
}

/// Where a step stands in the index.
pub(super) fn in_index(index: &Index, step: &Step) -> At {
    let path = step.path.as_bytes();
    let state = &index.state;
    let conflicted =
        state.entries().iter().any(|entry| entry.stage_raw() != 0 && <[u8]>::eq(entry.path(state), path));
    if conflicted {
        return At::Elsewhere(format!("{} is in conflict: resolve it and commit", step.path));
    }
    let found =
        index.entry(path).filter(|entry| !entry.flags.contains(Flags::INTENT_TO_ADD)).and_then(|entry| {
            Some(Leaf { mode: entry.mode.bits(), id: ObjectId::from_bytes(entry.id.as_slice())? })
        });
    // A step may change the executable bit alone, so that the whole leaf counts.
    if found == step.new {
        At::New
    } else if found == step.old {
        At::Old
    } else {
        At::Elsewhere(format!(
            "{0} is staged as something else: commit it, or take it back with: git restore --staged -- {0}",
            step.path
        ))
    }
}

/// The flags that hide a path's changes from git: with one, nothing may be written there.
pub(super) fn hiding_flag(index: &Index, step: &Step) -> Option<&'static str> {
    let flags = index.entry(step.path.as_bytes())?.flags;
    if flags.contains(Flags::ASSUME_VALID) {
        Some("assume-unchanged")
    } else if flags.contains(Flags::SKIP_WORKTREE) {
        Some("skip-worktree")
    } else {
        None
    }
}

/// A submodule's checkout may be anywhere; what stands there must be a directory or nothing.
fn gitlink_place(opened: &Opened, step: &Step) -> Read<At> {
    Ok(match directory_beneath(opened.work.as_fd(), step.path.as_bytes()) {
        Ok(_) | Err(Blocked::Absent) => At::New,
        Err(Blocked::NotDirectory) => At::Elsewhere(format!(
            "{} is a file or a symlink in the work tree, where a submodule is recorded: move it away",
            step.path
        )),
        Err(Blocked::Parent) => behind_symlink(step),
        Err(Blocked::Errno(error)) => return Err(Trouble(format!("cannot look at {}: {error}", step.path))),
    })
}

fn behind_symlink(step: &Step) -> At {
    At::Elsewhere(format!(
        "a directory above {} is a symlink or a file, which is not followed: put the directory back",
        step.path
    ))
}

fn in_work_tree(opened: &Opened, step: &Step) -> Read<At> {
    let (parent, name) = step.split();
    let held = if parent.is_empty() {
        None
    } else {
        match directory_beneath(opened.work.as_fd(), parent) {
            Ok(dir) => Some(dir),
            Err(Blocked::Absent) => return Ok(compared(step, None)),
            Err(Blocked::NotDirectory | Blocked::Parent) => return Ok(behind_symlink(step)),
            Err(Blocked::Errno(error)) => {
                return Err(Trouble(format!("cannot look at {}: {error}", step.path)));
            }
        }
    };
    let dir = held.as_ref().map_or(opened.work.as_fd(), |dir| dir.as_fd());
    let unreadable = |error: &dyn std::fmt::Display| Trouble(format!("cannot read {}: {error}", step.path));
    let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(compared(step, None)),
        Err(error) => return Err(unreadable(&error)),
    };
    let leaf = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let content = files::read_at(dir, name, OFlags::NOFOLLOW, MAX_FILE)
                .map_err(|error| unreadable(&error))?
                .unwrap_or_default();
            let mode = executable(opened, step, stat.st_mode);
            Leaf { mode, id: identity("blob", &content, opened.hash) }
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(|error| unreadable(&error))?;
            Leaf { mode: MODE_LINK, id: identity("blob", target.as_bytes(), opened.hash) }
        }
        _ => {
            return Ok(At::Elsewhere(format!(
                "{} is neither a file nor a symlink in the work tree: move it away",
                step.path
            )));
        }
    };
    Ok(compared(step, Some(leaf)))
}

/// A file's mode; where the file system's executable bit is not trusted, the one that is expected.
fn executable(opened: &Opened, step: &Step, mode: u32) -> u32 {
    if opened.config.boolean("core", "filemode") == Some(false)
        && let Some(leaf) = step.old.or(step.new)
    {
        return leaf.mode;
    }
    if mode & 0o100 == 0 { 0o100_644 } else { 0o100_755 }
}

fn compared(step: &Step, found: Option<Leaf>) -> At {
    if found == step.new {
        return At::New;
    }
    if found == step.old {
        return At::Old;
    }
    let path = &step.path;
    At::Elsewhere(match (found, step.old) {
        (None, _) => format!("{path} is missing in the work tree: put it back with: git restore -- {path}"),
        (Some(_), None) => format!("{path} is in the work tree and not in git: move it away"),
        (Some(_), Some(_)) => format!(
            "{path} has changes that are not committed: commit them, or put them aside with: git stash push -- {path}"
        ),
    })
}

/// Why a file cannot be written as its bytes are in git; `None` when it can.
pub(super) fn conversion(
    attributes: &mut Attributes,
    place: Place<'_>,
    step: &Step,
    contents: &[Vec<u8>],
) -> Read<Option<String>> {
    let rules = attributes.rules(step.path.as_bytes(), place)?;
    let path = &step.path;
    Ok(if rules.foreign || rules.smudge {
        Some(format!("{path} goes through a filter or a conversion that is not done here (gitattributes)"))
    } else if rules.ident || rules.encoding.is_some() {
        Some(format!("{path} has the attribute ident or working-tree-encoding (gitattributes)"))
    } else if rules.writes_crlf {
        Some(format!("{path} is checked out with CRLF line ends (gitattributes or core.autocrlf, core.eol)"))
    } else if rules.eol != crate::adapters::git::convert::Eol::Keep
        && contents.iter().any(|content| content.contains(&b'\r'))
    {
        Some(format!("{path} holds carriage returns, and git would convert its line ends"))
    } else {
        None
    })
}
