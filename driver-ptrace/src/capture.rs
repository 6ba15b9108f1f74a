//! The running capture: waits for stops, and turns them into events.

use std::collections::HashMap;
use std::ffi::c_int;
use std::time::{Duration, Instant};

use driver_api::driver::{Capture, CaptureError, Flow, Polled};
use driver_api::event::{Abi, Event, EventBuilder, Flags, Header, Kind, layout};
use driver_api::plan::{Plan, flag};
use driver_api::request::{Limits, SyscallSet};
use driver_api::stats::Stats;
use driver_api::table::{self, Returns, Syscall};
use driver_start::Held;
use libc::pid_t;

use crate::NAME;
use crate::facts;
use crate::filter;
use crate::interpret;
use crate::memory::Memory;
use crate::tracee::{At, Gone, OPTIONS, Stopped, interrupt, seize};
use crate::wait::Waiter;

/// `si_code`-like events in the third byte of a wait status (ptrace(2)).
const EVENT_STOP: c_int = 128;

/// A traced thread.
#[derive(Debug)]
struct Thread {
    tgid: u32,
    uid: u32,
    gid: u32,
    /// The call it is in, from its entry stop to its exit stop.
    call: Option<Call>,
    /// Where the thread stands between PTRACE_SYSCALL's stops, for kernels that cannot say.
    inside: bool,
}

/// A call between entry and exit.
#[derive(Debug)]
struct Call {
    call: &'static Syscall,
    abi: Abi,
    nr: u32,
    args: [u64; 6],
    /// Of an exec: the event begun at its entry, as its memory is gone afterwards.
    exec: Option<Vec<u8>>,
}

/// How calls are stopped at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A filter stops at the selected ones.
    Filter,
    /// Every call stops, twice: an attached process has no filter, or the selection has grown.
    Every,
}

/// One capture of the ptrace driver.
#[derive(Debug)]
pub(crate) struct PtraceCapture {
    waiter: Waiter,
    threads: HashMap<pid_t, Thread>,
    /// First stops that came before their births were told.
    unborn: HashMap<pid_t, c_int>,
    command: Option<Held>,
    /// The command has executed its program.
    launched: bool,
    status: Option<c_int>,
    ended: bool,
    mode: Mode,
    filtered: SyscallSet,
    selection: SyscallSet,
    limits: Limits,
    builder: EventBuilder,
    scratch: Vec<u8>,
    stats: Stats,
}

