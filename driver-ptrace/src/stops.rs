//! Makes events of stops: entries and exits of calls, births, new programs, ends.

use std::ffi::c_int;
use std::time::Instant;

use driver_api::event::{Abi, Event, Flags, Header, Kind};
use driver_api::plan::{Plan, flag};
use driver_api::table::{self, Returns};
use driver_start::monotonic_ns;
use libc::pid_t;

use crate::capture::{Call, Mode, OVERDUE, PtraceCapture, Thread};
use crate::cpu::{self, Stay};
use crate::facts::{self, Owner};
use crate::filter;
use crate::interpret;
use crate::memory::Memory;
use crate::outbox::Sink;
use crate::proc_dir::ProcDir;
use crate::restart;
use crate::tracee::{At, Gone, Stopped};
use crate::undecided::{self, Undecided};

/// Not a PTRACE_EVENT_* that is asked for: a group-stop, an interruption, a thread's first stop (ptrace(2)).
pub(crate) const EVENT_STOP: c_int = 128;
/// How far a line of ancestors is looked at.
const GENERATIONS: usize = 16;
/// A child that has stopped no more often has hardly begun.
const YOUNG: u32 = 4;
/// The signal in the low byte of a clone's flags (clone(2)); the kernel keeps it elsewhere.
const CSIGNAL: u64 = 0xff;

impl PtraceCapture {
    fn header(&self, kind: Kind, tid: pid_t) -> Header {
        let thread = self.threads.get(&tid);
        Header {
            kind: kind as u8,
            abi: Abi::NATIVE as u8,
            cpu: current_cpu(),
            time_ns: monotonic_ns(),
            tgid: thread.map_or(tid.unsigned_abs(), |thread| thread.tgid),
            tid: tid.unsigned_abs(),
            uid: thread.map_or(u32::MAX, |thread| thread.owner.uid),
            gid: thread.map_or(u32::MAX, |thread| thread.owner.gid),
            ..Header::default()
        }
    }

    /// One stop or end, from what waitpid said.
    pub(crate) fn handle(&mut self, tid: pid_t, status: c_int, sink: Sink) {
        if !libc::WIFSTOPPED(status) {
            self.over(tid, status, sink);
            return;
        }
        let mut stopped = Stopped::new(tid);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.stops = thread.stops.saturating_add(1);
            if thread.undecided.is_some() {
                match self.decide(stopped, status >> 16, libc::WSTOPSIG(status), sink) {
                    Some(open) => stopped = open,
                    None => return,
                }
            }
        } else {
            // a child's first stop can come before its parent's event
            self.too_early(tid).stop = Some(status);
            let killed = self.killed.filter(|(_, when)| when.elapsed() < OVERDUE);
            if killed.is_some() && self.is_orphan(tid) {
                // or after the end of a parent that was killed before it could tell
                self.foundling(tid, None, sink);
            }
            return;
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        let result = match (event, signal) {
            (EVENT_STOP, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) => {
                stopped.listen();
                Ok(())
            }
            (libc::PTRACE_EVENT_SECCOMP, _) if self.mode == Mode::Filter => {
                self.entry(stopped, sink)
            }
            (libc::PTRACE_EVENT_SECCOMP, _) => {
                if let Ok(At::Entry { data, .. }) = stopped.call(true) {
                    refuse_foreign(&stopped, data);
                }
                self.resume(stopped, 0);
                Ok(())
            }
            (libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE, _) => {
                self.born(stopped, event, sink)
            }
            (libc::PTRACE_EVENT_EXEC, _) => self.executed(stopped, sink),
            (0, s) if s == libc::SIGTRAP | 0x80 => self.at_call(stopped, sink),
            (0, signal) => {
                restart::before_signal(&stopped, signal);
                self.resume(stopped, signal);
                Ok(())
            }
            (EVENT_STOP, _) => {
                restart::after_interruption(&stopped);
                self.resume(stopped, 0);
                Ok(())
            }
            _ => {
                self.resume(stopped, 0);
                Ok(())
            }
        };
        // a thread that is gone will be waited for
        result.unwrap_or(());
    }

