//! The members document: who decides, with which keys, and how many of them it takes.
//!
//! It is canonical JSON in the journal's store; its identity is stamped into every entry:
//!
//! ```json
//! {"epoch":1,"heal":false,"principals":[{"keys":["ssh-ed25519 AAAA…"],"name":"operator"}],
//!  "tracks":{"core":{"delay_ms":0,"expiry_ms":2592000000,"threshold":1},…},"v":1,"workspace":"bafkrei…"}
//! ```
//!
//! Only what [`Members::check`] accepts is ever a [`Members`] that was read. Keys are only added
//! to the format under a new version: an unknown key is refused, so that no older program decides
//! by a rule that it does not see.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::key::PublicKey;
use crate::domain::canonical::{self, CanonicalError};
use crate::domain::id::{Cid, ObjectId};
use crate::domain::proposal::Track;
use crate::domain::text;

/// The version of the format.
pub const MEMBERS_VERSION: u32 = 1;

/// Longest name of a principal.
pub const MAX_NAME: usize = 64;

/// Most principals.
pub const MAX_PRINCIPALS: usize = 1000;

/// Most keys of one principal.
pub const MAX_KEYS: usize = 100;

/// How long a proposal waits for its decision where nobody says otherwise: 30 days.
pub const DEFAULT_EXPIRY_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// Who decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// Format version, 1.
    pub v: u32,
    /// Which workspace they decide for: [`workspace_id`] of it.
    pub workspace: String,
    /// Counts the documents of a workspace, from 1.
    pub epoch: u64,
    /// Those who decide, by name.
    pub principals: Vec<Principal>,
    /// The rules of each track. On a track that is not listed nothing can be approved.
    pub tracks: BTreeMap<Track, TrackRule>,
    /// Whether the daemon may roll a broken module back by itself.
    pub heal: bool,
}

/// One who decides: a person or an organisation, however many keys it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Its name, unique: letters, digits and `.`, `_`, `-`, `@`, `+`.
    pub name: String,
    /// Its keys, sorted.
    pub keys: Vec<PublicKey>,
}

/// How a track decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackRule {
    /// How many principals must approve.
    pub threshold: u32,
    /// How long after that it is enacted at the earliest, milliseconds.
    pub delay_ms: i64,
    /// How long a proposal waits for its decision, milliseconds.
    pub expiry_ms: i64,
    /// Whether an approval counts only for the base that the voter saw. Written only when true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict_base: bool,
}

/// Why a document does not say who decides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// It is not canonical JSON.
    #[error("it is not canonical JSON: {0}")]
    Canonical(#[from] CanonicalError),
    /// It has another shape, an unknown key, or a key that may not sign.
    #[error("{0}")]
    Shape(String),
    /// It is of another version.
    #[error("it has version {0}, and this program knows {MEMBERS_VERSION}")]
    Version(u32),
    /// The workspace is empty or holds what no line can show.
    #[error("its workspace {} is not one word", text::quoted(.0))]
    Workspace(String),
    /// Epochs count from 1.
    #[error("its epoch is 0; epochs count from 1")]
    Epoch,
    /// Nobody decides.
    #[error("it has no principals")]
    NoPrincipals,
    /// More principals or keys than are looked at.
    #[error("it has more than {MAX_PRINCIPALS} principals, or one with more than {MAX_KEYS} keys")]
    TooMany,
    /// A name that cannot be shown and compared safely.
    #[error("{} is not a name: 1 to {MAX_NAME} letters, digits and . _ - @ + with a letter or digit first", text::quoted(.0))]
    Name(String),
    /// Two principals with one name.
    #[error("the name {0} stands twice")]
    DuplicateName(String),
    /// A principal without a key.
    #[error("{0} has no key")]
    NoKey(String),
    /// One key that stands twice: one signature would count for two.
    #[error("the key {key} of {name} stands twice")]
    DuplicateKey {
        /// Whose.
        name: String,
        /// Its fingerprint.
        key: String,
    },
    /// Names or keys out of order: one document has one form.
    #[error("its principals or their keys are not sorted")]
    Unsorted,
    /// No track can decide anything.
    #[error("it has no tracks")]
    NoTracks,
    /// A threshold that nobody or everybody misses.
    #[error("the track {} has the threshold {threshold}, and there are {principals} principals", .track.as_str())]
    Threshold {
        /// The track.
        track: Track,
        /// What it asks for.
        threshold: u32,
        /// How many there are.
        principals: usize,
    },
    /// A delay or an expiry that is no time.
    #[error("the track {} has a delay below 0, or an expiry of 0 or less or over ten years", .0.as_str())]
    Time(Track),
}

/// The longest delay and expiry: ten years.
const MAX_TIME_MS: i64 = 10 * 366 * 24 * 60 * 60 * 1000;

