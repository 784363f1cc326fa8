//! Verifying the journal: are these the lines that were written, all of them, in order?
//!
//! Lines go in one by one ([`Verifier::push`]), a [`Verified`] or the first [`Broken`] place comes out.
//! Memory is constant. What a chain shows is that the lines are *linked*: each names the
//! one before. It shows neither that the tail was cut nor that everything was written anew; for
//! that the verifier is given *anchors*, identities that were kept elsewhere: the `head` file, or
//! what an operator wrote down.
//!
//! A changed line is noticed at the next one, whose `prev` no longer fits. Which of the two was
//! changed is told by the line after (or by an anchor): if it names the second, the first is bad.

mod segment;

use std::fmt;

use sha2::{Digest, Sha256};

use super::entry::{EntryError, Fields};
use crate::domain::event::Event;
use crate::domain::id::Cid;
use crate::domain::text;

pub use segment::{Segment, Unlinked};

/// The newest entry: its place and identity. The content of the file `head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Head {
    /// Identity of the line's bytes without its newline.
    pub cid: Cid,
    /// Its sequence.
    pub seq: u64,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.cid)
    }
}

impl std::str::FromStr for Head {
    type Err = String;

    /// `SEQ:CID`.
    fn from_str(shown: &str) -> Result<Self, String> {
        let (seq, cid) = shown.split_once(':').ok_or("expected SEQ:CID, such as 41:bafkrei…")?;
        Ok(Self {
            seq: seq.parse().map_err(|error| format!("the sequence {}: {error}", text::quoted(seq)))?,
            cid: cid.parse().map_err(|error: crate::domain::id::ParseIdError| error.to_string())?,
        })
    }
}

/// A journal whose lines are all linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Number of entries from the first one on.
    pub entries: u64,
    /// Which journal; empty when there are no entries.
    pub log: String,
    /// The newest entry; `None` when there are none.
    pub head: Option<Head>,
    /// The first entry whose type this program does not know: its sequence and type.
    pub unknown: Option<(u64, String)>,
}

/// Where the chain first breaks, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {seq} {reason}")]
pub struct Broken {
    /// The first sequence number that is not right.
    pub seq: u64,
    /// What is wrong with it.
    pub reason: Reason,
}

/// How a chain breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The line is no entry: cut, overwritten, not canonical, too long.
    #[error("is damaged: {0}")]
    Damaged(EntryError),
    /// The line has a version that this program does not know.
    #[error("cannot be checked: it has {0}")]
    Version(EntryError),
    /// The line is an entry, but not the one that the next line, or a record kept elsewhere, names.
    #[error("was changed: {0} names other bytes")]
    Changed(Witness),
    /// The line stands in the right place with another number.
    #[error("was changed: it bears number {found}")]
    Renumbered {
        /// The number that it bears.
        found: u64,
    },
    /// The line does not name the one before, and is itself not named by the one after.
    #[error("does not follow from the entry before it: its `prev` is wrong")]
    WrongPrev,
    /// It is not there; a later one stands in its place.
    #[error("is missing: entry {found} stands in its place")]
    Missing {
        /// The entry that stands there.
        found: u64,
    },
    /// It comes later in the file.
    #[error("is out of order: entry {found} stands in its place, and it comes later")]
    Reordered {
        /// The entry that stands there.
        found: u64,
    },
    /// It stands in the file again.
    #[error("stands in the file again where entry {expected} belongs")]
    Repeated {
        /// The entry that should stand there.
        expected: u64,
    },
    /// It belongs to another journal.
    #[error("belongs to another journal, {}", text::quoted(.0))]
    WrongLog(String),
    /// The file ends before an entry that is known to have been written.
    #[error("is missing: the journal was cut or emptied; {witness} knows of entry {known}")]
    Cut {
        /// The newest entry that is known.
        known: u64,
        /// Who knows.
        witness: Witness,
    },
}

/// What names an entry from outside its line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Witness {
    /// The `prev` of the next line.
    #[error("the next entry")]
    Next,
    /// A record kept elsewhere, as a noun phrase.
    #[error("{0}")]
    Kept(String),
}

