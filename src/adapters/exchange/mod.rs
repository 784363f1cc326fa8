//! Where operators hand each other proposals, ballots and certificates.
//!
//! Two places, one form: each operator has a corner of its own, which nobody else writes, and in it
//! files that are named by their content (see [`crate::domain::governance::exchange`]). A corner is a
//! subdirectory of a shared directory ([`directory`]), or the tree of a ref in a shared repository
//! ([`repository`]). Corners are bounded in number of files and bytes, and only those of the
//! operators that the members document names are looked at.
//!
//! Nothing here is trusted and nothing here decides: what comes out are bytes whose content is what
//! their name says.

pub mod directory;

pub mod repository;

pub mod status;

use std::fmt::Write as _;

use crate::domain::governance::exchange::{MAX_TOTAL, Message, MessageKind};

/// What an operator's corner is called: its name, with everything but letters, digits, `-` and `_`
/// as `%XX`, so that it is a ref's component and a file's name on every system.
fn corner(operator: &str) -> String {
    let mut name = String::new();
    for byte in operator.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
    name
}

/// Counts what is read of one corner.
#[derive(Debug, Default)]
struct Allowance {
    bytes: u64,
    over: usize,
    other: usize,
}

impl Allowance {
    /// Whether a message of this kind with this many bytes may still be read.
    fn takes(&mut self, kind: MessageKind, bytes: u64) -> bool {
        let with = self.bytes.saturating_add(bytes);
        if usize::try_from(bytes).is_ok_and(|bytes| bytes <= kind.max_bytes()) && with <= MAX_TOTAL {
            self.bytes = with;
            return true;
        }
        self.over += 1;
        false
    }

    /// What was not read, as a sentence.
    fn said(&self, operator: &str) -> Option<String> {
        let over = (self.over > 0).then(|| format!("{} more or larger than is taken", self.over));
        let other = (self.other > 0).then(|| format!("{} that are not what their name says", self.other));
        let all: Vec<String> = over.into_iter().chain(other).collect();
        (!all.is_empty())
            .then(|| format!("of what {operator} shows, some was left alone: {}", all.join(", ")))
    }
}

/// The message of these bytes, if they are what the name says.
fn named(name: &str, kind: MessageKind, bytes: Vec<u8>) -> Option<Message> {
    let message = Message::new(kind, bytes);
    (message.name() == name).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corner_is_a_safe_component_and_no_two_operators_share_one() {
        for (operator, expected) in [
            ("ann", "ann"),
            ("a.lock", "a%2Elock"),
            ("a..b", "a%2E%2Eb"),
            ("ann@example.org", "ann%40example%2Eorg"),
            ("a+b_c-d", "a%2Bb_c-d"),
        ] {
            assert_eq!(corner(operator), expected);
        }
    }
}
