//! What this operator shows the others: every open proposal that somebody voted on, the ballots on it,
//! and certificates; and the same of what was applied last, for those who have not come that far.
//!
//! It is what was taken in here, from whomever it came: what one operator withholds, or is made to lose,
//! the others still show.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::stored;
use crate::domain::governance::exchange::{Message, MessageKind, bounded};
use crate::domain::id::ProposalId;
use crate::domain::proposal::{ProposalRecord, Stage};
use crate::domain::state::State;
use crate::ops::exchange::export;
use crate::ports::{Journal, PortError, PortResult};

/// How many proposals that were applied are shown, the newest.
const APPLIED: usize = 64;

/// The messages to show, and how many there was no room for. The newest proposals come first.
///
/// # Errors
/// Integrity when what is stored is not what the journal names.
pub fn shown(journal: &dyn Journal, state: &State) -> PortResult<(BTreeSet<Message>, usize)> {
    let newest = |wanted: fn(&ProposalRecord) -> bool| {
        let mut found: Vec<_> = state.proposals.iter().filter(|(_, record)| wanted(record)).collect();
        found.sort_by_key(|(_, record)| Reverse(record.made));
        found
    };
    let open = newest(|record| {
        matches!(record.stage, Stage::Open | Stage::Applying { .. } | Stage::Stuck { .. })
            && !(record.ballots.is_empty() && record.certificate.is_none())
    });
    let applied = newest(|record| {
        matches!(record.stage, Stage::Applied { .. } | Stage::Enacted { .. }) && record.certificate.is_some()
    });
    let mut messages = Vec::new();
    for (id, record) in open.into_iter().chain(applied.into_iter().take(APPLIED)) {
        of(journal, state, *id, record, &mut messages)?;
    }
    Ok(bounded(messages))
}

/// All that others need of one proposal.
fn of(
    journal: &dyn Journal,
    state: &State,
    id: ProposalId,
    record: &ProposalRecord,
    messages: &mut Vec<Message>,
) -> PortResult<()> {
    if let Some(certificate) = &record.certificate {
        let bytes = stored(journal, certificate, "a certificate")?;
        messages.push(Message::new(MessageKind::Certificate, bytes));
    }
    if record.ballots.is_empty() {
        return Ok(());
    }
    let mut packet = export(journal, state, id)?;
    let ballots = std::mem::take(&mut packet.ballots);
    let bytes = packet.to_bytes().map_err(|error| {
        PortError::failed(format!("cannot show the proposal {} to others", id.short())).because(error)
    })?;
    messages.push(Message::new(MessageKind::Proposal, bytes));
    messages.extend(ballots.into_iter().map(|text| Message::new(MessageKind::Ballot, text.into_bytes())));
    Ok(())
}
