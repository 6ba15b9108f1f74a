//! Births, execs and ends. Nothing reports them in this mode: they are inferred from what the processes do next,
//! and from /proc.

use driver_api::event::{Event, EventKind, Flags, Header};
use driver_api::request::FACT_MAX;
use libc::pid_t;
use proc_pid::Field;

use super::capture::NotifyCapture;
use super::processes::{Parent, PendingExec, Program};
use crate::clone;
use crate::events::Sink;
use crate::facts;
use crate::memory::Memory;
use crate::proc_dir::ProcDir;
use crate::threads;

/// The entry of the auxiliary vector with the address of sixteen random bytes (getauxval(3)).
const AT_RANDOM: u64 = 25;

/// What tells a program that a process executes from the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// New with every exec. None: lanner may not read it, or the process has ended.
    exec: Option<Vec<u8>>,
    /// Its name and arguments, which everybody may read. A process that has ended still has its name.
    name: Vec<u8>,
}

impl Image {
    /// What a thread runs.
    pub(super) fn of(tid: pid_t) -> Self {
        let mut name = Vec::new();
        if let Some(dir) = ProcDir::open(tid.unsigned_abs()) {
            let mut room = [0; 1024];
            name.extend_from_slice(dir.read(c"comm", &mut room).unwrap_or_default());
            name.extend_from_slice(dir.read(c"cmdline", &mut room).unwrap_or_default());
        }
        Self {
            exec: exec_of(tid),
            name,
        }
    }

    /// Whether another program has taken this one's place. `first`: the thread makes a call that programs begin with.
    fn is_replaced(&self, now: &Self, first: bool) -> bool {
        if self.exec.is_none() && now.exec.is_none() {
            first || self.name != now.name
        } else {
            self.exec != now.exec
        }
    }

    /// Whether the name of a process that has ended is that of another program.
    fn is_replaced_by_ended(&self, now: &Self) -> bool {
        !now.name.is_empty() && !self.name.starts_with(&now.name)
    }
}

/// What is different for each exec of a process: the auxiliary vector, which has addresses that the kernel chose at
/// random, and the random bytes, which are new with every exec.
fn exec_of(tid: pid_t) -> Option<Vec<u8>> {
    let mut room = [0; 1024];
    let auxv = ProcDir::open(tid.unsigned_abs())?.read(c"auxv", &mut room)?;
    if auxv.is_empty() {
        return None;
    }
    let mut program = auxv.to_vec();
    let word = |bytes: &[u8]| bytes.try_into().map(u64::from_ne_bytes).unwrap_or(0);
    let random = auxv
        .chunks_exact(16)
        .find(|pair| word(&pair[..8]) == AT_RANDOM)
        .map(|pair| word(&pair[8..]));
    if let Some(bytes) = random.and_then(|at| Memory::new(tid, false).exactly::<16>(at)) {
        program.extend_from_slice(&bytes);
    }
    Some(program)
}

impl NotifyCapture {
    /// Follows a thread that was not known, and delivers its birth. `waits` is the id of its notification: as long
    /// as that is valid, what /proc says is about this thread. False: it is not valid any more.
    pub(super) fn announce(&mut self, tid: pid_t, waits: Option<u64>, sink: Sink) -> bool {
        let id = tid.unsigned_abs();
        let tgid = threads::tgid(id).unwrap_or(id).cast_signed();
        let owner = threads::owner(id);
        let parent = threads::parent(id).map(u32::cast_signed);
        if waits.is_some_and(|waits| !self.is_valid(waits)) {
            return false;
        }
        if tgid != tid && !self.processes.has(tgid) {
            // its first thread has not made a call yet
            self.announce(tgid, None, sink);
        }
        let parent = parent.and_then(|parent| self.processes.parent(parent));
        let parent = parent.or_else(|| self.parent_of_orphan(tid).filter(|_| tid == tgid));
        let parent = parent.unwrap_or(Parent {
            tid: self.command.pid().cast_signed(),
            tgid: self.command.pid().cast_signed(),
            owner,
        });
        // what the C library gives; the call was not seen
        let flags = if tgid == tid { 0 } else { clone::PTHREAD };
        let mut header = Header {
            tid: parent.tid.unsigned_abs(),
            tgid: parent.tgid.unsigned_abs(),
            uid: parent.owner.uid,
            gid: parent.owner.gid,
            ..self.header(EventKind::Fork, tid)
        };
        header.args[..3].copy_from_slice(&[u64::from(id), u64::from(tgid.unsigned_abs()), flags]);
        self.add(tid, tgid, owner);
        if tid == tgid {
            let program = self.processes.program(parent.tgid).cloned();
            self.processes.set_program(tgid, program);
        }
        self.events.builder.begin(&header);
        self.deliver(sink);
        true
    }

    /// The process that made one whose parent is not followed: it has ended, and another process has adopted its child.
    fn parent_of_orphan(&self, orphan: pid_t) -> Option<Parent> {
        let mut room = [0; 1024];
        let stat = ProcDir::open(orphan.unsigned_abs())?.stat(&mut room)?;
        let born = stat.get(Field::StartTime)?;
        self.processes.parent_of_orphan(&exec_of(orphan)?, born)
    }

