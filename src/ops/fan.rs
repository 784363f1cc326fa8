//! The same work for many items on a few threads; the answers in the order of the items.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Fewer items than this are not worth a thread.
const WORTH_IT: usize = 16;

/// `work` for every item. With few of them, or one processor, nothing is started.
pub(in crate::ops) fn fan<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let machine = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = machine.min(items.len() / WORTH_IT).min(16);
    if threads < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            // A few at a time: taking one is not free, and the last ones shall end together.
            let from = next.fetch_add(WORTH_IT / 2, Ordering::Relaxed);
            let Some(left) = items.get(from..).filter(|left| !left.is_empty()) else { return done };
            let these = left.iter().take(WORTH_IT / 2).enumerate();
            done.extend(these.map(|(at, item)| (from + at, work(item))));
        }
    };
    let mut all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(some)).collect();
        let mut all = some();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_answered_once_and_in_its_place() {
        for count in [0, 1, 15, 16, 33, 1000, 1001] {
            let items: Vec<usize> = (0..count).collect();
            let asked = AtomicUsize::new(0);
            let answers = fan(&items, |item| {
                asked.fetch_add(1, Ordering::Relaxed);
                item * 2
            });
            assert_eq!(answers, items.iter().map(|item| item * 2).collect::<Vec<_>>());
            assert_eq!(asked.into_inner(), count);
        }
    }
}
