//! A set of parts, by their numbers.

use std::fmt;

/// A set of small numbers, as bits. Equal sets are equal values.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Set(Vec<u64>);

impl Set {
    /// Of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The numbers below `count`.
    #[must_use]
    pub fn below(count: usize) -> Self {
        (0..count).collect()
    }

    /// One number.
    #[must_use]
    pub fn one(number: usize) -> Self {
        std::iter::once(number).collect()
    }

    /// Put a number in.
    pub fn insert(&mut self, number: usize) {
        let word = number / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    /// True when the number is in it.
    #[must_use]
    pub fn contains(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // No word at the end is zero.
        self.0.is_empty()
    }

    /// The numbers, smallest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let word = *word;
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| at * 64 + bit)
        })
    }

    /// What is in one or the other.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        self.zip(other, |one, other| one | other)
    }

    /// What is in this one alone.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.zip(other, |one, other| one & !other)
    }

    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.zip(other, |one, other| one & other)
    }

    /// True when two sets hold the same of a third.
    #[must_use]
    pub fn agree(&self, other: &Self, on: &Self) -> bool {
        on.0.iter().enumerate().all(|(at, mask)| {
            let word = |set: &Self| set.0.get(at).copied().unwrap_or(0) & mask;
            word(self) == word(other)
        })
    }

    fn zip(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        let words = self.0.len().max(other.0.len());
        let word = |set: &Self, at: usize| set.0.get(at).copied().unwrap_or(0);
        let joined = (0..words).map(|at| join(word(self, at), word(other, at))).collect();
        Self(joined).trimmed()
    }

    fn trimmed(mut self) -> Self {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(numbers: I) -> Self {
        let mut set = Self::default();
        numbers.into_iter().for_each(|number| set.insert(number));
        set
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