    /// A thread makes a call: has the exec that was entered in its process succeeded or failed? `waits` is the id of the
    /// call's notification. `first`: the call is one of those that a new program begins with.
    pub(super) fn settle_exec(&mut self, tid: pid_t, waits: u64, first: bool, sink: Sink) {
        let Some(tgid) = self.processes.threads.get(&tid).map(|thread| thread.tgid) else {
            return;
        };
        let Some(process) = self.processes.get_mut(tgid) else {
            return;
        };
        let Some(pending) = process.exec.take() else {
            return;
        };
        let first = first && pending.tid == tid;
        let now = Image::of(tid);
        if !self.is_valid(waits) {
            // The thread was killed, perhaps by this very exec. What was read shows nothing.
            if let Some(process) = self.processes.get_mut(tgid) {
                process.exec = Some(pending);
            }
        } else if pending.before.is_replaced(&now, first) {
            self.processes.execs -= 1;
            self.executed(tgid, &pending, sink);
            self.processes
                .set_program(tgid, now.exec.map(Program::from));
        } else if pending.tid == tid {
            self.processes.execs -= 1;
            self.exec_failed(&pending, sink);
        } else if let Some(process) = self.processes.get_mut(tgid) {
            // this is another thread, and the exec is still under way
            process.exec = Some(pending);
        }
    }

    /// A process has a new program. The thread that runs it has the id of the process.
    fn executed(&mut self, tgid: pid_t, pending: &PendingExec, sink: Sink) {
        let tids = self
            .processes
            .get_mut(tgid)
            .map(|process| process.threads.clone())
            .unwrap_or_default();
        // The kernel ends the other threads with code 0 (fs/exec.c, de_thread). The thread that called exec has the
        // id of the first thread now; that thread's end is delivered, and the former id is forgotten.
        for tid in tids {
            if tid != pending.tid {
                self.thread_ended(tid, 0, sink);
            }
        }
        if pending.tid != tgid {
            self.processes.remove_thread(pending.tid);
        }
        let id = tgid.unsigned_abs();
        let owner = threads::owner(id);
        if let Some(thread) = self.processes.threads.get_mut(&tgid) {
            thread.owner = owner;
        } else {
            self.add(tgid, tgid, owner);
        }
        self.launched = true;
        let Ok(event) = Event::parse(&pending.event) else {
            return;
        };
        let entry = event.header();
        let header = Header {
            nr: entry.nr,
            abi: entry.abi,
            args: entry.args,
            flags: entry.flags,
            ..self.header(EventKind::Exec, tgid)
        };
        self.events.begin_from(&header, &event);
        if let Some(dir) = ProcDir::open(id) {
            facts::exec(&mut self.events.builder, id, &dir, owner, FACT_MAX as usize);
        }
        self.deliver(sink);
    }

    /// An exec has failed, or its process has ended before it was over. The error is not known.
    fn exec_failed(&mut self, pending: &PendingExec, sink: Sink) {
        let Ok(event) = Event::parse(&pending.event) else {
            return;
        };
        let mut header = *event.header();
        if header.flags & Flags::UNSELECTED != 0 {
            return;
        }
        header.flags |= Flags::ENTRY;
        self.events.begin_from(&header, &event);
        self.deliver(sink);
    }

    /// A thread has ended.
    pub(super) fn thread_ended(&mut self, tid: pid_t, status: i32, sink: Sink) {
        let header = Header {
            ret: i64::from(status),
            ..self.header(EventKind::Exit, tid)
        };
        self.processes.remove_thread(tid);
        self.events.builder.begin(&header);
        self.deliver(sink);
    }

    /// A process has ended, and all its threads with it.
    pub(super) fn process_ended(&mut self, tgid: pid_t, sink: Sink) {
        let status = if tgid == self.command.pid().cast_signed() {
            self.status = self.status.or_else(|| self.command.status());
            self.status
        } else {
            self.processes.status(tgid)
        };
        let Some(process) = self.processes.get_mut(tgid) else {
            return;
        };
        let mut tids = process.threads.clone();
        let exec = process.exec.take();
        if let Some(pending) = exec {
            self.processes.execs -= 1;
            if pending.before.is_replaced_by_ended(&Image::of(tgid)) {
                self.executed(tgid, &pending, sink);
                tids = vec![tgid];
            } else {
                self.exec_failed(&pending, sink);
            }
        }
        // the first thread goes last: its end is the process's
        tids.sort_unstable_by_key(|tid| *tid == tgid);
        for tid in tids {
            let header = Header {
                ret: status.unwrap_or(0).into(),
                flags: if status.is_none() { Flags::ENTRY } else { 0 },
                ..self.header(EventKind::Exit, tid)
            };
            self.events.builder.begin(&header);
            self.deliver(sink);
        }
        self.remove(tgid);
    }
}
