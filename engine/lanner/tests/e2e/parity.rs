//! The same command gives the same events from every driver: calls, parameters, results and facts, for
//! each thread in order.

use crate::lanner::{trace, usable};
use crate::normal::{assert_same, story};
use crate::scenes;

#[test]
fn every_driver_tells_the_same_story() {
    let folder = tempfile::tempdir().expect("a folder");
    let drivers = usable();
    for scene in scenes::chosen(folder.path()) {
        if !scene.can_run() {
            test_support::skipped(&format!("{}: its program is not installed", scene.name));
            continue;
        }
        let mut first = None;
        for driver in &drivers {
            let command = scene.command();
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            let events = format!("procstart,{}", scene.events());
            let tell = |driver| story(&trace(driver, &events, &command));
            let told = tell(driver);
            match &first {
                None => first = Some((driver, told)),
                Some((other, before)) => {
                    assert_same(scene.name, (other, driver), (before, &told), || tell(other));
                }
            }
        }
        let (_, told) = first.expect("a driver");
        eprintln!(
            "{}: {} threads, {} calls, {} drivers",
            scene.name,
            told.len(),
            told.values().map(Vec::len).sum::<usize>(),
            drivers.len()
        );
    }
}
