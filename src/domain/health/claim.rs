//! Claims: what verification says of one tree of the superproject, module by module.
//!
//! This, and not logs and times, is what a proposal is bound to: equal verdicts on equal keys are
//! equal claims, whenever and wherever they were found.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::domain::canonical::{self, CanonicalError};
use crate::domain::id::{Cid, ModuleName, ObjectId};
use crate::domain::text;

/// The version of the canonical form of [`Claims`].
pub const CLAIMS_VERSION: u32 = 1;

/// What verification says of one tree, in `objects/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Format version, 1.
    pub v: u32,
    /// The superproject's tree.
    pub tree: ObjectId,
    /// One for each module that sees something else there than in the workspace as it is, by module.
    pub claims: Vec<Claim>,
    /// Modules that see something else there and for which no steps are configured, sorted.
    pub unverified: Vec<ModuleName>,
}

/// What verification says of one module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The module.
    pub module: ModuleName,
    /// What the verdict depends on.
    pub key: Cid,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// True when it is bad, and was in the workspace as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_before: bool,
    /// The evidence, in `objects/`.
    pub evidence: Cid,
}

impl Claims {
    /// The bytes that the identity is of.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn to_canonical(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_canonical(self)
    }
}

impl fmt::Display for Claim {
    /// As one sentence without a final stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.verdict.is_healthy() && !self.verdict.is_strong() {
            "weakly healthy"
        } else {
            self.verdict.as_str()
        };
        write!(f, "{} is {word}", self.module)?;
        if self.as_before {
            write!(f, ", as it is without this")?;
        }
        if let Some(reason) = self.verdict.reason() {
            write!(f, ": {}", text::inert(reason))?;
        }
        write!(f, " (key {}, evidence {})", self.key, self.evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::health::{Step, Strength};

    fn said(verdict: Verdict, as_before: bool) -> String {
        let (key, evidence) = (Cid::of(b"key"), Cid::of(b"evidence"));
        let claim = Claim { module: ModuleName::new("m"), key, verdict, as_before, evidence };
        let whole = claim.to_string();
        let end = format!(" (key {key}, evidence {evidence})");
        whole.strip_suffix(&end).expect("the identities stand last").to_owned()
    }

    #[test]
    fn a_claim_is_a_sentence_that_hides_no_weakness() {
        assert_eq!(said(Verdict::STRONG, false), "m is healthy");
        let weak = Verdict::Healthy { strength: Strength::Weak, reason: Some("no sign".to_owned()) };
        assert_eq!(said(weak, false), "m is weakly healthy: no sign");
        let failed = Verdict::Failed { step: Step::Build, reason: "exit 1\u{1b}[2J".to_owned() };
        assert_eq!(said(failed, true), "m is failed, as it is without this: exit 1\\u{1b}[2J");
    }
}
