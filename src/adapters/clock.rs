//! The machine's clocks.

use rustix::time::{ClockId, clock_gettime};

use crate::ports::Clock;

/// Wall time from `CLOCK_REALTIME`, elapsed time from `CLOCK_BOOTTIME` (which counts suspend).
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        let now = clock_gettime(ClockId::Realtime);
        now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000)
    }

    fn mono_ms(&self) -> u64 {
        self.mono_us() / 1000
    }

    fn mono_us(&self) -> u64 {
        let now = clock_gettime(ClockId::Boottime);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        u64::try_from(micros).unwrap_or(0)
    }

    fn boot(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_or_else(|_| "unknown".to_owned(), |id| id.trim().to_owned())
    }
}