/// An identity that was kept elsewhere.
#[derive(Debug, Clone)]
struct Anchor {
    head: Head,
    who: String,
}

/// What is still to be found out after the first wrong line.
#[derive(Debug)]
enum Doubt {
    /// This line's `prev` does not fit: is it the line, or the one before?
    Prev { seq: u64, digest: [u8; 32], reason: Reason },
    /// A later entry stands here: does the right one come later?
    Place { seq: u64, found: u64 },
}

/// Takes lines, remembers the first that is wrong.
#[derive(Debug)]
pub struct Verifier {
    next: u64,
    digest: Option<[u8; 32]>,
    log: Vec<u8>,
    anchors: Vec<Anchor>,
    unknown: Option<(u64, String)>,
    doubt: Option<Doubt>,
    broken: Option<Broken>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Verifier {
    /// From the first entry on.
    #[must_use]
    pub fn new() -> Self {
        Self {
            next: 0,
            digest: None,
            log: Vec::new(),
            anchors: Vec::new(),
            unknown: None,
            doubt: None,
            broken: None,
        }
    }

    /// From the entry after `head` on, which was verified before.
    #[must_use]
    pub fn resume(log: &str, head: Head, unknown: Option<(u64, String)>) -> Self {
        let mut verifier = Self::new();
        let quoted = serde_json::Value::from(log).to_string();
        quoted.as_bytes()[1..quoted.len() - 1].clone_into(&mut verifier.log);
        verifier.next = head.seq + 1;
        verifier.digest = Some(*head.cid.sha256());
        verifier.unknown = unknown;
        verifier
    }

    /// An entry that is known from elsewhere; `who` knows it, as a noun phrase ("the file head").
    /// Entries before the place where this verifier began are not compared.
    pub fn anchor(&mut self, head: Head, who: impl Into<String>) {
        self.anchors.push(Anchor { head, who: who.into() });
    }

    /// True when nothing that follows can change the outcome any more.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.broken.is_some()
    }

