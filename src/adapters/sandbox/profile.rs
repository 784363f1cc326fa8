//! What a program may do in the sandbox, and what came of it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::health::{Exit, SandboxReport, Stream};
use crate::domain::id::Cid;

/// Stands for the sandbox's private temporary directory, as the program sees it, wherever it occurs
/// in an argument or in the value of an environment variable. No real argument can hold a NUL.
pub const TMP: &str = "\0tmp";

/// What a program may see, write and use. It starts in its private temporary directory, which is
/// also its home, with nothing else to write and nothing to read but the system's programs.
#[derive(Debug, Clone)]
pub struct Profile {
    pub(super) read: Vec<PathBuf>,
    pub(super) write: Vec<PathBuf>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) limits: Limits,
    pub(super) sockets: Sockets,
}

/// Whether the program's processes may connect to sockets by path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sockets {
    /// To none: listening is all.
    None,
    /// To their own. Where they cannot be kept from those of other programs, nothing is run.
    Own,
}

/// Bounds on a program and everything that it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Monotonic time until all of it is killed.
    pub deadline: Duration,
    /// Memory of all processes together, bytes.
    pub memory_bytes: u64,
    /// Processes and threads at a time.
    pub processes: u64,
    /// Processor time of all processes together.
    pub cpu: Duration,
    /// The largest single file.
    pub file_bytes: u64,
    /// What the private temporary directory may hold, and what may be added to what is writable.
    pub tmp_bytes: u64,
    /// Files and directories in it.
    pub tmp_files: u64,
    /// What may be written to each output stream.
    pub output_bytes: u64,
    /// Open descriptors of one process.
    pub open_files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_mins(1),
            memory_bytes: 2 << 30,
            processes: 512,
            cpu: Duration::from_mins(5),
            file_bytes: 1 << 30,
            tmp_bytes: 512 << 20,
            tmp_files: 100_000,
            output_bytes: 64 << 20,
            open_files: 1024,
        }
    }
}

impl Profile {
    /// Nothing but the system's programs, within these bounds.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            read: Vec::new(),
            write: Vec::new(),
            env: Vec::new(),
            cwd: None,
            limits,
            sockets: Sockets::None,
        }
    }

    /// It may read this file or directory, at its own path. What is not there is left out.
    #[must_use]
    pub fn read(mut self, path: impl Into<PathBuf>) -> Self {
        self.read.push(path.into());
        self
    }

    /// It may read and write this directory, at its own path.
    #[must_use]
    pub fn write(mut self, path: impl Into<PathBuf>) -> Self {
        self.write.push(path.into());
        self
    }

    /// One more environment variable; a later one wins. `PATH`, `HOME`, `TMPDIR`, `XDG_RUNTIME_DIR`
    /// and `LC_ALL` are there already; nothing is inherited.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Where it starts; something that it may read.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Its processes connect to each other's sockets by path.
    #[must_use]
    pub fn own_sockets(mut self) -> Self {
        self.sockets = Sockets::Own;
        self
    }

    /// Its bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// What whoever watches sees of a running program.
#[derive(Debug)]
pub struct Look<'a> {
    /// The sandbox's temporary directory, seen from outside, while it runs. What is in it was put
    /// there by the program: symlinks too, which would lead out of the sandbox when followed.
    pub tmp: &'a Path,
    /// What it wrote to its standard output so far; of much, the beginning and the end.
    pub stdout: &'a [u8],
    /// The same of its standard error.
    pub stderr: &'a [u8],
    /// How long it has been running.
    pub elapsed: Duration,
}

/// What whoever watches wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watch {
    /// It goes on.
    GoOn,
    /// Enough was seen: it is ended ([`Exit::Stopped`]).
    Enough,
    /// It is over a bound that is not ours: which ([`Exit::Bound`]).
    Stop(String),
}

/// What came of a program.
#[derive(Debug, Clone)]
pub struct Confined {
    /// How it ended.
    pub exit: Exit,
    /// Why it did not run ([`Exit::NotRun`]), as a sentence without a final stop. Says nothing of
    /// the program: whoever asked does not know.
    pub trouble: Option<String>,
    /// What it wrote to its standard output.
    pub stdout: Captured,
    /// What it wrote to its standard error.
    pub stderr: Captured,
    /// How it was confined.
    pub report: SandboxReport,
    /// How long it took.
    pub duration: Duration,
    /// Processes that it left behind when it ended by itself; they were killed.
    pub left_behind: u64,
}

/// What was written to a stream: counted and hashed whole, kept in part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    /// Of much, the beginning and the end, with a line between them that says so.
    pub bytes: Vec<u8>,
    /// How many bytes there were.
    pub total: u64,
    /// Their identity; absent when there were none.
    pub digest: Option<Cid>,
}

impl Captured {
    /// For the evidence.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream { bytes: self.total, digest: self.digest }
    }
}

impl Confined {
    /// Of a program that did not run.
    #[must_use]
    pub(super) fn not_run(why: String, report: SandboxReport) -> Self {
        Self {
            exit: Exit::NotRun,
            trouble: Some(why),
            stdout: Captured::default(),
            stderr: Captured::default(),
            report,
            duration: Duration::ZERO,
            left_behind: 0,
        }
    }

    /// Both streams, bounded, as a log.
    #[must_use]
    pub fn log(&self) -> Vec<u8> {
        let mut log = Vec::with_capacity(self.stdout.bytes.len() + self.stderr.bytes.len() + 32);
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if stream.bytes.is_empty() {
                continue;
            }
            log.extend_from_slice(format!("--- {name}, {} bytes\n", stream.total).as_bytes());
            log.extend_from_slice(&stream.bytes);
            if !log.ends_with(b"\n") {
                log.push(b'\n');
            }
        }
        log
    }
}
