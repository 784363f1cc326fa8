//! A proposal as one file, to carry to another state directory or to a machine without a network.
//!
//! It holds the manifest, the change, and the ballots cast so far. Nothing in it is believed:
//! identities are computed from the content, the change is derived again where it is imported,
//! and each ballot's signature is verified there.
//!
//! # Format
//! One JSON object, at most [`MAX_BYTES`]. Version 1; fields are only added in a new version:
//! ```json
//! {"v":1,"proposal":{…},"delta":{…},"purpose":"upgrade","ballots":["lambda-os ballot v1\n…"]}
//! ```
//! Version 2 is for changes of files, and has their new contents beside them, base64:
//! ```json
//! {"v":2,…,"purpose":"command","contents":["aGVsbG8K"]}
//! ```
//! Version 3 is for changes of the rules themselves, and has the new document so:
//! ```json
//! {"v":3,…,"purpose":"amend","contents":["eyJlcG9jaCI6Mi…"]}
//! ```

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::canonical::{self, CanonicalError};
use super::change::{Delta, MAX_FILES};
use super::id::{ChangeId, Cid, ProposalId};
use super::proposal::{MAX_PINS, Proposal, Purpose};

/// The newest version of the format.
pub const PACKET_VERSION: u32 = 3;

/// The largest file that is read, bytes.
pub const MAX_BYTES: usize = 16 << 20;

/// Most ballots in one file.
pub const MAX_BALLOTS: usize = 1_000;

/// A proposal with its change and its ballots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packet {
    /// Format version: 3 where the rules themselves change, 2 where files do, else 1.
    pub v: u32,
    /// The manifest.
    pub proposal: Proposal,
    /// What it does.
    pub delta: Delta,
    /// What it is for.
    pub purpose: Purpose,
    /// Signed messages, as they were taken in where it was exported.
    pub ballots: Vec<String>,
    /// The new contents of the files or of the document that change, base64, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<String>,
}

/// Why bytes are no packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// It is too large.
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// It is no JSON, or holds something without a canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// It is JSON of another shape.
    #[error("it is no proposal: {0}")]
    Shape(String),
    /// It is of another version.
    #[error("it has format version {0}, and this program knows version {PACKET_VERSION}")]
    Version(u64),
    /// The manifest is about another change than the one beside it.
    #[error("its manifest is about the change {stated}, and the change in it is {found}")]
    OtherChange {
        /// What the manifest says.
        stated: ChangeId,
        /// What stands beside it.
        found: ChangeId,
    },
    /// A content is no base64, is of nothing in the change, or is missing.
    #[error("its contents are not those of what it changes")]
    Contents,
    /// There is too much of something.
    #[error("it holds {found} {what}, and at most {most} are taken")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are taken.
        most: usize,
    },
}

/// The version that a packet with this change has.
#[must_use]
pub fn version_of(delta: &Delta) -> u32 {
    match (&delta.document, delta.files.is_empty()) {
        (Some(_), _) => PACKET_VERSION,
        (None, false) => 2,
        (None, true) => 1,
    }
}

