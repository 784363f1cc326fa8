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
