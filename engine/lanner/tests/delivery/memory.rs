//! Outputs without a spool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use delivery::{Counts, Outputs, QueueSettings, Rate};
use plugin_host::Priority;
use test_support::wait_until;

use crate::disk::spooled;
use crate::stage::{Gate, alert, counts, push, settings};

#[test]
fn events_that_can_wait_lose_no_alert_to_a_full_queue() {
    let folder = tempfile::tempdir().expect("a folder");
    let slow = Gate::new(&folder.path().join("slow"));
    slow.set("away");
    let small = QueueSettings {
        queue: 2,
        ..settings("slow")
    };
    let outputs = Outputs::start(vec![slow.planned(small)]).expect("it starts");
    let goes_on = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&goes_on);
    outputs.wait_for_room(move || asked.load(Relaxed));
    std::thread::scope(|scope| {
        let pushed = scope.spawn(|| push(&outputs, 0..1000));
        wait_until("it is tried", || counts(&outputs, "slow").retries > 0);
        slow.unset("away");
        pushed.join().expect("all are pushed");
    });
    wait_until("it has all", || counts(&outputs, "slow").delivered == 1000);
    assert!(slow.numbers().into_iter().eq(0..1000));
    // a session that is asked to end does not wait
    slow.set("away");
    goes_on.store(false, Relaxed);
    push(&outputs, 1000..2000);
    let counts = counts(&outputs, "slow");
    assert_eq!(counts.offered, 2000);
    assert!(counts.overflowed > 0, "{counts:?}");
}

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
    // its own thread may not have run yet
    wait_until("the dead one is tried", || {
        counts(&outputs, "dead").retries > 0
    });
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
    // counters are written one after the other
    wait_until("it is reported", || {
        let counts = counts(&outputs, "stuck");
        (counts.hanging, counts.deadlines) == (1, 1)
    });
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
    wait_until("it hangs again, and the other one has all", || {
        counts(&outputs, "stuck").hanging == 1 && counts(&outputs, "alive").delivered == 15
    });
    let start = Instant::now();
    let accounts = outputs.finish();
    assert!(
        start.elapsed() < delivery::PATIENCE,
        "{:?}",
        start.elapsed()
    );
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
    wait_until("the others arrive", || {
        counts(&outputs, "g").delivered == 10
    });
    let accounts = outputs.finish();
    assert_eq!(accounts[0].counts.lost(), 50);
    assert!(gate.numbers().into_iter().eq(50..60));
}

#[test]
fn alerts_that_a_receiver_refuses_are_lost_and_those_around_them_arrive() {
    let folder = tempfile::tempdir().expect("a folder");
    for spool in [false, true] {
        let gate = Gate::new(&folder.path().join(format!("{spool}")));
        gate.set("refuses");
        let lane = match spool {
            true => spooled("g", &gate.0.join("spool.redb")),
            false => settings("g"),
        };
        let outputs = Outputs::start(vec![gate.planned(lane)]).expect("it starts");
        push(&outputs, 0..200);
        let refused = |counts: Counts| (counts.refused, counts.delivered);
        wait_until("all are done", || {
            refused(counts(&outputs, "g")) == (20, 180)
        });
        let accounts = outputs.finish();
        assert_eq!(accounts[0].counts.lost(), 20, "{accounts:?}");
        assert_eq!(accounts[0].counts.retries, 0, "{accounts:?}");
        let expected = (0..200).filter(|number| number % 10 != 7);
        assert!(gate.numbers().into_iter().eq(expected), "{spool}");
    }
}

#[test]
fn what_an_output_with_a_spool_gives_up_on_is_not_offered_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::new(folder.path());
    gate.set("gives-up");
    let lane = spooled("g", &folder.path().join("spool.redb"));
    let outputs = Outputs::start(vec![gate.planned(lane)]).expect("it starts");
    push(&outputs, 0..50);
    wait_until("all are given up", || counts(&outputs, "g").refused >= 50);
    gate.unset("gives-up");
    push(&outputs, 50..60);
    wait_until("the others arrive", || {
        counts(&outputs, "g").delivered == 10
    });
    let accounts = outputs.finish();
    assert_eq!(accounts[0].counts.lost(), 50, "{accounts:?}");
    assert!(gate.numbers().into_iter().eq(50..60));
}

#[test]
fn an_output_that_is_slow_with_each_alert_does_not_hang() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::new(folder.path());
    gate.set("slow");
    let outputs = Outputs::start(vec![gate.planned(QueueSettings {
        deadline: Duration::from_secs(4),
        ..settings("g")
    })])
    .expect("it starts");
    // One call with as many as fit into a batch would take more than 5 s.
    push(&outputs, 0..400);
    wait_until("they are delivered", || {
        counts(&outputs, "g").delivered == 400
    });
    let accounts = outputs.finish();
    assert_eq!(accounts[0].counts.deadlines, 0, "{accounts:?}");
    assert!(gate.numbers().into_iter().eq(0..400));
}

#[test]
fn a_receiver_that_is_slow_with_each_request_does_not_hang_the_output() {
    let receiver = test_support::peers::Receiver::start("slow=0.05", &[]);
    let folder = std::path::Path::new(crate::session::BIN).parent();
    let folder = folder.expect("a folder").to_owned();
    let plugin = plugin_host::find(&[folder], "output-http").expect("the plugin");
    let text = format!(r#"{{"url":"http://127.0.0.1:{}/"}}"#, receiver.port);
    let outputs = Outputs::start(vec![delivery::Planned {
        host: Some(plugin_host::OutputHost::open(&plugin, &text).expect("it opens")),
        identity: text,
        settings: QueueSettings {
            // Of a call that should take a second. 200 requests take more than 10.
            deadline: Duration::from_secs(5),
            ..settings("g")
        },
    }])
    .expect("it starts");
    push(&outputs, 0..200);
    wait_until("they are delivered", || {
        counts(&outputs, "g").delivered == 200
    });
    let accounts = outputs.finish();
    assert_eq!(accounts[0].counts.deadlines, 0, "{accounts:?}");
    assert_eq!(receiver.notes().len(), 200);
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
    wait_until("each has its own", || {
        let few = counts(&outputs, "few");
        (few.delivered, few.limited) == (3, 8) && counts(&outputs, "grave").delivered == 1
    });
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
    wait_until("both have all", || {
        ["changes", "stays"]
            .iter()
            .all(|name| counts(&outputs, name).delivered == 2000)
    });
    let accounts = outputs.finish();
    for (gate, account) in [&gate, &same].iter().zip(&accounts) {
        assert!(gate.numbers().into_iter().eq(0..2000), "{account:?}");
        assert_eq!(account.counts.delivered, 2000);
    }
}
