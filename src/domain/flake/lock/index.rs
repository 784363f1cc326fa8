//! Nodes by their names: some thousand lookups among some thousand names.
//!
//! Names lie in as many drawers as there are names, by a checksum. In a drawer they are in order
//! and searched by halves, so that a file whose names all have one checksum costs no more than a
//! search by halves in all of them.

use crate::domain::flake::shared::SharedStr;

/// Places of names in a list. Invariant: a drawer's places are in the order of their names.
pub(super) struct Index<'a> {
    keys: &'a [SharedStr],
    /// Where each drawer begins in `places`; the last is where the last one ends.
    begins: Vec<u32>,
    places: Vec<u32>,
}

impl<'a> Index<'a> {
    /// Of names in order, fewer than 2³².
    pub(super) fn new(keys: &'a [SharedStr]) -> Self {
        let drawers = keys.len().next_power_of_two();
        let own: Vec<usize> = keys.iter().map(|key| drawer(key, drawers)).collect();
        let mut begins = vec![0; drawers + 1];
        for drawer in &own {
            begins[drawer + 1] += 1;
        }
        for drawer in 0..drawers {
            begins[drawer + 1] += begins[drawer];
        }
        let mut free = begins.clone();
        let mut places = vec![0; keys.len()];
        for (place, drawer) in (0..).zip(own) {
            places[free[drawer] as usize] = place;
            free[drawer] += 1;
        }
        Self { keys, begins, places }
    }

    /// The place of a name.
    pub(super) fn find(&self, key: &str) -> Option<u32> {
        let drawer = drawer(key, self.begins.len() - 1);
        let places = &self.places[self.begins[drawer] as usize..self.begins[drawer + 1] as usize];
        let found = places.binary_search_by(|place| self.keys[*place as usize].as_str().cmp(key)).ok()?;
        Some(places[found])
    }
}

/// One of so many drawers, a power of two.
fn drawer(key: &str, drawers: usize) -> usize {
    // Odd and without pattern: it spreads what differs into the upper half.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (parts, rest) = key.as_bytes().as_chunks();
    let sum = parts
        .iter()
        .fold(0_u64, |sum, part| (sum ^ u64::from_le_bytes(*part)).wrapping_mul(SPREAD).rotate_left(29));
    let sum = rest.iter().fold(sum, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte));
    let spread = (sum ^ key.len() as u64).wrapping_mul(SPREAD) >> 32;
    usize::try_from(spread).unwrap_or(0) & (drawers - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        for count in [0, 1, 2, 7, 3_000] {
            let mut names: Vec<String> =
                (0..count).map(|number| format!("{}_{number}", "logos".repeat(number % 5))).collect();
            names.sort();
            let keys: Vec<SharedStr> = names.iter().map(SharedStr::from).collect();
            let index = Index::new(&keys);
            for (place, name) in (0..).zip(&names) {
                assert_eq!(index.find(name), Some(place));
                assert_eq!(index.find(&format!("{name}x")), None);
            }
            assert_eq!(index.find(""), None);
        }
    }

    #[test]
    fn names_like_those_of_a_lock_are_spread() {
        let mut names: Vec<String> = (0..4_096).map(|number| format!("logos-cpp-sdk_{number}")).collect();
        names.sort();
        let keys: Vec<SharedStr> = names.iter().map(SharedStr::from).collect();
        let fullest = Index::new(&keys).begins.windows(2).map(|drawer| drawer[1] - drawer[0]).max();
        assert!(fullest < Some(12), "{fullest:?}");
    }
}
