//! Locks between processes: `flock` on a file in the state directory.
//!
//! The kernel lets go of them when the process ends, however it ends, so that a lock is never
//! stale; the process id in the file is only there to be named, and old content is harmless.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::durable::{self, Disk as _, Open, RealDisk};
use super::state_dir::StateDir;
use crate::domain::text;
use crate::ports::{FailureKind, PortError, PortResult};

/// How long an append waits for another process's append.
pub const JOURNAL_WAIT: Duration = Duration::from_secs(30);

/// The right to run a cycle: one daemon or `run --once` at a time. Let go when dropped.
#[derive(Debug)]
pub struct CycleLock {
    _held: File,
}

impl CycleLock {
    /// Take the lock, or say who has it. Does not wait.
    ///
    /// # Errors
    /// Busy, naming the holder's process id; or the lock file cannot be made.
    pub fn acquire(state: &StateDir) -> PortResult<Self> {
        state.prepare()?;
        let path = state.daemon_lock();
        let file = open(&path)?;
        match file.try_lock() {
            Ok(()) => {
                write_holder(&file, &path)?;
                Ok(Self { _held: file })
            }
            Err(TryLockError::WouldBlock) => {
                let holder = holder(&file)
                    .map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
                Err(PortError::failed(format!(
                    "cannot start a cycle: {holder} runs one, and holds {}",
                    shown(&path)
                ))
                .kind(FailureKind::Busy)
                .hint("wait for it to end, or stop it; the lock goes with the process"))
            }
            Err(TryLockError::Error(error)) => {
                Err(durable::port_error(format!("cannot lock {}", shown(&path)), error))
            }
        }
    }

    /// The process that holds the lock now, without taking it. `Some(None)` when it is held by
    /// a process that has not said its id.
    #[must_use]
    pub fn holder(state: &StateDir) -> Option<Option<u32>> {
        let file = File::open(state.daemon_lock()).ok()?;
        match file.try_lock_shared() {
            Ok(()) => None,
            Err(_) => Some(holder(&file)),
        }
    }
}

/// The right to append to the journal: held for one append. Let go when dropped.
#[derive(Debug)]
pub(super) struct JournalLock {
    _held: File,
}

impl JournalLock {
    /// Take the lock, waiting for others at most `wait`.
    pub(super) fn acquire(state: &StateDir, wait: Duration) -> PortResult<Self> {
        let path = state.journal_lock();
        let file = open(&path)?;
        let started = Instant::now();
        let mut pause = Duration::from_micros(200);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if started.elapsed() < wait => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&file)
                        .map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
                    return Err(PortError::failed(format!(
                        "cannot append to the journal: {holder} has held {} for more than {} s",
                        shown(&path),
                        wait.as_secs()
                    ))
                    .kind(FailureKind::Busy)
                    .hint("look at that process: an append takes milliseconds"));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(durable::port_error(format!("cannot lock {}", shown(&path)), error));
                }
            }
        }
        // Only for the message above; a full disk must not stop an append here.
        let _ = write_holder(&file, &path);
        Ok(Self { _held: file })
    }

    /// Take the lock only when nobody has it.
    pub(super) fn try_acquire(state: &StateDir) -> Option<Self> {
        let file = open(&state.journal_lock()).ok()?;
        file.try_lock().ok()?;
        Some(Self { _held: file })
    }
}

fn open(path: &Path) -> PortResult<File> {
    RealDisk
        .open(path, Open::Keep)
        .and_then(|file| file.try_clone())
        .map_err(|error| durable::port_error(format!("cannot open the lock file {}", shown(path)), error))
}

/// Ten digits and a newline, and only the first line counts: old content is never taken for an id.
fn write_holder(file: &File, path: &Path) -> PortResult<()> {
    use std::os::unix::fs::FileExt as _;
    file.write_all_at(format!("{:>10}\n", std::process::id()).as_bytes(), 0)
        .map_err(|error| durable::port_error(format!("cannot write {}", shown(path)), error))
}

fn holder(file: &File) -> Option<u32> {
    let mut said = String::new();
    let mut start: &File = file;
    io::Seek::rewind(&mut start).ok()?;
    start.take(64).read_to_string(&mut said).ok()?;
    said.lines().next()?.trim().parse().ok()
}

fn shown(path: &Path) -> String {
    text::git_quoted(path.as_os_str().as_bytes())
}
