//! `minimum-age`: a revision is taken only when it was seen here long enough ago.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::id::ModuleName;
use crate::domain::policy::Severity;
use crate::domain::policy::facts::{ChangeFacts, Facts};
use crate::domain::policy::found::Found;
use crate::domain::policy::pattern::Pattern;

/// An hour, milliseconds.
const HOUR_MS: i64 = 60 * 60 * 1000;

/// The settings of `minimum-age`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinimumAge {
    /// How grave it is.
    pub severity: Severity,
    /// How many hours ago it must have been seen first.
    pub hours: u32,
    /// Modules for which it does not matter.
    pub exempt: BTreeSet<Pattern>,
}

impl Default for MinimumAge {
    fn default() -> Self {
        Self { severity: Severity::Deny, hours: 72, exempt: BTreeSet::new() }
    }
}

impl MinimumAge {
    /// How old a revision of this module must be, milliseconds; `None` when it does not matter.
    #[must_use]
    pub fn asked_ms(&self, module: &ModuleName) -> Option<i64> {
        let exempt = self.exempt.iter().any(|pattern| pattern.matches(module.as_str()));
        (!exempt).then_some(i64::from(self.hours) * HOUR_MS)
    }
}

impl Rule for MinimumAge {
    const ID: &'static str = "minimum-age";
    const ASKS: Asks = Asks::World;
    const ABOUT: &'static str = "\
A revision is taken only when it, or one that holds it, was seen at its upstream by this workspace at \
least so many hours ago: what was slipped in is mostly found within days. The age is counted from when we \
saw it, never from a date that the revision states, and on the journal's checked time: a clock that jumps \
makes nothing older, and neither does a time in which nothing ran.

Where the newest revision is too young, the newest one that is old enough is proposed instead. A rollback \
or a heal, and a pin that only has its places put right, brings in nothing new.";
    const EXAMPLE: &'static str = "\
[rules.minimum-age]
severity = \"deny\"
hours = 72
exempt = [\"our-own-*\"]
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn check(&self) -> Result<(), String> {
        if (1..=24 * 366).contains(&self.hours) { Ok(()) } else { Err("hours must be 1 to 8784".to_owned()) }
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        if facts.change.as_ref().is_some_and(ChangeFacts::goes_back) {
            return;
        }
        for (module, moved) in facts.moved() {
            let Some(asked) = self.asked_ms(&module.name) else { continue };
            let to = moved.to.short();
            let said = match &module.first_seen_ms {
                Ok(Some(seen)) => {
                    let age = facts.now.checked_ms.saturating_sub(*seen);
                    if age >= asked {
                        continue;
                    }
                    let (age, left) = (hours(age), hours(asked - age + HOUR_MS - 1));
                    format!(
                        "{to} was first seen {age} h ago, and {} h are asked for: {left} h to go",
                        self.hours
                    )
                }
                Ok(None) => format!("{to} was never seen at its upstream here"),
                Err(why) => format!("since when {to} is known cannot be told: {why}"),
            };
            found.module(&module.name, said, Some("it passes by itself once the revision is old enough"));
        }
    }
}

fn hours(ms: i64) -> i64 {
    ms.max(0) / HOUR_MS
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, id, module, purpose, rule, upgrade};
    use super::*;
    use crate::domain::policy::facts::ModuleFacts;
    use crate::domain::proposal::Purpose;

    #[test]
    fn what_is_younger_or_was_never_seen_waits() {
        let it: MinimumAge = rule("hours = 2\nexempt = ['own-*']");
        let with = |name: &str, seen, now| {
            let mut facts = upgrade(vec![ModuleFacts { first_seen_ms: seen, ..module(name) }]);
            facts.now.checked_ms = now;
            // The wall clock makes nothing older.
            facts.now.wall_ms = 1_000 * HOUR_MS;
            facts
        };
        let hour = HOUR_MS;
        for (facts, says) in [
            (with("m", Ok(Some(5)), 2 * hour + 5), ""),
            (with("m", Ok(Some(5)), 2 * hour + 4), "first seen 1 h ago, and 2 h are asked for: 1 h to go"),
            (with("m", Ok(Some(5)), 0), "first seen 0 h ago"),
            (with("m", Ok(None), 9 * hour), "was never seen at its upstream here"),
            (with("m", Err("no mirror".to_owned()), 9 * hour), "cannot be told: no mirror"),
            (with("own-x", Ok(None), 0), ""),
            (purpose(with("m", Ok(None), 0), Purpose::Heal), ""),
            (purpose(with("m", Ok(None), 0), Purpose::Rollback), ""),
        ] {
            check(&it, &facts, says);
        }
        let mut realigned = with("m", Ok(None), 0);
        realigned.modules[0].moved.as_mut().unwrap().to = id(1);
        check(&it, &realigned, "");
    }
}
