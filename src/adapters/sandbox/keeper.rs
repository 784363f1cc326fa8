//! The keeper: a hidden verb of our own program that runs between the supervisor and the confined
//! program. It is pid 1 of the sandbox's pid namespace, or, where there is none, the subreaper of
//! everything that the program starts: nothing it starts outlives it.
//!
//! In: an [`Order`] on a socket that is its standard input. Out: [`Told`] on the same socket. The
//! end of that socket means that the supervisor wants an end, or is gone.
//!
//! The inner walls (Landlock, seccomp) are put around one thread of it, which starts the program
//! and ends: the program is behind them from its first instruction, the keeper is not. It is not
//! dumpable, so nobody without privileges can look into it.

use std::io::{BufRead as _, BufReader, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, WaitOptions, WaitStatus, set_child_subreaper,
    set_dumpable_behavior, setrlimit, setsid,
};

use super::fence;
use super::filter::{self, Walls};
use super::order::{Bytes, End, Order, Told, VERSION, line};
use super::tree;
use crate::adapters::process::live::{Group, Input, Live, Out, Start};

/// The hidden verb.
pub const KEEPER: &str = "__sandbox-keeper";

/// The longest order that is read.
const LONGEST: u64 = 64 << 20;

/// Be the keeper. The order comes over standard input.
#[must_use]
pub fn keep() -> ExitCode {
    // Whatever our parents left open is closed when the program starts.
    close_fds::set_fds_cloexec(3, &[]);
    let Ok(control) = std::io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    let control = UnixStream::from(control);
    match obey(&control) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = (&control).write_all(&line(&Told::NotStarted { why }));
            ExitCode::FAILURE
        }
    }
}

fn obey(control: &UnixStream) -> Result<(), String> {
    let mut text = Vec::new();
    BufReader::new(control.take(LONGEST))
        .read_until(b'\n', &mut text)
        .map_err(|error| format!("the keeper got no order: {error}"))?;
    let order: Order =
        serde_json::from_slice(&text).map_err(|error| format!("the keeper got a bad order: {error}"))?;
    if order.version != VERSION {
        return Err("the keeper is of another version than its supervisor".to_owned());
    }
    if order.alone {
        // A session without a terminal, and the place where orphans go.
        setsid().map_err(|error| format!("no session can be begun: {error}"))?;
        set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| format!("orphans cannot be kept: {error}"))?;
    }
    let tmp = order.tmp.path();
    prepare(&tmp, order.user)?;
    ready(control, &order)?;
    bound(&order)?;
    let adjusted = blame();
    // Last of what needs our own files in /proc, which belong to root from here on.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| format!("the keeper cannot hide: {error}"))?;
    let started = std::thread::scope(|scope| {
        scope.spawn(|| start(&order)).join().unwrap_or_else(|_| Err("the keeper broke down".to_owned()))
    });
    adjusted.undo();
    let (live, landlock) = started?;
    let told = |told: &Told| {
        // A supervisor that is gone needs no answer; its socket's end is seen below.
        let _ = { control }.write_all(&line(told));
    };
    told(&Told::Started { landlock });
    let pidfd = live.pidfd().try_clone().map_err(|error| format!("it cannot be watched: {error}"))?;
    let (pid, stdin) = live.release();
    let ends = reap(pid);
    if let Some(mut pipe) = stdin {
        let input = order.stdin.0.clone();
        // A thread, because the program need not read; it ends with us.
        std::thread::spawn(move || pipe.write_all(&input));
    }
    let by_itself = wait(control, &pidfd);
    let mut end = if by_itself { ends.recv().ok().flatten() } else { None };
    let left = if order.alone { kill_all(&ends, &mut end) } else { tree::others() };
    if by_itself {
        told(&Told::Ended { end: end.unwrap_or(End::Signal(libc::SIGKILL)), left });
    }
    Ok(())
}

/// The program's home and runtime directory.
fn prepare(tmp: &Path, user: Option<u32>) -> Result<(), String> {
    for (name, mode) in [("home", 0o755), ("run", 0o700)] {
        let directory = tmp.join(name);
        let made = rustix::fs::mkdir(&directory, Mode::from_bits_truncate(mode))
            .map_err(std::io::Error::from)
            .and_then(|()| match user {
                Some(id) => std::os::unix::fs::chown(&directory, Some(id), Some(id)),
                None => Ok(()),
            });
        made.map_err(|error| format!("{} cannot be made: {error}", directory.display()))?;
    }
    Ok(())
}

