//! JSON to nodes: one pass, duplicate keys refused where they stand, depth bounded by the parser.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use super::{Input, InputEdge, Lock, LockError, Node, NodeId};
use crate::domain::flake::reference::{Attr, Attrs, FlakeRef};
use crate::domain::text;

/// Text that is borrowed from the file unless it holds escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(V)
    }
}

/// An object as pairs in the file's order, each key once.
struct Pairs<'a, T>(Vec<(Cow<'a, str>, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<'de, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Pairs<'de, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs: Vec<(Cow<'de, str>, T)> = Vec::new();
                let mut sorted = true;
                while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
                    // Nix writes keys in order: only other files pay for the search.
                    sorted = sorted && pairs.last().is_none_or(|(last, _)| *last < key);
                    if !sorted && pairs.len() < LINEAR && pairs.iter().any(|(known, _)| *known == key) {
                        return Err(duplicate(&key));
                    }
                    pairs.push((key, map.next_value()?));
                }
                if !sorted {
                    pairs.sort_by(|a, b| a.0.cmp(&b.0));
                    if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                        return Err(duplicate(&pair[0].0));
                    }
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(V(PhantomData))
    }
}

/// Objects up to this size get the duplicate's own line in the message; larger ones the line
/// where the object ends.
const LINEAR: usize = 64;

fn duplicate<E: de::Error>(key: &str) -> E {
    E::custom(format_args!("the key {} stands twice in one object", text::quoted(&text::clipped(key, 100))))
}

/// A value of `locked` and `original`.
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
                Ok(AttrValue(Attr::Str(text.to_owned())))
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

fn attrs(pairs: Pairs<'_, AttrValue>) -> Attrs {
    pairs.0.into_iter().map(|(name, value)| (name.into_owned(), value.0)).collect()
}

/// An input: a node's name, or a path to follow.
enum RawEdge<'a> {
    Node(Cow<'a, str>),
    Follows(Vec<String>),
}

impl<'de> Deserialize<'de> for RawEdge<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = RawEdge<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a node's name or an array of input names")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(RawEdge::Node(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(RawEdge::Node(Cow::Owned(text.to_owned())))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut path = Vec::new();
                while let Some(name) = seq.next_element()? {
                    path.push(name);
                }
                Ok(RawEdge::Follows(path))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// A JSON value whose objects hold each key once.
struct Unique(serde_json::Value);

impl<'de> Deserialize<'de> for Unique {
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
                while let Some(Unique(value)) = seq.next_element()? {
                    values.push(value);
                }
                Ok(values.into())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut values = serde_json::Map::new();
                while let Some(key) = map.next_key::<String>()? {
                    let Unique(value) = map.next_value()?;
                    if values.contains_key(&key) {
                        return Err(duplicate(&key));
                    }
                    values.insert(key, value);
                }
                Ok(values.into())
            }
        }
        deserializer.deserialize_any(V).map(Unique)
    }
}

#[derive(Default)]
struct RawNode<'a> {
    inputs: Vec<(Cow<'a, str>, RawEdge<'a>)>,
    locked: Option<Attrs>,
    info: Option<Attrs>,
    original: Option<Attrs>,
    flake: Option<bool>,
    parent: Option<Vec<String>>,
    extra: BTreeMap<String, serde_json::Value>,
}

fn once<T, E: de::Error>(slot: &mut Option<T>, key: &str, value: T) -> Result<(), E> {
    if slot.replace(value).is_some() { Err(duplicate(key)) } else { Ok(()) }
}

impl<'de> Deserialize<'de> for RawNode<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = RawNode<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a node")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut node = RawNode::default();
                let mut inputs = None;
                while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
                    match key.as_ref() {
                        "inputs" => once(&mut inputs, &key, map.next_value::<Pairs<'de, RawEdge<'de>>>()?.0)?,
                        "locked" => once(&mut node.locked, &key, attrs(map.next_value()?))?,
                        "original" => once(&mut node.original, &key, attrs(map.next_value()?))?,
                        "info" => once(&mut node.info, &key, attrs(map.next_value()?))?,
                        "flake" => once(&mut node.flake, &key, map.next_value()?)?,
                        "parent" => once(&mut node.parent, &key, map.next_value()?)?,
                        _ => {
                            let Unique(value) = map.next_value()?;
                            if node.extra.insert(key.clone().into_owned(), value).is_some() {
                                return Err(duplicate(&key));
                            }
                        }
                    }
                }
                node.inputs = inputs.unwrap_or_default();
                Ok(node)
            }
        }
        deserializer.deserialize_map(V)
    }
}

/// The version as far as it is a number; anything else is refused by name.
struct Top;

#[derive(Default)]
struct RawLock<'a> {
    version: Option<serde_json::Value>,
    root: Option<String>,
    nodes: Option<Vec<(Cow<'a, str>, RawNode<'a>)>>,
}

