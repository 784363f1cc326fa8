//! The only randomness of a world: `SplitMix64`, seeded by the world's number and a purpose; and
//! draws that depend on what is asked alone, whatever was asked before and on which thread.

use sha2::{Digest as _, Sha256};

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        Self(keyed(seed, &[purpose.as_bytes()]))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("because it is below a usize")
    }

    /// True in this many of a hundred draws.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of them; `None` of none.
    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { Some(&all[self.below(all.len())]) }
    }
}

/// The digest of parts, told apart by their lengths.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// A number that these parts alone decide.
pub(crate) fn keyed(seed: u64, parts: &[&[u8]]) -> u64 {
    let seed = seed.to_le_bytes();
    let mut all: Vec<&[u8]> = vec![&seed];
    all.extend(parts);
    let digest = digest(&all);
    u64::from_le_bytes(digest[..8].try_into().expect("because eight bytes are eight"))
}
