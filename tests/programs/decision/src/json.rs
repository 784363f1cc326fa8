//! Canonical JSON with integers only: all that an input has.

use std::collections::BTreeMap;
use std::ops::Index;

/// A value of the input. What is not there is null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    True,
    False,
    Integer(i64),
    Text(String),
    List(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

static NULL: Value = Value::Null;

impl Value {
    /// The value in these bytes; nothing when they are not JSON.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let value = reader.value()?;
        (reader.at == bytes.len()).then_some(value)
    }

    /// Its text; empty for what is none.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// Its number; 0 for what is none.
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            _ => 0,
        }
    }

    /// Its elements; none for what is no list.
    pub fn list(&self) -> &[Value] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }
}

impl Index<&str> for Value {
    type Output = Self;

    fn index(&self, key: &str) -> &Self {
        match self {
            Self::Object(object) => object.get(key).unwrap_or(&NULL),
            _ => &NULL,
        }
    }
}

impl PartialEq<i64> for Value {
    fn eq(&self, number: &i64) -> bool {
        *self == Self::Integer(*number)
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, text: &str) -> bool {
        self.text() == text && matches!(self, Self::Text(_))
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        let end = self.at + word.len();
        if self.bytes.get(self.at..end)? != word.as_bytes() {
            return None;
        }
        self.at = end;
        Some(value)
    }

    fn value(&mut self) -> Option<Value> {
        match self.peek()? {
            b'n' => self.word("null", Value::Null),
            b't' => self.word("true", Value::True),
            b'f' => self.word("false", Value::False),
            b'"' => self.text().map(Value::Text),
            b'[' => {
                self.at += 1;
                let mut list = Vec::new();
                if self.peek()? == b']' {
                    self.at += 1;
                    return Some(Value::List(list));
                }
                loop {
                    list.push(self.value()?);
                    match self.next()? {
                        b',' => {}
                        b']' => return Some(Value::List(list)),
                        _ => return None,
                    }
                }
            }
            b'{' => {
                self.at += 1;
                let mut object = BTreeMap::new();
                if self.peek()? == b'}' {
                    self.at += 1;
                    return Some(Value::Object(object));
                }
                loop {
                    let key = self.text()?;
                    if self.next()? != b':' {
                        return None;
                    }
                    let value = self.value()?;
                    object.insert(key, value);
                    match self.next()? {
                        b',' => {}
                        b'}' => return Some(Value::Object(object)),
                        _ => return None,
                    }
                }
            }
            _ => self.integer(),
        }
    }

    fn integer(&mut self) -> Option<Value> {
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        let begun = self.at;
        let mut number: i64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
            self.at += 1;
        }
        (self.at > begun).then_some(Value::Integer(if negative { -number } else { number }))
    }

    fn text(&mut self) -> Option<String> {
        if self.next()? != b'"' {
            return None;
        }
        let mut text = Vec::new();
        loop {
            let begun = self.at;
            while !matches!(self.peek()?, b'"' | b'\\') {
                self.at += 1;
            }
            text.extend_from_slice(&self.bytes[begun..self.at]);
            if self.next()? == b'"' {
                return String::from_utf8(text).ok();
            }
            let escaped = match self.next()? {
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                // Canonical JSON escapes only controls so.
                b'u' => {
                    let digits = self.bytes.get(self.at..self.at + 4)?;
                    self.at += 4;
                    char::from_u32(u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?)?
                }
                other => char::from(other),
            };
            text.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}
