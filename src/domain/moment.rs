//! Wall time as people read it. A moment as a signer reads it: UTC, whole seconds, `2026-11-22T06:28:31Z` (RFC 3339).

use std::fmt;
use std::str::FromStr;

/// A moment between 1970 and 9999, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

/// The last second of the year 9999.
const LAST: i64 = 253_402_300_799;

impl Moment {
    /// The moment of these Unix milliseconds, cut to the second and to what four digits of a year
    /// can say.
    #[must_use]
    pub fn from_ms(wall_ms: i64) -> Self {
        Self(wall_ms.div_euclid(1000).clamp(0, LAST))
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn as_ms(self) -> i64 {
        self.0 * 1000
    }
}

/// A wall time in the civil calendar, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// The year of our era, or before it.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59: Unix time has no leap seconds.
    pub second: u8,
}

impl Civil {
    /// Of Unix milliseconds: days to civil date after Howard Hinnant's `civil_from_days`.
    #[must_use]
    pub fn of(wall_ms: i64) -> Self {
        let seconds = wall_ms.div_euclid(1000);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let narrow = |part: i64| u8::try_from(part).unwrap_or_default();
        Self {
            year,
            month: narrow(month),
            day: narrow(day),
            hour: narrow(second / 3600),
            minute: narrow(second / 60 % 60),
            second: narrow(second % 60),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second } = Civil::of(self.as_ms());
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Why a text is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a UTC time such as 2026-11-22T06:28:31Z", crate::domain::text::quoted(.0))]
pub struct NotAMoment(String);

impl FromStr for Moment {
    type Err = NotAMoment;

    /// The inverse of `Display`, and nothing else.
    fn from_str(shown: &str) -> Result<Self, NotAMoment> {
        let wrong = || NotAMoment(shown.to_owned());
        if shown.len() != "2026-11-22T06:28:31Z".len() || !shown.is_ascii() {
            return Err(wrong());
        }
        let number = |from: usize, to: usize| shown[from..to].parse::<u32>().map(i64::from).ok();
        let parts =
            [(0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19)].map(|(from, to)| number(from, to));
        let [Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)] = parts else {
            return Err(wrong());
        };
        // Howard Hinnant's `days_from_civil`.
        let shifted_year = year - i64::from(month <= 2);
        let era = shifted_year.div_euclid(400);
        let year_of_era = shifted_year.rem_euclid(400);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        let days = era * 146_097 + of_era - 719_468;
        let moment = Self(days * 86_400 + hour * 3600 + minute * 60 + second);
        // Whatever is no such day or hour is shown in another way than it was written.
        if (0..=LAST).contains(&moment.0) && moment.to_string() == shown { Ok(moment) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_shown_in_utc() {
        for (wall_ms, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_999, "2000-02-29T00:00:00Z"),
            (1_790_000_000_000, "2026-09-21T14:13:20Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
            (-5, "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(Moment::from_ms(wall_ms).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for wrong in [
            "",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00z",
            "2026-01-01T00:00:00+",
            "+026-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-1-011T00:00:00Z",
            "2026-00-01T00:00:00Z",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn shown_and_read_again_it_is_the_same(seconds in 0..=LAST) {
            let moment = Moment(seconds);
            prop_assert_eq!(moment.to_string().parse::<Moment>(), Ok(moment));
        }
    }
}
