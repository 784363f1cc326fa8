//! Exchange: a proposal out of this state directory as one file, and one from elsewhere into it.
//!
//! Nothing that comes in is believed. The change is derived again on this workspace's HEAD and must
//! be the same; members, policy and workspace must be those in force here; ballots are taken in as
//! any other message.

use std::collections::BTreeMap;

use data_encoding::BASE64;

use crate::domain::canonical::CanonicalError;
use crate::domain::event::Event;
use crate::domain::graph::Graph;
use crate::domain::id::{Cid, ModuleName, ObjectId, ProposalId};
use crate::domain::module::Module;
use crate::domain::packet::{Packet, version_of};
use crate::domain::proposal::{Purpose, Stage};
use crate::domain::state::State;
use crate::domain::text;
use crate::ops::amend;
use crate::ops::govern;
use crate::ops::propose::{FILES_TRACK, derive_delta, track_of};
use crate::ports::{FailureKind, Journal, PortError, PortResult, Sources, Stored, Superproject};

/// Contents that came with a proposal, and those that are here.
struct Carried<'a> {
    came: &'a BTreeMap<Cid, Vec<u8>>,
    here: &'a dyn Journal,
}

impl Stored for Carried<'_> {
    fn stored(&self, cid: &Cid) -> PortResult<Option<Vec<u8>>> {
        match self.came.get(cid) {
            Some(bytes) => Ok(Some(bytes.clone())),
            None => self.here.load(cid),
        }
    }
}

/// The file of a proposal that this journal knows.
///
/// # Errors
/// As [`govern::case`]; integrity when a ballot is not what the journal names.
pub fn export(journal: &dyn Journal, state: &State, id: ProposalId) -> PortResult<Packet> {
    let case = govern::case(journal, state, id)?;
    let mut ballots = Vec::with_capacity(case.record.ballots.len());
    for ballot in &case.record.ballots {
        let message = journal.load(ballot)?.and_then(|bytes| String::from_utf8(bytes).ok());
        ballots.push(message.ok_or_else(|| {
            PortError::failed(format!("cannot export {}: the ballot {ballot} is missing", id.short()))
                .kind(FailureKind::Integrity)
                .hint("lambda-os audit verify")
        })?);
    }
    let mut contents: BTreeMap<Cid, String> = BTreeMap::new();
    for content in case.delta.contents() {
        let bytes = journal.load(&content)?.ok_or_else(|| {
            PortError::failed(format!("cannot export {}: the content {content} is missing", id.short()))
                .kind(FailureKind::Integrity)
                .hint("lambda-os audit verify")
        })?;
        contents.insert(content, BASE64.encode(&bytes));
    }
    Ok(Packet {
        v: version_of(&case.delta),
        proposal: case.proposal,
        delta: case.delta,
        purpose: case.record.purpose,
        ballots,
        contents: contents.into_values().collect(),
    })
}

/// What importing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The proposal.
    pub id: ProposalId,
    /// It was not known here before.
    pub is_new: bool,
    /// Signed messages that came with it, to be taken in once the journal holds the proposal.
    pub ballots: Vec<String>,
}

/// The workspace that a proposal is imported into.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The superproject's objects.
    pub superproject: &'a dyn Superproject,
    /// The modules' sources.
    pub sources: &'a dyn Sources,
    /// The modules.
    pub modules: &'a [Module],
    /// Who needs whom.
    pub graph: &'a Graph,
    /// The superproject's HEAD.
    pub head: ObjectId,
    /// Wall time, Unix milliseconds.
    pub now_ms: i64,
}

/// Make an imported proposal known here, unless it is already. Ballots are given back, for
/// [`govern::take_in`] with the state as it is afterwards.
///
/// # Errors
/// Usage when nobody is trusted here yet; failed when it is not for this workspace, its members
/// or its policy, when it is over, when it cannot be derived here, or derives to another change.
pub fn import(
    journal: &mut dyn Journal,
    state: &State,
    packet: Packet,
    place: Place<'_>,
) -> PortResult<Imported> {
    import_as(journal, state, packet, place, Twin::Refused)
}

/// As [`import`], also where the same change is proposed here: the two are open beside each other.
///
/// # Errors
/// As [`import`].
pub fn import_beside(
    journal: &mut dyn Journal,
    state: &State,
    packet: Packet,
    place: Place<'_>,
) -> PortResult<Imported> {
    import_as(journal, state, packet, place, Twin::Welcome)
}

/// Whether another proposal of the same change may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twin {
    Refused,
    Welcome,
}

