//! Metadata that its publisher signed with Ed25519, in both forms that are in use.
//!
//! - *manifest*: `manifest.sig` beside `manifest.json` (the `.lgx` package format, manifest 0.3.0) is
//!   JSON with `algorithm`, `did`, `signature` and `version`; the signature is over the manifest's raw
//!   bytes, and the key is in the DID.
//! - *metadata*: `metadata.json` holds a key `signature`, `key_id:hex`, over the sorted and compact
//!   JSON of everything else in it; the key is known by its id.
//!
//! In: the files' bytes, and the keys that are known by id. Out: who signed, and what the signed text
//! says it is, or why the signature does not hold. Both are verified as RFC 8032 with every open point
//! decided strictly. Invariant: a signature is over every byte or value that is read afterwards.
//!
//! It says that a publisher vouched for these *words*. Neither form names the sources beside them:
//! signed commits do.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::domain::canonical;
use crate::domain::governance::signature::verify_ed25519;
use crate::domain::text;

/// Most bytes of one such file.
pub const MAX_BYTES: usize = 1 << 20;

/// What a DID of an Ed25519 key begins with.
const DID: &str = "did:jwk:";

/// An Ed25519 public key of a publisher.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublisherKey([u8; 32]);

/// Publishers' keys by the id that signatures in `metadata.json` name them by.
pub type PublisherKeys = BTreeMap<String, PublisherKey>;

/// Why a text is no publisher's key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublisherKeyError {
    /// Neither 64 hex digits nor a `did:jwk:` of an Ed25519 key.
    #[error("{} is no Ed25519 key: 64 hex digits, or a did:jwk of one", text::quoted(&text::clipped(.0, 80)))]
    NotAKey(String),
    /// It is no point of full order: one signature would hold for several messages.
    #[error("{} is no point of full order, and no key for signatures", text::quoted(.0))]
    Weak(String),
}

impl PublisherKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// When they are no point of full order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, PublisherKeyError> {
        match ed25519_dalek::VerifyingKey::from_bytes(&bytes) {
            Ok(point) if !point.is_weak() => Ok(Self(bytes)),
            _ => Err(PublisherKeyError::Weak(HEXLOWER.encode(&bytes))),
        }
    }

    /// The key's DID: `did:jwk:` and its JWK with sorted keys, in unpadded base64url.
    #[must_use]
    pub fn did(&self) -> String {
        format!("{DID}{}", BASE64URL_NOPAD.encode(jwk(&self.0).as_bytes()))
    }

    fn from_did(did: &str) -> Option<Result<Self, PublisherKeyError>> {
        #[derive(Deserialize)]
        struct Jwk {
            x: String,
        }
        let json = BASE64URL_NOPAD.decode(did.strip_prefix(DID)?.as_bytes()).ok()?;
        let jwk: Jwk = serde_json::from_slice(&json).ok()?;
        let key = Self::from_bytes(BASE64URL_NOPAD.decode(jwk.x.as_bytes()).ok()?.try_into().ok()?);
        // One spelling for one key: what is not exactly this JWK is another DID.
        match key {
            Ok(key) if key.did() != did => None,
            key => Some(key),
        }
    }
}

fn jwk(key: &[u8; 32]) -> String {
    format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, BASE64URL_NOPAD.encode(key))
}

impl FromStr for PublisherKey {
    type Err = PublisherKeyError;

    /// 64 hex digits, or a DID.
    fn from_str(shown: &str) -> Result<Self, Self::Err> {
        let wrong = || PublisherKeyError::NotAKey(shown.to_owned());
        if shown.starts_with(DID) {
            return Self::from_did(shown).ok_or_else(wrong)?;
        }
        let bytes = HEXLOWER_PERMISSIVE.decode(shown.as_bytes()).map_err(|_| wrong())?;
        Self::from_bytes(bytes.try_into().map_err(|_| wrong())?)
    }
}

impl fmt::Display for PublisherKey {
    /// 64 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PublisherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublisherKey({self})")
    }
}

impl Serialize for PublisherKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublisherKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// `manifest.sig` over `manifest.json`.
    Manifest,
    /// `signature` in `metadata.json`.
    Metadata,
}

impl Form {
    /// The file that holds the signature.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Manifest => "manifest.sig",
            Self::Metadata => "metadata.json",
        }
    }
}

/// A signature that holds: by whom, and over what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// In which form.
    pub form: Form,
    /// The key that signed.
    pub key: PublisherKey,
    /// What the signed text calls itself.
    pub name: Option<String>,
    /// The version that the signed text says it is.
    pub version: Option<String>,
}

