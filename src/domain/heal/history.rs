//! What the journal remembers of healing: the heal under way, how earlier ones ended, which
//! revisions are bad, and which modules the breaker froze.
//!
//! A part of [`crate::domain::state::State`], folded from `heal.*` and `module.unheld`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{BREAKER, HealEnd, HealLimits};
use crate::domain::event::Event;
use crate::domain::health::record::{MAX_STANDS_MS, TRANSIENT_STANDS_MS};
use crate::domain::id::{Cid, ModuleName, ObjectId, ProposalId};
use crate::domain::proposal::{ProposalRecord, Purpose};

/// Most ends that are remembered of one module.
const KEPT: usize = 16;

/// A moment by a clock that nobody sets: which boot, and milliseconds since it, suspend included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// The identity of the boot.
    pub boot: String,
    /// Milliseconds since then.
    pub mono_ms: u64,
}

/// A moment by both clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// Wall time, Unix milliseconds.
    pub wall_ms: i64,
    /// The other clock.
    pub uptime: Uptime,
}

/// A heal that was begun and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenHeal {
    /// Sequence of its `heal.started`.
    pub started: u64,
    /// Which module.
    pub module: ModuleName,
    /// The bad revision.
    pub from: ObjectId,
    /// The revision that it goes back to.
    pub to: ObjectId,
    /// The evidence that it is bad.
    pub bad: Cid,
    /// The evidence that it was verified at the target.
    pub good: Cid,
    /// The proposal to go back.
    pub proposal: Option<ProposalId>,
    /// The proposal to restore what was before.
    pub restoring: Option<ProposalId>,
}

/// A heal that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// What it was.
    pub heal: OpenHeal,
    /// How it ended.
    pub end: HealEnd,
    /// The commit that moved the pin, when it was healed.
    pub commit: Option<ObjectId>,
    /// The evidence on which it ended.
    pub evidence: Option<Cid>,
    /// Why, as a sentence without a final stop.
    pub reason: Option<String>,
    /// Sequence of its `heal.finished`.
    pub seq: u64,
    /// Wall time of that, Unix milliseconds.
    pub wall_ms: i64,
    /// The same by the other clock.
    pub at: Uptime,
}

impl Tried {
    /// How long ago it was, milliseconds. Within one boot no setting of the clock counts; across
    /// boots a wall clock that went back makes it no older, so that the breaker stays careful.
    #[must_use]
    pub fn age_ms(&self, now: &Now) -> i64 {
        if self.at.boot == now.uptime.boot {
            let elapsed = now.uptime.mono_ms.saturating_sub(self.at.mono_ms);
            return i64::try_from(elapsed).unwrap_or(i64::MAX);
        }
        now.wall_ms.saturating_sub(self.wall_ms).max(0)
    }
}

/// A revision that a module was taken back from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRevision {
    /// Which.
    pub revision: ObjectId,
    /// The evidence that it is bad, in `objects/`.
    pub evidence: Option<Cid>,
}

/// Everything that is remembered of healing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Heals {
    /// The one under way.
    pub open: Option<OpenHeal>,
    /// How many modules were bad at once, and how many may be, while that stops all healing.
    pub stopped: Option<(usize, usize)>,
    tried: BTreeMap<ModuleName, Vec<Tried>>,
    bad: BTreeMap<ModuleName, Vec<BadRevision>>,
    frozen: BTreeSet<ModuleName>,
    /// What ended before this sequence does not count for the breaker: a person lifted it.
    lifted: BTreeMap<ModuleName, u64>,
}

impl Heals {
    /// What an entry changes.
    pub(crate) fn apply(&mut self, seq: u64, wall_ms: i64, event: &Event) {
        match event {
            Event::HealStarted { module, from, to, bad, good, proposal } => {
                self.open = Some(OpenHeal {
                    started: seq,
                    module: module.clone(),
                    from: *from,
                    to: *to,
                    bad: *bad,
                    good: *good,
                    proposal: *proposal,
                    restoring: None,
                });
            }
            Event::HealFinished { started, outcome, commit, evidence, reason, freezes, at, .. } => {
                let Some(heal) = self.open.take_if(|open| open.started == *started) else { return };
                let tried = Tried {
                    heal,
                    end: *outcome,
                    commit: *commit,
                    evidence: *evidence,
                    reason: reason.clone(),
                    seq,
                    wall_ms,
                    at: at.clone(),
                };
                self.end(tried, *freezes);
            }
            Event::HealStopped { bad, limit } => {
                self.stopped = (*bad > 0).then_some((*bad as usize, *limit as usize));
            }
            Event::ProposalMade { proposal, purpose: Purpose::Heal, pins, .. } => {
                if let [pin] = pins.as_slice() {
                    self.proposed(&pin.module, pin.to, *proposal);
                }
            }
            Event::ModuleUnheld { module, .. } => self.lift(module, seq),
            _ => {}
        }
    }

