//! One line of the journal.
//!
//! [`Entry`] is what this program writes; [`Record`] is what it reads, whatever type a newer program
//! gave it; [`Fields`] is what verifying needs, read without building anything.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::canonical::{CanonicalError, scan, to_canonical};
use crate::domain::event::Event;
use crate::domain::id::Cid;

/// The version of the format that this program writes and reads.
pub const VERSION: u32 = 1;

/// Longest line, in bytes without its newline.
pub const MAX_LINE: usize = 65_535;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Format version, 1.
    pub v: u32,
    /// Which journal: an identity made at its first entry.
    pub log: String,
    /// Position, from 0, without gaps.
    pub seq: u64,
    /// Identity of the previous line's exact bytes without its newline; absent at 0.
    pub prev: Option<Cid>,
    /// Wall time, Unix milliseconds: information.
    pub wall_ms: i64,
    /// Identity of the boot.
    pub boot: String,
    /// Milliseconds since boot, suspend included.
    pub mono_ms: u64,
    /// The policy in force.
    pub policy: Option<Cid>,
    /// The members document in force.
    pub members: Option<Cid>,
    /// What it is about, for people: a module's name, a cycle.
    pub subject: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// An entry as it is read: of any type, also one that a newer program added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Format version, 1.
    pub v: u32,
    /// Which journal.
    pub log: String,
    /// Position, from 0, without gaps.
    pub seq: u64,
    /// Identity of the previous line.
    pub prev: Option<Cid>,
    /// The type of what happened, such as `cycle.started`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Wall time, Unix milliseconds: information.
    pub wall_ms: i64,
    /// Identity of the boot.
    pub boot: String,
    /// Milliseconds since boot, suspend included.
    pub mono_ms: u64,
    /// The policy in force.
    pub policy: Option<Cid>,
    /// The members document in force.
    pub members: Option<Cid>,
    /// What it is about, for people.
    pub subject: String,
    /// What belongs to the type.
    pub body: Value,
}

/// Why a line is not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// It is not canonical JSON.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// It is longer than [`MAX_LINE`].
    #[error("longer than {MAX_LINE} bytes")]
    TooLong,
    /// Its fields are not the twelve of an entry.
    #[error("not an entry: {0}")]
    Shape(String),
    /// It has another format version.
    #[error("format version {0}, and this program knows version {VERSION}; a newer lambda-os may read it")]
    Version(String),
}

impl Entry {
    /// The exact bytes of the line, without its newline.
    ///
    /// # Errors
    /// When the entry has no canonical form or is too long.
    pub fn line(&self) -> Result<Vec<u8>, EntryError> {
        let line = to_canonical(self)?;
        if line.len() > MAX_LINE { Err(EntryError::TooLong) } else { Ok(line) }
    }
}

impl Record {
    /// The entry that a line holds.
    ///
    /// # Errors
    /// When it is not one, byte for byte.
    pub fn parse(line: &[u8]) -> Result<Self, EntryError> {
        Fields::read(line)?;
        serde_json::from_slice(line).map_err(|error| EntryError::Shape(error.to_string()))
    }

    /// What happened; `None` when a newer program added this type.
    ///
    /// # Errors
    /// When the type is known and the body is not one of it.
    pub fn event(&self) -> Result<Option<Event>, EntryError> {
        if !Event::TYPES.contains(&self.kind.as_str()) {
            return Ok(None);
        }
        let tagged = serde_json::json!({"type": self.kind, "body": self.body});
        serde_json::from_value(tagged)
            .map(Some)
            .map_err(|error| EntryError::Shape(format!("{}: {error}", self.kind)))
    }
}

/// The fields that the chain is made of, as they stand in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields<'l> {
    /// Position.
    pub seq: u64,
    /// Identity of the previous line, as text; `None` for `null`.
    pub prev: Option<&'l [u8]>,
    /// Which journal, as the JSON string's inner bytes.
    pub log: &'l [u8],
    /// The type, as the JSON string's inner bytes.
    pub kind: &'l [u8],
}

/// The keys of an entry in canonical order.
const KEYS: [&[u8]; 12] = [
    b"body", b"boot", b"log", b"members", b"mono_ms", b"policy", b"prev", b"seq", b"subject", b"type", b"v",
    b"wall_ms",
];

impl<'l> Fields<'l> {
    /// Check that a line is an entry of our version, and find the chain's fields in it.
    /// Accepts exactly the lines that [`Record::parse`] accepts.
    ///
    /// # Errors
    /// When it is not one.
    pub fn read(line: &'l [u8]) -> Result<Self, EntryError> {
        if line.len() > MAX_LINE {
            return Err(EntryError::TooLong);
        }
        let mut values: [&[u8]; 12] = [b""; 12];
        let mut version: Option<&[u8]> = None;
        let mut members = 0;
        let mut as_ours = true;
        scan::check_object(line, |key, value| {
            as_ours &= KEYS.get(members) == Some(&key);
            if as_ours {
                values[members] = value;
            }
            if key == b"v" {
                version = Some(value);
            }
            members += 1;
        })?;
        // The version first: another one may have other fields.
        match version {
            Some(b"1") => {}
            Some(other) => return Err(EntryError::Version(String::from_utf8_lossy(other).into_owned())),
            None => return Err(EntryError::Shape("it has no version".to_owned())),
        }
        if !as_ours || members != KEYS.len() {
            return Err(EntryError::Shape("its fields are not those of version 1".to_owned()));
        }
        let [body, boot, log, members, mono_ms, policy, prev, seq, subject, kind, _, wall_ms] = values;
        let wrong = |what: &str| EntryError::Shape(format!("{what} is of the wrong type"));
        if body.first() != Some(&b'{') {
            return Err(wrong("body"));
        }
        for (text, name) in [(boot, "boot"), (subject, "subject")] {
            inner(text).ok_or_else(|| wrong(name))?;
        }
        for (cid, name) in [(members, "members"), (policy, "policy"), (prev, "prev")] {
            if cid != b"null" && name != "prev" {
                let text = inner(cid).ok_or_else(|| wrong(name))?;
                let text = std::str::from_utf8(text).map_err(|_| wrong(name))?;
                text.parse::<Cid>().map_err(|_| wrong(name))?;
            }
        }
        number(mono_ms).ok_or_else(|| wrong("mono_ms"))?;
        number(wall_ms.strip_prefix(b"-").unwrap_or(wall_ms)).ok_or_else(|| wrong("wall_ms"))?;
        Ok(Self {
            seq: number(seq).ok_or_else(|| wrong("seq"))?,
            prev: match prev {
                b"null" => None,
                prev => {
                    let text = inner(prev).ok_or_else(|| wrong("prev"))?;
                    if !is_cid(text) {
                        return Err(wrong("prev"));
                    }
                    Some(text)
                }
            },
            log: inner(log).ok_or_else(|| wrong("log"))?,
            kind: inner(kind).ok_or_else(|| wrong("type"))?,
        })
    }
}

