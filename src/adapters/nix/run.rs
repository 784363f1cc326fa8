//! One run of one of Nix's programs: bounded in time, memory and output, and what came of it kept
//! however it ended.
//!
//! Time is monotonic. At a bound the program gets a moment to end its builders itself, which are in
//! sessions of their own, and is killed with its process group then. The bound on memory is one on the
//! address space, for evaluation: what it starts has it too.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, kill_process_group, prlimit};

use crate::adapters::process::live::{Ended, Group, Input, Live, Out, Start};
use crate::domain::health::Exit;
use crate::domain::text;

/// How often the watcher is asked when nothing is written.
const TICK: Duration = Duration::from_millis(100);
/// How long to wait for pipes that descendants of an ended program still hold.
const DRAIN: Duration = Duration::from_millis(200);

/// What a run may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Until it is stopped.
    pub(super) deadline: Duration,
    /// Address space of each of its processes, bytes.
    pub(super) memory_bytes: Option<u64>,
    /// To each of its streams.
    pub(super) output_bytes: usize,
    /// What it gets to end by itself, once it is asked to.
    pub(super) grace: Duration,
}

/// A program about to be run.
#[derive(Debug)]
pub(super) struct Task<'a> {
    pub(super) program: &'a Path,
    pub(super) args: &'a [OsString],
    pub(super) env: &'a [(OsString, OsString)],
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It ended, with this code.
    Code(i32),
    /// It was ended by this signal, which was not ours.
    Signal(i32),
    /// It was stopped at its deadline.
    Deadline,
    /// It was stopped because it wrote too much.
    TooMuch,
    /// The watcher stopped it.
    Stopped,
    /// It did not run, or was lost: why, as a sentence without a final stop.
    Lost(String),
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) end: End,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) duration: Duration,
}

impl End {
    /// As evidence says it.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Code(code) => Exit::Code(*code),
            Self::Signal(signal) => Exit::Signal(*signal),
            Self::Deadline | Self::Stopped => Exit::Deadline,
            Self::TooMuch => Exit::Bound("output".to_owned()),
            Self::Lost(_) => Exit::NotRun,
        }
    }
}

/// Run it to its end. `go_on` is asked whenever something was written, and every so often, with
/// everything that was written to the standard error so far.
pub(super) fn run(task: &Task<'_>, bounds: Bounds, go_on: &mut dyn FnMut(&[u8]) -> bool) -> Finished {
    let begun = Instant::now();
    let lost = |why: String| Finished {
        end: End::Lost(why),
        stdout: Vec::new(),
        stderr: Vec::new(),
        duration: begun.elapsed(),
    };
    let shown = text::inert(&task.program.to_string_lossy());
    let started = Live::start(Start {
        program: task.program.as_os_str(),
        args: task.args,
        env: task.env,
        cwd: Path::new("/"),
        stdin: Input::Nothing,
        output: Out::Pipes,
        user: None,
        group: Group::Own,
    });
    let mut live = match started {
        Ok(live) => live,
        Err(error) => return lost(format!("{shown} cannot be started: {error}")),
    };
    if let Some(bytes) = bounds.memory_bytes {
        // It has hardly begun: nothing that an expression can make it do comes this early.
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        if let Err(error) = prlimit(Some(live.pid()), Resource::As, limit) {
            return lost(format!("the memory of {shown} cannot be bounded: {error}"));
        }
        // Whoever attends to it may be killed: an evaluation without an end ends all the same.
        let seconds = Some(bounds.deadline.as_secs().saturating_add(60));
        let limit = Rlimit { current: seconds, maximum: seconds };
        if let Err(error) = prlimit(Some(live.pid()), Resource::Cpu, limit) {
            return lost(format!("the processor time of {shown} cannot be bounded: {error}"));
        }
    }
    let mut streams = match live.take_output() {
        Ok((stdout, stderr)) => Streams { stdout: Sink::new(stdout), stderr: Sink::new(stderr) },
        Err(error) => return lost(format!("the output of {shown} cannot be read: {error}")),
    };
    let stopped = attend(&live, &mut streams, begun + bounds.deadline, bounds.output_bytes, go_on);
    if stopped.is_some() && !bounds.grace.is_zero() {
        let _ = kill_process_group(live.pid(), Signal::TERM);
        let until = Instant::now() + bounds.grace;
        attend(&live, &mut streams, until, usize::MAX, &mut |_| true);
    }
    live.kill();
    let end = match (stopped, live.wait()) {
        (Some(end), _) => end,
        (None, Ok(Ended::Code(code))) => End::Code(code),
        (None, Ok(Ended::Signal(signal))) => End::Signal(signal),
        (None, Err(error)) => End::Lost(format!("lost touch with {shown}: {error}")),
    };
    let Streams { stdout, stderr } = streams;
    Finished { end, stdout: stdout.bytes, stderr: stderr.bytes, duration: begun.elapsed() }
}

