//! Drafting a ballot: every line from what is stored and journalled here.

use super::{Case, Rules, received};
use crate::domain::governance::ballot::{Ballot, Choice};
use crate::domain::id::ObjectId;
use crate::domain::moment::Moment;
use crate::domain::state::State;
use crate::ports::{PortResult, Stored};

/// The ballot that a voter would sign. It counts as long as the proposal waits.
#[must_use]
pub fn draft(
    rules: &Rules,
    case: &Case,
    voter: &str,
    choice: Choice,
    seq: u64,
    seen_base: ObjectId,
    reason: Option<&str>,
) -> Ballot {
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
        not_after: Moment::from_ms(case.record.expires_ms),
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
