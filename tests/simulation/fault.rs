//! What goes wrong: at one call of a port in the life of a process, chosen by its number.
//!
//! A process that dies is unwound to where the world started it: its memory is gone, what was
//! durable stays. Calls are counted on the world's own thread alone. What the product asks on
//! threads of its own reads and runs, and changes nothing: dying there is dying at the next call.

use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use lambda_os::ports::{FailureKind, PortError, PortResult};

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process dies before anything happened.
    DiesBefore,
    /// The process dies after all of it happened.
    DiesAfter,
    /// The process dies when a part of it happened, where it has parts.
    DiesWithin,
    /// It fails, and nothing happened.
    Fails(FailureKind),
    /// It fails, and all of it happened: a sync whose answer was an error.
    FailsDone,
    /// It fails in the same way, and nothing happened.
    FailsLost,
}

impl Fault {
    pub(crate) const ALL: [Self; 8] = [
        Self::DiesBefore,
        Self::DiesAfter,
        Self::DiesWithin,
        Self::Fails(FailureKind::Failed),
        Self::Fails(FailureKind::Temporary),
        Self::Fails(FailureKind::Busy),
        Self::FailsDone,
        Self::FailsLost,
    ];
}

/// What is unwound when a process dies.
pub(crate) struct Dead;

/// End the process.
pub(crate) fn die() -> ! {
    resume_unwind(Box::new(Dead))
}

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// It changes nothing.
    Read,
    /// It changes something that stays.
    Write,
}

/// The calls of one process, and the one that goes wrong.
pub(crate) struct Faults {
    thread: ThreadId,
    inner: Mutex<Inner>,
}

/// The call that goes wrong: the how-manieth of its kind in the life of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Armed {
    /// Calls of all kinds count, or those that change something alone.
    pub(crate) among: Option<Call>,
    pub(crate) at: u64,
    pub(crate) fault: Fault,
}

/// How many calls a process made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) all: u64,
    pub(crate) writes: u64,
}

#[derive(Default)]
struct Inner {
    calls: Counted,
    armed: Option<Armed>,
    fired: Option<(Fault, &'static str)>,
}

impl Faults {
    pub(crate) fn new() -> Self {
        Self { thread: thread::current().id(), inner: Mutex::default() }
    }

    /// A new process, in which this call goes wrong.
    pub(crate) fn arm(&self, armed: Option<Armed>) {
        *locked(&self.inner) = Inner { armed, ..Inner::default() };
    }

    /// How many calls the process made, and what went wrong.
    pub(crate) fn account(&self) -> (Counted, Option<(Fault, &'static str)>) {
        let inner = locked(&self.inner);
        (inner.calls, inner.fired)
    }

    /// The next call: what goes wrong with it.
    pub(crate) fn next(&self, name: &'static str, call: Call) -> Option<Fault> {
        if thread::current().id() != self.thread {
            return None;
        }
        let mut inner = locked(&self.inner);
        inner.calls.all += 1;
        inner.calls.writes += u64::from(call == Call::Write);
        let calls = inner.calls;
        let reached = |armed: &Armed| match armed.among {
            Some(among) => among == call && armed.at == calls.writes,
            None => armed.at == calls.all,
        };
        let fault = inner.armed.filter(reached)?.fault;
        inner.fired = Some((fault, name));
        Some(fault)
    }

    /// Make a call.
    pub(crate) fn call<T>(
        &self,
        name: &'static str,
        call: Call,
        effect: impl FnOnce() -> PortResult<T>,
    ) -> PortResult<T> {
        let fault = self.next(name, call);
        match fault {
            Some(Fault::DiesBefore | Fault::DiesWithin) => die(),
            Some(Fault::Fails(kind)) => return Err(failed(name, kind)),
            Some(Fault::FailsLost) if call == Call::Write => return Err(unknown(name)),
            Some(Fault::FailsLost) => return Err(failed(name, FailureKind::Failed)),
            _ => {}
        }
        let done = effect()?;
        match fault {
            Some(Fault::DiesAfter) => die(),
            Some(Fault::FailsDone) if call == Call::Write => Err(unknown(name)),
            Some(Fault::FailsDone) => Err(failed(name, FailureKind::Failed)),
            _ => Ok(done),
        }
    }

    /// Make a call that cannot fail.
    pub(crate) fn plain<T>(&self, name: &'static str, effect: impl FnOnce() -> T) -> T {
        let fault = self.next(name, Call::Read);
        if matches!(fault, Some(Fault::DiesBefore | Fault::DiesWithin)) {
            die();
        }
        let done = effect();
        if fault == Some(Fault::DiesAfter) {
            die();
        }
        done
    }
}

/// A failure of which it is known that nothing happened.
pub(crate) fn failed(name: &str, kind: FailureKind) -> PortError {
    PortError::failed(format!("the simulated call {name} fails")).kind(kind)
}

/// A failure of which nothing is known.
pub(crate) fn unknown(name: &str) -> PortError {
    PortError::failed(format!("the simulated call {name} fails, and what is on disk is not known")).fatal()
}

/// A lock that a dying process may have held.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
