//! Reading files that others wrote: bounded, never blocking, never leaving the tree.
//!
//! A repository can hold a FIFO where a file is expected, a symlink where a directory is
//! expected, or a file of a terabyte. What is opened here is a regular file, is read up to a
//! bound, and, where a path comes from a repository, no symlink on the way is followed.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

use crate::domain::text;

/// Why something could not be read: a whole sentence without a final stop, inert.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Trouble(pub(super) String);

/// What reading gives.
pub(super) type Read<T> = Result<T, Trouble>;

impl Trouble {
    /// "cannot `attempted` `path`: `cause`".
    pub(super) fn with(attempted: &str, path: &Path, cause: impl std::fmt::Display) -> Self {
        let cause = text::inert(&cause.to_string());
        Self(format!("cannot {attempted} {}: {cause}", shown(path)))
    }
}

/// A path made inert.
pub(super) fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    text::inert_bytes(path.as_os_str().as_bytes())
}

/// The largest file of git's own (config, index excepted, ignore, attributes) that is read.
pub(super) const MAX_TEXT: u64 = 16 << 20;

/// A regular file's content; `None` when there is none at the path, or it is no regular file.
///
/// # Errors
/// When it is there and cannot be read, or is larger than `max`.
pub(super) fn read(path: &Path, max: u64) -> Read<Option<Vec<u8>>> {
    read_at(CWD, path, OFlags::empty(), max).map_err(|error| Trouble::with("read", path, error))
}

/// As [`read`], relative to a directory; `flags` may hold `NOFOLLOW`.
pub(super) fn read_at(
    dir: BorrowedFd<'_>,
    name: impl rustix::path::Arg,
    flags: OFlags,
    max: u64,
) -> std::io::Result<Option<Vec<u8>>> {
    Ok(read_with_stat_at(dir, name, flags, max)?.map(|(bytes, _)| bytes))
}

/// As [`read_at`], with the stat data that the open file had before it was read.
pub(super) fn read_with_stat_at(
    dir: BorrowedFd<'_>,
    name: impl rustix::path::Arg,
    flags: OFlags,
    max: u64,
) -> std::io::Result<Option<(Vec<u8>, Stat)>> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        // ELOOP: a symlink, and NOFOLLOW was asked for. ENXIO: a socket.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::ISDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stat = fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let too_large = || std::io::Error::other(format!("it is larger than {max} bytes"));
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > max {
        return Err(too_large());
    }
    let size = usize::try_from(size).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size.saturating_add(1));
    loop {
        match rustix::io::read(&fd, spare_capacity(&mut bytes)) {
            Ok(0) => break,
            // One byte more was asked for: the file ends where its size says.
            Ok(_) if bytes.len() == size => break,
            Ok(_) if u64::try_from(bytes.len()).is_ok_and(|length| length > max) => return Err(too_large()),
            Ok(_) => bytes.reserve(4096),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some((bytes, stat)))
}

/// What stands in the way of a directory below another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocked {
    /// There is nothing.
    Absent,
    /// The last component is no directory (a file or a symlink).
    NotDirectory,
    /// A component before the last is a symlink or no directory.
    Parent,
    /// Something else.
    Errno(Errno),
}

/// The directory at a relative path, following no symlink at all and never going up.
pub(super) fn directory_beneath(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Blocked> {
    let mut at: Option<OwnedFd> = None;
    let mut components = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = components.next() {
        let last = components.peek().is_none();
        if name.is_empty() || name == b"." || name == b".." {
            return Err(Blocked::Parent);
        }
        let dir = at.as_ref().map_or(root, AsFd::as_fd);
        at = Some(open_directory(dir, name).map_err(|error| match error {
            Errno::NOENT => Blocked::Absent,
            Errno::NOTDIR | Errno::LOOP if last => Blocked::NotDirectory,
            Errno::NOTDIR | Errno::LOOP => Blocked::Parent,
            other => Blocked::Errno(other),
        })?);
    }
    at.ok_or(Blocked::Parent)
}

/// A directory below another one, not a symlink to one.
pub(super) fn open_directory(
    dir: BorrowedFd<'_>,
    name: impl rustix::path::Arg,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

/// A directory by its path, symlinks followed: for directories that the operator or git named.
pub(super) fn open_directory_at(path: &Path) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A regular file below a directory for reading, following no symlink on the way.
pub(super) fn file_beneath(root: BorrowedFd<'_>, path: &[u8]) -> std::io::Result<File> {
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (Some(&path[..slash]), &path[slash + 1..]),
        None => (None, path),
    };
    let parent = match parent {
        Some(parent) => Some(
            directory_beneath(root, parent)
                .map_err(|_| std::io::Error::other("a directory on the way is not there any more"))?,
        ),
        None => None,
    };
    let dir = parent.as_ref().map_or(root, AsFd::as_fd);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let fd = openat(dir, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&fd)?.st_mode) != FileType::RegularFile {
        return Err(std::io::Error::other("it is no regular file"));
    }
    Ok(File::from(fd))
}