    /// A proposal was applied. One to heal that people approved says which revision is bad; what is
    /// healed by itself ends with an entry of its own.
    pub(crate) fn applied(&mut self, proposal: &ProposalId, record: &ProposalRecord) {
        let ours = self.open.as_ref().map(|open| [open.proposal, open.restoring]);
        if record.purpose == Purpose::Heal && ours.is_none_or(|ours| !ours.contains(&Some(*proposal))) {
            for pin in &record.pins {
                self.mark_bad(&pin.module, pin.from, None);
            }
        }
    }

    fn end(&mut self, tried: Tried, freezes: bool) {
        let module = tried.heal.module.clone();
        if tried.end == HealEnd::Healed {
            self.mark_bad(&module, tried.heal.from, Some(tried.heal.bad));
        }
        if freezes {
            self.frozen.insert(module.clone());
        }
        let all = self.tried.entry(module).or_default();
        all.push(tried);
        if all.len() > KEPT {
            all.remove(0);
        }
    }

    /// A revision is not proposed again.
    fn mark_bad(&mut self, module: &ModuleName, revision: ObjectId, evidence: Option<Cid>) {
        let known = self.bad.entry(module.clone()).or_default();
        if known.iter().all(|bad| bad.revision != revision) {
            known.push(BadRevision { revision, evidence });
        }
    }

    /// A proposal to heal was made: it belongs to the heal under way where the pin is its own.
    fn proposed(&mut self, module: &ModuleName, to: ObjectId, proposal: ProposalId) {
        let Some(open) = self.open.as_mut().filter(|open| open.module == *module) else { return };
        if to == open.to {
            open.proposal = Some(proposal);
        } else if to == open.from {
            open.restoring = Some(proposal);
        }
    }

    /// A person let go of the module.
    fn lift(&mut self, module: &ModuleName, seq: u64) {
        self.frozen.remove(module);
        self.bad.remove(module);
        if self.tried.contains_key(module) {
            self.lifted.insert(module.clone(), seq);
        }
    }

    /// How earlier heals of a module ended, oldest first.
    #[must_use]
    pub fn of(&self, module: &ModuleName) -> &[Tried] {
        self.tried.get(module).map_or(&[], Vec::as_slice)
    }

    /// The newest end of each module that was ever healed or tried, by name.
    pub fn newest(&self) -> impl Iterator<Item = &Tried> {
        self.tried.values().filter_map(|all| all.last())
    }

    /// The revisions of a module that it was taken back from.
    #[must_use]
    pub fn bad(&self, module: &ModuleName) -> &[BadRevision] {
        self.bad.get(module).map_or(&[], Vec::as_slice)
    }

    /// Whether a module was taken back from this revision, and nobody let go of it since.
    #[must_use]
    pub fn is_bad(&self, module: &ModuleName, revision: ObjectId) -> bool {
        self.bad(module).iter().any(|bad| bad.revision == revision)
    }

    /// The modules that the breaker froze.
    pub fn frozen(&self) -> impl Iterator<Item = &ModuleName> {
        self.frozen.iter()
    }

    /// Whether the breaker froze a module.
    #[must_use]
    pub fn is_frozen(&self, module: &ModuleName) -> bool {
        self.frozen.contains(module)
    }

    /// How many heals of a module count against it now.
    #[must_use]
    pub fn recent(&self, module: &ModuleName, limits: &HealLimits, now: &Now) -> usize {
        let lifted = self.lifted.get(module).copied();
        let counts = |tried: &&Tried| {
            tried.end.counts()
                && lifted.is_none_or(|lifted| tried.seq > lifted)
                && tried.age_ms(now) < limits.window_ms
        };
        self.of(module).iter().filter(counts).count()
    }

    /// Why going back from here to there was not confirmed, when that was so lately that trying it again
    /// would show the same: the wait doubles with each such try in a row, from a quarter of an hour to a day.
    #[must_use]
    pub fn tried_just_now(
        &self,
        module: &ModuleName,
        from: ObjectId,
        to: ObjectId,
        now: &Now,
    ) -> Option<String> {
        let lifted = self.lifted.get(module).copied();
        let same = |tried: &&Tried| {
            tried.end == HealEnd::NotConfirmed
                && (tried.heal.from, tried.heal.to) == (from, to)
                && lifted.is_none_or(|lifted| tried.seq > lifted)
        };
        let in_a_row = self.of(module).iter().rev().take_while(same).count();
        let newest = self.of(module).last().filter(|_| in_a_row > 0)?;
        let doubled = TRANSIENT_STANDS_MS << (in_a_row - 1).min(10);
        (newest.age_ms(now) < doubled.min(MAX_STANDS_MS))
            .then(|| newest.reason.clone().unwrap_or_else(|| "it was tried a short while ago".to_owned()))
    }

    /// Whether one more heal that counts opens the breaker.
    #[must_use]
    pub fn is_last_chance(&self, module: &ModuleName, limits: &HealLimits, now: &Now) -> bool {
        self.recent(module, limits, now) + 1 >= BREAKER
    }
}
