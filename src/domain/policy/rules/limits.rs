//! `limits`: how much one proposal may change, and how much a day.

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::policy::Severity;
use crate::domain::policy::facts::Facts;
use crate::domain::policy::found::Found;

/// The settings of `limits`. 0 is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How grave it is.
    pub severity: Severity,
    /// Most pins that one proposal moves.
    pub pins_per_proposal: u32,
    /// Most paths of the superproject that one proposal changes.
    pub paths_per_proposal: u32,
    /// Most proposals that are applied within a day.
    pub applied_per_day: u32,
    /// How often the pin of one module may be moved within a day.
    pub moves_per_module_and_day: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            severity: Severity::Deny,
            pins_per_proposal: 0,
            paths_per_proposal: 0,
            applied_per_day: 0,
            moves_per_module_and_day: 0,
        }
    }
}

impl Rule for Limits {
    const ID: &'static str = "limits";
    const ASKS: Asks = Asks::World;
    const ABOUT: &'static str = "\
How much changes at once. A proposal over the limit of pins or paths is put to people in smaller parts; \
one over a limit of the day waits until the day is over. A day is 24 hours of the journal's checked time: \
a clock that jumps, or a machine that was off, gives nothing back.

A heal is not counted against the limits of the day, and is not held up by them: it has its own.";
    const EXAMPLE: &'static str = "\
[rules.limits]
severity = \"deny\"
pins_per_proposal = 20
paths_per_proposal = 60
applied_per_day = 10
moves_per_module_and_day = 2
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn check(&self) -> Result<(), String> {
        let all = [
            self.pins_per_proposal,
            self.paths_per_proposal,
            self.applied_per_day,
            self.moves_per_module_and_day,
        ];
        if all == [0; 4] { Err("it limits nothing: set one of its limits".to_owned()) } else { Ok(()) }
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        let Some(change) = &facts.change else { return };
        let over = |limit: u32, count: usize| limit > 0 && u32::try_from(count).unwrap_or(u32::MAX) > limit;
        let pins = facts.modules.iter().filter(|module| module.moved.is_some()).count();
        if over(self.pins_per_proposal, pins) {
            let most = self.pins_per_proposal;
            found.whole(format!("it moves {pins} pins, and {most} are allowed in one proposal"), None);
        }
        if over(self.paths_per_proposal, change.paths.len()) {
            let (paths, most) = (change.paths.len(), self.paths_per_proposal);
            found.whole(format!("it changes {paths} paths, and {most} are allowed in one proposal"), None);
        }
        if change.purpose == crate::domain::proposal::Purpose::Heal {
            return;
        }
        let wait = Some("it passes by itself when the day is over");
        let (applied, most) = (facts.lately.applied, self.applied_per_day);
        if most > 0 && applied >= most {
            found.whole(
                format!("{applied} proposals were applied within a day, and {most} are allowed"),
                wait,
            );
        }
        let most = self.moves_per_module_and_day;
        for (module, _) in facts.moved().filter(|_| most > 0) {
            let moves = facts.lately.moves.get(&module.name).copied().unwrap_or_default();
            if moves >= most {
                let said = format!("its pin was moved {moves} times within a day, and {most} are allowed");
                found.module(&module.name, said, wait);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::{check, module, purpose, rule, upgrade};
    use super::*;
    use crate::domain::id::ModuleName;
    use crate::domain::policy::facts::Lately;
    use crate::domain::proposal::Purpose;

    #[test]
    fn what_is_over_a_limit_is_said() {
        let two = || upgrade(vec![module("a"), module("b")]);
        let lately = |applied, moves: u32| {
            let mut facts = two();
            facts.lately = Lately { applied, moves: BTreeMap::from([(ModuleName::new("a"), moves)]) };
            facts
        };
        for (settings, facts, says) in [
            ("pins_per_proposal = 2", two(), ""),
            ("pins_per_proposal = 1", two(), "it moves 2 pins, and 1 are allowed"),
            ("paths_per_proposal = 2", two(), ""),
            ("paths_per_proposal = 1", two(), "it changes 2 paths, and 1 are"),
            ("applied_per_day = 3", lately(2, 0), ""),
            ("applied_per_day = 3", lately(3, 0), "3 proposals were applied within a day"),
            ("applied_per_day = 3", purpose(lately(3, 0), Purpose::Heal), ""),
            ("moves_per_module_and_day = 2", lately(2, 1), ""),
            ("moves_per_module_and_day = 2", lately(2, 2), "a: its pin was moved 2 times"),
            ("moves_per_module_and_day = 2", purpose(lately(2, 2), Purpose::Heal), ""),
        ] {
            check(&rule::<Limits>(settings), &facts, says);
        }
        assert!(Limits::default().check().is_err());
    }
}
