//! One change that somebody asked for, put to those who decide: found when it is open already, else made.

use crate::domain::event::Event;
use crate::domain::id::{ModuleName, ProposalId};
use crate::domain::proposal::{PROPOSAL_VERSION, Proposal, Purpose, Stage};
use crate::domain::state::State;
use crate::domain::text;
use crate::ops::exchange::Place;
use crate::ops::govern::Rules;
use crate::ports::{Journal, PortError, PortResult};

use super::{Derived, track_of};

/// The open proposal of this change under these rules, for one of these purposes.
#[must_use]
pub fn find(
    state: &State,
    rules: &Rules,
    derived: &Derived,
    purpose: impl Fn(Purpose) -> bool,
) -> Option<ProposalId> {
    let open = state.open_proposals().find(|(_, record)| {
        record.change == derived.change
            && purpose(record.purpose)
            && record.stage == Stage::Open
            && record.policy == Some(rules.policy_cid)
            && record.members_epoch == rules.members.epoch
    });
    open.map(|(id, _)| *id)
}

/// Make the proposal of a change on the commit that the place is at.
///
/// # Errors
/// When the journal cannot be written.
pub fn make(
    journal: &mut dyn Journal,
    state: &State,
    rules: &Rules,
    place: Place<'_>,
    derived: &Derived,
    purpose: Purpose,
) -> PortResult<ProposalId> {
    let modules: Vec<ModuleName> = derived.delta.pins.iter().map(|pin| pin.module.clone()).collect();
    let track = track_of(place.graph, &modules);
    let mut proposal = Proposal {
        v: PROPOSAL_VERSION,
        change: derived.change,
        track,
        policy: rules.policy_cid,
        members_epoch: rules.members.epoch,
        requires: Vec::new(),
        supersedes: None,
        expires_ms: rules.policy.expires_ms(&rules.members, track, place.now_ms),
    };
    let no_form = |error| PortError::failed("cannot write the proposal as canonical JSON").because(error);
    let mut id = proposal.id().map_err(no_form)?;
    // The same change asked for again at the same moment is another proposal than one that is over.
    while state.proposals.contains_key(&id) {
        proposal.expires_ms = proposal.expires_ms.saturating_add(1);
        id = proposal.id().map_err(no_form)?;
    }
    let (delta, manifest) =
        (derived.delta.to_canonical().map_err(no_form)?, proposal.to_canonical().map_err(no_form)?);
    journal.store_all(&[&delta, &manifest])?;
    let event = Event::ProposalMade {
        proposal: id,
        change: derived.change,
        purpose,
        track,
        pins: derived.pins.clone(),
        base: place.head,
        tree: derived.tree,
        supersedes: None,
        expires_ms: proposal.expires_ms,
        notes: derived.notes.iter().take(24).map(|note| text::clipped(&text::inert(note), 400)).collect(),
    };
    journal.append(&id.short(), &event)?;
    Ok(id)
}
