//! Key files: OpenSSH's private keys, and public keys that name one in the agent.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::keygen::Keygen;
use super::{Agent, AnySigner, Presence, checked, not_signed, unusable};
use crate::adapters::durable::{self, Disk as _, Durability, RealDisk};
use crate::domain::governance::allowed_signers::{self, Signers};
use crate::domain::governance::key::PublicKey;
use crate::domain::governance::signature::NAMESPACE;
use crate::domain::text;
use crate::ports::{PortError, PortResult, Signer};

/// Largest key file that is read.
const MAX_FILE: u64 = 64 * 1024;

/// Largest file of many keys that is read.
const MAX_SIGNERS: u64 = 1 << 20;

const PRIVATE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";

/// Who signs with the key in this file: a private key, or a public key whose private half the
/// agent at `agent` has.
///
/// # Errors
/// Usage when it is no key that may sign, is open to others, or needs a person who is not there.
pub fn open_key(path: &Path, presence: Presence, agent: Option<&Path>) -> PortResult<AnySigner> {
    let (content, mode) = read(path, MAX_FILE)?;
    if !content.trim_start().starts_with("-----BEGIN ") {
        let key = public_key(path, &content)?;
        return match agent {
            Some(socket) => Ok(Box::new(Agent::new(socket).signer(&key)?)),
            None => Err(unusable(format!("{} is a public key, and no ssh-agent is at hand", shown(path)))
                .hint("give the private key, or start ssh-agent and add the key to it")),
        };
    }
    if mode & 0o077 != 0 {
        return Err(unusable(format!("cannot use the key {}: others may read or write it", shown(path)))
            .hint(format!("chmod 600 {}", shown(path))));
    }
    // What this program cannot read (older forms, some P-521 keys) is left to ssh-keygen; which key
    // it is says the public half beside it.
    let parsed = if content.trim_start().starts_with(PRIVATE) {
        PrivateKey::from_openssh(&content).map_err(|error| Some(error.to_string()))
    } else {
        Err(None)
    };
    let private = match parsed {
        Ok(private) => private,
        Err(why) => {
            let key = read_public_key(&public_half(path)).map_err(|error| match why {
                Some(why) => unusable(format!("{} is not a private key that can be read", shown(path)))
                    .because(why)
                    .hint("with its public half beside it, as KEY.pub, ssh-keygen signs with it"),
                None => error,
            })?;
            return Keygen::new(path, key, presence).map(|signer| Box::new(signer) as AnySigner);
        }
    };
    let key = PublicKey::from_data(private.public_key().key_data().clone())
        .map_err(|error| unusable(format!("cannot sign with {}", shown(path))).because(error))?;
    match private.key_data() {
        KeypairData::Ed25519(_) | KeypairData::Ecdsa(_) => Ok(Box::new(FileKey { key, private })),
        // RSA too: the library's private operations are not constant in time (RUSTSEC-2023-0071).
        _ => Keygen::new(path, key, presence)
            .map(|signer| Box::new(if private.is_encrypted() { signer.asks() } else { signer }) as AnySigner),
    }
}

/// The public key in a file such as `id_ed25519.pub`, with its comment left out.
///
/// # Errors
/// Usage when the file holds no key that may sign.
pub fn read_public_key(path: &Path) -> PortResult<PublicKey> {
    let (content, _) = read(path, MAX_FILE)?;
    public_key(path, &content)
}

/// What a file says about whom to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustFile {
    /// One public key.
    Key(PublicKey),
    /// An `allowed_signers` file.
    Signers(Signers),
}

/// The public key in a file, or the keys of an `allowed_signers` file.
///
/// # Errors
/// Usage when it is neither, or holds what cannot be taken over.
pub fn read_trusted(path: &Path) -> PortResult<TrustFile> {
    let (content, _) = read(path, MAX_SIGNERS)?;
    if !allowed_signers::is_one(&content) {
        return public_key(path, &content).map(TrustFile::Key);
    }
    let wrong = || unusable(format!("cannot take the keys from {}", shown(path)));
    let signers = allowed_signers::parse(&content).map_err(|error| {
        wrong().because(error).hint("mend the line, or trust single keys: --trust KEY.pub --as NAME")
    })?;
    Ok(TrustFile::Signers(signers))
}

