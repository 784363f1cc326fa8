//! HEAD and the refs it leads to, from loose and packed files.
//!
//! Ref names come from the repository: a name that git would refuse is not opened as a file.
//! The reftable format is read by [`super::plumbing`].

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, readlinkat};

use super::checkout::Opened;
use super::files::{self, Read, Trouble};
use super::gitdir::{GitDir, GitDirs, HeadFile};
use super::plumbing::Plumbing;
use crate::domain::id::ObjectId;

/// The largest `packed-refs` that is read.
const MAX_PACKED: u64 = 256 << 20;
/// How many symbolic refs may follow each other (`refs.c: SYMREF_MAXDEPTH`).
const MAX_SYMBOLIC: usize = 5;

/// What HEAD says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Head {
    /// The branch that it names, without `refs/heads/`.
    pub(super) branch: Option<String>,
    /// True when it names a commit.
    pub(super) detached: bool,
    /// The commit; `None` on an unborn branch.
    pub(super) id: Option<ObjectId>,
}

enum Target {
    Symbolic(Vec<u8>),
    Direct(ObjectId),
}

/// HEAD of a work tree.
pub(super) fn head(git: &GitDir) -> Read<Head> {
    let dirs = &git.dirs;
    let file = || dirs.git_dir.join("HEAD");
    let first = match &git.head {
        HeadFile::Link(target) => link(target, file)?,
        HeadFile::Content(bytes) => content(bytes, file)?,
    };
    let name = match first {
        Target::Direct(id) => return Ok(Head { branch: None, detached: true, id: Some(id) }),
        Target::Symbolic(name) => name,
    };
    let branch = name.strip_prefix(b"refs/heads/").unwrap_or(&name);
    let branch = Some(String::from_utf8_lossy(branch).into_owned());
    Ok(Head { branch, detached: false, id: follow(dirs, name)? })
}

/// The commit at the end of a line of symbolic refs.
fn follow(dirs: &GitDirs, mut name: Vec<u8>) -> Read<Option<ObjectId>> {
    for _ in 0..MAX_SYMBOLIC {
        let dir = if is_per_worktree(&name) { &dirs.git_dir } else { &dirs.common_dir };
        let found = match loose(&dir.join(OsStr::from_bytes(&name)))? {
            Some(found) => Some(found),
            None => packed(&dirs.common_dir, &name)?.map(Target::Direct),
        };
        match found {
            None => return Ok(None),
            Some(Target::Direct(id)) => return Ok(Some(id)),
            Some(Target::Symbolic(next)) => name = next,
        }
    }
    Err(Trouble::with("resolve", &dirs.git_dir.join("HEAD"), "symbolic refs lead in a circle"))
}

/// The commit that a ref names by its full name, through symbolic refs; `None` when there is none.
pub(super) fn resolve(opened: &Opened, name: &[u8]) -> Read<Option<ObjectId>> {
    let dirs = &opened.git.dirs;
    if !is_valid_name(name) {
        return Err(Trouble(format!("{} is no name of a ref", crate::domain::text::inert_bytes(name))));
    }
    if opened.reftable {
        return Plumbing::new(dirs, &opened.path).resolve(&String::from_utf8_lossy(name));
    }
    follow(dirs, name.to_vec())
}

fn is_per_worktree(name: &[u8]) -> bool {
    !name.starts_with(b"refs/")
        || [&b"refs/bisect/"[..], b"refs/worktree/", b"refs/rewritten/"]
            .iter()
            .any(|kind| name.starts_with(kind))
}

/// A ref in a file of its own: `ref: NAME`, a commit, or (as once) a symlink to another ref.
fn loose(file: &Path) -> Read<Option<Target>> {
    if let Ok(target) = readlinkat(CWD, file, Vec::new())
        && target.to_bytes().starts_with(b"refs/")
    {
        return link(target.to_bytes(), || file.to_owned()).map(Some);
    }
    let Some(bytes) = files::read(file, 1 << 16)? else { return Ok(None) };
    content(&bytes, || file.to_owned()).map(Some)
}

/// A symlink into `refs/`.
fn link(target: &[u8], file: impl FnOnce() -> PathBuf) -> Read<Target> {
    if is_valid_name(target) {
        Ok(Target::Symbolic(target.to_vec()))
    } else {
        Err(Trouble::with("read", &file(), "it names no valid ref"))
    }
}

/// The content of a ref's file.
fn content(bytes: &[u8], file: impl FnOnce() -> PathBuf) -> Read<Target> {
    if let Some(name) = bytes.strip_prefix(b"ref:") {
        return link(name.trim_ascii(), file);
    }
    let word = bytes.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let id = std::str::from_utf8(word).ok().and_then(|hex| hex.parse().ok());
    id.map(Target::Direct).ok_or_else(|| Trouble::with("read", &file(), "it holds no ref"))
}

/// git-check-ref-format(1), as far as it keeps a name inside `refs/`.
fn is_valid_name(name: &[u8]) -> bool {
    name.starts_with(b"refs/")
        && name.split(|byte| *byte == b'/').all(|part| !part.is_empty() && !part.starts_with(b"."))
        && !name.windows(2).any(|pair| pair == b"..")
        && !name.iter().any(|byte| *byte <= b' ' || *byte == 0x7f || b"~^:?*[\\".contains(byte))
}

/// A ref in `packed-refs`: lines `ID NAME`, sorted or not; peeled lines begin with `^`.
fn packed(common_dir: &Path, name: &[u8]) -> Read<Option<ObjectId>> {
    let Some(bytes) = files::read(&common_dir.join("packed-refs"), MAX_PACKED)? else { return Ok(None) };
    Ok(bytes.split(|byte| *byte == b'\n').find_map(|line| {
        let rest = line.strip_suffix(name)?.strip_suffix(b" ")?;
        std::str::from_utf8(rest).ok()?.parse().ok()
    }))
}
