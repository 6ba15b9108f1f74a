//! Makes events of notifications: a thread waits at the entry of a call until it is answered.

use driver_api::event::{EventKind, Flags, Header};
use driver_api::plan::{Plan, flag};
use driver_api::predicate::Made;
use driver_api::table::{self, Category, Returns};
use libc::pid_t;

use super::capture::NotifyCapture;
use super::listener::Notification;
use super::processes::PendingExec;
use super::{family, is_first_call};
use crate::events::{self, Sink};
use crate::hiding::{self, Called};
use crate::memory::{self, Memory};
use crate::threads;

/// The return value with which the plan of a call that has not returned is followed: an error without a special
/// meaning. So only what the program has filled is read.
const NOT_YET: i64 = -1;

/// A call that is about to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotifiedCall {
    called: Called,
    args: [u64; 6],
    plan: Plan,
    selected: bool,
}

impl NotifyCapture {
    /// The call of a notification. None: it is of a foreign architecture.
    fn entry_of(&self, notification: &Notification) -> Option<NotifiedCall> {
        let called = Called::of(notification.arch, notification.nr)?;
        let (called, args) = called.meant(notification.tid, notification.args);
        let Called { abi, nr, call } = called;
        // how it will end is not known
        let made = Made {
            abi,
            nr,
            args: &args,
            result: None,
        };
        Some(NotifiedCall {
            called,
            args,
            plan: self.events.plan_of(call, abi, nr),
            // one that lanner asks about for its own sake may be one that it must not be asked for
            selected: self.selection.wants(call, &made) && !call.unfailing,
        })
    }

    /// The header of an event of a thread.
    pub(super) fn header(&self, kind: EventKind, tid: pid_t) -> Header {
        let thread = self.processes.threads.get(&tid);
        let tgid = thread.map_or(tid, |thread| thread.tgid).unsigned_abs();
        events::header(kind, tid, tgid, thread.map(|thread| thread.owner))
    }

    /// Handles one notification and answers it.
    ///
    /// Its event is delivered while the thread waits, so that the sink finds in /proc what the call finds. Before Linux 5.19
    /// a signal can end the wait, and the thread asks again. There the event is delivered when the kernel has accepted
    /// the answer. That says, like SECCOMP_IOCTL_NOTIF_ID_VALID, that the thread has waited until then and that what was
    /// read was its own.
    pub(super) fn notified(&mut self, notification: &Notification, sink: Sink) {
        let (id, tid) = (notification.id, notification.tid);
        let entry = self.entry_of(notification).filter(|_| tid > 0);
        if let Some(entry) = &entry
            && hiding::withholds_pages(tid, entry.called.call, &entry.args)
        {
            memory::expect_withheld_pages();
        }
        let Some(entry) = entry else {
            self.answer(id, None);
            return;
        };
        let answer = hiding::answer(&entry.called, &entry.args, self.reads_everything);
        if !self.processes.threads.contains_key(&tid) && !self.announce(tid, Some(id), sink) {
            return;
        }
        if self.processes.execs > 0 {
            self.settle_exec(tid, id, is_first_call(entry.called.call.name), sink);
        }
        let mut tgid = tid;
        if let Some(thread) = self.processes.threads.get_mut(&tid) {
            tgid = thread.tgid;
            if thread.owner_is_stale {
                thread.owner = threads::owner(tid.unsigned_abs());
            }
            thread.owner_is_stale = entry.called.call.category == Category::User;
        }
        let leaves = entry.called.call.returns == Returns::None;
        if leaves && self.processes.lacks_pidfds() {
            // a child that it has waited for has ended before it
            self.report_ends(true, sink);
        }
        if entry.plan.flags & flag::EXEC != 0 {
            self.begin_exec(tid, tgid, &entry);
            self.answer(id, None);
            return;
        }
        if entry.selected {
            let flags = if leaves {
                Flags::NORETURN
            } else {
                Flags::ENTRY
            };
            self.build(tid, &entry, flags);
        }
        let waits = entry.selected && self.waits_firmly;
        if waits {
            if !self.is_valid(id) {
                return;
            }
            self.deliver(sink);
        }
        if !self.answer(id, answer) {
            // the thread does not wait any more: it was killed, or a signal has interrupted it and it will ask again
            return;
        }
        if entry.selected && !waits {
            self.deliver(sink);
        }
        if leaves {
            self.leaves(tid, tgid, entry.args[0], sink);
        }
    }

    /// Begins the event of an entry.
    fn build(&mut self, tid: pid_t, entry: &NotifiedCall, flags: u16) {
        let header = Header {
            abi: entry.called.abi as u8,
            nr: entry.called.nr,
            args: entry.args,
            flags,
            ..self.header(EventKind::Syscall, tid)
        };
        let memory = Memory::new(tid, table::is_narrow(entry.called.abi, entry.called.nr));
        self.events
            .begin_call(&header, NOT_YET, &entry.plan, &memory, None);
    }

    fn begin_exec(&mut self, tid: pid_t, tgid: pid_t, entry: &NotifiedCall) {
        let flags = if entry.selected { 0 } else { Flags::UNSELECTED };
        self.build(tid, entry, flags);
        let event = self.events.take().unwrap_or_default();
        let before = family::Image::of(tid);
        if let Some(process) = self.processes.get_mut(tgid) {
            let pending = PendingExec { tid, event, before };
            if process.exec.replace(pending).is_none() {
                self.processes.execs += 1;
            }
        }
    }

    /// exit(2) ends a thread. The pidfd of a process shows the process's end.
    fn leaves(&mut self, tid: pid_t, tgid: pid_t, code: u64, sink: Sink) {
        let status = ((code & 0xff) << 8) as i32;
        self.thread_ended(tid, status, sink);
        if let Some(process) = self.processes.get_mut(tgid)
            && process.threads.is_empty()
        {
            process.leaving = Some(status);
        }
    }
}
