//! `freeze`: times in which nothing is certified or applied.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::governance::time::Times;
use crate::domain::moment::Moment;
use crate::domain::policy::Severity;
use crate::domain::policy::facts::Facts;
use crate::domain::policy::found::Found;
use crate::domain::proposal::{Purpose, Track};

/// The rule's name: what it denies is told apart from what other rules do.
pub const FREEZE: &str = "freeze";

const MINUTE_MS: i64 = 60 * 1000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
const WEEK_MS: i64 = 7 * DAY_MS;

/// The settings of `freeze`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Freeze {
    /// How grave it is.
    pub severity: Severity,
    /// When; every one of them.
    pub windows: Vec<Window>,
}

/// One time, in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Its beginning: a moment (`2026-12-20T00:00:00Z`), or a day of the week and a time (`fri 16:00`),
    /// and then every week.
    pub from: String,
    /// Its end, written likewise.
    pub until: String,
    /// The tracks that it is for; without any, all of them.
    #[serde(default)]
    pub tracks: BTreeSet<Track>,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// A beginning or an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// Unix milliseconds.
    At(i64),
    /// Milliseconds from Monday, 00:00.
    Weekly(i64),
}

const WEEK: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

fn edge(text: &str) -> Result<Edge, String> {
    if let Ok(moment) = text.parse::<Moment>() {
        return Ok(Edge::At(moment.as_ms()));
    }
    let weekly = || -> Option<i64> {
        let (day, time) = text.split_once(' ')?;
        let day = i64::try_from(WEEK.iter().position(|known| *known == day)?).ok()?;
        let (hour, minute) = time.split_once(':')?;
        if hour.len() != 2 || minute.len() != 2 || !time.bytes().all(|b| b.is_ascii_digit() || b == b':') {
            return None;
        }
        let (hour, minute) = (hour.parse::<i64>().ok()?, minute.parse::<i64>().ok()?);
        (hour < 24 && minute < 60).then_some(day * DAY_MS + (hour * 60 + minute) * MINUTE_MS)
    };
    weekly().map(Edge::Weekly).ok_or_else(|| {
        let shown = crate::domain::text::quoted(text);
        format!("{shown} is neither a moment such as 2026-12-20T00:00:00Z nor a time of the week such as fri 16:00")
    })
}

impl Window {
    /// Beginning and end around a moment: of the occurrence that holds it, or ended last before it.
    fn around(&self, at_ms: i64) -> Result<(i64, i64), String> {
        match (edge(&self.from)?, edge(&self.until)?) {
            (Edge::At(from), Edge::At(until)) if from < until => Ok((from, until)),
            (Edge::At(_), Edge::At(_)) => Err(format!("a window from {} ends before it begins", self.from)),
            (Edge::Weekly(from), Edge::Weekly(until)) => {
                // 1 January 1970 was a Thursday.
                let since_monday = (at_ms + 3 * DAY_MS).rem_euclid(WEEK_MS);
                let begins = at_ms - since_monday + from;
                let begins = if begins > at_ms { begins - WEEK_MS } else { begins };
                let long = (until - from).rem_euclid(WEEK_MS);
                if long == 0 {
                    return Err(format!("a window from {} ends when it begins", self.from));
                }
                Ok((begins, begins + long))
            }
            _ => Err(format!("the window from {} mixes a moment and a time of the week", self.from)),
        }
    }

    /// When it ends, where it holds: it begins by the clock on the wall, and ends when the slower
    /// clock has come there too.
    fn holds(&self, now: Times) -> Result<Option<i64>, String> {
        let (_, until) = self.around(now.wall_ms)?;
        let (from, slow_until) = self.around(now.slow_ms)?;
        let contains = |(from, until): (i64, i64), at: i64| (from..until).contains(&at);
        if contains(self.around(now.wall_ms)?, now.wall_ms) {
            return Ok(Some(until));
        }
        // Somewhere between the two clocks.
        if from <= now.wall_ms && now.slow_ms < slow_until {
            return Ok(Some(slow_until));
        }
        let weekly = matches!(edge(&self.from)?, Edge::Weekly(_));
        Ok((weekly && from + WEEK_MS <= now.wall_ms).then_some(slow_until + WEEK_MS))
    }
}

impl Default for Freeze {
    fn default() -> Self {
        Self { severity: Severity::Deny, windows: Vec::new() }
    }
}

impl Freeze {
    /// What holds such a change up at this moment, each a sentence without a final stop.
    #[must_use]
    pub fn holding(&self, purpose: Purpose, track: Track, now: Times) -> Vec<String> {
        if purpose == Purpose::Heal {
            return Vec::new();
        }
        let windows = self.windows.iter();
        let windows = windows.filter(|window| window.tracks.is_empty() || window.tracks.contains(&track));
        let said = windows.filter_map(|window| {
            let why = if window.reason.is_empty() { String::new() } else { format!(" ({})", window.reason) };
            Some(match window.holds(now) {
                Ok(None) => return None,
                Ok(Some(until)) if until > now.wall_ms => {
                    format!("frozen until {}{why}", Moment::from_ms(until))
                }
                Ok(Some(until)) => {
                    let minutes = (until - now.slow_ms).div_euclid(MINUTE_MS) + 1;
                    format!("frozen for {minutes} minutes more{why}: the clock was set over the end of that")
                }
                Err(why) => why,
            })
        });
        said.collect()
    }
}

