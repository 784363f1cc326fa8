//! Applying: a proposal that was approved, or that heals, into the superproject.
//!
//! In: a proposal, the journal, the workspace as it is now. Out: the commit on the branch that HEAD
//! names, or a refusal after which nothing is changed. The order is the whole point:
//!
//! ```text
//! recover → derive again on HEAD, the same change? → policy → count again, certify (durable)
//!   → obstacles? → commit made → apply.started (durable) → land → apply.finished
//! ```
//!
//! Nothing is taken from an earlier run but what the journal proves: the bytes that land are derived
//! here and now, and must be the change that was approved.

use std::fmt::Write as _;

use serde::Serialize;

use super::amend;
use super::amend::succession;
use super::authority::{self, Authority, Warrant};
use super::govern::{self, Case};
use super::policy::{self, Site};
use super::propose::{Derived, derive_delta};
use super::recover::{self, OpenEffect};
use crate::domain::change::DocumentDelta;
use crate::domain::event::Event;
use crate::domain::heal::certificate::Way;
use crate::domain::id::{Cid, ObjectId, ProposalId};
use crate::domain::module::Module;
use crate::domain::policy::facts::Command;
use crate::domain::proposal::Stage;
use crate::domain::state::State;
use crate::domain::text;
use crate::ports::{
    Clock, FailureKind, Journal, Landing, LandingState, PortError, PortResult, Repository, Sources,
    Superproject,
};

/// What applying works with. Whoever calls holds the cycle lock.
pub struct World<'a> {
    /// The workspace, read.
    pub repository: &'a dyn Repository,
    /// The workspace, changed.
    pub superproject: &'a dyn Superproject,
    /// The modules' sources.
    pub sources: &'a dyn Sources,
    /// The journal, whose one writer we are.
    pub journal: &'a mut dyn Journal,
    /// By what right.
    pub authority: Authority<'a>,
    /// Time.
    pub clock: &'a dyn Clock,
    /// What this machine's configuration runs on the workspace: rules of the policy look at it.
    pub commands: &'a [Command],
}

/// What became of a proposal that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Which.
    pub id: ProposalId,
    /// The branch that moved, by its full name; empty where none does.
    pub reference: String,
    /// Where it was.
    pub from: ObjectId,
    /// The commit; absent when it was only tried.
    pub commit: Option<ObjectId>,
    /// For a change of the rules: which document took the place of which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentDelta>,
    /// The entry that put it in force; absent when it was only tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enacted_by: Option<u64>,
    /// The changed paths.
    pub paths: Vec<String>,
    /// What was left for a person, each a sentence.
    pub notes: Vec<String>,
}

/// Whether something is done, or only what would be done is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Do it.
    Act,
    /// Check everything that can be checked without writing.
    Try,
}

