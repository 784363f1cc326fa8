//! Memory that is only ever taken: a program decides once and is gone, and fuel is better spent on that.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};

const PAGE: usize = 65_536;

struct Bump {
    /// Where the next piece may begin; 0 before the first.
    next: AtomicUsize,
    /// Where what we have ends.
    end: AtomicUsize,
}

#[global_allocator]
static MEMORY: Bump = Bump { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };

// SAFETY: pieces lie behind one another in pages that were asked for here, and there is one thread.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let begin = self.next.load(Ordering::Relaxed).next_multiple_of(layout.align());
        let Some(next) = begin.checked_add(layout.size()) else { return std::ptr::null_mut() };
        let end = self.end.load(Ordering::Relaxed);
        if begin == 0 || next > end {
            // Many at once: asking costs more than having.
            let pages = layout.size().div_ceil(PAGE) + 16;
            let before = core::arch::wasm32::memory_grow(0, pages);
            if before == usize::MAX {
                return std::ptr::null_mut();
            }
            let fresh = before * PAGE;
            // Pages of ours follow one another unless somebody else asked too.
            let begin = if begin != 0 && fresh == end { begin } else { fresh };
            self.end.store(fresh + pages * PAGE, Ordering::Relaxed);
            self.next.store(begin + layout.size(), Ordering::Relaxed);
            return begin as *mut u8;
        }
        self.next.store(next, Ordering::Relaxed);
        begin as *mut u8
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // Fresh pages are zero, and nothing is handed out twice.
        // SAFETY: the caller's.
        unsafe { self.alloc(layout) }
    }
}
