//! Which component needs which, directly or not, as rows of bits.

use std::collections::BTreeMap;

use crate::domain::graph::Graph;
use crate::domain::id::ModuleName;

/// Needs of components, by their number in [`Graph::components`].
pub(super) struct Reach {
    direct: Vec<Vec<usize>>,
    rows: Vec<Vec<u64>>,
}

impl Reach {
    /// Components stand in the order of their levels, so one pass suffices.
    pub(super) fn of(graph: &Graph) -> Self {
        let count = graph.components.len();
        let number: BTreeMap<&ModuleName, usize> = graph
            .components
            .iter()
            .enumerate()
            .flat_map(|(number, component)| component.members.iter().map(move |name| (name, number)))
            .collect();
        let mut direct: Vec<Vec<usize>> = vec![Vec::new(); count];
        for edge in &graph.edges {
            if let (Some(from), Some(to)) = (number.get(&edge.from), number.get(&edge.to))
                && to < from
            {
                direct[*from].push(*to);
            }
        }
        let words = count.div_ceil(64);
        let mut rows: Vec<Vec<u64>> = Vec::with_capacity(count);
        for needed in &direct {
            let mut row = vec![0; words];
            for &to in needed {
                for (word, inherited) in row.iter_mut().zip(&rows[to]) {
                    *word |= inherited;
                }
                row[to / 64] |= 1 << (to % 64);
            }
            rows.push(row);
        }
        Self { direct, rows }
    }

    /// What a component needs directly.
    pub(super) fn direct(&self, from: usize) -> &[usize] {
        &self.direct[from]
    }

    /// What a component needs, directly or not, lowest level first.
    pub(super) fn needs(&self, from: usize) -> impl Iterator<Item = usize> {
        self.rows[from].iter().enumerate().flat_map(|(at, word)| Bits(*word).map(move |bit| at * 64 + bit))
    }

    /// By component: how many modules need it, directly or not, and are not in it.
    pub(super) fn affected(&self, graph: &Graph) -> Vec<u32> {
        let mut affected = vec![0_u32; self.rows.len()];
        for (from, component) in graph.components.iter().enumerate() {
            let members = u32::try_from(component.members.len()).unwrap_or(u32::MAX);
            for to in self.needs(from) {
                affected[to] = affected[to].saturating_add(members);
            }
        }
        affected
    }
}

/// The places of the ones in a word.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;
    fn next(&mut self) -> Option<usize> {
        let at = self.0.trailing_zeros();
        // Nothing is left when the word is zero.
        self.0 &= self.0.checked_sub(1)?;
        usize::try_from(at).ok()
    }
}
