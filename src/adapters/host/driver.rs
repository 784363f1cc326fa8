//! Running a script inside a sandbox: the verb that is started there, by the supervisor alone.
//!
//! It does what the script says and tells what became of it; it judges nothing. It shares the
//! sandbox with the module's code, which must not speak in its name: nothing but it writes to its
//! standard output (what it starts writes to its standard error), and it is not dumpable, so that no
//! process of the same user can open its descriptors or its memory. It can be killed; then the run
//! is over, and has not passed.

#![expect(clippy::disallowed_methods, reason = "what the sandbox has in its environment is for the programs")]

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::idle::{Doing, doing};
use super::script::{Became, Said, Script, Step};
use super::sockets::listening;
use crate::adapters::process::live::{Ended, Group, Input, Live, Out, Start};
use crate::adapters::process::{Invocation, ProcessError};
use crate::adapters::sandbox::TMP;

/// Largest script.
const MAX_SCRIPT: u64 = 1 << 20;

/// Most bytes that are kept of each stream of a client.
const MAX_STREAM: usize = 64 << 10;

/// How often something that is waited for is looked at.
const TICK: Duration = Duration::from_millis(20);

/// How often a program that stays is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Most changes of what it does that are told.
const MAX_CHANGES: usize = 256;

/// Do what the script on standard input says, and tell it on standard output.
///
/// # Errors
/// When there is no script, or nobody to tell.
pub fn run() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_SCRIPT).read_to_end(&mut bytes)?;
    let script: Script = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
    let tmp = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let mut driver = Driver { env: std::env::vars_os().collect(), tmp, started: VecDeque::new() };
    for (number, step) in script.steps.iter().enumerate() {
        let became = match driver.fallen() {
            Some(ended) => ended,
            None => driver.does(number, step)?,
        };
        let goes_on = matches!(became, Became::Done | Became::Ran { code: Some(0), .. });
        tell(number, became)?;
        if !goes_on {
            break;
        }
    }
    Ok(())
}

fn tell(step: usize, became: Became) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Said { step, became }).map_err(io::Error::other)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

struct Driver {
    env: Vec<(OsString, OsString)>,
    tmp: PathBuf,
    /// What was started, by the number of its step; the newest is last.
    started: VecDeque<(usize, Live)>,
}

impl Driver {
    /// A started program that has ended.
    fn fallen(&mut self) -> Option<Became> {
        self.started.iter_mut().find_map(|(started, live)| {
            let ended = live.has_ended().ok().flatten()?;
            Some(fell(*started, ended))
        })
    }

    fn does(&mut self, number: usize, step: &Step) -> io::Result<Became> {
        match step {
            Step::Dirs { paths } => {
                for path in paths {
                    let path = self.inside(path);
                    if let Err(error) = std::fs::create_dir_all(&path) {
                        return Ok(Became::Cannot(format!("no directory can be made: {error}")));
                    }
                }
                Ok(Became::Done)
            }
            Step::Start { argv, stdin } => self.start(number, argv, stdin),
            Step::Socket { module, among, within_ms } => {
                let until = Instant::now() + Duration::from_millis(*within_ms);
                loop {
                    if let Some(ended) = self.fallen() {
                        return Ok(ended);
                    }
                    if listening(&self.tmp, module, among).is_some() {
                        return Ok(Became::Done);
                    }
                    if Instant::now() >= until {
                        return Ok(Became::TooLate);
                    }
                    self.wait(TICK)?;
                }
            }
            Step::Run { argv, within_ms, again } => {
                let until = Instant::now() + Duration::from_millis(*within_ms);
                loop {
                    let became = self.run(argv, until);
                    let failed = matches!(&became, Became::Ran { code, .. } if *code != Some(0));
                    if !failed || !again || Instant::now() + TICK >= until {
                        return Ok(if failed && *again { Became::TooLate } else { became });
                    }
                    if let Some(ended) = self.fallen() {
                        return Ok(ended);
                    }
                    self.wait(TICK)?;
                }
            }
            Step::Pause { ms } => {
                let until = Instant::now() + Duration::from_millis(*ms);
                while let Some(left) = until.checked_duration_since(Instant::now()) {
                    if let Some(ended) = self.fallen() {
                        return Ok(ended);
                    }
                    self.wait(left.min(LOOK))?;
                }
                Ok(Became::Done)
            }
            Step::Stay => self.stay(number),
        }
    }

