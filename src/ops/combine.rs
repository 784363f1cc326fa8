//! Combining: several open proposals become one, so that one signature decides over all of them.
//!
//! In: proposals that move pins, and the workspace. Out: one change with all their pins, derived here
//! as any other, and the proposal of it, which takes the place of its parts. A combination is what was
//! asked for: it stays as long as its pins stand, and none of its parts is proposed again meanwhile.
//!
//! [`join`] writes nothing: whoever signs sees the combination before there is one.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::candidates::Candidates;
use crate::domain::canonical::CanonicalError;
use crate::domain::event::Event;
use crate::domain::id::{ModuleName, ObjectId, ProposalId};
use crate::domain::proposal::{Closure, MAX_PINS, PROPOSAL_VERSION, Proposal, Purpose, Stage, Verification};
use crate::domain::state::State;
use crate::domain::text;
use crate::ops::exchange::Place;
use crate::ops::govern::{self, Case};
use crate::ops::propose::{Ask, Derived, derive_one, offer, track_of};
use crate::ports::{FailureKind, Journal, PortError, PortResult, Stored};

/// Proposals joined to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The combination.
    pub case: Case,
    /// Its parts, sorted.
    pub parts: Vec<ProposalId>,
    /// What makes it; nothing when it is open already.
    making: Option<Making>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Making {
    made: Event,
    verified: Option<Event>,
    delta: Vec<u8>,
    manifest: Vec<u8>,
}

/// Join proposals. Nothing is written.
///
/// # Errors
/// Usage when they cannot be one change: other than pins, two targets for a module, too many; failed when
/// the change cannot be derived on HEAD, or not as its parts say.
pub fn join(
    journal: &(impl Stored + ?Sized),
    state: &State,
    place: Place<'_>,
    parts: &[Case],
) -> PortResult<Joined> {
    let rules = govern::rules(journal, state)?;
    let asks = asks(parts)?;
    let refused = |why: String| PortError::failed(format!("cannot combine {} proposals: {why}", parts.len()));
    let derived = derive_one(
        place.superproject,
        place.sources,
        place.modules,
        &rules.members.workspace,
        place.head,
        &asks,
    )?
    .map_err(|why| refused(text::inert(&why.to_string())).hint("approve them one by one"))?;
    let moves = parts.iter().flat_map(|part| &part.pins);
    if let Some(other) = moves.into_iter().find(|pin| !derived.pins.contains(pin)) {
        return Err(refused(format!("the pin of {} is not where they begin", other.module))
            .hint("lambda-os run --once proposes what can be done now"));
    }
    let mut ids: Vec<ProposalId> = parts.iter().map(|part| part.id).collect();
    ids.sort();
    if let Some(open) = offer::find(state, &rules, &derived, |purpose| purpose == Purpose::Combined) {
        let case = govern::case(journal, state, open)?;
        return Ok(Joined { case, parts: ids, making: None });
    }
    let proposal = proposal(state, &rules, place, &derived, parts, &ids).map_err(no_form)?;
    let id = proposal.id().map_err(no_form)?;
    let shown: Vec<String> = ids.iter().map(ProposalId::short).collect();
    let own = format!("combines {}", shown.join(", "));
    let notes = std::iter::once(&own).chain(&derived.notes);
    let made = Event::ProposalMade {
        proposal: id,
        change: derived.change,
        purpose: Purpose::Combined,
        track: proposal.track,
        pins: derived.pins.clone(),
        base: place.head,
        tree: derived.tree,
        supersedes: proposal.supersedes,
        expires_ms: proposal.expires_ms,
        notes: notes.take(24).map(|note| text::clipped(&text::inert(note), 1000)).collect(),
    };
    let verified = verification(journal, state, place.head, &derived)?;
    let verified =
        verified.map(|Verification { tree, claims }| Event::ProposalVerified { proposal: id, tree, claims });
    // As it will be, once it is made.
    let mut then = state.clone();
    then.apply(0, place.now_ms, &made);
    if let Some(verified) = &verified {
        then.apply(0, place.now_ms, verified);
    }
    let record = then.proposals.get(&id).cloned();
    let record = record.ok_or_else(|| refused("nothing came of it".to_owned()))?;
    let making = Making {
        made,
        verified,
        delta: derived.delta.to_canonical().map_err(no_form)?,
        manifest: proposal.to_canonical().map_err(no_form)?,
    };
    let case = Case { id, proposal, pins: derived.pins, successor: None, delta: derived.delta, record };
    Ok(Joined { case, parts: ids, making: Some(making) })
}

