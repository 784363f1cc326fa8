//! Public keys of principals, in OpenSSH's form.
//!
//! In: a line as `ssh-keygen` writes it. Out: a [`PublicKey`], whose text is exactly
//! `algorithm base64`: two lines that differ in their comment are one key. What is too weak to
//! decide anything (DSA, RSA below 3072 bits, an Ed25519 point of small order) is not a key here.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg};

use crate::domain::text;

/// Fewest bits of an RSA modulus.
pub const MIN_RSA_BITS: usize = 3072;

/// Most bits of an RSA modulus: verifying a larger one costs more than it is worth.
pub const MAX_RSA_BITS: usize = 4096;

/// Longest line that is looked at, in bytes.
const MAX_LINE: usize = 4096;

/// A public key that may sign ballots.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    data: KeyData,
    blob: Vec<u8>,
    line: String,
}

/// Why a text is no public key that may sign ballots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not an OpenSSH public key line.
    #[error("{} is not an OpenSSH public key: {why}", text::quoted(&text::clipped(found, 60)))]
    NotAKey {
        /// The text that was found.
        found: String,
        /// What is wrong with it.
        why: String,
    },
    /// Its algorithm is not one that may sign ballots.
    #[error("a key of the algorithm {} may not sign ballots (ed25519, ecdsa, rsa and the sk- kinds may)", text::quoted(.0))]
    Algorithm(String),
    /// An RSA key of a wrong size.
    #[error("an RSA key of {0} bits may not sign ballots: it needs {MIN_RSA_BITS} to {MAX_RSA_BITS}")]
    RsaSize(usize),
    /// An Ed25519 point that lets one signature hold for several messages, or no point at all.
    #[error("an Ed25519 key that is no point of full order may not sign ballots")]
    WeakPoint,
}

impl PublicKey {
    /// The key in this data, unless it is too weak.
    ///
    /// # Errors
    /// When it may not sign ballots.
    pub fn from_data(data: KeyData) -> Result<Self, KeyError> {
        let refused = |algorithm: Algorithm| Err(KeyError::Algorithm(algorithm.to_string()));
        match &data {
            KeyData::Ed25519(key) => full_order(&key.0)?,
            KeyData::SkEd25519(key) => full_order(&key.public_key().0)?,
            KeyData::Ecdsa(_) | KeyData::SkEcdsaSha2NistP256(_) => {}
            KeyData::Rsa(key) => {
                let bits = key.n.as_positive_bytes().map_or(0, |bytes| {
                    bytes.len() * 8 - bytes.first().map_or(0, |first| first.leading_zeros() as usize)
                });
                if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
                    return Err(KeyError::RsaSize(bits));
                }
            }
            other => return refused(other.algorithm()),
        }
        let whole = ssh_key::PublicKey::new(data, "");
        let unwritable = |error: ssh_key::Error| KeyError::NotAKey {
            found: whole.algorithm().to_string(),
            why: error.to_string(),
        };
        let blob = whole.to_bytes().map_err(unwritable)?;
        let line = whole.to_openssh().map_err(unwritable)?.trim_end().to_owned();
        Ok(Self { data: whole.key_data().clone(), blob, line })
    }

    /// The key's data, for verifying.
    #[must_use]
    pub fn data(&self) -> &KeyData {
        &self.data
    }

    /// `algorithm base64`, without a comment.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The key as it is encoded for the wire: what the base64 of its line holds.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The fingerprint as `ssh-keygen -l` shows it: `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.data.fingerprint(HashAlg::Sha256).to_string()
    }

    /// True for a key that lives in a FIDO token.
    #[must_use]
    pub fn is_in_token(&self) -> bool {
        matches!(self.data, KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_))
    }
}

fn full_order(bytes: &[u8; 32]) -> Result<(), KeyError> {
    match ed25519_dalek::VerifyingKey::from_bytes(bytes) {
        Ok(point) if !point.is_weak() => Ok(()),
        _ => Err(KeyError::WeakPoint),
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// One line, with or without a comment; options in front (`authorized_keys`) are refused.
    fn from_str(line: &str) -> Result<Self, KeyError> {
        let wrong = |why: &str| KeyError::NotAKey { found: line.to_owned(), why: why.to_owned() };
        let line = line.trim();
        if line.len() > MAX_LINE || line.contains(['\n', '\r']) {
            return Err(wrong("it is not one line of reasonable length"));
        }
        let mut words = line.split_whitespace();
        let (Some(algorithm), Some(base64)) = (words.next(), words.next()) else {
            return Err(wrong("it is not \"algorithm base64 comment\""));
        };
        if algorithm.contains("-cert-v01@") {
            return Err(KeyError::Algorithm(algorithm.to_owned()));
        }
        if algorithm == "ssh-dss" {
            return Err(KeyError::Algorithm(algorithm.to_owned()));
        }
        let key = ssh_key::PublicKey::from_openssh(&format!("{algorithm} {base64}"))
            .map_err(|error| wrong(&error.to_string()))?;
        Self::from_data(key.key_data().clone())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.line.cmp(&other.line)
    }
}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.line)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    /// Only the one form that is written: a comment or other white space is refused.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = String::deserialize(deserializer)?;
        let key: Self = line.parse().map_err(serde::de::Error::custom)?;
        if key.line == line {
            Ok(key)
        } else {
            Err(serde::de::Error::custom("a key line with more than algorithm and base64"))
        }
    }
}
