//! A ballot: what one of those who decide says about one proposal, as a text that a person can
//! read before signing it.
//!
//! ```text
//! lambda-os ballot v1
//! workspace: bafkrei…
//! seen-base: 96ee9a4…
//! pin: logos-waku-module 1111… -> 2222… at repos/logos-waku-module
//! change: bafkrei…
//! proposal: bafkrei…
//! policy: bafkrei…
//! members-epoch: 1
//! verified: no
//! voter: operator
//! choice: approve
//! seq: 1
//! not-after: 2026-12-22T06:28:31Z
//! ```
//!
//! One `key: value` a line in exactly this order, ended by a line feed; `pin` stands once for each
//! pin, then `file` once for each file of a change that is no pin's, with the identities of what
//! stands there (`none` for nothing) and of what shall, and `+x` behind those of executable files:
//! `file: bafkrei… -> bafkrei… at docs/README.md`. A change of the rules themselves has the line
//! `document: members bafkrei… -> bafkrei…` there. A line `reason: …` may follow as the last. There is one rendering, and the parser takes
//! nothing else: a text that two readers could understand differently is no ballot.
//!
//! A [`SignedBallot`] is the text followed by its armored SSH signature (see [`super::signature`]),
//! as `cat X.ballot X.ballot.sig` gives it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::key::PublicKey;
use super::members::is_name;
use super::signature::{self, MAX_ARMOR, SignatureError};
use crate::domain::canonical::MAX_SAFE;
use crate::domain::change::{Delta, DocumentDelta, DocumentKind, FileDelta};
use crate::domain::id::{ChangeId, Cid, ModuleName, ObjectId, ProposalId, RepoPath};
use crate::domain::moment::Moment;
use crate::domain::plan::PinMove;
use crate::domain::text;

/// The first line.
pub const HEADER: &str = "lambda-os ballot v1";

/// Largest text of a ballot, in bytes.
pub const MAX_TEXT: usize = 256 * 1024;

/// Largest signed message, in bytes.
pub const MAX_MESSAGE: usize = MAX_TEXT + MAX_ARMOR;

/// What stands for the content of a file that is not there yet.
const NOTHING: &str = "none";

/// Most bytes of a reason.
pub const MAX_REASON: usize = 1000;

/// What a voter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// It shall be applied.
    Approve,
    /// It shall not.
    Reject,
    /// Neither; also takes back what the voter said before.
    Abstain,
    /// It must not. Until the members document gives vetoes a quorum of their own it counts as
    /// a rejection.
    Veto,
}

impl Choice {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Approve, Self::Reject, Self::Abstain, Self::Veto];

    /// The word in the ballot.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Abstain => "abstain",
            Self::Veto => "veto",
        }
    }
}

/// What one voter says about one proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ballot {
    /// Which workspace.
    pub workspace: String,
    /// The superproject's commit that the voter looked at.
    pub seen_base: ObjectId,
    /// The pins that move, by module.
    pub pins: Vec<PinMove>,
    /// The files that change beside what pins change, by path.
    pub files: Vec<FileDelta>,
    /// The document that takes the place of another.
    pub document: Option<DocumentDelta>,
    /// What the proposal does.
    pub change: ChangeId,
    /// Which proposal.
    pub proposal: ProposalId,
    /// The policy it is judged by.
    pub policy: Cid,
    /// The members document it is decided by.
    pub members_epoch: u64,
    /// Whether verification stood behind it when the voter looked.
    pub verified: bool,
    /// Who says it: a principal's name.
    pub voter: String,
    /// What is said.
    pub choice: Choice,
    /// Counts the voter's ballots: of those on one proposal the highest holds.
    pub seq: u64,
    /// Until when it counts.
    pub not_after: Moment,
    /// Why, for people.
    pub reason: Option<String>,
}

/// Why a text is no ballot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BallotError {
    /// More than [`MAX_TEXT`] or [`MAX_MESSAGE`].
    #[error("it is too large")]
    TooLarge,
    /// It is not text.
    #[error("it is not UTF-8")]
    NotText,
    /// The first line is another.
    #[error("its first line is {}, not \"{HEADER}\"", text::quoted(&text::clipped(.0, 60)))]
    Header(String),
    /// Another line than the one that must stand there.
    #[error("line {line} is {}, where \"{wanted}: …\" must stand", text::quoted(&text::clipped(found, 60)))]
    Line {
        /// Which line, from 1.
        line: usize,
        /// The key that must stand there.
        wanted: &'static str,
        /// What stands there.
        found: String,
    },
    /// A value that its key does not allow.
    #[error("{key}: {} is not allowed there", text::quoted(&text::clipped(value, 60)))]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// Lines after the last, or none ended it.
    #[error("something stands behind its last line, or the last line does not end")]
    Tail,
    /// It means something, but is not written as ballots are.
    #[error("it is not written in the one form of a ballot")]
    NotCanonical,
    /// There is no signature behind it.
    #[error("no SSH signature stands behind it")]
    Unsigned,
}

