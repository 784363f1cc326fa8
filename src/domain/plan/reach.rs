//! Which component needs which, directly or not, as rows of bits.

use std::collections::BTreeMap;

use crate::domain::graph::Graph;
use crate::domain::id::ModuleName;

/// Needs of components, by their number in [`Graph::components`].
pub(super) struct Reach {
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
        for needed in direct {
            let mut row = vec![0; words];
            for to in needed {
                for (word, inherited) in row.iter_mut().zip(&rows[to]) {
                    *word |= inherited;
                }
                row[to / 64] |= 1 << (to % 64);
            }
            rows.push(row);
        }
        Self { rows }
    }

    fn has(&self, from: usize, to: usize) -> bool {
        self.rows[from][to / 64] >> (to % 64) & 1 == 1
    }

    /// What a component needs, lowest level first.
    pub(super) fn needs(&self, from: usize) -> impl Iterator<Item = usize> {
        (0..self.rows.len()).filter(move |to| self.has(from, *to))
    }

    /// What needs a component.
    pub(super) fn needed_by(&self, to: usize) -> impl Iterator<Item = usize> {
        (0..self.rows.len()).filter(move |from| self.has(*from, to))
    }
}
