//! What becomes of an open proposal that no candidate of this cycle is about.

use std::collections::BTreeMap;

use crate::domain::id::ModuleName;
use crate::domain::module::Module;
use crate::domain::plan::Plan;
use crate::domain::proposal::{ProposalRecord, Purpose};
use crate::domain::upgrade::{Status, Upgrade};

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits on: what stands against it may pass by itself.
    Stays,
    /// It is over: why, as a sentence.
    Over(String),
}

/// What is known of each module.
pub(super) struct Known<'a> {
    modules: BTreeMap<&'a ModuleName, &'a Module>,
    upgrades: BTreeMap<&'a ModuleName, &'a Upgrade>,
    waits_for: BTreeMap<&'a ModuleName, &'a ModuleName>,
}

impl<'a> Known<'a> {
    pub(super) fn new(modules: &'a [Module], upgrades: &'a [Upgrade], plan: &'a Plan) -> Self {
        Self {
            modules: modules.iter().map(|module| (&module.name, module)).collect(),
            upgrades: upgrades.iter().map(|upgrade| (&upgrade.name, upgrade)).collect(),
            waits_for: plan
                .waiting
                .iter()
                .filter_map(|row| Some((&row.module, row.waits_for.as_ref()?)))
                .collect(),
        }
    }

    /// What becomes of a proposal that nothing in this cycle asks for. What people decided for stays
    /// whatever upstream says, like what somebody asked for.
    pub(super) fn fate(&self, record: &ProposalRecord, decided: bool) -> Fate {
        if matches!(record.purpose, Purpose::Command | Purpose::Amend) {
            // It moves no pin: whether what it changes is still what it was, deriving it again tells.
            return Fate::Stays;
        }
        for pin in &record.pins {
            let Some(module) = self.modules.get(&pin.module).filter(|module| module.path == pin.path) else {
                return Fate::Over(format!("{} is no module at {} any more", pin.module, pin.path));
            };
            let now = self.upgrades.get(&module.name).and_then(|upgrade| upgrade.from);
            if now.is_some_and(|now| now != pin.from && now != pin.to) {
                return Fate::Over(format!("the pin of {} was moved elsewhere", pin.module));
            }
        }
        let at = |name: &ModuleName| self.upgrades.get(name).and_then(|upgrade| upgrade.from);
        let moves = !record.pins.is_empty();
        if moves && record.pins.iter().all(|pin| pin.from != pin.to && at(&pin.module) == Some(pin.to)) {
            return Fate::Over("its pins are where it would bring them".to_owned());
        }
        if decided || record.purpose.is_asked_for() {
            // Somebody asked for it, whatever upstream says.
            return Fate::Stays;
        }
        for pin in &record.pins {
            let cause = self.waits_for.get(&pin.module).copied().unwrap_or(&pin.module);
            let Some(upgrade) = self.upgrades.get(cause) else { continue };
            let settled = matches!(upgrade.status, Status::UpToDate | Status::Ahead) && *cause == pin.module;
            if settled && pin.from == pin.to {
                return Fate::Over(format!("the places of {} agree", pin.module));
            }
            let stopped = matches!(
                upgrade.status,
                Status::Held | Status::Rewritten | Status::Diverged | Status::NotAllowed
            );
            if settled || stopped {
                let status = upgrade.status.as_str();
                let reason = &upgrade.reason;
                let said = if reason.contains(status) { "" } else { status };
                let colon = if said.is_empty() { "" } else { ": " };
                return Fate::Over(format!("{cause}: {said}{colon}{reason}"));
            }
        }
        Fate::Stays
    }
}
