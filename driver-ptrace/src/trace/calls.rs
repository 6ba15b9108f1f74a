//! Entries and exits of calls.

use driver_api::event::{Abi, EventKind, Flags, Header};
use driver_api::plan::flag;
use driver_api::predicate::Made;
use driver_api::table::{Category, Returns};
use driver_start::monotonic_ns;
use libc::pid_t;

use super::affinity;
use super::capture::PtraceCapture;
use super::pending_restart::{self, PendingRestart};
use super::pinning::Pinning;
use super::tracees::Call;
use crate::events::Sink;
use crate::filter;
use crate::hiding::{self, Called};
use crate::interpret::Rooms;
use crate::memory::{self, Memory};
use crate::proc_dir::PATH_MAX;
use crate::threads;
use crate::tracee::{Boundary, EnteredCall, ExitStop, Gone, SeccompStop, SyscallStop, interrupt};

/// The call of an entry. None: it is of a foreign architecture.
fn called(entry: &EnteredCall) -> Option<Called> {
    // the kernel takes the low 32 bits
    Called::of(entry.arch, entry.nr as u32)
}

impl PtraceCapture {
    /// A filter has stopped a thread at the entry of a call.
    pub(super) fn at_filter(&mut self, stop: SeccompStop, sink: Sink) -> Result<(), Gone> {
        let entry = stop.entry()?;
        if !filter::is_ours(entry.filter_data) {
            // A filter that the program has made itself stops it for a tracer. The program knows of none: untraced,
            // the call would fail with ENOSYS (seccomp(2)).
            stop.answer(-i64::from(libc::ENOSYS));
        }
        // The stop at the entry of a call comes before that of the filter (ptrace(2), since Linux 4.8). A thread has made
        // none if it was let go before every call was to stop.
        let tid = stop.tid();
        if !self.tracees.get(tid).is_some_and(|thread| thread.entered) {
            self.entered(tid, &entry, sink);
            if let Some(result) = self.answer(&entry) {
                stop.answer(result);
            }
        }
        self.resume_inside(stop.into());
        Ok(())
    }

    /// A thread that runs until the next entry or exit of a call has come to it.
    pub(super) fn at_boundary(&mut self, stop: SyscallStop, sink: Sink) -> Result<(), Gone> {
        let tid = stop.tid();
        let Some(thread) = self.tracees.get_mut(tid) else {
            return Err(Gone);
        };
        let expects_entry = !thread.inside && thread.call.is_none();
        let stops_every_call = thread.has_own_filter || self.coverage.stops_every_call();
        match stop.boundary(expects_entry)? {
            Boundary::Entry(entry) => {
                // else the filter stops it if it is wanted
                if stops_every_call {
                    thread.entered = true;
                    self.entered(tid, &entry, sink);
                    if let Some(result) = self.answer(&entry) {
                        stop.answer(result);
                    }
                }
                self.resume_inside(stop.into());
            }
            Boundary::Exit { ret } => {
                thread.inside = false;
                thread.entered = false;
                if let Some(call) = thread.call.take() {
                    self.pinner.end_call(tid);
                    self.exit_of(tid, call, ret, sink);
                }
                self.resume(stop.into());
            }
        }
        Ok(())
    }

    /// What a call returns that would keep lanner from reading the thread's memory. None: it is made.
    fn answer(&self, entry: &EnteredCall) -> Option<i64> {
        hiding::answer(&called(entry)?, &entry.args, self.reads_everything).map(i64::from)
    }

    /// A thread is about to make a call. Decides whether its exit is waited for.
    fn entered(&mut self, tid: pid_t, entry: &EnteredCall, sink: Sink) {
        if let Some(thread) = self.tracees.get_mut(tid) {
            thread.was_stopped = false;
        }
        let Some(made) = called(entry) else {
            return;
        };
        let (Called { abi, nr, call }, args) = made.meant(tid, entry.args);
        if hiding::withholds_pages(tid, call, &args) {
            memory::expect_withheld_pages();
        }
        let plan = self.events.plan_of(call, abi, nr);
        let made = Made {
            abi,
            nr,
            args: &args,
            result: None,
        };
        let selected = self.coverage.selection.wants(call, &made);
        let mut begun = Call {
            call,
            abi,
            nr,
            args,
            entered_ns: self.coverage.selection.times().then(monotonic_ns),
            pinning: Pinning::of(call),
            rooms: None,
            exec: None,
        };
        if selected {
            let rooms = Rooms::of(&plan, &begun.args, &begun.memory(tid));
            begun.rooms = rooms.map(Box::new);
        }
        let mut awaits_exit = false;
        if affinity::is_affinity_call(call) {
            self.pinner.begin_affinity_call(tid);
            awaits_exit = true;
        }
        if plan.flags & flag::EXEC != 0 {
            begun.exec = Some(self.exec_begun(tid, &begun, &plan, selected));
            awaits_exit = true;
        } else if selected && call.returns == Returns::None {
            let header = self.call_header(tid, &begun, 0, Flags::NORETURN);
            self.events.builder.begin(&header);
            self.deliver(sink);
        } else {
            if !selected {
                self.unpin_for_status(&begun, &begun.memory(tid));
            }
            awaits_exit |= selected
                || plan.flags & flag::CHILD != 0
                || call.category == Category::User
                || hiding::adds_filter(call, &begun.args);
        }
        if let Some(continued) = self.continued_call(tid, call.name, sink) {
            begun = continued;
            awaits_exit = true;
        }
        if awaits_exit && let Some(thread) = self.tracees.get_mut(tid) {
            thread.call = Some(begun);
        }
    }

