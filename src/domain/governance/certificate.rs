//! The proof that those who decide approved a proposal, which needs nothing beside itself but the
//! identity of the members document that is trusted.
//!
//! It is canonical JSON in the journal's store: the proposal, the change, the members document (and
//! the one that shall take its place, where that is the change), the policy's identity, the moment
//! and base it was counted for, and the ballots that counted, each text with its signature. [`verify`]
//! counts again, from the signatures up.
//!
//! Any set of approvals that reaches the threshold proves it: operators agree on the proposal, not
//! on the bytes of the certificate. What is said later does not take it back.
//!
//! Where a program alone decides on the track, the certificate says what it was given and what it gave,
//! by identity. Nobody signed that: it proves as much as running that program again does, and whoever
//! has the journal compares it with the decision there.
//!
//! Version 1 has no successor and no decision; it is what is written where there are none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ballot::{SignedBallot, pins_of};
use super::members::{Members, MembersError};
use super::program::Decision;
use super::signature;
use super::tally::{Question, Received, Tally, TallyState, tally};
use super::time::Times;
use super::transition;
use crate::domain::canonical::{self, CanonicalError};
use crate::domain::change::{DELTA_VERSION, Delta, DocumentKind};
use crate::domain::id::{ChangeId, Cid, ObjectId, ProposalId};
use crate::domain::proposal::{PROPOSAL_VERSION, Proposal};

/// The newest version of the format.
pub const CERTIFICATE_VERSION: u32 = 2;

/// Largest certificate that is looked at, in bytes.
pub const MAX_CERTIFICATE: usize = 16 << 20;

/// The proof of an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Format version: 2 with a successor or a decision, else 1.
    pub v: u32,
    /// What was approved.
    pub proposal: Proposal,
    /// What it does.
    pub delta: Delta,
    /// Who decided.
    pub members: Members,
    /// Who decides afterwards, and decided with them: the document that the change puts in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<Members>,
    /// What the program decided that alone decides on the track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The policy in force.
    pub policy: Cid,
    /// Whether that policy lets what was not verified be approved.
    pub allow_unverified: bool,
    /// The superproject's commit that it was counted on.
    pub base: ObjectId,
    /// When it was counted, Unix milliseconds.
    pub at_ms: i64,
    /// The ballots that counted, by text.
    pub ballots: Vec<Approval>,
}

/// One ballot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The ballot's text.
    pub text: String,
    /// Its armored SSH signature.
    pub signature: String,
}

/// What a certificate proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// That this proposal
    pub proposal: ProposalId,
    /// with this change
    pub change: ChangeId,
    /// was approved so.
    pub tally: Tally,
    /// The program that decided, where no ballots did.
    pub decision: Option<Decision>,
}

/// Why a certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is not canonical JSON, or too large.
    #[error("it is not canonical JSON: {0}")]
    Canonical(#[from] CanonicalError),
    /// It has another shape.
    #[error("{0}")]
    Shape(String),
    /// It is of another version.
    #[error("it has version {0}, and this program knows {CERTIFICATE_VERSION}")]
    Version(u32),
    /// Its members document is none.
    #[error("its members document is wrong: {0}")]
    Members(#[from] MembersError),
    /// Its members document is not the one that is trusted.
    #[error("it was decided by the members document {found}, and {trusted} is trusted")]
    OtherMembers {
        /// The one in it.
        found: Cid,
        /// The one that is trusted.
        trusted: Cid,
    },
    /// Its parts do not belong together.
    #[error("its parts do not belong together: {0}")]
    Apart(&'static str),
    /// The approvals do not add up.
    #[error("its ballots do not approve it: {approvals} of {} count{}", .threshold.map_or_else(|| "?".to_owned(), |needed| needed.to_string()), .ignored.as_ref().map_or_else(String::new, |reason| format!("; the first that does not: {reason}")))]
    NotApproved {
        /// How much weight counts.
        approvals: u32,
        /// How many are needed.
        threshold: Option<u32>,
        /// Why the first one that does not count does not.
        ignored: Option<String>,
    },
}

impl Certificate {
    /// The certificate in these canonical bytes. It proves nothing before [`verify`].
    ///
    /// # Errors
    /// With the reason why it is none.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, CertificateError> {
        if bytes.len() > MAX_CERTIFICATE {
            return Err(CertificateError::Shape("it is too large".to_owned()));
        }
        let value = canonical::parse_canonical(bytes)?;
        let certificate: Self =
            serde_json::from_value(value).map_err(|error| CertificateError::Shape(error.to_string()))?;
        // What reads as the same value but is written otherwise would have a second identity.
        if certificate.to_canonical()? == bytes {
            Ok(certificate)
        } else {
            Err(CertificateError::Shape("it is not written in its one form".to_owned()))
        }
    }

    /// The version that it must have.
    #[must_use]
    pub fn version_of(successor: Option<&Members>, decision: Option<&Decision>) -> u32 {
        if successor.is_none() && decision.is_none() { 1 } else { CERTIFICATE_VERSION }
    }

    /// The bytes that the identity is of.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn to_canonical(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_canonical(self)
    }

    /// The identity of the certificate.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn cid(&self) -> Result<Cid, CanonicalError> {
        Ok(Cid::of(&self.to_canonical()?))
    }

    fn received(&self) -> Vec<Received> {
        let one = |approval: &Approval| {
            let parsed = signature::from_armor(&approval.signature)
                .map(|signature| SignedBallot { text: approval.text.clone(), signature });
            let (message, verified) = match parsed {
                Ok(signed) => {
                    (Cid::of(&signed.to_message()), signed.verify().map_err(|error| error.to_string()))
                }
                Err(error) => (Cid::of(approval.signature.as_bytes()), Err(error.to_string())),
            };
            Received { message, verified }
        };
        self.ballots.iter().map(one).collect()
    }
}