/// Hand the directories over that the supervisor looks into.
fn ready(control: &UnixStream, order: &Order) -> Result<(), String> {
    let open = |path: PathBuf| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|error| format!("{} cannot be opened: {error}", path.display()))
    };
    let directories: Vec<OwnedFd> = std::iter::once(&order.tmp)
        .chain(&order.watched)
        .map(|path| open(path.path()))
        .collect::<Result<_, _>>()?;
    let directories: Vec<BorrowedFd<'_>> = directories.iter().map(OwnedFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if !rights.push(SendAncillaryMessage::ScmRights(&directories)) {
        return Err("too many directories are watched".to_owned());
    }
    let text = line(&Told::Ready);
    sendmsg(control, &[IoSlice::new(&text)], &mut rights, SendFlags::NOSIGNAL)
        .map_err(|error| format!("the supervisor is gone: {error}"))?;
    Ok(())
}

/// The bounds that the kernel holds; the keeper lives within them too, and needs little.
fn bound(order: &Order) -> Result<(), String> {
    let bounds = order.bounds;
    // With a limit of 1 the kernel writes no core file and starts no program for one (with 0 it
    // would start it: core(5) knows it as "fs/coredump.c: 1 is special").
    let limits = [
        (Resource::Core, 1),
        (Resource::Data, bounds.data_bytes),
        (Resource::Nproc, bounds.processes),
        (Resource::Cpu, bounds.cpu_s),
        (Resource::Fsize, bounds.file_bytes),
        (Resource::Nofile, bounds.open_files),
        (Resource::Msgqueue, 0),
        (Resource::Memlock, 1 << 20),
    ];
    for (resource, most) in limits {
        let had = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Some(most.min(had));
        setrlimit(resource, Rlimit { current: limit, maximum: limit })
            .map_err(|error| format!("a bound cannot be set ({resource:?}): {error}"))?;
    }
    rustix::process::umask(Mode::from_bits_truncate(0o022));
    Ok(())
}

/// That the program, not the keeper, is what the kernel kills when memory is short.
struct Blame(Option<String>);

const OOM: &str = "/proc/self/oom_score_adj";

fn blame() -> Blame {
    let before = std::fs::read_to_string(OOM).ok();
    // Without /proc there is nothing to be said; the supervisor watches memory as well.
    let _ = std::fs::write(OOM, "1000");
    Blame(before)
}

impl Blame {
    fn undo(self) {
        if let Some(before) = self.0 {
            let _ = std::fs::write(OOM, before);
        }
    }
}

/// Raise the inner walls around this thread, and start the program from it.
fn start(order: &Order) -> Result<(Live, i32), String> {
    let paths = |list: &[Bytes]| -> Vec<PathBuf> { list.iter().map(Bytes::path).collect() };
    let landlock = fence::raise(&paths(&order.read), &paths(&order.write), order.alone)?;
    if order.alone && landlock < fence::SCOPES {
        return Err("Landlock is older than version 6, so it cannot keep signals and sockets in".to_owned());
    }
    let connect = order.connect;
    if order.alone && connect && landlock < fence::SOCKETS {
        return Err("Landlock is older than version 9, so it cannot keep sockets by path in".to_owned());
    }
    filter::apply(Walls { alone: order.alone, connect })?;
    let words: Vec<_> = order.argv.iter().map(Bytes::text).collect();
    let env: Vec<_> = order.env.iter().map(|(key, value)| (key.text(), value.text())).collect();
    let (program, args) = words.split_first().ok_or("no program is named")?;
    let live = Live::start(Start {
        program,
        args,
        env: &env,
        cwd: &order.cwd.path(),
        stdin: Input::Pipe,
        output: Out::Inherited,
        user: order.user,
        group: Group::Own,
    })
    .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    Ok((live, landlock))
}

/// Wait for every child there is, orphans that came to us included; what is sent is the program's
/// end, and then `None` when there is no child left.
fn reap(program: Pid) -> Receiver<Option<End>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        loop {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) if pid == program => {
                    let _ = sender.send(Some(end_of(status)));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let _ = sender.send(None);
    });
    receiver
}

fn end_of(status: WaitStatus) -> End {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Code(code),
        (None, Some(signal)) => End::Signal(signal),
        (None, None) => End::Code(-1),
    }
}

/// Wait until the program has ended (true) or the supervisor wants an end.
fn wait(control: &UnixStream, program: &OwnedFd) -> bool {
    loop {
        let mut fds = [PollFd::new(program, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return false,
        }
        if !fds[1].revents().is_empty() {
            return false;
        }
        if !fds[0].revents().is_empty() {
            return true;
        }
    }
}

/// Kill all descendants until there are none, and give how many there were besides the program.
fn kill_all(ends: &Receiver<Option<End>>, end: &mut Option<End>) -> u64 {
    let mut found = std::collections::BTreeSet::new();
    loop {
        for pid in tree::descendants(rustix::process::getpid()) {
            found.insert(pid.as_raw_nonzero());
            // ESRCH: it is gone, as wanted.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        match ends.recv_timeout(Duration::from_millis(2)) {
            Ok(Some(ended)) => *end = Some(ended),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => return found.len() as u64,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
