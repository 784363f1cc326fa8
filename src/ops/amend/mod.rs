//! Amend: changing who decides, and by which rules.
//!
//! In: a document that somebody wrote, and the one in force. Out: a proposal like any other, decided
//! on the track of its document by those who decide now (and, for who decides, by those who shall),
//! and enacted by one entry in the journal. Nothing of the workspace changes.
//!
//! ```text
//! propose → ballots → certificate (durable) → checked again → members.trusted | policy.adopted
//! ```
//!
//! That one entry puts the document in force, ends the proposal and voids what was proposed by the
//! old rules: whoever dies before it has changed nothing, and whoever asks again goes on from the
//! certificate. [`succession::check`] proves the documents in force from the first one on, before
//! anything rests on them.

mod derive;
mod enact;
pub mod keys;
mod propose;
pub mod succession;

pub use derive::derive_document;
pub(in crate::ops) use enact::enact;
pub use propose::{Amended, Place, propose};

use crate::domain::change::DocumentKind;
use crate::domain::governance::document::Document;
use crate::domain::id::Cid;
use crate::ops::govern::Rules;
use crate::ports::{FailureKind, PortError, PortResult, Stored};

/// The document of this kind that is in force, with its identity.
#[must_use]
pub fn in_force(rules: &Rules, kind: DocumentKind) -> (Document, Cid) {
    match kind {
        DocumentKind::Members => (Document::Members(Box::new(rules.members.clone())), rules.members_cid),
        DocumentKind::Policy => (Document::Policy(Box::new(rules.policy.clone())), rules.policy_cid),
    }
}

/// A stored document; `None` when it is not at hand.
///
/// # Errors
/// Integrity when what is stored is no document of this kind.
pub fn document(
    stored: &(impl Stored + ?Sized),
    kind: DocumentKind,
    cid: &Cid,
) -> PortResult<Option<Document>> {
    let Some(bytes) = stored.stored(cid)? else { return Ok(None) };
    let document = Document::from_canonical(kind, &bytes).map_err(|error| {
        PortError::failed(format!("cannot read the {} {cid}", kind.title()))
            .kind(FailureKind::Integrity)
            .because(error)
            .hint("nothing was changed; look with: lambda-os audit verify")
    })?;
    Ok(Some(document))
}