/// The pins of a change as ballots name them.
#[must_use]
pub fn pins_of(delta: &Delta) -> Vec<PinMove> {
    let named = |pin: &crate::domain::change::PinDelta| PinMove {
        module: pin.module.clone(),
        path: pin.path.clone(),
        from: pin.from.commit,
        to: pin.to.commit,
    };
    delta.pins.iter().map(named).collect()
}

impl fmt::Display for Ballot {
    /// The one rendering. Reading it again gives the same ballot for every ballot that
    /// [`Ballot::check`] accepts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        writeln!(f, "workspace: {}", self.workspace)?;
        writeln!(f, "seen-base: {}", self.seen_base)?;
        for PinMove { module, path, from, to } in &self.pins {
            writeln!(f, "pin: {module} {from} -> {to} at {path}")?;
        }
        for FileDelta { path, old, new } in &self.files {
            let old = old.map_or_else(|| NOTHING.to_owned(), |old| old.to_string());
            writeln!(f, "file: {old} -> {new} at {path}")?;
        }
        if let Some(DocumentDelta { kind, old, new }) = &self.document {
            writeln!(f, "document: {} {old} -> {new}", kind.as_str())?;
        }
        writeln!(f, "change: {}", self.change)?;
        writeln!(f, "proposal: {}", self.proposal)?;
        writeln!(f, "policy: {}", self.policy)?;
        writeln!(f, "members-epoch: {}", self.members_epoch)?;
        writeln!(f, "verified: {}", if self.verified { "yes" } else { "no" })?;
        writeln!(f, "voter: {}", self.voter)?;
        writeln!(f, "choice: {}", self.choice.as_str())?;
        writeln!(f, "seq: {}", self.seq)?;
        writeln!(f, "not-after: {}", self.not_after)?;
        if let Some(reason) = &self.reason {
            writeln!(f, "reason: {reason}")?;
        }
        Ok(())
    }
}

impl Ballot {
    /// The identity of its text: ballots of one identity say the same.
    #[must_use]
    pub fn cid(&self) -> Cid {
        Cid::of(self.to_string().as_bytes())
    }

    /// What every ballot must fulfil for its text to be read again as the same.
    ///
    /// # Errors
    /// With the value that it must not hold.
    pub fn check(&self) -> Result<(), BallotError> {
        let wrong = |key, value: &str| Err(BallotError::Value { key, value: value.to_owned() });
        if self.workspace.len() > 256 || text::word(&self.workspace) != self.workspace {
            return wrong("workspace", &self.workspace);
        }
        if let Some(pin) = self.pins.iter().find(|pin| pin.path.as_bytes().is_empty()) {
            return wrong("pin", pin.module.as_str());
        }
        if self.files.iter().any(|file| file.path.as_bytes().is_empty()) {
            return wrong("file", "");
        }
        if !is_name(&self.voter) {
            return wrong("voter", &self.voter);
        }
        for (key, number) in [("members-epoch", self.members_epoch), ("seq", self.seq)] {
            if number > MAX_SAFE.unsigned_abs() {
                return wrong(key, &number.to_string());
            }
        }
        if let Some(reason) = &self.reason
            && (reason.is_empty()
                || reason.len() > MAX_REASON
                || text::inert(reason) != *reason
                || reason.trim() != reason)
        {
            return wrong("reason", reason);
        }
        if self.to_string().len() > MAX_TEXT { Err(BallotError::TooLarge) } else { Ok(()) }
    }
}

impl FromStr for Ballot {
    type Err = BallotError;

    fn from_str(written: &str) -> Result<Self, BallotError> {
        if written.len() > MAX_TEXT {
            return Err(BallotError::TooLarge);
        }
        let mut lines = Lines::new(written)?;
        let workspace = lines.value("workspace")?.to_owned();
        let seen_base = lines.parsed("seen-base")?;
        let mut pins = Vec::new();
        while let Some(pin) = lines.optional("pin") {
            pins.push(read_pin(pin).ok_or_else(|| BallotError::Value { key: "pin", value: pin.to_owned() })?);
        }
        let mut files = Vec::new();
        while let Some(file) = lines.optional("file") {
            let wrong = || BallotError::Value { key: "file", value: file.to_owned() };
            files.push(read_file(file).ok_or_else(wrong)?);
        }
        let document = match lines.optional("document") {
            None => None,
            Some(document) => {
                let wrong = || BallotError::Value { key: "document", value: document.to_owned() };
                Some(read_document(document).ok_or_else(wrong)?)
            }
        };
        let ballot = Self {
            workspace,
            seen_base,
            pins,
            files,
            document,
            change: lines.parsed("change")?,
            proposal: lines.parsed("proposal")?,
            policy: lines.parsed("policy")?,
            members_epoch: lines.parsed("members-epoch")?,
            verified: lines.one_of("verified", &[("yes", true), ("no", false)])?,
            voter: lines.value("voter")?.to_owned(),
            choice: lines.one_of("choice", &Choice::ALL.map(|choice| (choice.as_str(), choice)))?,
            seq: lines.parsed("seq")?,
            not_after: lines.parsed("not-after")?,
            reason: lines.optional("reason").map(str::to_owned),
        };
        if !lines.rest.is_empty() {
            return Err(BallotError::Tail);
        }
        ballot.check()?;
        // Whatever the parts let through: there is one text for one ballot.
        if ballot.to_string() == written { Ok(ballot) } else { Err(BallotError::NotCanonical) }
    }
}

