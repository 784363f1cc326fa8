//! The long life: cycles at an interval, one catch-up after a sleep, a clean stop.
//!
//! A cycle that fails is journalled and said, and the next one comes at its time. What ends the
//! daemon is only what must: being asked to, damage to the journal, or a disk that does not keep
//! what it was given.

pub mod schedule;

pub mod stop;

use schedule::{Cause, Schedule};
use stop::{Stop, Woken};

use crate::ports::{Clock, FailureKind, PortError, PortResult};

/// The rhythm of a daemon.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    /// From the start of one cycle to the start of the next.
    pub interval_ms: u64,
    /// Each start is put off by up to this much more.
    pub jitter_ms: u64,
}

/// Run `cycle` again and again until asked to stop; the cause of each is passed to it.
///
/// # Errors
/// The first failure after which going on would be wrong: [`FailureKind::Integrity`], or
/// `is_fatal` says so.
pub fn run(
    clock: &dyn Clock,
    stop: &Stop,
    rhythm: Rhythm,
    mut cycle: impl FnMut(Cause) -> PortResult<()>,
    mut failed: impl FnMut(&PortError),
) -> PortResult<()> {
    let mut schedule = Schedule::new(rhythm.interval_ms, rhythm.jitter_ms, clock.mono_ms());
    let mut cause = Cause::Start;
    loop {
        let woken = stop
            .wait(schedule.wait_ms(clock.mono_ms()))
            .map_err(|error| PortError::failed("cannot wait for the next cycle").because(error))?;
        if woken == Woken::Stop {
            return Ok(());
        }
        let began_ms = clock.mono_ms();
        if cause != Cause::Start {
            cause = schedule.cause(began_ms);
        }
        match cycle(cause) {
            Ok(()) => {}
            Err(error) if error.kind == FailureKind::Interrupted => return Ok(()),
            Err(error) if error.kind == FailureKind::Integrity || error.fatal => return Err(error),
            Err(error) => failed(&error),
        }
        cause = Cause::Interval;
        schedule.done(began_ms, clock.mono_ms(), began_ms);
    }
}
