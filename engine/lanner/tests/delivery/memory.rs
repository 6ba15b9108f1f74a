//! Outputs without a spool.

use std::time::{Duration, Instant};

use delivery::{Outputs, QueueSettings, Rate};
use plugin_host::Priority;
use test_support::wait_until;

use crate::stage::{Gate, alert, counts, push, settings};

#[test]
fn a_dead_output_delays_no_other_and_its_losses_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dead, alive) = (
        Gate::new(&folder.path().join("dead")),
        Gate::new(&folder.path().join("alive")),
    );
    dead.set("away");
    let outputs = Outputs::start(vec![
        dead.planned(QueueSettings {
            queue: 100,
            ..settings("dead")
        }),
        alive.planned(settings("alive")),
    ])
    .expect("they start");
    for block in 0..20 {
        push(&outputs, block * 100..(block + 1) * 100);
        wait_until("the living one has all", || {
            counts(&outputs, "alive").delivered == (block + 1) * 100
        });
    }
    assert!(alive.numbers().into_iter().eq(0..2000));
    let dead_counts = counts(&outputs, "dead");
    assert!(dead_counts.retries > 0, "{dead_counts:?}");
    assert_eq!(
        (dead_counts.delivered, dead_counts.offered),
        (0, 2000),
        "{dead_counts:?}"
    );
    // what fits: the queue, and the batch that is being tried
    assert!(
        (1900 - 256..=1900).contains(&dead_counts.overflowed),
        "{dead_counts:?}"
    );
    dead.unset("away");
    wait_until("the dead one has come back", || {
        let counts = counts(&outputs, "dead");
        counts.delivered + counts.overflowed == 2000
    });
    let first: Vec<u64> = dead.numbers();
    assert!(first.iter().copied().eq(0..first.len() as u64), "{first:?}");
}

#[test]
fn a_hanging_output_is_reported_and_the_end_does_not_wait_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (stuck, alive) = (
        Gate::new(&folder.path().join("stuck")),
        Gate::new(&folder.path().join("alive")),
    );
    stuck.set("hangs");
    let outputs = Outputs::start(vec![
        stuck.planned(QueueSettings {
            deadline: Duration::from_millis(20),
            ..settings("stuck")
        }),
        alive.planned(settings("alive")),
    ])
    .expect("they start");
    push(&outputs, 0..10);
    wait_until("it is reported", || counts(&outputs, "stuck").hanging == 1);
    assert_eq!(counts(&outputs, "stuck").deadlines, 1);
    wait_until("the other one goes on", || {
        counts(&outputs, "alive").delivered == 10
    });
    stuck.unset("hangs");
    wait_until("it goes on where it was", || {
        let counts = counts(&outputs, "stuck");
        counts.hanging == 0 && counts.delivered == 10
    });
    stuck.set("hangs");
    push(&outputs, 10..15);
    wait_until("it hangs again", || counts(&outputs, "stuck").hanging == 1);
    let start = Instant::now();
    let accounts = outputs.finish();
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(accounts[0].counts.abandoned, 5, "{accounts:?}");
    assert_eq!(accounts[1].counts.delivered, 15, "{accounts:?}");
}

#[test]
fn what_an_output_gives_up_on_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::new(folder.path());
    gate.set("gives-up");
    let outputs = Outputs::start(vec![gate.planned(settings("g"))]).expect("it starts");
    push(&outputs, 0..50);
    wait_until("all are given up", || counts(&outputs, "g").refused == 50);
    gate.unset("gives-up");
    push(&outputs, 50..60);
    let accounts = outputs.finish();
    assert_eq!(accounts[0].counts.lost(), 50);
    assert!(gate.numbers().into_iter().eq(50..60));
}

#[test]
fn rates_and_priorities_are_by_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let (few, grave) = (
        Gate::new(&folder.path().join("few")),
        Gate::new(&folder.path().join("grave")),
    );
    let outputs = Outputs::start(vec![
        few.planned(QueueSettings {
            rate: Some(Rate {
                per_second: 0.001,
                burst: 3,
            }),
            ..settings("few")
        }),
        grave.planned(QueueSettings {
            least: Priority::Warning,
            ..settings("grave")
        }),
    ])
    .expect("they start");
    push(&outputs, 0..10);
    let mut warning = alert(10);
    warning.priority = Priority::Warning;
    outputs.push(warning);
    let accounts = outputs.finish();
    assert_eq!(
        (accounts[0].counts.delivered, accounts[0].counts.limited),
        (3, 8)
    );
    assert_eq!(accounts[0].counts.lost(), 0, "a limit is no loss");
    assert_eq!(grave.numbers(), [10]);
}

#[test]
fn reopening_reaches_the_plugin_even_while_it_is_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::new(folder.path());
    gate.set("away");
    let outputs = Outputs::start(vec![gate.planned(QueueSettings {
        retry_first: Duration::from_secs(600),
        retry_max: Duration::from_secs(600),
        ..settings("g")
    })])
    .expect("it starts");
    push(&outputs, 0..1);
    wait_until("it is away", || counts(&outputs, "g").retries == 1);
    gate.unset("away");
    outputs.reopen();
    wait_until("it is tried at once", || {
        counts(&outputs, "g").delivered == 1
    });
    assert!(gate.0.join("reopened").exists());
}

#[test]
fn an_output_that_changes_passes_its_queue_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (gate, same) = (
        Gate::new(&folder.path().join("a")),
        Gate::new(&folder.path().join("b")),
    );
    gate.set("away");
    let outputs = Outputs::start(vec![
        gate.planned(settings("changes")),
        same.planned(settings("stays")),
    ])
    .expect("they start");
    push(&outputs, 0..1000);
    wait_until("it is tried", || counts(&outputs, "changes").retries > 0);
    let changed = QueueSettings {
        queue: 16384,
        ..settings("changes")
    };
    let (gone, errors) =
        outputs.replace(vec![gate.planned(changed), same.planned(settings("stays"))]);
    assert!(gone.is_empty() && errors.is_empty(), "{gone:?} {errors:?}");
    push(&outputs, 1000..2000);
    gate.unset("away");
    let accounts = outputs.finish();
    for (gate, account) in [&gate, &same].iter().zip(&accounts) {
        assert!(gate.numbers().into_iter().eq(0..2000), "{account:?}");
        assert_eq!(account.counts.delivered, 2000);
    }
}
