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
use crate::domain::id::{Cid, ModuleName, ObjectId};
use crate::domain::proposal::Track;
use crate::domain::text;

/// The version of the format that is written; version 1, which has none of the keys that may be
/// absent, is read too.
pub const MEMBERS_VERSION: u32 = 2;

/// Longest name of a principal.
pub const MAX_NAME: usize = 64;

/// Most principals.
pub const MAX_PRINCIPALS: usize = 1000;

/// The most that one principal weighs.
pub const MAX_WEIGHT: u32 = 1000;

/// Most keys of one principal.
pub const MAX_KEYS: usize = 100;

/// How long a proposal waits for its decision where nobody says otherwise: 30 days.
pub const DEFAULT_EXPIRY_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// Who decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// Format version, 2 or 1.
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
    /// The revisions below which it never takes a module back: the target must be one of them or
    /// have it in its history.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub floor: BTreeMap<ModuleName, ObjectId>,
    /// The document that this one takes the place of; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Cid>,
    /// Until when it decides, Unix milliseconds; afterwards only the membership track does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<i64>,
}

/// One who decides: a person or an organisation, however many keys it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Its name, unique: letters, digits and `.`, `_`, `-`, `@`, `+`.
    pub name: String,
    /// Its keys, sorted.
    pub keys: Vec<PublicKey>,
    /// How much its approval weighs. Written only when it is not 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
    /// What it is beside a principal, sorted: tracks name the roles that decide there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// When its keys hold, by fingerprint (`SHA256:…`); a key that is not listed always does.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub terms: BTreeMap<String, Term>,
    /// Who speaks for it where it does not speak itself, by track.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub delegates: BTreeMap<Track, Delegation>,
}

/// When a key holds, Unix milliseconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// From when; absent for always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<i64>,
    /// Until when; absent for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
}

/// Who speaks for a principal on a track. The own ballot of a principal always goes before, and a
/// delegate's delegate speaks for nobody but the delegate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// The principal that speaks.
    pub to: String,
    /// Until when, Unix milliseconds.
    pub until_ms: i64,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_one(weight: &u32) -> bool {
    *weight == 1
}

/// How a track decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackRule {
    /// How much weight of distinct principals must approve: how many of them, where each weighs 1.
    pub threshold: u32,
    /// How long after that it is enacted at the earliest, milliseconds.
    pub delay_ms: i64,
    /// How long a proposal waits for its decision, milliseconds.
    pub expiry_ms: i64,
    /// Whether an approval counts only for the base that the voter saw. Written only when true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict_base: bool,
    /// Who decides here: principals with one of these roles, sorted; everyone where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// How many principals of a role must be among those who approve.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub at_least: BTreeMap<String, u32>,
    /// Who may hold up what was approved; where absent, a veto is a rejection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub veto: Option<VetoRule>,
    /// The program that alone decides here, by the identity of its bytes; people then only advise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Cid>,
}

impl TrackRule {
    /// A rule with nothing but a threshold and times.
    #[must_use]
    pub fn plain(threshold: u32, delay_ms: i64, expiry_ms: i64) -> Self {
        Self {
            threshold,
            delay_ms,
            expiry_ms,
            strict_base: false,
            roles: Vec::new(),
            at_least: BTreeMap::new(),
            veto: None,
            program: None,
        }
    }
}

