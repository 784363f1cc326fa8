//! A git directory, opened once: what one listing tells of its state, and HEAD.
//!
//! Whether a merge is under way, whether the history is shallow, where the common directory is:
//! each is a name in this directory. One listing answers for all of them, where a look at each
//! name would cost more than looking at the files of a small module. A name that a repository
//! cannot be without is asked for by itself before it counts as missing, for a listing may lose
//! a name that is renamed meanwhile.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, openat, readlinkat, statat};

use super::files;

/// The directories of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitDirs {
    /// HEAD, index and what belongs to one work tree.
    pub(super) git_dir: PathBuf,
    /// Objects, refs, config: the same unless this is a linked work tree.
    pub(super) common_dir: PathBuf,
}

/// The names that a listing is asked for.
const NAMES: [&[u8]; 14] = [
    b"BISECT_LOG",
    b"CHERRY_PICK_HEAD",
    b"HEAD",
    b"MERGE_HEAD",
    b"REVERT_HEAD",
    b"commondir",
    b"config.worktree",
    b"index.lock",
    b"objects",
    b"rebase-apply",
    b"rebase-merge",
    b"refs",
    b"reftable",
    b"shallow",
];

/// What HEAD is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HeadFile {
    /// A symlink to a ref, as once.
    Link(Vec<u8>),
    /// A file with this content.
    Content(Vec<u8>),
}

/// An open git directory of a repository that git would accept.
#[derive(Debug)]
pub(super) struct GitDir {
    pub(super) dirs: GitDirs,
    pub(super) head: HeadFile,
    fd: OwnedFd,
    names: Listing,
    /// The common directory where it is another one.
    common: Option<(OwnedFd, Listing)>,
}

impl GitDir {
    /// The directory at `name` below `dir`, which is `git_dir`; `None` when it is no repository:
    /// a HEAD that names a ref or a commit, and (in the common directory) `objects` and `refs`
    /// (`setup.c: is_git_directory`).
    pub(super) fn open(dir: BorrowedFd<'_>, name: &[u8], git_dir: PathBuf) -> Option<Self> {
        let fd = open_directory(dir, name)?;
        let names = Listing::read(fd.as_fd())?;
        let head = head_file(fd.as_fd(), &names)?;
        let common = if names.kind("commondir").is_some() {
            files::read_at(fd.as_fd(), c"commondir", OFlags::empty(), 1 << 20).ok()?
        } else {
            None
        };
        let mut dirs = GitDirs { common_dir: git_dir.clone(), git_dir };
        let common = match common {
            None => None,
            Some(target) => {
                let target = target.trim_ascii_end();
                dirs.common_dir = dirs.git_dir.join(OsStr::from_bytes(target));
                let other = open_directory(fd.as_fd(), target)?;
                let names = Listing::read(other.as_fd())?;
                Some((other, names))
            }
        };
        let git = Self { dirs, head, fd, names, common };
        (git.common_is_directory("objects") && git.common_is_directory("refs")).then_some(git)
    }

    /// The git directory of this work tree.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The common directory.
    pub(super) fn common(&self) -> BorrowedFd<'_> {
        self.common.as_ref().map_or(self.fd.as_fd(), |(fd, _)| fd.as_fd())
    }

    /// Whether the git directory has one of [`NAMES`].
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.kind(name).is_some()
    }

    /// Whether the common directory has one of [`NAMES`].
    pub(super) fn common_has(&self, name: &str) -> bool {
        self.common_names().kind(name).is_some()
    }

    fn common_names(&self) -> &Listing {
        self.common.as_ref().map_or(&self.names, |(_, names)| names)
    }

    fn common_is_directory(&self, name: &str) -> bool {
        self.common_names().kind(name) == Some(FileType::Directory)
            || statat(self.common(), name, AtFlags::empty())
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }
}

fn open_directory(dir: BorrowedFd<'_>, name: &[u8]) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(dir, Path::new(OsStr::from_bytes(name)), flags, Mode::empty()).ok()
}

/// A HEAD that git would accept (`path.c: validate_headref`): a symlink or a `ref:` into `refs/`,
/// or an object id. Where it leads is not asked; with reftable it is a stand-in that leads nowhere.
fn head_file(git_dir: BorrowedFd<'_>, names: &Listing) -> Option<HeadFile> {
    if names.kind("HEAD") != Some(FileType::RegularFile)
        && let Ok(target) = readlinkat(git_dir, c"HEAD", Vec::new())
        && target.to_bytes().starts_with(b"refs/")
    {
        return Some(HeadFile::Link(target.into_bytes()));
    }
    let bytes = files::read_at(git_dir, c"HEAD", OFlags::empty(), 1 << 16).ok()??;
    let accepted = match bytes.strip_prefix(b"ref:") {
        Some(name) => name.trim_ascii_start().starts_with(b"refs/"),
        None => bytes.get(..40).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
    };
    accepted.then_some(HeadFile::Content(bytes))
}

/// Which of [`NAMES`] a directory has, and what the listing says they are.
#[derive(Debug)]
struct Listing([Option<FileType>; NAMES.len()]);

impl Listing {
    fn read(dir: BorrowedFd<'_>) -> Option<Self> {
        let mut found = [None; NAMES.len()];
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(dir, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.ok()?;
            if let Ok(at) = NAMES.binary_search(&entry.file_name().to_bytes()) {
                found[at] = Some(entry.file_type());
            }
        }
        Some(Self(found))
    }

    fn kind(&self, name: &str) -> Option<FileType> {
        NAMES.binary_search(&name.as_bytes()).ok().and_then(|at| self.0[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_in_the_order_in_which_they_are_searched() {
        assert!(NAMES.is_sorted());
    }
}
