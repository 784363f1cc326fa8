//! Time that decisions rest on: what enables waits for the slower clock, what ends follows the faster.
//!
//! In: readings of both clocks, one with each entry of the journal, and one now. Out: [`Times`].
//!
//! A machine's wall clock is set by whoever may set it, and jumps. So delays, ages and the like run on
//! *checked time*: from one entry of the journal to the next, and from the last one to now, what passed
//! is the smaller of what the wall clock says and what the clock since boot says, and never negative;
//! across a boot nothing is credited, because nobody saw it pass. Checked time is therefore a lower
//! bound of what really passed as long as the clock since boot counts right, and a clock that was set
//! forward or back enables nothing.
//!
//! What shall begin at a moment of the calendar waits for [`Times::slow_ms`]. What ends, ends by
//! [`Times::wall_ms`]: a clock set forward can only end things early.

use serde::{Deserialize, Serialize};

/// The identity of a boot that could not be read: never the same as another.
const UNKNOWN_BOOT: &str = "unknown";

/// Both clocks, read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading<'a> {
    /// Wall time, Unix milliseconds.
    pub wall_ms: i64,
    /// The identity of the boot.
    pub boot: &'a str,
    /// Milliseconds since boot, suspend included.
    pub mono_ms: u64,
}

/// One moment, as it counts for what ends and for what begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Times {
    /// Wall time, Unix milliseconds: what ends, ends by it.
    pub wall_ms: i64,
    /// Checked time since the journal's first entry, milliseconds: for what lasts.
    pub checked_ms: i64,
    /// Wall time, but no later than this boot's first entry and what passed since by the clock since
    /// boot, Unix milliseconds: for what begins at a moment.
    pub slow_ms: i64,
}

/// Checked time as the journal's entries add up to it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckedTime {
    checked_ms: i64,
    last: Option<Last>,
}

/// The newest reading, and the first of its boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Last {
    boot: String,
    wall_ms: i64,
    mono_ms: u64,
    first_wall_ms: i64,
    first_mono_ms: u64,
}

impl CheckedTime {
    /// Go on to the next entry's reading.
    pub fn take(&mut self, reading: Reading<'_>) {
        self.checked_ms = self.at(reading).checked_ms;
        let first = self.same_boot(reading).map(|last| (last.first_wall_ms, last.first_mono_ms));
        let (first_wall_ms, first_mono_ms) = first.unwrap_or((reading.wall_ms, reading.mono_ms));
        self.last = Some(Last {
            boot: reading.boot.to_owned(),
            wall_ms: reading.wall_ms,
            mono_ms: reading.mono_ms,
            first_wall_ms,
            first_mono_ms,
        });
    }

    /// What this reading says after those of the journal.
    #[must_use]
    pub fn at(&self, reading: Reading<'_>) -> Times {
        let Reading { wall_ms, mono_ms, .. } = reading;
        let (passed, slow_ms) = match self.same_boot(reading) {
            None => (0, wall_ms),
            Some(last) => (
                wall_ms.saturating_sub(last.wall_ms).min(since(last.mono_ms, mono_ms)).max(0),
                wall_ms.min(last.first_wall_ms.saturating_add(since(last.first_mono_ms, mono_ms))),
            ),
        };
        Times { wall_ms, checked_ms: self.checked_ms.saturating_add(passed), slow_ms }
    }

    /// Checked time at the newest entry, milliseconds since the first.
    #[must_use]
    pub fn checked_ms(&self) -> i64 {
        self.checked_ms
    }

    fn same_boot(&self, reading: Reading<'_>) -> Option<&Last> {
        self.last.as_ref().filter(|last| last.boot == reading.boot && reading.boot != UNKNOWN_BOOT)
    }
}

/// Milliseconds between two readings of the clock since boot, 0 when it went back.
fn since(before: u64, after: u64) -> i64 {
    i64::try_from(after.saturating_sub(before)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What the last of these readings says after the others.
    fn after(readings: &[(i64, &str, u64)]) -> (i64, i64) {
        let mut time = CheckedTime::default();
        let mut times = None;
        for (wall_ms, boot, mono_ms) in readings {
            let reading = Reading { wall_ms: *wall_ms, boot, mono_ms: *mono_ms };
            times = Some(time.at(reading));
            time.take(reading);
        }
        times.map(|times| (times.checked_ms, times.slow_ms)).unwrap()
    }

    #[test]
    fn the_slower_clock_counts_and_nothing_across_a_boot() {
        for (readings, expected, what) in [
            (vec![(1_000, "a", 5)], (0, 1_000), "the first"),
            (vec![(1_000, "a", 5), (1_500, "a", 505)], (500, 1_500), "both agree"),
            (vec![(1_000, "a", 5), (9_000, "a", 505)], (500, 1_500), "set forward"),
            (vec![(1_000, "a", 5), (9_000, "a", 505), (9_100, "a", 605)], (600, 1_600), "it stays so"),
            (vec![(1_000, "a", 5), (400, "a", 505)], (0, 400), "set back"),
            (vec![(1_000, "a", 5), (400, "a", 505), (1_500, "a", 605)], (100, 1_500), "and forward again"),
            (vec![(1_000, "a", 500), (1_500, "a", 5)], (0, 1_000), "the other clock went back"),
            (vec![(1_000, "a", 5), (9_000, "b", 6)], (0, 9_000), "a boot"),
            (vec![(1_000, "a", 5), (9_000, "b", 6), (9_200, "b", 206)], (200, 9_200), "after a boot"),
            (vec![(1_000, "unknown", 5), (9_000, "unknown", 8_005)], (0, 9_000), "a boot without a name"),
        ] {
            assert_eq!(after(&readings), expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn no_clock_that_jumps_makes_time_pass(
            steps in vec((-100_000..100_000_i64, 0..500_u64, prop::bool::weighted(0.1)), 1..40),
        ) {
            let (mut time, mut wall_ms, mut mono_ms, mut boot) = (CheckedTime::default(), 0, 0, 0);
            let (mut before, mut really) = (0, 0);
            for (wall, mono, reboots) in steps {
                wall_ms += wall;
                boot += u32::from(reboots);
                mono_ms = if reboots { 0 } else { mono_ms + mono };
                really += if reboots { 0 } else { i64::try_from(mono).unwrap() };
                let name = boot.to_string();
                let reading = Reading { wall_ms, boot: &name, mono_ms };
                let now = time.at(reading);
                prop_assert!(now.checked_ms >= before && now.checked_ms <= really);
                prop_assert!(now.slow_ms <= now.wall_ms);
                time.take(reading);
                prop_assert_eq!(time.at(reading), now);
                before = now.checked_ms;
            }
        }
    }
}
