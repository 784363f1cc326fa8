//! Making signatures over ballots: with a key file, with an agent, with `ssh-keygen`.
//!
//! In: which key. Out: a [`Signer`]. A key file that is not encrypted signs in this process; what
//! needs a passphrase, a token or an RSA private key goes to `ssh-keygen`, whose business that is;
//! an agent is asked over its socket. Every signature is verified before it is given out.

mod agent;
mod file;
mod keygen;

pub use agent::Agent;
pub use file::{TrustFile, make_key, open_key, read_public_key, read_trusted};

use crate::domain::governance::key::PublicKey;
use crate::domain::governance::signature;
use crate::ports::{FailureKind, PortError, PortResult, Signer};

/// The signature, if it holds: whoever made it may have failed silently.
fn checked(key: &PublicKey, text: &str, armor: String) -> PortResult<String> {
    let holds = signature::from_armor(&armor)
        .and_then(|bytes| signature::verify(text.as_bytes(), &bytes))
        .map_err(|error| not_signed(key).because(error))?;
    if holds == *key {
        Ok(armor)
    } else {
        Err(not_signed(key).because(format!("another key signed: {}", holds.fingerprint())))
    }
}

fn not_signed(key: &PublicKey) -> PortError {
    PortError::failed(format!("cannot sign with the key {}", key.fingerprint()))
}

fn unusable(what: impl Into<String>) -> PortError {
    PortError::failed(what).kind(FailureKind::Usage)
}

/// How a key that needs a person is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Somebody is at a terminal and can be asked.
    Terminal,
    /// Nobody is: a key that would ask is refused.
    Nobody,
}

/// Whoever signs, as one type.
pub type AnySigner = Box<dyn Signer>;
