//! `pin-coherence`: all places that record a module's revision agree in the result.

use serde::{Deserialize, Serialize};

use super::{Asks, Rule};
use crate::domain::pin::Coherence;
use crate::domain::policy::Severity;
use crate::domain::policy::facts::Facts;
use crate::domain::policy::found::Found;

/// The settings of `pin-coherence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PinCoherence {
    /// How grave it is.
    pub severity: Severity,
    /// Whether modules that a change does not move are looked at too.
    pub everywhere: bool,
}

impl Default for PinCoherence {
    fn default() -> Self {
        Self { severity: Severity::Deny, everywhere: false }
    }
}

impl Rule for PinCoherence {
    const ID: &'static str = "pin-coherence";
    const ASKS: Asks = Asks::Tree;
    const ABOUT: &'static str = "\
Every place that records a module's revision (the gitlink, the revision in flake.nix, the lock, the \
dependency map) records the same one in the workspace as the change makes it.

Where they disagree, what people review is not what Nix builds. A place that cannot be read counts as \
one that disagrees. With `everywhere`, modules that the change does not move must agree as well.";
    const EXAMPLE: &'static str = "\
[rules.pin-coherence]
severity = \"deny\"
everywhere = false
";

    fn severity(&self) -> Severity {
        self.severity
    }

    fn judge(&self, facts: &Facts, found: &mut Found) {
        for module in facts.modules.iter().filter(|module| module.judged || self.everywhere) {
            let said = match &module.coherence {
                Some((Coherence::Coherent, _)) => continue,
                Some((Coherence::Incoherent, sentence)) => format!("its places disagree: {sentence}"),
                Some((Coherence::Unknown, sentence)) => {
                    format!("whether its places agree cannot be told: {sentence}")
                }
                None => "whether its places agree was not looked at".to_owned(),
            };
            found.module(&module.name, said, Some("lambda-os pin list shows every place"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, module, rule, upgrade};
    use super::*;
    use crate::domain::policy::facts::ModuleFacts;

    #[test]
    fn places_that_disagree_or_cannot_be_read_are_said_of_what_is_judged() {
        let here: PinCoherence = rule("");
        let everywhere: PinCoherence = rule("everywhere = true");
        let with = |coherence, judged| upgrade(vec![ModuleFacts { judged, coherence, ..module("m") }]);
        for (coherence, says) in [
            (Some((Coherence::Coherent, String::new())), ""),
            (Some((Coherence::Incoherent, "lock is at x".to_owned())), "its places disagree: lock is at x"),
            (Some((Coherence::Unknown, "no lock".to_owned())), "cannot be told: no lock"),
            (None, "was not looked at"),
        ] {
            check(&here, &with(coherence.clone(), true), says);
            check(&here, &with(coherence.clone(), false), "");
            check(&everywhere, &with(coherence, false), says);
        }
    }
}
