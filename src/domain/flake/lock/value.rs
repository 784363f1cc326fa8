//! The values of a lock: attributes in the forms that every lock has, and all else by `serde_json`.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::LockError;
use super::reader::{Reader, twice};
use crate::domain::flake::reference::{Attr, Attrs};

/// `locked`, `original` or `info`, with room for so many attributes.
pub(super) fn attrs(reader: &mut Reader<'_>, room: usize) -> Result<Attrs, LockError> {
    reader.map("an object", room, |reader| match reader.peek() {
        Some(b'"') => reader.text("text").map(Attr::Str),
        Some(b'0'..=b'9') => match reader.digits() {
            Some(number) => Ok(Attr::Int(number)),
            None => reader.value::<AttrValue>().map(|value| value.0),
        },
        _ => reader.value::<AttrValue>().map(|value| value.0),
    })
}

/// The names and the values that nearly every node repeats.
pub(super) fn known(text: &str) -> Option<&'static str> {
    Some(match text {
        "type" => "type",
        "rev" => "rev",
        "repo" => "repo",
        "owner" => "owner",
        "narHash" => "narHash",
        "lastModified" => "lastModified",
        "github" => "github",
        "git" => "git",
        "url" => "url",
        "ref" => "ref",
        "id" => "id",
        "indirect" => "indirect",
        "revCount" => "revCount",
        "NixOS" => "NixOS",
        "nixpkgs" => "nixpkgs",
        "path" => "path",
        "dir" => "dir",
        "tarball" => "tarball",
        _ => return None,
    })
}

/// A value of `locked` and `original` in a form that is not usual.
struct AttrValue(Attr);

impl<'de> Deserialize<'de> for AttrValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = AttrValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number or a boolean")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(AttrValue(Attr::Str(text.into())))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(AttrValue(Attr::Int(number)))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
                Ok(AttrValue(Attr::Bool(value)))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// Any JSON value, whose objects hold each key once.
pub(super) struct Json(pub(super) serde_json::Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = serde_json::Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(serde_json::Value::Null)
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
                Ok(value.into())
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                Ok(value.into())
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                Ok(value.into())
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
                Ok(value.into())
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
                Ok(value.into())
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(Json(value)) = seq.next_element()? {
                    values.push(value);
                }
                Ok(values.into())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut values = serde_json::Map::new();
                while let Some(key) = map.next_key::<String>()? {
                    let Json(value) = map.next_value()?;
                    if values.contains_key(&key) {
                        return Err(de::Error::custom(twice(&key)));
                    }
                    values.insert(key, value);
                }
                Ok(values.into())
            }
        }
        deserializer.deserialize_any(V).map(Json)
    }
}