    /// Goes on, to the exit stop where one is waited for.
    pub(crate) fn resume(&mut self, stopped: Stopped, signal: i32) {
        let tid = stopped.tid();
        let thread = self.threads.get(&tid);
        let undecided = thread.is_some_and(|thread| thread.undecided.is_some());
        let call = thread.and_then(|thread| thread.call.as_ref());
        let to_exit = call.is_some() || undecided || self.mode == Mode::Every;
        let stay = call.map(|call| call.stay).unwrap_or_default();
        let resident = self.follower.resident();
        let near = resident.is_some_and(|resident| self.is_near(tid, resident));
        self.follower.resume(stopped, to_exit, signal, stay, near);
    }

    /// Whether a thread may be woken where another one was: it is the same; the other one is gone, or an
    /// ancestor, which mostly waits for it; or its child, which has hardly begun.
    fn is_near(&self, tid: pid_t, resident: pid_t) -> bool {
        if tid == resident {
            return true;
        }
        let Some(other) = self.threads.get(&resident) else {
            return true;
        };
        let mut parent = tid;
        for _ in 0..GENERATIONS {
            parent = match self.threads.get(&parent) {
                Some(thread) => thread.parent,
                None => break,
            };
            if parent == resident {
                return true;
            }
        }
        other.parent == tid && other.stops <= YOUNG
    }

    /// A thread has ended. waitpid tells of each but the leader whose id another thread took with exec,
    /// and costs no stop, as PTRACE_EVENT_EXIT would.
    fn over(&mut self, tid: pid_t, status: c_int, sink: Sink) {
        if !self.threads.contains_key(&tid) {
            self.too_early(tid).end = Some(status);
            return;
        }
        self.adopt_orphans(tid, sink);
        if self
            .command
            .as_ref()
            .is_some_and(|command| command.pid() == tid.unsigned_abs())
        {
            self.status = Some(status);
        }
        let header = Header {
            ret: i64::from(status),
            ..self.header(Kind::Exit, tid)
        };
        let ended = self.threads.remove(&tid);
        self.expected = self.follower.resident().is_some()
            && ended.is_some_and(|thread| self.threads.contains_key(&thread.parent));
        self.follower.forget(tid);
        if libc::WIFSIGNALED(status) {
            self.killed = Some((header, Instant::now()));
        }
        self.out.builder.begin(&header);
        self.deliver(sink);
    }

    /// A thread that was killed while it forked never tells of its child: told now, before its end is.
    fn adopt_orphans(&mut self, dying: pid_t, sink: Sink) {
        if self.early.is_empty() {
            return;
        }
        let orphans: Vec<pid_t> = self
            .early
            .iter()
            .filter(|(_, early)| early.stop.is_some())
            .map(|(tid, _)| *tid)
            .filter(|tid| self.is_orphan(*tid))
            .collect();
        for orphan in orphans {
            self.foundling(orphan, Some(dying), sink);
        }
    }

    /// Whether nobody is left who would tell of this thread's birth.
    fn is_orphan(&self, tid: pid_t) -> bool {
        facts::parent(tid.unsigned_abs())
            .is_none_or(|parent| !self.threads.contains_key(&(parent as pid_t)))
    }

    /// Follows a thread whose parent has not told of it, and will not: it was killed. Where its exit has
    /// been told already, the birth comes behind it.
    pub(crate) fn foundling(&mut self, child: pid_t, parent: Option<pid_t>, sink: Sink) {
        let id = child.unsigned_abs();
        let tgid = facts::tgid(id).unwrap_or(id);
        let owner = facts::owner(id);
        // a thread that another one's exec has ended told nobody either: its process lives
        let parent = parent.or_else(|| {
            let process = facts::parent(id)? as pid_t;
            self.threads.contains_key(&process).then_some(process)
        });
        let header = match (parent, self.killed) {
            (None, Some((killed, _))) => Header {
                tgid: killed.tgid,
                tid: killed.tid,
                uid: killed.uid,
                gid: killed.gid,
                ..self.header(Kind::Fork, child)
            },
            (parent, _) => self.header(Kind::Fork, parent.unwrap_or(child)),
        };
        self.birth(&header, child, tgid, 0, owner, sink);
        self.catch_up(child, sink);
    }

