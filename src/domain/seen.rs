//! What was seen and done when, by the journal's checked time: since when each revision is known at its
//! upstream, and what was applied within the last day.
//!
//! A part of [`super::state::State`], fed by entries alone. Bounded: of each module the newest tips,
//! and of what was applied the last day.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::id::{ModuleName, ObjectId};
use super::proposal::{Proposals, Purpose};

/// Most tips of one module that are remembered, newest last.
const MOST_TIPS: usize = 500;

/// A day, milliseconds.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What was seen and done, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// The tips of each module's upstream, in the order in which they were seen first. What was seen
    /// before history was rewritten stays: it was seen.
    tips: BTreeMap<ModuleName, Vec<SeenRevision>>,
    /// What was applied within the last day, oldest first; heals left out.
    applied: Vec<AppliedThen>,
}

/// A revision that was the tip of its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenRevision {
    /// The revision.
    pub revision: ObjectId,
    /// The checked time when it was seen first.
    pub checked_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AppliedThen {
    checked_ms: i64,
    modules: BTreeSet<ModuleName>,
}

impl Seen {
    /// Go on with an event at this checked time. `proposals` are those before it.
    pub(super) fn apply(&mut self, checked_ms: i64, event: &Event, proposals: &Proposals) {
        match event {
            Event::UpstreamMoved { module, to, .. } => {
                let tips = self.tips.entry(module.clone()).or_default();
                if tips.iter().all(|seen| seen.revision != *to) {
                    tips.push(SeenRevision { revision: *to, checked_ms });
                    if tips.len() > MOST_TIPS {
                        tips.remove(0);
                    }
                }
            }
            Event::ApplyFinished { proposal, outcome, .. } if outcome == "applied" => {
                self.applied.retain(|then| checked_ms - then.checked_ms < DAY_MS);
                let Some(record) = proposals.get(proposal).filter(|it| it.purpose != Purpose::Heal) else {
                    return;
                };
                let modules = record.pins.iter().filter(|pin| pin.from != pin.to);
                let modules = modules.map(|pin| pin.module.clone()).collect();
                self.applied.push(AppliedThen { checked_ms, modules });
            }
            _ => {}
        }
    }

    /// The tips of a module's upstream, oldest first.
    #[must_use]
    pub fn tips(&self, module: &ModuleName) -> &[SeenRevision] {
        self.tips.get(module).map_or(&[], Vec::as_slice)
    }

    /// How many proposals were applied within the day before this checked time, and how often each
    /// module was moved by them. Heals are not among them.
    #[must_use]
    pub fn applied_within_a_day(&self, checked_ms: i64) -> (u32, BTreeMap<ModuleName, u32>) {
        let mut moves = BTreeMap::new();
        let mut count = 0;
        for then in self.applied.iter().filter(|then| checked_ms - then.checked_ms < DAY_MS) {
            count += 1;
            for module in &then.modules {
                *moves.entry(module.clone()).or_default() += 1;
            }
        }
        (count, moves)
    }
}