/// What handing an event to the sink came to.
type Sink<'a> = &'a mut dyn FnMut(Event<'_>) -> Flow;

impl PtraceCapture {
    /// For a command that is seized already, or for none.
    pub(crate) fn new(
        waiter: Waiter,
        command: Option<Held>,
        selection: SyscallSet,
        limits: Limits,
    ) -> Self {
        let mode = if command.is_some() {
            Mode::Filter
        } else {
            Mode::Every
        };
        let mut capture = Self {
            waiter,
            threads: HashMap::new(),
            unborn: HashMap::new(),
            launched: command.is_none(),
            command,
            status: None,
            ended: false,
            mode,
            filtered: selection,
            selection,
            limits,
            builder: EventBuilder::new(),
            scratch: Vec::with_capacity(layout::MAX),
            stats: Stats::default(),
        };
        if let Some(command) = &capture.command {
            let pid = command.pid();
            capture.adopt(pid as pid_t, pid);
        }
        capture
    }

    /// Follows a thread that is seized already.
    pub(crate) fn adopt(&mut self, tid: pid_t, tgid: u32) {
        let (uid, gid) = facts::owner(tid.unsigned_abs());
        self.threads.insert(
            tid,
            Thread {
                tgid,
                uid,
                gid,
                call: None,
                inside: false,
            },
        );
    }

    fn header(&self, kind: Kind, tid: pid_t) -> Header {
        let thread = self.threads.get(&tid);
        Header {
            kind: kind as u8,
            abi: Abi::NATIVE as u8,
            cpu: cpu(),
            time_ns: monotonic_ns(),
            tgid: thread.map_or(tid.unsigned_abs(), |thread| thread.tgid),
            tid: tid.unsigned_abs(),
            uid: thread.map_or(u32::MAX, |thread| thread.uid),
            gid: thread.map_or(u32::MAX, |thread| thread.gid),
            ..Header::default()
        }
    }

    /// Hands over the event in the builder. What comes before the command's program belongs to lanner.
    fn deliver(&mut self, sink: Sink) -> Flow {
        if !self.launched {
            return Flow::Continue;
        }
        match self.builder.finish() {
            Ok(event) => {
                self.stats.captured += 1;
                sink(event)
            }
            Err(error) => {
                self.stats.malformed += 1;
                tracing::warn!("built {error}");
                Flow::Continue
            }
        }
    }

    fn plan(&self, call: &Syscall) -> Plan {
        Plan::of(call, &self.limits)
    }

    /// One stop or end, from what waitpid said.
    fn handle(&mut self, tid: pid_t, status: c_int, sink: Sink) -> Flow {
        if !libc::WIFSTOPPED(status) {
            return self.ended(tid, status, sink);
        }
        let stopped = Stopped::new(tid);
        if !self.threads.contains_key(&tid) {
            // a child's first stop can come before its parent's event
            self.unborn.insert(tid, status);
            return Flow::Continue;
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        let result = match (event, signal) {
            (EVENT_STOP, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) => {
                stopped.listen();
                Ok(Flow::Continue)
            }
            (libc::PTRACE_EVENT_SECCOMP, _) if self.mode == Mode::Filter => {
                self.entry(stopped, sink)
            }
            (libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE, _) => {
                self.born(stopped, event, sink)
            }
            (libc::PTRACE_EVENT_EXEC, _) => self.executed(stopped, sink),
            (0, s) if s == libc::SIGTRAP | 0x80 => self.at_call(stopped, sink),
            (0, signal) => {
                self.resume(stopped, signal);
                Ok(Flow::Continue)
            }
            _ => {
                self.resume(stopped, 0);
                Ok(Flow::Continue)
            }
        };
        // a thread that is gone will be waited for
        result.unwrap_or(Flow::Continue)
    }

    /// Goes on, to the exit stop where one is waited for.
    fn resume(&self, stopped: Stopped, signal: i32) {
        let inside = self
            .threads
            .get(&stopped.tid())
            .is_some_and(|thread| thread.call.is_some());
        stopped.resume(inside || self.mode == Mode::Every, signal);
    }

    fn ended(&mut self, tid: pid_t, status: c_int, sink: Sink) -> Flow {
        self.unborn.remove(&tid);
        if self
            .command
            .as_ref()
            .is_some_and(|command| command.pid() == tid.unsigned_abs())
        {
            self.status = Some(status);
        }
        if !self.threads.contains_key(&tid) {
            return Flow::Continue;
        }
        let header = Header {
            ret: i64::from(status),
            ..self.header(Kind::Exit, tid)
        };
        self.threads.remove(&tid);
        self.builder.begin(&header);
        self.deliver(sink)
    }

    fn born(&mut self, stopped: Stopped, event: c_int, sink: Sink) -> Result<Flow, Gone> {
        let tid = stopped.tid();
        let child = stopped.message()?;
        let Some(parent) = self.threads.get(&tid) else {
            return Err(Gone);
        };
        let flags = parent.call.as_ref().and_then(clone_flags).unwrap_or(0);
        let thread =
            event == libc::PTRACE_EVENT_CLONE && tgid_of(child).is_some_and(|tgid| tgid != child);
        let tgid = if thread { parent.tgid } else { child };
        let (uid, gid) = (parent.uid, parent.gid);
        let mut header = self.header(Kind::Fork, tid);
        (header.args[0], header.args[1], header.args[2]) =
            (u64::from(child), u64::from(tgid), flags);
        self.builder.begin(&header);
        let flow = self.deliver(sink);
        let child = child as pid_t;
        self.threads.insert(
            child,
            Thread {
                tgid,
                uid,
                gid,
                call: None,
                inside: false,
            },
        );
        self.resume(stopped, 0);
        match self.unborn.remove(&child) {
            Some(status) if flow == Flow::Continue => Ok(self.handle(child, status, sink)),
            Some(status) => {
                // nothing but a first stop, which delivers no event
                self.handle(child, status, &mut |_| Flow::Stop);
                Ok(flow)
            }
            None => Ok(flow),
        }
    }

    /// A stop of PTRACE_SYSCALL: an entry, or an exit.
    fn at_call(&mut self, stopped: Stopped, sink: Sink) -> Result<Flow, Gone> {
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
                Ok(Flow::Continue)
            }
            At::Exit { ret } => {
                thread.inside = false;
                let call = thread.call.take();
                let flow =
                    call.map_or(Flow::Continue, |call| self.exit(&stopped, &call, ret, sink));
                self.resume(stopped, 0);
                Ok(flow)
            }
        }
    }

    fn entry(&mut self, stopped: Stopped, sink: Sink) -> Result<Flow, Gone> {
        let At::Entry { arch, nr, args } = stopped.call(true)? else {
            self.resume(stopped, 0);
            return Ok(Flow::Continue);
        };
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
            return Ok(Flow::Continue);
        };
        let plan = self.plan(call);
        let selected = self.selection.contains(call);
        let mut flow = Flow::Continue;
        if plan.flags & flag::EXEC != 0 {
            let exec = Some(self.exec_begun(tid, abi, nr, args, &plan, selected));
            self.remember(
                tid,
                Call {
                    call,
                    abi,
                    nr,
                    args,
                    exec,
                },
            );
        } else if selected && call.returns == Returns::None {
            let header = self.call_header(tid, abi, nr, args, 0, Flags::NORETURN);
            self.builder.begin(&header);
            flow = self.deliver(sink);
        } else if selected || plan.flags & flag::CHILD != 0 || call.category == "user" {
            self.remember(
                tid,
                Call {
                    call,
                    abi,
                    nr,
                    args,
                    exec: None,
                },
            );
        }
        self.resume(stopped, 0);
        Ok(flow)
    }

    fn remember(&mut self, tid: pid_t, call: Call) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.call = Some(call);
        }
    }

    fn call_header(
        &self,
        tid: pid_t,
        abi: Abi,
        nr: u32,
        args: [u64; 6],
        ret: i64,
        flags: u16,
    ) -> Header {
        Header {
            abi: abi as u8,
            nr,
            args,
            ret,
            flags,
            ..self.header(Kind::Syscall, tid)
        }
    }

    /// The event of an exec as far as its entry can tell.
    fn exec_begun(
        &mut self,
        tid: pid_t,
        abi: Abi,
        nr: u32,
        args: [u64; 6],
        plan: &Plan,
        selected: bool,
    ) -> Vec<u8> {
        let flags = if selected { 0 } else { Flags::UNSELECTED };
        let header = self.call_header(tid, abi, nr, args, 0, flags);
        self.builder.begin(&header);
        let memory = Memory::new(tid, abi == Abi::I386);
        interpret::follow(&mut self.builder, plan, &header, &memory, &mut self.scratch);
        self.builder
            .finish()
            .map(|event| event.to_vec())
            .unwrap_or_default()
    }

    /// A call has returned.
    fn exit(&mut self, stopped: &Stopped, call: &Call, ret: i64, sink: Sink) -> Flow {
        // ERESTARTSYS and its kin (include/linux/errno.h): the call is made again, or ends with EINTR
        if matches!(ret, -516 | -514..=-512) {
            return Flow::Continue;
        }
        let tid = stopped.tid();
        if call.call.category == "user"
            && ret == 0
            && let Some(thread) = self.threads.get_mut(&tid)
        {
            (thread.uid, thread.gid) = facts::owner(tid.unsigned_abs());
        }
        // a success of exec has been an event; the clone family is remembered for its flags, too
        if !self.selection.contains(call.call) || (call.exec.is_some() && ret == 0) {
            return Flow::Continue;
        }
        let header = self.call_header(tid, call.abi, call.nr, call.args, ret, 0);
        self.builder.begin(&header);
        let plan = self.plan(call.call);
        let memory = Memory::new(tid, call.abi == Abi::I386);
        interpret::follow(
            &mut self.builder,
            &plan,
            &header,
            &memory,
            &mut self.scratch,
        );
        self.deliver(sink)
    }

    /// A process has a new program. Its thread may have had another id before (ptrace(2), "execve(2)
    /// under ptrace"): then all others are gone, the leader, whose id it has now, without a word.
    fn executed(&mut self, stopped: Stopped, sink: Sink) -> Result<Flow, Gone> {
        let tid = stopped.tid();
        let former = stopped.message()? as pid_t;
        let mut flow = Flow::Continue;
        let moved = if former == tid {
            None
        } else {
            self.threads.remove(&former)
        };
        if moved.is_some() {
            let header = Header {
                ret: i64::from(libc::SIGKILL),
                ..self.header(Kind::Exit, tid)
            };
            self.builder.begin(&header);
            flow = self.deliver(sink);
        }
        self.launched = true;
        let Some(thread) = self.threads.get_mut(&tid) else {
            return Err(Gone);
        };
        if let Some(moved) = moved {
            *thread = moved;
        }
        (thread.uid, thread.gid) = facts::owner(tid.unsigned_abs());
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
        match Event::parse(&begun) {
            Ok(event) => {
                let entry = event.header();
                (header.nr, header.abi, header.args, header.flags) =
                    (entry.nr, entry.abi, entry.args, entry.flags);
                self.builder.begin(&header);
                event
                    .attachments()
                    .for_each(|attachment| self.builder.attach_copy(&attachment));
            }
            Err(_) => {
                header.nr = table::by_name("execve")
                    .and_then(|call| call.number(Abi::NATIVE))
                    .unwrap_or(0);
                header.flags = Flags::INCOMPLETE;
                self.builder.begin(&header);
            }
        }
        facts::exec(
            &mut self.builder,
            tid.unsigned_abs(),
            self.limits.strings as usize,
        );
        let delivered = self.deliver(sink);
        self.resume(stopped, 0);
        Ok(if flow == Flow::Stop { flow } else { delivered })
    }

    /// Opens the gate, the first time.
    fn begin(&mut self) -> Result<(), CaptureError> {
        match self.command.as_mut().filter(|command| command.held()) {
            Some(command) => command
                .open_gate()
                .map_err(|error| failure("start the command", &error)),
            None => Ok(()),
        }
    }

    /// All tracees are gone.
    fn end(&mut self) -> Result<Polled, CaptureError> {
        if !self.ended {
            self.ended = true;
            if !self.launched
                && let Some(Err(error)) = self.command.as_mut().map(Held::outcome)
            {
                return Err(failure("start the command", &error));
            }
        }
        Ok(Polled::Ended(self.status))
    }
}

