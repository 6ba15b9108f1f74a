//! Numbers about lanner itself. The event path writes them and never waits. `/metrics`, `/healthz`, alerts about losses and
//! the service manager's watchdog read them.
//!
//! | file | does |
//! |---|---|
//! | `losses` | alerts about losses |
//! | `prometheus`, `usage` | the text of /metrics; the resources that lanner uses |
//! | `web` | HTTP |
//! | `shown` | names without secrets |
//! | `service` | systemd's notifications |

pub(crate) mod losses;
mod prometheus;
pub(crate) mod service;
pub(crate) mod shown;
pub(crate) mod usage;
pub(crate) mod web;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use driver_api::event::Loss;
use driver_api::stats::Stats;

use crate::counters::{Board, WorkerStatus};
use crate::heartbeat::Pulse;
use inspect::InspectorStats;

/// The event path is alive if it reported within this time.
pub(crate) const ALIVE: Duration = Duration::from_secs(10);

/// The driver of a session.
#[derive(Debug, Clone, Default)]
pub struct DriverFacts {
    /// Its name; empty: not open yet.
    pub name: String,
    /// Why it was chosen.
    pub reason: String,
    /// What it cannot do on this host.
    pub gaps: Vec<String>,
}

/// Counters at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    /// When lanner was started, in nanoseconds since the epoch.
    pub(crate) started_ns: u64,
    /// Seconds since then.
    pub(crate) seconds: u64,
    /// Events captured.
    pub(crate) captured: u64,
    /// Events lost, by cause.
    pub(crate) lost: [u64; Loss::ALL.len()],
    /// Malformed events.
    pub(crate) malformed: u64,
    /// Bytes that wait in the driver's buffers.
    pub(crate) pending: u64,
    /// Bytes of these buffers.
    pub(crate) capacity: u64,
    /// Processes that are followed.
    pub(crate) living: u64,
    /// Processes that are known.
    pub(crate) processes: u64,
    /// Reloads that succeeded.
    pub(crate) reloads: u64,
    /// Reloads that failed.
    pub(crate) reloads_failed: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Telemetry {
    started: Instant,
    started_ns: u64,
    /// Milliseconds since the start.
    heartbeat: AtomicU64,
    captured: AtomicU64,
    lost: [AtomicU64; Loss::ALL.len()],
    pending: AtomicU64,
    capacity: AtomicU64,
    malformed: AtomicU64,
    living: AtomicU64,
    processes: AtomicU64,
    file_tables: AtomicU64,
    probed: AtomicU64,
    driver: Mutex<DriverFacts>,
    board: RwLock<Arc<Board>>,
    /// No rule can match any more.
    pub(crate) rules_off: AtomicBool,
    /// The session must end, because events were lost and the configuration says so.
    pub(crate) exit: AtomicBool,
    /// The event path is in a call of the rule plugin.
    asking: AtomicBool,
    pub(crate) pulse: Pulse,
    workers: RwLock<Vec<Arc<WorkerStatus>>>,
    reloads: AtomicU64,
    reloads_failed: AtomicU64,
    reloaded_ns: AtomicU64,
}

impl Default for Telemetry {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            started: Instant::now(),
            started_ns: now_ns(),
            heartbeat: zero(),
            captured: zero(),
            lost: Default::default(),
            pending: zero(),
            capacity: zero(),
            malformed: zero(),
            living: zero(),
            processes: zero(),
            file_tables: zero(),
            probed: zero(),
            driver: Mutex::default(),
            board: RwLock::default(),
            rules_off: AtomicBool::new(false),
            exit: AtomicBool::new(false),
            asking: AtomicBool::new(false),
            pulse: Pulse::default(),
            workers: RwLock::default(),
            reloads: zero(),
            reloads_failed: zero(),
            reloaded_ns: AtomicU64::new(now_ns()),
        }
    }
}

impl Telemetry {
    /// The event path is alive. Called at each of its rounds.
    pub(crate) fn beat(&self) {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heartbeat.store(passed, Relaxed);
    }

