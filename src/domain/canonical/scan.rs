//! Is this text canonical? Answered in one pass without building values.
//!
//! Verifying a journal of a million lines is mostly this and SHA-256, so nothing is allocated
//! unless keys hold escapes or characters above U+E000. The law, held by a property test:
//! `check(t)` accepts exactly the texts for which parsing and writing again gives `t`.

use std::cmp::Ordering;

use super::{CanonicalError, MAX_DEPTH, MAX_SAFE, key_order};

/// Accepts exactly the canonical texts.
///
/// # Errors
/// With the byte at which the text stops being canonical.
pub fn check(text: &[u8]) -> Result<(), CanonicalError> {
    let mut scanner = Scanner::new(text)?;
    scanner.value(0)?;
    scanner.end()
}

/// Accepts exactly the canonical texts of objects, and hands each member of the outermost
/// object to `member`: its key as written between the quotes, and its value's bytes.
///
/// # Errors
/// As [`check`].
pub fn check_object<'t>(
    text: &'t [u8],
    mut member: impl FnMut(&'t [u8], &'t [u8]),
) -> Result<(), CanonicalError> {
    let mut scanner = Scanner::new(text)?;
    if scanner.peek() != Some(b'{') {
        return Err(scanner.wrong("an object was expected"));
    }
    scanner.object(0, &mut member)?;
    scanner.end()
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
}

/// Bytes that end the plain run of a string: the quote, the backslash, controls.
const STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        stops[byte] = true;
        byte += 1;
    }
    stops[b'"' as usize] = true;
    stops[b'\\' as usize] = true;
    stops
};

/// How many bytes stand before the first stop; eight at a time, because most of a text is such runs.
fn plain_run(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let mut groups = text.chunks_exact(8);
    let mut before = 0;
    for group in &mut groups {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(group);
        let bytes = u64::from_le_bytes(bytes);
        // The lowest bit of each mask is exact: a borrow only reaches bytes above a true one.
        let below = |bytes: u64, bound: u8| bytes.wrapping_sub(ONES * u64::from(bound)) & !bytes & HIGHS;
        let equal = |byte: u8| below(bytes ^ (ONES * u64::from(byte)), 1);
        let stops = below(bytes, 0x20) | equal(b'"') | equal(b'\\');
        if stops != 0 {
            return Some(
                before + usize::try_from(stops.trailing_zeros() / 8).expect("because it is below 8"),
            );
        }
        before += 8;
    }
    let rest = groups.remainder().iter().position(|byte| STOPS[usize::from(*byte)])?;
    Some(before + rest)
}

impl<'t> Scanner<'t> {
    fn new(text: &'t [u8]) -> Result<Self, CanonicalError> {
        match std::str::from_utf8(text) {
            Ok(_) => Ok(Self { text, at: 0 }),
            Err(error) => Err(CanonicalError::NotCanonical { at: error.valid_up_to(), what: "not UTF-8" }),
        }
    }

    fn wrong(&self, what: &'static str) -> CanonicalError {
        CanonicalError::NotCanonical { at: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn end(&self) -> Result<(), CanonicalError> {
        if self.at == self.text.len() { Ok(()) } else { Err(self.wrong("something follows the value")) }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &[u8]) -> Result<(), CanonicalError> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.wrong("not a value"))
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), CanonicalError> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.integer(),
            Some(b'{') => self.object(depth, &mut |_, _| ()),
            Some(b'[') => self.array(depth),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(_) => Err(self.wrong("not a value")),
            None => Err(self.wrong("the text ends too early")),
        }
    }

    fn integer(&mut self) -> Result<(), CanonicalError> {
        let start = self.at;
        let negative = self.take(b'-');
        let mut magnitude: i64 = 0;
        let digits = self.at;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            if self.at - digits >= 16 {
                return Err(CanonicalError::OutOfRange);
            }
            magnitude = magnitude * 10 + i64::from(digit - b'0');
            self.at += 1;
        }
        let length = self.at - digits;
        if length == 0 || (length > 1 && self.text[digits] == b'0') || (negative && magnitude == 0) {
            self.at = start;
            return Err(self.wrong("an integer that is not in its shortest form"));
        }
        if magnitude > MAX_SAFE {
            return Err(CanonicalError::OutOfRange);
        }
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Err(CanonicalError::NotAnInteger);
        }
        Ok(())
    }

    /// A string; gives the bytes between the quotes and whether any is an escape.
    fn string(&mut self) -> Result<(&'t [u8], bool), CanonicalError> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            let run = plain_run(&self.text[self.at..]);
            let Some(run) = run else {
                return Err(self.wrong("a string without an end"));
            };
            self.at += run;
            match self.text[self.at] {
                b'"' => {
                    self.at += 1;
                    return Ok((&self.text[start..self.at - 1], escaped));
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.wrong("a control character in a string")),
            }
        }
    }

    /// Only what has to be escaped is, in its one form.
    fn escape(&mut self) -> Result<(), CanonicalError> {
        let rest = &self.text[self.at + 1..];
        match rest {
            [b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r', ..] => self.at += 2,
            [b'u', b'0', b'0', high @ (b'0' | b'1'), low @ (b'0'..=b'9' | b'a'..=b'f'), ..] => {
                let low = if low.is_ascii_digit() { low - b'0' } else { low - b'a' + 10 };
                if *high == b'0' && matches!(low, 8 | 9 | 10 | 12 | 13) {
                    return Err(self.wrong("a control character with a shorter escape"));
                }
                self.at += 6;
            }
            _ => return Err(self.wrong("an escape that canonical JSON does not use")),
        }
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), CanonicalError> {
        if depth >= MAX_DEPTH {
            return Err(CanonicalError::TooDeep);
        }
        self.at += 1;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.wrong("a comma or the array's end was expected"));
            }
        }
    }

    fn object(
        &mut self,
        depth: usize,
        member: &mut dyn FnMut(&'t [u8], &'t [u8]),
    ) -> Result<(), CanonicalError> {
        if depth >= MAX_DEPTH {
            return Err(CanonicalError::TooDeep);
        }
        self.at += 1;
        if self.take(b'}') {
            return Ok(());
        }
        let mut before: Option<(&[u8], bool)> = None;
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a key was expected"));
            }
            let start = self.at;
            let key = self.string()?;
            if let Some(before) = before {
                match order(before, key) {
                    Ordering::Less => {}
                    Ordering::Equal => return Err(CanonicalError::DuplicateKey(unescaped(key.0))),
                    Ordering::Greater => {
                        self.at = start;
                        return Err(self.wrong("keys out of order"));
                    }
                }
            }
            before = Some(key);
            if !self.take(b':') {
                return Err(self.wrong("a colon was expected"));
            }
            let from = self.at;
            self.value(depth + 1)?;
            member(key.0, &self.text[from..self.at]);
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.wrong("a comma or the object's end was expected"));
            }
        }
    }
}

fn order(left: (&[u8], bool), right: (&[u8], bool)) -> Ordering {
    if !left.1 && !right.1 && left.0.iter().chain(right.0).all(|byte| *byte < 0xee) {
        return left.0.cmp(right.0);
    }
    key_order(&unescaped(left.0), &unescaped(right.0))
}

/// The text of a string that [`Scanner::string`] accepted.
fn unescaped(raw: &[u8]) -> String {
    let mut quoted = Vec::with_capacity(raw.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(raw);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).expect("because the scanner accepted it as a JSON string")
}
