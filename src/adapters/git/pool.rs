//! Work in parallel on a bounded number of threads, results in the order of the work.

use std::sync::atomic::{AtomicUsize, Ordering};

/// `work(0)`, …, `work(count - 1)`, each on the next free thread; the caller's thread is one of them.
pub(super) fn parallel<T: Send>(count: usize, threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let turn = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return done;
            }
            done.push((at, work(at)));
        }
    };
    let mut all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(count)).map(|_| scope.spawn(turn)).collect();
        let mut all = turn();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, result)| result).collect()
}

/// How many threads to use when `wanted` are asked for (0: as many as the machine has).
pub(super) fn threads(wanted: usize) -> usize {
    let machine = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if wanted == 0 { machine().min(32) } else { wanted.min(256) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_the_work() {
        for threads in [1, 3, 100] {
            let squares = parallel(50, threads, |at| at * at);
            assert!(squares.iter().enumerate().all(|(at, square)| *square == at * at));
        }
        assert!(parallel(0, 4, |at| at).is_empty());
    }
}
