//! Rolling back: a proposal that moves one module's pin to a revision that it was at before.
//!
//! In: a module, a revision, and the workspace. Out: an open proposal, decided and applied as any
//! other; and a hold on the module, so that the revision it came from is not proposed again by
//! itself. What a target may be is narrow: the pin's own history, at hand here.

use crate::domain::event::Event;
use crate::domain::id::{ModuleName, ObjectId, ProposalId};
use crate::domain::module::Module;
use crate::domain::proposal::{Purpose, Stage};
use crate::domain::state::State;
use crate::domain::text;
use crate::ops::exchange::Place;
use crate::ops::govern;
use crate::ops::propose::{Ask, derive_one, offer};
use crate::ports::{FailureKind, Journal, PortError, PortResult, Relation, Sources};

/// A pin that shall go back.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Which module.
    pub module: &'a ModuleName,
    /// Where its pin is.
    pub from: ObjectId,
    /// Where it shall be.
    pub to: ObjectId,
    /// Why, for people.
    pub reason: &'a str,
}

/// Make the proposal, or find it, and hold the module.
///
/// # Errors
/// Usage when nobody is trusted yet; failed when the revision was never this module's pin and is no
/// ancestor of it, is not at hand, or the change cannot be derived.
pub fn propose(
    journal: &mut dyn Journal,
    state: &State,
    place: Place<'_>,
    wanted: Wanted<'_>,
) -> PortResult<ProposalId> {
    let Wanted { module, from, to, reason } = wanted;
    let refused =
        |why: String| PortError::failed(format!("cannot roll {module} back to {}: {why}", to.short()));
    let found = place
        .modules
        .iter()
        .find(|known| known.name == *module)
        .ok_or_else(|| refused("there is no such module".to_owned()).kind(FailureKind::Usage))?;
    if from == to {
        return Err(refused("its pin is there already".to_owned()).kind(FailureKind::Usage));
    }
    may_be_target(state, place.sources, found, from, to).map_err(refused)?;
    let rules = govern::rules(journal, state)?;
    let asks = [Ask { module: module.clone(), to }];
    let workspace = &rules.members.workspace;
    let derived = derive_one(place.superproject, place.sources, place.modules, workspace, place.head, &asks)?
        .map_err(|why| refused(format!("it cannot be derived: {}", text::inert(&why.to_string()))))?;
    let id = match offer::find(state, &rules, &derived, |_| true) {
        Some(id) => id,
        None => offer::make(journal, state, &rules, place, &derived, Purpose::Rollback)?,
    };
    let reason = text::clipped(&format!("rolled back from {}: {reason}", from.short()), 1000);
    if state.holds.get(module) != Some(&reason) {
        journal.append(module.as_str(), &Event::ModuleHeld { module: module.clone(), reason })?;
    }
    Ok(id)
}

/// A target is an ancestor of the pin, or was the pin once; and it is at hand.
fn may_be_target(
    state: &State,
    sources: &dyn Sources,
    module: &Module,
    from: ObjectId,
    to: ObjectId,
) -> Result<(), String> {
    let relation = sources.relation(module, from, to).map_err(|error| error.to_string())?;
    match relation {
        Relation::Missing(missing) => Err(format!("the commit {missing} is not at hand")),
        Relation::Counted { behind: 0, .. } => Ok(()),
        Relation::Counted { .. } if was_pinned(state, &module.name, to) => Ok(()),
        Relation::Counted { .. } => {
            Err("it is no ancestor of the pin, and was never applied here".to_owned())
        }
    }
}

/// Whether a revision was the pin before one of the proposals that were applied.
fn was_pinned(state: &State, module: &ModuleName, at: ObjectId) -> bool {
    state
        .proposals
        .values()
        .filter(|record| matches!(record.stage, Stage::Applied { .. }))
        .flat_map(|record| &record.pins)
        .any(|pin| pin.module == *module && (pin.from == at || pin.to == at))
}

/// The revision that a person's text names: in full, or the start of one that was proposed here.
///
/// # Errors
/// A sentence: it is no revision, or none or several begin so.
pub fn revision(state: &State, module: &ModuleName, said: &str) -> Result<ObjectId, String> {
    if let Ok(id) = said.parse::<ObjectId>() {
        return Ok(id);
    }
    if said.len() < 7 || !said.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("{} is no revision: give its full id", text::quoted(said)));
    }
    let said = said.to_ascii_lowercase();
    let mut known: Vec<ObjectId> = state
        .proposals
        .values()
        .flat_map(|record| &record.pins)
        .filter(|pin| pin.module == *module)
        .flat_map(|pin| [pin.from, pin.to])
        .filter(|id| id.to_string().starts_with(&said))
        .collect();
    known.sort();
    known.dedup();
    match known.as_slice() {
        [one] => Ok(*one),
        [] => Err(format!("no revision that was proposed here begins with {said}: give its full id")),
        _ => Err(format!("several revisions begin with {said}: give the full id")),
    }
}
