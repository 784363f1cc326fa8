//! `ssh-keygen -Y sign`, for keys that need a passphrase, a token or an older form of file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Presence, checked, not_signed, unusable};
use crate::adapters::process::Invocation;
use crate::domain::governance::key::PublicKey;
use crate::domain::governance::signature::{MAX_ARMOR, NAMESPACE};
use crate::domain::text;
use crate::ports::{FailureKind, PortResult, Signer};

/// How long somebody may take to type a passphrase or to touch a token.
const PATIENCE: Duration = Duration::from_mins(2);

/// A key file that `ssh-keygen` signs with.
#[derive(Debug)]
pub(super) struct Keygen {
    file: PathBuf,
    key: PublicKey,
    presence: Presence,
    asks: bool,
}

impl Keygen {
    pub(super) fn new(file: &Path, key: PublicKey, presence: Presence) -> PortResult<Self> {
        // Two programs must mean the same file.
        let file = std::path::absolute(file)
            .map_err(|error| unusable("cannot tell where the key is").because(error))?;
        let asks = key.is_in_token();
        Ok(Self { file, key, presence, asks })
    }

    /// The same key, which asks for its passphrase.
    pub(super) fn asks(mut self) -> Self {
        self.asks = true;
        self
    }
}

impl Signer for Keygen {
    fn key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&self, text: &str) -> PortResult<String> {
        let failed = || not_signed(&self.key);
        if self.asks && self.presence == Presence::Nobody {
            return Err(failed()
                .kind(FailureKind::Usage)
                .because("it asks for a passphrase or a touch, and there is no terminal")
                .hint("ssh-add it, or sign the text of lambda-os proposal ballot with ssh-keygen -Y sign"));
        }
        let place = tempfile::Builder::new()
            .prefix("lambda-os-ballot-")
            .tempdir()
            .map_err(|error| failed().because(error))?;
        let message = place.path().join("ballot");
        std::fs::write(&message, text).map_err(|error| failed().because(error))?;
        let mut invocation = Invocation::new("ssh-keygen")
            .args(["-Y", "sign", "-n", NAMESPACE, "-f"])
            .arg(&self.file)
            .arg(&message)
            .deadline(PATIENCE)
            .output_cap(64 * 1024);
        if self.presence == Presence::Terminal {
            invocation = invocation.at_the_terminal();
        }
        let output = invocation
            .run()
            .map_err(|error| failed().because(error).hint("ssh-keygen is part of OpenSSH"))?;
        if !output.status.success() {
            let said = text::inert_bytes(output.stderr.trim_ascii());
            return Err(failed().because(format!("ssh-keygen: {}", text::clipped(&said, 300))));
        }
        let armor = std::fs::read_to_string(place.path().join("ballot.sig"))
            .map_err(|error| failed().because(error))?;
        if armor.len() > MAX_ARMOR {
            return Err(failed().because("the signature is too large"));
        }
        checked(&self.key, text, armor)
    }
}
