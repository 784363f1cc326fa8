//! The course of one heal, from the decision to its end; and going on with one that was cut short.

use crate::domain::event::Event;
use crate::domain::heal::certificate::{Rests, Way};
use crate::domain::heal::{Course, HealEnd, Healed, Mandate, OpenHeal, Reason};
use crate::domain::health::Scene;
use crate::domain::id::{ModuleName, ObjectId, ProposalId};
use crate::domain::proposal::{Purpose, Stage};
use crate::domain::text;
use crate::ops::apply::{self, Applied, Mode, World};
use crate::ops::authority::Authority;
use crate::ops::exchange::Place;
use crate::ops::propose::{Ask, Derived, derive_one, offer};
use crate::ops::recorder::Recorder;
use crate::ops::recover::said;
use crate::ops::verify::{Committed, Known, Verified, Where, verify};
use crate::ports::{FailureKind, PortError, PortResult};

use super::end::{Ended, finish};
use super::standing::Grant;
use super::{Settled, Ward};

/// Take one module's pin back, as far as the mandate goes.
pub(super) fn take(ward: &mut Ward<'_, '_>, course: &Course, mandate: &Mandate) -> PortResult<Settled> {
    if *mandate == Mandate::Report {
        return Ok(Err(Reason::NobodyDecides));
    }
    let (head, derived) = match back(ward, &course.module, course.from, course.to)? {
        Ok(made) => made,
        Err(reason) => return Ok(Err(reason)),
    };
    let open = ward
        .rules
        .as_ref()
        .and_then(|rules| offer::find(ward.state, rules, &derived, |it| it == Purpose::Heal));
    if let (Mandate::Propose(why), Some(proposal)) = (mandate, open) {
        return Ok(Err(Reason::Proposed { proposal, reason: why.clone() }));
    }
    let acts = *mandate == Mandate::Act;
    if acts {
        let Course { module, from, to, bad, good } = course.clone();
        let event = Event::HealStarted { module, from, to, bad, good, proposal: open };
        ward.append(&course.module, &event)?;
    }
    let shown = match both_ends(ward, course, head, &derived)? {
        Ok(shown) => shown,
        Err((end, reason)) => {
            if acts {
                finish(ward, Ended::new(end).because(&reason))?;
            }
            return Ok(Err(reason));
        }
    };
    let proposal = match open {
        Some(proposal) => proposal,
        None => propose(ward, head, &derived)?,
    };
    if let Mandate::Propose(why) = mandate {
        return Ok(Err(Reason::Proposed { proposal, reason: why.clone() }));
    }
    let Some(begun) = ward.state.heals.open.clone() else {
        return Err(PortError::failed("the journal does not know the heal that was begun")
            .kind(FailureKind::Integrity));
    };
    let grant = Grant {
        kind: Way::Heal,
        rung: ward.options.rung,
        started: begun.started,
        module: course.module.clone(),
        from: course.from,
        to: course.to,
        bad: rests(&shown.bad),
        good: Some(shown.good),
        again: rests(&shown.again),
    };
    match apply_by(ward, proposal, &grant)? {
        Ok(applied) => check(ward, &begun, applied.notes),
        Err(why) => {
            let reason = Reason::NotNow { reason: why };
            finish(ward, Ended::new(HealEnd::CutShort).because(&reason))?;
            Ok(Err(reason))
        }
    }
}

/// Go on with a heal that the journal says is open. `None` when nothing of it had been applied: it is
/// decided anew.
pub(super) fn resume(ward: &mut Ward<'_, '_>, open: &OpenHeal) -> PortResult<Option<Settled>> {
    let applied = |proposal: Option<ProposalId>| {
        let record = proposal.and_then(|id| ward.state.proposals.get(&id));
        record.is_some_and(|record| matches!(record.stage, Stage::Applied { .. }))
    };
    let (healed, restored) = (applied(open.proposal), applied(open.restoring));
    let pin = match ward.head()? {
        Some(head) => pin_at(ward, head, &open.module)?,
        None => None,
    };
    if healed && !restored && pin == Some(open.to) {
        return check(ward, open, Vec::new()).map(Some);
    }
    if restored && pin == Some(open.from) {
        let reason = Reason::Restored { to: open.to, reason: "it did not pass there".to_owned() };
        finish(ward, Ended::new(HealEnd::Restored).because(&reason))?;
        return Ok(Some(Err(reason)));
    }
    if pin == Some(open.from) && !healed {
        finish(
            ward,
            Ended::new(HealEnd::CutShort).saying("the process that did it ended before anything was applied"),
        )?;
        return Ok(None);
    }
    finish(ward, Ended::new(HealEnd::Overtaken).because(&Reason::Overtaken))?;
    Ok(Some(Err(Reason::Overtaken)))
}

