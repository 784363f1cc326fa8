//! Enacting: what the daemon applies by itself, on the rungs above assisted.
//!
//! In: the open proposals, how much may be done on each track, and what verifies modules. Out: commits,
//! each by the path of any approved change, and a row for everything that may be enacted and waits.
//!
//! ```text
//! rung → by which right → verified just before, on HEAD → enact.started (durable) → apply
//! ```
//!
//! On `gated` a certificate is enacted when its delay is over. On `bounded` also what the policy's
//! bounds let be done without a ballot; a word of anybody against it leaves it to people. What cannot
//! be verified now waits, whatever was known before. A document is put in force the same way, verified
//! by nothing; after it the rest waits for the next cycle, which reads the new rules.

mod before;
mod bounds;

use crate::domain::event::Event;
use crate::domain::governance::ballot::Choice;
use crate::domain::governance::tally::{Tally, TallyState};
use crate::domain::heal::Rung;
use crate::domain::id::{ObjectId, ProposalId};
use crate::domain::ladder::{Ladder, Right};
use crate::domain::module::Discovery;
use crate::domain::policy::bounds::Extent;
use crate::domain::policy::facts::Command;
use crate::domain::proposal::{ProposalRecord, Purpose, Stage};
use crate::domain::report::Enactment;
use crate::domain::state::State;
use crate::domain::text;
use crate::ops::apply::{self, Applied, Mode, World};
use crate::ops::authority::Authority;
use crate::ops::govern::{self, Rules};
use crate::ops::recorder::Recorder;
use crate::ops::recover::{self, said};
use crate::ops::verify::Runners;
use crate::ports::{
    Clock, FailureKind, Governor, Journal, PortError, PortResult, Repository, Sources, Superproject,
};

pub use bounds::Grant;
pub(in crate::ops) use bounds::{certify, recheck};

/// What enacting works with.
pub struct EnactWorld<'a> {
    /// The workspace, read.
    pub repository: &'a dyn Repository,
    /// The workspace, changed.
    pub superproject: &'a dyn Superproject,
    /// The modules' sources.
    pub sources: &'a dyn Sources,
    /// What verifies modules; `None` when nothing is to be verified.
    pub runners: Option<Runners<'a>>,
    /// Who decides.
    pub governor: &'a dyn Governor,
    /// The journal, whose one writer we are.
    pub journal: &'a mut dyn Journal,
    /// Time.
    pub clock: &'a dyn Clock,
    /// What this machine's configuration runs on the workspace: rules of the policy look at it.
    pub commands: &'a [Command],
    /// True once somebody asks to stop; looked at between modules and between proposals.
    pub stop: &'a dyn Fn() -> bool,
}

/// Enact what may be; one row for each proposal that was, or that may be and waits.
///
/// # Errors
/// When the journal or the superproject cannot be read or written, when it was asked to stop, or when
/// an application began and did not end: recovery goes on with it.
pub fn enact(
    world: &mut EnactWorld<'_>,
    state: &mut State,
    discovery: &Discovery,
    ladder: &Ladder,
) -> PortResult<Vec<Enactment>> {
    if state.members.is_none() || state.stopped.is_some() || state.open_apply.is_some() {
        return Ok(Vec::new());
    }
    let rules = govern::rules(&*world.journal, state)?;
    let mut open: Vec<(u64, ProposalId)> = state
        .open_proposals()
        .filter(|(_, record)| is_enacted_here(record))
        .filter(|(_, record)| ladder.rung(&rules.policy, record.track, false) >= Rung::Gated)
        .map(|(id, record)| (record.made, *id))
        .collect();
    open.sort();
    let mut rows = Vec::new();
    for (_, id) in open {
        if (world.stop)() {
            return Err(PortError::failed("asked to stop").kind(FailureKind::Interrupted));
        }
        let rung = state.proposals.get(&id).map(|record| ladder.rung(&rules.policy, record.track, false));
        let Some(rung) = rung else { continue };
        let mut one = One { world, state, rules: &rules, discovery, id };
        rows.extend(one.enact(rung)?);
        let others = (state.members.map(|members| members.document), state.policy);
        if others != (Some(rules.members_cid), Some(rules.policy_cid)) {
            // The rest was read by rules that are not in force any more: the next cycle goes on.
            break;
        }
    }
    rows.sort_by_key(|row| row.id);
    Ok(rows)
}

/// One short line.
#[must_use]
pub fn summary(rows: &[Enactment]) -> String {
    let done = rows.iter().filter(|row| row.waits.is_none()).count();
    format!("{done} enacted, {} may be and wait", rows.len() - done)
}

/// What was certified is enacted whatever it is for. What to heal is healing's own.
fn is_enacted_here(record: &ProposalRecord) -> bool {
    record.stage == Stage::Open && record.purpose != Purpose::Heal
}

