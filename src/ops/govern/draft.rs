//! Drafting a ballot: every line from what is stored and journalled here.

use super::{Case, Rules, received};
use crate::domain::governance::ballot::{Ballot, Choice};
use crate::domain::id::ObjectId;
use crate::domain::moment::Moment;
use crate::domain::state::State;
use crate::ports::{PortResult, Stored};

/// What a voter says.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a> {
    /// Who: a principal's name.
    pub voter: &'a str,
    /// What.
    pub choice: Choice,
    /// The ballot's number.
    pub seq: u64,
    /// Why, for people.
    pub reason: Option<&'a str>,
    /// When, Unix milliseconds.
    pub now_ms: i64,
}

/// The ballot that a voter would sign. It counts as long as the proposal waits; a veto on a track that
/// lets vetoes suspend, as long as that track lets it.
#[must_use]
pub fn draft(rules: &Rules, case: &Case, seen_base: ObjectId, word: &Word<'_>) -> Ballot {
    let Word { voter, choice, seq, reason, now_ms } = *word;
    let veto = rules.members.tracks.get(&case.proposal.track).and_then(|rule| rule.veto.as_ref());
    let ends = match veto.filter(|_| choice == Choice::Veto) {
        None => case.record.expires_ms,
        Some(veto) => case.record.expires_ms.min(now_ms.saturating_add(veto.expiry_ms)),
    };
    Ballot {
        workspace: rules.members.workspace.clone(),
        seen_base,
        pins: case.pins.clone(),
        files: case.delta.files.clone(),
        document: case.delta.document,
        change: case.proposal.change,
        proposal: case.id,
        policy: rules.policy_cid,
        members_epoch: rules.members.epoch,
        // On the base that the ballot names: what was verified on another is not what is approved.
        verified: case.record.base == seen_base && case.record.verified().is_some(),
        voter: voter.to_owned(),
        choice,
        seq,
        not_after: Moment::from_ms(ends),
        reason: reason.map(str::to_owned),
    }
}

/// The number of a voter's next ballot: over every one on the proposals that are open.
///
/// # Errors
/// When a stored ballot cannot be read.
pub fn next_seq(journal: &(impl Stored + ?Sized), state: &State, voter: &str) -> PortResult<u64> {
    let mut last = 0;
    for (_, record) in state.open_proposals() {
        for received in received(journal, &record.ballots)? {
            if let Ok(verified) = received.verified
                && verified.ballot.voter == voter
            {
                last = last.max(verified.ballot.seq);
            }
        }
    }
    Ok(last + 1)
}
