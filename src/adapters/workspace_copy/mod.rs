//! A copy of the workspace for a program to change: made, given to the sandbox, read back, removed.
//!
//! In: a commit, the modules, a program. Out: what the program left, path by path, and the proof that
//! the operator's own files are as they were. The copy is in the state directory's `candidates/`,
//! made of git objects alone; nothing else is writable for the program, and it has no network. A copy
//! that a killed process left is removed when the next one is made.

mod left;
mod place;
mod stamp;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::git::GitRepository;
use super::git::copy::Most;
use super::sandbox::{Limits, Profile, Sandbox, Watch};
use crate::domain::health::Exit;
use crate::domain::task::{Untouched, shown_command};
use crate::ports::{PortError, PortResult, Task, Worked, Workshop};

use self::place::Place;
use self::stamp::Stamps;

/// How much is copied at most.
const MOST: Most = Most { bytes: 4 << 30, entries: 500_000 };

/// What a program may use.
const MEMORY_BYTES: u64 = 4 << 30;
const FILE_BYTES: u64 = 256 << 20;
const ADDED_BYTES: u64 = 1 << 30;

/// Makes copies and runs programs on them.
#[derive(Debug)]
pub struct WorkspaceCopy<'a> {
    repository: &'a GitRepository,
    sandbox: Sandbox,
    /// The state directory, and where the copies are in it.
    state: PathBuf,
    candidates: PathBuf,
    read: Vec<PathBuf>,
}

impl<'a> WorkspaceCopy<'a> {
    /// Copies of this workspace, in a directory of the state directory.
    #[must_use]
    pub fn new(repository: &'a GitRepository, sandbox: Sandbox, state: &Path, candidates: &Path) -> Self {
        let (state, candidates) = (state.to_owned(), candidates.to_owned());
        Self { repository, sandbox, state, candidates, read: Vec::new() }
    }

    /// The same, whose programs may also read these files and directories.
    #[must_use]
    pub fn reading(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.read.extend(paths);
        self
    }

    fn profile(&self, task: &Task<'_>, copy: &Path) -> Profile {
        let limits = Limits {
            deadline: task.deadline,
            cpu: task.deadline.saturating_mul(4).max(Duration::from_mins(5)),
            memory_bytes: MEMORY_BYTES,
            file_bytes: FILE_BYTES,
            tmp_bytes: ADDED_BYTES,
            output_bytes: task.output_bytes,
            ..Limits::default()
        };
        let program = task.argv.first().map(PathBuf::from).filter(|program| program.is_absolute());
        let mut profile = Profile::new(limits).write(copy).cwd(copy);
        for path in self.read.iter().cloned().chain(program) {
            profile = profile.read(path);
        }
        // Whoever owns the copy inside the sandbox, it is the program's own repository.
        profile
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .env("GIT_TERMINAL_PROMPT", "0")
    }
}

impl Workshop for WorkspaceCopy<'_> {
    fn work(&self, task: &Task<'_>, stop: &dyn Fn() -> bool) -> PortResult<Worked> {
        self.sandbox.fingerprint().map_err(|why| {
            PortError::failed("cannot run a command on a copy of the workspace")
                .because(std::io::Error::other(why))
                .hint("lambda-os doctor says what this machine lacks")
        })?;
        let place = Place::make(&self.candidates)?;
        let watched = [self.repository.work_tree(), self.repository.git_dir(), self.repository.common_dir()];
        let before = Stamps::of(&watched, &self.state)?;
        let copied = self.repository.write_copy(task.base, task.modules, &place.copy(), MOST)?;
        let theirs = left::stamped(&place.copy(), &copied);
        let argv: Vec<OsString> = task.argv.to_vec();
        let confined = self.sandbox.run(&self.profile(task, &place.copy()), &argv, b"", &mut |_| {
            if stop() { Watch::Enough } else { Watch::GoOn }
        });
        let after = Stamps::of(&watched, &self.state)?;
        if let Some(why) = &confined.trouble {
            return Err(
                PortError::failed("cannot run the command").because(std::io::Error::other(why.clone()))
            );
        }
        let mut notes = copied.notes.clone();
        if confined.left_behind > 0 {
            notes.push(format!("{} processes that it left behind were ended", confined.left_behind));
        }
        let mut left = Vec::new();
        if confined.exit == Exit::Code(0) {
            let found = left::differences(&place.copy(), &copied, &theirs);
            if found.ignored > 0 {
                notes.push(format!(
                    "{} new files are left out: the workspace's .gitignore names them",
                    found.ignored
                ));
            }
            left = found.left;
        }
        let bytes: Vec<Vec<u8>> = task.argv.iter().map(|argument| argument.as_bytes().to_vec()).collect();
        place.remove()?;
        Ok(Worked {
            command: shown_command(&bytes),
            left,
            own: copied.own.into_keys().chain(copied.modules.keys().cloned()).collect(),
            modules: copied.modules,
            log: confined.log(),
            exit: confined.exit,
            stdout: confined.stdout.stream(),
            stderr: confined.stderr.stream(),
            sandbox: confined.report,
            duration: confined.duration,
            workspace: Untouched {
                before: before.identity(),
                after: after.identity(),
                entries: before.len(),
                differ: before.differ(&after),
            },
            notes,
        })
    }
}
