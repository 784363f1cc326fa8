//! Proposing a document: found when the same change is open already, else made.

use super::{derive_document, in_force};
use crate::domain::canonical::CanonicalError;
use crate::domain::change::DocumentDelta;
use crate::domain::event::Event;
use crate::domain::governance::document::Document;
use crate::domain::id::{ObjectId, ProposalId};
use crate::domain::proposal::{PROPOSAL_VERSION, Proposal, Purpose};
use crate::domain::state::State;
use crate::ops::govern;
use crate::ops::propose::offer;
use crate::ports::{FailureKind, Journal, PortError, PortResult, Superproject};

/// Where a document is proposed.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The workspace.
    pub superproject: &'a dyn Superproject,
    /// Its HEAD: nothing of it changes, but every proposal says what it was made on.
    pub head: ObjectId,
    /// Wall time, Unix milliseconds.
    pub now_ms: i64,
}

/// A document that is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amended {
    /// The proposal.
    pub id: ProposalId,
    /// It was made now.
    pub is_new: bool,
    /// What it changes.
    pub document: DocumentDelta,
    /// What that means, each a sentence.
    pub changes: Vec<String>,
}

/// Put a document to those who decide.
///
/// # Errors
/// Usage when nobody is trusted yet, or the document cannot follow the one in force; when the journal
/// cannot be written.
pub fn propose(
    journal: &mut dyn Journal,
    state: &State,
    place: Place<'_>,
    document: &Document,
) -> PortResult<Amended> {
    let rules = govern::rules(journal, state)?;
    let kind = document.kind();
    let (before, old) = in_force(&rules, kind);
    let refused = |why: String| {
        PortError::failed(format!("cannot propose this {}", kind.title()))
            .kind(FailureKind::Usage)
            .because(std::io::Error::other(why))
            .hint(format!("lambda-os {} show prints the one in force, to edit", kind.as_str()))
    };
    // Before anything is stored.
    document.follows(&before, old).map_err(|why| refused(why.to_string()))?;
    let new = journal.store(&document.to_canonical().map_err(no_form)?)?;
    let change = DocumentDelta { kind, old, new };
    let workspace = &rules.members.workspace;
    let derived = derive_document(place.superproject, journal, workspace, place.head, &change)?
        .map_err(|why| refused(why.to_string()))?;
    if let Some(id) = offer::find(state, &rules, &derived, |purpose| purpose == Purpose::Amend) {
        return Ok(Amended { id, is_new: false, document: change, changes: derived.notes });
    }
    let track = kind.track();
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
    let mut id = proposal.id().map_err(no_form)?;
    // The same change asked for again at the same moment is another proposal than one that is over.
    while state.proposals.contains_key(&id) {
        proposal.expires_ms = proposal.expires_ms.saturating_add(1);
        id = proposal.id().map_err(no_form)?;
    }
    let (delta, manifest) =
        (derived.delta.to_canonical().map_err(no_form)?, proposal.to_canonical().map_err(no_form)?);
    journal.store_all(&[&delta, &manifest])?;
    let made = Event::ProposalMade {
        proposal: id,
        change: derived.change,
        purpose: Purpose::Amend,
        track,
        pins: Vec::new(),
        base: place.head,
        tree: derived.tree,
        supersedes: None,
        expires_ms: proposal.expires_ms,
        notes: derived.notes.clone(),
    };
    let subject = id.short();
    let contents = Event::ProposalContents { proposal: id, contents: vec![new] };
    journal.append_all(&[(&subject, made), (&subject, contents)])?;
    Ok(Amended { id, is_new: true, document: change, changes: derived.notes })
}

fn no_form(error: CanonicalError) -> PortError {
    PortError::failed("cannot write the proposal as canonical JSON").because(error)
}