/// The bytes between a JSON string's quotes.
fn inner(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// True for the text of a [`Cid`]; without building one, because every line has it.
fn is_cid(text: &[u8]) -> bool {
    // 36 bytes are 288 bits: the first 32 are fixed, two of them in the digit after "bafkrei"; the
    // last digit holds 3 bits, with two zero bits after.
    text.len() == 59
        && text.starts_with(b"bafkrei")
        && text.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
        && matches!(text[7], b'a'..=b'h')
        && matches!(text[58], b'a' | b'e' | b'i' | b'm' | b'q' | b'u' | b'y' | b'4')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> Entry {
        Entry {
            v: 1,
            log: "l".to_owned(),
            seq: 3,
            prev: Some(Cid::of(b"before")),
            wall_ms: -5,
            boot: "b".to_owned(),
            mono_ms: 9,
            policy: None,
            members: Some(Cid::of(b"members")),
            subject: "sub\u{1b}ject \u{1f602}".to_owned(),
            event: Event::CycleStarted { cause: "once".to_owned() },
        }
    }

    #[test]
    fn a_line_holds_exactly_the_twelve_fields_and_reads_back() {
        let line = entry().line().unwrap();
        let shown = String::from_utf8(line.clone()).unwrap();
        let expect = format!(
            "{{\"body\":{{\"cause\":\"once\"}},\"boot\":\"b\",\"log\":\"l\",\"members\":\"{}\",\"mono_ms\":9,\"policy\":null,\"prev\":\"{}\",\"seq\":3,\"subject\":\"sub\\u001bject \u{1f602}\",\"type\":\"cycle.started\",\"v\":1,\"wall_ms\":-5}}",
            Cid::of(b"members"),
            Cid::of(b"before")
        );
        assert_eq!(shown, expect);
        let record = Record::parse(&line).unwrap();
        assert_eq!(record.event().unwrap(), Some(entry().event));
        assert_eq!(serde_json::from_slice::<Entry>(&line).unwrap(), entry());
        assert_eq!(to_canonical(&record).unwrap(), line);
    }

    #[test]
    fn an_entry_that_is_too_long_is_refused() {
        let mut long = entry();
        long.subject = "x".repeat(MAX_LINE);
        assert_eq!(long.line(), Err(EntryError::TooLong));
        let line = to_canonical(&long).unwrap();
        assert_eq!(Fields::read(&line), Err(EntryError::TooLong));
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let shown = String::from_utf8(entry().line().unwrap()).unwrap();
        let newer = shown.replace("\"v\":1", "\"v\":2");
        assert_eq!(Record::parse(newer.as_bytes()), Err(EntryError::Version("2".to_owned())));
        let newer = shown.replace("\"subject\"", "\"subject2\":1,\"subjekt\"").replace("\"v\":1", "\"v\":2");
        assert_eq!(Record::parse(newer.as_bytes()), Err(EntryError::Version("2".to_owned())));
        let extra = shown.replace("\"seq\":3", "\"seq\":3,\"sequel\":4");
        assert!(matches!(Record::parse(extra.as_bytes()), Err(EntryError::Shape(_))));
    }

    #[test]
    fn a_type_of_a_newer_program_is_readable_and_not_understood() {
        let shown = String::from_utf8(entry().line().unwrap()).unwrap();
        let newer = shown.replace("cycle.started", "moon.landed");
        let record = Record::parse(newer.as_bytes()).unwrap();
        assert_eq!((record.kind.as_str(), record.event()), ("moon.landed", Ok(None)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_quick_reader_accepts_what_the_full_one_accepts(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut line = entry().line().unwrap();
            let at = at.index(line.len());
            line[at] = byte;
            let quick = Fields::read(&line).is_ok();
            let full = serde_json::from_slice::<Record>(&line)
                .is_ok_and(|record| record.v == VERSION && record.body.is_object() && to_canonical(&record).is_ok_and(|again| again == line));
            prop_assert_eq!(quick, full, "{}", String::from_utf8_lossy(&line));
        }

        #[test]
        fn the_shape_of_an_identity_is_known_without_decoding(at in 0..59_usize, byte in prop_oneof![97..=122_u8, 48..=57_u8, any::<u8>()]) {
            let mut text = Cid::of(b"x").to_string().into_bytes();
            text[at] = byte;
            let decoded = std::str::from_utf8(&text).is_ok_and(|text| text.parse::<Cid>().is_ok());
            prop_assert_eq!(is_cid(&text), decoded);
        }
    }
}
