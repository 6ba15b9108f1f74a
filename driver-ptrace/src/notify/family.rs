//! Births, execs and ends: nobody announces them in this mode, so they are told from what the members of the
//! family do next, and from /proc.

use driver_api::event::{Event, Flags, Header, Kind};
use driver_api::request::FACT_MAX;
use libc::pid_t;

use super::capture::{NotifyCapture, Sink};
use super::processes::{self, Begun, Maker};
use crate::facts;
use crate::memory::Memory;
use crate::proc_dir::ProcDir;

/// The signal in the low byte of a clone's flags (clone(2)).
const CSIGNAL: u64 = 0xff;
/// In the auxiliary vector: where the kernel has put sixteen random bytes for this program (getauxval(3)).
const AT_RANDOM: u64 = 25;

/// What tells one program of a process from the next: its auxiliary vector, which addresses that the kernel
/// chose at random stand in, and its random bytes, which are new with every exec.
pub(super) fn program_of(tid: pid_t) -> Option<Vec<u8>> {
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
    /// Follows a thread that nobody has told of, and tells of its birth. `waits` is its notification: what
    /// /proc says is about this thread as long as that stands. False: it does not.
    pub(super) fn announce(&mut self, tid: pid_t, waits: Option<u64>, sink: Sink) -> bool {
        let id = tid.unsigned_abs();
        let tgid = facts::tgid(id).unwrap_or(id).cast_signed();
        let owner = facts::owner(id);
        let parent = facts::parent(id).map(u32::cast_signed);
        if waits.is_some_and(|waits| !self.is_valid(waits)) {
            return false;
        }
        if tgid != tid && !self.processes.has(tgid) {
            // its first thread has not made a call yet
            self.announce(tgid, None, sink);
        }
        let maker = self.processes.maker(parent, tgid != tid).unwrap_or(Maker {
            tid: self.command.pid().cast_signed(),
            tgid: self.command.pid().cast_signed(),
            owner,
            flags: 0,
        });
        let header = Header {
            tid: maker.tid.unsigned_abs(),
            tgid: maker.tgid.unsigned_abs(),
            uid: maker.owner.uid,
            gid: maker.owner.gid,
            ..self.header(Kind::Fork, tid)
        };
        let mut header = header;
        header.args[..3].copy_from_slice(&[
            u64::from(id),
            u64::from(tgid.unsigned_abs()),
            maker.flags & !CSIGNAL,
        ]);
        self.add(tid, tgid, owner);
        self.out.builder.begin(&header);
        self.deliver(sink);
        true
    }

    /// A thread whose call made a child has come back, and the child has not said anything yet.
    pub(super) fn look_for_child(&mut self, tid: pid_t, sink: Sink) {
        let Some(thread) = self.processes.threads.get(&tid) else {
            return;
        };
        let (Some(birth), tgid) = (thread.birth, thread.tgid) else {
            return;
        };
        for child in processes::offspring(tgid, tid, birth.thread) {
            if !self.processes.threads.contains_key(&child) {
                self.announce(child, None, sink);
            }
        }
        if let Some(thread) = self.processes.threads.get_mut(&tid) {
            // told, or the call has failed
            thread.birth = None;
        }
    }

    /// A process is about to end: threads that have made no call yet never will.
    pub(super) fn look_for_threads(&mut self, tgid: pid_t, but: pid_t, sink: Sink) {
        let Some(process) = self.processes.get_mut(tgid) else {
            return;
        };
        let threads = process.threads.clone();
        for tid in threads.into_iter().filter(|tid| *tid != but) {
            self.look_for_child(tid, sink);
        }
    }

    /// Whether an exec that was entered has come to its end, seen from a thread's next call; `first`: it is
    /// one of those that a new program begins with.
    pub(super) fn settle_exec(&mut self, tid: pid_t, first: bool, sink: Sink) {
        let Some(tgid) = self.processes.threads.get(&tid).map(|thread| thread.tgid) else {
            return;
        };
        let Some(process) = self.processes.get_mut(tgid) else {
            return;
        };
        let Some(begun) = process.exec.take() else {
            return;
        };
        let now = program_of(tid);
        let replaced = match (&begun.before, &now) {
            // /proc is closed to us: only a call that looks like a beginning can tell
            (None, None) => first && begun.tid == tid,
            (before, now) => before != now,
        };
        if replaced {
            self.processes.execs -= 1;
            self.executed(tgid, &begun, sink);
        } else if begun.tid == tid {
            self.processes.execs -= 1;
            self.exec_failed(&begun, sink);
        } else if let Some(process) = self.processes.get_mut(tgid) {
            // another thread, which goes on meanwhile
            process.exec = Some(begun);
        }
    }

    /// A process has a new program, in the thread that has the process's id now.
    fn executed(&mut self, tgid: pid_t, begun: &Begun, sink: Sink) {
        let threads = self
            .processes
            .get_mut(tgid)
            .map(|process| process.threads.clone())
            .unwrap_or_default();
        // the kernel ends the others with code 0 (fs/exec.c, de_thread); the one that called has the leader's id
        // now, which ends in its place
        for tid in threads {
            if tid != begun.tid {
                self.thread_over(tid, 0, sink);
            }
        }
        if begun.tid != tgid {
            self.processes.remove_thread(begun.tid);
        }
        let id = tgid.unsigned_abs();
        let owner = facts::owner(id);
        if let Some(thread) = self.processes.threads.get_mut(&tgid) {
            thread.owner = owner;
        } else {
            self.add(tgid, tgid, owner);
        }
        self.launched = true;
        let Ok(event) = Event::parse(&begun.event) else {
            return;
        };
        let entry = event.header();
        let header = Header {
            nr: entry.nr,
            abi: entry.abi,
            args: entry.args,
            flags: entry.flags,
            ..self.header(Kind::Exec, tgid)
        };
        self.out.builder.begin(&header);
        event
            .attachments()
            .for_each(|attachment| self.out.builder.attach_copy(&attachment));
        if let Some(dir) = ProcDir::open(id) {
            facts::exec(&mut self.out.builder, id, &dir, owner, FACT_MAX as usize);
        }
        self.deliver(sink);
    }

    /// An exec has failed, nobody knows with which error, or has never come to an end.
    fn exec_failed(&mut self, begun: &Begun, sink: Sink) {
        let Ok(event) = Event::parse(&begun.event) else {
            return;
        };
        let mut header = *event.header();
        if header.flags & Flags::UNSELECTED != 0 {
            return;
        }
        header.flags |= Flags::ENTRY;
        self.out.builder.begin(&header);
        event
            .attachments()
            .for_each(|attachment| self.out.builder.attach_copy(&attachment));
        self.deliver(sink);
    }

    /// A thread ends.
    pub(super) fn thread_over(&mut self, tid: pid_t, status: i32, sink: Sink) {
        let header = Header {
            ret: i64::from(status),
            ..self.header(Kind::Exit, tid)
        };
        self.processes.remove_thread(tid);
        self.out.builder.begin(&header);
        self.deliver(sink);
    }

    /// A process has ended, and all its threads with it.
    pub(super) fn process_over(&mut self, tgid: pid_t, sink: Sink) {
        let status = if tgid == self.command.pid().cast_signed() {
            self.status = self.status.or_else(|| self.command.status());
            self.status
        } else {
            self.processes.status(tgid)
        };
        let Some(process) = self.processes.get_mut(tgid) else {
            return;
        };
        let mut threads = process.threads.clone();
        let exec = process.exec.take();
        if let Some(begun) = exec {
            self.processes.execs -= 1;
            self.exec_failed(&begun, sink);
        }
        // the first thread's end is the process's
        threads.sort_unstable_by_key(|tid| *tid == tgid);
        for tid in threads {
            let header = Header {
                ret: status.unwrap_or(0).into(),
                flags: if status.is_none() { Flags::ENTRY } else { 0 },
                ..self.header(Kind::Exit, tid)
            };
            self.out.builder.begin(&header);
            self.deliver(sink);
        }
        self.remove(tgid);
    }
}
