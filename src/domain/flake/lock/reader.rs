//! A cursor over the JSON of a lock file: what every lock is made of read directly, all else by
//! `serde_json` from the same place.
//!
//! In: the file's text. Out: pieces of it as [`SharedStr`], or an error with line and column.
//! Nothing here recurses: depth is the caller's shape, and `serde_json`'s bound for what has none.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserializer as _;
use serde::de::{DeserializeOwned, Visitor};

use super::value::known;
use super::{LockError, scan};
use crate::domain::flake::named::Named;
use crate::domain::flake::shared::SharedStr;
use crate::domain::text;

/// Where reading is.
pub(super) struct Reader<'a> {
    file: &'a Arc<String>,
    whole: &'a str,
    at: usize,
    /// Where the key that was read last ends.
    key_end: usize,
}

/// Text that was read and is not kept yet.
pub(super) struct Piece<'a> {
    text: Cow<'a, str>,
    /// Where it is in the file, when it is there as it is.
    start: usize,
}

impl Piece<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Objects up to this size get the duplicate's own line in the message; larger ones the line
/// where the object ends.
const LINEAR: usize = 64;

/// A place to complain about later.
pub(super) struct Faults<'a> {
    whole: &'a str,
    at: usize,
}

impl Faults<'_> {
    /// This key was in the object already.
    pub(super) fn duplicate(&self, key: &str) -> LockError {
        fault(self.whole, self.at, twice(key))
    }
}

/// What is said of a key that its object had already.
pub(super) fn twice(key: &str) -> String {
    format!("the key {} stands twice in one object", text::quoted(&text::clipped(key, 100)))
}

