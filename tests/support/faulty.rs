//! A disk on which one chosen call fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lambda_os::adapters::durable::{Disk, DiskFile, Open, RealDisk};

/// How a chosen call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does nothing and says this.
    Fails(rustix::io::Errno),
    /// The call fails after it did its work.
    FailsButPersists,
    /// A write takes only half, then the disk is full.
    Short,
    /// It does nothing, and neither does any later call: as if the process were killed here.
    Stops,
}

/// The machine's disk, but for one call.
#[derive(Debug, Clone)]
pub struct Faulty {
    countdown: Arc<Mutex<Option<usize>>>,
    fault: Fault,
    full: Arc<Mutex<bool>>,
    stopped: Arc<Mutex<bool>>,
    failed: Arc<Mutex<Option<(&'static str, PathBuf)>>>,
}

impl Faulty {
    /// The call after `at` others fails.
    pub fn at(at: usize, fault: Fault) -> Self {
        Self {
            countdown: Arc::new(Mutex::new(Some(at))),
            fault,
            full: Arc::default(),
            stopped: Arc::default(),
            failed: Arc::default(),
        }
    }

    /// The call that failed, if its turn came.
    pub fn failed(&self) -> Option<&'static str> {
        self.failed.lock().expect("no panic meanwhile").as_ref().map(|(name, _)| *name)
    }

    /// On what it failed.
    pub fn failed_on(&self) -> Option<PathBuf> {
        self.failed.lock().expect("no panic meanwhile").as_ref().map(|(_, path)| path.clone())
    }

    /// Runs the call, failing it when it is its turn.
    fn turn<T>(
        &self,
        name: &'static str,
        path: &Path,
        call: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        if *self.stopped.lock().expect("no panic meanwhile") {
            return Err(rustix::io::Errno::IO.into());
        }
        let mut countdown = self.countdown.lock().expect("no panic meanwhile");
        match countdown.as_mut() {
            Some(0) => {
                *countdown = None;
                *self.failed.lock().expect("no panic meanwhile") = Some((name, path.to_owned()));
                match self.fault {
                    Fault::Fails(errno) => Err(errno.into()),
                    Fault::FailsButPersists => call().and(Err(rustix::io::Errno::IO.into())),
                    Fault::Short => Err(rustix::io::Errno::NOSPC.into()),
                    Fault::Stops => {
                        *self.stopped.lock().expect("no panic meanwhile") = true;
                        Err(rustix::io::Errno::IO.into())
                    }
                }
            }
            Some(left) => {
                *left -= 1;
                call()
            }
            None => call(),
        }
    }
}

impl Disk for Faulty {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.turn("create_dir", path, || RealDisk.create_dir(path))
    }
    fn open(&self, path: &Path, how: Open) -> io::Result<DiskFile> {
        self.turn("open", path, || RealDisk.open(path, how))
    }
    fn write_at(&self, file: &DiskFile, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut full = self.full.lock().expect("no panic meanwhile");
        if std::mem::take(&mut *full) {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        let mut countdown = self.countdown.lock().expect("no panic meanwhile");
        if self.fault == Fault::Short && *countdown == Some(0) {
            *countdown = None;
            *self.failed.lock().expect("no panic meanwhile") = Some(("write_at", file.path().to_owned()));
            *full = true;
            return RealDisk.write_at(file, &bytes[..bytes.len() / 2], offset);
        }
        drop((full, countdown));
        self.turn("write_at", file.path(), || RealDisk.write_at(file, bytes, offset))
    }
    fn set_len(&self, file: &DiskFile, length: u64) -> io::Result<()> {
        self.turn("set_len", file.path(), || RealDisk.set_len(file, length))
    }
    fn sync_data(&self, file: &DiskFile) -> io::Result<()> {
        self.turn("sync_data", file.path(), || RealDisk.sync_data(file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.turn("rename", to, || RealDisk.rename(from, to))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.turn("sync_dir", path, || RealDisk.sync_dir(path))
    }
    fn sync_all(&self, directory: &Path) -> io::Result<()> {
        self.turn("sync_all", directory, || RealDisk.sync_all(directory))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.turn("remove", path, || RealDisk.remove(path))
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.turn("link", to, || RealDisk.link(from, to))
    }
}
