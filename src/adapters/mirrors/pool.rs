//! Work on several hosts at once, never on too many or too much on one.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// How much at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    /// In all.
    pub(super) total: usize,
    /// Of one host.
    pub(super) per_host: usize,
}

struct Queue {
    waiting: Vec<usize>,
    busy: BTreeMap<String, usize>,
}

/// Run every job; the results are in the order of the jobs. A job without host (`None`) counts
/// only against the total.
pub(super) fn run<J: Sync, R: Send>(
    jobs: &[J],
    caps: Caps,
    host: impl Fn(&J) -> Option<String> + Sync,
    work: impl Fn(&J) -> R + Sync,
) -> Vec<R> {
    let queue = Mutex::new(Queue { waiting: (0..jobs.len()).rev().collect(), busy: BTreeMap::new() });
    let freed = Condvar::new();
    let done: Mutex<Vec<Option<R>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let next = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if queue.waiting.is_empty() {
                return None;
            }
            let free = queue.waiting.iter().rposition(|job| {
                host(&jobs[*job])
                    .is_none_or(|host| queue.busy.get(&host).is_none_or(|busy| *busy < caps.per_host.max(1)))
            });
            if let Some(at) = free {
                let job = queue.waiting.remove(at);
                if let Some(host) = host(&jobs[job]) {
                    *queue.busy.entry(host).or_default() += 1;
                }
                return Some(job);
            }
            queue = freed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    };
    let worker = || {
        while let Some(job) = next() {
            let result = work(&jobs[job]);
            done.lock().unwrap_or_else(PoisonError::into_inner)[job] = Some(result);
            if let Some(host) = host(&jobs[job]) {
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(busy) = queue.busy.get_mut(&host) {
                    *busy -= 1;
                }
            }
            freed.notify_all();
        }
    };
    thread::scope(|scope| {
        for _ in 1..caps.total.clamp(1, jobs.len().max(1)) {
            scope.spawn(worker);
        }
        worker();
    });
    done.into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .into_iter()
        .map(|result| result.expect("every job is done when the workers end"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_keep_their_order_and_no_host_gets_too_much() {
        let jobs: Vec<usize> = (0..40).collect();
        let (busy, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let caps = Caps { total: 8, per_host: 2 };
        let found = run(
            &jobs,
            caps,
            |job| (job % 4 != 0).then(|| "h".to_owned()),
            |job| {
                if job % 4 != 0 {
                    most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    busy.fetch_sub(1, Ordering::SeqCst);
                }
                job * 2
            },
        );
        assert_eq!(found, jobs.iter().map(|job| job * 2).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 2);
        assert_eq!(run(&[] as &[usize], caps, |_| None, |job| *job), Vec::<usize>::new());
    }
}