/// Columns count the bytes of the line before `end`, as `serde_json` does.
fn fault(whole: &str, end: usize, what: impl Into<String>) -> LockError {
    let before = &whole.as_bytes()[..end.min(whole.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = before.split(|byte| *byte == b'\n').count();
    LockError::Json { line, column: before.len() - line_start, what: what.into() }
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a Arc<String>) -> Self {
        Self { file, whole: file, at: 0, key_end: 0 }
    }

    /// The bytes that are not read yet.
    pub(super) fn left(&self) -> usize {
        self.whole.len() - self.at
    }

    /// The key that was just read, as a place.
    pub(super) fn here(&self) -> Faults<'a> {
        Faults { whole: self.whole, at: self.key_end }
    }

    /// The next byte that is no space, which is not taken.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.whole.as_bytes().get(self.at)? {
                b' ' => self.at += scan::spaces(&self.whole.as_bytes()[self.at..]),
                b'\n' | b'\t' | b'\r' => self.at += 1,
                other => return Some(*other),
            }
        }
    }

    /// Complain about the byte that comes next.
    fn next(&mut self, what: &str, in_what: &str) -> LockError {
        match self.peek() {
            Some(_) => fault(self.whole, self.at + 1, what),
            None => fault(self.whole, self.at, format!("EOF while parsing {in_what}")),
        }
    }

    /// Nothing but space is left.
    pub(super) fn end(&mut self) -> Result<(), LockError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.next("trailing characters", "")),
        }
    }

    /// A value by `serde_json`, from here.
    pub(super) fn value<T: DeserializeOwned>(&mut self) -> Result<T, LockError> {
        self.peek();
        let rest = &self.whole[self.at..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<T>();
        match values.next() {
            Some(Ok(value)) => {
                self.at += values.byte_offset();
                Ok(value)
            }
            Some(Err(error)) => Err(self.told(&error)),
            None => Err(self.next("", "a value")),
        }
    }

    /// An error of `serde_json` about what is left, at its place in the file.
    fn told(&self, error: &serde_json::Error) -> LockError {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let what = error.to_string();
        let what = what.strip_suffix(&place).map_or_else(|| what.clone(), str::to_owned);
        let LockError::Json { line, column, .. } = fault(self.whole, self.at, "") else {
            return fault(self.whole, self.at, what);
        };
        let before = if error.line() <= 1 { column } else { 0 };
        LockError::Json { line: line + error.line().saturating_sub(1), column: before + error.column(), what }
    }

    /// Complain about the value that comes next: it is of another type, or none.
    pub(super) fn unexpected(&mut self, expected: &'static str) -> LockError {
        self.peek();
        let mut deserializer = serde_json::Deserializer::from_str(&self.whole[self.at..]);
        match deserializer.deserialize_any(Never(expected)) {
            Err(error) => self.told(&error),
            Ok(()) => self.next(expected, "a value"),
        }
    }

    /// Text, in the file or out of it.
    fn piece(&mut self, expected: &'static str) -> Result<Piece<'a>, LockError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected(expected));
        }
        let start = self.at + 1;
        let bytes = &self.whole.as_bytes()[start..];
        let length = scan::plain(bytes);
        if bytes.get(length) == Some(&b'"') {
            self.at = start + length + 1;
            // Quotes stand between characters, so it is a part.
            let text = self.whole.get(start..start + length).unwrap_or_default();
            return Ok(Piece { text: Cow::Borrowed(text), start });
        }
        Ok(Piece { text: Cow::Owned(self.value()?), start })
    }

    /// Text to be kept: what the program has itself without a hold on the file.
    pub(super) fn keep(&self, piece: Piece<'_>) -> SharedStr {
        if let Some(known) = known(piece.as_str()) {
            return SharedStr::fixed(known);
        }
        match piece.text {
            Cow::Borrowed(text) => {
                SharedStr::part(self.file, piece.start, piece.start + text.len()).unwrap_or_default()
            }
            Cow::Owned(text) => text.into(),
        }
    }

    /// Text.
    pub(super) fn text(&mut self, expected: &'static str) -> Result<SharedStr, LockError> {
        self.piece(expected).map(|piece| self.keep(piece))
    }

    /// An array of texts.
    pub(super) fn texts(&mut self) -> Result<Vec<SharedStr>, LockError> {
        let mut texts = Vec::new();
        self.at += 1;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(texts);
        }
        loop {
            texts.push(self.text("a string")?);
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(texts);
                }
                _ => return Err(self.next("expected `,` or `]`", "a list")),
            }
        }
    }

    /// A number of digits alone; `None` when it is another one, which is then not taken.
    pub(super) fn digits(&mut self) -> Option<u64> {
        let bytes = &self.whole.as_bytes()[self.at..];
        let length = bytes.iter().position(|byte| !byte.is_ascii_digit())?;
        let plain = !matches!(bytes[length], b'.' | b'e' | b'E') && (length == 1 || bytes[0] != b'0');
        if !plain || length > 19 {
            return None;
        }
        let number = bytes[..length].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
        self.at += length;
        Some(number)
    }

    /// An object: `each` is called after every key and takes its value.
    pub(super) fn object(
        &mut self,
        expected: &'static str,
        mut each: impl FnMut(&mut Self, Piece<'a>) -> Result<(), LockError>,
    ) -> Result<(), LockError> {
        if self.peek() != Some(b'{') {
            return Err(self.unexpected(expected));
        }
        self.at += 1;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.next("key must be a string", "an object"));
            }
            let key = self.piece("a string")?;
            self.key_end = self.at;
            if self.peek() != Some(b':') {
                return Err(self.next("expected `:`", "an object"));
            }
            self.at += 1;
            each(self, key)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.next("expected `,` or `}`", "an object")),
            }
        }
    }

    /// An object whose values are all of one kind, each key once.
    pub(super) fn map<T>(
        &mut self,
        expected: &'static str,
        room: usize,
        mut value: impl FnMut(&mut Self) -> Result<T, LockError>,
    ) -> Result<Named<T>, LockError> {
        let mut pairs: Vec<(SharedStr, T)> = Vec::with_capacity(room);
        let mut sorted = true;
        self.object(expected, |reader, key| {
            let key = reader.keep(key);
            // Nix writes keys in order: only other files pay for the search.
            sorted = sorted && pairs.last().is_none_or(|(last, _)| *last < key);
            if !sorted && pairs.len() < LINEAR && pairs.iter().any(|(known, _)| *known == key) {
                return Err(reader.here().duplicate(&key));
            }
            pairs.push((key, value(reader)?));
            Ok(())
        })?;
        if sorted {
            return Ok(Named::known_in_order(pairs));
        }
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        Named::in_order(pairs).map_err(|key| fault(self.whole, self.at, twice(&key)))
    }
}

/// Takes no value, and says what it would have taken.
struct Never(&'static str);

impl Visitor<'_> for Never {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