/// Read until it has ended; why it has to be stopped, when it has to.
fn attend(
    live: &Live,
    streams: &mut Streams<impl Read + AsFd, impl Read + AsFd>,
    until: Instant,
    output_bytes: usize,
    go_on: &mut dyn FnMut(&[u8]) -> bool,
) -> Option<End> {
    let mut until = until;
    let mut ended = false;
    loop {
        let Some(left) = until.checked_duration_since(Instant::now()) else {
            return (!ended).then_some(End::Deadline);
        };
        if ended && streams.are_drained() {
            return None;
        }
        match streams.turn((!ended).then_some(live.pidfd()), left.min(TICK)) {
            Ok(true) => {
                ended = true;
                until = until.min(Instant::now() + DRAIN);
            }
            Ok(false) => {}
            Err(error) => return Some(End::Lost(format!("its output cannot be read: {error}"))),
        }
        if streams.stdout.bytes.len() > output_bytes || streams.stderr.bytes.len() > output_bytes {
            return Some(End::TooMuch);
        }
        if !go_on(&streams.stderr.bytes) && !ended {
            return Some(End::Stopped);
        }
    }
}

struct Streams<O, E> {
    stdout: Sink<O>,
    stderr: Sink<E>,
}

/// A pipe and what came through it; `pipe` is `None` after its end.
struct Sink<P> {
    pipe: Option<P>,
    bytes: Vec<u8>,
}

impl<O: Read + AsFd, E: Read + AsFd> Streams<O, E> {
    /// Wait for something to happen, and read what is there; true when the program has ended.
    fn turn(&mut self, pidfd: Option<&OwnedFd>, wait: Duration) -> std::io::Result<bool> {
        let mut fds = Vec::with_capacity(3);
        fds.extend(pidfd.map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(self.stdout.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        fds.extend(self.stderr.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let timeout = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = pidfd.is_some() && fds.first().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        self.stdout.drain()?;
        self.stderr.drain()?;
        Ok(ended)
    }

    fn are_drained(&self) -> bool {
        self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }
}

impl<P: Read> Sink<P> {
    fn new(pipe: Option<P>) -> Self {
        Self { pipe, bytes: Vec::new() }
    }

    /// Read what is there, but not for ever: somebody may write faster than we read.
    fn drain(&mut self) -> std::io::Result<()> {
        let mut chunk = [0; 16 << 10];
        for _ in 0..64 {
            let Some(pipe) = &mut self.pipe else { return Ok(()) };
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(read) => self.bytes.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A program and its arguments, as evidence has them.
pub(super) fn command_line(program: &Path, args: &[OsString]) -> Vec<String> {
    std::iter::once(program.as_os_str())
        .chain(args.iter().map(OsString::as_os_str))
        .map(|part: &OsStr| text::clipped(&text::inert(&part.to_string_lossy()), 400))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, bounds: Bounds, go_on: &mut dyn FnMut(&[u8]) -> bool) -> Finished {
        let args: Vec<OsString> = ["-c", script].map(OsString::from).into();
        let env = [("PATH".into(), "/usr/bin:/bin".into())];
        run(&Task { program: Path::new("/bin/sh"), args: &args, env: &env }, bounds, go_on)
    }

    const ROOM: Bounds = Bounds {
        deadline: Duration::from_mins(1),
        memory_bytes: None,
        output_bytes: 1 << 20,
        grace: Duration::ZERO,
    };

    #[test]
    fn what_was_written_is_kept_however_it_ends() {
        let done = shell("echo out; echo err >&2; exit 3", ROOM, &mut |_| true);
        assert_eq!(
            (done.end, &done.stdout[..], &done.stderr[..]),
            (End::Code(3), &b"out\n"[..], &b"err\n"[..])
        );
        let late = Bounds { deadline: Duration::from_millis(300), ..ROOM };
        let done = shell("echo before; sleep 100", late, &mut |_| true);
        assert_eq!((done.end, &done.stdout[..]), (End::Deadline, &b"before\n"[..]));
        let done = shell("yes >&2", ROOM, &mut |_| true);
        assert_eq!(done.end, End::TooMuch);
        assert!(done.stderr.len() > 1 << 20);
        let done = shell("kill -SEGV $$", ROOM, &mut |_| true);
        assert_eq!(done.end, End::Signal(11));
    }

    #[test]
    fn the_watcher_sees_what_is_written_and_can_stop_it() {
        let done = shell("echo mark >&2; sleep 100", ROOM, &mut |stderr| !stderr.ends_with(b"mark\n"));
        assert_eq!(done.end, End::Stopped);
    }

    #[test]
    fn asked_to_end_it_may_end_what_it_began() {
        let bounds = Bounds { deadline: Duration::from_millis(300), grace: Duration::from_secs(20), ..ROOM };
        let begun = Instant::now();
        let done =
            shell("trap 'echo cleaned; exit 0' TERM; while :; do sleep 0.05; done", bounds, &mut |_| true);
        assert_eq!((done.end, &done.stdout[..]), (End::Deadline, &b"cleaned\n"[..]));
        assert!(begun.elapsed() < Duration::from_secs(15), "it was not waited for longer than it took");
    }

    #[test]
    fn its_memory_is_bounded() {
        let bounds = Bounds { memory_bytes: Some(64 << 20), ..ROOM };
        let hungry = "sleep 0.1; x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}";
        let done = shell(hungry, bounds, &mut |_| true);
        assert!(!String::from_utf8_lossy(&done.stdout).contains("200000000"), "{done:?}");
    }

    #[test]
    fn what_is_not_there_is_said() {
        let task = Task { program: Path::new("/nowhere/nix"), args: &[], env: &[] };
        let done = run(&task, ROOM, &mut |_| true);
        assert!(matches!(&done.end, End::Lost(why) if why.contains("/nowhere/nix")), "{done:?}");
    }
}