    /// Tells of a birth, and follows the child.
    fn birth(
        &mut self,
        parent: &Header,
        child: pid_t,
        tgid: u32,
        flags: u64,
        owner: Owner,
        sink: Sink,
    ) {
        let mut header = *parent;
        header.args[..3].copy_from_slice(&[
            u64::from(child.unsigned_abs()),
            u64::from(tgid),
            flags,
        ]);
        self.out.builder.begin(&header);
        self.deliver(sink);
        let thread = Thread {
            tgid,
            owner,
            parent: header.tid as pid_t,
            stops: 0,
            call: None,
            inside: false,
            numbered: None,
            undecided: None,
        };
        self.threads.insert(child, thread);
        self.follower.born(child, header.tid as pid_t);
    }

    /// What came of a thread before its birth was told.
    fn catch_up(&mut self, child: pid_t, sink: Sink) {
        let Some(early) = self.early.remove(&child) else {
            return;
        };
        for status in [early.stop, early.end].into_iter().flatten() {
            self.handle(child, status, sink);
        }
    }

    fn born(&mut self, stopped: Stopped, event: c_int, sink: Sink) -> Result<(), Gone> {
        let tid = stopped.tid();
        let child = stopped.message()?;
        let Some(parent) = self.threads.get(&tid) else {
            return Err(Gone);
        };
        let (tgid, owner) = (parent.tgid, parent.owner);
        let flags = parent
            .call
            .as_ref()
            .and_then(|call| clone_flags(tid, call))
            .unwrap_or(0);
        // a thread makes PTRACE_EVENT_CLONE, but so does a process that sends no SIGCHLD
        let thread = event == libc::PTRACE_EVENT_CLONE
            && if flags == 0 {
                facts::tgid(child).is_none_or(|group| group != child)
            } else {
                flags & libc::CLONE_THREAD as u64 != 0
            };
        let header = self.header(Kind::Fork, tid);
        let child_id = child as pid_t;
        if !self.threads.contains_key(&child_id) {
            let tgid = if thread { tgid } else { child };
            self.birth(&header, child_id, tgid, flags & !CSIGNAL, owner, sink);
        }
        // of vfork(2) the caller returns later
        if self.mode == Mode::Filter && event != libc::PTRACE_EVENT_VFORK {
            self.cloned(tid, child, sink);
        }
        self.resume(stopped, 0);
        self.catch_up(child_id, sink);
        Ok(())
    }