/// One proposal on its way.
struct One<'w, 'a> {
    world: &'w mut EnactWorld<'a>,
    state: &'w mut State,
    rules: &'w Rules,
    discovery: &'w Discovery,
    id: ProposalId,
}

impl One<'_, '_> {
    fn enact(&mut self, rung: Rung) -> PortResult<Option<Enactment>> {
        let (governor, clock) = (self.world.governor, self.world.clock);
        let tally = govern::decide(&*self.world.journal, self.state, governor, self.id, clock)?;
        let Some(right) = right(&tally, rung) else { return Ok(None) };
        let done = match right {
            Right::Ballots => self.by_ballots(&tally)?,
            Right::Bounds => self.within_bounds(rung)?,
        };
        let id = self.id;
        Ok(Some(match done {
            Ok(commit) => Enactment { id, right, commit, waits: None },
            Err(why) => {
                Enactment { id, right, commit: None, waits: Some(text::clipped(&text::inert(&why), 1000)) }
            }
        }))
    }

    fn by_ballots(&mut self, tally: &Tally) -> PortResult<Result<Option<ObjectId>, String>> {
        if !tally.is_enactable() {
            return Ok(Err("it is approved, and its delay or what holds it up is not over".to_owned()));
        }
        let amends = self.state.proposals.get(&self.id).is_some_and(|it| it.purpose == Purpose::Amend);
        // A document changes nothing that could be built or loaded.
        if !amends && let Err(why) = self.verified_now()? {
            return Ok(Err(why));
        }
        self.begin(Right::Ballots)?;
        let governor = self.world.governor;
        self.apply_by(Authority::Ballots(governor))
    }

    fn within_bounds(&mut self, rung: Rung) -> PortResult<Result<Option<ObjectId>, String>> {
        let extent = match self.extent()? {
            Ok(extent) => extent,
            Err(why) => return Ok(Err(why)),
        };
        let claims = match self.verified_now()? {
            Ok(Some(claims)) => claims,
            Ok(None) => return Ok(Err("nothing verifies it, and bounds ask for strong evidence".to_owned())),
            Err(why) => return Ok(Err(why)),
        };
        // Verifying takes long, and people speak meanwhile.
        *self.state = recover::proven(&*self.world.journal, self.state)?;
        let tally =
            govern::decide(&*self.world.journal, self.state, self.world.governor, self.id, self.world.clock)?;
        if right(&tally, rung) != Some(Right::Bounds) {
            return Ok(Err("somebody spoke about it meanwhile, or something holds it up".to_owned()));
        }
        let extent = match self.extent()? {
            Ok(now) => Extent { enacted_today: now.enacted_today.max(extent.enacted_today), ..now },
            Err(why) => return Ok(Err(why)),
        };
        // Before it counts for the day: what is counted is what came before.
        let grant = Grant { extent, claims };
        self.begin(Right::Bounds)?;
        self.apply_by(Authority::Bounds(&grant))
    }

    fn begin(&mut self, right: Right) -> PortResult<()> {
        let event = Event::EnactStarted { proposal: self.id, right };
        let entry = self.world.journal.append(&self.id.short(), &event)?;
        self.state.take(&entry);
        Ok(())
    }

    /// Apply it. Why not, when nothing was changed.
    fn apply_by(&mut self, authority: Authority<'_>) -> PortResult<Result<Option<ObjectId>, String>> {
        let mut recorder = Recorder::new(&mut *self.world.journal);
        let mut applying = World {
            repository: self.world.repository,
            superproject: self.world.superproject,
            sources: self.world.sources,
            journal: &mut recorder,
            authority,
            clock: self.world.clock,
            commands: self.world.commands,
        };
        let applied = apply::apply(&mut applying, self.state, self.id, Mode::Act);
        recorder.tell(self.state);
        match applied {
            Ok(Applied { commit, .. }) => Ok(Ok(commit)),
            // What began is gone on with by recovery, in the next cycle.
            Err(error) if error.fatal || self.state.open_apply.is_some() => Err(error),
            Err(error) => match error.kind {
                FailureKind::Integrity | FailureKind::Interrupted => Err(error),
                _ => Ok(Err(said(&error))),
            },
        }
    }
}

/// By which right it may be enacted on this rung; `None` when it waits for people.
fn right(tally: &Tally, rung: Rung) -> Option<Right> {
    match tally.state {
        TallyState::Approved => Some(Right::Ballots),
        TallyState::Pending if rung == Rung::Bounded && tally.unanswered.is_none() => {
            let against =
                tally.counted.iter().any(|ballot| matches!(ballot.choice, Choice::Reject | Choice::Veto));
            (!against && tally.vetoes.is_empty() && tally.narrowed.is_empty()).then_some(Right::Bounds)
        }
        TallyState::Pending | TallyState::Rejected | TallyState::Expired => None,
    }
}
