//! Canonical JSON (RFC 8785), for integers only: equal values give equal bytes everywhere.
//!
//! In: values that serialise, or bytes that claim to be canonical. Out: the one form, or why not.
//! Object keys are ordered by their UTF-16 code units, there is no white space, strings escape only
//! what must be escaped, integers stay within ±(2^53 − 1) so that no reader rounds them, and
//! fractions and exponents are refused altogether (RFC 8785 would need ECMAScript's number
//! formatting; nothing that is hashed here has fractions).
//!
//! Two readers exist on purpose: [`parse_canonical`] refuses every byte that [`to_canonical`] would
//! not have written; [`parse`] takes any JSON text (a file that a person may have edited) but
//! refuses duplicate keys, on which readers differ. The test suite holds the fast check
//! ([`scan`]) against "parse, write again, compare".

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::Value;

mod parse;
pub mod scan;
mod ser;

pub use parse::{parse, parse_canonical};

/// Largest integer that every JSON reader keeps exact: 2^53 − 1 (RFC 7493, section 2.2).
pub const MAX_SAFE: i64 = (1 << 53) - 1;

/// Deepest nesting of arrays and objects that is written or read.
pub const MAX_DEPTH: usize = 64;

/// Why a value has no canonical form, or bytes are not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A number with a fraction or an exponent, or a floating-point value.
    #[error("a number that is not an integer")]
    NotAnInteger,
    /// An integer that some readers would round.
    #[error("an integer beyond 2^53 - 1")]
    OutOfRange,
    /// An object has a key twice.
    #[error("the key {} stands twice in one object", crate::domain::text::quoted(.0))]
    DuplicateKey(String),
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// A map whose keys are not text.
    #[error("an object key that is not text")]
    KeyNotText,
    /// It is not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// It may be JSON, but not in the canonical form.
    #[error("not canonical at byte {at}: {what}")]
    NotCanonical {
        /// Where, from 0.
        at: usize,
        /// What was found there.
        what: &'static str,
    },
    /// The value's own serialisation failed.
    #[error("{0}")]
    Custom(String),
}

/// The canonical bytes of a value.
///
/// # Errors
/// When the value holds a float, an integer beyond ±[`MAX_SAFE`], a key twice, a key that is not
/// text, or is nested too deep.
pub fn to_canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    ser::write(value)
}

/// The order of object keys: by UTF-16 code units (RFC 8785, section 3.2.3).
#[must_use]
pub fn key_order(left: &str, right: &str) -> Ordering {
    // UTF-8 order and UTF-16 order differ only between U+E000–U+FFFF and what lies above.
    if left.bytes().chain(right.bytes()).all(|byte| byte < 0xee) {
        return left.as_bytes().cmp(right.as_bytes());
    }
    left.encode_utf16().cmp(right.encode_utf16())
}

/// A value in its canonical bytes, for JSON values made elsewhere.
///
/// # Errors
/// As [`to_canonical`].
pub fn canonicalise(text: &[u8]) -> Result<Vec<u8>, CanonicalError> {
    let value: Value = parse(text)?;
    to_canonical(&value)
}

#[cfg(test)]
mod tests;
