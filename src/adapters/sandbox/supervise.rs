//! The loop that attends to a confined program: streams, bounds, deadline, and the end of all of it.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{ChildStderr, ChildStdout};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::capture::Capture;
use super::profile::{Confined, Look, Profile, TMP, Watch};
use crate::adapters::process::live::{Ended, Group, Input, Live, Out, Start};
use crate::domain::health::{Exit, SandboxReport};

/// How often bounds are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long to wait for pipes that descendants of an ended program still hold.
const DRAIN: Duration = Duration::from_millis(200);

pub(super) fn run(
    report: &SandboxReport,
    profile: &Profile,
    argv: &[OsString],
    stdin: &[u8],
    watch: &mut dyn FnMut(&Look<'_>) -> Watch,
) -> Confined {
    let begun = Instant::now();
    let not_run = |why: String| Confined::not_run(why, report.clone());
    let Some((program, args)) = argv.split_first() else { return not_run("no program is named".to_owned()) };
    let tmp = match tempfile::Builder::new().prefix("lambda-os-sandbox-").tempdir() {
        Ok(tmp) => tmp,
        Err(error) => return not_run(format!("no temporary directory can be made: {error}")),
    };
    let inside = |text: &OsString| match text.to_str() {
        Some(text) if text.contains(TMP) => OsString::from(text.replace(TMP, &tmp.path().to_string_lossy())),
        _ => text.clone(),
    };
    let args: Vec<OsString> = args.iter().map(inside).collect();
    let mut env: Vec<(OsString, OsString)> =
        vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()), ("LC_ALL".into(), "C.UTF-8".into())];
    for key in ["HOME", "TMPDIR", "XDG_RUNTIME_DIR"] {
        env.push((key.into(), tmp.path().into()));
    }
    env.extend(profile.env.iter().map(|(key, value)| (key.clone(), inside(value))));
    let live = Live::start(Start {
        program,
        args: &args,
        env: &env,
        cwd: profile.cwd.as_deref().unwrap_or(tmp.path()),
        stdin: Input::Pipe,
        output: Out::Pipes,
        user: None,
        group: Group::Own,
    });
    let mut live = match live {
        Ok(live) => live,
        Err(error) => return not_run(format!("{} cannot be started: {error}", program.display())),
    };
    if let Some(mut pipe) = live.take_stdin() {
        let _ = pipe.write_all(stdin);
    }
    let (stdout, stderr) = match live.take_output() {
        Ok(output) => output,
        Err(error) => return not_run(format!("its output cannot be read: {error}")),
    };
    let (mut stdout, mut stderr) = (Capture::new(stdout), Capture::new(stderr));
    let mut until = begun + profile.limits.deadline;
    let mut ended = false;
    let stopped = loop {
        let Some(left) = until.checked_duration_since(Instant::now()) else {
            break if ended { None } else { Some(Exit::Deadline) };
        };
        match turn(live.pidfd(), ended, &mut stdout, &mut stderr, left.min(TICK)) {
            Ok(true) if !ended => {
                ended = true;
                until = until.min(Instant::now() + DRAIN);
            }
            Ok(_) => {}
            Err(error) => break Some(Exit::Bound(format!("lost touch with it: {error}"))),
        }
        if ended && stdout.pipe.is_none() && stderr.pipe.is_none() {
            break None;
        }
        if stdout.total().max(stderr.total()) > profile.limits.output_bytes {
            break Some(Exit::Bound("output".to_owned()));
        }
        let look =
            Look { tmp: tmp.path(), stdout: stdout.seen(), stderr: stderr.seen(), elapsed: begun.elapsed() };
        match watch(&look) {
            Watch::GoOn => {}
            Watch::Enough => break Some(Exit::Stopped),
            Watch::Stop(why) => break Some(Exit::Bound(why)),
        }
    };
    live.kill();
    let status = live.wait();
    let exit = stopped.unwrap_or_else(|| match status {
        Ok(Ended::Code(code)) => Exit::Code(code),
        Ok(Ended::Signal(signal)) => Exit::Signal(signal),
        Err(_) => Exit::NotRun,
    });
    Confined {
        exit,
        trouble: None,
        stdout: stdout.finish(),
        stderr: stderr.finish(),
        report: report.clone(),
        duration: begun.elapsed(),
        left_behind: 0,
    }
}

/// Wait for something to happen; true when the program has ended.
fn turn(
    pidfd: &OwnedFd,
    ended: bool,
    stdout: &mut Capture<ChildStdout>,
    stderr: &mut Capture<ChildStderr>,
    left: Duration,
) -> std::io::Result<bool> {
    let mut fds = Vec::with_capacity(3);
    if !ended {
        fds.push(PollFd::new(pidfd, PollFlags::IN));
    }
    fds.extend(stdout.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
    fds.extend(stderr.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let over = ended || fds.first().is_some_and(|fd| !fd.revents().is_empty());
    drop(fds);
    stdout.drain()?;
    stderr.drain()?;
    Ok(over)
}
