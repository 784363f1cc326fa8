//! An SSH agent, asked over its socket (draft-miller-ssh-agent): which keys it has, and to sign.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ssh_key::HashAlg;

use super::{checked, not_signed, unusable};
use crate::domain::governance::key::PublicKey;
use crate::domain::governance::signature;
use crate::domain::text;
use crate::ports::{PortError, PortResult, Signer};

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// An RSA key signs with SHA-512; other keys ignore it.
const RSA_SHA2_512: u32 = 4;

/// Longest answer, as OpenSSH's own bound.
const MAX_ANSWER: usize = 256 * 1024;

/// Most keys that are looked at.
const MAX_KEYS: u32 = 2048;

/// How long an agent may take: somebody may have to confirm or touch a token.
const PATIENCE: Duration = Duration::from_mins(2);

/// An agent.
#[derive(Debug, Clone)]
pub struct Agent {
    socket: PathBuf,
}

impl Agent {
    /// The agent behind this socket; it is asked only when needed.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// The keys that it has and that may sign ballots, in its order.
    ///
    /// # Errors
    /// When it cannot be reached or does not answer.
    pub fn keys(&self) -> PortResult<Vec<PublicKey>> {
        let answer = self.ask(REQUEST_IDENTITIES, &[])?;
        let mut rest = self.expect(&answer, IDENTITIES_ANSWER)?;
        let count = number(&mut rest).ok_or_else(|| self.nonsense())?;
        let mut keys = Vec::new();
        for _ in 0..count.min(MAX_KEYS) {
            let blob = bytes(&mut rest).ok_or_else(|| self.nonsense())?;
            bytes(&mut rest).ok_or_else(|| self.nonsense())?;
            // Certificates and what this program does not know are no keys for ballots.
            if let Some(key) = ssh_key::PublicKey::from_bytes(blob)
                .ok()
                .and_then(|key| PublicKey::from_data(key.key_data().clone()).ok())
            {
                keys.push(key);
            }
        }
        Ok(keys)
    }

    /// Who signs with this key of the agent.
    ///
    /// # Errors
    /// Usage when the agent does not have it; as [`Self::keys`].
    pub fn signer(&self, key: &PublicKey) -> PortResult<AgentKey> {
        if self.keys()?.contains(key) {
            return Ok(AgentKey { agent: self.clone(), key: key.clone() });
        }
        Err(unusable(format!("the ssh-agent does not have the key {}", key.fingerprint()))
            .hint("ssh-add KEY"))
    }

    fn ask(&self, kind: u8, body: &[u8]) -> PortResult<Vec<u8>> {
        let exchange = || -> std::io::Result<Vec<u8>> {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            let length = u32::try_from(body.len() + 1).map_err(std::io::Error::other)?;
            stream.write_all(&[&length.to_be_bytes()[..], &[kind], body].concat())?;
            let mut header = [0; 4];
            stream.read_exact(&mut header)?;
            let length = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
            if length > MAX_ANSWER {
                return Err(std::io::Error::other("its answer is too large"));
            }
            let mut answer = vec![0; length];
            stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        exchange().map_err(|error| self.failed().because(error))
    }

    fn expect<'a>(&self, answer: &'a [u8], kind: u8) -> PortResult<&'a [u8]> {
        match answer.split_first() {
            Some((found, rest)) if *found == kind => Ok(rest),
            Some((found, _)) if *found == FAILURE => Err(self.failed().because("it refused")),
            _ => Err(self.nonsense()),
        }
    }

    fn failed(&self) -> PortError {
        let socket = text::git_quoted(self.socket.as_os_str().as_encoded_bytes());
        PortError::failed(format!("cannot use the ssh-agent at {socket}"))
            .hint("give a key file with --key, or start ssh-agent and add the key to it")
    }

    fn nonsense(&self) -> PortError {
        self.failed().because("its answer makes no sense")
    }
}

/// One key of an agent.
#[derive(Debug)]
pub struct AgentKey {
    agent: Agent,
    key: PublicKey,
}

impl Signer for AgentKey {
    fn key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&self, text: &str) -> PortResult<String> {
        let because = |error| not_signed(&self.key).because(error);
        let data = signature::signed_data(HashAlg::Sha512, text.as_bytes()).map_err(because)?;
        let blob = self.key.blob();
        let mut body = Vec::new();
        for part in [blob, &data] {
            body.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            body.extend(part);
        }
        body.extend(RSA_SHA2_512.to_be_bytes());
        let answer = self.agent.ask(SIGN_REQUEST, &body)?;
        let mut rest = self.agent.expect(&answer, SIGN_RESPONSE)?;
        let raw = bytes(&mut rest).ok_or_else(|| self.agent.nonsense())?;
        checked(&self.key, text, signature::assemble(&self.key, raw).map_err(because)?)
    }
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_be_bytes(*head))
}

fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(number(rest)?).ok()?;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}