impl<'de> DeserializeSeed<'de> for Top {
    type Value = RawLock<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top {
    type Value = RawLock<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a lock file's object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut lock = RawLock::default();
        let mut others = std::collections::BTreeSet::new();
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            match key.as_ref() {
                "version" => once(&mut lock.version, &key, map.next_value::<Unique>()?.0)?,
                "root" => once(&mut lock.root, &key, map.next_value()?)?,
                "nodes" => once(&mut lock.nodes, &key, map.next_value::<Pairs<'de, RawNode<'de>>>()?.0)?,
                _ => {
                    map.next_value::<Unique>()?;
                    if !others.insert(key.clone().into_owned()) {
                        return Err(A::Error::custom(format_args!(
                            "the key {} stands twice",
                            text::quoted(&key)
                        )));
                    }
                }
            }
        }
        Ok(lock)
    }
}

/// The nodes with their inputs by number; nothing is resolved yet.
pub(super) fn parse(bytes: &[u8]) -> Result<Lock, LockError> {
    if bytes.len() > Lock::MAX_BYTES {
        return Err(LockError::TooLarge { bytes: bytes.len() });
    }
    let file = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        LockError::NotUtf8 {
            line: before.split(|byte| *byte == b'\n').count(),
            column: before.len() - line_start + 1,
        }
    })?;
    let json = |error: serde_json::Error| {
        let what = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        LockError::Json {
            line: error.line(),
            column: error.column(),
            what: what.strip_suffix(&place).map_or_else(|| what.clone(), str::to_owned),
        }
    };
    let mut deserializer = serde_json::Deserializer::from_str(file);
    let raw = Top.deserialize(&mut deserializer).map_err(json)?;
    deserializer.end().map_err(json)?;
    let number = raw.version.as_ref().and_then(serde_json::Value::as_u64);
    let Some(version) =
        number.filter(|version| (5..=7).contains(version)).and_then(|v| u32::try_from(v).ok())
    else {
        let found = raw.version.map_or_else(|| "none".to_owned(), |version| version.to_string());
        return Err(LockError::Version { found: text::clipped(&text::inert(&found), 40) });
    };
    let missing_root =
        |node: &str| LockError::MissingNode { place: "\"root\"".to_owned(), node: node.to_owned() };
    let root_key = raw.root.ok_or_else(|| missing_root(""))?;
    // `Pairs` come in the order of the file, which Nix sorts; names decide, not the file.
    let mut raw_nodes = raw.nodes.unwrap_or_default();
    if !raw_nodes.is_sorted_by(|a, b| a.0 < b.0) {
        raw_nodes.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let keys: Vec<Cow<'_, str>> = raw_nodes.iter().map(|(key, _)| key.clone()).collect();
    let find = |key: &str| {
        keys.binary_search_by(|known| known.as_ref().cmp(key))
            .ok()
            .and_then(|at| u32::try_from(at).ok())
            .map(NodeId)
    };
    let root = find(&root_key).ok_or_else(|| missing_root(&root_key))?;
    let mut nodes = Vec::with_capacity(raw_nodes.len());
    for (key, raw) in raw_nodes {
        nodes.push(node(&key, raw, root, key == root_key.as_str(), &find)?);
    }
    Ok(Lock { version, root, nodes })
}

fn node(
    key: &str,
    raw: RawNode<'_>,
    root: NodeId,
    is_root: bool,
    find: &impl Fn(&str) -> Option<NodeId>,
) -> Result<Node, LockError> {
    let mut inputs = BTreeMap::new();
    for (name, edge) in raw.inputs {
        let edge = match edge {
            RawEdge::Follows(path) => InputEdge::Follows(path),
            RawEdge::Node(target) => {
                let place = || format!("the input {} of the node {}", text::quoted(&name), text::quoted(key));
                match find(&target) {
                    Some(id) if id == root => return Err(LockError::CycleToRoot { place: place() }),
                    Some(id) => InputEdge::Node(id),
                    None => {
                        return Err(LockError::MissingNode { place: place(), node: target.into_owned() });
                    }
                }
            }
        };
        inputs.insert(name.into_owned(), Input { edge, target: None });
    }
    let missing = |attribute| LockError::MissingAttribute { node: key.to_owned(), attribute };
    let mut locked = raw.locked;
    match (&mut locked, raw.info) {
        // Version 5 keeps narHash and lastModified apart.
        (Some(locked), Some(info)) => locked.extend(info),
        (None, _) if !is_root => return Err(missing("locked")),
        _ => {}
    }
    if raw.original.is_none() && !is_root {
        return Err(missing("original"));
    }
    Ok(Node {
        key: key.to_owned(),
        inputs,
        locked: locked.map(FlakeRef::from_attrs),
        original: raw.original.map(FlakeRef::from_attrs),
        flake: raw.flake.unwrap_or(true),
        parent: raw.parent,
        extra: raw.extra,
    })
}
