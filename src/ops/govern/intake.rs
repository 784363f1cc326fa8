//! Taking signed messages in: each is verified, stored and journalled, as a ballot or as refused.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rules, case, early, rules};
use crate::domain::event::Event;
use crate::domain::governance::ballot::{Ballot, SignedBallot};
use crate::domain::governance::tally::{Question, Received, tally};
use crate::domain::governance::time::Times;
use crate::domain::id::Cid;
use crate::domain::proposal::Stage;
use crate::domain::state::State;
use crate::domain::text;
use crate::ops::recorder::Recorder;
use crate::ports::{FailureKind, Inbox, Journal, PortResult, Stored};

/// What became of a message that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is a ballot, and is journalled.
    Cast {
        /// Which message.
        message: Cid,
        /// What it says.
        ballot: Box<Ballot>,
    },
    /// The same message was journalled before.
    Known {
        /// Which message.
        message: Cid,
    },
    /// It came before its proposal, and waits for it.
    Waits {
        /// Which message.
        message: Cid,
        /// What it says.
        ballot: Box<Ballot>,
    },
    /// It is no ballot that can count; journalled as refused.
    Refused {
        /// Which message.
        message: Cid,
        /// Why, as a sentence.
        reason: String,
    },
}

/// Take a signed message in: verify it, store it, journal it.
///
/// # Errors
/// As [`rules`], and when the journal cannot be written.
pub fn take_in(journal: &mut dyn Journal, state: &State, message: &[u8], now_ms: i64) -> PortResult<Taken> {
    let rules = rules(journal, state)?;
    if let Some(taken) = early::early(journal, state, &rules, message, now_ms)? {
        return Ok(taken);
    }
    match examine(journal, state, &rules, message, now_ms)? {
        Ok((ballot, canonical)) => {
            let message = journal.store(&canonical)?;
            let known = state.proposals.get(&ballot.proposal).is_some_and(|r| r.ballots.contains(&message));
            if known {
                return Ok(Taken::Known { message });
            }
            let event = Event::BallotCast {
                proposal: ballot.proposal,
                ballot: message,
                voter: ballot.voter.clone(),
                choice: ballot.choice.as_str().to_owned(),
            };
            journal.append(&ballot.proposal.short(), &event)?;
            Ok(Taken::Cast { message, ballot: Box::new(ballot) })
        }
        Err(reason) => refuse(journal, message, reason),
    }
}

/// Keep a message that cannot count, with the reason.
pub(super) fn refuse(journal: &mut dyn Journal, message: &[u8], reason: String) -> PortResult<Taken> {
    let message = journal.store(message)?;
    let event = Event::BallotRefused { message, reason: text::clipped(&text::inert(&reason), 1000) };
    journal.append("ballot", &event)?;
    Ok(Taken::Refused { message, reason })
}

/// The ballot in a message with its one form, or why it cannot count.
fn examine(
    journal: &(impl Stored + ?Sized),
    state: &State,
    rules: &Rules,
    message: &[u8],
    now_ms: i64,
) -> PortResult<Result<(Ballot, Vec<u8>), String>> {
    let signed = match SignedBallot::from_message(message) {
        Ok(signed) => signed,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let verified = match signed.verify() {
        Ok(verified) => verified,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let ballot = &verified.ballot;
    let Some(record) = state.proposals.get(&ballot.proposal) else {
        return Ok(Err(format!(
            "it is on the proposal {}, which this workspace does not know",
            ballot.proposal.short()
        )));
    };
    if !matches!(record.stage, Stage::Open | Stage::Applying { .. } | Stage::Stuck { .. }) {
        return Ok(Err(format!("the proposal {} is decided already", ballot.proposal.short())));
    }
    let case = case(journal, state, ballot.proposal)?;
    let none_final = BTreeMap::new();
    let question = Question {
        id: case.id,
        proposal: &case.proposal,
        pins: &case.pins,
        files: &case.delta.files,
        document: case.delta.document,
        narrowed: &[],
        members: &rules.members,
        successor: case.successor.as_ref(),
        policy: rules.policy_cid,
        base: case.record.base,
        // Rules that may change are for the tally: the ballot is kept.
        allow_unverified: true,
        revoked: &state.revoked,
        decided: None,
        certified: None,
        final_elsewhere: &none_final,
        now: Times { wall_ms: now_ms, checked_ms: 0, slow_ms: now_ms },
    };
    let received = Received { message: Cid::of(message), verified: Ok(verified.clone()) };
    let alone = tally(&question, &[received], &[]);
    Ok(match alone.ignored.into_iter().next() {
        Some(ignored) if !ignored.why.is_not_yet() => Err(ignored.reason),
        _ => Ok((verified.ballot, signed.to_message())),
    })
}

/// What importing the inbox did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// Each message's files with what became of it.
    pub taken: Vec<(Vec<String>, Taken)>,
    /// What was left alone, each a sentence.
    pub left_alone: Vec<String>,
}

/// Take in what was dropped into the inbox. A file is removed only after its entry is durable.
///
/// `state` must give the journal's state as it is after what was appended before: a message that
/// stands there twice is known the second time by its identity.
///
/// # Errors
/// As [`take_in`], and when the inbox cannot be read.
pub fn import(
    journal: &mut dyn Journal,
    state: &State,
    inbox: &dyn Inbox,
    now_ms: i64,
) -> PortResult<Imported> {
    let content = inbox.messages()?;
    let mut imported = Imported { taken: Vec::new(), left_alone: content.left_alone };
    if content.messages.is_empty() && state.heard.waiting().is_empty() {
        return Ok(imported);
    }
    if let Err(error) = rules(journal, state) {
        if error.kind == FailureKind::Usage {
            let count = content.messages.len();
            imported.left_alone.push(format!("{count} messages wait in the inbox: nobody is trusted yet"));
            return Ok(imported);
        }
        return Err(error);
    }
    let mut state = state.clone();
    for taken in early::again(journal, &mut state, now_ms)? {
        imported.taken.push((vec!["that waited for its proposal".to_owned()], taken));
    }
    let mut seen = BTreeSet::new();
    for message in content.messages {
        let taken = if seen.insert(Cid::of(&message.bytes)) {
            let mut recorder = Recorder::new(journal);
            let taken = take_in(&mut recorder, &state, &message.bytes, now_ms)?;
            recorder.tell(&mut state);
            taken
        } else {
            Taken::Known { message: Cid::of(&message.bytes) }
        };
        if let Err(error) = inbox.forget(&message) {
            imported.left_alone.push(error.to_string());
        }
        imported.taken.push((message.files, taken));
    }
    Ok(imported)
}
