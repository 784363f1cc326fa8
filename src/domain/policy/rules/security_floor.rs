//! `security-floor`: no module goes below these revisions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::heal::floor;
use crate::domain::id::{ModuleName, ObjectId};
use crate::domain::policy::Severity;
use crate::domain::policy::facts::Facts;
use crate::domain::policy::found::Found;

/// The settings of `security-floor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityFloor {
    /// How grave it is. A heal never goes below, however grave.
    pub severity: Severity,
    /// For each module the revision that must be in its history.
    pub modules: BTreeMap<ModuleName, ObjectId>,
}

impl Default for SecurityFloor {
    fn default() -> Self {
        Self { severity: Severity::Deny, modules: BTreeMap::new() }
    }
}

impl Rule for SecurityFloor {
    const ID: &'static str = "security-floor";
    const ASKS: Asks = Asks::Tree;
    const ABOUT: &'static str = "\
No module is taken to a revision that does not hold these in its history: what was mended there stays \
mended, also when a rollback or a heal takes a pin back. What cannot be compared counts as below. A heal \
never goes below the floor, whatever the severity; the members document can state a floor of its own, \
which holds for heals.";
    const EXAMPLE: &'static str = "\
[rules.security-floor]
severity = \"deny\"

[rules.security-floor.modules]
logos-waku-module = \"0123456789abcdef0123456789abcdef01234567\"
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn check(&self) -> Result<(), String> {
        if self.modules.is_empty() { Err("it names no module".to_owned()) } else { Ok(()) }
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        for module in facts.judged() {
            let (Some(revision), Some((floor, relation))) = (module.revision, &module.floor) else {
                continue;
            };
            if let Err(why) = floor::allows(*floor, revision, relation) {
                found.module(&module.name, why, Some("policy states the floor: security-floor.modules"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, id, module, purpose, upgrade};
    use super::*;
    use crate::domain::policy::facts::ModuleFacts;
    use crate::domain::proposal::Purpose;
    use crate::domain::upgrade::Relation;

    #[test]
    fn what_does_not_hold_the_floor_is_below_it_whoever_asks() {
        let it =
            SecurityFloor { modules: [(ModuleName::new("m"), id(7))].into(), ..SecurityFloor::default() };
        let with =
            |floor, relation| upgrade(vec![ModuleFacts { floor: Some((floor, relation)), ..module("m") }]);
        let below = with(id(7), Ok(Relation::Counted { behind: 4, ahead: 1 }));
        for (facts, says) in [
            (upgrade(vec![module("m")]), ""),
            (with(id(2), Err("not asked".to_owned())), ""),
            (with(id(7), Ok(Relation::Counted { behind: 4, ahead: 0 })), ""),
            (below.clone(), "is below the security floor 0707"),
            (purpose(below.clone(), Purpose::Rollback), "is below"),
            (purpose(below, Purpose::Heal), "is below"),
            (with(id(7), Ok(Relation::Missing(id(7)))), "cannot be told"),
            (with(id(7), Err("no mirror".to_owned())), "cannot be told: no mirror"),
        ] {
            check(&it, &facts, says);
        }
        assert!(SecurityFloor::default().check().is_err());
    }
}