/// `MODULE FROM -> TO at PATH`.
fn read_pin(value: &str) -> Option<PinMove> {
    let mut words = value.splitn(6, ' ');
    let module = words.next()?;
    let from = words.next()?.parse().ok()?;
    if words.next()? != "->" {
        return None;
    }
    let to = words.next()?.parse().ok()?;
    if words.next()? != "at" {
        return None;
    }
    let path: RepoPath = words.next()?.parse().ok()?;
    let name = ModuleName::new(module);
    (name.as_str() == module).then_some(PinMove { module: name, path, from, to })
}

/// `OLD -> NEW at PATH`.
fn read_file(value: &str) -> Option<FileDelta> {
    let mut words = value.splitn(5, ' ');
    let old = match words.next()? {
        NOTHING => None,
        old => Some(old.parse().ok()?),
    };
    if words.next()? != "->" {
        return None;
    }
    let new = words.next()?.parse().ok()?;
    if words.next()? != "at" {
        return None;
    }
    Some(FileDelta { path: words.next()?.parse().ok()?, old, new })
}

/// `KIND OLD -> NEW`.
fn read_document(value: &str) -> Option<DocumentDelta> {
    let mut words = value.splitn(4, ' ');
    let kind = match words.next()? {
        "members" => DocumentKind::Members,
        "policy" => DocumentKind::Policy,
        _ => return None,
    };
    let old = words.next()?.parse().ok()?;
    if words.next()? != "->" {
        return None;
    }
    Some(DocumentDelta { kind, old, new: words.next()?.parse().ok()? })
}

/// The lines that are still to be read.
struct Lines<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Lines<'t> {
    fn new(written: &'t str) -> Result<Self, BallotError> {
        let (first, rest) = written.split_once('\n').unwrap_or((written, ""));
        if first == HEADER { Ok(Self { rest, line: 2 }) } else { Err(BallotError::Header(first.to_owned())) }
    }

    /// The value of this key, if its line is the next and ends.
    fn optional(&mut self, key: &'static str) -> Option<&'t str> {
        let (line, rest) = self.rest.split_once('\n')?;
        let value = line.strip_prefix(key)?.strip_prefix(": ")?;
        self.rest = rest;
        self.line += 1;
        Some(value)
    }

    fn value(&mut self, key: &'static str) -> Result<&'t str, BallotError> {
        self.optional(key).ok_or_else(|| BallotError::Line {
            line: self.line,
            wanted: key,
            found: self.rest.lines().next().unwrap_or_default().to_owned(),
        })
    }

    fn parsed<T: FromStr>(&mut self, key: &'static str) -> Result<T, BallotError> {
        let value = self.value(key)?;
        value.parse().map_err(|_| BallotError::Value { key, value: value.to_owned() })
    }

    fn one_of<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Result<T, BallotError> {
        let value = self.value(key)?;
        let found = words.iter().find(|(word, _)| *word == value);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| BallotError::Value { key, value: value.to_owned() })
    }
}

/// A ballot's text with its signature, neither of them judged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBallot {
    /// The text.
    pub text: String,
    /// The signature, in its binary form.
    pub signature: Vec<u8>,
}

/// A ballot whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBallot {
    /// What it says.
    pub ballot: Ballot,
    /// Which key signed it. Whose that is, the members document says.
    pub key: PublicKey,
}

/// Why a message is no signed ballot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The text is no ballot.
    #[error("not a ballot: {0}")]
    Ballot(#[from] BallotError),
    /// The signature does not hold.
    #[error("{0}")]
    Signature(#[from] SignatureError),
}

impl SignedBallot {
    /// The two parts of a message: the text, then the armored signature.
    ///
    /// # Errors
    /// When there is no signature, or the message is too large or no text.
    pub fn from_message(message: &[u8]) -> Result<Self, MessageError> {
        if message.len() > MAX_MESSAGE {
            return Err(BallotError::TooLarge.into());
        }
        let message = std::str::from_utf8(message).map_err(|_| BallotError::NotText)?;
        let at = message.find("-----BEGIN SSH SIGNATURE-----").ok_or(BallotError::Unsigned)?;
        let (text, armor) = message.split_at(at);
        Ok(Self { text: text.to_owned(), signature: signature::from_armor(armor)? })
    }

    /// The one message for this text and signature.
    #[must_use]
    pub fn to_message(&self) -> Vec<u8> {
        (self.text.clone() + &signature::to_armor(&self.signature)).into_bytes()
    }

    /// What it says and which key says it.
    ///
    /// # Errors
    /// When the text is no ballot, or the signature does not hold over it.
    pub fn verify(&self) -> Result<VerifiedBallot, MessageError> {
        let ballot: Ballot = self.text.parse()?;
        let key = signature::verify(self.text.as_bytes(), &self.signature)?;
        Ok(VerifiedBallot { ballot, key })
    }
}

#[cfg(test)]
mod tests;
