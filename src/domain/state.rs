//! What the journal adds up to: a fold over its entries, a cache that can always be made again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::id::{Cid, ModuleName, ObjectId};

/// What one must remember from earlier cycles.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// The newest snapshot.
    pub snapshot: Option<Cid>,
    /// The newest table of upgrades.
    pub upgrades: Option<Cid>,
    /// The newest finished cycle: its start's sequence, and its report.
    pub last_cycle: Option<LastCycle>,
    /// The newest cycle that ended with a report: what is known, however later cycles ended.
    pub last_look: Option<LastCycle>,
    /// A cycle that began and has not ended.
    pub open_cycle: Option<u64>,
    /// Frozen modules and why.
    pub holds: BTreeMap<ModuleName, String>,
    /// The tip that was last seen of each module, with its branch.
    pub tips: BTreeMap<ModuleName, SeenTip>,
}

/// The newest finished cycle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCycle {
    /// Sequence of its `cycle.started`.
    pub started: u64,
    /// Wall time of its end, Unix milliseconds.
    pub finished_wall_ms: i64,
    /// `ok`, `failed` or `interrupted`.
    pub outcome: String,
    /// The report, in `objects/`.
    pub report: Option<Cid>,
}

/// An upstream's tip as it was last seen and accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenTip {
    /// The branch.
    pub branch: String,
    /// The newest tip whose history holds all tips before it, or that a person accepted.
    pub tip: ObjectId,
    /// A tip whose history does not hold `tip`: rewritten, waiting for a person.
    pub rewritten_to: Option<ObjectId>,
}

impl State {
    /// True when an entry that still counts names this stored value.
    #[must_use]
    pub fn names(&self, cid: &Cid) -> bool {
        let report = self.last_cycle.as_ref().and_then(|cycle| cycle.report);
        [self.snapshot, self.upgrades, report].contains(&Some(*cid))
    }

    /// The state after this entry.
    pub fn apply(&mut self, seq: u64, wall_ms: i64, event: &Event) {
        match event {
            Event::JournalOpened { .. } | Event::JournalRecovered { .. } | Event::DriftFound { .. } => {}
            Event::CycleStarted { .. } => self.open_cycle = Some(seq),
            Event::SnapshotTaken { snapshot, .. } => self.snapshot = Some(*snapshot),
            Event::UpstreamMoved { module, branch, to, rewritten, .. } => {
                let known = self.tips.get(module).filter(|seen| seen.branch == *branch).map(|seen| seen.tip);
                let seen = match known {
                    Some(tip) if *rewritten => {
                        SeenTip { branch: branch.clone(), tip, rewritten_to: Some(*to) }
                    }
                    _ => SeenTip { branch: branch.clone(), tip: *to, rewritten_to: None },
                };
                self.tips.insert(module.clone(), seen);
            }
            Event::DetectFinished { upgrades } => self.upgrades = Some(*upgrades),
            Event::CycleFinished { started, outcome, report, .. } => {
                self.open_cycle = None;
                let last = LastCycle {
                    started: *started,
                    finished_wall_ms: wall_ms,
                    outcome: outcome.clone(),
                    report: *report,
                };
                if report.is_some() {
                    self.last_look = Some(last.clone());
                }
                self.last_cycle = Some(last);
            }
            Event::ModuleHeld { module, reason } => {
                self.holds.insert(module.clone(), reason.clone());
            }
            Event::ModuleUnheld { module, accepted } => {
                self.holds.remove(module);
                if let (Some(tip), Some(seen)) = (accepted, self.tips.get_mut(module)) {
                    seen.tip = *tip;
                    seen.rewritten_to = None;
                }
            }
        }
    }
}