fn failure(step: &str, error: &dyn std::fmt::Display) -> CaptureError {
    CaptureError {
        driver: NAME,
        step: step.to_owned(),
        cause: error.to_string(),
    }
}

fn clone_flags(call: &Call) -> Option<u64> {
    // the flags are the first argument of clone; those of clone3 are in memory, and told by its event
    (call.call.name == "clone").then_some(call.args[0])
}

/// The thread group of a thread, from /proc.
fn tgid_of(tid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:"))?
        .trim()
        .parse()
        .ok()
}

fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime(2) writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The tracer's CPU: where the tracee stopped, as a rule. A gap that the probe names.
fn cpu() -> u16 {
    // SAFETY: sched_getcpu(3) has no effect.
    u16::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(u16::MAX)
}

impl Capture for PtraceCapture {
    fn poll(
        &mut self,
        timeout: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError> {
        if self.ended {
            return Ok(Polled::Ended(self.status));
        }
        if !self.waiter.is_ours() {
            return Err(failure(
                "wait for its tracees",
                &"only the thread that opened the driver can poll it",
            ));
        }
        self.begin()?;
        let before = self.stats.captured;
        let begin = Instant::now();
        loop {
            let wait = if self.stats.captured > before {
                Duration::ZERO
            } else {
                timeout.saturating_sub(begin.elapsed())
            };
            match self.waiter.next(wait) {
                Err(_) => {
                    // the last events first: the end is told by the next poll
                    let count = self.stats.captured - before;
                    return if count > 0 {
                        Ok(Polled::Events(usize::try_from(count).unwrap_or(usize::MAX)))
                    } else {
                        self.end()
                    };
                }
                Ok(Some((tid, status))) => {
                    if self.handle(tid, status, sink) == Flow::Stop {
                        break;
                    }
                    // a busy tracee must not keep the caller from its other duties
                    if begin.elapsed() > timeout {
                        break;
                    }
                }
                Ok(None) if self.stats.captured > before || begin.elapsed() >= timeout => break,
                Ok(None) => {}
            }
        }
        Ok(Polled::Events(
            usize::try_from(self.stats.captured - before).unwrap_or(usize::MAX),
        ))
    }

    fn select(&mut self, selection: &SyscallSet) -> Result<(), CaptureError> {
        self.selection = *selection;
        // a filter that is installed stays; what it lets pass can only be had by stopping at every call
        if self.filtered.union(selection) != self.filtered && self.mode == Mode::Filter {
            self.mode = Mode::Every;
            let running: Vec<pid_t> = self.threads.keys().copied().collect();
            for tid in running {
                let _ = interrupt(tid);
            }
        }
        Ok(())
    }

    fn stats(&self) -> Stats {
        self.stats
    }
}

impl Drop for PtraceCapture {
    fn drop(&mut self) {
        if self.command.is_some() {
            // PTRACE_O_EXITKILL holds for our death only. Under the filter a call without a tracer would
            // fail with ENOSYS: the command ends with its capture.
            for tid in self.threads.keys() {
                // SAFETY: kill(2) takes numbers.
                unsafe { libc::kill(*tid, libc::SIGKILL) };
            }
            if self.command.as_ref().is_some_and(Held::held) {
                // dropping it lets it leave; a tracee has to be waited for
                return;
            }
            while let Ok(Some((tid, status))) = self.waiter.next(Duration::from_secs(1)) {
                if libc::WIFSTOPPED(status) {
                    Stopped::new(tid).resume(false, 0);
                }
            }
            return;
        }
        self.leave();
    }
}

impl PtraceCapture {
    /// Detaches from every thread, unharmed.
    fn leave(&mut self) {
        let mut waiting: Vec<pid_t> = self
            .threads
            .keys()
            .copied()
            .filter(|tid| interrupt(*tid).is_ok())
            .collect();
        while !waiting.is_empty() {
            let Ok(Some((tid, status))) = self.waiter.next(Duration::from_secs(1)) else {
                break;
            };
            waiting.retain(|waited| *waited != tid);
            if libc::WIFSTOPPED(status) {
                let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
                let deliver = if event == 0 && signal != libc::SIGTRAP | 0x80 {
                    signal
                } else {
                    0
                };
                Stopped::new(tid).detach(deliver);
            }
        }
    }

    /// Seizes all threads of these processes, until none is new.
    pub(crate) fn seize_all(&mut self, pids: &[u32]) -> Result<(), String> {
        for pid in pids {
            driver_start::follow_threads(&[*pid], |tid| {
                let thread = tid as pid_t;
                if self.threads.contains_key(&thread) {
                    return Ok(());
                }
                match seize(thread, OPTIONS) {
                    Ok(()) => {
                        self.adopt(thread, *pid);
                        let _ = interrupt(thread);
                        Ok(())
                    }
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
                    Err(error) => Err(format!(
                        "cannot attach to process {pid}: {error} (it must be yours, traced by nobody, and \
                         kernel.yama.ptrace_scope must allow it)"
                    )),
                }
            })?;
        }
        Ok(())
    }
}
