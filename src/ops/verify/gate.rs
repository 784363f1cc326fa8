//! How much is done at once: work, which needs a processor, and hosts, which mostly wait.

use std::sync::{Condvar, Mutex, PoisonError};

/// Lets a number of threads through at a time.
pub(super) struct Gate {
    all: usize,
    free: Mutex<usize>,
    freed: Condvar,
}

impl Gate {
    /// For this many; at least one.
    pub(super) fn new(all: usize) -> Self {
        let all = all.max(1);
        Self { all, free: Mutex::new(all), freed: Condvar::new() }
    }

    /// Do it as soon as there is room.
    pub(super) fn through<T>(&self, act: impl FnOnce() -> T) -> T {
        // A number is whole whoever panicked while holding it.
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        drop(free);
        let _out = Out(self);
        act()
    }

    /// How many it lets through.
    pub(super) fn all(&self) -> usize {
        self.all
    }
}

/// Makes room again, also when what was done panicked.
struct Out<'a>(&'a Gate);

impl Drop for Out<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_are_within_than_it_lets_through() {
        let gate = Gate::new(2);
        let (within, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        gate.through(|| {
                            most.fetch_max(within.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            std::thread::yield_now();
                            within.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                });
            }
        });
        assert!((1..=2).contains(&most.into_inner()));
        assert_eq!(*gate.free.lock().expect("whole"), 2);
    }
}
