//! The supervisor: makes a sandbox for one program, attends to it, and sees to its end.
//!
//! One thread, one poll loop over the keeper's socket, both output streams and the process. The
//! deadline and all bounds are decided here, by what the kernel says, never by what the program does.

use std::ffi::OsString;
use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdout};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::bubblewrap::{self, SHM_INSIDE, System, TMP_INSIDE};
use super::capture::Capture;
use super::keeper::KEEPER;
use super::order::{Bounds, Bytes, End, Order, Told, VERSION, line};
use super::probe::Outer;
use super::profile::{Confined, Limits, Look, Profile, Sockets, TMP, Watch};
use super::scratch::{self, Scratch};
use super::tree::{self, Usage};
use crate::adapters::process::live::{Group, Input, Live, Out, Start};
use crate::domain::health::{Exit, SandboxReport};
use crate::domain::text;

/// What every sandbox on this machine is made with.
#[derive(Debug, Clone)]
pub(super) struct World {
    /// The program whose hidden verb is the keeper.
    pub(super) keeper: PathBuf,
    pub(super) system: System,
}

/// How often bounds are looked at, at most; looking may take a tenth of the time.
const TICK: Duration = Duration::from_millis(50);
/// How long a killed tree may take to be gone, and the streams of an ended program to end.
const GRACE: Duration = Duration::from_secs(10);
/// Tasks that are the sandbox's own.
const OWN_TASKS: u64 = 16;