    fn start(&mut self, number: usize, argv: &[String], stdin: &str) -> io::Result<Became> {
        let words: Vec<OsString> = argv.iter().map(|word| self.inside(word)).collect();
        let Some((program, rest)) = words.split_first() else {
            return Ok(Became::Cannot("no program is named".to_owned()));
        };
        // A pipe takes this much without anybody reading.
        let (reader, mut writer) = io::pipe()?;
        writer.write_all(stdin.get(..4096).unwrap_or(stdin).as_bytes())?;
        drop(writer);
        let live = Live::start(Start {
            program,
            args: rest,
            env: &self.env,
            cwd: &self.tmp,
            stdin: Input::Fd(reader.into()),
            output: Out::Stderr,
            user: None,
            // Hosts begin a session.
            group: Group::Ours,
        });
        Ok(match live {
            Ok(live) => {
                self.started.push_back((number, live));
                Became::Done
            }
            Err(error) => Became::Cannot(format!("{} cannot be started: {error}", program.display())),
        })
    }

    fn run(&self, argv: &[String], until: Instant) -> Became {
        let words: Vec<OsString> = argv.iter().map(|word| self.inside(word)).collect();
        let Some((program, rest)) = words.split_first() else {
            return Became::Cannot("no program is named".to_owned());
        };
        let left = until.saturating_duration_since(Instant::now());
        let mut invocation = Invocation::new(program).args(rest).cwd(&self.tmp).deadline(left);
        for (key, value) in &self.env {
            invocation = invocation.env(key, value);
        }
        match invocation.output_cap(MAX_STREAM).run() {
            Ok(output) => {
                use std::os::unix::process::ExitStatusExt as _;
                Became::Ran {
                    code: output.status.code(),
                    signal: output.status.signal(),
                    stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                    stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
                }
            }
            Err(ProcessError::Deadline { .. }) => Became::TooLate,
            Err(error @ ProcessError::Start { .. }) => {
                let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                Became::Cannot(format!("{error}: {why}"))
            }
            Err(error) => Became::Cannot(error.to_string()),
        }
    }

    /// Attend to the program that was started last until it, or what it needs, ends.
    fn stay(&mut self, number: usize) -> io::Result<Became> {
        let mut told: Option<Doing> = None;
        let mut changes = 0;
        loop {
            if let Some(ended) = self.fallen() {
                return Ok(ended);
            }
            let Some((_, last)) = self.started.back() else {
                return Ok(Became::Cannot("nothing was started".to_owned()));
            };
            let now = doing(last.pid().as_raw_nonzero().get());
            if told != Some(now) && changes < MAX_CHANGES {
                tell(number, Became::Does(now))?;
                told = Some(now);
                changes += 1;
            }
            self.wait(LOOK)?;
        }
    }

    /// Wait, but no longer than until something that was started ends.
    fn wait(&self, time: Duration) -> io::Result<()> {
        let mut fds: Vec<PollFd<'_>> =
            self.started.iter().map(|(_, live)| PollFd::new(live.pidfd(), PollFlags::IN)).collect();
        let timeout = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A text of the script with the temporary directory put in.
    fn inside(&self, text: &str) -> OsString {
        let Some((before, after)) = text.split_once(TMP) else { return text.into() };
        let mut whole = OsString::from(before);
        whole.push(Path::new(&self.tmp));
        whole.push(after);
        whole
    }
}

fn fell(started: usize, ended: Ended) -> Became {
    match ended {
        Ended::Code(code) => Became::Ended { started, code: Some(code), signal: None },
        Ended::Signal(signal) => Became::Ended { started, code: None, signal: Some(signal) },
    }
}
