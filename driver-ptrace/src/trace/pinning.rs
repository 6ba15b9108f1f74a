//! Keeps a busy tracee and its tracer on one CPU. A stop then costs two context switches; otherwise it is four
//! wake-ups of a sleeping CPU, which cost five to ten times as much.
//!
//! The tracer stays on the CPU of the tracee that it last worked for, its home. But the kernel wakes a tracee on
//! any idle CPU, and never on its tracer's, which is busy at that moment. So the tracee is pinned: its affinity is
//! narrowed to the home while it is woken. It gets its own affinity back before it runs any code of its own, or,
//! as each change costs much, when it has not stopped for a moment.
//!
//! A program must not see that. No thread is pinned while one asks for or sets an affinity, nor for a while after a
//! program has opened a `status` file in /proc. Threads stay pinned between their calls only where the filter stops all
//! opens. Calls that read data are not pinned. A child that is born with a narrow affinity stops before its first
//! instruction, and gets the affinity of its parent there.
//!
//! Only tracees that do not lose by it are pinned: one that ran beside another tracee on the home CPU is left to
//! the scheduler.

use std::time::{Duration, Instant};

use driver_api::table::{Category, Kind, Returns, Syscall};
use libc::pid_t;

use super::affinity::{CpuSet, is_affinity_call, last_cpu};
use crate::tracee::{Resumption, RunUntil};

/// Stops that follow each other within this time are quick.
const QUICK: Duration = Duration::from_millis(1);
/// The number of quick stops in a row after which pinning is worth it.
const BUSY: u32 = 8;
/// After this time without a stop the tracer leaves its home.
const IDLE: Duration = Duration::from_millis(20);
/// How long after its last stop a thread stays pinned.
const PINNED_FOR: Duration = Duration::from_millis(2);
/// How long no thread stays pinned after a program may have begun to read what shows it.
const UNPINNED_FOR: Duration = Duration::from_millis(100);
/// After this number of wake-ups at home the tracer checks that the tracee is still there.
const WAKE_UPS_PER_CHECK: u32 = 256;

/// What may be done with a tracee's affinity while it runs on from a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pinning {
    /// Nothing: what it is about to do could show its affinity.
    None,
    /// It is pinned while it is woken.
    #[default]
    WhileWoken,
    /// It is pinned until its call is over: the call does not wait, and shows no affinity.
    UntilExit,
}

impl Pinning {
    /// What holds for a thread in a call.
    pub(super) fn of(call: &Syscall) -> Self {
        // paths and an exec's vectors take time: the kernel would move the thread to an idle CPU meanwhile
        let takes_time = |kind: &Kind| matches!(kind, Kind::Path(_) | Kind::Strv);
        if is_affinity_call(call) || matches!(call.category, Category::IoRead | Category::Io) {
            Self::None
        } else if call.returns == Returns::Child
            || call.params.iter().any(|param| takes_time(&param.kind))
        {
            Self::UntilExit
        } else {
            Self::WhileWoken
        }
    }
}

/// A thread that is pinned.
#[derive(Debug)]
struct Pinned {
    tid: pid_t,
    /// Its own affinity.
    own: CpuSet,
    last_stop: Instant,
}

/// The run of stops that ends with the latest one.
#[derive(Debug)]
struct StopRun {
    /// The thread that has stopped last, and when.
    tid: pid_t,
    when: Instant,
    /// The number of its stops in a row.
    alone: u32,
    /// The number of quick stops in a row, of any threads.
    quick: u32,
}

/// Where the tracer is, and which threads it keeps there.
#[derive(Debug)]
pub(crate) struct CpuPinner {
    /// The tracer's own affinity. None: no thread is ever pinned.
    own: Option<CpuSet>,
    /// The CPU where the tracer stays.
    home: Option<usize>,
    /// The set of the home CPU alone.
    narrow: CpuSet,
    /// All CPUs there could ever be.
    every: CpuSet,
    /// What the affinity of an unrestricted thread reads as, once known. Such a thread gets `every` back, and with it
    /// CPUs that are added later.
    unrestricted: Option<CpuSet>,
    /// The thread that was woken at home last.
    resident: pid_t,
    pinned: Vec<Pinned>,
    /// Threads stay pinned between their calls, too.
    between_calls: bool,
    /// Before this time they do not.
    unpinned_until: Option<Instant>,
    /// Threads that are in a call about affinities.
    asking: Vec<pid_t>,
    run: StopRun,
    /// Wake-ups since the last check.
    woken: u32,
    /// A stop on another CPU is about to come: that of a parent whose child has ended.
    expects_stop: bool,
}

