//! The heal certificate: the proof by which a pin was moved back with no ballots.
//!
//! It is canonical JSON in the journal's store: the proposal, the change, the members document that
//! grants the standing authority, the policy, the journalled beginning of the heal, and the evidence
//! that it rests on. Nobody signs it: it holds as far as the journal does, and whoever acts on it
//! compares it with the journal again.
//!
//! ```json
//! {"again":{"evidence":"bafkrei…","key":"bafkrei…"},"at_ms":1790000000000,"bad":{…},"base":"…",
//!  "delta":{…},"from":"…","good":{…},"kind":"heal","members":{…},"members_cid":"bafkrei…",
//!  "module":"waku","policy":"bafkrei…","proposal":{…},"rung":"assisted","started":41,"to":"…","v":1}
//! ```

use serde::{Deserialize, Serialize};

use super::Rung;
use crate::domain::canonical::{self, CanonicalError};
use crate::domain::change::{DELTA_VERSION, Delta};
use crate::domain::governance::members::{Members, MembersError};
use crate::domain::id::{ChangeId, Cid, ModuleName, ObjectId, ProposalId};
use crate::domain::proposal::{PROPOSAL_VERSION, Proposal};

/// The version of the format.
pub const HEAL_CERTIFICATE_VERSION: u32 = 1;

/// Which way a pin moves under the standing authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From the bad revision to the one that was verified.
    Heal,
    /// Back to where it was: the module did not pass at the target.
    Restore,
}

/// A verdict that a certificate rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rests {
    /// What the verdict depends on.
    pub key: Cid,
    /// The evidence, in `objects/`.
    pub evidence: Cid,
}

/// The proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealCertificate {
    /// Format version, 1.
    pub v: u32,
    /// Which way.
    pub kind: Way,
    /// What is applied.
    pub proposal: Proposal,
    /// What it does.
    pub delta: Delta,
    /// Who grants it.
    pub members: Members,
    /// The identity of that document.
    pub members_cid: Cid,
    /// The policy in force.
    pub policy: Cid,
    /// The rung that it was done on.
    pub rung: Rung,
    /// Sequence of its `heal.started`.
    pub started: u64,
    /// The module.
    pub module: ModuleName,
    /// Where its pin is.
    pub from: ObjectId,
    /// Where its pin goes.
    pub to: ObjectId,
    /// That it is bad where it is, shown again; absent only when it is put back because it could
    /// not be verified any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<Rests>,
    /// That it was verified strongly where it goes, in the workspace itself; absent when it is only
    /// put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<Rests>,
    /// That it passes there now; absent when it is only put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Rests>,
    /// The superproject's commit that it was verified on.
    pub base: ObjectId,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

/// What a heal certificate says, once it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// The proposal.
    pub proposal: ProposalId,
    /// The change.
    pub change: ChangeId,
}