/// A module's pin in a commit.
fn pin_at(ward: &Ward<'_, '_>, head: ObjectId, module: &ModuleName) -> PortResult<Option<ObjectId>> {
    let modules = &ward.look.discovery.modules;
    let scene = Committed::read(ward.world.superproject, modules, head)?.as_it_is();
    Ok(scene.modules.get(module).map(|placed| placed.pin))
}

/// The move of one pin on HEAD, and HEAD; or why it cannot be made now.
fn back(
    ward: &Ward<'_, '_>,
    module: &ModuleName,
    from: ObjectId,
    to: ObjectId,
) -> PortResult<Result<(ObjectId, Derived), Reason>> {
    let world = &*ward.world;
    let not_now = |error: PortError| match error.kind {
        FailureKind::Integrity | FailureKind::Interrupted => Err(error),
        _ if error.fatal => Err(error),
        _ => Ok(Err(Reason::NotNow { reason: said(&error) })),
    };
    let head = match world.superproject.branch() {
        Ok((_, head)) => head,
        Err(error) => return not_now(error),
    };
    let workspace = ward.rules.as_ref().map_or("", |rules| rules.members.workspace.as_str());
    let asks = [Ask { module: module.clone(), to }];
    let modules = &ward.look.discovery.modules;
    let derived = match derive_one(world.superproject, world.sources, modules, workspace, head, &asks)? {
        Ok(derived) => derived,
        Err(why) => return Ok(Err(Reason::NotDerived { reason: text::inert(&why.to_string()) })),
    };
    if derived.pins.iter().any(|pin| pin.from != from) {
        return Ok(Err(Reason::Overtaken));
    }
    match world.superproject.obstacles(head, &derived.edits) {
        Ok(obstacles) if obstacles.is_empty() => Ok(Ok((head, derived))),
        Ok(obstacles) => Ok(Err(Reason::NotNow { reason: text::inert(&obstacles.join("; ")) })),
        Err(error) => not_now(error),
    }
}

/// What was shown at both ends.
struct Shown {
    bad: Verified,
    good: Rests,
    again: Verified,
}

/// Run the module again where it is and where it goes, in fresh sandboxes, and look at everything that
/// sees it.
fn both_ends(
    ward: &mut Ward<'_, '_>,
    course: &Course,
    head: ObjectId,
    derived: &Derived,
) -> PortResult<Result<Shown, (HealEnd, Reason)>> {
    let discovery = ward.look.discovery;
    let committed = Committed::read(ward.world.superproject, &discovery.modules, head)?;
    let (base, candidate) = (committed.as_it_is(), committed.with(derived));
    let module = &course.module;
    let bad = run(ward, &base, module, Known::RunAgain, Where::Base)?;
    if bad.verdict.is_healthy() {
        let reason = Reason::Flaky { evidence: bad.evidence };
        return Ok(Err((HealEnd::NotConfirmed, reason)));
    }
    if !bad.verdict.is_bad() {
        return Ok(Err((HealEnd::NotConfirmed, Reason::NotConfirmed { reason: why(&bad) })));
    }
    // Before it is run there: what runs then takes the place of what is known.
    let good = ward.state.verdicts.good_pins(module).find(|record| record.revision == course.to);
    let Some(before) = good.map(|record| Rests { key: record.key, evidence: record.evidence }) else {
        return Ok(Err((HealEnd::NotConfirmed, Reason::NoGoodPin)));
    };
    let again = run(ward, &candidate, module, Known::RunAgain, Where::Candidate)?;
    if again.verdict.is_bad() {
        let reason = Reason::TargetBad { to: course.to, reason: why(&again) };
        return Ok(Err((HealEnd::TargetBad, reason)));
    }
    if !again.verdict.is_strong() || again.flaky {
        let at = course.to.short();
        let reason =
            format!("at {at}, which was verified before, it passes no more than weakly: {}", why(&again));
        return Ok(Err((HealEnd::NotConfirmed, Reason::NotConfirmed { reason })));
    }
    let broken = broken_by(ward, &base, &candidate, module)?;
    if !broken.is_empty() {
        return Ok(Err((HealEnd::WouldBreak, Reason::WouldBreak { modules: broken })));
    }
    // On the same key the verdict of now stands in the place of the earlier one.
    let same = again.key == Some(before.key);
    let good = if same { rests(&again).unwrap_or(before) } else { before };
    Ok(Ok(Shown { bad, good, again }))
}

