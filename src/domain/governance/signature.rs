//! OpenSSH's SSHSIG (PROTOCOL.sshsig): over ballots in the namespace [`NAMESPACE`], and over what
//! others sign in theirs.
//!
//! In: the signed text and the armored signature, from anywhere. Out: the key that signed, or why
//! not. Stricter than `ssh-keygen -Y verify` where it does no harm: Ed25519 by `verify_strict`, no
//! weak key, no unknown extension, nothing after the signature, a token must have been touched.

use data_encoding::BASE64;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, SshSig};

use super::key::{KeyError, PublicKey};

/// What a ballot's signature is for: one for anything else does not hold.
pub const NAMESPACE: &str = "ballot@lambda-os";

/// Largest signature that is looked at, in bytes of its armor.
pub const MAX_ARMOR: usize = 16 * 1024;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";

/// Characters of base64 in a line, as `ssh-keygen` writes it.
const COLUMNS: usize = 70;

/// Set in a token's signature when somebody touched it.
const USER_PRESENT: u8 = 0x01;

/// Flags and counter behind a token's signature.
const TOKEN_TRAILER: usize = 5;

/// Why a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is not an armored SSH signature.
    #[error("it is not an SSH signature: {0}")]
    NotASignature(String),
    /// It is for something else.
    #[error("the signature is for the namespace {}, not for {wanted}", crate::domain::text::quoted(found))]
    Namespace {
        /// What it is for.
        found: String,
        /// What it should be for.
        wanted: &'static str,
    },
    /// The key may not sign ballots.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// A RSA signature over SHA-1, or one of another algorithm than the key.
    #[error("the signature's algorithm {} does not go with its key", crate::domain::text::quoted(.0))]
    Algorithm(String),
    /// Nobody touched the token.
    #[error("the signature was made by a token that nobody touched")]
    NobodyPresent,
    /// The signature does not hold over this text.
    #[error("the signature does not hold: the text is not what was signed, or another key signed it")]
    Wrong,
}

/// The bytes of an armored signature. White space at the ends and the width of lines do not matter.
///
/// # Errors
/// When it is not one whole armored signature.
pub fn from_armor(armor: &str) -> Result<Vec<u8>, SignatureError> {
    let wrong = |why: &str| SignatureError::NotASignature(why.to_owned());
    if armor.len() > MAX_ARMOR {
        return Err(wrong("it is too large"));
    }
    let body = armor
        .trim()
        .strip_prefix(BEGIN)
        .ok_or_else(|| wrong("it does not begin with BEGIN SSH SIGNATURE"))?
        .strip_suffix(END)
        .ok_or_else(|| wrong("it does not end with END SSH SIGNATURE"))?;
    let base64: String = body.split(['\n', '\r', ' ', '\t']).collect();
    BASE64.decode(base64.as_bytes()).map_err(|error| wrong(&error.to_string()))
}

/// The one armor that is written for these bytes; the same as that of `ssh-keygen`.
#[must_use]
pub fn to_armor(signature: &[u8]) -> String {
    let base64 = BASE64.encode(signature);
    let mut armor = format!("{BEGIN}\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(COLUMNS));
        armor.push_str(line);
        armor.push('\n');
        rest = tail;
    }
    armor.push_str(END);
    armor.push('\n');
    armor
}

/// The key that signed this text as a ballot, by a signature in its binary form.
///
/// # Errors
/// When the signature does not hold, or not for a ballot.
pub fn verify(text: &[u8], signature: &[u8]) -> Result<PublicKey, SignatureError> {
    verify_for(NAMESPACE, text, signature)
}

/// The key that signed this text for a namespace, by a signature in its binary form.
///
/// # Errors
/// When the signature does not hold, or is for another namespace.
pub fn verify_for(
    namespace: &'static str,
    text: &[u8],
    signature: &[u8],
) -> Result<PublicKey, SignatureError> {
    let wrong = |why: &str| SignatureError::NotASignature(why.to_owned());
    // The library reads the armor only; it refuses what stands behind the signature.
    let parsed = SshSig::from_pem(to_armor(signature)).map_err(|error| wrong(&error.to_string()))?;
    if parsed.version() != SshSig::VERSION {
        return Err(wrong("it is of another version"));
    }
    if parsed.namespace() != namespace {
        let found = parsed.namespace().to_owned();
        return Err(SignatureError::Namespace { found, wanted: namespace });
    }
    if !parsed.reserved().is_empty() {
        return Err(wrong("its reserved field is not empty"));
    }
    let key = PublicKey::from_data(parsed.public_key().clone())?;
    // The library does not compare the lengths that it reads with what it read.
    if !is_framed(signature, &key) {
        return Err(wrong("its parts are not of the lengths that they say"));
    }
    let signed = SshSig::signed_data(namespace, parsed.hash_alg(), text)
        .map_err(|error| SignatureError::NotASignature(error.to_string()))?;
    verify_raw(&key, &signed, parsed.signature())?;
    Ok(key)
}

