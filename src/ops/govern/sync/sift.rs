//! What is new in what others show, within bounds for each of them. Nothing is journalled here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::domain::governance::ballot::{Ballot, SignedBallot};
use crate::domain::governance::certificate::Certificate;
use crate::domain::governance::exchange::{Message, MessageKind};
use crate::domain::id::{Cid, ProposalId};
use crate::domain::packet::Packet;
use crate::domain::state::State;
use crate::ops::govern::early::is_ours;
use crate::ops::govern::{Rules, rules, stored};
use crate::ports::{Gathered, PortResult, Stored};

use super::takes_ballots;

/// Most new messages of one operator that are looked at, at a time.
const MAX_FRESH: usize = 256;

/// Most ballots of one voter on one proposal that come through an exchange.
pub(super) const MAX_BALLOTS: usize = 64;

/// What is new.
#[derive(Debug, Clone, Default)]
pub struct Sifted {
    /// Proposals that are not known here and that somebody who decides voted on, the freshest first.
    pub(super) packets: Vec<Offered>,
    /// Ballots that were not taken in yet.
    pub(super) ballots: Vec<Fresh>,
    /// Certificates for proposals that have none here, each with who shows it.
    pub(super) certificates: Vec<(String, Certificate)>,
    /// What is to be said, each a sentence.
    pub(super) said: Vec<String>,
}

impl Sifted {
    /// Whether there is a proposal in it that is to be derived here.
    #[must_use]
    pub fn brings_proposals(&self) -> bool {
        !self.packets.is_empty()
    }
}

/// A proposal that is not known here.
#[derive(Debug, Clone)]
pub(super) struct Offered {
    pub(super) id: ProposalId,
    pub(super) packet: Packet,
    /// Those who decide and have a ballot on it.
    pub(super) sponsors: BTreeSet<String>,
}

/// A ballot that was not taken in yet, or what says that it is one.
#[derive(Debug, Clone)]
pub(super) struct Fresh {
    /// Who shows it.
    pub(super) source: String,
    /// Its identity.
    pub(super) message: Cid,
    /// The proposal that it says it is on.
    pub(super) proposal: Option<ProposalId>,
    pub(super) bytes: Vec<u8>,
}

impl Fresh {
    pub(super) fn from_certificate(source: &str, proposal: Option<ProposalId>, bytes: Vec<u8>) -> Self {
        Self { source: source.to_owned(), message: Cid::of(&bytes), proposal, bytes }
    }
}

/// Find out what is new in what was gathered.
///
/// # Errors
/// As [`rules`]; integrity when a stored ballot is not what the journal names.
pub fn sift(journal: &(impl Stored + ?Sized), state: &State, gathered: Vec<Gathered>) -> PortResult<Sifted> {
    let rules = rules(journal, state)?;
    let known: BTreeSet<Cid> = state
        .proposals
        .values()
        .flat_map(|record| record.ballots.iter().copied())
        .chain(state.heard.refused())
        .chain(state.heard.waiting().keys().copied())
        .collect();
    // Who has a ballot waiting here for a proposal brings it as much as who shows one.
    let mut sponsors: BTreeMap<ProposalId, BTreeSet<String>> = BTreeMap::new();
    for waiting in state.heard.waiting().values() {
        sponsors.entry(waiting.proposal).or_default().insert(waiting.voter.clone());
    }
    let mut sieve = Sieve {
        journal,
        state,
        rules,
        seen: known,
        cast: BTreeMap::new(),
        sponsors,
        packets: BTreeMap::new(),
        sifted: Sifted::default(),
    };
    for place in gathered {
        sieve.sifted.said.extend(place.left_alone);
        for (source, messages) in place.messages {
            sieve.source(&source, messages)?;
        }
    }
    Ok(sieve.finish())
}

struct Sieve<'a, S: ?Sized> {
    journal: &'a S,
    state: &'a State,
    rules: Rules,
    seen: BTreeSet<Cid>,
    /// How many ballots of each voter there are on each proposal.
    cast: BTreeMap<ProposalId, BTreeMap<String, usize>>,
    /// Who voted on proposals that are not known here.
    sponsors: BTreeMap<ProposalId, BTreeSet<String>>,
    packets: BTreeMap<ProposalId, Packet>,
    sifted: Sifted,
}

