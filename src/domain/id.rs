//! Names and content identities, each a type of its own.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::text;

/// Why a piece of text is not an identity of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not {wanted}", text::quoted(found))]
pub struct ParseIdError {
    /// What was expected, as a noun phrase.
    pub wanted: &'static str,
    /// The text that was found.
    pub found: String,
}

/// A git object id: 20 bytes (SHA-1) or 32 bytes (SHA-256), shown as lower-case hex.
///
/// Ordered by bytes, SHA-1 ids before SHA-256 ids with the same prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    bytes: [u8; 32],
    len: u8,
}

impl ObjectId {
    /// The id with these raw bytes; `None` unless there are 20 or 32 of them.
    #[must_use]
    pub fn from_bytes(raw: &[u8]) -> Option<Self> {
        if raw.len() != 20 && raw.len() != 32 {
            return None;
        }
        let mut bytes = [0; 32];
        bytes[..raw.len()].copy_from_slice(raw);
        Some(Self { bytes, len: if raw.len() == 20 { 20 } else { 32 } })
    }

    /// The raw bytes, 20 or 32 of them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// True for the all-zero id, which git uses for "no object".
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.as_bytes().iter().all(|byte| *byte == 0)
    }

    /// The first 12 hex digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        HEXLOWER.encode(&self.bytes[..6])
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(self.as_bytes()))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

impl FromStr for ObjectId {
    type Err = ParseIdError;

    /// Full lower- or upper-case hex, 40 or 64 digits.
    fn from_str(hex: &str) -> Result<Self, Self::Err> {
        data_encoding::HEXLOWER_PERMISSIVE
            .decode(hex.as_bytes())
            .ok()
            .and_then(|raw| Self::from_bytes(&raw))
            .ok_or_else(|| ParseIdError { wanted: "a full git object id", found: hex.to_owned() })
    }
}

/// A content identity: `CIDv1`, codec raw, hash SHA-256, multibase base32 (`bafkrei…`).
///
/// Source: the CID specification; only this one form is written or accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid([u8; 32]);

/// Version 1, codec raw, multihash sha2-256 of 32 bytes.
const CID_PREFIX: [u8; 4] = [0x01, 0x55, 0x12, 0x20];

impl Cid {
    /// The identity of exactly these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The identity with this SHA-256 digest, for data that was hashed in pieces.
    #[must_use]
    pub fn from_sha256(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The SHA-256 digest.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut raw = [0; 36];
        raw[..4].copy_from_slice(&CID_PREFIX);
        raw[4..].copy_from_slice(&self.0);
        write!(f, "b{}", BASE32_NOPAD.encode(&raw).to_ascii_lowercase())
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cid({self})")
    }
}

impl FromStr for Cid {
    type Err = ParseIdError;

    fn from_str(shown: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseIdError { wanted: "a CIDv1 (raw, sha2-256, base32)", found: shown.to_owned() };
        let body = shown.strip_prefix('b').ok_or_else(wrong)?;
        if body.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(wrong());
        }
        let raw = BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).map_err(|_| wrong())?;
        match raw.strip_prefix(&CID_PREFIX) {
            Some(digest) => digest.try_into().map(Self).map_err(|_| wrong()),
            None => Err(wrong()),
        }
    }
}

/// A path inside a repository: bytes, separated by `/`, never empty for a real entry.
///
/// Ordered by bytes. In JSON it is a string: the path itself where it is UTF-8 without
/// control characters and without a leading `"`, otherwise git's C-style quoting (`"a\nb"`),
/// so that two different paths never look alike.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RepoPath(Vec<u8>);

impl RepoPath {
    /// A path from git's bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes as git has them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or(&[])
    }
}

impl fmt::Display for RepoPath {
    /// Inert text: the path, or its C-style quoting where it holds anything unusual.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::git_quoted(&self.0))
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepoPath({self})")
    }
}

impl From<&str> for RepoPath {
    fn from(path: &str) -> Self {
        Self(path.as_bytes().to_vec())
    }
}

/// What a module is called everywhere: unique in a workspace, printable, without white space.
///
/// It is made from data by [`crate::domain::discover`]; see `DESIGN` there for the order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ModuleName(String);

impl ModuleName {
    /// A name from text; what could disturb a terminal, a shell or a table is escaped.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(text::word(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<'de> Deserialize<'de> for ModuleName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|name| Self::new(&name))
    }
}

macro_rules! text_serde {
    ($($kind:ty),*) => {$(
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
text_serde!(ObjectId, Cid, RepoPath, ChangeId, ProposalId);

macro_rules! content_ids {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Cid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(shown: &str) -> Result<Self, Self::Err> {
                shown.parse().map(Self)
            }
        }
    )*};
}
content_ids!(
    /// Identity of a change: of its canonical [`Delta`](crate::domain::change::Delta), whatever base it stands on.
    ChangeId,
    /// Identity of a proposal: of its canonical [`Proposal`](crate::domain::proposal::Proposal).
    ProposalId
);

impl ProposalId {
    /// What stands before the part that differs: every identity of this form begins with it.
    const COMMON: usize = "bafkrei".len();

    /// Ten characters of the part that differs, for people: `bafkrei` stands before every identity.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[Self::COMMON..].chars().take(10).collect()
    }
}

impl FromStr for RepoPath {
    type Err = ParseIdError;

    /// The inverse of `Display`.
    fn from_str(shown: &str) -> Result<Self, Self::Err> {
        text::git_unquoted(shown)
            .map(Self)
            .ok_or_else(|| ParseIdError { wanted: "a repository path", found: shown.to_owned() })
    }
}