impl Members {
    /// The first document of a workspace: these principals, each track decided by a majority of
    /// them, and what changes the rules themselves by more than two thirds. Sorts what it is given.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn founding(workspace: String, mut principals: Vec<Principal>) -> Result<Self, MembersError> {
        principals.sort_by(|a, b| a.name.cmp(&b.name));
        for principal in &mut principals {
            principal.keys.sort();
        }
        let count = u32::try_from(principals.len()).map_err(|_| MembersError::TooMany)?;
        let rule = |track| {
            let threshold = match track {
                Track::Leaf | Track::Core | Track::Input => count / 2 + 1,
                Track::Policy | Track::Membership | Track::SelfUpgrade => count - count.saturating_sub(1) / 3,
            };
            (track, TrackRule { threshold, delay_ms: 0, expiry_ms: DEFAULT_EXPIRY_MS, strict_base: false })
        };
        let members = Self {
            v: MEMBERS_VERSION,
            workspace,
            epoch: 1,
            principals,
            tracks: Track::ALL.into_iter().map(rule).collect(),
            heal: false,
        };
        members.check()?;
        Ok(members)
    }

    /// The document in these canonical bytes.
    ///
    /// # Errors
    /// With the reason why it is none.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, MembersError> {
        let value = canonical::parse_canonical(bytes)?;
        let members: Self =
            serde_json::from_value(value).map_err(|error| MembersError::Shape(error.to_string()))?;
        members.check()?;
        Ok(members)
    }

    /// The bytes that the identity is of.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn to_canonical(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_canonical(self)
    }

    /// The identity of the document.
    ///
    /// # Errors
    /// When a text in it has no canonical form.
    pub fn cid(&self) -> Result<Cid, CanonicalError> {
        Ok(Cid::of(&self.to_canonical()?))
    }

    /// What every document must fulfil.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), MembersError> {
        if self.v != MEMBERS_VERSION {
            return Err(MembersError::Version(self.v));
        }
        if self.workspace.len() > 256 || text::word(&self.workspace) != self.workspace {
            return Err(MembersError::Workspace(self.workspace.clone()));
        }
        if self.epoch == 0 {
            return Err(MembersError::Epoch);
        }
        self.check_principals()?;
        if self.tracks.is_empty() {
            return Err(MembersError::NoTracks);
        }
        let principals = self.principals.len();
        for (track, rule) in &self.tracks {
            if rule.threshold == 0 || usize::try_from(rule.threshold).is_ok_and(|asked| asked > principals) {
                return Err(MembersError::Threshold { track: *track, threshold: rule.threshold, principals });
            }
            let times =
                (0..=MAX_TIME_MS).contains(&rule.delay_ms) && (1..=MAX_TIME_MS).contains(&rule.expiry_ms);
            if !times {
                return Err(MembersError::Time(*track));
            }
        }
        Ok(())
    }

    fn check_principals(&self) -> Result<(), MembersError> {
        if self.principals.is_empty() {
            return Err(MembersError::NoPrincipals);
        }
        if self.principals.len() > MAX_PRINCIPALS
            || self.principals.iter().any(|one| one.keys.len() > MAX_KEYS)
        {
            return Err(MembersError::TooMany);
        }
        let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for principal in &self.principals {
            if !is_name(&principal.name) {
                return Err(MembersError::Name(principal.name.clone()));
            }
            // Names that differ only in case are one name to a reader.
            if !names.insert(principal.name.to_ascii_lowercase()) {
                return Err(MembersError::DuplicateName(principal.name.clone()));
            }
            if principal.keys.is_empty() {
                return Err(MembersError::NoKey(principal.name.clone()));
            }
            for key in &principal.keys {
                if !keys.insert(key) {
                    let (name, key) = (principal.name.clone(), key.fingerprint());
                    return Err(MembersError::DuplicateKey { name, key });
                }
            }
        }
        let sorted = self.principals.is_sorted_by(|a, b| a.name < b.name)
            && self.principals.iter().all(|principal| principal.keys.is_sorted());
        if sorted { Ok(()) } else { Err(MembersError::Unsorted) }
    }

    /// The principal with this name.
    #[must_use]
    pub fn principal(&self, name: &str) -> Option<&Principal> {
        self.principals.iter().find(|principal| principal.name == name)
    }

    /// Whose key it is.
    #[must_use]
    pub fn owner(&self, key: &PublicKey) -> Option<&Principal> {
        self.principals.iter().find(|principal| principal.keys.contains(key))
    }
}

/// True for what may name a principal.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte))
        && name.as_bytes()[0].is_ascii_alphanumeric()
}

/// What names a workspace: made of the first commit of its history, which all clones share.
#[must_use]
pub fn workspace_id(first: ObjectId) -> String {
    Cid::of(format!("lambda-os workspace v1\n{first}\n").as_bytes()).to_string()
}

#[cfg(test)]
mod tests;
