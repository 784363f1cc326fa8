//! By what right a proposal is applied: ballots that were counted, the standing authority to heal, or the
//! bounds that the policy states.
//!
//! In: a proposal, the journal and what it adds up to. Out: a certificate in the journal's store, and
//! its entry. Applying makes one; whoever goes on with an application that was cut short checks it
//! again. No right stands in for another: a heal certificate proves a heal alone, and one within bounds
//! what the policy in force lets be done without a ballot.

use crate::domain::audit::entry::Entry;
use crate::domain::governance::bounded::BoundedCertificate;
use crate::domain::heal::HealCertificate;
use crate::domain::id::{ChangeId, Cid, ProposalId};
use crate::domain::proposal::{ProposalRecord, Verification};
use crate::domain::state::State;
use crate::ops::heal::standing::{self, Grant};
use crate::ops::{enact, govern};
use crate::ports::{Clock, Governor, Journal, PortResult, Stored};

/// By what right.
#[derive(Clone, Copy)]
pub enum Authority<'a> {
    /// Those who decide approved it: their ballots are counted.
    Ballots(&'a dyn Governor),
    /// The members document grants it: a heal, or what undoes one that failed.
    Standing(&'a Grant),
    /// The policy states bounds within which nobody needs to vote.
    Bounds(&'a enact::Grant),
}

/// A certificate that was made, with what the commit says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Warrant {
    /// The certificate, in `objects/`.
    pub(super) certificate: Cid,
    /// Its `proposal.certified`.
    pub(super) entry: Entry,
    /// The proposal that it is for.
    pub(super) proposal: ProposalId,
    /// The change that it is for.
    pub(super) change: ChangeId,
    /// By whose word, a paragraph for the commit.
    pub(super) said: String,
}

/// Make the certificate of a proposal.
///
/// # Errors
/// As [`govern::certify`] and [`standing::certify`].
pub(super) fn certify(
    journal: &mut dyn Journal,
    state: &State,
    authority: Authority<'_>,
    id: ProposalId,
    clock: &dyn Clock,
) -> PortResult<Warrant> {
    match authority {
        Authority::Standing(grant) => standing::certify(journal, state, grant, id, clock.wall_ms()),
        Authority::Bounds(grant) => enact::certify(journal, state, grant, id, clock.wall_ms()),
        Authority::Ballots(governor) => {
            let certified = govern::certify(journal, state, governor, id, clock)?;
            let voters: Vec<&str> =
                certified.proven.tally.approvals().map(|ballot| ballot.voter.as_str()).collect();
            let verified = state.proposals.get(&id).and_then(ProposalRecord::verified);
            Ok(Warrant {
                certificate: certified.certificate,
                entry: certified.entry,
                proposal: certified.proven.proposal,
                change: certified.proven.change,
                said: format!("Approved by {}. {}.", voters.join(", "), verified_as(verified)),
            })
        }
    }
}

/// What the commit says of verification: what was verified is the tree that it is of, or nothing was.
fn verified_as(verification: Option<Verification>) -> String {
    match verification {
        Some(Verification { claims, .. }) => format!("Verified: {claims}"),
        None => "Unverified".to_owned(),
    }
}

/// Check a stored certificate again: that it proves this proposal, now.
///
/// # Errors
/// Integrity when it does not.
pub(super) fn recheck(
    journal: &(impl Stored + ?Sized),
    state: &State,
    id: ProposalId,
    certificate: &Cid,
) -> PortResult<()> {
    let Some(stored) = journal.stored(certificate)? else {
        return govern::recheck(journal, state, id, certificate).map(|_| ());
    };
    if let Ok(held) = HealCertificate::from_canonical(&stored) {
        return standing::recheck(journal, state, id, certificate, &held);
    }
    if let Ok(held) = BoundedCertificate::from_canonical(&stored) {
        return enact::recheck(journal, state, id, certificate, &held);
    }
    govern::recheck(journal, state, id, certificate).map(|_| ())
}
