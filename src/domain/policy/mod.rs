//! The policy document: by which rules proposals are made and judged, and what the rules find.
//!
//! Canonical JSON in the journal's store; its identity is part of every proposal and stamped into
//! every entry. A proposal is judged by the policy that was in force when it was made.

//!
//! ```text
//! document + facts → rules → findings      judged by the rules that are set, nothing else
//! ```

pub mod bounds;
pub mod contents;
pub mod facts;
pub mod finding;
pub mod found;
pub mod pattern;
pub mod rules;
mod slip;

pub use bounds::Bounds;
pub use finding::{Finding, Severity};
use rules::Rules;
pub(in crate::domain) use slip::slip;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::canonical::{self, CanonicalError};
use crate::domain::governance::members::Members;
use crate::domain::heal::Rung;
use crate::domain::id::Cid;
use crate::domain::proposal::Track;
use crate::domain::text;

/// The version of the format that is written; version 1, which has none of the keys that may be
/// absent, is read too.
pub const POLICY_VERSION: u32 = 2;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Format version, 2 or 1.
    pub v: u32,
    /// Most proposals that wait for a decision at once; what is over it waits unmade.
    pub max_open_proposals: u32,
    /// Days after which a proposal that nobody decided ends. A track may have less time.
    pub proposal_days: u32,
    /// Whether something that no verification has looked at may be approved.
    pub allow_unverified: bool,
    /// How much may be done without a person, by track: what the configuration can only lower.
    /// A track that is not listed is assisted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rungs: BTreeMap<Track, Rung>,
    /// What may be enacted without a ballot on tracks that are bounded; absent, nothing may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Bounds>,
    /// The program that narrows what may be done on a track, by the identity of its bytes: it may
    /// reject or make wait what ballots approve.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<Track, Cid>,
    /// The rules that judge proposals, by id.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub rules: Rules,
}