/// The modules that are healthy now and would not be: of those that see something else then.
fn broken_by(
    ward: &mut Ward<'_, '_>,
    base: &Scene,
    candidate: &Scene,
    module: &ModuleName,
) -> PortResult<Vec<ModuleName>> {
    let runners = ward.world.runners;
    let others: Vec<ModuleName> = candidate
        .modules
        .iter()
        .filter(|(name, placed)| {
            let before = base.modules.get(*name).map(|placed| placed.sees);
            *name != module && before != Some(placed.sees) && !runners.steps_of(name).is_empty()
        })
        .map(|(name, _)| name.clone())
        .collect();
    if others.is_empty() {
        return Ok(others);
    }
    let (mut bench, state) = ward.bench();
    let now = verify(&mut bench, state, base, &others, Known::Stands, Where::Base)?;
    let healthy: Vec<ModuleName> =
        others.into_iter().filter(|name| now.get(name).is_some_and(|it| it.verdict.is_healthy())).collect();
    let then = verify(&mut bench, state, candidate, &healthy, Known::Stands, Where::Candidate)?;
    let stays = |name: &ModuleName| then.get(name).is_some_and(|it| it.verdict.is_healthy());
    Ok(healthy.into_iter().filter(|name| !stays(name)).collect())
}

/// Verify one module.
fn run(
    ward: &mut Ward<'_, '_>,
    scene: &Scene,
    module: &ModuleName,
    known: Known,
    at: Where,
) -> PortResult<Verified> {
    let (mut bench, state) = ward.bench();
    let modules = std::slice::from_ref(module);
    verify(&mut bench, state, scene, modules, known, at)?
        .remove(module)
        .ok_or_else(|| PortError::failed(format!("verification gave no answer about {module}")))
}

/// Make the proposal.
fn propose(ward: &mut Ward<'_, '_>, head: ObjectId, derived: &Derived) -> PortResult<ProposalId> {
    let graph = ward.graph()?;
    let Some(rules) = ward.rules.clone() else {
        return Err(PortError::failed("nobody is trusted to decide yet").kind(FailureKind::Usage));
    };
    let modules = &ward.look.discovery.modules;
    let world = &mut *ward.world;
    let place = Place {
        superproject: world.superproject,
        sources: world.sources,
        modules,
        graph: &graph,
        head,
        now_ms: world.clock.wall_ms(),
    };
    let mut recorder = Recorder::new(&mut *world.journal);
    let made = offer::make(&mut recorder, ward.state, &rules, place, derived, Purpose::Heal);
    recorder.tell(ward.state);
    made
}

/// Apply a proposal under the standing authority. Why not, when nothing was changed.
fn apply_by(ward: &mut Ward<'_, '_>, id: ProposalId, grant: &Grant) -> PortResult<Result<Applied, String>> {
    let world = &mut *ward.world;
    let mut recorder = Recorder::new(&mut *world.journal);
    let mut applying = World {
        repository: world.repository,
        superproject: world.superproject,
        sources: world.sources,
        journal: &mut recorder,
        authority: Authority::Standing(grant),
        clock: world.clock,
        commands: &[],
    };
    let applied = apply::apply(&mut applying, ward.state, id, Mode::Act);
    recorder.tell(ward.state);
    match applied {
        Ok(applied) => Ok(Ok(applied)),
        // What began is gone on with by recovery, in the next cycle.
        Err(error) if error.fatal || ward.state.open_apply.is_some() => Err(error),
        Err(error) => match error.kind {
            FailureKind::Integrity | FailureKind::Interrupted => Err(error),
            _ => Ok(Err(said(&error))),
        },
    }
}

