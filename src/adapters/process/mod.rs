//! The one way to start a program.
//!
//! Argument vectors only, an environment that we compose, a deadline, a cap on output,
//! and a process group of its own that is killed as a whole. Nothing is inherited but `PATH`,
//! `HOME` and what the caller passes.

#![expect(clippy::disallowed_methods, reason = "this is the adapter that starts programs")]

pub mod live;

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

/// A program to run: what, where, with which environment and bounds.
#[derive(Debug, Clone)]
pub struct Invocation {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<std::path::PathBuf>,
    stdin: Vec<u8>,
    deadline: Duration,
    output_cap: usize,
    group: Grouping,
}

/// Which processes end with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grouping {
    /// It and its descendants, in a process group of their own.
    Own,
    /// It alone: a process that reads the terminal must stay in the group that has it.
    Terminal,
}

/// What a finished program left.
#[derive(Debug)]
pub struct Output {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output, complete.
    pub stdout: Vec<u8>,
    /// Its standard error, complete.
    pub stderr: Vec<u8>,
}

/// Why a program gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It ran longer than allowed and was killed with all its children.
    #[error("{program} did not finish within {} s and was stopped", deadline.as_secs_f32())]
    Deadline {
        /// The program.
        program: String,
        /// The time it had.
        deadline: Duration,
    },
    /// It wrote more than allowed and was killed with all its children.
    #[error("{program} wrote more than {cap} bytes and was stopped")]
    TooMuchOutput {
        /// The program.
        program: String,
        /// The most bytes allowed, per stream.
        cap: usize,
    },
    /// Whoever watched it said stop; it was killed with all its children.
    #[error("{program} was stopped: {why}")]
    Stopped {
        /// The program.
        program: String,
        /// Why.
        why: String,
    },
    /// Talking to it failed.
    #[error("lost touch with {program}")]
    Io {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Invocation {
    /// A program with nothing but `PATH` and `HOME` in its environment, `LC_ALL=C`,
    /// 60 s and 64 MiB.
    #[must_use]
    pub fn new(program: impl Into<OsString>) -> Self {
        let mut env = vec![("LC_ALL".into(), "C".into())];
        for key in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(key) {
                env.push((key.into(), value));
            }
        }
        Self {
            program: program.into(),
            args: Vec::new(),
            env,
            cwd: None,
            stdin: Vec::new(),
            deadline: Duration::from_mins(1),
            output_cap: 64 << 20,
            group: Grouping::Own,
        }
    }

    /// Let it ask a person at the terminal: it stays in this process's group, so that at its
    /// deadline it is ended alone. Its streams are pipes all the same.
    #[must_use]
    pub fn at_the_terminal(mut self) -> Self {
        self.group = Grouping::Terminal;
        self
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// One more environment variable; a later one wins.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.cwd = Some(dir.as_ref().to_owned());
        self
    }

    /// What it reads; the stream is closed afterwards.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// How long it may take, monotonic.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The most bytes it may write, to each stream.
    #[must_use]
    pub fn output_cap(mut self, bytes: usize) -> Self {
        self.output_cap = bytes;
        self
    }

    /// Run it to its end.
    ///
    /// # Errors
    /// When it cannot be started, takes too long or writes too much. A non-zero exit is
    /// not an error here: see [`Output::status`].
    pub fn run(&self) -> Result<Output, ProcessError> {
        self.run_watched(self.deadline, &mut || None)
    }

    /// As [`Invocation::run`], and ask every so often whether it has to stop, and why: for
    /// bounds on what it does to the disk.
    ///
    /// # Errors
    /// As for `run`, and when `watch` says stop.
    pub fn run_watched(
        &self,
        every: Duration,
        watch: &mut dyn FnMut() -> Option<String>,
    ) -> Result<Output, ProcessError> {
        let program = self.program.to_string_lossy().into_owned();
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(self.env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.group == Grouping::Own {
            command.process_group(0);
        }
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        let child =
            command.spawn().map_err(|source| ProcessError::Start { program: program.clone(), source })?;
        self.attend(child, program, every, watch)
    }

    /// One thread, one poll loop: a descendant that keeps a pipe open cannot hold us.
    fn attend(
        &self,
        mut child: Child,
        program: String,
        every: Duration,
        watch: &mut dyn FnMut() -> Option<String>,
    ) -> Result<Output, ProcessError> {
        let group = Group(Pid::from_child(&child), self.group);
        let lost = |source: std::io::Error| ProcessError::Io { program: program.clone(), source };
        let mut pipes = Pipes::new(&mut child, &self.stdin, self.output_cap).map_err(lost)?;
        let pidfd = pidfd_open(group.0, PidfdFlags::empty()).map_err(|error| lost(error.into()))?;
        let mut until = Instant::now() + self.deadline;
        let mut ended = false;
        let mut looked = Instant::now();
        let result = loop {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                break if ended {
                    Ok(())
                } else {
                    Err(ProcessError::Deadline { program: program.clone(), deadline: self.deadline })
                };
            };
            if ended && pipes.are_drained() {
                break Ok(());
            }
            if looked.elapsed() >= every {
                if let Some(why) = watch() {
                    break Err(ProcessError::Stopped { program: program.clone(), why });
                }
                looked = Instant::now();
            }
            match pipes.turn((!ended).then_some(&pidfd), left.min(every)) {
                Ok(true) => {
                    ended = true;
                    // What it wrote is in the pipes already; whoever still holds them gets a moment.
                    until = until.min(Instant::now() + DRAIN);
                }
                Ok(false) => {}
                Err(source) => break Err(lost(source)),
            }
            if pipes.overflowed() {
                break Err(ProcessError::TooMuchOutput { program: program.clone(), cap: self.output_cap });
            }
        };
        group.kill();
        let status = child.wait().map_err(lost)?;
        result.map(|()| Output { status, stdout: pipes.stdout.bytes, stderr: pipes.stderr.bytes })
    }
}

