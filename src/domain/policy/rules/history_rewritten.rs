//! `history-rewritten`: a pin never loses commits, and no upstream whose history changed is followed.

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::policy::Severity;
use crate::domain::policy::facts::{ChangeFacts, Facts};
use crate::domain::policy::found::Found;
use crate::domain::upgrade::Relation;

/// The settings of `history-rewritten`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryRewritten {
    /// How grave it is.
    pub severity: Severity,
}

impl Default for HistoryRewritten {
    fn default() -> Self {
        Self { severity: Severity::Deny }
    }
}

impl Rule for HistoryRewritten {
    const ID: &'static str = "history-rewritten";
    const ASKS: Asks = Asks::World;
    const ABOUT: &'static str = "\
A pin moves only to a revision whose history holds the one that it was at, and not while its upstream's \
branch lost a tip that was seen on it: then somebody rewrote history, and a person accepts that first \
(`lambda-os unhold`).

A rollback, and a heal, take a pin back on purpose: they may lose commits. What cannot be compared \
counts as rewritten.";
    const EXAMPLE: &'static str = "\
[rules.history-rewritten]
severity = \"deny\"
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        let back = facts.change.as_ref().is_some_and(ChangeFacts::goes_back);
        for module in facts.judged() {
            let name = &module.name;
            let rewritten = module.upstream.as_ref().and_then(|upstream| upstream.rewritten_to);
            if let (Some(tip), false) = (rewritten, back) {
                let said = format!("its upstream's history was rewritten to {}", tip.short());
                found.module(name, said, Some("look at it, then lambda-os unhold accepts it"));
            }
            let Some(moved) = module.moved.as_ref().filter(|moved| moved.from != moved.to && !back) else {
                continue;
            };
            let (from, to) = (moved.from.short(), moved.to.short());
            let said = match &moved.relation {
                Ok(Relation::Counted { ahead: 0, .. }) => continue,
                Ok(Relation::Counted { ahead, .. }) => {
                    format!("{to} does not hold {ahead} of {from}'s commits")
                }
                Ok(Relation::Missing(commit)) => {
                    format!("whether {to} holds {from} cannot be told: {} is not at hand", commit.short())
                }
                Err(why) => format!("whether {to} holds {from} cannot be told: {why}"),
            };
            found.module(name, said, Some("lambda-os rollback takes a pin back on purpose"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, id, module, purpose, rule, upgrade};
    use super::*;
    use crate::domain::policy::facts::{ModuleFacts, Moved, UpstreamFacts};
    use crate::domain::proposal::Purpose;

    #[test]
    fn lost_commits_and_rewritten_upstreams_are_denied_unless_a_pin_goes_back_on_purpose() {
        let it: HistoryRewritten = rule("");
        let with = |relation| {
            let moved = Some(Moved { from: id(1), to: id(2), relation });
            upgrade(vec![ModuleFacts { moved, ..module("m") }])
        };
        let lost = with(Ok(Relation::Counted { behind: 1, ahead: 2 }));
        for (facts, says) in [
            (with(Ok(Relation::Counted { behind: 1, ahead: 0 })), ""),
            (lost.clone(), "does not hold 2 of"),
            (with(Ok(Relation::Missing(id(1)))), "is not at hand"),
            (with(Err("no mirror".to_owned())), "cannot be told: no mirror"),
            (purpose(lost.clone(), Purpose::Rollback), ""),
            (purpose(lost, Purpose::Heal), ""),
        ] {
            check(&it, &facts, says);
        }
        let upstream = Some(UpstreamFacts { behind: None, rewritten_to: Some(id(9)), checkout: None });
        let rewritten = upgrade(vec![ModuleFacts { upstream, ..module("m") }]);
        check(&it, &rewritten, "history was rewritten to 0909");
        check(&it, &purpose(rewritten, Purpose::Rollback), "");
    }
}
