//! When the next cycle is due. Pure: from the time since boot (suspend included) and a seed.

/// The rhythm of cycles: one every `interval_ms`, each moved by up to `jitter_ms`.
///
/// Time is `CLOCK_BOOTTIME`, so a machine that slept for hours owes exactly one cycle when it
/// wakes: what is due is counted from the cycle that ran last, never from a grid of past dates.
#[expect(clippy::struct_field_names, reason = "units stand last in every name")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    interval_ms: u64,
    jitter_ms: u64,
    due_ms: u64,
}

/// Why a cycle runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The first after a start.
    Start,
    /// The interval went by.
    Interval,
    /// The machine slept through at least one whole interval more.
    Resume,
}

impl Cause {
    /// The word that the journal keeps.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Interval => "interval",
            Self::Resume => "resume",
        }
    }
}

impl Schedule {
    /// A rhythm whose first cycle is due at once.
    #[must_use]
    pub fn new(interval_ms: u64, jitter_ms: u64, now_ms: u64) -> Self {
        Self { interval_ms: interval_ms.max(1), jitter_ms, due_ms: now_ms }
    }

    /// How long to wait, milliseconds; 0 when a cycle is due.
    #[must_use]
    pub fn wait_ms(&self, now_ms: u64) -> u64 {
        self.due_ms.saturating_sub(now_ms)
    }

    /// Why the cycle that is due now runs.
    #[must_use]
    pub fn cause(&self, now_ms: u64) -> Cause {
        if now_ms.saturating_sub(self.due_ms) >= self.interval_ms { Cause::Resume } else { Cause::Interval }
    }

    /// A cycle that began at `began_ms` is over at `now_ms`: the next is due one interval after it
    /// began, moved by a part of the jitter that `seed` chooses, and never in the past.
    pub fn done(&mut self, began_ms: u64, now_ms: u64, seed: u64) {
        let jitter = if self.jitter_ms == 0 { 0 } else { spread(seed) % (self.jitter_ms + 1) };
        self.due_ms = began_ms.saturating_add(self.interval_ms).saturating_add(jitter).max(now_ms);
    }
}

/// A fixed mixing of bits (splitmix64): equal seeds give equal jitter, neighbours differ.
fn spread(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 300_000;

    #[test]
    fn the_first_cycle_is_due_at_once_and_the_next_after_the_interval() {
        let mut schedule = Schedule::new(INTERVAL, 0, 1_000);
        assert_eq!(schedule.wait_ms(1_000), 0);
        schedule.done(1_000, 1_500, 7);
        assert_eq!(schedule.wait_ms(1_500), INTERVAL - 500);
    }

    #[test]
    fn eight_hours_asleep_owe_one_cycle() {
        let mut schedule = Schedule::new(INTERVAL, 0, 0);
        schedule.done(0, 100, 0);
        let mut now = 8 * 3_600_000;
        let mut ran = 0;
        while schedule.wait_ms(now) == 0 {
            assert_eq!(schedule.cause(now), Cause::Resume);
            schedule.done(now, now + 100, 0);
            now += 100;
            ran += 1;
        }
        assert_eq!(ran, 1);
        assert_eq!(schedule.wait_ms(now), INTERVAL - 100);
    }

    #[test]
    fn a_cycle_longer_than_the_interval_is_followed_at_once_and_not_piled_up() {
        let mut schedule = Schedule::new(INTERVAL, 0, 0);
        schedule.done(0, 5 * INTERVAL, 0);
        assert_eq!(schedule.wait_ms(5 * INTERVAL), 0);
        schedule.done(5 * INTERVAL, 5 * INTERVAL + 10, 0);
        assert_eq!(schedule.wait_ms(5 * INTERVAL + 10), INTERVAL - 10);
    }

    #[test]
    fn jitter_stays_in_its_bound_and_spreads() {
        let mut waits: Vec<u64> = (0..200)
            .map(|seed| {
                let mut schedule = Schedule::new(INTERVAL, 30_000, 0);
                schedule.done(0, 0, seed);
                schedule.wait_ms(0)
            })
            .collect();
        assert!(waits.iter().all(|wait| (INTERVAL..=INTERVAL + 30_000).contains(wait)));
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 150);
    }
}