/// What the certificate proves to whoever trusts this members document. It does not say whether
/// the policy in it is the one that was in force: whoever has the journal compares that too.
///
/// # Errors
/// With the reason why it proves nothing.
pub fn verify(certificate: &Certificate, trusted: &Cid) -> Result<Proven, CertificateError> {
    if !(1..=CERTIFICATE_VERSION).contains(&certificate.v) {
        return Err(CertificateError::Version(certificate.v));
    }
    certificate.members.check()?;
    let found = certificate.members.cid()?;
    if found != *trusted {
        return Err(CertificateError::OtherMembers { found, trusted: *trusted });
    }
    let (proposal, delta) = (&certificate.proposal, &certificate.delta);
    let (successor, decision) = (certificate.successor.as_ref(), certificate.decision.as_ref());
    for (belongs, what) in [
        (
            proposal.v == PROPOSAL_VERSION && delta.v == DELTA_VERSION,
            "a version that this program does not know",
        ),
        (certificate.v == Certificate::version_of(successor, decision), "its version is another's"),
        (proposal.change == delta.id()?, "the proposal is about another change"),
        (delta.workspace == certificate.members.workspace, "the change is for another workspace"),
        (proposal.policy == certificate.policy, "the proposal is judged by another policy"),
        (proposal.members_epoch == certificate.members.epoch, "the proposal is of another members epoch"),
        (succeeds(certificate)?, "its successor is not the members document that the change puts in force"),
    ] {
        if !belongs {
            return Err(CertificateError::Apart(what));
        }
    }
    let (id, pins) = (proposal.id()?, pins_of(delta));
    let (none_revoked, none_final) = (BTreeMap::new(), BTreeMap::new());
    let question = Question {
        id,
        proposal,
        pins: &pins,
        files: &delta.files,
        document: delta.document,
        // What narrowed was looked at when it was made, and is again when it is enacted. So were keys
        // that somebody revoked: a certificate once valid stays valid.
        narrowed: &[],
        revoked: &none_revoked,
        certified: None,
        final_elsewhere: &none_final,
        members: &certificate.members,
        successor,
        decided: decision,
        policy: certificate.policy,
        base: certificate.base,
        allow_unverified: certificate.allow_unverified,
        now: Times { wall_ms: certificate.at_ms, checked_ms: 0, slow_ms: certificate.at_ms },
    };
    let tally = tally(&question, &certificate.received(), &[]);
    if tally.state == TallyState::Approved {
        let decision = decision.filter(|_| decides_alone(certificate)).cloned();
        return Ok(Proven { proposal: id, change: proposal.change, tally, decision });
    }
    Err(CertificateError::NotApproved {
        approvals: tally.approving,
        threshold: tally.threshold,
        ignored: tally.ignored.first().map(|ignored| ignored.reason.clone()),
    })
}

/// Whether its successor is there where the change puts one in force, is that one, and follows.
fn succeeds(certificate: &Certificate) -> Result<bool, CertificateError> {
    let document = certificate.delta.document.filter(|it| it.kind == DocumentKind::Members);
    Ok(match (document, &certificate.successor) {
        (None, None) => true,
        (Some(document), Some(next)) => {
            next.check()?;
            let (old, new) = (certificate.members.cid()?, next.cid()?);
            (document.old, document.new) == (old, new)
                && transition::follows(&certificate.members, old, next).is_ok()
        }
        _ => false,
    })
}

/// Whether a program alone decides on the track.
fn decides_alone(certificate: &Certificate) -> bool {
    let rule = certificate.members.tracks.get(&certificate.proposal.track);
    rule.is_some_and(|rule| rule.program.is_some())
}

#[cfg(test)]
mod tests;