/// Run one program, and give the version of Landlock that was around it.
pub(super) fn run(
    world: &World,
    outer: &Outer,
    report: &SandboxReport,
    profile: &Profile,
    argv: &[OsString],
    stdin: &[u8],
    watch: &mut dyn FnMut(&Look<'_>) -> Watch,
) -> (Confined, i32) {
    let begun = Instant::now();
    let prepared = match Prepared::new(world, outer, profile, argv, stdin) {
        Ok(prepared) => prepared,
        Err(why) => return (Confined::not_run(why, report.clone()), 0),
    };
    let attended = Attended::start(&prepared, outer, begun);
    let confined = match attended {
        Ok(attended) => attended.into_confined(&prepared, profile, report, watch),
        Err(why) => (Confined::not_run(why, report.clone()), 0),
    };
    prepared.give_back();
    confined
}

/// Everything that is decided before something starts.
struct Prepared {
    program: PathBuf,
    args: Vec<OsString>,
    order: Order,
    /// What holds the temporary directory where no namespace does.
    _scratch: Option<Scratch>,
    /// Directories that were given to the program's user and come back to us.
    given: Vec<PathBuf>,
    /// Directories that may grow, with what they held before.
    growing: Vec<(PathBuf, scratch::Held)>,
}

impl Prepared {
    fn new(
        world: &World,
        outer: &Outer,
        profile: &Profile,
        argv: &[OsString],
        stdin: &[u8],
    ) -> Result<Self, String> {
        let named = argv.first().ok_or("no program is named")?;
        let mut profile = profile.clone();
        if Path::new(named).is_absolute() {
            profile.read.push(named.into());
        }
        let user = rustix::process::geteuid().is_root().then(nobody);
        let binds = bubblewrap::binds(&world.system, &profile)?;
        let writable = || binds.iter().filter(|(_, _, writable)| *writable);
        let alone = *outer == Outer::Nothing;
        let scratch = if alone {
            Some(Scratch::new(user).map_err(|error| format!("no temporary directory can be made: {error}"))?)
        } else {
            None
        };
        let tmp = scratch.as_ref().map_or_else(|| PathBuf::from(TMP_INSIDE), Scratch::tmp);
        if let (true, Some(_)) = (alone, user) {
            let own = binds.iter().map(|(real, ..)| real);
            if let Some(closed) = own.filter(|path| !open_to_all(path)).find(|path| path.as_path() != tmp) {
                return Err(format!(
                    "{} is closed to other users, and root becomes one of them where there are no namespaces",
                    closed.display()
                ));
            }
        }
        let (read, mut write) = if alone {
            let system = &world.system;
            let links = system.links.iter().map(|(link, _)| link);
            let paths = system.shown.iter().chain(links).chain(binds.iter().map(|(real, ..)| real));
            (Bytes::all(paths), vec![Bytes::of(&tmp)])
        } else {
            (vec![Bytes::of("/")], vec![Bytes::of(TMP_INSIDE), Bytes::of(SHM_INSIDE)])
        };
        write.extend(writable().map(|(_, at, _)| Bytes::of(at)));
        let limits = &profile.limits;
        let bounds = Bounds {
            data_bytes: limits.memory_bytes,
            // Users are counted across the machine where no namespace makes them others.
            processes: limits.processes
                + if alone && user.is_none() { tree::tasks_of_user() } else { 0 }
                + OWN_TASKS / 2,
            cpu_s: limits.cpu.as_secs().max(1),
            file_bytes: limits.file_bytes,
            open_files: limits.open_files.max(16),
        };
        let inside = |word: &OsString| placed(word, &tmp);
        let cwd = profile.cwd.clone().unwrap_or_else(|| tmp.clone());
        let order = Order {
            version: VERSION,
            argv: Bytes::all(argv.iter().map(inside)),
            env: environment(&profile, &tmp),
            cwd: Bytes::of(cwd),
            stdin: Bytes(stdin.to_vec()),
            tmp: Bytes::of(&tmp),
            watched: if alone { Vec::new() } else { vec![Bytes::of(SHM_INSIDE)] },
            read,
            write,
            user,
            alone,
            connect: !alone || profile.sockets == Sockets::Own,
            bounds,
        };
        let (program, words) = match outer {
            Outer::Bubblewrap { program, manner, .. } => {
                let keeper = &world.keeper;
                let tmp_bytes = limits.tmp_bytes;
                let words = bubblewrap::arguments(&world.system, *manner, &binds, keeper, KEEPER, tmp_bytes);
                (program.clone(), words)
            }
            Outer::Nothing => (world.keeper.clone(), vec![OsString::from(KEEPER)]),
        };
        let most = limits.tmp_files;
        let mut growing: Vec<(PathBuf, scratch::Held)> =
            writable().map(|(real, ..)| (real.clone(), scratch::held(real, u64::MAX))).collect();
        growing.extend(alone.then(|| (tmp.clone(), scratch::held(&tmp, most))));
        let mut prepared =
            Self { program, args: words, order, _scratch: scratch, given: Vec::new(), growing };
        if let Some(user) = user {
            let given: Vec<PathBuf> = writable().map(|(real, ..)| real.clone()).collect();
            for directory in given {
                prepared.given.push(directory.clone());
                if let Err(error) = scratch::give(&directory, user) {
                    prepared.give_back();
                    return Err(format!("{} cannot be given to it: {error}", directory.display()));
                }
            }
        }
        Ok(prepared)
    }

    /// Take back what was given.
    fn give_back(&self) {
        for directory in &self.given {
            // What the program linked twice stays its own; it is in that directory alone.
            let _ = scratch::give(directory, rustix::process::geteuid().as_raw());
        }
    }
}

/// A user that nothing else on the machine is: of a range that nobody assigns (systemd's "Users,
/// Groups, UIDs and GIDs"), another one for each sandbox that runs. Where the machine knows so few
/// users that there is no such range, the one that owns nothing.
fn nobody() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed) & 0x3f;
    let process = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs() & 0x003f_ffff;
    let id = 0x7000_0000 + (process << 6 | number);
    let known = std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| {
        map.lines().any(|line| {
            let mut fields = line.split_ascii_whitespace().filter_map(|field| field.parse::<u64>().ok());
            let (Some(first), Some(_), Some(count)) = (fields.next(), fields.next(), fields.next()) else {
                return false;
            };
            (first..first.saturating_add(count)).contains(&u64::from(id))
        })
    });
    if known { id } else { 65534 }
}

/// True when any user may get to it and read it.
fn open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| path.metadata().map_or(0, |meta| meta.permissions().mode());
    let entered = path.ancestors().skip(1).all(|directory| mode(directory) & 0o001 != 0);
    entered && mode(path) & 0o004 != 0
}

/// A word with the temporary directory in its place.
fn placed(word: &OsString, tmp: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let (mut rest, mark) = (word.as_bytes(), TMP.as_bytes());
    let mut whole = Vec::with_capacity(rest.len());
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        whole.extend_from_slice(&rest[..at]);
        whole.extend_from_slice(tmp.as_os_str().as_bytes());
        rest = &rest[at + mark.len()..];
    }
    whole.extend_from_slice(rest);
    OsString::from_vec(whole)
}

