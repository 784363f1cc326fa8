//! Values by name, in the order of the names, as Nix orders them.
//!
//! A sorted vector: the attributes of a reference and the inputs of a node are few, made once in
//! order, read often, and there are tens of thousands of such sets in a large lock.

use std::collections::BTreeMap;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::shared::SharedStr;

/// Values by name. Invariant: sorted, each name once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named<V>(Vec<(SharedStr, V)>);

/// The pairs of a [`Named`], in order.
pub type Pairs<'a, V> = std::iter::Map<std::slice::Iter<'a, (SharedStr, V)>, Apart<'a, V>>;

/// How a pair is handed out.
type Apart<'a, V> = fn(&'a (SharedStr, V)) -> (&'a SharedStr, &'a V);

impl<V> Default for Named<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> Named<V> {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Nothing yet, with room for so many.
    #[must_use]
    pub fn with_room(values: usize) -> Self {
        Self(Vec::with_capacity(values))
    }

    /// What is in order already.
    ///
    /// # Errors
    /// With the first name that is not after the one before it.
    pub fn in_order(pairs: Vec<(SharedStr, V)>) -> Result<Self, SharedStr> {
        match pairs.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            Some(pair) => Err(pair[1].0.clone()),
            None => Ok(Self(pairs)),
        }
    }

    /// What was seen to be in order while it was made.
    pub(in crate::domain::flake) fn known_in_order(pairs: Vec<(SharedStr, V)>) -> Self {
        debug_assert!(pairs.is_sorted_by(|a, b| a.0 < b.0), "names are in order, each once");
        Self(pairs)
    }

    /// Where a name is, or would be.
    ///
    /// # Errors
    /// With the place that it would have.
    pub fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&V> {
        self.position(name).ok().map(|at| &self.0[at].1)
    }

    /// Whether there is this name.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.position(name).is_ok()
    }

    /// Give a name a value; what it had comes back. Constant at the end, linear before it.
    pub fn insert(&mut self, name: impl Into<SharedStr>, value: V) -> Option<V> {
        let name = name.into();
        if self.0.last().is_none_or(|(last, _)| *last < name) {
            self.0.push((name, value));
            return None;
        }
        match self.position(&name) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (name, value));
                None
            }
        }
    }

    /// Take a name away; its value comes back.
    pub fn remove(&mut self, name: &str) -> Option<V> {
        self.position(name).ok().map(|at| self.0.remove(at).1)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All pairs, in order.
    pub fn iter(&self) -> Pairs<'_, V> {
        self.into_iter()
    }

    /// All names, in order.
    #[must_use]
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &SharedStr> + ExactSizeIterator {
        self.0.iter().map(|(name, _)| name)
    }

    /// All values, in the order of their names.
    #[must_use]
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator {
        self.0.iter().map(|(_, value)| value)
    }

    /// All pairs, in order, their values to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&SharedStr, &mut V)> {
        self.0.iter_mut().map(|(name, value)| (&*name, value))
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }
}

impl<'a, V> IntoIterator for &'a Named<V> {
    type Item = (&'a SharedStr, &'a V);
    type IntoIter = Pairs<'a, V>;
    fn into_iter(self) -> Self::IntoIter {
        let apart: Apart<'a, V> = |(name, value)| (name, value);
        self.0.iter().map(apart)
    }
}

impl<V> IntoIterator for Named<V> {
    type Item = (SharedStr, V);
    type IntoIter = std::vec::IntoIter<(SharedStr, V)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<N: Into<SharedStr>, V> FromIterator<(N, V)> for Named<V> {
    /// Of one name's values the last.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let by_name: BTreeMap<SharedStr, V> =
            pairs.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Self(by_name.into_iter().collect())
    }
}

impl<N: Into<SharedStr>, V, const COUNT: usize> From<[(N, V); COUNT]> for Named<V> {
    fn from(pairs: [(N, V); COUNT]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<V> Extend<(SharedStr, V)> for Named<V> {
    fn extend<I: IntoIterator<Item = (SharedStr, V)>>(&mut self, pairs: I) {
        for (name, value) in pairs {
            self.insert(name, value);
        }
    }
}

impl<V: Serialize> Serialize for Named<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Named<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer)
            .map(|found: BTreeMap<SharedStr, V>| Self(found.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_the_order_of_their_names_however_they_came() {
        let mut named = Named::from([("b", 1), ("a", 2), ("b", 3)]);
        assert_eq!(named.insert("d", 4), None);
        assert_eq!(named.insert("c", 5), None);
        assert_eq!(named.insert("a", 6), Some(2));
        let shown: Vec<String> = named.iter().map(|(name, value)| format!("{name}{value}")).collect();
        assert_eq!(shown, ["a6", "b3", "c5", "d4"]);
        assert_eq!(named.remove("b"), Some(3));
        assert_eq!((named.get("b"), named.get("c")), (None, Some(&5)));
        assert!(Named::in_order(vec![("a".into(), 1), ("a".into(), 2)]).is_err());
    }
}