fn public_key(path: &Path, content: &str) -> PortResult<PublicKey> {
    let mut lines = content.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let wrong = || unusable(format!("cannot take the key from {}", shown(path)));
    match (lines.next(), lines.next()) {
        (Some(line), None) => line
            .parse()
            .map_err(|error| wrong().hint("give the file that ssh-keygen wrote as KEY.pub").because(error)),
        (None, _) => Err(wrong().because("it is empty")),
        (Some(_), Some(_)) => Err(wrong().because("it holds more than one line; one file holds one key")),
    }
}

/// Make an Ed25519 key at `path` with rights 0600 and its public half at `path.pub`, unless it is
/// there already; a key made before a crash is taken up.
///
/// # Errors
/// When it cannot be written, or what is there is no key.
pub fn make_key(path: &Path, comment: &str) -> PortResult<PublicKey> {
    let beside = public_half(path);
    if path.exists() {
        let signer = open_key(path, Presence::Nobody, None)?;
        return Ok(signer.key().clone());
    }
    let failed = |path: &Path| format!("cannot write the key {}", shown(path));
    let directory = path.parent().unwrap_or(Path::new("."));
    let disk = RealDisk;
    disk.create_dir(directory).map_err(|error| durable::port_error(failed(directory), error))?;
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut seed))
        .map_err(|error| PortError::failed("cannot make a key: no random bytes").because(error))?;
    let unwritten = |error: ssh_key::Error| PortError::failed(failed(path)).because(error);
    let private =
        PrivateKey::new(KeypairData::from(Ed25519Keypair::from_seed(&seed)), comment).map_err(unwritten)?;
    let written = private.to_openssh(LineEnding::LF).map_err(unwritten)?;
    let key = PublicKey::from_data(private.public_key().key_data().clone())
        .map_err(|error| PortError::failed(failed(path)).because(error))?;
    let line = format!("{key} {comment}\n");
    for (place, bytes) in [(beside.as_path(), line.as_bytes()), (path, written.as_bytes())] {
        durable::write_file(&disk, place, bytes, Durability::Synced)
            .map_err(|error| durable::port_error(failed(place), error.into()))?;
    }
    disk.sync_dir(directory.parent().unwrap_or(directory))
        .map_err(|error| durable::port_error(failed(directory), error))?;
    Ok(key)
}

fn public_half(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    beside.into()
}

/// A private key in memory. The library wipes it when it is dropped.
struct FileKey {
    key: PublicKey,
    private: PrivateKey,
}

impl Signer for FileKey {
    fn key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&self, text: &str) -> PortResult<String> {
        let signature = self
            .private
            .sign(NAMESPACE, HashAlg::Sha512, text.as_bytes())
            .and_then(|signature| signature.to_pem(LineEnding::LF))
            .map_err(|error| not_signed(&self.key).because(error))?;
        checked(&self.key, text, signature)
    }
}

/// A regular file of reasonable size, with its rights; a pipe or a device is not waited for.
fn read(path: &Path, most: u64) -> PortResult<(String, u32)> {
    let failed = || unusable(format!("cannot read the key {}", shown(path)));
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(|error| failed().because(error))?;
    let meta = file.metadata().map_err(|error| failed().because(error))?;
    if !meta.is_file() || meta.len() > most {
        return Err(failed().because("it is no file of reasonable size"));
    }
    let mut content = String::new();
    file.take(most).read_to_string(&mut content).map_err(|error| failed().because(error))?;
    Ok((content, meta.mode()))
}

fn shown(path: &Path) -> String {
    text::git_quoted(path.as_os_str().as_encoded_bytes())
}