fn environment(profile: &Profile, tmp: &Path) -> Vec<(Bytes, Bytes)> {
    let path = ["/run/current-system/sw/bin", "/usr/local/bin", "/usr/bin", "/bin"];
    let path: Vec<&str> = path.into_iter().filter(|directory| Path::new(directory).is_dir()).collect();
    let own: [(&str, OsString); 6] = [
        ("PATH", path.join(":").into()),
        ("HOME", tmp.join("home").into()),
        ("TMPDIR", tmp.into()),
        ("XDG_RUNTIME_DIR", tmp.join("run").into()),
        ("LC_ALL", "C.UTF-8".into()),
        ("USER", "sandbox".into()),
    ];
    let own = own.into_iter().map(|(key, value)| (Bytes::of(key), Bytes::of(value)));
    let asked = profile.env.iter().map(|(key, value)| (Bytes::of(key), Bytes::of(placed(value, tmp))));
    own.chain(asked).collect()
}

/// A sandbox that runs.
struct Attended {
    live: Live,
    control: UnixStream,
    /// What the keeper said and is no whole line yet.
    said: Vec<u8>,
    stdout: Capture<ChildStdout>,
    stderr: Capture<ChildStderr>,
    begun: Instant,
    until: Instant,
    /// The temporary directory, and what is watched beside it; empty until the keeper is ready.
    directories: Vec<OwnedFd>,
    tmp: PathBuf,
    /// The first process of the pid namespace, which ends after all others of it.
    first: Option<OwnedFd>,
    landlock: Option<i32>,
    not_started: Option<String>,
    ended: Option<(End, u64)>,
    /// The keeper's end of the socket is closed.
    hung_up: bool,
    /// The outermost process has ended.
    gone: bool,
    usage: Usage,
    alone: bool,
}

impl Attended {
    fn start(prepared: &Prepared, outer: &Outer, begun: Instant) -> Result<Self, String> {
        let said = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let (control, theirs) = UnixStream::pair().map_err(|error| said("no socket can be made", &error))?;
        let alone = *outer == Outer::Nothing;
        let live = Live::start(Start {
            program: prepared.program.as_os_str(),
            args: &prepared.args,
            env: &[],
            cwd: Path::new("/"),
            stdin: Input::Fd(theirs.into()),
            output: Out::Pipes,
            user: None,
            // The keeper begins a session, which the first of a group cannot.
            group: if alone { Group::Ours } else { Group::Own },
        });
        let mut live =
            live.map_err(|error| said(&format!("{} cannot be started", prepared.program.display()), &error))?;
        let (stdout, stderr) = live.take_output().map_err(|error| said("it cannot be read", &error))?;
        let attended = Self {
            live,
            control,
            said: Vec::new(),
            stdout: Capture::new(stdout),
            stderr: Capture::new(stderr),
            begun,
            until: begun,
            directories: Vec::new(),
            tmp: PathBuf::new(),
            first: None,
            landlock: None,
            not_started: None,
            ended: None,
            hung_up: false,
            gone: false,
            usage: Usage::default(),
            alone,
        };
        // A keeper that does not read has ended, or will be seen not to have started.
        let _ = attended.control.set_write_timeout(Some(GRACE));
        let _ = (&attended.control).write_all(&line(&prepared.order));
        attended.control.set_nonblocking(true).map_err(|error| said("no socket can be made", &error))?;
        Ok(attended)
    }

