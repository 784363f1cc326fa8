//! Signatures that git keeps in its own objects: of commits and of annotated tags.
//!
//! In: a commit's or a tag's raw content, as its id names it. Out: what was signed, by which SSH key,
//! or why that cannot be told. A commit's signature is in its header `gpgsig` and is over the object
//! without that header (`commit.c: parse_buffer_signed_by_header`); a tag's stands at its end and is
//! over all before it (`gpg-interface.c: parse_signature`). SSH signatures are of the namespace `git`
//! (git-config(1), `gpg.format`). `OpenPGP` and X.509 signatures are recognised and not supported.
//!
//! Whoever signed a commit vouches for its whole tree, and for the history that its parents name as far
//! as git's hash holds.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::domain::governance::key::PublicKey;
use crate::domain::governance::signature::{self, MAX_ARMOR, SignatureError};
use crate::domain::id::ObjectId;
use crate::domain::text;

/// The namespace of git's SSH signatures.
pub const NAMESPACE: &str = "git";

const SSH: &[u8] = b"-----BEGIN SSH SIGNATURE-----";

/// What other kinds of signatures begin with (`gpg-interface.c`).
const OTHERS: [(&[u8], &str); 3] = [
    (b"-----BEGIN PGP SIGNATURE-----", "OpenPGP"),
    (b"-----BEGIN PGP MESSAGE-----", "OpenPGP"),
    (b"-----BEGIN SIGNED MESSAGE-----", "X.509"),
];

/// What carries a signature over a revision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// The commit itself.
    Commit,
    /// An annotated tag of the commit, by its name, inert.
    Tag(String),
}

impl std::fmt::Display for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Commit => f.write_str("the commit"),
            Self::Tag(name) => write!(f, "the tag {name}"),
        }
    }
}

/// A signature over a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voucher {
    /// What carries it.
    pub carrier: Carrier,
    /// The key that signed, or why that is not known, as a sentence without a final stop.
    pub key: Result<PublicKey, VoucherError>,
}

/// A commit that a change brings, and the signature that it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// The commit.
    pub commit: ObjectId,
    /// Its own signature; none for one that is not signed.
    pub voucher: Option<Voucher>,
}

/// Why a signature says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VoucherError {
    /// It is no SSH signature.
    #[error("it carries an {0} signature, and only SSH signatures are verified (gpg.format = ssh)")]
    Unsupported(&'static str),
    /// It carries something else where a signature should be, or several.
    #[error("its signature is not in the form that git writes: {0}")]
    Shape(&'static str),
    /// It is of something else.
    #[error("it is not of the commit {0}")]
    OfAnother(ObjectId),
    /// It does not hold.
    #[error("{0}")]
    Signature(#[from] SignatureError),
}

/// The signature that a commit carries; `None` when it carries none.
#[must_use]
pub fn of_commit(raw: &[u8]) -> Option<Voucher> {
    let key = attached_to_commit(raw)?.and_then(|(signed, armor)| key(&signed, &armor));
    Some(Voucher { carrier: Carrier::Commit, key })
}

/// The signature that an annotated tag of a commit carries; `None` when it carries none, or is the
/// tag of something else than a commit.
#[must_use]
pub fn of_tag(raw: &[u8], commit: ObjectId) -> Option<Voucher> {
    let header = |name: &str| {
        let mut lines = raw.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
        lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b" "))
    };
    if header("type") != Some(b"commit") {
        return None;
    }
    let carrier = Carrier::Tag(text::inert_bytes(header("tag").unwrap_or_default()));
    let start = begin_of_signature(raw)?;
    let (signed, armor) = raw.split_at(start);
    let object = header("object").and_then(|hex| std::str::from_utf8(hex).ok()?.parse().ok());
    let key = if object != Some(commit) {
        Err(VoucherError::OfAnother(commit))
    } else if header("gpgsig").or_else(|| header("gpgsig-sha256")).is_some() {
        Err(VoucherError::Shape("the tag carries one in its header too"))
    } else {
        key(signed, armor)
    };
    Some(Voucher { carrier, key })
}

fn key(signed: &[u8], armor: &[u8]) -> Result<PublicKey, VoucherError> {
    if let Some((_, kind)) = OTHERS.iter().find(|(begin, _)| armor.starts_with(begin)) {
        return Err(VoucherError::Unsupported(kind));
    }
    let armor = std::str::from_utf8(armor).map_err(|_| VoucherError::Shape("it is no text"))?;
    let bytes = signature::from_armor(armor)?;
    Ok(signature::verify_for(NAMESPACE, signed, &bytes)?)
}

type Attached<'a> = (Cow<'a, [u8]>, Vec<u8>);

/// What was signed of a commit, and the signature; `None` when there is none.
fn attached_to_commit(raw: &[u8]) -> Option<Result<Attached<'_>, VoucherError>> {
    let mut signed = Vec::with_capacity(raw.len());
    let mut armor: Option<Vec<u8>> = None;
    // Which header the lines that begin with a space go on with.
    let (mut ours, mut dropped) = (false, false);
    let mut rest = raw;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let (line, tail) = rest.split_at(end);
        if line == b"\n" {
            signed.extend_from_slice(rest);
            break;
        }
        rest = tail;
        if let Some(more) = line.strip_prefix(b" ") {
            match &mut armor {
                Some(armor) if ours => armor.extend_from_slice(more),
                _ if dropped => {}
                _ => signed.extend_from_slice(line),
            }
            continue;
        }
        (ours, dropped) = (line.starts_with(b"gpgsig "), line.starts_with(b"gpgsig"));
        match line.strip_prefix(b"gpgsig ") {
            // git would read them as one; nothing that git writes has two.
            Some(_) if armor.is_some() => {
                return Some(Err(VoucherError::Shape("the commit carries two of them")));
            }
            Some(first) => armor = Some(first.to_vec()),
            None if dropped => {}
            None => signed.extend_from_slice(line),
        }
    }
    let armor = armor?;
    if armor.len() > MAX_ARMOR {
        return Some(Err(VoucherError::Shape("it is too large")));
    }
    Some(Ok((Cow::Owned(signed), armor)))
}

/// Where the last signature of a tag begins.
fn begin_of_signature(raw: &[u8]) -> Option<usize> {
    let mut found = None;
    let mut at = 0;
    while at < raw.len() {
        let line = &raw[at..];
        if line.starts_with(SSH) || OTHERS.iter().any(|(begin, _)| line.starts_with(begin)) {
            found = Some(at);
        }
        at += line.iter().position(|byte| *byte == b'\n').map_or(line.len(), |end| end + 1);
    }
    found
}
