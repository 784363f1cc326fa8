//! From a value to its canonical bytes: a serde serialiser that refuses what has no such form.
//!
//! Written straight into one buffer; an object keeps the spans of its members and is put into
//! order when it ends. Going through `serde_json::Value` would turn NaN into `null` and
//! lose duplicate keys before anybody could refuse them.

use std::io::Write as _;

use serde::Serialize;
use serde::ser::{self, Impossible, SerializeMap as _};

use super::{CanonicalError, MAX_DEPTH, MAX_SAFE, key_order};

impl ser::Error for CanonicalError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}

pub(super) fn write<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(256);
    value.serialize(Writer { out: &mut out, depth: 0 })?;
    Ok(out)
}

/// A string with the least escaping that JSON allows (RFC 8785, section 3.2.2.2).
fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            8 => b'b',
            9 => b't',
            10 => b'n',
            12 => b'f',
            13 => b'r',
            0..=0x1f => b'u',
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        plain = at + 1;
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            let _ = write!(out, "{byte:04x}");
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    depth: usize,
}

impl<'o> Writer<'o> {
    fn list(self, tag: Option<&'static str>) -> Result<List<'o>, CanonicalError> {
        let deeper = self.depth + 1 + usize::from(tag.is_some());
        if deeper > MAX_DEPTH {
            return Err(CanonicalError::TooDeep);
        }
        if let Some(tag) = tag {
            self.out.push(b'{');
            write_string(self.out, tag);
            self.out.push(b':');
        }
        self.out.push(b'[');
        Ok(List { out: self.out, depth: deeper, empty: true, tagged: tag.is_some() })
    }

    fn object(self, tag: Option<&'static str>) -> Result<Object<'o>, CanonicalError> {
        let deeper = self.depth + 1 + usize::from(tag.is_some());
        if deeper > MAX_DEPTH {
            return Err(CanonicalError::TooDeep);
        }
        if let Some(tag) = tag {
            self.out.push(b'{');
            write_string(self.out, tag);
            self.out.push(b':');
        }
        let start = self.out.len();
        Ok(Object {
            out: self.out,
            depth: deeper,
            start,
            members: Vec::new(),
            key: None,
            tagged: tag.is_some(),
        })
    }

    fn integer(self, value: i128) -> Result<(), CanonicalError> {
        if value.unsigned_abs() > u128::from(MAX_SAFE.unsigned_abs()) {
            return Err(CanonicalError::OutOfRange);
        }
        let _ = write!(self.out, "{value}");
        Ok(())
    }
}

impl<'o> ser::Serializer for Writer<'o> {
    type Ok = ();
    type Error = CanonicalError;
    type SerializeSeq = List<'o>;
    type SerializeTuple = List<'o>;
    type SerializeTupleStruct = List<'o>;
    type SerializeTupleVariant = List<'o>;
    type SerializeMap = Object<'o>;
    type SerializeStruct = Object<'o>;
    type SerializeStructVariant = Object<'o>;

    fn serialize_bool(self, value: bool) -> Result<(), CanonicalError> {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }
    fn serialize_i8(self, value: i8) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_i16(self, value: i16) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_i32(self, value: i32) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_i64(self, value: i64) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_i128(self, value: i128) -> Result<(), CanonicalError> {
        self.integer(value)
    }
    fn serialize_u8(self, value: u8) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_u16(self, value: u16) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_u32(self, value: u32) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_u64(self, value: u64) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_u128(self, value: u128) -> Result<(), CanonicalError> {
        self.integer(i128::try_from(value).map_err(|_| CanonicalError::OutOfRange)?)
    }
    fn serialize_f32(self, _: f32) -> Result<(), CanonicalError> {
        Err(CanonicalError::NotAnInteger)
    }
    fn serialize_f64(self, _: f64) -> Result<(), CanonicalError> {
        Err(CanonicalError::NotAnInteger)
    }
    fn serialize_char(self, value: char) -> Result<(), CanonicalError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }
    fn serialize_str(self, text: &str) -> Result<(), CanonicalError> {
        write_string(self.out, text);
        Ok(())
    }
    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), CanonicalError> {
        bytes.serialize(self)
    }
    fn serialize_none(self) -> Result<(), CanonicalError> {
        self.serialize_unit()
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CanonicalError> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), CanonicalError> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CanonicalError> {
        self.serialize_unit()
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), CanonicalError> {
        self.serialize_str(variant)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        let mut object = self.object(None)?;
        object.serialize_entry(variant, value)?;
        ser::SerializeMap::end(object)
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<List<'o>, CanonicalError> {
        self.list(None)
    }
    fn serialize_tuple(self, _: usize) -> Result<List<'o>, CanonicalError> {
        self.list(None)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List<'o>, CanonicalError> {
        self.list(None)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<List<'o>, CanonicalError> {
        self.list(Some(variant))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Object<'o>, CanonicalError> {
        self.object(None)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Object<'o>, CanonicalError> {
        self.object(None)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Object<'o>, CanonicalError> {
        self.object(Some(variant))
    }
}

