//! Keeping an event allocates nothing.

use driver_api::event::Event;
use inspect::testing::Ev;
use recording::Ring;
use test_support::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn keeping_an_event_allocates_nothing() {
    let mut ring = Ring::new(1 << 20, 1_000_000);
    let bytes = Ev::call(7, "openat", &[0, 1, 0], 3)
        .said(1, b"/etc/hosts")
        .bytes();
    let event = Event::parse(&bytes).expect("an event");
    let before = allocations();
    let mut spans = 0;
    // the ring's memory is used several times over
    for at in 0..100_000_u64 {
        if ring.is_due(at * 1000) {
            spans += 1;
            assert!(ring.begin(at * 1000, |sink| sink(&event)));
        }
        ring.push(&event);
    }
    assert_eq!(allocations() - before, 0);
    assert!(spans > 10, "{spans}");
}