    /// A clone has done all it does, and its result is the child's id, as long as that is the same for the
    /// caller as for us: it need not stop again.
    fn cloned(&mut self, tid: pid_t, child: u32, sink: Sink) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        let is_clone = |call: &Call| call.call.returns == Returns::Child;
        if !thread.call.as_ref().is_some_and(is_clone) {
            return;
        }
        let numbered = thread
            .numbered
            .get_or_insert_with(|| facts::is_in_our_pid_namespace(tid.unsigned_abs()));
        if *numbered && let Some(call) = thread.call.take() {
            self.exit_of(tid, call, i64::from(child), sink);
        }
    }

    /// A stop of PTRACE_SYSCALL: an entry, or an exit.
    fn at_call(&mut self, stopped: Stopped, sink: Sink) -> Result<(), Gone> {
        let Some(thread) = self.threads.get_mut(&stopped.tid()) else {
            return Err(Gone);
        };
        let entry = !thread.inside && thread.call.is_none();
        match stopped.call(entry)? {
            At::Entry { .. } if self.mode == Mode::Every => {
                thread.inside = true;
                self.entry(stopped, sink)
            }
            At::Entry { .. } => {
                self.resume(stopped, 0);
                Ok(())
            }
            At::Exit { ret } => {
                thread.inside = false;
                if let Some(call) = thread.call.take() {
                    self.follower.end_asking(stopped.tid());
                    self.exit_of(stopped.tid(), call, ret, sink);
                }
                self.resume(stopped, 0);
                Ok(())
            }
        }
    }

    fn entry(&mut self, stopped: Stopped, sink: Sink) -> Result<(), Gone> {
        let At::Entry {
            arch,
            nr,
            args,
            data,
        } = stopped.call(true)?
        else {
            self.resume(stopped, 0);
            return Ok(());
        };
        refuse_foreign(&stopped, data);
        let tid = stopped.tid();
        let found = filter::abi_of(arch).and_then(|abi| {
            let nr = u32::try_from(nr).ok()?;
            let abi = if abi == Abi::X86_64 && nr & table::X32_BIT != 0 {
                Abi::X32
            } else {
                abi
            };
            table::by_number(abi, nr).map(|call| (abi, nr, call))
        });
        let Some((abi, nr, call)) = found else {
            self.resume(stopped, 0);
            return Ok(());
        };
        let plan = self.plans.of(call, abi, nr);
        let selected = self.selection.contains(call);
        let mut begun = Call {
            call,
            abi,
            nr,
            args,
            stay: Stay::of(call),
            exec: None,
        };
        let mut awaits_exit = false;
        if cpu::is_affinity(call) {
            self.follower.begin_asking(tid);
            awaits_exit = true;
        }
        if plan.flags & flag::EXEC != 0 {
            begun.exec = Some(self.exec_begun(tid, &begun, &plan, selected));
            awaits_exit = true;
        } else if selected && call.returns == Returns::None {
            let header = self.call_header(tid, &begun, 0, Flags::NORETURN);
            self.out.builder.begin(&header);
            self.deliver(sink);
        } else {
            if !selected {
                self.look_at_path(tid, &begun);
            }
            awaits_exit |= selected || plan.flags & flag::CHILD != 0 || call.category == "user";
        }
        if let Some(resumed) = self.goes_on(tid, call.name, sink) {
            begun = resumed;
            awaits_exit = true;
        }
        if awaits_exit && let Some(thread) = self.threads.get_mut(&tid) {
            thread.call = Some(begun);
        }
        self.resume(stopped, 0);
        Ok(())
    }

    /// Whoever opens what shows an affinity is to see its own.
    fn look_at_path(&mut self, tid: pid_t, call: &Call) {
        if let Some(at) = cpu::opens_path(call.call) {
            let memory = Memory::new(tid, table::is_narrow(call.abi, call.nr));
            self.scratch.clear();
            memory.string(call.args[at], cpu::PATH_MAX, &mut self.scratch);
            if cpu::shows_affinity(&self.scratch) {
                self.follower.look_away();
            }
        }
    }

    fn call_header(&self, tid: pid_t, call: &Call, ret: i64, flags: u16) -> Header {
        Header {
            abi: call.abi as u8,
            nr: call.nr,
            args: call.args,
            ret,
            flags,
            ..self.header(Kind::Syscall, tid)
        }
    }

    /// The event of an exec as far as its entry can tell.
    fn exec_begun(&mut self, tid: pid_t, call: &Call, plan: &Plan, selected: bool) -> Vec<u8> {
        let flags = if selected { 0 } else { Flags::UNSELECTED };
        let header = self.call_header(tid, call, 0, flags);
        self.out.builder.begin(&header);
        let memory = Memory::new(tid, table::is_narrow(call.abi, call.nr));
        interpret::follow(
            &mut self.out.builder,
            plan,
            &header,
            &memory,
            &mut self.scratch,
            &self.plans.limits,
        );
        self.out
            .builder
            .finish()
            .map(|event| event.to_vec())
            .unwrap_or_default()
    }

    /// A call has returned, or is sure to.
    fn exit_of(&mut self, tid: pid_t, call: Call, ret: i64, sink: Sink) {
        let open = undecided::is_open(&call, ret);
        let returned = ret;
        let ret = if open { undecided::EINTR } else { ret };
        if call.call.category == "user"
            && ret == 0
            && let Some(thread) = self.threads.get_mut(&tid)
        {
            thread.owner = facts::owner(tid.unsigned_abs());
        }
        // a success of exec has been an event; the clone family is remembered for its flags, too
        if !self.selection.contains(call.call) || (call.exec.is_some() && ret == 0) {
            return;
        }
        let header = self.call_header(tid, &call, ret, 0);
        self.out.builder.begin(&header);
        let plan = self.plans.of(call.call, call.abi, call.nr);
        let memory = Memory::new(tid, table::is_narrow(call.abi, call.nr));
        interpret::follow(
            &mut self.out.builder,
            &plan,
            &header,
            &memory,
            &mut self.scratch,
            &self.plans.limits,
        );
        if let Some(at) = cpu::opens_path(call.call).filter(|_| ret >= 0) {
            // from what was read ahead
            self.scratch.clear();
            memory.string(call.args[at], cpu::PATH_MAX, &mut self.scratch);
            if cpu::shows_affinity(&self.scratch) {
                self.follower.look_away();
            }
        }
        if !open {
            self.deliver(sink);
        } else if let Ok(event) = self.out.builder.finish().map(|event| event.to_vec())
            && let Some(thread) = self.threads.get_mut(&tid)
        {
            thread.undecided = Undecided::new(call, event, returned);
        }
    }

    /// A process has a new program. Its thread may have had another id before (ptrace(2), "execve(2)
    /// under ptrace"): then all others are gone, the leader, whose id it has now, without a word.
    fn executed(&mut self, stopped: Stopped, sink: Sink) -> Result<(), Gone> {
        let tid = stopped.tid();
        let former = stopped.message()? as pid_t;
        let moved = if former == tid {
            None
        } else {
            self.threads.remove(&former)
        };
        if let Some(moved) = moved {
            // the kernel ends the others with code 0 (fs/exec.c, de_thread)
            let header = self.header(Kind::Exit, tid);
            self.out.builder.begin(&header);
            self.deliver(sink);
            self.threads.insert(tid, moved);
            self.follower.renamed(former, tid);
        }
        self.launched = true;
        let Some(thread) = self.threads.get_mut(&tid) else {
            return Err(Gone);
        };
        let dir = ProcDir::open(tid.unsigned_abs());
        if let Some(dir) = &dir {
            thread.owner = facts::owner_after_exec(tid.unsigned_abs(), dir, thread.owner);
        }
        let owner = thread.owner;
        let begun = thread
            .call
            .as_mut()
            .and_then(|call| call.exec.take())
            .unwrap_or_default();
        if self.mode == Mode::Filter {
            thread.call = None;
        } else if let Some(call) = &mut thread.call {
            // its exit stop is still to come, and is no event
            call.exec = Some(Vec::new());
        }
        let mut header = self.header(Kind::Exec, tid);
        if let Ok(event) = Event::parse(&begun) {
            let entry = event.header();
            (header.nr, header.abi, header.args, header.flags) =
                (entry.nr, entry.abi, entry.args, entry.flags);
            self.out.builder.begin(&header);
            event
                .attachments()
                .for_each(|attachment| self.out.builder.attach_copy(&attachment));
        } else {
            // its entry was before we were there, or through an ABI without a table
            let execve = table::by_name("execve");
            header.nr = execve
                .and_then(|call| call.number(Abi::NATIVE))
                .unwrap_or(0);
            header.flags = Flags::INCOMPLETE;
            if execve.is_none_or(|call| !self.selection.contains(call)) {
                header.flags |= Flags::UNSELECTED;
            }
            self.out.builder.begin(&header);
        }
        let limit = driver_api::request::FACT_MAX as usize;
        if self.plans.limits.omit.facts {
            if let Some(dir) = &dir {
                facts::comm(&mut self.out.builder, dir, limit);
            }
        } else if let Some(dir) = &dir {
            facts::exec(&mut self.out.builder, tid.unsigned_abs(), dir, owner, limit);
        }
        self.deliver(sink);
        self.resume(stopped, 0);
        Ok(())
    }
}

/// A filter that the program has made itself stops it for a tracer that it does not know of: alone, the call
/// would fail with ENOSYS (seccomp(2)).
fn refuse_foreign(stopped: &Stopped, data: Option<u16>) {
    if data.is_some_and(|data| data != filter::OURS) {
        stopped.refuse();
    }
}

/// The flags of the clone that a thread is in, where that call is captured.
fn clone_flags(tid: pid_t, call: &Call) -> Option<u64> {
    match call.call.name {
        "clone" => Some(call.args[0]),
        // the first member of struct clone_args
        "clone3" => Memory::new(tid, false)
            .exactly(call.args[0])
            .map(u64::from_ne_bytes),
        _ => None,
    }
}

/// The tracer's CPU: where the tracee stopped, as a rule. A gap that the probe names.
fn current_cpu() -> u16 {
    // SAFETY: sched_getcpu(3) has no effect.
    u16::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(u16::MAX)
}
