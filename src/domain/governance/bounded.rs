//! The certificate of a change that was enacted within the bounds that the policy states, with no ballots.
//!
//! Canonical JSON in the journal's store: the proposal, the change, the policy that states the bounds, what
//! was known of the change, and the claims of verification. Nobody signs it: it holds as far as the journal
//! does, and whoever acts on it compares it with the journal again.

use serde::{Deserialize, Serialize};

use crate::domain::canonical::{self, CanonicalError};
use crate::domain::change::{DELTA_VERSION, Delta};
use crate::domain::heal::Rung;
use crate::domain::health::Claims;
use crate::domain::id::{ChangeId, Cid, ModuleName, ObjectId, ProposalId};
use crate::domain::policy::bounds::Extent;
use crate::domain::policy::{Policy, PolicyError};
use crate::domain::proposal::{PROPOSAL_VERSION, Proposal};

/// The version of the format.
pub const BOUNDED_CERTIFICATE_VERSION: u32 = 1;

/// The proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundedCertificate {
    /// Format version, 1.
    pub v: u32,
    /// What is enacted.
    pub proposal: Proposal,
    /// What it does.
    pub delta: Delta,
    /// The members document in force.
    pub members: Cid,
    /// The policy that states the bounds.
    pub bounded_by: Policy,
    /// What was known of the change.
    pub extent: Extent,
    /// What verification said of the tree that it gives.
    pub claims: Claims,
    /// The superproject's commit that it was derived and verified on.
    pub base: ObjectId,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

/// What a certificate says, once it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounded {
    /// The proposal.
    pub proposal: ProposalId,
    /// The change.
    pub change: ChangeId,
}

/// Why a certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoundedError {
    /// It is not canonical JSON.
    #[error("it is not canonical JSON: {0}")]
    Canonical(#[from] CanonicalError),
    /// It has another shape.
    #[error("{0}")]
    Shape(String),
    /// It is of another version.
    #[error("it has version {0}, and this program knows {BOUNDED_CERTIFICATE_VERSION}")]
    Version(u32),
    /// Its policy is none.
    #[error("its policy is wrong: {0}")]
    Policy(#[from] PolicyError),
    /// Another document is in force.
    #[error("it rests on another {0} than the one in force")]
    Other(&'static str),
    /// Its parts do not belong together.
    #[error("its parts do not belong together: {0}")]
    Apart(&'static str),
    /// The policy does not let this be done without a ballot.
    #[error("it is not within the policy's bounds: {0}")]
    Exceeded(String),
    /// What it says is not what the journal says.
    #[error("the journal does not bear it out: {0}")]
    NotJournalled(String),
}

impl BoundedCertificate {
    /// The certificate in these canonical bytes. It proves nothing before [`verify`].
    ///
    /// # Errors
    /// With the reason why it is none.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, BoundedError> {
        let value = canonical::parse_canonical(bytes)?;
        let certificate: Self =
            serde_json::from_value(value).map_err(|error| BoundedError::Shape(error.to_string()))?;
        if certificate.to_canonical()? == bytes {
            Ok(certificate)
        } else {
            Err(BoundedError::Shape("it is not written in its one form".to_owned()))
        }
    }

    /// The bytes that the identity is of.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn to_canonical(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_canonical(self)
    }
}

/// What the certificate proves to whoever trusts these documents and the journal that it is in.
///
/// # Errors
/// With the reason why it proves nothing.
pub fn verify(
    certificate: &BoundedCertificate,
    members: &Cid,
    policy: &Cid,
) -> Result<Bounded, BoundedError> {
    if certificate.v != BOUNDED_CERTIFICATE_VERSION {
        return Err(BoundedError::Version(certificate.v));
    }
    certificate.bounded_by.check()?;
    if certificate.members != *members {
        return Err(BoundedError::Other("members document"));
    }
    if certificate.bounded_by.cid()? != *policy || certificate.proposal.policy != *policy {
        return Err(BoundedError::Other("policy"));
    }
    let (proposal, delta, claims) = (&certificate.proposal, &certificate.delta, &certificate.claims);
    let moved: Vec<&ModuleName> = delta.pins.iter().map(|pin| &pin.module).collect();
    let known: Vec<&ModuleName> = certificate.extent.pins.iter().map(|pin| &pin.module).collect();
    for (belongs, what) in [
        (
            proposal.v == PROPOSAL_VERSION && delta.v == DELTA_VERSION,
            "a version that this program does not know",
        ),
        (proposal.change == delta.id()?, "the proposal is about another change"),
        (moved == known, "it tells of other pins than the change moves"),
        (delta.files.is_empty() && delta.document.is_none(), "it is no change of pins"),
    ] {
        if !belongs {
            return Err(BoundedError::Apart(what));
        }
    }
    let exceeded = |why: String| Err(BoundedError::Exceeded(why));
    if certificate.bounded_by.rung(proposal.track) < Rung::Bounded {
        return exceeded(format!("the track {} is not bounded", proposal.track.as_str()));
    }
    let Some(bounds) = &certificate.bounded_by.bounds else {
        return exceeded("it states none".to_owned());
    };
    let over = bounds.exceeded(&certificate.extent);
    if !over.is_empty() {
        return exceeded(over.join("; "));
    }
    if let Some(why) = not_strong(claims, &moved) {
        return exceeded(why);
    }
    Ok(Bounded { proposal: proposal.id()?, change: proposal.change })
}

/// Why what verification says is not strong enough, a sentence without a final stop: each module that moves
/// was verified, and everything that was verified passed strongly.
#[must_use]
pub fn not_strong(claims: &Claims, moved: &[&ModuleName]) -> Option<String> {
    if let Some(module) = claims.unverified.first() {
        return Some(format!("{module} is not verified"));
    }
    if let Some(claim) = claims.claims.iter().find(|claim| !claim.verdict.is_strong()) {
        return Some(format!("{} is not strongly healthy with it", claim.module));
    }
    let claimed = |module: &ModuleName| claims.claims.iter().any(|claim| claim.module == *module);
    let absent = moved.iter().find(|module| !claimed(module));
    absent.map(|module| format!("nothing is known of {module} with it"))
}

#[cfg(test)]
mod tests;