/// Why a document is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is not canonical JSON.
    #[error("it is not canonical JSON: {0}")]
    Canonical(#[from] CanonicalError),
    /// It has another shape or an unknown key.
    #[error("{0}")]
    Shape(String),
    /// It is of another version.
    #[error("it has version {0}, and this program knows {POLICY_VERSION}")]
    Version(u32),
    /// It has a key that its version does not have.
    #[error("version 1 has no {0}")]
    Newer(&'static str),
    /// Bounds that say nothing, or something else than was meant.
    #[error("{0}")]
    Bounds(&'static str),
    /// A number that leaves nothing possible, or no bound.
    #[error("{0} must be 1 to {1}")]
    Range(&'static str, u32),
    /// The same could be written in another way: a document has one form.
    #[error("it is not written in its one form: every key of a rule stands there, and lists are sorted")]
    NotItsForm,
    /// It is not TOML.
    #[error("it is not TOML: {0}")]
    Toml(String),
}

impl Default for Policy {
    /// What `init` adopts.
    fn default() -> Self {
        Self {
            v: POLICY_VERSION,
            max_open_proposals: 100,
            proposal_days: 30,
            allow_unverified: true,
            rungs: BTreeMap::new(),
            bounds: None,
            programs: BTreeMap::new(),
            rules: Rules::default(),
        }
    }
}

impl Policy {
    /// The policy in these canonical bytes.
    ///
    /// # Errors
    /// With the reason why it is none.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, PolicyError> {
        let value = canonical::parse_canonical(bytes)?;
        let policy = Self::from_value(value)?;
        if policy.to_canonical()? != bytes {
            return Err(PolicyError::NotItsForm);
        }
        Ok(policy)
    }

    /// The policy that a person wrote: TOML, or JSON where it begins with a brace. Keys of rules that
    /// are left out have their default.
    ///
    /// # Errors
    /// With the reason why it is none, and the nearest right name where one is not known.
    pub fn from_text(text: &str) -> Result<Self, PolicyError> {
        let value = if text.trim_start().starts_with('{') {
            canonical::parse(text.as_bytes())?
        } else {
            let toml = |error: toml::de::Error| PolicyError::Toml(text::inert(error.to_string().trim()));
            toml::from_str(text).map_err(toml)?
        };
        Self::from_value(value)
    }

    /// The policy as a person edits it.
    ///
    /// # Errors
    /// Never for a policy that was read or is the default.
    pub fn to_toml(&self) -> Result<String, CanonicalError> {
        toml::to_string_pretty(self).map_err(|error| CanonicalError::Custom(error.to_string()))
    }

    /// The policy that this value says; keys that are left out have their default.
    ///
    /// # Errors
    /// As [`Self::from_text`].
    pub(in crate::domain) fn from_value(value: serde_json::Value) -> Result<Self, PolicyError> {
        let policy: Self =
            serde_json::from_value(value).map_err(|error| PolicyError::Shape(slip(&error.to_string())))?;
        policy.check()?;
        Ok(policy)
    }

    /// What every document must fulfil.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), PolicyError> {
        if !(1..=POLICY_VERSION).contains(&self.v) {
            return Err(PolicyError::Version(self.v));
        }
        if self.v == 1 && !self.rungs.is_empty() {
            return Err(PolicyError::Newer("rungs"));
        }
        if self.v == 1 && self.bounds.is_some() {
            return Err(PolicyError::Newer("bounds"));
        }
        if self.v == 1 && !self.programs.is_empty() {
            return Err(PolicyError::Newer("programs"));
        }
        if let Some(fault) = self.bounds.as_ref().and_then(Bounds::fault) {
            return Err(PolicyError::Bounds(fault));
        }
        if self.v == 1 && !self.rules.is_empty() {
            return Err(PolicyError::Newer("rules"));
        }
        for (name, value, most) in [
            ("max_open_proposals", self.max_open_proposals, 10_000),
            ("proposal_days", self.proposal_days, 3_650),
        ] {
            if !(1..=most).contains(&value) {
                return Err(PolicyError::Range(name, most));
            }
        }
        Ok(())
    }

    /// The bytes that the identity is of.
    ///
    /// # Errors
    /// Never for a policy that was read or is the default.
    pub fn to_canonical(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_canonical(self)
    }

    /// The identity of the document.
    ///
    /// # Errors
    /// As [`Self::to_canonical`].
    pub fn cid(&self) -> Result<Cid, CanonicalError> {
        Ok(Cid::of(&self.to_canonical()?))
    }

    /// How much may be done without a person on a track.
    #[must_use]
    pub fn rung(&self, track: Track) -> Rung {
        self.rungs.get(&track).copied().unwrap_or(Rung::Assisted)
    }

    /// When a proposal made at `made_ms` ends undecided, Unix milliseconds: the shorter of what the
    /// policy and the track allow.
    #[must_use]
    pub fn expires_ms(&self, members: &Members, track: Track, made_ms: i64) -> i64 {
        let ours = i64::from(self.proposal_days) * DAY_MS;
        let theirs = members.tracks.get(&track).map_or(ours, |rule| rule.expiry_ms);
        made_ms.saturating_add(ours.min(theirs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_read_again_and_every_slip_is_refused() {
        let bytes = Policy::default().to_canonical().unwrap();
        assert_eq!(Policy::from_canonical(&bytes), Ok(Policy::default()));
        let text = String::from_utf8(bytes).unwrap();
        for (from, to, said) in [
            ("\"v\":2", "\"v\":3", "version 3"),
            ("100", "0", "max_open_proposals must be"),
            ("30", "3651", "proposal_days must be"),
            ("allow_unverified", "allow_unverifed", "did you mean allow_unverified?"),
            ("true", "1", "expected a boolean"),
            ("{", "{ ", "not canonical"),
        ] {
            let error = Policy::from_canonical(text.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn what_a_person_writes_becomes_the_one_form_and_is_shown_again() {
        let written = "
            v = 2
            max_open_proposals = 10
            proposal_days = 3
            allow_unverified = false
            [rules.pin-coherence]
            everywhere = true
        ";
        let policy = Policy::from_text(written).unwrap();
        assert!(policy.rules.pin_coherence.as_ref().is_some_and(|rule| rule.everywhere));
        let bytes = policy.to_canonical().unwrap();
        assert_eq!(Policy::from_canonical(&bytes), Ok(policy.clone()));
        assert_eq!(Policy::from_text(&policy.to_toml().unwrap()), Ok(policy.clone()));
        assert_eq!(Policy::from_text(std::str::from_utf8(&bytes).unwrap()), Ok(policy));
        // A key left out means its default: the document that is signed says it.
        let short = String::from_utf8(bytes).unwrap().replace(r#","severity":"deny""#, "");
        assert_eq!(Policy::from_canonical(short.as_bytes()), Err(PolicyError::NotItsForm));
        for (slip, said) in [
            ("v = 2\nmax_open_proposal = 1", "did you mean max_open_proposals?"),
            ("v = ", "not TOML"),
            ("{\"v\":2,\"v\":2}", "twice"),
        ] {
            let error = Policy::from_text(slip).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
