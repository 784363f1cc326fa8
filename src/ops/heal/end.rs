//! How a heal ends in the journal, and the breaker with it: both in one group of entries.

use crate::domain::event::Event;
use crate::domain::heal::decide::frozen_because;
use crate::domain::heal::{HealEnd, Reason};
use crate::domain::id::{Cid, ObjectId};
use crate::domain::text;
use crate::ports::PortResult;

use super::Ward;

/// Most characters of a reason in the journal.
const REASON: usize = 1000;

/// How it ended.
pub(super) struct Ended {
    end: HealEnd,
    commit: Option<ObjectId>,
    evidence: Option<Cid>,
    reason: Option<String>,
}

impl Ended {
    pub(super) fn new(end: HealEnd) -> Self {
        Self { end, commit: None, evidence: None, reason: None }
    }

    pub(super) fn because(self, reason: &Reason) -> Self {
        self.saying(&reason.to_string())
    }

    pub(super) fn saying(mut self, reason: &str) -> Self {
        self.reason = Some(text::clipped(&text::inert(reason), REASON));
        self
    }

    pub(super) fn at(mut self, commit: Option<ObjectId>) -> Self {
        self.commit = commit;
        self
    }

    pub(super) fn on(mut self, evidence: Option<Cid>) -> Self {
        self.evidence = evidence;
        self
    }
}

/// Journal the end of the heal under way. Gives why the module is frozen, when it is now.
pub(super) fn finish(ward: &mut Ward<'_, '_>, ended: Ended) -> PortResult<Option<String>> {
    let Some(open) = ward.state.heals.open.clone() else { return Ok(None) };
    let now = ward.now();
    let module = open.module;
    let last = ended.end.counts() && ward.state.heals.is_last_chance(&module, &ward.options.limits, &now);
    // What cannot even be put back is for a person at once.
    let freezes = last || ended.end == HealEnd::Stuck;
    let frozen = freezes.then(frozen_because);
    let finished = Event::HealFinished {
        module: module.clone(),
        started: open.started,
        outcome: ended.end,
        commit: ended.commit,
        evidence: ended.evidence,
        reason: ended.reason.clone(),
        freezes,
        at: now.uptime,
    };
    let mut events = vec![(module.as_str(), finished)];
    let held = frozen.as_ref().map(|why| match &ended.reason {
        Some(reason) => format!("{why}; the last time, {reason}"),
        None => why.clone(),
    });
    if let Some(reason) = &held {
        let reason = text::clipped(reason, REASON);
        events.push((module.as_str(), Event::ModuleHeld { module: module.clone(), reason }));
    }
    for entry in ward.world.journal.append_all(&events)? {
        ward.state.take(&entry);
    }
    Ok(held)
}
