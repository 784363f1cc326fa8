//! Proposals: a change, put to those who decide, and what became of it.
//!
//! A [`Proposal`] is identified by its content ([`ProposalId`]); what the journal says of it
//! afterwards adds up to a [`ProposalRecord`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::canonical::{self, CanonicalError};
use super::governance::program::Decision;
use super::id::{ChangeId, Cid, ObjectId, ProposalId};
use super::plan::PinMove;

/// The version of the canonical form of a [`Proposal`].
pub const PROPOSAL_VERSION: u32 = 1;

/// Most pins in one proposal: its entry in the journal is one bounded line.
pub const MAX_PINS: usize = 150;

/// Which rules of decision apply: thresholds, delays and expiry are set by track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Track {
    /// A pin on which no other module depends.
    Leaf,
    /// A pin on which other modules depend.
    Core,
    /// A root input that is no module.
    Input,
    /// The policy.
    Policy,
    /// The members document.
    Membership,
    /// lambda-os itself.
    SelfUpgrade,
}

impl Track {
    /// All tracks, in order.
    pub const ALL: [Self; 6] =
        [Self::Leaf, Self::Core, Self::Input, Self::Policy, Self::Membership, Self::SelfUpgrade];

    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Core => "core",
            Self::Input => "input",
            Self::Policy => "policy",
            Self::Membership => "membership",
            Self::SelfUpgrade => "self-upgrade",
        }
    }
}

/// What a change is for. Not part of its identity: equal changes are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Move pins to newer upstream revisions.
    Upgrade,
    /// Make the places of a pin agree where they do not.
    Realign,
    /// Move a pin back.
    Rollback,
    /// Move the pin of a module that broke back to the last one that was verified, by itself.
    Heal,
    /// What a program of the operator's changed.
    Command,
    /// Put another members document or policy in force.
    Amend,
    /// What several proposals do, joined by a person to be decided on at once.
    Combined,
}

impl Purpose {
    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Realign => "realign",
            Self::Rollback => "rollback",
            Self::Heal => "heal",
            Self::Command => "command",
            Self::Amend => "amend",
            Self::Combined => "combined",
        }
    }

    /// Whether it came about because somebody asked for it, or because a module broke: then nothing
    /// that upstreams do ends it or takes its place.
    #[must_use]
    pub fn is_asked_for(self) -> bool {
        match self {
            Self::Upgrade | Self::Realign => false,
            Self::Rollback | Self::Heal | Self::Command | Self::Amend | Self::Combined => true,
        }
    }
}

/// What is put to those who decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// Format version, 1.
    pub v: u32,
    /// What it does.
    pub change: ChangeId,
    /// Which rules of decision apply.
    pub track: Track,
    /// The policy it is judged by.
    pub policy: Cid,
    /// The members document it is decided by.
    pub members_epoch: u64,
    /// Proposals that must be applied before.
    pub requires: Vec<ProposalId>,
    /// The proposal that it takes the place of.
    pub supersedes: Option<ProposalId>,
    /// When it ends undecided, Unix milliseconds.
    pub expires_ms: i64,
}

impl Proposal {
    /// The bytes that the identity is of.
    ///
    /// # Errors
    /// When it has no canonical form.
    pub fn to_canonical(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_canonical(self)
    }

    /// Its identity.
    ///
    /// # Errors
    /// When it has no canonical form.
    pub fn id(&self) -> Result<ProposalId, CanonicalError> {
        Ok(ProposalId(Cid::of(&self.to_canonical()?)))
    }
}

/// Where a proposal is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "kebab-case")]
pub enum Stage {
    /// Waits for a decision, or for being applied.
    Open,
    /// Being applied: the effect began and its end is not journalled yet.
    Applying {
        /// Sequence of its `apply.started`.
        started: u64,
    },
    /// In the superproject.
    Applied {
        /// The commit that brought it there.
        commit: ObjectId,
    },
    /// Its document is in force.
    Enacted {
        /// Sequence of the entry that put it in force.
        seq: u64,
    },
    /// It was begun, and what is there now is neither its start nor its end.
    Stuck {
        /// What was found, as a sentence.
        reason: String,
    },
    /// Over without having been applied.
    Closed {
        /// How.
        outcome: Closure,
        /// What took its place.
        by: Option<ProposalId>,
        /// Why, as a sentence.
        reason: String,
    },
}