impl Rule for Freeze {
    const ID: &'static str = FREEZE;
    const ASKS: Asks = Asks::World;
    const ABOUT: &'static str = "\
Times in which nothing is certified or applied: from one moment until another, or every week from one \
time of the week until another, in UTC, on some tracks or on all. What was proposed waits, and goes on by \
itself when the window is over.

A window begins by the clock on the wall. It ends only when the clock that counts since the machine \
started has come there as well: a clock that is set forward over its end does not end it. \
A heal goes on in a window: it takes nothing new in.";
    const EXAMPLE: &'static str = "\
[rules.freeze]
severity = \"deny\"

[[rules.freeze.windows]]
from = \"2026-12-20T00:00:00Z\"
until = \"2027-01-04T06:00:00Z\"
reason = \"nobody is there\"

[[rules.freeze.windows]]
from = \"fri 16:00\"
until = \"mon 06:00\"
tracks = [\"core\", \"self-upgrade\"]
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn check(&self) -> Result<(), String> {
        if self.windows.is_empty() {
            return Err("it has no windows".to_owned());
        }
        self.windows.iter().try_for_each(|window| window.around(0).map(|_| ()))
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        let Some(change) = &facts.change else { return };
        for said in self.holding(change.purpose, change.track, facts.now) {
            found.whole(said, Some("it goes on by itself when the window is over"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, purpose, rule, upgrade};
    use super::*;

    fn at(wall: &str, slow: &str) -> Facts {
        let mut facts = upgrade(Vec::new());
        let ms = |text: &str| text.parse::<Moment>().unwrap().as_ms();
        facts.now = Times { wall_ms: ms(wall), checked_ms: 0, slow_ms: ms(slow) };
        facts
    }

    #[test]
    fn a_window_begins_by_the_wall_and_ends_by_the_slower_clock() {
        let it: Freeze = rule(
            "[[windows]]\nfrom = '2026-12-20T00:00:00Z'\nuntil = '2027-01-04T00:00:00Z'\nreason = 'nobody is there'",
        );
        for (wall, slow, says) in [
            ("2026-12-19T23:59:59Z", "2026-12-19T23:59:59Z", ""),
            ("2026-12-20T00:00:00Z", "2026-12-20T00:00:00Z", "until 2027-01-04T00:00:00Z (nobody is there)"),
            ("2027-01-03T23:59:59Z", "2027-01-03T23:59:59Z", "until 2027-01-04"),
            ("2027-01-04T00:00:00Z", "2027-01-04T00:00:00Z", ""),
            // Set forward over the end, or over the whole window.
            ("2027-01-04T00:00:00Z", "2026-12-31T00:00:00Z", "for 5761 minutes more (nobody is there)"),
            ("2028-01-01T00:00:00Z", "2026-12-01T00:00:00Z", "minutes more"),
            ("2028-01-01T00:00:00Z", "2027-01-04T00:00:00Z", ""),
        ] {
            check(&it, &at(wall, slow), says);
        }
        let frozen = at("2026-12-25T00:00:00Z", "2026-12-25T00:00:00Z");
        check(&it, &purpose(frozen.clone(), Purpose::Heal), "");
        check(&it, &purpose(frozen, Purpose::Rollback), "until");
    }

    #[test]
    fn a_window_of_every_week_comes_again_on_its_tracks() {
        let weekly = "[[windows]]\nfrom = 'fri 16:00'\nuntil = 'mon 06:00'\ntracks = ['leaf']";
        let it: Freeze = rule(weekly);
        // 2026-11-20 was a Friday.
        for (wall, slow, says) in [
            ("2026-11-20T15:59:59Z", "2026-11-20T15:59:59Z", ""),
            ("2026-11-20T16:00:00Z", "2026-11-20T16:00:00Z", "until 2026-11-23T06:00:00Z"),
            ("2026-11-23T05:59:59Z", "2026-11-23T05:59:59Z", "until 2026-11-23T06:00:00Z"),
            ("2026-11-23T06:00:00Z", "2026-11-23T06:00:00Z", ""),
            ("2026-11-27T17:00:00Z", "2026-11-27T17:00:00Z", "until 2026-11-30T06:00:00Z"),
            ("2026-11-23T07:00:00Z", "2026-11-22T06:00:00Z", "minutes more"),
            ("2026-11-23T07:00:00Z", "2026-11-20T12:00:00Z", "minutes more"),
            ("2026-11-24T07:00:00Z", "2026-11-23T12:00:00Z", ""),
        ] {
            check(&it, &at(wall, slow), says);
        }
        let core: Freeze = rule(&weekly.replace("leaf", "core"));
        check(&core, &at("2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z"), "");
    }

    #[test]
    fn a_window_that_is_none_is_refused() {
        for (from, until) in [
            ("2027-01-04T00:00:00Z", "2026-12-20T00:00:00Z"),
            ("fri 16:00", "2026-12-20T00:00:00Z"),
            ("fri 16:00", "fri 16:00"),
            ("friday 16:00", "mon 06:00"),
            ("fri 24:00", "mon 06:00"),
            ("fri +1:00", "mon 06:00"),
            ("", ""),
        ] {
            let window = Window {
                from: from.to_owned(),
                until: until.to_owned(),
                tracks: BTreeSet::new(),
                reason: String::new(),
            };
            let freeze = Freeze { windows: vec![window], ..Freeze::default() };
            assert!(freeze.check().is_err(), "{from} {until}");
        }
        assert!(Freeze::default().check().is_err());
    }
}
