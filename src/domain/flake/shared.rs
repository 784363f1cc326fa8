//! Text of locks that is cheap to make and to copy: a part of the file that was read, kept once.
//!
//! A lock of 5,000 nodes holds some 80,000 pieces of text, and a relock copies nearly all of them
//! unchanged. As parts of one file they cost a count each instead of an allocation. The whole file
//! stays in memory as long as any part of it does; it is bounded ([`Lock::MAX_BYTES`]).
//!
//! [`Lock::MAX_BYTES`]: super::lock::Lock::MAX_BYTES

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that compares, orders and prints as what it says, wherever it is kept.
#[derive(Clone)]
pub struct SharedStr(Kept);

#[derive(Clone)]
enum Kept {
    /// In the program.
    Fixed(&'static str),
    /// In a file, or in a text of its own.
    Part { whole: Arc<String>, start: u32, end: u32 },
}

impl SharedStr {
    /// Text of the program itself.
    #[must_use]
    pub const fn fixed(text: &'static str) -> Self {
        Self(Kept::Fixed(text))
    }

    /// A part of a text, in bytes; `None` when it is no part, or lies beyond 4 GiB.
    #[must_use]
    pub fn part(whole: &Arc<String>, start: usize, end: usize) -> Option<Self> {
        whole.get(start..end)?;
        let (start, end) = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
        Some(Self(Kept::Part { whole: Arc::clone(whole), start, end }))
    }

    /// The text.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kept::Fixed(text) => text,
            Kept::Part { whole, start, end } => &whole[*start as usize..*end as usize],
        }
    }
}

impl From<String> for SharedStr {
    /// # Panics
    /// Never: every text that is read is bounded far below 4 GiB.
    fn from(text: String) -> Self {
        let end = u32::try_from(text.len()).expect("because no text that is read has 4 GiB");
        Self(Kept::Part { whole: Arc::new(text), start: 0, end })
    }
}

impl From<&str> for SharedStr {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&String> for SharedStr {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl Default for SharedStr {
    fn default() -> Self {
        Self::fixed("")
    }
}

impl Deref for SharedStr {
    type Target = str;
    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for SharedStr {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for SharedStr {
    fn borrow(&self) -> &str {
        self
    }
}

impl PartialEq for SharedStr {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for SharedStr {}

impl PartialOrd for SharedStr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SharedStr {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialEq<str> for SharedStr {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for SharedStr {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for SharedStr {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl Hash for SharedStr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for SharedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for SharedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl Serialize for SharedStr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for SharedStr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// A path of names as people and errors have it.
#[must_use]
pub fn owned(path: &[SharedStr]) -> Vec<String> {
    path.iter().map(|name| name.as_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_it_says_wherever_it_is_kept() {
        let whole = Arc::new("aébc".to_owned());
        let part = SharedStr::part(&whole, 1, 4).expect("it is a part");
        assert_eq!(part, SharedStr::from("éb"));
        assert_eq!(part, SharedStr::fixed("éb"));
        assert!(SharedStr::fixed("b") < part && *part < *"éc");
        assert_eq!(SharedStr::part(&whole, 2, 4).map(|part| part.to_string()), None);
        assert_eq!(SharedStr::part(&whole, 0, 9).map(|part| part.to_string()), None);
    }
}