/// Why a heal certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HealCertificateError {
    /// It is not canonical JSON.
    #[error("it is not canonical JSON: {0}")]
    Canonical(#[from] CanonicalError),
    /// It has another shape.
    #[error("{0}")]
    Shape(String),
    /// It is of another version.
    #[error("it has version {0}, and this program knows {HEAL_CERTIFICATE_VERSION}")]
    Version(u32),
    /// Its members document is none.
    #[error("its members document is wrong: {0}")]
    Members(#[from] MembersError),
    /// Its members document is not the one that is trusted.
    #[error("it rests on the members document {found}, and {trusted} is trusted")]
    OtherMembers {
        /// The one in it.
        found: Cid,
        /// The one that is trusted.
        trusted: Cid,
    },
    /// The members document does not grant healing, or not any more.
    #[error("its members document does not let anything be healed without a decision")]
    NotGranted,
    /// Its rung allows nothing to be changed.
    #[error("it was made on the rung manual, on which nothing is healed without a decision")]
    Manual,
    /// Its parts do not belong together.
    #[error("its parts do not belong together: {0}")]
    Apart(&'static str),
    /// It is not what the journal says.
    #[error("the journal does not say so: {0}")]
    NotJournalled(String),
}

impl HealCertificate {
    /// The certificate in these canonical bytes. It proves nothing before [`verify`].
    ///
    /// # Errors
    /// With the reason why it is none.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, HealCertificateError> {
        let value = canonical::parse_canonical(bytes)?;
        let certificate: Self =
            serde_json::from_value(value).map_err(|error| HealCertificateError::Shape(error.to_string()))?;
        if certificate.to_canonical()? == bytes {
            Ok(certificate)
        } else {
            Err(HealCertificateError::Shape("it is not written in its one form".to_owned()))
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

/// What the certificate says to whoever trusts this members document. Whether the journal holds what
/// it rests on is asked beside it.
///
/// # Errors
/// With the reason why it proves nothing.
pub fn verify(certificate: &HealCertificate, trusted: &Cid) -> Result<Granted, HealCertificateError> {
    if certificate.v != HEAL_CERTIFICATE_VERSION {
        return Err(HealCertificateError::Version(certificate.v));
    }
    certificate.members.check()?;
    let found = certificate.members.cid()?;
    if found != *trusted || certificate.members_cid != found {
        return Err(HealCertificateError::OtherMembers { found, trusted: *trusted });
    }
    if !certificate.members.heal || certificate.members.has_run_out(certificate.at_ms) {
        return Err(HealCertificateError::NotGranted);
    }
    if certificate.rung == Rung::Manual {
        return Err(HealCertificateError::Manual);
    }
    let (proposal, delta) = (&certificate.proposal, &certificate.delta);
    let [pin] = delta.pins.as_slice() else {
        return Err(HealCertificateError::Apart("the change moves another number of pins than one"));
    };
    let ends = (certificate.good.is_some(), certificate.again.is_some());
    let whole = match certificate.kind {
        Way::Heal => certificate.bad.is_some() && ends == (true, true),
        Way::Restore => ends == (false, false),
    };
    for (belongs, what) in [
        (
            proposal.v == PROPOSAL_VERSION && delta.v == DELTA_VERSION,
            "a version that this program does not know",
        ),
        (proposal.change == delta.id()?, "the proposal is about another change"),
        (delta.workspace == certificate.members.workspace, "the change is for another workspace"),
        (proposal.policy == certificate.policy, "the proposal is judged by another policy"),
        (proposal.members_epoch == certificate.members.epoch, "the proposal is of another members epoch"),
        (pin.module == certificate.module, "the change moves another module"),
        (
            pin.from.commit == certificate.from && pin.to.commit == certificate.to,
            "the change moves the pin between other revisions",
        ),
        (certificate.from != certificate.to, "the pin does not move"),
        (whole, "the evidence is not that of this kind"),
    ] {
        if !belongs {
            return Err(HealCertificateError::Apart(what));
        }
    }
    Ok(Granted { proposal: proposal.id()?, change: proposal.change })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::governance::fixture::{commit, delta, members, proposal};

    fn whole() -> HealCertificate {
        let members = Members { heal: true, ..members(1) };
        let rests = |byte: u8| Some(Rests { key: Cid::of(&[byte]), evidence: Cid::of(&[byte, byte]) });
        let proposal = proposal(&members, 2);
        HealCertificate {
            v: HEAL_CERTIFICATE_VERSION,
            kind: Way::Heal,
            policy: proposal.policy,
            proposal,
            delta: delta(2),
            members_cid: members.cid().unwrap(),
            members,
            rung: Rung::Assisted,
            started: 7,
            module: ModuleName::new("waku"),
            from: commit(1),
            to: commit(2),
            bad: rests(1),
            good: rests(2),
            again: rests(3),
            base: commit(9),
            at_ms: 1,
        }
    }

    #[test]
    fn a_whole_certificate_grants_its_proposal_and_is_read_again() {
        let certificate = whole();
        let granted = verify(&certificate, &certificate.members_cid).unwrap();
        assert_eq!(granted.proposal, certificate.proposal.id().unwrap());
        let bytes = certificate.to_canonical().unwrap();
        assert_eq!(HealCertificate::from_canonical(&bytes), Ok(certificate));
    }

    #[test]
    fn every_slip_is_refused() {
        let trusted = whole().members_cid;
        let check = |slip: &dyn Fn(&mut HealCertificate), says: &str| {
            let mut certificate = whole();
            slip(&mut certificate);
            let error = verify(&certificate, &trusted).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        };
        check(&|it| it.v = 2, "version 2");
        check(&|it| it.members.heal = false, "is trusted");
        check(&|it| it.members_cid = Cid::of(b""), "is trusted");
        check(&|it| it.rung = Rung::Manual, "manual");
        check(&|it| it.delta = delta(3), "another change");
        check(&|it| it.policy = Cid::of(b""), "another policy");
        check(&|it| it.proposal.members_epoch = 2, "another members epoch");
        check(&|it| it.module = ModuleName::new("other"), "another module");
        check(&|it| it.to = commit(3), "other revisions");
        check(&|it| it.from = commit(3), "other revisions");
        check(&|it| it.bad = None, "evidence");
        check(&|it| it.good = None, "evidence");
        check(&|it| it.again = None, "evidence");
        check(&|it| it.kind = Way::Restore, "evidence");
        let mut none = whole();
        none.members.heal = false;
        none.members_cid = none.members.cid().unwrap();
        let error = verify(&none, &none.members_cid).unwrap_err();
        assert_eq!(error, HealCertificateError::NotGranted);
        let mut over = whole();
        (over.members.v, over.members.expires_ms) = (2, Some(over.at_ms - 1));
        over.members_cid = over.members.cid().unwrap();
        assert_eq!(verify(&over, &over.members_cid).unwrap_err(), HealCertificateError::NotGranted);
    }
}
