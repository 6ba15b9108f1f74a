//! Keeping an event allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use driver_api::event::Event;
use inspect::testing::Ev;
use recording::Ring;

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // a thread that is ending has no counter any more
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of GlobalAlloc.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of GlobalAlloc.
        unsafe { System.dealloc(pointer, layout) };
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of GlobalAlloc.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn keeping_an_event_allocates_nothing() {
    let mut ring = Ring::new(1 << 20, 1_000_000);
    let bytes = Ev::call(7, "openat", &[0, 1, 0], 3)
        .said(1, b"/etc/hosts")
        .bytes();
    let event = Event::parse(&bytes).expect("an event");
    let before = COUNT.get();
    let mut spans = 0;
    // the ring's memory is used several times over
    for at in 0..100_000_u64 {
        if ring.is_due(at * 1000) {
            spans += 1;
            assert!(ring.begin(at * 1000, |sink| sink(&event)));
        }
        ring.push(&event);
    }
    assert_eq!(COUNT.get() - before, 0);
    assert!(spans > 10, "{spans}");
}