/// Why signed metadata is none. A sentence without a final stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// The signed text cannot be read in one way only.
    #[error("{file} is no JSON that every reader understands alike: {why}")]
    Unreadable {
        /// Which file.
        file: &'static str,
        /// Why, inert.
        why: String,
    },
    /// The signature has another shape.
    #[error("{file} holds no signature as its format has it: {why}")]
    Shape {
        /// Which file.
        file: &'static str,
        /// What is wrong, inert.
        why: String,
    },
    /// Nobody is known by this id.
    #[error("metadata.json is signed with the key {}, which is not known", text::quoted(.0))]
    UnknownKey(String),
    /// It does not hold.
    #[error("the signature in {0} does not hold: other words were signed, or another key signed them")]
    Wrong(&'static str),
}

/// Who signed a manifest: `manifest.sig` over the raw bytes of `manifest.json`.
///
/// # Errors
/// When it is not signed as its format has it.
pub fn manifest(manifest: &[u8], signature: &[u8]) -> Result<Signed, SignedError> {
    let file = Form::Manifest.file();
    let shape = |why: &str| SignedError::Shape { file, why: why.to_owned() };
    let said = object(signature, file)?;
    let field = |name: &str| said.get(name).and_then(Value::as_str);
    if said.get("version").and_then(Value::as_u64) != Some(1) {
        return Err(shape("its version is not 1"));
    }
    if field("algorithm") != Some("ed25519") {
        return Err(shape("its algorithm is not ed25519"));
    }
    let key: PublisherKey = field("did")
        .filter(|did| did.starts_with(DID))
        .ok_or_else(|| shape("it has no did:jwk"))?
        .parse()
        .map_err(|error: PublisherKeyError| shape(&error.to_string()))?;
    let raw = field("signature")
        .and_then(|base64| BASE64.decode(base64.as_bytes()).ok())
        .filter(|raw| raw.len() == 64)
        .ok_or_else(|| shape("its signature is not 64 bytes in base64"))?;
    let signed = object(manifest, "manifest.json")?;
    verify_ed25519(&key.0, manifest, &raw).map_err(|_| SignedError::Wrong(file))?;
    Ok(Signed::of(Form::Manifest, key, &signed))
}

/// Who signed `metadata.json` in itself; `None` when it holds no signature.
///
/// # Errors
/// When it is not signed as its format has it, or by nobody who is known.
pub fn metadata(metadata: &[u8], keys: &PublisherKeys) -> Result<Option<Signed>, SignedError> {
    let file = Form::Metadata.file();
    let shape = |why: &str| SignedError::Shape { file, why: why.to_owned() };
    let mut said = object(metadata, file)?;
    let Some(signature) = said.remove("signature") else { return Ok(None) };
    let (id, hex) = signature
        .as_str()
        .and_then(|signature| signature.rsplit_once(':'))
        .ok_or_else(|| shape("its signature is not key_id:hex"))?;
    let raw = HEXLOWER_PERMISSIVE
        .decode(hex.as_bytes())
        .ok()
        .filter(|raw| raw.len() == 64)
        .ok_or_else(|| shape("its signature is not 64 bytes in hex"))?;
    let key = *keys.get(id).ok_or_else(|| SignedError::UnknownKey(text::clipped(id, 80)))?;
    let signed = Signed::of(Form::Metadata, key, &said);
    let said = Value::Object(said);
    // Signers differ in how they write what is not ASCII; both spellings stand for this value alone.
    let holds = [false, true].into_iter().any(|ascii| {
        let mut compact = String::new();
        write_sorted(&said, ascii, &mut compact);
        verify_ed25519(&key.0, compact.as_bytes(), &raw).is_ok()
    });
    if holds { Ok(Some(signed)) } else { Err(SignedError::Wrong(file)) }
}

impl Signed {
    fn of(form: Form, key: PublisherKey, said: &Object) -> Self {
        let field = |name: &str| said.get(name).and_then(Value::as_str).map(str::to_owned);
        Self { form, key, name: field("name"), version: field("version") }
    }
}

type Object = serde_json::Map<String, Value>;

fn object(json: &[u8], file: &'static str) -> Result<Object, SignedError> {
    let unreadable = |why: String| SignedError::Unreadable { file, why: text::inert(&why) };
    if json.len() > MAX_BYTES {
        return Err(unreadable(format!("it is larger than {MAX_BYTES} bytes")));
    }
    match canonical::parse(json).map_err(|error| unreadable(error.to_string()))? {
        Value::Object(members) => Ok(members),
        _ => Err(unreadable("it is no object".to_owned())),
    }
}

/// JSON without white space, keys sorted by their characters; `ascii`: everything else escaped.
fn write_sorted(value: &Value, ascii: bool, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(string) => write_string(string, ascii, out),
        Value::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_sorted(value, ascii, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            // The map's own order is not relied on: a feature of the library changes it.
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            out.push('{');
            for (at, (key, value)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_string(key, ascii, out);
                out.push(':');
                write_sorted(value, ascii, out);
            }
            out.push('}');
        }
    }
}

fn write_string(string: &str, ascii: bool, out: &mut String) {
    use fmt::Write as _;

    out.push('"');
    for c in string.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || (ascii && c > '~') => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
