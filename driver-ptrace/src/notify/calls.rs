//! Makes events of notifications: a thread waits at the entry of a call until it is answered.

use driver_api::event::{Abi, Flags, Header, Kind};
use driver_api::plan::{Plan, flag};
use driver_api::table::{self, Category, Returns, Syscall};
use driver_start::monotonic_ns;
use libc::pid_t;

use super::FIRST_CALLS;
use super::capture::{NotifyCapture, Sink};
use super::listener::Notification;
use super::processes::{Begun, Birth};
use crate::facts;
use crate::filter;
use crate::interpret;
use crate::memory::Memory;

/// clone(2)
const CLONE_THREAD: u64 = 0x1_0000;
/// What vfork(2) is, as clone(2) would have it: CLONE_VM and CLONE_VFORK.
const VFORK: u64 = 0x4100;
/// What the interpreter is told of a call that has not returned: of an error that is no special one, so that
/// it reads what the program has filled, and nothing else.
const NOT_YET: i64 = -1;

/// A call that is about to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    call: &'static Syscall,
    abi: Abi,
    nr: u32,
    args: [u64; 6],
    plan: Plan,
    selected: bool,
}

impl NotifyCapture {
    /// What a notification is about; none: a call that the table does not have.
    fn entry_of(&self, notification: &Notification) -> Option<Entry> {
        let nr = notification.nr;
        let abi = match filter::abi_of(notification.arch)? {
            Abi::X86_64 if nr & table::X32_BIT != 0 => Abi::X32,
            abi => abi,
        };
        let call = table::by_number(abi, nr)?;
        Some(Entry {
            call,
            abi,
            nr,
            args: notification.args,
            plan: self.plans.of(call, abi, nr),
            selected: self.selection.contains(call),
        })
    }

    pub(super) fn header(&self, kind: Kind, tid: pid_t) -> Header {
        let thread = self.processes.threads.get(&tid);
        Header {
            kind: kind as u8,
            abi: Abi::NATIVE as u8,
            cpu: current_cpu(),
            time_ns: monotonic_ns(),
            tgid: thread.map_or(tid, |thread| thread.tgid).unsigned_abs(),
            tid: tid.unsigned_abs(),
            uid: thread.map_or(u32::MAX, |thread| thread.owner.uid),
            gid: thread.map_or(u32::MAX, |thread| thread.owner.gid),
            ..Header::default()
        }
    }

    /// One notification, to its answer. An event of it is delivered when the kernel has taken the answer:
    /// the thread has then waited all the time, and what was read was its own, as
    /// SECCOMP_IOCTL_NOTIF_ID_VALID would say with one call more.
    pub(super) fn notified(&mut self, notification: &Notification, sink: Sink) {
        let (id, tid) = (notification.id, notification.tid);
        self.note(tid);
        let entry = self.entry_of(notification).filter(|_| tid > 0);
        let Some(entry) = entry else {
            self.answer(id);
            return;
        };
        if !self.processes.threads.contains_key(&tid) && !self.announce(tid, Some(id), sink) {
            return;
        }
        if self.processes.execs > 0 {
            let name = entry.call.name;
            self.settle_exec(tid, name == "brk" || FIRST_CALLS.contains(&name), sink);
        }
        let (mut born, mut tgid) = (false, tid);
        if let Some(thread) = self.processes.threads.get_mut(&tid) {
            (born, tgid) = (thread.birth.is_some(), thread.tgid);
            if thread.owner_is_stale {
                thread.owner = facts::owner(tid.unsigned_abs());
            }
            thread.owner_is_stale = entry.call.category == Category::User;
        }
        let leaves = entry.call.returns == Returns::None;
        if born {
            self.look_for_child(tid, sink);
        }
        if leaves && self.processes.has_strays() {
            // a child that it has waited for ended before it
            self.tell_ends(true, sink);
        }
        if leaves && entry.call.name == "exit_group" {
            self.look_for_threads(tgid, tid, sink);
        }
        if entry.plan.flags & flag::EXEC != 0 {
            self.begin_exec(tid, tgid, &entry);
            self.answer(id);
            return;
        }
        if entry.selected {
            self.build(
                tid,
                &entry,
                if leaves {
                    Flags::NORETURN
                } else {
                    Flags::ENTRY
                },
            );
        }
        if entry.plan.flags & flag::CHILD != 0 {
            self.begin_birth(tid, &entry);
        }
        if !self.answer(id) {
            // nobody waits any more: killed, or interrupted by a signal and about to ask again
            return;
        }
        if entry.selected {
            self.deliver(sink);
        }
        if leaves {
            self.leaves(tid, tgid, &entry, sink);
        }
    }

    /// The event of an entry, into the builder.
    fn build(&mut self, tid: pid_t, entry: &Entry, flags: u16) {
        let header = Header {
            abi: entry.abi as u8,
            nr: entry.nr,
            args: entry.args,
            flags,
            ..self.header(Kind::Syscall, tid)
        };
        self.out.builder.begin(&header);
        let memory = Memory::new(tid, table::is_narrow(entry.abi, entry.nr));
        let seen = Header {
            ret: NOT_YET,
            ..header
        };
        interpret::follow(
            &mut self.out.builder,
            &entry.plan,
            &seen,
            &memory,
            &mut self.scratch,
            &self.plans.limits,
        );
    }

    fn begin_exec(&mut self, tid: pid_t, tgid: pid_t, entry: &Entry) {
        let flags = if entry.selected { 0 } else { Flags::UNSELECTED };
        self.build(tid, entry, flags);
        let event = self
            .out
            .builder
            .finish()
            .map(|event| event.to_vec())
            .unwrap_or_default();
        let before = super::family::program_of(tid);
        if let Some(process) = self.processes.get_mut(tgid) {
            let begun = Begun { tid, event, before };
            if process.exec.replace(begun).is_none() {
                self.processes.execs += 1;
            }
        }
    }

    fn begin_birth(&mut self, tid: pid_t, entry: &Entry) {
        let flags = match entry.call.name {
            "clone" => entry.args[0],
            // the first member of struct clone_args
            "clone3" => Memory::new(tid, false)
                .exactly(entry.args[0])
                .map_or(0, u64::from_ne_bytes),
            "vfork" => VFORK,
            _ => 0,
        };
        if let Some(thread) = self.processes.threads.get_mut(&tid) {
            thread.birth = Some(Birth {
                thread: flags & CLONE_THREAD != 0,
                flags,
            });
        }
    }

    /// exit(2) ends a thread, and exit_group(2) a process, which the end of its pidfd tells.
    fn leaves(&mut self, tid: pid_t, tgid: pid_t, entry: &Entry, sink: Sink) {
        let status = ((entry.args[0] & 0xff) << 8) as i32;
        if entry.call.name == "exit" {
            self.thread_over(tid, status, sink);
        }
        if let Some(process) = self.processes.get_mut(tgid)
            && (entry.call.name == "exit_group" || process.threads.is_empty())
        {
            process.leaving = Some(status);
        }
    }
}

/// Where we are: where the tracee was, as a rule. A gap that the probe names.
fn current_cpu() -> u16 {
    // SAFETY: sched_getcpu(3) has no effect.
    u16::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(u16::MAX)
}