impl<S: Stored + ?Sized> Sieve<'_, S> {
    fn source(&mut self, source: &str, messages: BTreeSet<Message>) -> PortResult<()> {
        let mut looked = 0;
        for message in messages {
            if self.seen.contains(&message.cid) {
                continue;
            }
            if looked == MAX_FRESH {
                let said = format!("{source} shows more than {MAX_FRESH} new messages: the rest waits");
                self.sifted.said.push(said);
                return Ok(());
            }
            let (cid, counts) = (message.cid, self.take(source, message)?);
            looked += usize::from(counts);
            if counts {
                self.seen.insert(cid);
            }
        }
        Ok(())
    }

    /// Look at one message; false when it cost next to nothing and is of no use any more.
    fn take(&mut self, source: &str, message: Message) -> PortResult<bool> {
        match message.kind {
            MessageKind::Proposal => Ok(self.packet(&message.bytes)),
            MessageKind::Ballot => self.ballot(source, message),
            MessageKind::Certificate => Ok(self.certificate(source, &message.bytes)),
        }
    }

    fn packet(&mut self, bytes: &[u8]) -> bool {
        // Ballots come as messages of their own, each with its own bound.
        let Some(mut packet) = Packet::from_bytes(bytes).ok() else { return true };
        packet.ballots.clear();
        let Ok(id) = packet.id() else { return true };
        let is_new = !self.state.proposals.contains_key(&id);
        if is_new {
            self.packets.insert(id, packet);
        }
        is_new
    }

    fn ballot(&mut self, source: &str, message: Message) -> PortResult<bool> {
        let Message { cid, bytes, .. } = message;
        let fresh =
            |proposal| Fresh { source: source.to_owned(), message: cid, proposal, bytes: bytes.clone() };
        let read = SignedBallot::from_message(&bytes)
            .ok()
            .and_then(|signed| Some((signed.text.parse::<Ballot>().ok()?, signed)));
        let Some((ballot, signed)) = read else {
            self.sifted.ballots.push(fresh(None));
            return Ok(true);
        };
        let proposal = ballot.proposal;
        match self.state.proposals.get(&proposal) {
            Some(record) if !takes_ballots(&record.stage) => Ok(false),
            Some(_) => {
                let known = self.known(proposal)?;
                let count = known.entry(ballot.voter.clone()).or_default();
                if *count >= MAX_BALLOTS {
                    return Ok(false);
                }
                *count += 1;
                self.sifted.ballots.push(fresh(Some(proposal)));
                Ok(true)
            }
            None => {
                let verified = signed.verify();
                if verified.is_ok_and(|verified| is_ours(self.state, &self.rules, &verified)) {
                    self.sponsors.entry(proposal).or_default().insert(ballot.voter);
                    self.sifted.ballots.push(fresh(Some(proposal)));
                }
                Ok(true)
            }
        }
    }

    /// How many ballots of each voter were taken in on a proposal, or are about to be.
    fn known(&mut self, proposal: ProposalId) -> PortResult<&mut BTreeMap<String, usize>> {
        if !self.cast.contains_key(&proposal) {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for message in self.state.proposals.get(&proposal).into_iter().flat_map(|record| &record.ballots)
            {
                let bytes = stored(self.journal, message, "a ballot")?;
                let ballot = SignedBallot::from_message(&bytes).ok();
                if let Some(ballot) = ballot.and_then(|signed| signed.text.parse::<Ballot>().ok()) {
                    *counts.entry(ballot.voter).or_default() += 1;
                }
            }
            self.cast.insert(proposal, counts);
        }
        Ok(self.cast.entry(proposal).or_default())
    }

    /// A certificate of ballots; those of other kinds prove what was done elsewhere, and decide nothing here.
    fn certificate(&mut self, source: &str, bytes: &[u8]) -> bool {
        let Ok(certificate) = Certificate::from_canonical(bytes) else { return true };
        let Ok(id) = certificate.proposal.id() else { return true };
        let is_open = self.state.proposals.get(&id).is_none_or(|record| record.certificate.is_none());
        if is_open {
            self.sifted.certificates.push((source.to_owned(), certificate));
        }
        is_open
    }

    fn finish(mut self) -> Sifted {
        for (id, packet) in self.packets {
            // One that nobody voted on is made by everybody's own cycle.
            if let Some(sponsors) = self.sponsors.remove(&id) {
                self.sifted.packets.push(Offered { id, packet, sponsors });
            }
        }
        // The freshest first: what was applied elsewhere long ago and does not fit here costs the new ones no try.
        self.sifted.packets.sort_by_key(|offered| (Reverse(offered.packet.proposal.expires_ms), offered.id));
        self.sifted
    }
}