/// All that the parts move, each module once.
fn asks(parts: &[Case]) -> PortResult<Vec<Ask>> {
    let usage = |why: String| PortError::failed(why).kind(FailureKind::Usage);
    let mut to: BTreeMap<&ModuleName, ObjectId> = BTreeMap::new();
    for part in parts {
        let id = part.id.short();
        if !part.delta.files.is_empty() || part.delta.document.is_some() || part.pins.is_empty() {
            return Err(usage(format!(
                "cannot combine the proposal {id} with others: it does not move pins"
            ))
            .hint(format!("lambda-os proposal approve {id}")));
        }
        for pin in &part.pins {
            if to.insert(&pin.module, pin.to).is_some_and(|other| other != pin.to) {
                return Err(usage(format!(
                    "cannot combine these proposals: they move {} to different revisions",
                    pin.module
                )));
            }
        }
    }
    if to.len() > MAX_PINS {
        let count = to.len();
        return Err(usage(format!(
            "cannot combine these proposals: {count} pins, and {MAX_PINS} may move at once"
        )));
    }
    Ok(to.into_iter().map(|(module, to)| Ask { module: module.clone(), to }).collect())
}

fn proposal(
    state: &State,
    rules: &govern::Rules,
    place: Place<'_>,
    derived: &Derived,
    parts: &[Case],
    ids: &[ProposalId],
) -> Result<Proposal, CanonicalError> {
    let modules: Vec<ModuleName> = derived.pins.iter().map(|pin| pin.module.clone()).collect();
    let track = track_of(place.graph, &modules);
    let requires: BTreeSet<ProposalId> = parts
        .iter()
        .flat_map(|part| &part.proposal.requires)
        .filter(|before| !ids.contains(before))
        .copied()
        .collect();
    // It lives no longer than the first of its parts would.
    let expires = parts.iter().map(|part| part.record.expires_ms);
    let expires_ms = expires
        .chain([rules.policy.expires_ms(&rules.members, track, place.now_ms)])
        .min()
        .unwrap_or(place.now_ms);
    let mut proposal = Proposal {
        v: PROPOSAL_VERSION,
        change: derived.change,
        track,
        policy: rules.policy_cid,
        members_epoch: rules.members.epoch,
        requires: requires.into_iter().collect(),
        supersedes: ids.first().copied(),
        expires_ms,
    };
    // One that is over keeps its name.
    while state.proposals.contains_key(&proposal.id()?) {
        proposal.expires_ms = proposal.expires_ms.saturating_sub(1);
    }
    Ok(proposal)
}

/// What was verified of exactly this tree, when it was tried in combination on this commit.
fn verification(
    journal: &(impl Stored + ?Sized),
    state: &State,
    head: ObjectId,
    derived: &Derived,
) -> PortResult<Option<Verification>> {
    let Some(tried) = state.candidates.filter(|tried| tried.base == head) else { return Ok(None) };
    // The store may be cleaned by hand.
    let Some(bytes) = journal.stored(&tried.outcome)? else { return Ok(None) };
    let found = serde_json::from_slice::<Candidates>(&bytes).ok();
    let green = found.and_then(|found| found.green.into_iter().find(|set| set.tree == derived.tree));
    Ok(green.map(|set| Verification { tree: set.tree, claims: set.claims }))
}

/// Make the combination, which ends its parts. `state` is what the journal adds up to now.
///
/// # Errors
/// Temporary when a part was decided meanwhile; when the journal cannot be written.
pub fn make(journal: &mut dyn Journal, state: &State, joined: &Joined) -> PortResult<()> {
    let Some(making) = &joined.making else { return Ok(()) };
    let is_open = |id: &ProposalId| state.proposals.get(id).is_some_and(|record| record.stage == Stage::Open);
    if let Some(over) = joined.parts.iter().find(|id| !is_open(id)) {
        let why = format!("cannot combine the proposal {}: it is not open any more", over.short());
        return Err(PortError::failed(why)
            .kind(FailureKind::Temporary)
            .hint("nothing was proposed; look again with: lambda-os proposal list"));
    }
    journal.store_all(&[&making.delta, &making.manifest])?;
    let by = joined.case.id;
    let subject = by.short();
    let mut events = vec![(subject.clone(), making.made.clone())];
    events.extend(making.verified.clone().map(|verified| (subject, verified)));
    // The first ends by being superseded.
    for part in joined.parts.iter().filter(|part| joined.case.proposal.supersedes != Some(**part)) {
        let reason = "it was combined with others".to_owned();
        let (outcome, by) = (Closure::Superseded, Some(by));
        events.push((part.short(), Event::ProposalClosed { proposal: *part, outcome, by, reason }));
    }
    let events: Vec<(&str, Event)> =
        events.iter().map(|(subject, event)| (subject.as_str(), event.clone())).collect();
    journal.append_all(&events).map(|_| ())
}

fn no_form(error: CanonicalError) -> PortError {
    PortError::failed("cannot write the combined proposal as canonical JSON").because(error)
}
