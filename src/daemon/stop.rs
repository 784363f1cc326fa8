//! Being asked to stop, and waiting without missing it.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The signals that end a daemon or a cycle cleanly, as a flag and as something to wait for.
#[derive(Debug)]
pub struct Stop {
    wake: UnixStream,
    asked: Arc<AtomicBool>,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The time is over.
    Due,
    /// A signal asks to stop.
    Stop,
}

impl Stop {
    /// Catch SIGTERM, SIGINT and SIGHUP from now on. The first asks to stop at the next safe
    /// point; a second one ends the process at once, which the next start recovers from.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let (wake, ring) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let asked = Arc::new(AtomicBool::new(false));
        for number in [SIGTERM, SIGINT, SIGHUP] {
            // The order matters: handlers run in the order of their registration.
            signal_hook::flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&asked))?;
            signal_hook::flag::register(number, Arc::clone(&asked))?;
            signal_hook::low_level::pipe::register(number, ring.try_clone()?)?;
        }
        Ok(Self { wake, asked })
    }

    /// True once a signal came.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Wait this long, counting the time that the machine sleeps, or until asked to stop.
    ///
    /// # Errors
    /// When the kernel has no timer for us.
    pub fn wait(&self, wait_ms: u64) -> std::io::Result<Woken> {
        if self.asked() {
            return Ok(Woken::Stop);
        }
        if wait_ms == 0 {
            return Ok(Woken::Due);
        }
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
        let value = Timespec {
            tv_sec: i64::try_from(wait_ms / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(wait_ms % 1000).unwrap_or(0) * 1_000_000,
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut fds = [PollFd::new(&timer, PollFlags::IN), PollFd::new(&self.wake, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if self.asked() {
                let _ = (&self.wake).read(&mut [0; 16]);
                return Ok(Woken::Stop);
            }
            if !fds[0].revents().is_empty() {
                return Ok(Woken::Due);
            }
        }
    }
}