    /// True when every line so far is right.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.broken.is_none() && self.doubt.is_none()
    }

    /// Sequence of the next entry.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next
    }

    /// The next line, without its newline.
    pub fn push(&mut self, line: &[u8]) {
        if self.is_settled() {
            return;
        }
        if self.doubt.is_some() {
            self.look_on(line);
            return;
        }
        let seq = self.next;
        let fields = match Fields::read(line) {
            Ok(fields) => fields,
            Err(error @ EntryError::Version(_)) => return self.fail(seq, Reason::Version(error)),
            Err(error) => return self.fail(seq, Reason::Damaged(error)),
        };
        let digest: [u8; 32] = Sha256::digest(line).into();
        let linked = match (&self.digest, fields.prev) {
            (None, None) => true,
            (Some(before), Some(prev)) => cid_text(before) == prev,
            _ => false,
        };
        if fields.seq != seq {
            return self.wrong_number(seq, &fields, linked);
        }
        if !linked {
            if seq == 0 {
                return self.fail(seq, Reason::WrongPrev);
            }
            self.doubt = Some(Doubt::Prev { seq, digest, reason: Reason::WrongPrev });
            return;
        }
        if self.digest.is_none() {
            self.log = fields.log.to_vec();
        } else if fields.log != self.log {
            let found = String::from_utf8_lossy(fields.log).into_owned();
            return self.fail(seq, Reason::WrongLog(found));
        }
        let changed =
            self.anchors.iter().find(|kept| kept.head.seq == seq && *kept.head.cid.sha256() != digest);
        if let Some(anchor) = changed {
            let who = Witness::Kept(anchor.who.clone());
            return self.fail(seq, Reason::Changed(who));
        }
        if self.unknown.is_none() && !Event::TYPES.iter().any(|known| known.as_bytes() == fields.kind) {
            self.unknown = Some((seq, String::from_utf8_lossy(fields.kind).into_owned()));
        }
        self.digest = Some(digest);
        self.next += 1;
    }

    /// Bytes that stand where the next line should be, and cannot be one (too long, or not ended).
    pub fn push_damage(&mut self, why: EntryError) {
        if self.is_intact() {
            self.fail(self.next, Reason::Damaged(why));
        }
    }

    /// The outcome, after the last line.
    ///
    /// # Errors
    /// The first place where the chain breaks.
    pub fn finish(mut self) -> Result<Verified, Broken> {
        match self.doubt.take() {
            Some(Doubt::Prev { seq, digest, reason }) if self.broken.is_none() => {
                let witness = self
                    .anchors
                    .iter()
                    .find(|kept| kept.head.seq == seq && *kept.head.cid.sha256() == digest);
                match witness {
                    Some(_) => self.fail(seq - 1, Reason::Changed(Witness::Next)),
                    None => self.fail(seq, reason),
                }
            }
            Some(Doubt::Place { seq, found }) if self.broken.is_none() => {
                self.fail(seq, Reason::Missing { found });
            }
            _ => {}
        }
        if self.broken.is_none() {
            let known = self.anchors.iter().max_by_key(|anchor| anchor.head.seq);
            if let Some(anchor) = known.filter(|anchor| anchor.head.seq >= self.next) {
                let (known, who) = (anchor.head.seq, anchor.who.clone());
                self.fail(self.next, Reason::Cut { known, witness: Witness::Kept(who) });
            }
        }
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let quoted = [b"\"".as_slice(), &self.log, b"\""].concat();
        let head = self.digest.map(|digest| Head { cid: Cid::from_sha256(digest), seq: self.next - 1 });
        Ok(Verified {
            entries: self.next,
            // It stood in canonical JSON as a string; an empty journal has none.
            log: serde_json::from_slice(&quoted).unwrap_or_default(),
            head,
            unknown: self.unknown,
        })
    }

    fn fail(&mut self, seq: u64, reason: Reason) {
        self.doubt = None;
        self.broken = Some(Broken { seq, reason });
    }

    fn wrong_number(&mut self, seq: u64, fields: &Fields<'_>, linked: bool) {
        let found = fields.seq;
        if linked {
            return self.fail(seq, Reason::Renumbered { found });
        }
        if found > seq {
            self.doubt = Some(Doubt::Place { seq, found });
            return;
        }
        self.fail(found, Reason::Repeated { expected: seq });
    }

    /// After the first wrong line: what does this one tell about it?
    fn look_on(&mut self, line: &[u8]) {
        let fields = Fields::read(line);
        match self.doubt.take() {
            Some(Doubt::Prev { seq, digest, reason }) => {
                let named = fields.is_ok_and(|fields| fields.prev == Some(&cid_text(&digest)));
                if named {
                    self.fail(seq - 1, Reason::Changed(Witness::Next));
                } else {
                    self.fail(seq, reason);
                }
            }
            Some(Doubt::Place { seq, found }) => {
                if fields.is_ok_and(|fields| fields.seq == seq) {
                    self.fail(seq, Reason::Reordered { found });
                } else {
                    self.doubt = Some(Doubt::Place { seq, found });
                }
            }
            None => {}
        }
    }
}

/// The text of the [`Cid`] with this digest, without allocating: every line needs it.
fn cid_text(digest: &[u8; 32]) -> [u8; 59] {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digit = |bits: u64| DIGITS[usize::try_from(bits & 31).expect("because it is below 32")];
    let mut text = *b"b0000000000000000000000000000000000000000000000000000000000";
    // Base32 of 01 55 12 20 (version, raw, sha2-256, length) and the digest: 36 bytes, in groups
    // of 5 bytes and 8 digits; the last byte makes two digits.
    let mut bytes = [0; 36];
    bytes[..4].copy_from_slice(&[0x01, 0x55, 0x12, 0x20]);
    bytes[4..].copy_from_slice(digest);
    for (group, digits) in bytes.chunks_exact(5).zip(text[1..].chunks_exact_mut(8)) {
        let bits = group.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
        for (at, place) in (0_u32..).zip(digits) {
            *place = digit(bits >> (35 - 5 * at));
        }
    }
    let last = u64::from(bytes[35]);
    text[57] = digit(last >> 3);
    text[58] = digit(last << 2);
    text
}

#[cfg(test)]
mod tests;
