//! What operators hand each other: proposals, ballots and certificates, each a message that is
//! named by its content.
//!
//! A message is believed for nothing: a proposal is derived again, a ballot and a certificate are
//! verified from the signatures up. So a set of messages only grows, in any order and with any of
//! them twice or lost, and two operators who have seen the same messages know the same. The one form of a
//! name is `CID.KIND`, such as `bafkrei….ballot`: in a directory a file's name, in git a path in a tree.

use std::collections::BTreeSet;

use super::ballot::MAX_MESSAGE;
use super::certificate::MAX_CERTIFICATE;
use crate::domain::id::Cid;
use crate::domain::packet;

/// Most messages of one operator that are looked at.
pub const MAX_MESSAGES: usize = 4_096;

/// Most bytes of one operator's messages together.
pub const MAX_TOTAL: u64 = 32 << 20;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageKind {
    /// A proposal with its change and no ballots: a [`packet::Packet`].
    Proposal,
    /// A ballot with its signature.
    Ballot,
    /// A certificate, in its canonical form.
    Certificate,
}

impl MessageKind {
    /// All kinds, in the order in which they are taken in: a proposal before the ballots on it.
    pub const ALL: [Self; 3] = [Self::Proposal, Self::Ballot, Self::Certificate];

    /// How its name ends, behind a dot.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Proposal => "proposal",
            Self::Ballot => "ballot",
            Self::Certificate => "certificate",
        }
    }

    /// Most bytes of one.
    #[must_use]
    pub fn max_bytes(self) -> usize {
        match self {
            Self::Proposal => packet::MAX_BYTES,
            Self::Ballot => MAX_MESSAGE,
            Self::Certificate => MAX_CERTIFICATE,
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    /// What it says it is.
    pub kind: MessageKind,
    /// Its identity: of its bytes.
    pub cid: Cid,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Message {
    /// The message of these bytes.
    #[must_use]
    pub fn new(kind: MessageKind, bytes: Vec<u8>) -> Self {
        Self { kind, cid: Cid::of(&bytes), bytes }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.cid, self.kind.suffix())
    }
}

/// What a name says: the identity and the kind; `None` for what no message is named.
#[must_use]
pub fn read_name(name: &str) -> Option<(Cid, MessageKind)> {
    let (cid, suffix) = name.split_once('.')?;
    let kind = MessageKind::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
    let read: Cid = cid.parse().ok()?;
    // One identity, one name.
    (read.to_string() == cid).then_some((read, kind))
}

/// As many of these messages as one operator may show, in order; and how many were left out.
#[must_use]
pub fn bounded(messages: impl IntoIterator<Item = Message>) -> (BTreeSet<Message>, usize) {
    let (mut kept, mut bytes, mut left) = (BTreeSet::new(), 0_u64, 0);
    for message in messages {
        let with = bytes.saturating_add(u64::try_from(message.bytes.len()).unwrap_or(u64::MAX));
        if kept.contains(&message) {
            continue;
        }
        if kept.len() == MAX_MESSAGES || with > MAX_TOTAL || message.bytes.len() > message.kind.max_bytes() {
            left += 1;
        } else {
            bytes = with;
            kept.insert(message);
        }
    }
    (kept, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_a_message_is_and_nothing_else_is_a_name() {
        for kind in MessageKind::ALL {
            let message = Message::new(kind, b"hello".to_vec());
            assert_eq!(read_name(&message.name()), Some((message.cid, kind)));
        }
        let cid = Cid::of(b"hello").to_string();
        for name in [
            String::new(),
            cid.clone(),
            format!("{cid}."),
            format!("{cid}.ballot.sig"),
            format!("{cid}.Ballot"),
            format!("{}.ballot", cid.to_uppercase()),
            format!(" {cid}.ballot"),
            "x.ballot".to_owned(),
            format!("../{cid}.ballot"),
        ] {
            assert_eq!(read_name(&name), None, "{name}");
        }
    }

    #[test]
    fn what_one_operator_shows_is_bounded_in_number_and_size() {
        let many = (0..MAX_MESSAGES + 5).map(|at| Message::new(MessageKind::Ballot, at.to_string().into()));
        let (kept, left) = bounded(many);
        assert_eq!((kept.len(), left), (MAX_MESSAGES, 5));
        let large = |byte| Message::new(MessageKind::Certificate, vec![byte; 12 << 20]);
        let (kept, left) = bounded([large(1), large(2), large(1), large(3)]);
        assert_eq!((kept.len(), left), (2, 1));
        let over = Message::new(MessageKind::Ballot, vec![0; MAX_MESSAGE + 1]);
        assert_eq!(bounded([over]).1, 1);
    }
}
