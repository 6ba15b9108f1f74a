//! Births of threads and processes.
//!
//! The parent reports a birth in a stop of its own, which can come after the child's first stop; and a parent that
//! is killed in that moment never does. So what comes from a thread before its birth is kept until the birth is
//! reported, or until it is clear that it will not be.

use std::time::Instant;

use driver_api::event::{EventKind, Header};
use driver_api::table::Returns;
use libc::pid_t;

use super::capture::PtraceCapture;
use super::tracees::{Call, Early, Thread};
use crate::clone;
use crate::events::Sink;
use crate::threads::{self, Owner};
use crate::tracee::{self, BirthKind, BirthStop, Gone, Stop};

/// Who was born.
#[derive(Debug, Clone, Copy)]
struct Birth {
    child: pid_t,
    tgid: u32,
    /// clone(2)'s, without the signal.
    flags: u64,
    owner: Owner,
}

impl PtraceCapture {
    /// A thread has stopped whose birth was not reported yet.
    pub(super) fn pending_birth(&mut self, stop: Stop, sink: Sink) {
        let tid = stop.tid();
        self.tracees.keep_first_stop(stop);
        // its parent may have been killed already
        if self.tracees.killed_recently() && self.tracees.is_orphan(tid) {
            self.adopt_orphan(tid, None, sink);
        }
    }

    /// A thread reports a birth.
    pub(super) fn born(&mut self, stop: BirthStop, sink: Sink) -> Result<(), Gone> {
        let tid = stop.tid();
        let child = stop.child()?;
        let Some(parent) = self.tracees.get(tid) else {
            return Err(Gone);
        };
        let (tgid, owner) = (parent.tgid, parent.owner);
        let flags = parent
            .call
            .as_ref()
            .and_then(|call| clone::flags(tid, call.call.name, call.args[0]))
            .unwrap_or(0);
        // a clone of kind Clone makes a thread, or a process that does not send SIGCHLD
        let is_thread = stop.kind() == BirthKind::Clone
            && if flags == 0 {
                threads::tgid(child).is_none_or(|group| group != child)
            } else {
                flags & clone::THREAD != 0
            };
        let child_tid = child as pid_t;
        if !self.tracees.is_late_report(child_tid) {
            let birth = Birth {
                child: child_tid,
                tgid: if is_thread { tgid } else { child },
                flags: clone::without_signal(flags),
                owner,
            };
            let header = self.header(EventKind::Fork, tid);
            self.follow_child(&header, birth, sink);
        }
        // the caller of vfork(2) returns later
        if !self.stops_every_call(tid) && stop.kind() != BirthKind::Vfork {
            self.clone_returns(tid, child, sink);
        }
        self.resume_inside(stop.into());
        self.catch_up(child_tid, sink);
        Ok(())
    }

    /// Delivers a birth, and follows the child.
    fn follow_child(&mut self, parent: &Header, birth: Birth, sink: Sink) {
        let mut header = *parent;
        header.args[..3].copy_from_slice(&[
            u64::from(birth.child.unsigned_abs()),
            u64::from(birth.tgid),
            birth.flags,
        ]);
        self.events.builder.begin(&header);
        self.deliver(sink);
        let parent = header.tid as pid_t;
        let mut thread = Thread::new(birth.tgid, birth.owner, parent);
        let maker = self.tracees.get(parent);
        thread.has_own_filter = maker.is_some_and(|maker| maker.has_own_filter);
        self.tracees.insert(birth.child, thread);
        self.pinner.born(birth.child, parent);
    }

    /// Handles what came from a thread before its birth was reported.
    fn catch_up(&mut self, child: pid_t, sink: Sink) {
        match self.tracees.take_pending(child) {
            Some(Early::Stopped(stop)) => self.stopped(stop, sink),
            Some(Early::Ended { status, .. }) => self.ended(child, status, sink),
            None => {}
        }
    }

    /// A clone has done all it does. It returns the child's id, if the caller has the same id for the child as
    /// lanner: then its event is complete, and it need not stop at its exit.
    fn clone_returns(&mut self, tid: pid_t, child: u32, sink: Sink) {
        let Some(thread) = self.tracees.get_mut(tid) else {
            return;
        };
        let is_clone = |call: &Call| call.call.returns == Returns::Child;
        if !thread.call.as_ref().is_some_and(is_clone) {
            return;
        }
        let shares_ids = thread
            .shares_ids
            .get_or_insert_with(|| threads::is_in_our_pid_namespace(tid.unsigned_abs()));
        if *shares_ids && let Some(call) = thread.call.take() {
            self.exit_of(tid, call, i64::from(child), sink);
        }
    }

    /// A thread has ended. If it was killed while it forked, it never reports its child: that is followed now, so
    /// that the birth is delivered before the parent's end.
    pub(super) fn adopt_orphans_of(&mut self, dying: pid_t, sink: Sink) {
        for orphan in self.tracees.orphans() {
            self.adopt_orphan(orphan, Some(dying), sink);
        }
    }

    /// Follows a thread whose parent was killed and did not report it. If the parent's exit was delivered already,
    /// the birth comes after it.
    ///
    /// Its end makes orphans, which are adopted at once: one that a caller has listed before may be gone by its turn.
    pub(super) fn adopt_orphan(&mut self, child: pid_t, parent: Option<pid_t>, sink: Sink) {
        if !self.tracees.is_pending(child) {
            return;
        }
        let id = child.unsigned_abs();
        // a thread that was ended by another one's exec does not report its child either, but its process lives
        let parent = parent.or_else(|| {
            let process = self.tracees.parent_of_pending(child)?;
            self.tracees.contains(process).then_some(process)
        });
        let header = match (parent, self.tracees.last_killed()) {
            (None, Some(killed)) => Header {
                tgid: killed.tgid,
                tid: killed.tid,
                uid: killed.uid,
                gid: killed.gid,
                ..self.header(EventKind::Fork, child)
            },
            (parent, _) => self.header(EventKind::Fork, parent.unwrap_or(child)),
        };
        let birth = Birth {
            child,
            tgid: threads::tgid(id).unwrap_or(id),
            flags: 0,
            owner: threads::owner(id),
        };
        self.follow_child(&header, birth, sink);
        if let Some(thread) = self.tracees.get_mut(child) {
            thread.reported = false;
        }
        self.catch_up(child, sink);
    }

    /// Follows the threads whose parents have not reported them in time. A parent that is still traced may have: the
    /// kernel hands out the stops of young threads first, and busy ones can keep an old one's waiting.
    pub(super) fn adopt_overdue(&mut self, sink: Sink) {
        for child in self.tracees.overdue() {
            self.ask_parent_of(child, sink);
            self.adopt_orphan(child, None, sink);
        }
    }

    /// Handles the stops of a pending thread's parent that wait to be handed out.
    fn ask_parent_of(&mut self, child: pid_t, sink: Sink) {
        let Some(parent) = self.tracees.parent_of_pending(child) else {
            return;
        };
        for tid in self.tracees.of_process(parent) {
            if !self.tracees.is_pending(child) {
                return;
            }
            if let Ok(Some(wait)) = tracee::wait_for(tid) {
                self.pinner.stopped(tid, Instant::now());
                self.handle(wait, sink);
            }
        }
    }
}