    fn into_confined(
        mut self,
        prepared: &Prepared,
        profile: &Profile,
        report: &SandboxReport,
        watch: &mut dyn FnMut(&Look<'_>) -> Watch,
    ) -> (Confined, i32) {
        let limits = &profile.limits;
        self.until = self.begun + limits.deadline;
        let stopped = self.attend(prepared, limits, watch);
        self.finish();
        let mut trouble = None;
        let over = self.stdout.total().max(self.stderr.total()) > limits.output_bytes;
        let exit = match (stopped, self.ended, self.not_started.take()) {
            (_, _, Some(why)) => {
                trouble = Some(why);
                Exit::NotRun
            }
            // What was stopped before it began says nothing either.
            (Some(Exit::Deadline), _, None) if self.landlock.is_none() => {
                trouble = Some("the sandbox was not ready within the deadline".to_owned());
                Exit::NotRun
            }
            (Some(exit), ..) => exit,
            (None, Some(_), None) if over => output_bound(limits),
            (None, Some((End::Code(code), _)), None) => Exit::Code(code),
            (None, Some((End::Signal(signal), _)), None) => Exit::Signal(signal),
            (None, None, None) => {
                trouble = Some(self.lost());
                Exit::NotRun
            }
        };
        let confined = Confined {
            exit,
            trouble,
            stdout: self.stdout.finish(),
            stderr: self.stderr.finish(),
            report: report.clone(),
            duration: self.begun.elapsed(),
            left_behind: self.ended.map_or(0, |(_, left)| left),
        };
        (confined, self.landlock.unwrap_or(0))
    }

    /// What to say of a keeper that ended without a word.
    fn lost(&self) -> String {
        let said = text::inert(String::from_utf8_lossy(self.stderr.seen()).trim());
        let said = text::clipped(&said, 300);
        match self.landlock {
            None if said.is_empty() => "the sandbox could not be made".to_owned(),
            None => format!("the sandbox could not be made: {said}"),
            Some(_) => "the sandbox's keeper was killed from outside".to_owned(),
        }
    }

    /// Attend to it until it has ended by itself (`None`) or has to be ended, and how that counts.
    fn attend(
        &mut self,
        prepared: &Prepared,
        limits: &Limits,
        watch: &mut dyn FnMut(&Look<'_>) -> Watch,
    ) -> Option<Exit> {
        let mut measured = Instant::now();
        let mut pause = TICK;
        loop {
            let Some(left) = self.until.checked_duration_since(Instant::now()) else {
                return Some(Exit::Deadline);
            };
            if let Err(error) = self.turn(left.min(TICK)) {
                self.not_started = Some(format!("lost touch with the sandbox: {error}"));
                return None;
            }
            if self.stdout.total().max(self.stderr.total()) > limits.output_bytes {
                return Some(output_bound(limits));
            }
            if self.ended.is_some() || self.not_started.is_some() || self.hung_up {
                return None;
            }
            if self.landlock.is_none() {
                continue;
            }
            if measured.elapsed() >= pause {
                let begun = Instant::now();
                if let Some(bound) = self.over(prepared, limits) {
                    return Some(Exit::Bound(bound));
                }
                measured = Instant::now();
                pause = TICK.max(begun.elapsed() * 9);
            }
            let look = Look {
                tmp: &self.tmp,
                stdout: self.stdout.seen(),
                stderr: self.stderr.seen(),
                elapsed: self.begun.elapsed(),
            };
            match watch(&look) {
                Watch::GoOn => {}
                Watch::Enough => return Some(Exit::Stopped),
                Watch::Stop(why) => return Some(Exit::Bound(why)),
            }
        }
    }

    /// Which bound it is over, among those that the kernel does not hold.
    fn over(&mut self, prepared: &Prepared, limits: &Limits) -> Option<String> {
        self.usage = tree::usage(self.live.pid());
        let usage = &self.usage;
        if usage.tasks > limits.processes + OWN_TASKS {
            return Some(format!("more than {} processes", limits.processes));
        }
        if usage.memory_bytes > limits.memory_bytes
            && tree::fair_memory(&usage.processes) > limits.memory_bytes
        {
            return Some(format!("more than {} bytes of memory", limits.memory_bytes));
        }
        if usage.cpu > limits.cpu {
            return Some(format!("more than {} s of processor time", limits.cpu.as_secs()));
        }
        let (bytes, files) = (limits.tmp_bytes, limits.tmp_files);
        let too_many = || Some(format!("more than {files} files"));
        for (directory, before) in &prepared.growing {
            let held = scratch::held(directory, before.files.saturating_add(files));
            if held.files > before.files.saturating_add(files) {
                return too_many();
            }
            if held.bytes > before.bytes.saturating_add(bytes) {
                return Some(format!("more than {bytes} bytes written"));
            }
        }
        if !self.alone {
            let used = |directory: &OwnedFd| {
                rustix::fs::fstatfs(directory).map_or(0, |stat| stat.f_files.saturating_sub(stat.f_ffree))
            };
            if self.directories.iter().map(used).sum::<u64>() > files {
                return too_many();
            }
        }
        if let Some((available, all)) = tree::machine_memory()
            && available < all / 32
        {
            return Some("the machine ran short of memory".to_owned());
        }
        None
    }

    /// Wait for something to happen, and take it in.
    fn turn(&mut self, left: Duration) -> std::io::Result<()> {
        let mut fds = Vec::with_capacity(4);
        if !self.hung_up {
            fds.push(PollFd::new(&self.control, PollFlags::IN));
        }
        fds.extend(
            self.stdout.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)),
        );
        fds.extend(
            self.stderr.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)),
        );
        let at = fds.len();
        if !self.gone {
            fds.push(PollFd::new(self.live.pidfd(), PollFlags::IN));
        }
        wait(&mut fds, left)?;
        let gone = fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        self.gone |= gone;
        self.stdout.drain()?;
        self.stderr.drain()?;
        self.listen()
    }

    /// Take in what the keeper says.
    fn listen(&mut self) -> std::io::Result<()> {
        while !self.hung_up {
            let mut bytes = [0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut rights = RecvAncillaryBuffer::new(&mut space);
            let got = recvmsg(
                &self.control,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut rights,
                RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
            );
            let count = match got {
                Ok(message) => message.bytes,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(Errno::CONNRESET) => 0,
                Err(error) => return Err(error.into()),
            };
            if count == 0 {
                self.hung_up = true;
                return Ok(());
            }
            for message in rights.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    self.directories.extend(fds);
                }
            }
            self.said.extend_from_slice(&bytes[..count]);
            while let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.said.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(told) => self.hear(told),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Ready => {
                if let Some(directory) = self.directories.first() {
                    self.tmp = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
                }
                self.find_first();
            }
            Told::Started { landlock } => self.landlock = Some(landlock),
            Told::NotStarted { why } => self.not_started = Some(why),
            Told::Ended { end, left } => self.ended = Some((end, left)),
        }
    }

    /// Hold on to the first process of the pid namespace: the one child of bubblewrap.
    fn find_first(&mut self) {
        if !self.alone && self.first.is_none() && !self.gone {
            let child = tree::children(self.live.pid()).into_iter().next();
            self.first = child.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        }
    }

    /// See to the end of all of it.
    fn finish(&mut self) {
        let until = Instant::now() + GRACE;
        if self.alone {
            // The keeper kills what is below it when its socket ends.
            let _ = self.control.shutdown(std::net::Shutdown::Both);
        } else {
            self.find_first();
            match &self.first {
                // All others of its namespace are killed by the kernel before it is gone.
                Some(first) => {
                    let _ = pidfd_send_signal(first, Signal::KILL);
                }
                // It has not begun, or it has ended: bubblewrap's death ends what there may be.
                None => self.live.kill(),
            }
        }
        while !self.all_gone() {
            let Some(left) = until.checked_duration_since(Instant::now()) else { break };
            let fds = self.first.iter().chain((!self.gone).then(|| self.live.pidfd()));
            let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            let _ = wait(&mut fds, left.min(TICK));
            let _ = (self.stdout.drain(), self.stderr.drain());
        }
        self.live.kill();
        let _ = self.live.wait();
        self.sweep();
        // Everyone who could write is dead: what is left is in the pipes.
        let until = Instant::now() + GRACE;
        while (self.stdout.pipe.is_some() || self.stderr.pipe.is_some()) && Instant::now() < until {
            self.gone = true;
            self.hung_up = true;
            if self.turn(TICK).is_err() {
                break;
            }
        }
    }

    /// True once the outermost process and the first of the namespace have ended.
    fn all_gone(&mut self) -> bool {
        self.gone = self.gone || ended(self.live.pidfd());
        if self.first.as_ref().is_some_and(ended) {
            self.first = None;
        }
        self.gone && self.first.is_none()
    }

    /// Kill what was seen below a keeper that somebody killed: it has lost its children.
    fn sweep(&self) {
        if self.alone {
            for (pid, started) in &self.usage.processes {
                if tree::runs(*pid, *started) {
                    let _ = rustix::process::kill_process(*pid, Signal::KILL);
                }
            }
        }
    }
}

fn output_bound(limits: &Limits) -> Exit {
    Exit::Bound(format!("more than {} bytes of output", limits.output_bytes))
}

fn ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    wait(&mut fds, Duration::ZERO).is_ok() && !fds[0].revents().is_empty()
}

fn wait(fds: &mut [PollFd<'_>], left: Duration) -> std::io::Result<()> {
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    match poll(fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
