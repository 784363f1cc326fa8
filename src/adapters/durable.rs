//! Writes that survive power loss, as a list of system calls that tests can cut anywhere.
//!
//! Everything that lambda-os must not lose goes through [`Disk`]: the real one makes system calls
//! and nothing else; the tests' ones fail a chosen call, or record all calls and replay what
//! a power cut would have left. A whole file is written temp → fsync → rename → fsync(directory).
//!
//! An fsync that failed is never repeated: the kernel may have dropped the dirty pages and
//! marked them clean, so that a second fsync "succeeds" (found by the people of `PostgreSQL` in 2018).
//! Who meets a [`WriteError::is_fatal`] stops writing for good and reads again at the next start.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::ports::{FailureKind, PortError};

/// An open file that remembers where it was opened, for messages and for recording disks.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    path: PathBuf,
}

impl DiskFile {
    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Deref for DiskFile {
    type Target = File;
    fn deref(&self) -> &File {
        &self.file
    }
}

/// How a file is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// It must not exist.
    New,
    /// It is made when it is not there; its content stays.
    Keep,
    /// It must not exist, and gets these rights less the umask: for files that are not ours alone.
    NewWith(u32),
}

/// The system calls that change what is on disk. Reading needs no protection and goes around it.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Make a directory with rights 0700; it is no error when it exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Open a file with rights 0600 (see [`Open`]) for reading and writing, never through a symlink
    /// at the end.
    fn open(&self, path: &Path, how: Open) -> io::Result<DiskFile>;
    /// Write at a place; may write less than asked.
    fn write_at(&self, file: &DiskFile, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Cut the file to a length.
    fn set_len(&self, file: &DiskFile, length: u64) -> io::Result<()>;
    /// Put the file's data, and the size needed to read it, on stable storage.
    fn sync_data(&self, file: &DiskFile) -> io::Result<()>;
    /// Put a new name in the place of an old one, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Put a directory's names on stable storage.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Put everything that was written to this directory's file system, data and names, on stable
    /// storage. Cheaper than many syncs of single files; it also waits for what others wrote there.
    fn sync_all(&self, directory: &Path) -> io::Result<()>;
    /// Remove a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Give a file one more name, which must not exist: it appears whole or not at all.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
}

