//! Which threads are traced, and what is known of each.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use driver_api::event::{Abi, Header};
use driver_api::table::{Syscall, is_narrow};
use driver_start::monotonic_ns;
use libc::pid_t;

use super::pending_restart::PendingRestart;
use super::pinning::Pinning;
use crate::id_map::IdMap;
use crate::interpret::Rooms;
use crate::memory::Memory;
use crate::threads::{self, Owner};
use crate::tracee::Stop;

/// How long a child's first stop waits for its parent to report the birth. A parent that is killed meanwhile never
/// does.
const OVERDUE: Duration = Duration::from_millis(200);
/// After this time an end without a birth is forgotten: it was of a child of lanner's that was never a tracee.
const FORGOTTEN: Duration = Duration::from_secs(5);
/// How long a parent may take to report a child that has been adopted meanwhile.
const LATEST_REPORT: Duration = Duration::from_secs(60);

/// A traced thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) tgid: u32,
    pub(crate) owner: Owner,
    /// The thread that made it; 0: one that is not traced.
    pub(crate) parent: pid_t,
    /// The thread that made it has reported its birth, or will not be asked to.
    pub(crate) reported: bool,
    /// How many times it has stopped.
    pub(crate) stops: u32,
    /// The call that it is in, from its entry stop to its exit stop.
    pub(crate) call: Option<Call>,
    /// Whether it is in our PID namespace, so that both use the same ids for other threads. None: not asked yet.
    pub(crate) shares_ids: Option<bool>,
    /// It is in a call, and stops at its exit. For kernels that cannot say.
    pub(crate) inside: bool,
    /// It is in a call whose entry has had a stop of its own, and was handled there.
    pub(crate) entered: bool,
    /// A call that a signal has interrupted.
    pub(crate) pending_restart: Option<PendingRestart>,
    /// It has a filter of its own, whose answer can go before that of lanner's filter: it stops at every call.
    pub(crate) has_own_filter: bool,
    /// A stopping signal has stopped it since its last call.
    pub(crate) was_stopped: bool,
}

impl Thread {
    pub(crate) fn new(tgid: u32, owner: Owner, parent: pid_t) -> Self {
        Self {
            tgid,
            owner,
            parent,
            reported: true,
            stops: 0,
            call: None,
            shares_ids: None,
            inside: false,
            entered: false,
            pending_restart: None,
            has_own_filter: false,
            was_stopped: false,
        }
    }
}

/// A call between entry and exit.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) call: &'static Syscall,
    pub(crate) abi: Abi,
    pub(crate) nr: u32,
    pub(crate) args: [u64; 6],
    /// When it was entered, in nanoseconds. None: the times of calls are not asked for.
    pub(super) entered_ns: Option<u64>,
    /// What the program has room for.
    pub(super) rooms: Option<Box<Rooms>>,
    /// Where the thread may run until its exit.
    pub(crate) pinning: Pinning,
    /// For an exec: the event that was begun at its entry, because its memory is gone afterwards.
    pub(crate) exec: Option<Vec<u8>>,
}

impl Call {
    /// How long it has taken until now, in nanoseconds, if somebody asks.
    pub(super) fn took_ns(&self) -> Option<u64> {
        Some(monotonic_ns().saturating_sub(self.entered_ns?))
    }

    /// The memory that the arguments point to.
    pub(crate) fn memory(&self, tid: pid_t) -> Memory {
        Memory::new(tid, is_narrow(self.abi, self.nr))
    }
}

/// What came from a thread before its parent reported its birth.
#[derive(Debug)]
pub(crate) struct PendingBirth {
    pub(crate) state: Early,
    since: Instant,
    /// Its parent, if it has been killed in its first stop: its end leaves nothing to ask.
    parent: Option<u32>,
}

/// How far a thread got before its birth was reported.
#[derive(Debug)]
pub(crate) enum Early {
    /// It is in its first stop.
    Stopped(Stop),
    /// It has ended, perhaps after its first stop.
    Ended {
        /// Its wait status.
        status: c_int,
        /// It had stopped before.
        after_stop: bool,
    },
}

impl PendingBirth {
    /// Whether it was a tracee for certain: children of lanner's that are not have no stops.
    fn has_stopped(&self) -> bool {
        match self.state {
            Early::Stopped(_) => true,
            Early::Ended { after_stop, .. } => after_stop,
        }
    }

    fn is_overdue(&self) -> bool {
        self.since.elapsed() > OVERDUE
    }
}