/// Who may hold up what was approved on a track. It suspends, and repeals nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VetoRule {
    /// Whose vetoes count: principals with one of these roles, sorted; everyone's where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// How many principals must veto.
    pub quorum: u32,
    /// How far ahead a veto may end at most, milliseconds: one that ends later does not count yet.
    pub expiry_ms: i64,
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
    /// It has a key that its version does not have.
    #[error("it has version 1, and something that only version 2 has")]
    Newer,
    /// Every document but the first names the one before.
    #[error("the document of epoch 1, and only that, names none before")]
    Previous,
    /// A principal with something impossible.
    #[error("{name} has {what}")]
    Principal {
        /// Whose.
        name: String,
        /// What, as words.
        what: &'static str,
    },
    /// A role that too few have, or that nothing is asked of.
    #[error("the track {} asks for the role {}, which too few principals have", .track.as_str(), text::quoted(role))]
    Role {
        /// The track.
        track: Track,
        /// The role.
        role: String,
    },
    /// A veto that nobody or everybody misses.
    #[error("the track {} has a veto quorum of 0, or of more than may veto", .0.as_str())]
    Veto(Track),
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
            (track, TrackRule::plain(threshold, 0, DEFAULT_EXPIRY_MS))
        };
        let members = Self {
            v: MEMBERS_VERSION,
            workspace,
            epoch: 1,
            principals,
            tracks: Track::ALL.into_iter().map(rule).collect(),
            heal: false,
            floor: BTreeMap::new(),
            previous: None,
            expires_ms: None,
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
        if !(1..=MEMBERS_VERSION).contains(&self.v) {
            return Err(MembersError::Version(self.v));
        }
        if self.v == 1 && !self.is_of_the_first_version() {
            return Err(MembersError::Newer);
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
        if (self.epoch == 1) != self.previous.is_none() && self.v > 1 {
            return Err(MembersError::Previous);
        }
        let principals = self.principals.len();
        for (track, rule) in &self.tracks {
            self.check_rule(*track, rule)?;
            let weight: u64 = self.voters(rule).map(|one| u64::from(one.weight)).sum();
            if rule.threshold == 0 || u64::from(rule.threshold) > weight {
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

    /// Whether it has nothing that version 1 does not know.
    fn is_of_the_first_version(&self) -> bool {
        let plain = |one: &Principal| {
            one.weight == 1 && one.roles.is_empty() && one.terms.is_empty() && one.delegates.is_empty()
        };
        let bare = |rule: &TrackRule| {
            rule.roles.is_empty() && rule.at_least.is_empty() && rule.veto.is_none() && rule.program.is_none()
        };
        self.floor.is_empty()
            && self.previous.is_none()
            && self.expires_ms.is_none()
            && self.principals.iter().all(plain)
            && self.tracks.values().all(bare)
    }

    fn check_rule(&self, track: Track, rule: &TrackRule) -> Result<(), MembersError> {
        let veto = rule.veto.iter().flat_map(|veto| &veto.roles);
        for role in rule.roles.iter().chain(rule.at_least.keys()).chain(veto) {
            if !self.principals.iter().any(|one| one.roles.contains(role)) {
                return Err(MembersError::Role { track, role: role.clone() });
            }
        }
        for (role, asked) in &rule.at_least {
            let there = self.voters(rule).filter(|one| one.roles.contains(role)).count();
            if *asked == 0 || usize::try_from(*asked).is_ok_and(|asked| asked > there) {
                return Err(MembersError::Role { track, role: role.clone() });
            }
        }
        let sorted = |roles: &[String]| roles.is_sorted_by(|a, b| a < b);
        if !sorted(&rule.roles) || rule.veto.as_ref().is_some_and(|veto| !sorted(&veto.roles)) {
            return Err(MembersError::Unsorted);
        }
        match &rule.veto {
            Some(veto) if !(1..=MAX_TIME_MS).contains(&veto.expiry_ms) => Err(MembersError::Time(track)),
            Some(veto) if veto.quorum == 0 => Err(MembersError::Veto(track)),
            Some(veto)
                if usize::try_from(veto.quorum).is_ok_and(|asked| asked > self.vetoers(veto).count()) =>
            {
                Err(MembersError::Veto(track))
            }
            _ => Ok(()),
        }
    }

    /// The principals that decide by a rule.
    pub fn voters<'a>(&'a self, rule: &'a TrackRule) -> impl Iterator<Item = &'a Principal> {
        self.principals.iter().filter(|one| one.has_one_of(&rule.roles))
    }

    /// The principals whose vetoes count by a rule.
    pub fn vetoers<'a>(&'a self, rule: &'a VetoRule) -> impl Iterator<Item = &'a Principal> {
        self.principals.iter().filter(|one| one.has_one_of(&rule.roles))
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
            self.check_principal(principal)?;
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

    /// Roles, weight, terms and delegates of one principal.
    fn check_principal(&self, principal: &Principal) -> Result<(), MembersError> {
        let wrong = |what| Err(MembersError::Principal { name: principal.name.clone(), what });
        if !(1..=MAX_WEIGHT).contains(&principal.weight) {
            return wrong("a weight that is 0 or over 1000");
        }
        if !principal.roles.iter().all(|role| is_name(role)) || !principal.roles.is_sorted_by(|a, b| a < b) {
            return wrong("roles that are no names, or are not sorted");
        }
        for (key, term) in &principal.terms {
            let is_theirs = principal.keys.iter().any(|one| one.fingerprint() == *key);
            let times = match (term.from_ms, term.until_ms) {
                (Some(from), Some(until)) => from <= until,
                (None, None) => false,
                _ => true,
            };
            if !is_theirs || !times {
                return wrong("a term that is of no key of theirs, or is no time");
            }
        }
        for delegation in principal.delegates.values() {
            // Whether they are sorted is not known yet.
            let is_known = self.principals.iter().any(|one| one.name == delegation.to);
            if delegation.to == principal.name || !is_known {
                return wrong("a delegate who is no other principal");
            }
        }
        Ok(())
    }

    /// The principal with this name.
    #[must_use]
    pub fn principal(&self, name: &str) -> Option<&Principal> {
        // They are sorted: `check` sees to it.
        let at = self.principals.binary_search_by(|principal| principal.name.as_str().cmp(name)).ok()?;
        self.principals.get(at)
    }

    /// Whether its time is over: then it grants nothing, and only its successor is decided on.
    #[must_use]
    pub fn has_run_out(&self, now_ms: i64) -> bool {
        self.expires_ms.is_some_and(|ends| ends < now_ms)
    }

    /// Whose key it is.
    #[must_use]
    pub fn owner(&self, key: &PublicKey) -> Option<&Principal> {
        self.principals.iter().find(|principal| principal.keys.contains(key))
    }
}

impl Principal {
    /// A principal with keys and nothing else.
    #[must_use]
    pub fn with_keys(name: String, keys: Vec<PublicKey>) -> Self {
        Self { name, keys, weight: 1, roles: Vec::new(), terms: BTreeMap::new(), delegates: BTreeMap::new() }
    }

    /// Whether it has one of these roles; where none is asked for, it has.
    #[must_use]
    pub fn has_one_of(&self, roles: &[String]) -> bool {
        roles.is_empty() || roles.iter().any(|role| self.roles.contains(role))
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
