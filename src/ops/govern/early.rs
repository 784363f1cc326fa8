//! Ballots that come before their proposal: they wait for it, as many of each voter as is bounded.
//!
//! Only what one of those who decide signed, for this workspace and by the members document in force,
//! waits; anything else is refused at once. What waits is in the journal, so that the file or the
//! exchange that brought it may go.

use super::intake::{Taken, refuse, take_in};
use super::{Rules, rules, stored};
use crate::domain::event::Event;
use crate::domain::governance::ballot::{Ballot, SignedBallot, VerifiedBallot};
use crate::domain::governance::heard::MAX_WAITING;
use crate::domain::id::Cid;
use crate::domain::state::State;
use crate::ops::recorder::Recorder;
use crate::ports::{Journal, PortResult};

/// What becomes of a message that is on a proposal which is not known here; `None` for any other, and
/// for one that could not count if the proposal were known.
pub(super) fn early(
    journal: &mut dyn Journal,
    state: &State,
    rules: &Rules,
    message: &[u8],
    now_ms: i64,
) -> PortResult<Option<Taken>> {
    let Ok(signed) = SignedBallot::from_message(message) else { return Ok(None) };
    // What is known is examined elsewhere: nothing is verified twice.
    let named = signed.text.parse::<Ballot>().map(|ballot| ballot.proposal);
    if named.is_ok_and(|proposal| state.proposals.contains_key(&proposal)) {
        return Ok(None);
    }
    let Ok(verified) = signed.verify() else { return Ok(None) };
    let ballot = &verified.ballot;
    if !is_ours(state, rules, &verified) || ballot.not_after.as_ms() < now_ms {
        return Ok(None);
    }
    let canonical = signed.to_message();
    let message = Cid::of(&canonical);
    if state.heard.waiting().contains_key(&message) {
        return Ok(Some(Taken::Known { message }));
    }
    let voter = &ballot.voter;
    if state.heard.waiting_of(voter) >= MAX_WAITING {
        let reason = format!("{MAX_WAITING} ballots of {voter} wait for proposals that are not known here");
        return refuse(journal, &canonical, reason).map(Some);
    }
    journal.store(&canonical)?;
    let event = Event::BallotWaits {
        ballot: message,
        proposal: ballot.proposal,
        voter: voter.clone(),
        not_after_ms: ballot.not_after.as_ms(),
    };
    journal.append(&ballot.proposal.short(), &event)?;
    Ok(Some(Taken::Waits { message, ballot: Box::new(verified.ballot) }))
}

/// Whether one of those who decide now says it, for this workspace.
pub(super) fn is_ours(state: &State, rules: &Rules, verified: &VerifiedBallot) -> bool {
    let (ballot, members) = (&verified.ballot, &rules.members);
    ballot.workspace == members.workspace
        && ballot.members_epoch == members.epoch
        && members.principal(&ballot.voter).is_some_and(|principal| principal.keys.contains(&verified.key))
        && !state.revoked.contains_key(&verified.key.fingerprint())
}

/// Look at what waits again: what came is taken in, what can no longer count is refused. The state
/// is brought up to what was journalled.
pub(super) fn again(journal: &mut dyn Journal, state: &mut State, now_ms: i64) -> PortResult<Vec<Taken>> {
    let waiting = state.heard.waiting().clone();
    let mut all = Vec::new();
    if waiting.is_empty() {
        return Ok(all);
    }
    let rules = rules(journal, state)?;
    for (message, ballot) in waiting {
        let bytes = stored(journal, &message, "a ballot")?;
        let mut recorder = Recorder::new(journal);
        let epoch = SignedBallot::from_message(&bytes)
            .ok()
            .and_then(|signed| signed.text.parse::<Ballot>().ok())
            .map(|ballot| ballot.members_epoch);
        let taken = if state.proposals.contains_key(&ballot.proposal) {
            take_in(&mut recorder, state, &bytes, now_ms)?
        } else if ballot.not_after_ms < now_ms {
            refuse(&mut recorder, &bytes, "it ran out before its proposal came".to_owned())?
        } else if epoch != Some(rules.members.epoch) {
            refuse(&mut recorder, &bytes, "others decide now, and its proposal never came".to_owned())?
        } else {
            continue;
        };
        recorder.tell(state);
        all.push(taken);
    }
    Ok(all)
}
