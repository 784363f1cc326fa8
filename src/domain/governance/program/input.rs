//! What a program is given: everything that it may decide by, as canonical JSON.
//!
//! ```json
//! {"base":"96ee…","ballots":[{"choice":"approve","key":"SHA256:…","seq":1,"voter":"ana"}],"claims":null,
//!  "delta":{…},"findings":[],"members":{…},"policy":"bafkrei…","proposal":{…},"proposal_id":"bafkrei…",
//!  "purpose":"upgrade","time":{"now_ms":1795300000000,…},"tree":"…","v":1,"verified":false}
//! ```
//!
//! Keys are only added under a new version of the interface. Ballots are those that count, each with
//! its signature verified here; what they add up to is the program's own matter.

use serde::{Deserialize, Serialize};

use crate::domain::canonical::{self, CanonicalError};
use crate::domain::change::Delta;
use crate::domain::governance::ballot::Choice;
use crate::domain::governance::members::Members;
use crate::domain::governance::tally::Tally;
use crate::domain::health::Claims;
use crate::domain::id::{Cid, ObjectId, ProposalId};
use crate::domain::policy::Finding;
use crate::domain::proposal::{Proposal, Purpose};

/// The version of the format.
pub const INPUT_VERSION: u32 = 1;

/// What a program decides by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Format version, 1.
    pub v: u32,
    /// Which proposal.
    pub proposal_id: ProposalId,
    /// The proposal.
    pub proposal: Proposal,
    /// What it is for.
    pub purpose: Purpose,
    /// What it does.
    pub delta: Delta,
    /// The superproject's commit that it was derived on last.
    pub base: ObjectId,
    /// The tree that it gives there.
    pub tree: ObjectId,
    /// Whether that tree was verified, and holds.
    pub verified: bool,
    /// What was verified of it, on whichever base; null when nothing was.
    pub claims: Option<Claims>,
    /// What the policy's rules found in it, worst first; null when they have not looked at this tree.
    pub findings: Option<Vec<Finding>>,
    /// The policy in force.
    pub policy: Cid,
    /// Who decides.
    pub members: Members,
    /// The ballots that count, by voter: one for each.
    pub ballots: Vec<Said>,
    /// When it is.
    pub time: Time,
}

/// A ballot that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// The principal.
    pub voter: String,
    /// What it says.
    pub choice: Choice,
    /// Its number.
    pub seq: u64,
    /// The fingerprint of the key that signed.
    pub key: String,
}

/// When it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// Wall time, Unix milliseconds: whoever sets the machine's clock sets it. Things may end by it.
    pub now_ms: i64,
    /// How long the proposal has been open, milliseconds of checked time (see [`super::super::time`]):
    /// what no clock that was set forward makes pass. Things may begin by it.
    pub open_ms: i64,
}

impl Input {
    /// The input in these canonical bytes.
    ///
    /// # Errors
    /// A sentence without a final stop: why they are none.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, String> {
        let value = canonical::parse_canonical(bytes).map_err(|error| error.to_string())?;
        let input: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if input.v == INPUT_VERSION {
            Ok(input)
        } else {
            Err(format!("it has version {}, and this program knows {INPUT_VERSION}", input.v))
        }
    }

    /// The bytes that a program is given.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn to_canonical(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_canonical(self)
    }

    /// The ballots that count, as a program is given them.
    #[must_use]
    pub fn ballots(tally: &Tally) -> Vec<Said> {
        let said = tally.counted.iter().map(|ballot| Said {
            voter: ballot.voter.clone(),
            choice: ballot.choice,
            seq: ballot.seq,
            key: ballot.key.clone(),
        });
        said.collect()
    }
}
