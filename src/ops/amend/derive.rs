//! A change of a document, derived: what it does by itself, from the two documents.

use super::document;
use crate::domain::change::{DELTA_VERSION, Delta, DocumentDelta};
use crate::domain::id::ObjectId;
use crate::domain::text;
use crate::ops::propose::{Derived, NotDerived};
use crate::ports::{FailureKind, PortError, PortResult, Stored, Superproject};

/// Most sentences of what changes, and the most characters of one.
const TOLD: (usize, usize) = (20, 400);

/// Derive a change of a document. The tree of the base stays as it is; the notes say what changes.
///
/// # Errors
/// Integrity when the new document is missing or is none; when the base cannot be read.
pub fn derive_document(
    superproject: &dyn Superproject,
    stored: &(impl Stored + ?Sized),
    workspace: &str,
    base: ObjectId,
    change: &DocumentDelta,
) -> PortResult<Result<Derived, NotDerived>> {
    let &DocumentDelta { kind, old, new } = change;
    let refused = |why: String| Ok(Err(NotDerived::Document(why)));
    let Some(before) = document(stored, kind, &old)? else {
        return refused(format!("the {} {old} that it takes the place of is not known here", kind.title()));
    };
    let Some(after) = document(stored, kind, &new)? else {
        return Err(PortError::failed(format!(
            "cannot read the {} {new}: it is not in the state directory's objects/",
            kind.title()
        ))
        .kind(FailureKind::Integrity)
        .hint("restore objects/ from a copy, and look with: lambda-os audit verify"));
    };
    if let Err(why) = after.follows(&before, old) {
        return refused(why.to_string());
    }
    let no_form = |error| Ok(Err(NotDerived::Canonical(error)));
    let changes = match after.changes_on(&before) {
        Ok(changes) => changes,
        Err(error) => return no_form(error),
    };
    let delta = Delta {
        v: DELTA_VERSION,
        workspace: workspace.to_owned(),
        pins: Vec::new(),
        edits: Vec::new(),
        files: Vec::new(),
        document: Some(*change),
    };
    let id = match delta.id() {
        Ok(id) => id,
        Err(error) => return no_form(error),
    };
    let tree = superproject.tree_with(base, &[])?;
    let notes = told(changes);
    Ok(Ok(Derived { delta, change: id, edits: Vec::new(), tree, pins: Vec::new(), notes }))
}

fn told(mut changes: Vec<String>) -> Vec<String> {
    let more = changes.len().saturating_sub(TOLD.0);
    changes.truncate(TOLD.0);
    for change in &mut changes {
        *change = text::clipped(change, TOLD.1);
    }
    if more > 0 {
        changes.push(format!("and {more} more: lambda-os proposal diff shows all"));
    }
    changes
}
