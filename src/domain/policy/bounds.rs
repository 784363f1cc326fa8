//! The bounds within which the daemon enacts a change that nobody voted on, on the rung `bounded`.
//!
//! In: what the policy allows, and what is known of one change. Out: yes, or every reason why it
//! waits for people. What is not known is out of bounds.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::id::ModuleName;

/// The longest time and the largest count that a bound may state.
const MOST: (i64, u32) = (366 * 24 * 60 * 60 * 1000, 10_000);

/// What stands for every module.
pub const EVERY_MODULE: &str = "*";

/// What may be enacted without a ballot. Strong evidence is asked for always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Which modules may move: their names, sorted, or `*` alone.
    pub modules: Vec<String>,
    /// How many commits a pin may move forward at once.
    pub max_commits: u32,
    /// How many changes may be enacted in 24 hours.
    pub max_per_day: u32,
    /// How long ago this workspace must have seen the revision first, milliseconds.
    pub min_age_ms: i64,
}

/// What is known of one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// Each pin that moves, by module.
    pub pins: Vec<PinExtent>,
    /// How many changes were enacted within bounds in the last 24 hours.
    pub enacted_today: u32,
}

/// How far one pin moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinExtent {
    /// The module.
    pub module: ModuleName,
    /// How many commits it moves forward; absent when it is not known to move forward.
    pub commits: Option<u64>,
    /// How long ago the revision was seen first, milliseconds of checked time; absent when unknown.
    pub age_ms: Option<i64>,
}

impl Bounds {
    /// What is wrong with it, if anything: a sentence without a final stop.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let (time, count) = MOST;
        if self.modules.is_empty() || !self.modules.is_sorted_by(|a, b| a < b) {
            return Some("bounds.modules must name modules, sorted, or \"*\" alone");
        }
        if self.modules.len() > 1 && self.modules.iter().any(|name| name == EVERY_MODULE) {
            return Some("bounds.modules has \"*\" beside names");
        }
        if !(1..=count).contains(&self.max_commits) {
            return Some("bounds.max_commits must be 1 to 10000");
        }
        if !(1..=count).contains(&self.max_per_day) {
            return Some("bounds.max_per_day must be 1 to 10000");
        }
        if !(0..=time).contains(&self.min_age_ms) {
            return Some("bounds.min_age_ms must be 0 to a year");
        }
        None
    }

    /// Whether a module may move without a ballot.
    #[must_use]
    pub fn names(&self, module: &ModuleName) -> bool {
        self.modules.iter().any(|name| name == EVERY_MODULE || name == module.as_str())
    }

    /// Why a change of this extent waits for people, each a sentence without a final stop; empty
    /// when it is within bounds.
    #[must_use]
    pub fn exceeded(&self, extent: &Extent) -> Vec<String> {
        let mut said = Vec::new();
        if extent.pins.is_empty() {
            said.push("it moves no pin".to_owned());
        }
        let mut seen = BTreeSet::new();
        for PinExtent { module, commits, age_ms } in &extent.pins {
            if !seen.insert(module) {
                said.push(format!("{module} stands twice"));
            }
            if !self.names(module) {
                said.push(format!("{module} is not among the modules that may move without a ballot"));
            }
            match commits {
                None => said.push(format!("how far {module} moves forward is not known")),
                Some(commits) if *commits > u64::from(self.max_commits) => {
                    said.push(format!("{module} moves {commits} commits, and {} may be", self.max_commits));
                }
                Some(_) => {}
            }
            match age_ms {
                _ if self.min_age_ms == 0 => {}
                None => said.push(format!("since when {module} was seen there is not known")),
                Some(age) if *age < self.min_age_ms => {
                    // Not for how long it is: the sentence would be another one in every cycle.
                    let must = self.min_age_ms / 60_000;
                    said.push(format!(
                        "{module} must have been seen there for {must} minutes, and is not yet"
                    ));
                }
                Some(_) => {}
            }
        }
        if extent.enacted_today >= self.max_per_day {
            let (is, may) = (extent.enacted_today, self.max_per_day);
            said.push(format!("{is} changes were enacted within bounds in 24 hours, and {may} may be"));
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            modules: vec!["a".to_owned(), "b".to_owned()],
            max_commits: 5,
            max_per_day: 2,
            min_age_ms: 60_000,
        }
    }

    fn pin(module: &str, commits: Option<u64>, age_ms: Option<i64>) -> PinExtent {
        PinExtent { module: ModuleName::new(module), commits, age_ms }
    }

    #[test]
    fn a_change_at_every_bound_is_within_and_one_beyond_any_of_them_is_not() {
        let at = Extent {
            pins: vec![pin("a", Some(5), Some(60_000)), pin("b", Some(0), Some(60_000))],
            enacted_today: 1,
        };
        assert_eq!(bounds().exceeded(&at), [""; 0]);
        for (pins, today, said) in [
            (vec![], 0, "no pin"),
            (vec![pin("c", Some(1), Some(60_000))], 0, "c is not among"),
            (vec![pin("a", Some(6), Some(60_000))], 0, "a moves 6 commits, and 5 may be"),
            (vec![pin("a", None, Some(60_000))], 0, "is not known"),
            (vec![pin("a", Some(1), Some(59_999))], 0, "must have been seen there for 1 minutes"),
            (vec![pin("a", Some(1), None)], 0, "is not known"),
            (vec![pin("a", Some(1), Some(60_000)); 2], 0, "stands twice"),
            (vec![pin("a", Some(1), Some(60_000))], 2, "2 changes were enacted"),
        ] {
            let over = bounds().exceeded(&Extent { pins, enacted_today: today });
            assert!(matches!(&*over, [one] if one.contains(said)), "{said}: {over:?}");
        }
    }

    #[test]
    fn bounds_that_say_nothing_or_everything_by_mistake_are_refused() {
        assert_eq!(bounds().fault(), None);
        let every = Bounds { modules: vec!["*".to_owned()], ..bounds() };
        assert_eq!(every.fault(), None);
        assert!(every.names(&ModuleName::new("any")));
        for wrong in [
            Bounds { modules: Vec::new(), ..bounds() },
            Bounds { modules: vec!["b".to_owned(), "a".to_owned()], ..bounds() },
            Bounds { modules: vec!["*".to_owned(), "a".to_owned()], ..bounds() },
            Bounds { max_commits: 0, ..bounds() },
            Bounds { max_per_day: 0, ..bounds() },
            Bounds { min_age_ms: -1, ..bounds() },
        ] {
            assert!(wrong.fault().is_some(), "{wrong:?}");
        }
    }
}
