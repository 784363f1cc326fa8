//! Why a ballot does not count: for each way in which it may not, a reason of its own.

use serde::Serialize;

use crate::domain::id::{ProposalId, RepoPath};

/// Why a ballot does not count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Uncounted {
    /// It is no ballot, or its signature does not hold.
    #[error("{said}")]
    Invalid {
        /// What is wrong with it.
        said: String,
    },
    /// It is for another workspace.
    #[error("it is for another workspace")]
    OtherWorkspace,
    /// It is on another proposal.
    #[error("it is on another proposal")]
    OtherProposal,
    /// It names another change.
    #[error("it names another change")]
    OtherChange,
    /// It names other pins than the change moves.
    #[error("it names other pins than the change moves")]
    OtherPins,
    /// It names other files than the change has, or other contents of them.
    #[error("it names other files than the change has, or other contents")]
    OtherFiles,
    /// It names another document than the change puts in force, or none.
    #[error("it names another document than the change puts in force")]
    OtherDocument,
    /// It was made under another policy.
    #[error("it was made under another policy")]
    OtherPolicy,
    /// It was made under another members document.
    #[error("it was made under members epoch {epoch}")]
    OtherEpoch {
        /// Which.
        epoch: u64,
    },
    /// Nobody of that name decides.
    #[error("nobody of that name decides")]
    NotAMember,
    /// Another key than the voter's signed it.
    #[error("the key that signed it is not one of the voter's")]
    NotTheVotersKey,
    /// The key that signed it was revoked here.
    #[error("the key that signed it was revoked by entry {entry}")]
    KeyRevoked {
        /// The journal's entry that says so.
        entry: u64,
    },
    /// The key that signed it does not hold yet.
    #[error("the key that signed it does not hold yet")]
    KeyNotYet,
    /// The key that signed it holds no longer.
    #[error("the key that signed it holds no longer")]
    KeyEnded,
    /// The voter has none of the roles that decide on the track.
    #[error("the voter has none of the roles that decide on this track")]
    NotOnThisTrack,
    /// The voter has none of the roles that may veto on the track.
    #[error("the voter has none of the roles that may veto on this track")]
    MayNotVeto,
    /// It is a veto that ends later than vetoes on this track may, as of now.
    #[error("a veto on this track may end {days} days from now at the latest, and it ends later: it does not count yet", days = .most_ms / 86_400_000)]
    VetoTooLong {
        /// How far ahead a veto may end, milliseconds.
        most_ms: i64,
    },
    /// The voter made a newer one.
    #[error("the voter's ballot {newer} took its place")]
    Superseded {
        /// The newer one's number.
        newer: u64,
    },
    /// It says the same as one that counts.
    #[error("it is the same ballot again")]
    Again,
    /// The voter said two things at one number.
    #[error("the voter signed two different ballots numbered {seq}; neither counts")]
    Conflict {
        /// The number.
        seq: u64,
    },
    /// It counted until its own end.
    #[error("it has run out")]
    Expired,
    /// The track asks for approvals of the base that it is applied on.
    #[error("it was made on another base, and the track is strict about it")]
    OtherBase,
    /// It approves what nothing verified, and policy forbids that.
    #[error("it approves what was not verified, which the policy does not allow")]
    Unverified,
    /// The voter approves another target for the same module.
    #[error("the voter also approves {proposal}, which moves {module} from the same revision to another")]
    OtherTarget {
        /// The other proposal.
        proposal: ProposalId,
        /// The module.
        module: String,
    },
    /// The voter approves another content for the same file.
    #[error("the voter also approves {proposal}, which makes something else of {path}")]
    OtherContent {
        /// The other proposal.
        proposal: ProposalId,
        /// The file.
        path: RepoPath,
    },
    /// The voter approves another document in the place of the same.
    #[error("the voter also approves {proposal}, which puts another document in force")]
    OtherSuccessor {
        /// The other proposal.
        proposal: ProposalId,
    },
    /// The proposal was certified without it.
    #[error("the proposal is certified, and what is said beside its certificate is evidence")]
    Late,
}

impl Uncounted {
    /// Whether it says no more than that the voter or the key is unknown to a members document.
    #[must_use]
    pub fn is_of_a_stranger(&self) -> bool {
        matches!(self, Self::NotAMember | Self::NotTheVotersKey)
    }

    /// Whether it is about the question all the same, by one of those who decide, with the voter's own
    /// key: then the voter has spoken.
    #[must_use]
    pub fn is_spoken(&self) -> bool {
        matches!(
            self,
            Self::KeyRevoked { .. }
                | Self::KeyEnded
                | Self::NotOnThisTrack
                | Self::MayNotVeto
                | Self::VetoTooLong { .. }
                | Self::Superseded { .. }
                | Self::Again
                | Self::Conflict { .. }
                | Self::Expired
                | Self::OtherBase
                | Self::Unverified
                | Self::OtherTarget { .. }
                | Self::OtherContent { .. }
                | Self::OtherSuccessor { .. }
                | Self::Late
        )
    }

    /// Whether it may count later, as it is: it is kept.
    #[must_use]
    pub fn is_not_yet(&self) -> bool {
        matches!(self, Self::KeyNotYet | Self::VetoTooLong { .. })
    }
}
