//! Canonical JSON with integers only: all that an input has.

use std::borrow::Cow;
use std::ops::Index;

/// A value of the input, in place. What is not there is null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    Null,
    True,
    False,
    Integer(i64),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// The value in this text; nothing when it is not JSON.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value()?;
        (reader.at == text.len()).then_some(value)
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
    pub fn list(&self) -> &[Value<'a>] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }
}

impl<'a> Index<&str> for Value<'a> {
    type Output = Value<'a>;

    fn index(&self, key: &str) -> &Self {
        let members = match self {
            Self::Object(members) => members.as_slice(),
            _ => &[],
        };
        members.iter().find(|(name, _)| name == key).map_or(&Value::Null, |(_, value)| value)
    }
}

impl PartialEq<i64> for Value<'_> {
    fn eq(&self, number: &i64) -> bool {
        *self == Self::Integer(*number)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Option<Value<'a>> {
        let end = self.at + word.len();
        if self.text.as_bytes().get(self.at..end)? != word.as_bytes() {
            return None;
        }
        self.at = end;
        Some(value)
    }

    fn value(&mut self) -> Option<Value<'a>> {
        match self.peek()? {
            b'n' => self.word("null", Value::Null),
            b't' => self.word("true", Value::True),
            b'f' => self.word("false", Value::False),
            b'"' => self.text().map(Value::Text),
            b'[' => self.list(),
            b'{' => self.object(),
            _ => self.integer(),
        }
    }

    fn list(&mut self) -> Option<Value<'a>> {
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

    fn object(&mut self) -> Option<Value<'a>> {
        self.at += 1;
        let mut object = Vec::new();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(Value::Object(object));
        }
        loop {
            let key = self.text()?;
            if self.next()? != b':' {
                return None;
            }
            object.push((key, self.value()?));
            match self.next()? {
                b',' => {}
                b'}' => return Some(Value::Object(object)),
                _ => return None,
            }
        }
    }

    fn integer(&mut self) -> Option<Value<'a>> {
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

    fn text(&mut self) -> Option<Cow<'a, str>> {
        if self.next()? != b'"' {
            return None;
        }
        let part = self.plain()?;
        if self.next()? == b'"' {
            return Some(Cow::Borrowed(part));
        }
        let mut text = part.to_owned();
        loop {
            text.push(match self.next()? {
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                // Canonical JSON escapes only controls so.
                b'u' => {
                    let digits = self.text.get(self.at..self.at + 4)?;
                    self.at += 4;
                    char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
                }
                other => char::from(other),
            });
            text.push_str(self.plain()?);
            if self.next()? == b'"' {
                return Some(Cow::Owned(text));
            }
        }
    }

    /// What stands before the next quotation mark or backslash.
    fn plain(&mut self) -> Option<&'a str> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let begun = self.at;
        self.at += length;
        self.text.get(begun..self.at)
    }
}