fn import_as(
    journal: &mut dyn Journal,
    state: &State,
    packet: Packet,
    place: Place<'_>,
    twin: Twin,
) -> PortResult<Imported> {
    let id = packet.id().map_err(no_form)?;
    if state.proposals.contains_key(&id) {
        return Ok(Imported { id, is_new: false, ballots: packet.ballots });
    }
    let refused =
        |why: String| PortError::failed(format!("cannot import the proposal {}: {why}", id.short()));
    let rules = govern::rules(journal, state)?;
    let (proposal, delta) = (&packet.proposal, &packet.delta);
    if delta.workspace != rules.members.workspace {
        return Err(refused("it is for another workspace".to_owned()));
    }
    if proposal.policy != rules.policy_cid {
        return Err(refused("it is judged by another policy than the one in force here".to_owned()));
    }
    if proposal.members_epoch != rules.members.epoch {
        return Err(refused(format!(
            "it is decided by the members of epoch {}, and here epoch {} is in force",
            proposal.members_epoch, rules.members.epoch
        )));
    }
    if proposal.expires_ms <= place.now_ms {
        return Err(refused("its time ran out".to_owned()));
    }
    // A weaker track would ask for fewer signatures.
    let moved: Vec<ModuleName> = delta.pins.iter().map(|pin| pin.module.clone()).collect();
    let track = match &delta.document {
        Some(document) => document.kind.track(),
        None if delta.files.is_empty() => track_of(place.graph, &moved),
        None => FILES_TRACK,
    };
    if proposal.track != track {
        let (states, is) = (proposal.track.as_str(), track.as_str());
        return Err(refused(format!("it is on the track {states}, and here the change belongs to {is}")));
    }
    if let Some(document) = delta.document
        && amend::in_force(&rules, document.kind).1 != document.old
    {
        let title = document.kind.title();
        return Err(refused(format!("it takes the place of a {title} that is not in force here")));
    }
    let latest = rules.policy.expires_ms(&rules.members, proposal.track, place.now_ms);
    if proposal.expires_ms > latest {
        return Err(refused("it would stay open for longer than this workspace's policy allows".to_owned()));
    }
    let other = state.open_proposals().find(|(_, record)| record.change == proposal.change);
    if let Some(other) = other.filter(|_| twin == Twin::Refused) {
        let hint = format!("lambda-os proposal withdraw {}, then import again", other.0.short());
        return Err(refused(format!("the same change is proposed here as {}", other.0.short())).hint(hint));
    }
    let contents = packet.bytes().map_err(|error| refused(error.to_string()))?;
    let derived = derive_delta(
        place.superproject,
        place.sources,
        place.modules,
        &Carried { came: &contents, here: journal },
        delta,
        place.head,
    )?
    .map_err(|why| refused(format!("it cannot be derived here: {}", text::inert(&why.to_string()))))?;
    if derived.change != proposal.change {
        return Err(refused(format!(
            "here these pins give the change {}, and it is about {}",
            derived.change, proposal.change
        ))
        .hint("the two workspaces stand on different commits, or a mirror lacks what the other has"));
    }
    let values: Vec<&[u8]> = contents.values().map(Vec::as_slice).collect();
    journal.store_all(&values)?;
    journal.store(&delta.to_canonical().map_err(no_form)?)?;
    journal.store(&proposal.to_canonical().map_err(no_form)?)?;
    // A proposal that it takes the place of is closed only where it is known and open.
    let supersedes = proposal
        .supersedes
        .filter(|before| state.proposals.get(before).is_some_and(|record| record.stage == Stage::Open));
    let made = Event::ProposalMade {
        proposal: id,
        change: derived.change,
        purpose: believed(packet.purpose),
        track: proposal.track,
        pins: derived.pins,
        base: place.head,
        tree: derived.tree,
        supersedes,
        expires_ms: proposal.expires_ms,
        notes: derived.notes,
    };
    let subject = id.short();
    let mut events = vec![(subject.as_str(), made)];
    if !contents.is_empty() {
        let contents = contents.keys().copied().collect();
        events.push((&subject, Event::ProposalContents { proposal: id, contents }));
    }
    journal.append_all(&events)?;
    Ok(Imported { id, is_new: true, ballots: packet.ballots })
}

/// What a proposal from elsewhere is for, as far as that is believed: nobody signs it, and rules let pass
/// what goes back. What is said to go back is as what people put together: no rule makes way for it.
fn believed(purpose: Purpose) -> Purpose {
    match purpose {
        Purpose::Rollback | Purpose::Heal => Purpose::Combined,
        Purpose::Upgrade | Purpose::Realign | Purpose::Combined | Purpose::Command | Purpose::Amend => {
            purpose
        }
    }
}

fn no_form(error: CanonicalError) -> PortError {
    PortError::failed("cannot write the proposal as canonical JSON").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_elsewhere_is_believed_to_go_back() {
        for purpose in [Purpose::Rollback, Purpose::Heal] {
            assert_eq!(believed(purpose), Purpose::Combined);
        }
        assert_eq!(believed(Purpose::Upgrade), Purpose::Upgrade);
    }
}