/// How a proposal ends without being applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closure {
    /// A newer one took its place.
    Superseded,
    /// Those who decide said no. The same pins do not come back until their target moves.
    Rejected,
    /// Whoever runs this workspace took it back.
    Withdrawn,
    /// Its time ran out.
    Expired,
    /// There is nothing left to do, or it can no longer be derived.
    Obsolete,
}

impl Closure {
    /// The word that people and scripts see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Obsolete => "obsolete",
        }
    }
}

/// What the journal adds up to for one proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalRecord {
    /// What it does: the delta in `objects/`.
    pub change: ChangeId,
    /// What it is for.
    pub purpose: Purpose,
    /// Which rules of decision apply.
    pub track: Track,
    /// The pins that move, by module.
    pub pins: Vec<PinMove>,
    /// The policy that was in force when it was made; the manifest names it.
    #[serde(default)]
    pub policy: Option<Cid>,
    /// The epoch of the members document then; 0 before there was one.
    #[serde(default)]
    pub members_epoch: u64,
    /// The superproject's commit that it was derived on last.
    pub base: ObjectId,
    /// The tree that it gives there.
    pub tree: ObjectId,
    /// The proposal that it takes the place of.
    pub supersedes: Option<ProposalId>,
    /// Sequence of its `proposal.made`.
    pub made: u64,
    /// Wall time of that, Unix milliseconds.
    pub made_wall_ms: i64,
    /// The same in checked time: how long it has been open runs from there.
    #[serde(default)]
    pub made_checked_ms: i64,
    /// When it ends undecided, Unix milliseconds.
    pub expires_ms: i64,
    /// What to know about it, each a sentence without a final stop.
    pub notes: Vec<String>,
    /// Ballots on it that were taken in, in the journal's order: the signed messages, in `objects/`.
    pub ballots: Vec<Cid>,
    /// The newest certificate for it, in `objects/`.
    pub certificate: Option<Cid>,
    /// When that certificate was first journalled, Unix milliseconds.
    #[serde(default)]
    pub certified_wall_ms: Option<i64>,
    /// The same in checked time: delays run from there.
    #[serde(default)]
    pub certified_checked_ms: Option<i64>,
    /// What was verified of it; of another tree than `tree` when the base moved since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// What the policy's rules found in it, newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judged>,
    /// What programs decided over it, the newest of each, by program.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub decided: BTreeMap<Cid, Decided>,
    /// What the program did that made it: [`super::task::TaskEvidence`], in `objects/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Cid>,
    /// Where it is in its life.
    pub stage: Stage,
}

/// What the policy's rules found in a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The tree that was judged.
    pub tree: ObjectId,
    /// The findings, in `objects/`: a list of [`super::policy::Finding`].
    pub findings: Cid,
    /// Why it is denied, each a sentence; empty when nothing denies it.
    pub denied: Vec<String>,
    /// Whether a finding asks for a person's look.
    pub review: bool,
}

/// What a program decided over a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Sequence of the entry.
    pub seq: u64,
    /// What it decided.
    #[serde(flatten)]
    pub decision: Decision,
}

/// A proposal whose tree was verified, and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The tree.
    pub tree: ObjectId,
    /// The verdict on each module that it changes something for: [`super::health::Claims`], in `objects/`.
    pub claims: Cid,
}

impl ProposalRecord {
    /// What was verified of it, on the base that it was derived on last.
    #[must_use]
    pub fn verified(&self) -> Option<Verification> {
        self.verification.filter(|verification| verification.tree == self.tree)
    }
}

/// All proposals that the journal knows, by identity.
pub type Proposals = BTreeMap<ProposalId, ProposalRecord>;