/// Apply a proposal. `state` is what the journal adds up to now, with nothing left open:
/// [`recover::recover`] comes first.
///
/// # Errors
/// Approvals missing, refused, or integrity as [`govern::certify`], integrity when a heal does not rest on
/// what the journal says; busy when another git holds the index; failed when it is over, derives to another change on HEAD, or something forbids it now.
pub fn apply(world: &mut World<'_>, state: &State, id: ProposalId, mode: Mode) -> PortResult<Applied> {
    // What we believe of the journal comes from a cache; what is acted on comes from the journal itself.
    let proven = recover::proven(&*world.journal, state)?;
    let state = &proven;
    recover::check_landed(&*world.journal, world.superproject, state)?;
    succession::check(&*world.journal, state)?;
    let case = govern::case(&*world.journal, state, id)?;
    may_begin(&case, state)?;
    if let Some(document) = case.delta.document {
        let mut state = state.clone();
        if mode == Mode::Act {
            let modules = world.repository.discover()?.modules;
            let now = policy::now(&state, world.clock);
            let World { superproject, sources, commands, .. } = *world;
            let site =
                Site { superproject, sources, modules: &modules, commands, snapshot: None, upgrades: &[] };
            policy::gate_document(site, world.journal, &mut state, &case, now)?;
        }
        return amend::enact(world, &state, &case, document, mode);
    }
    let (reference, head) = world.superproject.branch()?;
    let modules = world.repository.discover()?.modules;
    let derived = derive_again(world, &case, &modules, head)?;
    let mut state = state.clone();
    let applied = |commit, notes| Applied {
        id,
        reference: reference.clone(),
        from: head,
        commit,
        document: None,
        enacted_by: None,
        paths: derived.edits.iter().map(|edit| edit.path.to_string()).collect(),
        notes,
    };
    let now_ms = world.clock.wall_ms();
    if mode == Mode::Try {
        let mut notes = derived.notes.clone();
        if let Authority::Ballots(governor) = world.authority {
            let tally = govern::decide(&*world.journal, &state, governor, id, world.clock)?;
            notes.push(format!("the proposal is {}", tally.state.as_str()));
        }
        notes.extend(denied(world, &state, &case, &derived, &modules)?);
        notes.extend(world.superproject.obstacles(head, &derived.edits)?);
        return Ok(applied(None, notes));
    }
    if (case.record.base, case.record.tree) != (head, derived.tree) {
        // Its ballots stay: they are on the change, which is the same.
        let event = Event::ProposalDerived { proposal: id, base: head, tree: derived.tree };
        let entry = world.journal.append(&id.short(), &event)?;
        state.take(&entry);
    }
    permitted(world, &mut state, &case, &derived, &modules)?;
    // What others said meanwhile counts, too.
    let state = recover::proven(&*world.journal, &state)?;
    let warrant = authority::certify(world.journal, &state, world.authority, id, world.clock)?;
    if warrant.change != derived.change || warrant.proposal != id {
        return Err(PortError::failed(format!("the certificate of {} is for another change", id.short()))
            .kind(FailureKind::Integrity)
            .hint("nothing was applied; look with: lambda-os audit verify"));
    }
    let obstacles = world.superproject.obstacles(head, &derived.edits)?;
    if !obstacles.is_empty() {
        return Err(not_now(id, &obstacles));
    }
    let message = message(&case, &warrant)?;
    let target = world.superproject.commit(head, &derived.edits, &message, now_ms)?;
    let landing = Landing {
        reference: reference.clone(),
        expected: head,
        target,
        edits: derived.edits.clone(),
        modules,
    };
    let event = Event::ApplyStarted {
        proposal: id,
        certificate: warrant.certificate,
        reference: reference.clone(),
        expected: head,
        target,
    };
    let started = world.journal.append(&id.short(), &event)?.seq;
    let effect = OpenEffect { started, proposal: id };
    if let Some(reason) = world.journal.stopped() {
        // Somebody stopped everything before this began, whatever we knew: nothing was done yet.
        let note = format!("everything is held: {reason}");
        recover::finish(world.journal, effect, "undone", None, &[note])?;
        return Err(held(id, &reason));
    }
    match world.superproject.land(&landing) {
        Ok(landed) => {
            recover::finish(world.journal, effect, "applied", Some(target), &landed.notes)?;
            Ok(applied(Some(target), landed.notes))
        }
        Err(error) if error.fatal => Err(error),
        Err(error) => Err(after_failure(world, &landing, effect, error)),
    }
}

/// An error where nothing of it is to be begun: it is over, everything is held, or another goes before.
fn may_begin(case: &Case, state: &State) -> PortResult<()> {
    must_be_open(case)?;
    let id = case.id;
    if let Some(reason) = &state.stopped {
        return Err(held(id, reason));
    }
    let waits = case.proposal.requires.iter().find(|before| {
        let record = state.proposals.get(before);
        !record.is_some_and(|record| matches!(record.stage, Stage::Applied { .. }))
    });
    let Some(before) = waits else { return Ok(()) };
    let before = before.short();
    Err(PortError::failed(format!(
        "cannot apply the proposal {}: {before} must be applied before",
        id.short()
    ))
    .hint(format!("lambda-os proposal show {before}")))
}

fn held(id: ProposalId, reason: &str) -> PortError {
    let reason = text::inert(reason);
    PortError::failed(format!("cannot apply the proposal {}: everything is held: {reason}", id.short()))
        .kind(FailureKind::Refused)
        .hint("lambda-os unhold --all lets go")
}

/// An error unless the policy's rules, asked once more, let it be applied; and for a heal the floors.
fn permitted(
    world: &mut World<'_>,
    state: &mut State,
    case: &Case,
    derived: &Derived,
    modules: &[Module],
) -> PortResult<()> {
    if let Authority::Standing(grant) = world.authority {
        if grant.kind == Way::Restore {
            // It puts back what stood there before the heal.
            return Ok(());
        }
        let rules = govern::rules(&*world.journal, state)?;
        policy::above_the_floors(&rules, world.sources, modules, &grant.module, grant.to).map_err(|why| {
            PortError::failed(format!("cannot heal {}: {why}", grant.module)).kind(FailureKind::Refused)
        })?;
    }
    let now = policy::now(state, world.clock);
    let World { superproject, sources, commands, .. } = *world;
    let site = Site { superproject, sources, modules, commands, snapshot: None, upgrades: &[] };
    policy::gate(site, world.journal, state, case, derived, now)
}

