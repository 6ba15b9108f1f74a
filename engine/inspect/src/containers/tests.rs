//! Containers without a source to ask.

use super::*;

#[test]
fn a_million_containers_that_come_and_go_take_bounded_memory() {
    let mut containers = Containers::new(None);
    for number in 0..1_000_000_u64 {
        let group = containers.group(format!("0::/docker/{number:064x}\n").as_bytes(), 1);
        assert!(group.container.is_some());
    }
    let (groups, known) = containers.len();
    assert!(groups <= MANY * 2 && known <= MANY * 2, "{groups} {known}");
}
