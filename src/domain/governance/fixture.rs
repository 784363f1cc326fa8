//! People, keys and proposals for the tests of this room.

use std::collections::{BTreeMap, BTreeSet};

use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::ballot::{Ballot, Choice, SignedBallot, VerifiedBallot, pins_of};
use super::key::PublicKey;
use super::members::{Members, Principal};
use super::signature::{self, NAMESPACE};
use super::tally::{Question, Received};
use super::time::Times;
use crate::domain::change::{DELTA_VERSION, Delta, FileContent, FileDelta, PinDelta, Revision};
use crate::domain::id::{Cid, ModuleName, ObjectId, ProposalId};
use crate::domain::moment::Moment;
use crate::domain::plan::PinMove;
use crate::domain::policy::Policy;
use crate::domain::proposal::{PROPOSAL_VERSION, Proposal, Track};

pub(in crate::domain) fn commit(byte: u8) -> ObjectId {
    ObjectId::from_bytes(&[byte; 20]).unwrap()
}

pub(super) fn private(seed: u8) -> PrivateKey {
    PrivateKey::new(KeypairData::from(Ed25519Keypair::from_seed(&[seed; 32])), "test").unwrap()
}

pub(super) fn key(seed: u8) -> PublicKey {
    PublicKey::from_data(private(seed).public_key().key_data().clone()).unwrap()
}

/// `a` … with the key of seed 1 …; `a` also has the key 101.
pub(in crate::domain) fn members(count: u8) -> Members {
    let principal = |at: u8| {
        let mut keys = vec![key(at + 1)];
        if at == 0 {
            keys.push(key(101));
        }
        Principal::with_keys(name(at), keys)
    };
    Members::founding("workspace".to_owned(), (0..count).map(principal).collect()).unwrap()
}

pub(super) fn name(at: u8) -> String {
    char::from(b'a' + at).to_string()
}

pub(in crate::domain) fn delta(to: u8) -> Delta {
    let revision = |byte| Revision { commit: commit(byte), nar: None };
    let pin = PinDelta {
        module: ModuleName::new("waku"),
        path: "repos/waku".into(),
        from: revision(1),
        to: revision(to),
    };
    Delta {
        v: DELTA_VERSION,
        workspace: "workspace".to_owned(),
        pins: vec![pin],
        edits: Vec::new(),
        files: Vec::new(),
        document: None,
    }
}

pub(in crate::domain) fn proposal(members: &Members, to: u8) -> Proposal {
    Proposal {
        v: PROPOSAL_VERSION,
        change: delta(to).id().unwrap(),
        track: Track::Leaf,
        policy: Policy::default().cid().unwrap(),
        members_epoch: members.epoch,
        requires: Vec::new(),
        supersedes: None,
        expires_ms: 1_000_000,
    }
}

/// No key is revoked.
pub(super) static NO_KEYS: BTreeMap<String, u64> = BTreeMap::new();

/// Nothing is certified.
pub(super) static NO_MESSAGES: BTreeMap<Cid, BTreeSet<String>> = BTreeMap::new();

/// A moment on which all clocks agree.
pub(super) fn times(ms: i64) -> Times {
    Times { wall_ms: ms, checked_ms: ms, slow_ms: ms }
}

/// A proposal with all that a question about it needs.
pub(super) struct World {
    pub(super) members: Members,
    pub(super) proposal: Proposal,
    pub(super) delta: Delta,
    pub(super) pins: Vec<PinMove>,
    pub(super) now_ms: i64,
}

impl World {
    pub(super) fn new(principals: u8) -> Self {
        Self::with(members(principals), 2)
    }

    pub(super) fn with(members: Members, to: u8) -> Self {
        let (proposal, delta) = (proposal(&members, to), delta(to));
        Self { pins: pins_of(&delta), members, proposal, delta, now_ms: 10_000 }
    }

    /// A world with a change of one file instead, to this content.
    pub(super) fn of_a_file(principals: u8, new: &[u8]) -> Self {
        let content = |bytes| FileContent { executable: false, content: Cid::of(bytes) };
        let file = FileDelta { path: "docs/a".into(), old: Some(content(b"old")), new: content(new) };
        let mut world = Self::new(principals);
        world.delta = Delta { pins: Vec::new(), files: vec![file], ..world.delta };
        world.pins.clear();
        world.proposal.change = world.delta.id().unwrap();
        world
    }

    pub(super) fn id(&self) -> ProposalId {
        self.proposal.id().unwrap()
    }

    pub(super) fn question(&self) -> Question<'_> {
        Question {
            id: self.id(),
            proposal: &self.proposal,
            pins: &self.pins,
            files: &self.delta.files,
            document: self.delta.document,
            narrowed: &[],
            decided: None,
            members: &self.members,
            policy: self.proposal.policy,
            base: commit(9),
            allow_unverified: true,
            successor: None,
            revoked: &NO_KEYS,
            certified: None,
            final_elsewhere: &NO_MESSAGES,
            now: times(self.now_ms),
        }
    }

    pub(super) fn ballot(&self, voter: u8, choice: Choice, seq: u64) -> Ballot {
        Ballot {
            workspace: self.members.workspace.clone(),
            seen_base: commit(9),
            pins: self.pins.clone(),
            files: self.delta.files.clone(),
            document: self.delta.document,
            change: self.proposal.change,
            proposal: self.id(),
            policy: self.proposal.policy,
            members_epoch: self.members.epoch,
            verified: false,
            voter: name(voter),
            choice,
            seq,
            not_after: Moment::from_ms(500_000),
            reason: None,
        }
    }

    /// A ballot as if its signature had been verified.
    pub(super) fn cast(&self, voter: u8, choice: Choice, seq: u64) -> Received {
        received(self.ballot(voter, choice, seq), voter + 1)
    }
}

/// A ballot that this key signed, without the signature.
pub(super) fn received(ballot: Ballot, seed: u8) -> Received {
    let message = Cid::of(format!("{ballot}{seed}").as_bytes());
    Received { message, verified: Ok(VerifiedBallot { ballot, key: key(seed) }) }
}

/// A ballot that this key really signs.
pub(super) fn sign(ballot: &Ballot, seed: u8) -> SignedBallot {
    sign_text(&ballot.to_string(), seed, NAMESPACE)
}

pub(super) fn sign_text(text: &str, seed: u8, namespace: &str) -> SignedBallot {
    let signed = private(seed).sign(namespace, HashAlg::Sha512, text.as_bytes()).unwrap();
    let armor = signed.to_pem(LineEnding::LF).unwrap();
    SignedBallot { text: text.to_owned(), signature: signature::from_armor(&armor).unwrap() }
}
