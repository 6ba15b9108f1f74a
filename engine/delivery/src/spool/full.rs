//! Tests: room comes back between the commit that failed and the attempt that drops alerts for room.

use std::sync::Arc;

use super::Spool;
use super::power::{alert, settings};

#[test]
fn nothing_is_dropped_once_there_is_room_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = Spool::unopened(settings(&folder.path().join("s.redb"), false));
    let alerts: Vec<_> = (0..10).map(|number| alert(number, 100)).collect();
    for (round, new) in [&alerts[..5], &alerts[5..]].into_iter().enumerate() {
        let (for_room, result) = spool.commit_on_full_disk(new);
        result.expect("the disk has room");
        assert_eq!((for_room, spool.len()), (0, (round + 1) * 5));
    }
    let (taken, unreadable) = spool.take(100).expect("it can be read");
    assert_eq!(unreadable, 0);
    assert!(taken.iter().map(|alert| alert.time_ns).eq(0..10));
    assert!(Arc::ptr_eq(&taken[9], &alerts[9]));
}