impl CpuPinner {
    /// `may_pin`: the tracees end with lanner, so that none is left with a narrow affinity.
    pub(super) fn new(may_pin: bool) -> Self {
        Self {
            own: CpuSet::of_thread(0).filter(|set| may_pin && set.len() > 1),
            home: None,
            narrow: CpuSet::one(0),
            every: CpuSet::every(),
            unrestricted: None,
            resident: 0,
            pinned: Vec::new(),
            between_calls: false,
            unpinned_until: None,
            asking: Vec::new(),
            run: StopRun {
                tid: 0,
                when: Instant::now(),
                alone: 0,
                quick: 0,
            },
            woken: 0,
            expects_stop: false,
        }
    }

    /// A thread has stopped.
    pub(super) fn stopped(&mut self, tid: pid_t, now: Instant) {
        if self.own.is_none() {
            return;
        }
        let quick = now.saturating_duration_since(self.run.when) < QUICK;
        self.run.when = now;
        while let Some(pinned) = self
            .pinned
            .iter()
            .find(|pinned| self.between_calls && pinned.last_stop + PINNED_FOR < now)
        {
            self.unpin(pinned.tid);
        }
        let one_more =
            |count: u32, goes_on: bool| if goes_on { count.saturating_add(1) } else { 0 };
        self.run.quick = one_more(self.run.quick, quick);
        self.run.alone = one_more(self.run.alone, tid == self.run.tid);
        self.run.tid = tid;
        let is_elsewhere = self.home.is_none() || (tid != self.resident && self.run.alone >= BUSY);
        if self.run.quick >= BUSY && (is_elsewhere || self.woken >= WAKE_UPS_PER_CHECK) {
            self.woken = 0;
            if let Some(cpu) = last_cpu(tid) {
                self.move_home(cpu, tid);
            }
        }
    }

    /// Moves the tracer to where a tracee is.
    fn move_home(&mut self, cpu: usize, tid: pid_t) {
        if self.own.is_none_or(|own| !own.contains(cpu)) {
            return;
        }
        if self.home != Some(cpu) {
            self.unpin_all();
            self.narrow = CpuSet::one(cpu);
            if !self.narrow.apply(0) {
                self.own = None;
                self.home = None;
                return;
            }
            self.home = Some(cpu);
        }
        self.resident = tid;
    }

    /// From now on threads stay pinned between their calls. Only for a capture that calls
    /// [`unpin_for_a_while`](Self::unpin_for_a_while) at each open of a file that shows affinities.
    pub(super) fn pin_between_calls(&mut self) {
        self.between_calls = true;
    }

    /// A program is about to read /proc/PID/status: all threads have their own affinity for a while.
    pub(super) fn unpin_for_a_while(&mut self) {
        self.unpin_all();
        self.unpinned_until = Some(self.run.when + UNPINNED_FOR);
    }

    /// Whether threads stay pinned between their calls just now.
    fn pins_between_calls(&self) -> bool {
        self.between_calls
            && self
                .unpinned_until
                .is_none_or(|until| until < self.run.when)
    }

    /// How long to wait at most until [`idle`](Self::idle) has something to do.
    pub(super) fn patience(&self) -> Option<Duration> {
        (self.between_calls && !self.pinned.is_empty()).then_some(PINNED_FOR)
    }

    /// A thread has taken another one's id (execve(2)).
    pub(super) fn renamed(&mut self, former: pid_t, tid: pid_t) {
        self.forget(tid);
        if let Some(pinned) = self.pinned.iter_mut().find(|pinned| pinned.tid == former) {
            pinned.tid = tid;
        }
    }

    /// Nothing has stopped for a while.
    pub(super) fn idle(&mut self) {
        if self.between_calls && self.run.when.elapsed() >= PINNED_FOR {
            self.unpin_all();
        }
        if self.home.is_some() && self.run.when.elapsed() > IDLE {
            self.leave_home();
        }
    }

    /// Gives the tracer and all tracees their own affinities back.
    pub(super) fn leave_home(&mut self) {
        self.unpin_all();
        if self.home.take().is_some()
            && let Some(own) = self.own
        {
            own.apply(0);
        }
    }

    /// The thread that was woken at home last. None: no thread may be pinned now.
    pub(super) fn resident(&self) -> Option<pid_t> {
        self.home
            .filter(|_| self.asking.is_empty())
            .map(|_| self.resident)
    }

