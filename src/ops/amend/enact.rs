//! Enacting: an approved document is put in force, by one entry.
//!
//! In: a proposal of a document, the journal, by what right. Out: the entry, or a refusal after which
//! nothing is changed. Everything is looked at again right before: the document in force, what the
//! new one changes, both sides' ballots, the certificate as it is stored.

use super::{derive_document, document, in_force, succession};
use crate::domain::change::DocumentDelta;
use crate::domain::event::Event;
use crate::domain::governance::document::Document;
use crate::domain::state::State;
use crate::ops::apply::{Applied, Mode, World};
use crate::ops::authority::{self, Authority};
use crate::ops::govern::{self, Case};
use crate::ports::{FailureKind, PortError, PortResult};

/// Put the document of a proposal in force. Whoever calls has made sure that the proposal is open and
/// that what it requires is there.
///
/// # Errors
/// Approvals missing, refused or integrity as [`govern::certify`]; integrity when the certificate does
/// not prove it; failed when another document is in force than the one that it takes the place of.
pub(in crate::ops) fn enact(
    world: &mut World<'_>,
    state: &State,
    case: &Case,
    change: DocumentDelta,
    mode: Mode,
) -> PortResult<Applied> {
    let id = case.id;
    let failed = |why: String| {
        PortError::failed(format!("cannot enact the proposal {}: {why}", id.short()))
            .hint("nothing was changed; lambda-os proposal show says more")
    };
    let rules = govern::rules(&*world.journal, state)?;
    succession::check(&*world.journal, state)?;
    if in_force(&rules, change.kind).1 != change.old {
        return Err(failed(format!(
            "it takes the place of the {} {}, which is not in force any more",
            change.kind.title(),
            change.old
        )));
    }
    let workspace = &rules.members.workspace;
    let base = case.record.base;
    let derived = derive_document(world.superproject, &*world.journal, workspace, base, &change)?
        .map_err(|why| failed(why.to_string()))?;
    if derived.change != case.record.change || case.proposal.track != change.kind.track() {
        return Err(
            failed("it is not the change that was decided on".to_owned()).kind(FailureKind::Integrity)
        );
    }
    let enacted = |seq, notes| Applied {
        id,
        reference: String::new(),
        from: base,
        commit: None,
        document: Some(change),
        enacted_by: seq,
        paths: Vec::new(),
        notes,
    };
    let Authority::Ballots(governor) = world.authority else {
        return Err(failed("no standing authority changes the rules".to_owned()).kind(FailureKind::Integrity));
    };
    if mode == Mode::Try {
        let tally = govern::decide(&*world.journal, state, governor, id, world.clock)?;
        let mut notes = derived.notes;
        notes.push(format!("the proposal is {}", tally.state.as_str()));
        return Ok(enacted(None, notes));
    }
    let warrant = authority::certify(world.journal, state, world.authority, id, world.clock)?;
    let wrong = |why: String| {
        PortError::failed(format!(
            "the certificate of {} does not put its document in force: {why}",
            id.short()
        ))
        .kind(FailureKind::Integrity)
        .hint("nothing was changed; look with: lambda-os audit verify")
    };
    if warrant.proposal != id || warrant.change != derived.change {
        return Err(wrong("it is for another change".to_owned()));
    }
    if let Some(reason) = world.journal.stopped() {
        return Err(failed(format!("everything is held: {}", crate::domain::text::inert(&reason)))
            .kind(FailureKind::Refused)
            .hint("lambda-os unhold --all lets go"));
    }
    let certificate = warrant.certificate;
    succession::prove(&*world.journal, &change, &certificate, rules.members_cid, rules.policy_cid)?
        .map_err(wrong)?;
    let (enacts, certificate) = (Some(id), Some(certificate));
    let event = match document(&*world.journal, change.kind, &change.new)? {
        Some(Document::Members(members)) => {
            Event::MembersTrusted { members: change.new, epoch: members.epoch, enacts, certificate }
        }
        Some(Document::Policy(_)) => Event::PolicyAdopted { policy: change.new, enacts, certificate },
        None => return Err(wrong("the document is missing".to_owned())),
    };
    let entry = world.journal.append(&id.short(), &event)?;
    Ok(enacted(Some(entry.seq), derived.notes))
}