/// How long to wait for pipes that descendants of an ended program still hold.
const DRAIN: Duration = Duration::from_millis(200);

/// A process group that ends with the program it began with.
struct Group(Pid, Grouping);

impl Group {
    fn kill(&self) {
        // ESRCH means that it is gone already, which is what was wanted.
        let _ = match self.1 {
            Grouping::Own => kill_process_group(self.0, Signal::KILL),
            // Not waited for yet, so the number is still the child's.
            Grouping::Terminal => kill_process(self.0, Signal::KILL),
        };
    }
}

/// The three pipes of a program, all non-blocking.
struct Pipes<'a> {
    stdin: Option<ChildStdin>,
    pending: &'a [u8],
    stdout: Sink<ChildStdout>,
    stderr: Sink<ChildStderr>,
}

/// A pipe that is read up to a cap; `pipe` is `None` after its end.
struct Sink<P> {
    pipe: Option<P>,
    bytes: Vec<u8>,
    cap: usize,
}

impl<'a> Pipes<'a> {
    fn new(child: &mut Child, input: &'a [u8], cap: usize) -> std::io::Result<Self> {
        let stdin = child.stdin.take().filter(|_| !input.is_empty());
        for fd in stdin
            .iter()
            .map(AsFd::as_fd)
            .chain(child.stdout.iter().map(AsFd::as_fd))
            .chain(child.stderr.iter().map(AsFd::as_fd))
        {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(Self {
            stdin,
            pending: input,
            stdout: Sink { pipe: child.stdout.take(), bytes: Vec::new(), cap },
            stderr: Sink { pipe: child.stderr.take(), bytes: Vec::new(), cap },
        })
    }

    /// Wait for something to happen and do it; true when the program has ended.
    fn turn(&mut self, pidfd: Option<&OwnedFd>, left: Duration) -> std::io::Result<bool> {
        let mut fds = Vec::with_capacity(4);
        fds.extend(pidfd.map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(self.stdout.pipe.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(self.stderr.pipe.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(self.stdin.as_ref().map(|fd| PollFd::new(fd, PollFlags::OUT)));
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = pidfd.is_some() && fds.first().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        self.feed();
        self.stdout.drain()?;
        self.stderr.drain()?;
        Ok(ended)
    }

    /// Write what the pipe takes. A program that closes its input has read enough.
    fn feed(&mut self) {
        let Some(pipe) = &mut self.stdin else { return };
        match pipe.write(self.pending) {
            Ok(written) => self.pending = &self.pending[written..],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.pending = &[],
        }
        if self.pending.is_empty() {
            self.stdin = None;
        }
    }

    fn are_drained(&self) -> bool {
        self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }

    fn overflowed(&self) -> bool {
        self.stdout.bytes.len() > self.stdout.cap || self.stderr.bytes.len() > self.stderr.cap
    }
}

impl<P: Read> Sink<P> {
    fn drain(&mut self) -> std::io::Result<()> {
        let mut chunk = [0; 16 << 10];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(read) => {
                    self.bytes.extend_from_slice(&chunk[..read]);
                    if self.bytes.len() > self.cap {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Invocation {
        Invocation::new("/bin/sh").args(["-c", script])
    }

    #[test]
    fn output_and_status_are_complete() {
        let output = shell("cat; echo err >&2; exit 3").stdin("in").run().expect("sh runs");
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"in"[..], &b"err\n"[..]));
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn large_input_and_output_do_not_deadlock() {
        let input = vec![b'x'; 1 << 20];
        let output = shell("cat").stdin(input.clone()).run().expect("cat runs");
        assert_eq!(output.stdout, input);
    }

    #[test]
    fn a_deadline_ends_the_program_and_its_children() {
        let begun = Instant::now();
        let result = shell("sleep 100 & sleep 100").deadline(Duration::from_millis(50)).run();
        assert!(matches!(result, Err(ProcessError::Deadline { .. })), "{result:?}");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_descendant_that_left_the_group_cannot_hold_the_caller() {
        let begun = Instant::now();
        let output = shell("setsid sleep 60 & echo done").run().expect("sh runs");
        assert_eq!(output.stdout, b"done\n");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn endless_output_is_cut_and_the_program_killed() {
        let result = shell("yes").output_cap(1000).run();
        assert!(matches!(result, Err(ProcessError::TooMuchOutput { cap: 1000, .. })), "{result:?}");
    }

    #[test]
    fn a_watcher_can_stop_it() {
        let begun = Instant::now();
        let result =
            shell("sleep 100").run_watched(Duration::from_millis(10), &mut || Some("too big".to_owned()));
        assert!(matches!(result, Err(ProcessError::Stopped { .. })), "{result:?}");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn nothing_is_inherited_but_path_and_home() {
        let output = Invocation::new("env").run().expect("env runs");
        let shown = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(
            shown.lines().all(|line| ["PATH=", "HOME=", "LC_ALL="].iter().any(|key| line.starts_with(key))),
            "{shown}"
        );
    }
}
