//! A program whose streams somebody else attends to: the supervisor of the sandbox, and its keeper.
//!
//! As for [`Invocation`](super::Invocation): argument vectors only, and nothing of the environment
//! but what the caller composes. Dropping a [`Live`] kills it; what it started is its owner's to end.

#![expect(clippy::disallowed_methods, reason = "this is the adapter that starts programs")]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

/// A program about to be started.
#[derive(Debug)]
pub struct Start<'a> {
    /// The program; an absolute path.
    pub program: &'a OsStr,
    /// Its arguments, without its name.
    pub args: &'a [OsString],
    /// All of its environment.
    pub env: &'a [(OsString, OsString)],
    /// Where it runs.
    pub cwd: &'a Path,
    /// What it reads.
    pub stdin: Input,
    /// Where its two output streams go.
    pub output: Out,
    /// The user and group it becomes, with no other groups; needs the right to do so.
    pub user: Option<u32>,
    /// Whether it begins a process group. One that does cannot begin a session.
    pub group: Group,
}

/// Which process group a program is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// One of its own.
    Own,
    /// Ours.
    Ours,
}

/// Where a program's standard input comes from.
#[derive(Debug)]
pub enum Input {
    /// There is none.
    Nothing,
    /// A pipe, see [`Live::take_stdin`].
    Pipe,
    /// This descriptor.
    Fd(OwnedFd),
}

/// Where a program's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// Two pipes, see [`Live::take_output`].
    Pipes,
    /// Where ours goes.
    Inherited,
    /// Both where our standard error goes: our standard output stays ours.
    Stderr,
}

/// A program that runs.
#[derive(Debug)]
pub struct Live {
    child: Child,
    pidfd: OwnedFd,
    group: Group,
    ended: Option<ExitStatus>,
}

impl Live {
    /// Start a program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(start: Start<'_>) -> io::Result<Self> {
        let mut command = Command::new(start.program);
        command.args(start.args).env_clear().envs(start.env.iter().map(|(key, value)| (key, value)));
        command.current_dir(start.cwd);
        if start.group == Group::Own {
            command.process_group(0);
        }
        command.stdin(match start.stdin {
            Input::Nothing => Stdio::null(),
            Input::Pipe => Stdio::piped(),
            Input::Fd(fd) => Stdio::from(fd),
        });
        match start.output {
            Out::Pipes => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
            Out::Inherited => {}
            Out::Stderr => {
                command.stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?));
            }
        }
        if let Some(id) = start.user {
            command.uid(id).gid(id);
        }
        let mut child = command.spawn()?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { child, pidfd, group: start.group, ended: None }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// A descriptor that is readable once it has ended.
    #[must_use]
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// The pipe it reads, once.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The pipes it writes, non-blocking, once.
    ///
    /// # Errors
    /// When they cannot be made non-blocking.
    pub fn take_output(&mut self) -> io::Result<(Option<ChildStdout>, Option<ChildStderr>)> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        for fd in stdout.iter().map(AsFd::as_fd).chain(stderr.iter().map(AsFd::as_fd)) {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok((stdout, stderr))
    }

    /// Leave its end to whoever waits for all children of this process.
    #[must_use]
    pub fn release(mut self) -> (Pid, Option<ChildStdin>) {
        // Marked as ended, so that dropping it does nothing.
        self.ended = Some(ExitStatus::default());
        (self.pid(), self.child.stdin.take())
    }

    /// Kill it, and the process group that it began.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            // Not waited for yet, so the number is still its own. ESRCH: it is gone, as wanted.
            if self.group == Group::Own {
                let _ = kill_process_group(self.pid(), Signal::KILL);
            }
            let _ = kill_process(self.pid(), Signal::KILL);
        }
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    /// When it was waited for elsewhere.
    pub fn has_ended(&mut self) -> io::Result<Option<Ended>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended.map(Ended::of))
    }

    /// Wait for its end.
    ///
    /// # Errors
    /// When it was waited for elsewhere.
    pub fn wait(&mut self) -> io::Result<Ended> {
        let status = match self.ended {
            Some(status) => status,
            None => *self.ended.insert(self.child.wait()?),
        };
        Ok(Ended::of(status))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Ended {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            // Neither is not possible for a process that was waited for to its end.
            (None, None) => Self::Code(-1),
        }
    }
}