    /// A thread is about to ask for or to set an affinity: all threads have their own until that call is over.
    pub(super) fn begin_affinity_call(&mut self, tid: pid_t) {
        self.unpin_all();
        self.asking.push(tid);
    }

    /// A thread's call is over.
    pub(super) fn end_call(&mut self, tid: pid_t) {
        self.asking.retain(|asking| *asking != tid);
    }

    /// A thread has ended. `parent_is_traced`: its parent may be about to stop.
    pub(super) fn ended(&mut self, tid: pid_t, parent_is_traced: bool) {
        self.expects_stop = parent_is_traced && self.resident().is_some();
        self.forget(tid);
    }

    fn forget(&mut self, tid: pid_t) {
        self.end_call(tid);
        self.pinned.retain(|pinned| pinned.tid != tid);
    }

    /// Whether a stop is about to come. Once for each reason.
    pub(super) fn take_expected_stop(&mut self) -> bool {
        std::mem::take(&mut self.expects_stop)
    }

    /// A child is in a stop before its first instruction. If its parent was pinned at its birth, it gets the
    /// parent's own affinity.
    pub(super) fn born(&self, child: pid_t, parent: pid_t) {
        if self.home.is_none() || CpuSet::of_thread(child) != Some(self.narrow) {
            return;
        }
        let pinned = self.pinned.iter().find(|pinned| pinned.tid == parent);
        let own = match pinned {
            Some(pinned) => Some(pinned.own),
            None => CpuSet::of_thread(parent).or(Some(self.every)),
        };
        if let Some(own) = own.filter(|own| *own != self.narrow) {
            self.widen(child, &own);
        }
    }

    /// Resumes a thread, pinned if that is allowed and the thread is `near` the resident.
    pub(super) fn resume(
        &mut self,
        resumption: Resumption,
        until: RunUntil,
        pinning: Pinning,
        near: bool,
    ) {
        let tid = resumption.tid();
        // while a program may read its affinity, it is not narrow even for a wake-up
        let must_not = self.between_calls && !self.pins_between_calls();
        if self.home.is_none() || pinning == Pinning::None || !near || must_not {
            self.unpin(tid);
            resumption.go(until);
            return;
        }
        self.resident = tid;
        self.woken += 1;
        let stays = self.pins_between_calls() || pinning == Pinning::UntilExit;
        if self.pins_between_calls()
            && let Some(pinned) = self.pinned.iter_mut().find(|pinned| pinned.tid == tid)
        {
            pinned.last_stop = self.run.when;
            resumption.go(until);
            return;
        }
        let own = self.take_own(tid).or_else(|| self.narrow_down(tid));
        resumption.go(until);
        match own {
            Some(own) if stays => self.pinned.push(Pinned {
                tid,
                own,
                last_stop: self.run.when,
            }),
            Some(own) => self.widen(tid, &own),
            None => {}
        }
    }

    /// Narrows a thread's affinity. Returns its own one, if it had to be narrowed and could be.
    fn narrow_down(&mut self, tid: pid_t) -> Option<CpuSet> {
        let own = CpuSet::of_thread(tid)?;
        let home = self.home?;
        if own == self.narrow || !own.contains(home) {
            return None;
        }
        if self.unrestricted.is_none() && self.every.apply(tid) {
            self.unrestricted = CpuSet::of_thread(tid);
        }
        self.narrow.apply(tid).then_some(own)
    }

    /// Gives a thread its own affinity back.
    fn widen(&self, tid: pid_t, own: &CpuSet) {
        if self.unrestricted == Some(*own) {
            self.every.apply(tid);
        } else {
            own.apply(tid);
        }
    }

    /// Forgets a pinned thread. Returns its own affinity, unless another process has given it a new one meanwhile.
    fn take_own(&mut self, tid: pid_t) -> Option<CpuSet> {
        let at = self.pinned.iter().position(|pinned| pinned.tid == tid)?;
        let own = self.pinned.swap_remove(at).own;
        (CpuSet::of_thread(tid) == Some(self.narrow)).then_some(own)
    }

    fn unpin(&mut self, tid: pid_t) {
        if let Some(own) = self.take_own(tid) {
            self.widen(tid, &own);
        }
    }

    fn unpin_all(&mut self) {
        while let Some(pinned) = self.pinned.last() {
            self.unpin(pinned.tid);
        }
    }
}