/// An array that is being written.
struct List<'o> {
    out: &'o mut Vec<u8>,
    depth: usize,
    empty: bool,
    tagged: bool,
}

impl List<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        value.serialize(Writer { out: self.out, depth: self.depth })
    }

    fn close(self) {
        self.out.extend_from_slice(if self.tagged { b"]}" } else { b"]" });
    }
}

macro_rules! list {
    ($($kind:ident . $add:ident),*) => {$(
        impl ser::$kind for List<'_> {
            type Ok = ();
            type Error = CanonicalError;
            fn $add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
                self.item(value)
            }
            fn end(self) -> Result<(), CanonicalError> {
                self.close();
                Ok(())
            }
        }
    )*};
}
list!(
    SerializeSeq.serialize_element,
    SerializeTuple.serialize_element,
    SerializeTupleStruct.serialize_field,
    SerializeTupleVariant.serialize_field
);

/// An object that is being written: its members stand in `out` from `start` in the order they
/// came, each as `"key":value`, and are put into order at the end.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    depth: usize,
    start: usize,
    /// Key and end of each member.
    members: Vec<(String, usize)>,
    key: Option<String>,
    tagged: bool,
}

impl Object<'_> {
    fn member<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), CanonicalError> {
        write_string(self.out, &key);
        self.out.push(b':');
        value.serialize(Writer { out: self.out, depth: self.depth })?;
        self.members.push((key, self.out.len()));
        Ok(())
    }

    fn close(self) -> Result<(), CanonicalError> {
        let written = self.out.split_off(self.start);
        let mut begin = 0;
        let mut spans: Vec<(&str, &[u8])> = Vec::with_capacity(self.members.len());
        for (key, end) in &self.members {
            spans.push((key, &written[begin..end - self.start]));
            begin = end - self.start;
        }
        spans.sort_by(|left, right| key_order(left.0, right.0));
        if let Some(twice) = spans.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(CanonicalError::DuplicateKey(twice[0].0.to_owned()));
        }
        self.out.push(b'{');
        for (at, (_, span)) in spans.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(span);
        }
        self.out.extend_from_slice(if self.tagged { b"}}" } else { b"}" });
        Ok(())
    }
}

impl ser::SerializeMap for Object<'_> {
    type Ok = ();
    type Error = CanonicalError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CanonicalError> {
        self.key = Some(key.serialize(KeyText)?);
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        let key = self.key.take().ok_or(CanonicalError::KeyNotText)?;
        self.member(key, value)
    }
    fn end(self) -> Result<(), CanonicalError> {
        self.close()
    }
}

macro_rules! object {
    ($($kind:ident),*) => {$(
        impl ser::$kind for Object<'_> {
            type Ok = ();
            type Error = CanonicalError;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), CanonicalError> {
                self.member(key.to_owned(), value)
            }
            fn end(self) -> Result<(), CanonicalError> {
                self.close()
            }
        }
    )*};
}
object!(SerializeStruct, SerializeStructVariant);

/// Accepts only what is text, for object keys.
struct KeyText;

macro_rules! not_text {
    ($($method:ident($kind:ty)),*) => {$(
        fn $method(self, _: $kind) -> Result<String, CanonicalError> {
            Err(CanonicalError::KeyNotText)
        }
    )*};
}

impl ser::Serializer for KeyText {
    type Ok = String;
    type Error = CanonicalError;
    type SerializeSeq = Impossible<String, CanonicalError>;
    type SerializeTuple = Impossible<String, CanonicalError>;
    type SerializeTupleStruct = Impossible<String, CanonicalError>;
    type SerializeTupleVariant = Impossible<String, CanonicalError>;
    type SerializeMap = Impossible<String, CanonicalError>;
    type SerializeStruct = Impossible<String, CanonicalError>;
    type SerializeStructVariant = Impossible<String, CanonicalError>;

    not_text!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str)
    );

    fn serialize_char(self, value: char) -> Result<String, CanonicalError> {
        Ok(value.to_string())
    }
    fn serialize_str(self, text: &str) -> Result<String, CanonicalError> {
        Ok(text.to_owned())
    }
    fn serialize_none(self) -> Result<String, CanonicalError> {
        Err(CanonicalError::KeyNotText)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<String, CanonicalError> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<String, CanonicalError> {
        Err(CanonicalError::KeyNotText)
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<String, CanonicalError> {
        Ok(variant.to_owned())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<String, CanonicalError> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<String, CanonicalError> {
        Err(CanonicalError::KeyNotText)
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, CanonicalError> {
        Err(CanonicalError::KeyNotText)
    }
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, CanonicalError> {
        Err(CanonicalError::KeyNotText)
    }
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, CanonicalError> {
        Err(CanonicalError::KeyNotText)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, CanonicalError> {
        Err(CanonicalError::KeyNotText)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, CanonicalError> {
        Err(CanonicalError::KeyNotText)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, CanonicalError> {
        Err(CanonicalError::KeyNotText)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, CanonicalError> {
        Err(CanonicalError::KeyNotText)
    }
}