    /// Unpins all threads if a call opens a file that shows their affinity.
    fn unpin_for_status(&mut self, call: &Call, memory: &Memory) {
        if let Some(at) = affinity::opened_path(call.call) {
            let path = self.events.read_string(memory, call.args[at], PATH_MAX);
            if affinity::shows_affinity(path) {
                self.pinner.unpin_for_a_while();
            }
        }
    }

    /// A thread is about to end. If it is killed in a call, the call may have done its work: it is delivered with what
    /// it returns, though that never reaches the program.
    pub(super) fn dies(&mut self, stop: ExitStop, sink: Sink) -> Result<(), Gone> {
        let tid = stop.tid();
        if let Some(call) = self
            .tracees
            .get_mut(tid)
            .and_then(|thread| thread.call.take())
        {
            self.pinner.end_call(tid);
            // killed at the entry, it was not made
            if let Ok(ret) = stop.result()
                && ret != -i64::from(libc::ENOSYS)
            {
                self.exit_of(tid, call, ret, sink);
                if let Some(pending) = self.take_pending_restart(tid) {
                    pending.deliver(self, sink);
                }
            }
        }
        self.resume(stop.into());
        Ok(())
    }

    /// The header of a call's event.
    pub(super) fn call_header(&self, tid: pid_t, call: &Call, ret: i64, flags: u16) -> Header {
        Header {
            abi: call.abi as u8,
            nr: call.nr,
            args: call.args,
            ret,
            flags,
            ..self.header(EventKind::Syscall, tid)
        }
    }

    /// A call has returned, or is sure to.
    pub(super) fn exit_of(&mut self, tid: pid_t, call: Call, returned: i64, sink: Sink) {
        let took_ns = call.took_ns();
        let returned = signed(call.abi, returned);
        let is_pending = pending_restart::is_pending(&call, returned);
        let ret = if is_pending {
            pending_restart::EINTR
        } else {
            returned
        };
        if call.call.category == Category::User
            && ret == 0
            && let Some(thread) = self.tracees.get_mut(tid)
        {
            thread.owner = threads::owner(tid.unsigned_abs());
        }
        if ret >= 0
            && hiding::adds_filter(call.call, &call.args)
            && let Some(thread) = self.tracees.get(tid)
        {
            // perhaps for all threads of the process, which from now on have to stop at every call
            let running = self.tracees.note_own_filter(thread.tgid);
            for other in running.into_iter().filter(|other| *other != tid) {
                // the end of a thread that is gone is reported
                let _ = interrupt(other);
            }
        }
        // a successful exec is an event already; a clone may have been followed for its flags alone
        let is_selected = self.coverage.selection.contains(call.call);
        if !is_selected || (call.exec.is_some() && ret == 0) {
            return;
        }
        let made = Made {
            abi: call.abi,
            nr: call.nr,
            args: &call.args,
            result: Some(ret),
        };
        // how a pending call ends is decided when it is delivered
        if !is_pending && !self.coverage.selection.wants(call.call, &made) {
            if ret >= 0 {
                self.unpin_for_status(&call, &call.memory(tid));
            }
            return;
        }
        let header = self.call_header(tid, &call, ret, 0);
        let plan = self.events.plan_of(call.call, call.abi, call.nr);
        let memory = call.memory(tid);
        self.events
            .begin_call(&header, ret, &plan, &memory, call.rooms.as_deref());
        self.events.say_took(took_ns);
        if ret >= 0 {
            // the path is mostly in what `memory` has read ahead
            self.unpin_for_status(&call, &memory);
        }
        if !is_pending {
            self.deliver(sink);
        } else if let Some(event) = self.events.take()
            && let Some(thread) = self.tracees.get_mut(tid)
        {
            thread.pending_restart = PendingRestart::new(call, event, returned);
        }
    }
}

/// What a call has returned, with an error as a negative number. A 32-bit call has a result of 32 bits, whose sign the
/// kernel does not always extend: modify_ldt(2) returns an int. Addresses have no sign.
fn signed(abi: Abi, returned: i64) -> i64 {
    const ERRORS: i32 = 4095;
    match abi {
        Abi::I386 | Abi::Arm => {
            let word = (returned & 0xffff_ffff) as i32;
            if (-ERRORS..0).contains(&word) {
                i64::from(word)
            } else {
                returned
            }
        }
        Abi::X86_64 | Abi::X32 | Abi::Aarch64 | Abi::IoUring => returned,
    }
}

#[test]
fn an_error_of_a_32_bit_call_is_negative() {
    for (abi, returned, result) in [
        (Abi::I386, 0xffff_ffda, -38),
        (Abi::I386, -38, -38),
        (Abi::I386, 0xf7f0_0000, 0xf7f0_0000),
        (Abi::Arm, 0xffff_f001, -4095),
        (Abi::X86_64, 0xffff_ffda, 0xffff_ffda),
    ] {
        assert_eq!(signed(abi, returned), result, "{abi:?} {returned:#x}");
    }
}
