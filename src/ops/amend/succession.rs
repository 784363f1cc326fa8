//! That the documents in force are the ones that those before them approved: hop by hop, from the
//! signatures up, from the first documents on.
//!
//! The first ones are trusted because the person at this machine said so at `init`. Every later one
//! rests on a certificate that the one before it proves; an entry that names none, or one that proves
//! something else, was written by somebody who may not.

use crate::domain::change::{DocumentDelta, DocumentKind};
use crate::domain::governance::certificate::{self, Certificate};
use crate::domain::governance::document::Document;
use crate::domain::governance::transition;
use crate::domain::id::Cid;
use crate::domain::state::{Amendment, State};
use crate::ports::{FailureKind, PortError, PortResult, Stored};

/// Check the whole succession.
///
/// # Errors
/// Integrity with the first entry that does not prove its document.
pub fn check(stored: &(impl Stored + ?Sized), state: &State) -> PortResult<()> {
    let (mut members, mut policy) = (state.first_members, state.first_policy);
    for hop in &state.amended {
        let (Some(members_now), Some(policy_now)) = (members, policy) else {
            return Err(broken(hop, "nobody decided yet"));
        };
        let in_force = match hop.document.kind {
            DocumentKind::Members => &mut members,
            DocumentKind::Policy => &mut policy,
        };
        if *in_force != Some(hop.document.old) {
            return Err(broken(hop, "another document was in force before it"));
        }
        *in_force = Some(hop.document.new);
        let Some(certificate) = hop.certificate else {
            return Err(broken(hop, "it names no certificate"));
        };
        prove(stored, &hop.document, &certificate, members_now, policy_now)?
            .map_err(|why| broken(hop, &why))?;
    }
    let ends = (state.members.map(|members| members.document), state.policy);
    match state.amended.last() {
        _ if ends == (members, policy) => Ok(()),
        Some(last) => Err(broken(last, "another document is in force after it")),
        None => Err(PortError::failed("cannot trust the documents in force: they are not the first ones")
            .kind(FailureKind::Integrity)
            .hint("nothing was changed; lambda-os audit verify reads the journal anew")),
    }
}

fn broken(hop: &Amendment, why: &str) -> PortError {
    let kind = hop.document.kind.title();
    PortError::failed(format!(
        "cannot trust the {kind} {}: entry {} puts it in force, and {why}",
        hop.document.new, hop.seq
    ))
    .kind(FailureKind::Integrity)
    .hint("nothing was changed; keep the state directory as it is, and compare it with another operator's")
}

/// Whether a stored certificate proves that a document may take the place of another, decided by the
/// members document and judged by the policy of these identities. The reason why not is a value.
///
/// # Errors
/// When what is stored cannot be read.
pub(super) fn prove(
    stored: &(impl Stored + ?Sized),
    change: &DocumentDelta,
    certificate: &Cid,
    members: Cid,
    policy: Cid,
) -> PortResult<Result<(), String>> {
    let Some(bytes) = stored.stored(certificate)? else {
        return Ok(Err(format!("its certificate {certificate} is missing")));
    };
    let Some(new) = stored.stored(&change.new)? else {
        return Ok(Err(format!("the document {} is missing", change.new)));
    };
    Ok(proves(&bytes, &new, change, members, policy))
}

fn proves(bytes: &[u8], new: &[u8], change: &DocumentDelta, members: Cid, policy: Cid) -> Result<(), String> {
    let held = Certificate::from_canonical(bytes).map_err(|error| error.to_string())?;
    certificate::verify(&held, &members).map_err(|error| error.to_string())?;
    if held.delta.document != Some(*change) {
        return Err("its certificate is for something else".to_owned());
    }
    if held.policy != policy {
        return Err("its certificate was made under another policy".to_owned());
    }
    if held.proposal.track != change.kind.track() {
        return Err("it was decided on another track".to_owned());
    }
    let document = Document::from_canonical(change.kind, new).map_err(|error| error.to_string())?;
    let Document::Members(coming) = document else { return Ok(()) };
    transition::follows(&held.members, members, &coming).map_err(|error| error.to_string())
}
