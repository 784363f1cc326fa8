//! What other operators' messages left in the journal: ballots that wait for their proposal, messages that
//! were refused, and who brought which proposal.
//!
//! A fold over the journal's entries, and bounded: of refused messages the newest are remembered, so
//! that one that comes again is not refused again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::event::Event;
use crate::domain::id::{Cid, ProposalId};

/// Most ballots of one voter that wait for proposals that are not known here.
pub const MAX_WAITING: usize = 64;

/// Most proposals of one sponsor that are open here and that nobody here would have made.
pub const MAX_SPONSORED: usize = 16;

/// How many refused messages are remembered.
pub const REMEMBERED: usize = 4_096;

/// What was heard from others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Heard {
    /// Ballots that wait for their proposal, by the signed message.
    waiting: BTreeMap<Cid, WaitingBallot>,
    /// Messages that were refused, by the sequence of the entry.
    refused: BTreeMap<u64, RefusedMessage>,
    /// Who brought a proposal that nobody here would have made.
    sponsors: BTreeMap<ProposalId, String>,
}

/// A ballot that came before its proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingBallot {
    /// The proposal that it names.
    pub proposal: ProposalId,
    /// Whose it is.
    pub voter: String,
    /// Until when it counts, Unix milliseconds.
    pub not_after_ms: i64,
}

/// A message that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct RefusedMessage {
    message: Cid,
    wall_ms: i64,
}

impl Heard {
    /// What is known after this entry.
    pub fn apply(&mut self, seq: u64, wall_ms: i64, event: &Event) {
        match event {
            Event::BallotWaits { ballot, proposal, voter, not_after_ms } => {
                let (proposal, voter, not_after_ms) = (*proposal, voter.clone(), *not_after_ms);
                self.waiting.insert(*ballot, WaitingBallot { proposal, voter, not_after_ms });
            }
            Event::BallotCast { ballot, .. } => {
                self.waiting.remove(ballot);
            }
            Event::BallotRefused { message, .. } => {
                self.waiting.remove(message);
                self.refused.insert(seq, RefusedMessage { message: *message, wall_ms });
                while self.refused.len() > REMEMBERED {
                    self.refused.pop_first();
                }
            }
            Event::ProposalReceived { proposal, sponsor, charged: true } => {
                self.sponsors.insert(*proposal, sponsor.clone());
            }
            Event::ProposalClosed { proposal, .. } => {
                self.sponsors.remove(proposal);
            }
            _ => {}
        }
    }

    /// The ballots that wait for their proposal.
    #[must_use]
    pub fn waiting(&self) -> &BTreeMap<Cid, WaitingBallot> {
        &self.waiting
    }

    /// How many of them are this voter's.
    #[must_use]
    pub fn waiting_of(&self, voter: &str) -> usize {
        self.waiting.values().filter(|ballot| ballot.voter == voter).count()
    }

    /// The messages that are remembered as refused.
    pub fn refused(&self) -> impl Iterator<Item = Cid> + '_ {
        self.refused.values().map(|refused| refused.message)
    }

    /// How many messages were refused since then.
    #[must_use]
    pub fn refused_since(&self, wall_ms: i64) -> usize {
        self.refused.values().filter(|refused| refused.wall_ms >= wall_ms).count()
    }

    /// Who brought a proposal that nobody here would have made, by proposal.
    #[must_use]
    pub fn sponsors(&self) -> &BTreeMap<ProposalId, String> {
        &self.sponsors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ballot_waits_until_it_is_cast_or_refused() {
        let (ballot, other) = (Cid::of(b"ballot"), Cid::of(b"other"));
        let proposal = ProposalId(Cid::of(b"proposal"));
        let mut heard = Heard::default();
        for message in [ballot, other] {
            let voter = "ann".to_owned();
            heard.apply(1, 0, &Event::BallotWaits { ballot: message, proposal, voter, not_after_ms: 5 });
        }
        assert_eq!((heard.waiting_of("ann"), heard.waiting_of("bob")), (2, 0));
        let (voter, choice) = ("ann".to_owned(), "approve".to_owned());
        heard.apply(2, 0, &Event::BallotCast { proposal, ballot, voter, choice });
        heard.apply(3, 7, &Event::BallotRefused { message: other, reason: "r".to_owned() });
        assert_eq!(heard.waiting().len(), 0);
        assert_eq!(heard.refused().collect::<Vec<_>>(), [other]);
        assert_eq!((heard.refused_since(7), heard.refused_since(8)), (1, 0));
    }

    #[test]
    fn what_is_remembered_of_refusals_is_bounded() {
        let mut heard = Heard::default();
        for seq in 0..(REMEMBERED as u64 + 10) {
            let message = Cid::of(&seq.to_be_bytes());
            heard.apply(seq, 0, &Event::BallotRefused { message, reason: "r".to_owned() });
        }
        assert_eq!(heard.refused_since(0), REMEMBERED);
        assert!(!heard.refused().any(|message| message == Cid::of(&0_u64.to_be_bytes())));
    }
}
