//! From JSON text to a value, refusing what readers disagree about.

use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{CanonicalError, MAX_DEPTH, MAX_SAFE, scan};

/// A value from any JSON text: integers within bounds, no key twice, bounded depth.
///
/// # Errors
/// When it is not such a text; the reason names the key where one stands twice.
pub fn parse(text: &[u8]) -> Result<Value, CanonicalError> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    // serde_json has its own bound (128), deeper than ours.
    let mut refused = None;
    let value = Strict { depth: 0, refused: &mut refused }.deserialize(&mut reader);
    let value = match (value, refused) {
        (_, Some(reason)) => return Err(reason),
        (Err(error), None) => return Err(CanonicalError::NotJson(error.to_string())),
        (Ok(value), None) => value,
    };
    reader.end().map_err(|error| CanonicalError::NotJson(error.to_string()))?;
    Ok(value)
}

/// A value from canonical bytes: refuses every text that
/// [`to_canonical`](super::to_canonical) would not have written.
///
/// # Errors
/// With the byte at which the text stops being canonical.
pub fn parse_canonical(text: &[u8]) -> Result<Value, CanonicalError> {
    scan::check(text)?;
    serde_json::from_slice(text).map_err(|error| CanonicalError::NotJson(error.to_string()))
}

struct Strict<'r> {
    depth: usize,
    /// The exact reason, which serde's error type could only carry as text.
    refused: &'r mut Option<CanonicalError>,
}

impl Strict<'_> {
    fn refuse<E: de::Error>(self, reason: CanonicalError) -> E {
        let error = E::custom(&reason);
        *self.refused = Some(reason);
        error
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with integers only")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > MAX_SAFE.unsigned_abs() {
            return Err(self.refuse(CanonicalError::OutOfRange));
        }
        Ok(value.into())
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        if value > MAX_SAFE.unsigned_abs() {
            return Err(self.refuse(CanonicalError::OutOfRange));
        }
        Ok(value.into())
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Value, E> {
        Err(self.refuse(CanonicalError::NotAnInteger))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }
    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            return Err(self.refuse(CanonicalError::TooDeep));
        }
        let refused = self.refused;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Strict { depth, refused: &mut *refused })? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            return Err(self.refuse(CanonicalError::TooDeep));
        }
        let refused = self.refused;
        let mut members = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            let value = object.next_value_seed(Strict { depth, refused: &mut *refused })?;
            if members.contains_key(&key) {
                return Err(Strict { depth, refused }.refuse(CanonicalError::DuplicateKey(key)));
            }
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}