/// The pin is at the target in the workspace: whether the module passes there decides.
fn check(ward: &mut Ward<'_, '_>, open: &OpenHeal, notes: Vec<String>) -> PortResult<Settled> {
    let Some(at) = ward.head()? else { return overtaken(ward) };
    let modules = &ward.look.discovery.modules;
    let scene = Committed::read(ward.world.superproject, modules, at)?.as_it_is();
    if scene.modules.get(&open.module).map(|placed| placed.pin) != Some(open.to) {
        return overtaken(ward);
    }
    let now = run(ward, &scene, &open.module, Known::RunAgain, Where::Base)?;
    let record = open.proposal.and_then(|id| ward.state.proposals.get(&id));
    let commit = record.and_then(|record| match record.stage {
        Stage::Applied { commit } => Some(commit),
        _ => None,
    });
    let Some(again) = now.evidence.filter(|_| now.verdict.is_healthy()) else {
        return restore(ward, open, &now);
    };
    let froze = finish(ward, Ended::new(HealEnd::Healed).at(commit).on(Some(again)))?;
    let mut notes = notes;
    notes.extend(froze);
    Ok(Ok(Healed {
        module: open.module.clone(),
        from: open.from,
        to: open.to,
        commit,
        proposal: open.proposal,
        bad: open.bad,
        good: open.good,
        again,
        notes,
    }))
}

fn overtaken(ward: &mut Ward<'_, '_>) -> PortResult<Settled> {
    finish(ward, Ended::new(HealEnd::Overtaken).because(&Reason::Overtaken))?;
    Ok(Err(Reason::Overtaken))
}

/// Put the pin back where it was.
fn restore(ward: &mut Ward<'_, '_>, open: &OpenHeal, now: &Verified) -> PortResult<Settled> {
    let stuck = |ward: &mut Ward<'_, '_>, why: String| {
        let reason = Reason::Stuck { reason: why };
        finish(ward, Ended::new(HealEnd::Stuck).because(&reason).on(now.evidence))?;
        Ok(Err(reason))
    };
    if let Mandate::Propose(why) = ward.mandate() {
        return stuck(ward, why);
    }
    let (head, derived) = match back(ward, &open.module, open.to, open.from)? {
        Ok(made) => made,
        Err(reason) => return stuck(ward, reason.to_string()),
    };
    let known = ward
        .rules
        .as_ref()
        .and_then(|rules| offer::find(ward.state, rules, &derived, |it| it == Purpose::Heal));
    let proposal = match known {
        Some(proposal) if open.restoring == Some(proposal) => proposal,
        _ => propose(ward, head, &derived)?,
    };
    let grant = Grant {
        kind: Way::Restore,
        rung: ward.options.rung,
        started: open.started,
        module: open.module.clone(),
        from: open.to,
        to: open.from,
        bad: rests(now),
        good: None,
        again: None,
    };
    match apply_by(ward, proposal, &grant)? {
        Ok(_) => {
            let reason = Reason::Restored { to: open.to, reason: why(now) };
            finish(ward, Ended::new(HealEnd::Restored).because(&reason).on(now.evidence))?;
            Ok(Err(reason))
        }
        Err(why) => stuck(ward, why),
    }
}

fn rests(verified: &Verified) -> Option<Rests> {
    Some(Rests { key: verified.key?, evidence: verified.evidence? })
}

/// What a verdict says, as a sentence without a final stop.
fn why(verified: &Verified) -> String {
    let verdict = &verified.verdict;
    match (verdict.step(), verdict.reason()) {
        (Some(step), Some(reason)) => format!("{} {}: {reason}", step.as_str(), verdict.as_str()),
        (None, Some(reason)) => format!("{}: {reason}", verdict.as_str()),
        (_, None) => verdict.as_str().to_owned(),
    }
}