/// The traced threads, by their ids.
#[derive(Debug, Default)]
pub(crate) struct Tracees {
    threads: IdMap<Thread>,
    pending_births: IdMap<PendingBirth>,
    /// The threads that have ended before the reports of their births came, and when they ended.
    ended_unreported: IdMap<Instant>,
    /// The exit event of the thread that was killed last, and when that was.
    last_killed: Option<(Header, Instant)>,
}

impl Tracees {
    pub(crate) fn get(&self, tid: pid_t) -> Option<&Thread> {
        self.threads.get(&tid)
    }

    pub(crate) fn get_mut(&mut self, tid: pid_t) -> Option<&mut Thread> {
        self.threads.get_mut(&tid)
    }

    pub(crate) fn contains(&self, tid: pid_t) -> bool {
        self.threads.contains_key(&tid)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (pid_t, &Thread)> {
        self.threads.iter().map(|(tid, thread)| (*tid, thread))
    }

    pub(crate) fn insert(&mut self, tid: pid_t, thread: Thread) {
        self.threads.insert(tid, thread);
    }

    /// Follows a thread that is seized already.
    pub(crate) fn adopt(&mut self, tid: pid_t, tgid: u32) {
        self.insert(
            tid,
            Thread::new(tgid, threads::owner(tid.unsigned_abs()), 0),
        );
    }

    pub(crate) fn remove(&mut self, tid: pid_t) -> Option<Thread> {
        let thread = self.threads.remove(&tid)?;
        if !thread.reported {
            self.ended_unreported.insert(tid, Instant::now());
        }
        Some(thread)
    }

    /// Notes that a birth is reported now. Returns whether it was delivered before: the parent's stop has come late.
    pub(crate) fn is_late_report(&mut self, child: pid_t) -> bool {
        if let Some(thread) = self.threads.get_mut(&child) {
            thread.reported = true;
            return true;
        }
        self.ended_unreported.remove(&child).is_some()
    }

    /// The threads of a process.
    pub(crate) fn of_process(&self, pid: pid_t) -> Vec<pid_t> {
        let threads = self.threads.iter();
        let own = threads.filter(|(_, thread)| thread.tgid == pid.unsigned_abs());
        own.map(|(tid, _)| *tid).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.threads.clear();
        self.pending_births.clear();
        self.ended_unreported.clear();
    }

    /// Notes that all threads of a process have a filter of their own. Returns those that would not stop before the filter
    /// can answer a call of theirs.
    pub(crate) fn note_own_filter(&mut self, tgid: u32) -> Vec<pid_t> {
        let mut running = Vec::new();
        for (tid, thread) in &mut self.threads {
            if thread.tgid == tgid && !thread.has_own_filter {
                thread.has_own_filter = true;
                if thread.call.is_none() {
                    running.push(*tid);
                }
            }
        }
        running
    }

    /// Removes all threads; returns their ids.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = pid_t> {
        self.threads.drain().map(|(tid, _)| tid)
    }

    /// Removes all threads whose births are pending.
    pub(crate) fn drain_pending(&mut self) -> impl Iterator<Item = (pid_t, Early)> {
        let drained = self.pending_births.drain();
        drained.map(|(tid, pending)| (tid, pending.state))
    }

    /// Whether no thread is left, as far as has been reported.
    pub(crate) fn is_deserted(&self) -> bool {
        self.threads.is_empty() && !self.awaits_birth()
    }

    /// Whether a thread has stopped whose birth is pending.
    pub(crate) fn awaits_birth(&self) -> bool {
        self.pending_births.values().any(PendingBirth::has_stopped)
    }

    /// Whether something came from this thread before its birth was reported.
    pub(crate) fn is_pending(&self, tid: pid_t) -> bool {
        self.pending_births.contains_key(&tid)
    }

    /// Keeps the first stop of a thread until its birth is reported.
    pub(crate) fn keep_first_stop(&mut self, stop: Stop) {
        let tid = stop.tid();
        let parent = match self.is_pending(tid) {
            true => threads::parent(tid.unsigned_abs()),
            false => None,
        };
        self.keep(tid, Early::Stopped(stop), parent);
    }

    /// Keeps the end of a thread until its birth is reported.
    pub(crate) fn keep_end(&mut self, tid: pid_t, status: c_int) {
        let before = self.pending_births.get(&tid);
        let after_stop = before.is_some_and(PendingBirth::has_stopped);
        let parent = before.and_then(|pending| pending.parent);
        self.keep(tid, Early::Ended { status, after_stop }, parent);
    }