/// Whether these bytes are exactly the fields of PROTOCOL.sshsig, each of the length it says.
fn is_framed(signature: &[u8], key: &PublicKey) -> bool {
    let framed = || {
        let mut rest = signature.strip_prefix(b"SSHSIG")?.strip_prefix(&SshSig::VERSION.to_be_bytes())?;
        let public = field(&mut rest)?;
        let [_namespace, _reserved, _hash, mut raw] =
            [field(&mut rest)?, field(&mut rest)?, field(&mut rest)?, field(&mut rest)?];
        let [_algorithm, _signed] = [field(&mut raw)?, field(&mut raw)?];
        let trailer = if key.is_in_token() { TOKEN_TRAILER } else { 0 };
        let same = key.blob() == public;
        Some(same && rest.is_empty() && raw.len() == trailer)
    };
    framed() == Some(true)
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let (field, tail) = tail.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = tail;
    Some(field)
}

/// What the key itself signs for this text: what an agent is given.
///
/// # Errors
/// Never for the hashes of SSHSIG.
pub fn signed_data(hash: HashAlg, text: &[u8]) -> Result<Vec<u8>, SignatureError> {
    SshSig::signed_data(NAMESPACE, hash, text)
        .map_err(|error| SignatureError::NotASignature(error.to_string()))
}

/// The armored signature made of a key's own signature over [`signed_data`] with SHA-512.
///
/// # Errors
/// When the two do not go together.
pub fn assemble(key: &PublicKey, raw: &[u8]) -> Result<String, SignatureError> {
    // Written by hand: the encoder of the library loses the trailer of sk-ecdsa signatures.
    let mut bytes = b"SSHSIG".to_vec();
    bytes.extend(SshSig::VERSION.to_be_bytes());
    let public = key.blob();
    for part in [public, NAMESPACE.as_bytes(), b"", b"sha512", raw] {
        let length = u32::try_from(part.len())
            .map_err(|_| SignatureError::NotASignature("it is too large".to_owned()))?;
        bytes.extend(length.to_be_bytes());
        bytes.extend(part);
    }
    Ok(to_armor(&bytes))
}

fn verify_raw(key: &PublicKey, signed: &[u8], signature: &ssh_key::Signature) -> Result<(), SignatureError> {
    use ed25519_dalek::Verifier as _;

    let other = || SignatureError::Algorithm(signature.algorithm().to_string());
    match (key.data(), signature.algorithm()) {
        (KeyData::Ed25519(public), Algorithm::Ed25519) => {
            verify_ed25519(&public.0, signed, signature.as_bytes())
        }
        (KeyData::SkEd25519(public), Algorithm::SkEd25519) => {
            let (raw, trailer) = split_token(signature.as_bytes())?;
            verify_ed25519(&public.public_key().0, &token_signed(public.application(), trailer, signed), raw)
        }
        (KeyData::SkEcdsaSha2NistP256(_), Algorithm::SkEcdsaSha2NistP256) => {
            split_token(signature.as_bytes())?;
            key.data().verify(signed, signature).map_err(|_| SignatureError::Wrong)
        }
        (KeyData::Ecdsa(public), Algorithm::Ecdsa { curve }) if public.curve() == curve => {
            key.data().verify(signed, signature).map_err(|_| SignatureError::Wrong)
        }
        (KeyData::Rsa(_), Algorithm::Rsa { hash: Some(_) }) => {
            key.data().verify(signed, signature).map_err(|_| SignatureError::Wrong)
        }
        _ => Err(other()),
    }
}

/// As RFC 8032 with the checks that it leaves open decided: no small order, no malleable `s`, no
/// cofactor, so that every verifier agrees.
pub(in crate::domain) fn verify_ed25519(
    public: &[u8; 32],
    signed: &[u8],
    raw: &[u8],
) -> Result<(), SignatureError> {
    let public = ed25519_dalek::VerifyingKey::from_bytes(public).map_err(|_| SignatureError::Wrong)?;
    let raw = ed25519_dalek::Signature::from_slice(raw).map_err(|_| SignatureError::Wrong)?;
    public.verify_strict(signed, &raw).map_err(|_| SignatureError::Wrong)
}

fn split_token(raw: &[u8]) -> Result<(&[u8], &[u8]), SignatureError> {
    let at = raw.len().checked_sub(TOKEN_TRAILER).ok_or(SignatureError::Wrong)?;
    let (raw, trailer) = raw.split_at(at);
    if trailer[0] & USER_PRESENT == 0 { Err(SignatureError::NobodyPresent) } else { Ok((raw, trailer)) }
}

/// What a token signs (PROTOCOL.u2f): hashes of its application and of the message around the trailer.
fn token_signed(application: &str, trailer: &[u8], message: &[u8]) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    [&Sha256::digest(application)[..], trailer, &Sha256::digest(message)[..]].concat()
}

#[cfg(test)]
mod tests;