/// What the policy's rules would deny, each a note.
fn denied(
    world: &World<'_>,
    state: &State,
    case: &Case,
    derived: &Derived,
    modules: &[Module],
) -> PortResult<Vec<String>> {
    if state.policy.is_none() || state.members.is_none() {
        return Ok(Vec::new());
    }
    let rules = govern::rules(&*world.journal, state)?;
    let now = policy::now(state, world.clock);
    let World { superproject, sources, commands, .. } = *world;
    let site = Site { superproject, sources, modules, commands, snapshot: None, upgrades: &[] };
    let findings = policy::look(site, state, &rules, case, derived, now)?;
    Ok(policy::denials(&findings).into_iter().map(|why| format!("the policy denies it: {why}")).collect())
}

fn must_be_open(case: &Case) -> PortResult<()> {
    let id = case.id.short();
    let over = |how: String| Err(PortError::failed(format!("cannot apply the proposal {id}: {how}")));
    match &case.record.stage {
        Stage::Open => Ok(()),
        Stage::Applied { commit } => over(format!("it was applied already, as {}", commit.short())),
        Stage::Enacted { seq } => over(format!("it is in force already, by entry {seq}")),
        Stage::Applying { .. } => over("applying it began and its end is not known".to_owned()),
        Stage::Stuck { reason } => over(format!("it is stuck: {reason}")),
        Stage::Closed { outcome, by, .. } => {
            let by = by.map_or_else(String::new, |by| format!(" by {}", by.short()));
            over(format!("it is {}{by}", outcome.as_str()))
        }
    }
}

/// The change of a proposal on a commit: the same, or nothing is applied.
fn derive_again(world: &World<'_>, case: &Case, modules: &[Module], head: ObjectId) -> PortResult<Derived> {
    let id = case.id.short();
    let derived =
        derive_delta(world.superproject, world.sources, modules, &*world.journal, &case.delta, head)?;
    let derived = derived.map_err(|why| {
        PortError::failed(format!("cannot apply the proposal {id}: it cannot be derived on HEAD any more"))
            .because(why)
            .hint("lambda-os run --once proposes what can be derived now")
    })?;
    if derived.change == case.record.change {
        return Ok(derived);
    }
    Err(PortError::failed(format!(
        "cannot apply the proposal {id}: on HEAD {} it would be another change than the one that was decided on",
        head.short()
    ))
    .hint("nothing was applied; lambda-os run --once proposes the change as it is now"))
}

fn not_now(id: ProposalId, obstacles: &[String]) -> PortError {
    PortError::failed(format!("cannot apply the proposal {} now", id.short()))
        .because(std::io::Error::other(obstacles.join("\n")))
        .hint("nothing was changed; apply it again afterwards, the approvals stay")
}

/// Landing failed: as if it had not begun, or open for recovery.
fn after_failure(
    world: &mut World<'_>,
    landing: &Landing,
    effect: OpenEffect,
    error: PortError,
) -> PortError {
    if let Ok(LandingState::NotBegun) = world.superproject.landing_state(landing) {
        let undone = world.superproject.abandon(landing).and_then(|()| {
            let why = recover::said(&error);
            recover::finish(world.journal, effect, "undone", None, &[why])
        });
        // What could not be journalled is found at the next start.
        return undone.err().unwrap_or(error);
    }
    match error.hint {
        Some(_) => error,
        None => error.hint("applying began and is not finished: lambda-os run --once goes on with it"),
    }
}

/// The message of the commit: what moves, by whose word, and the trailers that tie it to the journal.
fn message(case: &Case, warrant: &Warrant) -> PortResult<String> {
    let mut message = format!("{}\n\n", case.title());
    for pin in &case.pins {
        let _ = writeln!(message, "{}: {} -> {}", pin.module, pin.from, pin.to);
    }
    for file in &case.delta.files {
        let verb = if file.old.is_some() { "change" } else { "add" };
        let _ = writeln!(message, "{verb} {}", file.path);
    }
    let _ = writeln!(message, "\n{}\n", warrant.said);
    let line = warrant
        .entry
        .line()
        .map_err(|error| PortError::failed("cannot name the journal's entry in the commit").because(error))?;
    let _ = writeln!(message, "{}{}", recover::PROPOSAL_TRAILER, case.id);
    let _ = writeln!(message, "{}{} {}", recover::JOURNAL_TRAILER, warrant.entry.seq, Cid::of(&line));
    Ok(message)
}