    /// Whether the event path reported a moment ago.
    #[must_use]
    pub(crate) fn is_alive(&self) -> bool {
        let beat = Duration::from_millis(self.heartbeat.load(Relaxed));
        self.started.elapsed().saturating_sub(beat) < ALIVE
    }

    /// The event path enters or leaves a call of the rule plugin.
    #[inline]
    pub(crate) fn asks(&self, asks: bool) {
        self.asking.store(asks, Relaxed);
    }

    /// The event path does not report, because the rule plugin does not return.
    #[must_use]
    pub(crate) fn rules_hang(&self) -> bool {
        self.asking.load(Relaxed) && !self.is_alive()
    }

    /// What is wrong with the session, if anything.
    #[must_use]
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.rules_hang() {
            Some("the rule plugin does not return from a call")
        } else if !self.is_alive() {
            Some("the event path does not answer")
        } else if self.rules_off.load(Relaxed) {
            Some("the rule plugin is switched off")
        } else if self.pulse.is_missing() {
            Some("lanner's own call does not come back as an event")
        } else {
            None
        }
    }

    /// Sets the rule plugins with threads of their own. They continue the counts of their predecessors.
    pub(crate) fn set_workers(&self, workers: Vec<Arc<WorkerStatus>>) {
        let mut now = self.workers.write().unwrap_or_else(PoisonError::into_inner);
        for worker in &workers {
            let before = now.iter().find(|old| old.plugin() == worker.plugin());
            if let Some(before) = before {
                worker.follow(before);
            }
        }
        *now = workers;
    }

    /// The rule plugins with threads of their own.
    #[must_use]
    pub(crate) fn workers(&self) -> Vec<Arc<WorkerStatus>> {
        let workers = self.workers.read().unwrap_or_else(PoisonError::into_inner);
        workers.clone()
    }

    /// Publishes the counts of the capture and the inspector.
    pub(crate) fn publish(&self, stats: &Stats, state: &InspectorStats) {
        self.captured.store(stats.captured, Relaxed);
        for (to, from) in self.lost.iter().zip(stats.lost) {
            to.store(from, Relaxed);
        }
        self.pending.store(stats.pending, Relaxed);
        self.capacity.store(stats.capacity, Relaxed);
        self.malformed.store(stats.malformed, Relaxed);
        self.living.store(state.living as u64, Relaxed);
        self.processes.store(state.processes as u64, Relaxed);
        self.file_tables.store(state.file_tables as u64, Relaxed);
        self.probed.store(state.probed, Relaxed);
    }

    /// Sets the driver that was chosen.
    pub(crate) fn set_driver(&self, facts: DriverFacts) {
        *self.driver.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }

    pub(crate) fn driver(&self) -> DriverFacts {
        self.driver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Sets the rules that are counted from now on.
    pub(crate) fn set_board(&self, board: Arc<Board>) {
        *self.board.write().unwrap_or_else(PoisonError::into_inner) = board;
    }

    /// The rules that are counted.
    #[must_use]
    pub(crate) fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A reload has ended.
    pub(crate) fn reloaded(&self, ok: bool) {
        if ok {
            self.reloads.fetch_add(1, Relaxed);
            self.reloaded_ns.store(now_ns(), Relaxed);
        } else {
            self.reloads_failed.fetch_add(1, Relaxed);
        }
    }

    /// All numbers that are not about rules and outputs.
    pub(crate) fn numbers(&self) -> Numbers {
        let (captured, lost) = self.events();
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Numbers {
            started_ns: self.started_ns,
            seconds: self.started.elapsed().as_secs(),
            captured,
            lost,
            malformed: read(&self.malformed),
            pending: read(&self.pending),
            capacity: read(&self.capacity),
            living: read(&self.living),
            processes: read(&self.processes),
            reloads: read(&self.reloads),
            reloads_failed: read(&self.reloads_failed),
        }
    }

    /// Events captured, and lost by cause.
    pub(crate) fn events(&self) -> (u64, [u64; Loss::ALL.len()]) {
        let lost = std::array::from_fn(|at| self.lost[at].load(Relaxed));
        (self.captured.load(Relaxed), lost)
    }
}

/// The wall clock, in nanoseconds since the epoch.
pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