impl Packet {
    /// Read a packet. Duplicate keys, unknown fields and numbers without a canonical form are refused.
    ///
    /// # Errors
    /// When it is none, or its parts do not belong together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PacketError> {
        if bytes.len() > MAX_BYTES {
            return Err(PacketError::TooLarge);
        }
        let value = canonical::parse(bytes)?;
        // The version first: another one may have another shape.
        match value.get("v").and_then(serde_json::Value::as_u64) {
            Some(1..=3) => {}
            Some(version) => return Err(PacketError::Version(version)),
            None => return Err(PacketError::Shape("it states no version".to_owned())),
        }
        let packet: Self =
            serde_json::from_value(value).map_err(|error| PacketError::Shape(error.to_string()))?;
        let found = packet.delta.id()?;
        if packet.proposal.change != found {
            return Err(PacketError::OtherChange { stated: packet.proposal.change, found });
        }
        let files = &packet.delta.files;
        let document = packet.delta.document;
        let fits = (packet.purpose == Purpose::Command) != files.is_empty()
            && (packet.purpose == Purpose::Amend) == document.is_some()
            && (document.is_none() || (packet.delta.pins.is_empty() && files.is_empty()));
        if packet.v != version_of(&packet.delta) || !fits {
            return Err(PacketError::Shape("its version or purpose is not that of its change".to_owned()));
        }
        for (what, found, most) in [
            ("pins", packet.delta.pins.len(), MAX_PINS),
            ("files", files.len(), MAX_FILES),
            ("ballots", packet.ballots.len(), MAX_BALLOTS),
        ] {
            if found > most {
                return Err(PacketError::TooMany { what, found, most });
            }
        }
        let named: BTreeSet<Cid> = packet.delta.contents().collect();
        if packet.bytes()?.keys().ne(&named) {
            return Err(PacketError::Contents);
        }
        Ok(packet)
    }

    /// The new contents by their identities.
    ///
    /// # Errors
    /// When one is no base64.
    pub fn bytes(&self) -> Result<BTreeMap<Cid, Vec<u8>>, PacketError> {
        let one = |content: &String| {
            let bytes = BASE64.decode(content.as_bytes()).map_err(|_| PacketError::Contents)?;
            Ok((Cid::of(&bytes), bytes))
        };
        self.contents.iter().map(one).collect()
    }

    /// The file.
    ///
    /// # Errors
    /// When something in it has no canonical form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PacketError> {
        let mut bytes = canonical::to_canonical(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The identity of the proposal in it.
    ///
    /// # Errors
    /// When the manifest has no canonical form.
    pub fn id(&self) -> Result<ProposalId, CanonicalError> {
        self.proposal.id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::{
        DELTA_VERSION, DocumentDelta, DocumentKind, FileContent, FileDelta, PinDelta, Revision,
    };
    use crate::domain::id::{Cid, ModuleName, ObjectId};
    use crate::domain::proposal::{PROPOSAL_VERSION, Track};

    fn packet() -> Packet {
        let revision =
            |byte| Revision { commit: ObjectId::from_bytes(&[byte; 20]).expect("an id"), nar: None };
        let delta = Delta {
            v: DELTA_VERSION,
            workspace: "w".to_owned(),
            pins: vec![PinDelta {
                module: ModuleName::new("m"),
                path: "repos/m".into(),
                from: revision(1),
                to: revision(2),
            }],
            edits: Vec::new(),
            files: Vec::new(),
            document: None,
        };
        let proposal = Proposal {
            v: PROPOSAL_VERSION,
            change: delta.id().expect("canonical"),
            track: Track::Leaf,
            policy: Cid::of(b"policy"),
            members_epoch: 1,
            requires: Vec::new(),
            supersedes: None,
            expires_ms: 5,
        };
        Packet {
            v: version_of(&delta),
            proposal,
            delta,
            purpose: Purpose::Upgrade,
            ballots: vec!["a\nballot".to_owned()],
            contents: Vec::new(),
        }
    }

    fn packet_of_a_file() -> Packet {
        let new = FileContent { executable: false, content: Cid::of(b"hello\n") };
        let packet = packet();
        let files = vec![FileDelta { path: "a".into(), old: None, new }];
        let delta = Delta { pins: Vec::new(), files, ..packet.delta };
        let proposal = Proposal { change: delta.id().expect("canonical"), ..packet.proposal };
        let contents = vec!["aGVsbG8K".to_owned()];
        Packet { v: 2, proposal, delta, purpose: Purpose::Command, contents, ..packet }
    }

    #[test]
    fn a_packet_of_files_has_exactly_their_contents() {
        let packet = packet_of_a_file();
        let read = Packet::from_bytes(&packet.to_bytes().expect("written"));
        assert_eq!(read, Ok(packet.clone()));
        assert_eq!(packet.bytes().expect("read")[&Cid::of(b"hello\n")], b"hello\n");
        let contents = |contents: &[&str]| {
            let contents = contents.iter().map(|content| (*content).to_owned()).collect();
            let packet = Packet { contents, ..packet.clone() };
            Packet::from_bytes(&packet.to_bytes().expect("written"))
        };
        for wrong in [&[][..], &["aGVsbG8"], &["aGVsbA=="], &["aGVsbG8K", "aGVsbA=="]] {
            assert_eq!(contents(wrong), Err(PacketError::Contents), "{wrong:?}");
        }
        for wrong in [Packet { v: 1, ..packet.clone() }, Packet { purpose: Purpose::Upgrade, ..packet }] {
            let read = Packet::from_bytes(&wrong.to_bytes().expect("written"));
            assert!(matches!(read, Err(PacketError::Shape(_))), "{read:?}");
        }
    }

    #[test]
    fn a_packet_of_a_document_has_that_document_and_nothing_else() {
        let (old, new) = (Cid::of(b"{}"), Cid::of(b"hello\n"));
        let document = Some(DocumentDelta { kind: DocumentKind::Policy, old, new });
        let packet = packet();
        let delta = Delta { pins: Vec::new(), document, ..packet.delta.clone() };
        let proposal = Proposal { change: delta.id().expect("canonical"), ..packet.proposal.clone() };
        let contents = vec!["aGVsbG8K".to_owned()];
        let good = Packet { v: 3, proposal, delta, purpose: Purpose::Amend, contents, ..packet.clone() };
        assert_eq!(Packet::from_bytes(&good.to_bytes().expect("written")), Ok(good.clone()));
        let both = Delta { pins: packet.delta.pins.clone(), ..good.delta.clone() };
        let proposal = Proposal { change: both.id().expect("canonical"), ..packet.proposal };
        for wrong in [
            Packet { v: 2, ..good.clone() },
            Packet { purpose: Purpose::Upgrade, ..good.clone() },
            Packet { delta: both, proposal, ..good.clone() },
            Packet { contents: Vec::new(), ..good },
        ] {
            assert!(Packet::from_bytes(&wrong.to_bytes().expect("written")).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_packet_is_read_as_it_was_written() {
        let packet = packet();
        let bytes = packet.to_bytes().expect("written");
        assert_eq!(Packet::from_bytes(&bytes), Ok(packet));
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let text = String::from_utf8(packet().to_bytes().expect("written")).expect("JSON is UTF-8");
        let check = |from: &str, to: &str, expected: &str| {
            assert!(text.contains(from), "{from}");
            let found = Packet::from_bytes(text.replace(from, to).as_bytes()).expect_err(to).to_string();
            assert!(found.contains(expected), "{found:?} for {to:?}");
        };
        check("repos/m", "repos/n", "its manifest is about the change");
        check("\"v\":1}", "\"v\":4}", "format version 4");
        check("\"purpose\":\"upgrade\"", "\"purpose\":\"upgrade\",\"x\":1", "unknown field");
        check("\"purpose\":\"upgrade\"", "\"purpose\":\"upgrade\",\"purpose\":\"upgrade\"", "purpose");
        check("upgrade", "revenge", "revenge");
        assert!(Packet::from_bytes(b"").is_err());
        assert!(Packet::from_bytes(b"[1]").is_err());
    }
}