/// The machine's disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            made => made,
        }
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<DiskFile> {
        let mut options = OpenOptions::new();
        let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
        options.read(true).write(true).mode(0o600).custom_flags(no_follow);
        match how {
            Open::New => options.create_new(true),
            Open::NewWith(mode) => options.create_new(true).mode(mode),
            Open::Keep => options.create(true).truncate(false),
        };
        Ok(DiskFile { file: options.open(path)?, path: path.to_owned() })
    }

    fn write_at(&self, file: &DiskFile, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file.file.write_at(bytes, offset)
    }

    fn set_len(&self, file: &DiskFile, length: u64) -> io::Result<()> {
        file.file.set_len(length)
    }

    fn sync_data(&self, file: &DiskFile) -> io::Result<()> {
        file.file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_all(&self, directory: &Path) -> io::Result<()> {
        // Reports what could not be written since Linux 5.8 (syncfs(2)).
        Ok(rustix::fs::syncfs(File::open(directory)?)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }
}

/// A write that did not get to its end, and what it means.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Nothing of it stands; the disk is as before.
    #[error("{0}")]
    Refused(#[source] io::Error),
    /// What stands on disk is not known: stop writing, read again at the next start.
    #[error("{0}")]
    Unknown(#[source] io::Error),
}

impl WriteError {
    /// True when the process must stop writing.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// The system's error.
    #[must_use]
    pub fn io(&self) -> &io::Error {
        match self {
            Self::Refused(error) | Self::Unknown(error) => error,
        }
    }
}

/// Write all bytes at a place, whatever pieces the system takes them in.
pub fn write_all_at(disk: &dyn Disk, file: &DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match disk.write_at(file, &bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => done += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Append bytes at `end` and put them on stable storage. When writing fails (a full disk),
/// the file is cut back to `end`, so that nothing torn stays in the way of the next append.
///
/// # Errors
/// [`WriteError::Refused`] when the file is as before, else [`WriteError::Unknown`].
pub fn append(disk: &dyn Disk, file: &DiskFile, bytes: &[u8], end: u64) -> Result<(), WriteError> {
    if let Err(error) = write_all_at(disk, file, bytes, end) {
        let full = is_full(&error);
        return Err(match disk.set_len(file, end) {
            Ok(()) if full => WriteError::Refused(error),
            _ => WriteError::Unknown(error),
        });
    }
    disk.sync_data(file).map_err(WriteError::Unknown)
}

/// How far a whole-file write must have got when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On stable storage, under its name.
    Synced,
    /// A power cut may leave the old content, the new, or a part of it: for what can be made again.
    Cached,
}

/// Put a whole file in place: readers see the old content or the new, never a mixture.
///
/// # Errors
/// [`WriteError::Refused`] when the old content stands, [`WriteError::Unknown`] when a sync failed.
pub fn write_file(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), WriteError> {
    write_file_via(disk, parent(path), path, bytes, durability)
}

/// As [`write_file`], with the temporary file in another directory of the same file system.
///
/// # Errors
/// As [`write_file`].
pub fn write_file_via(
    disk: &dyn Disk,
    temporary: &Path,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), WriteError> {
    let temp = temporary.join(temp_name(path));
    let attempt = || -> Result<(), WriteError> {
        let file = open_new(disk, &temp, Open::New).map_err(WriteError::Refused)?;
        write_all_at(disk, &file, bytes, 0).map_err(WriteError::Refused)?;
        if durability == Durability::Synced {
            disk.sync_data(&file).map_err(WriteError::Unknown)?;
        }
        disk.rename(&temp, path).map_err(WriteError::Refused)
    };
    if let Err(error) = attempt() {
        // A full disk needs the space back; when even this fails the name is taken over later.
        let _ = disk.remove(&temp);
        return Err(error);
    }
    if durability == Durability::Synced {
        disk.sync_dir(parent(path)).map_err(WriteError::Unknown)?;
    }
    Ok(())
}

/// Put a whole file in place, synced, by way of `temp`, with rights that `open` and `adjusted` give
/// (from those that the umask left to those that are wanted; `None` leaves them). The directory is
/// not synced: the caller does that once for many files.
///
/// # Errors
/// As [`write_file`].
pub fn put_file(
    disk: &dyn Disk,
    temp: &Path,
    path: &Path,
    bytes: &[u8],
    open: Open,
    adjusted: impl Fn(u32) -> Option<u32>,
) -> Result<(), WriteError> {
    use std::os::unix::fs::PermissionsExt as _;
    let attempt = || -> Result<(), WriteError> {
        let file = open_new(disk, temp, open).map_err(WriteError::Refused)?;
        let mode = file.metadata().map_err(WriteError::Refused)?.permissions().mode() & 0o7777;
        if let Some(wanted) = adjusted(mode).filter(|wanted| *wanted != mode) {
            let rights = std::fs::Permissions::from_mode(wanted);
            file.set_permissions(rights).map_err(WriteError::Refused)?;
        }
        write_all_at(disk, &file, bytes, 0).map_err(WriteError::Refused)?;
        disk.sync_data(&file).map_err(WriteError::Unknown)?;
        disk.rename(temp, path).map_err(WriteError::Refused)
    };
    attempt().inspect_err(|_| {
        // A full disk needs the space back; when even this fails the name is taken over later.
        let _ = disk.remove(temp);
    })
}

/// Open a file that must not exist, taking over what a process with our id left when it died:
/// nobody else uses such a name.
pub fn open_new(disk: &dyn Disk, temp: &Path, how: Open) -> io::Result<DiskFile> {
    match disk.open(temp, how) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(temp)?;
            disk.open(temp, how)
        }
        opened => opened,
    }
}

/// A name that no other process writes to, and that [`sweep`] knows.
#[must_use]
pub fn temp_name(path: &Path) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    name
}

/// Remove the temporary files that dead processes left in a directory. Best effort.
pub fn sweep(disk: &dyn Disk, directory: &Path) {
    sweep_named(disk, directory, "");
}

/// As [`sweep`], for names that begin so: where files of others may be too.
pub fn sweep_named(disk: &dyn Disk, directory: &Path, prefix: &str) {
    for found in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if found.file_name().to_str().is_some_and(|name| name.starts_with(prefix) && is_left_over(name)) {
            let _ = disk.remove(&found.path());
        }
    }
}

/// True for a name that [`temp_name`] gave in a process that is gone.
#[must_use]
pub fn is_left_over(name: &str) -> bool {
    named_by(name)
        .is_some_and(|pid| pid != std::process::id() && !Path::new(&format!("/proc/{pid}")).exists())
}

/// True for any name that [`temp_name`] gave: for who knows that nobody writes there now.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    named_by(name).is_some()
}

/// The process that gave a temporary name.
fn named_by(name: &str) -> Option<u32> {
    name.strip_suffix(".tmp")?.rsplit('.').next()?.parse().ok()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// True when the disk, its inodes or the quota are used up: it may work later.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}

/// True when writing is not allowed here at all.
#[must_use]
pub fn is_read_only(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ROFS | Errno::ACCESS | Errno::PERM))
}

/// What an input/output error on the state directory means to the operator.
#[must_use]
pub fn port_error(attempted: impl Into<String>, error: io::Error) -> PortError {
    let failed = PortError::failed(attempted);
    let failed = if is_full(&error) {
        failed.kind(FailureKind::Temporary).hint(
            "free space or inodes on that file system; nothing was half done, and writing resumes by itself",
        )
    } else if is_read_only(&error) {
        failed.hint("the state directory cannot be written: check its owner, its rights and its mount, or give another with --state-dir")
    } else {
        failed
    };
    failed.because(error)
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(error) | WriteError::Unknown(error) => error,
        }
    }
}
