//! git's index lock, held by us under a content that says so.
//!
//! `index.lock` keeps every other git from changing the index. It appears with its content in one
//! step (a link to a synced file), so that after a crash ours can be told from anybody else's: ours
//! is taken over by the landing that left it, another one is never touched.

use std::io;
use std::path::{Path, PathBuf};

use crate::adapters::durable::{self, Disk, Open};
use crate::adapters::git::files::shown;
use crate::adapters::git::superproject::{not_done, not_written};
use crate::ports::{FailureKind, Landing, PortError, PortResult};

/// The held lock. Dropping it leaves it held: a landing that failed half way must keep others out.
pub(super) struct IndexLock<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
}

/// What a lock of this landing holds.
pub(super) fn marker(landing: &Landing) -> Vec<u8> {
    format!(
        "lambda-os landing\n{}\n{}\n{}\nlambda-os run --once finishes or undoes it\n",
        landing.reference, landing.expected, landing.target
    )
    .into_bytes()
}

impl<'a> IndexLock<'a> {
    /// Take the lock of a git directory; one that this landing left is taken over.
    pub(super) fn take(disk: &'a dyn Disk, git_dir: &Path, marker: &[u8]) -> PortResult<Self> {
        let path = git_dir.join("index.lock");
        if is_ours(git_dir, marker) {
            return Ok(Self { disk, path });
        }
        if path.symlink_metadata().is_ok() {
            return Err(busy(&path));
        }
        let temp = git_dir.join(durable::temp_name(Path::new("index.lock.lambda-os")));
        let linked = write(disk, &temp, marker).and_then(|()| disk.link(&temp, &path));
        let removed = match disk.remove(&temp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(busy(&path)),
            Err(error) => return Err(not_done("take the lock", &path, error)),
        }
        let lock = Self { disk, path };
        match removed {
            Ok(()) => Ok(lock),
            Err(error) => {
                lock.release()?;
                Err(not_done("remove", &temp, error))
            }
        }
    }

    /// Let others go on.
    pub(super) fn release(self) -> PortResult<()> {
        self.disk.remove(&self.path).map_err(|error| not_done("let go of the lock", &self.path, error))?;
        let dir = self.path.parent().unwrap_or(&self.path);
        self.disk
            .sync_dir(dir)
            .map_err(|error| not_written("the directory", dir, durable::WriteError::Unknown(error)))
    }
}

/// True when the lock that stands is one that this landing left.
pub(super) fn is_ours(git_dir: &Path, marker: &[u8]) -> bool {
    crate::adapters::git::files::read(&git_dir.join("index.lock"), 1 << 16)
        .is_ok_and(|found| found.as_deref() == Some(marker))
}

fn write(disk: &dyn Disk, temp: &Path, marker: &[u8]) -> io::Result<()> {
    match disk.remove(temp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(temp, Open::NewWith(0o666))?;
    durable::write_all_at(disk, &file, marker, 0)?;
    // A lock that a power cut emptied could not be told from another program's.
    disk.sync_data(&file)
}

/// What a lock that somebody else holds means.
pub(super) fn busy(path: &Path) -> PortError {
    PortError::failed(format!("cannot change the index: {} is there, another git works on it", shown(path)))
        .kind(FailureKind::Busy)
        .hint(
            "wait for that git; when none runs any more, remove the file yourself: it is never removed here",
        )
}
