//! By which rules proposals are made: the documents in force, or what stands in for them.

use crate::domain::governance::members::{DEFAULT_EXPIRY_MS, Members};
use crate::domain::id::Cid;
use crate::domain::policy::Policy;
use crate::domain::proposal::Track;
use crate::domain::state::State;
use crate::ops::govern;
use crate::ports::{Journal, PortError, PortResult};

/// What names a workspace that nobody decides over yet.
const UNCLAIMED: &str = "unclaimed";

/// The rules that a proposal is made by.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Which workspace it is for.
    pub(super) workspace: String,
    policy: Policy,
    pub(super) policy_cid: Cid,
    members: Option<Members>,
    pub(super) epoch: u64,
}

impl Rules {
    /// The rules in force. Before anybody is trusted to decide, proposals are made by the default
    /// policy under epoch 0, which nobody's ballot can be for: they show what is to be done.
    ///
    /// # Errors
    /// When a document in force cannot be read, or is not what the journal names.
    pub(super) fn in_force(journal: &dyn Journal, state: &State) -> PortResult<Self> {
        if state.members.is_some() && state.policy.is_some() {
            let rules = govern::rules(journal, state)?;
            return Ok(Self {
                workspace: rules.members.workspace.clone(),
                policy: rules.policy,
                policy_cid: rules.policy_cid,
                epoch: rules.members.epoch,
                members: Some(rules.members),
            });
        }
        let policy = Policy::default();
        let policy_cid = policy.cid().map_err(|error| {
            PortError::failed("cannot write the default policy as canonical JSON").because(error)
        })?;
        Ok(Self { workspace: UNCLAIMED.to_owned(), policy, policy_cid, members: None, epoch: 0 })
    }

    /// The policy that a record of a proposal made by these rules has.
    pub(super) fn recorded(&self) -> (Option<Cid>, u64) {
        (self.members.is_some().then_some(self.policy_cid), self.epoch)
    }

    /// Most proposals that may be open at once.
    pub(super) fn max_open(&self) -> usize {
        usize::try_from(self.policy.max_open_proposals).unwrap_or(usize::MAX)
    }

    /// Whether what could not be verified may be proposed.
    pub(super) fn allow_unverified(&self) -> bool {
        self.policy.allow_unverified
    }

    /// When a proposal that is made now ends undecided.
    pub(super) fn expires_ms(&self, track: Track, now_ms: i64) -> i64 {
        match &self.members {
            Some(members) => self.policy.expires_ms(members, track, now_ms),
            None => now_ms.saturating_add(DEFAULT_EXPIRY_MS),
        }
    }
}