    fn keep(&mut self, tid: pid_t, state: Early, parent: Option<u32>) {
        // its id is in use again
        self.ended_unreported.remove(&tid);
        let before = self.pending_births.get(&tid);
        let since = before.map_or_else(Instant::now, |pending| pending.since);
        let pending = PendingBirth {
            state,
            since,
            parent,
        };
        self.pending_births.insert(tid, pending);
    }

    /// What came from a thread before its birth was reported.
    pub(crate) fn take_pending(&mut self, tid: pid_t) -> Option<Early> {
        self.pending_births
            .remove(&tid)
            .map(|pending| pending.state)
    }

    /// Remembers a thread that was killed, by its exit event.
    pub(crate) fn note_killed(&mut self, exit: Header) {
        self.last_killed = Some((exit, Instant::now()));
    }

    /// The thread that was killed last.
    pub(crate) fn last_killed(&self) -> Option<&Header> {
        self.last_killed.as_ref().map(|(exit, _)| exit)
    }

    /// Whether a thread was killed so recently that a child of its may have no other to report it.
    pub(crate) fn killed_recently(&self) -> bool {
        let killed = self.last_killed.as_ref();
        killed.is_some_and(|(_, when)| when.elapsed() < OVERDUE)
    }

    /// Whether no traced thread is left that would report this thread's birth.
    pub(crate) fn is_orphan(&self, tid: pid_t) -> bool {
        self.parent_of_pending(tid)
            .is_none_or(|parent| !self.contains(parent))
    }

    /// The process that made a thread with a pending birth, as far as that can still be known.
    pub(crate) fn parent_of_pending(&self, tid: pid_t) -> Option<pid_t> {
        let pending = self.pending_births.get(&tid);
        let kept = pending.and_then(|pending| pending.parent);
        let parent = kept.or_else(|| threads::parent(tid.unsigned_abs()));
        parent.and_then(|parent| pid_t::try_from(parent).ok())
    }

    /// The threads with a pending birth that no traced thread would report.
    pub(crate) fn orphans(&self) -> Vec<pid_t> {
        self.pending_births
            .iter()
            .filter(|(_, pending)| pending.has_stopped())
            .map(|(tid, _)| *tid)
            .filter(|tid| self.is_orphan(*tid))
            .collect()
    }

    /// The threads whose births have waited too long for a report.
    pub(crate) fn overdue(&mut self) -> Vec<pid_t> {
        if self.pending_births.is_empty() {
            return Vec::new();
        }
        self.pending_births
            .retain(|_, pending| pending.has_stopped() || pending.since.elapsed() < FORGOTTEN);
        self.ended_unreported
            .retain(|_, ended| ended.elapsed() < LATEST_REPORT);
        let alone = self.threads.is_empty();
        self.pending_births
            .iter()
            .filter(|(_, pending)| pending.has_stopped() && (alone || pending.is_overdue()))
            .map(|(tid, _)| *tid)
            .collect()
    }

    /// How long to wait at most until [`overdue`](Self::overdue) has something to say.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.awaits_birth().then_some(OVERDUE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            uid: 0,
            gid: 0,
            euid: 0,
            egid: 0,
        }
    }

    #[test]
    fn an_end_without_a_stop_is_of_no_tracee() {
        let mut tracees = Tracees::default();
        tracees.keep_end(7, 0);
        assert!(tracees.is_deserted() && tracees.patience().is_none());
        assert!(tracees.overdue().is_empty() && tracees.orphans().is_empty());
        assert!(matches!(
            tracees.take_pending(7),
            Some(Early::Ended {
                status: 0,
                after_stop: false
            })
        ));
    }
    #[test]
    fn a_report_that_comes_after_its_childs_end_is_late_once() {
        let mut tracees = Tracees::default();
        let unreported = Thread {
            reported: false,
            ..Thread::new(7, owner(), 1)
        };
        tracees.insert(7, unreported);
        tracees.remove(7);
        assert!(tracees.is_late_report(7));
        assert!(!tracees.is_late_report(7), "the id has a new owner");
        // the first stop of a new owner of the id
        tracees.ended_unreported.insert(8, Instant::now());
        tracees.keep_end(8, 0);
        assert!(!tracees.is_late_report(8));
    }

    #[test]
    fn a_report_in_the_life_of_an_adopted_child_leaves_nothing_behind() {
        let mut tracees = Tracees::default();
        tracees.insert(7, Thread::new(7, owner(), 1));
        tracees.get_mut(7).expect("inserted").reported = false;
        assert!(tracees.is_late_report(7));
        tracees.remove(7);
        assert!(!tracees.is_late_report(7));
    }
}
