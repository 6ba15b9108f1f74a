//! Execs: the event begins at the call's entry, where its memory still exists, and is completed when it has
//! succeeded.

use driver_api::event::{Abi, Event, EventKind, Flags, Header};
use driver_api::plan::Plan;
use driver_api::request::FACT_MAX;
use driver_api::table;
use libc::pid_t;

use super::capture::PtraceCapture;
use super::tracees::Call;
use crate::events::Sink;
use crate::facts;
use crate::proc_dir::ProcDir;
use crate::threads;
use crate::tracee::{ExecStop, Gone};

impl PtraceCapture {
    /// The event of an exec, with what its entry can say.
    pub(super) fn exec_begun(
        &mut self,
        tid: pid_t,
        call: &Call,
        plan: &Plan,
        selected: bool,
    ) -> Vec<u8> {
        let flags = if selected { 0 } else { Flags::UNSELECTED };
        let header = self.call_header(tid, call, 0, flags);
        self.events
            .begin_call(&header, 0, plan, &call.memory(tid), None);
        self.events.take().unwrap_or_default()
    }

    /// A process has a new program. Its thread may have had another id before (ptrace(2), "execve(2) under
    /// ptrace"): then all other threads are gone, and the first one, whose id it has now, was not reported.
    pub(super) fn executed(&mut self, stop: ExecStop, sink: Sink) -> Result<(), Gone> {
        let tid = stop.tid();
        let former = stop.former_tid()?;
        if former != tid {
            self.take_over(former, tid, sink);
        }
        if !self.life.is_launched() {
            stop.begin();
            self.life.set_launched();
        }
        let Some(thread) = self.tracees.get_mut(tid) else {
            return Err(Gone);
        };
        let dir = ProcDir::open(tid.unsigned_abs());
        if let Some(dir) = &dir {
            thread.owner = threads::owner_after_exec(tid.unsigned_abs(), dir, thread.owner);
        }
        let owner = thread.owner;
        let begun = thread.call.as_mut().and_then(|call| call.exec.take());
        let took_ns = thread.call.as_ref().and_then(Call::took_ns);
        if !(thread.has_own_filter || self.coverage.stops_every_call()) {
            thread.call = None;
        } else if let Some(call) = &mut thread.call {
            // its exit stop is still to come, and is no event
            call.exec = Some(Vec::new());
        }
        self.begin_exec_event(tid, &begun.unwrap_or_default());
        self.events.say_took(took_ns);
        if let Some(dir) = &dir {
            let omits_facts = self.events.limits().omit.facts;
            let (builder, limit) = (&mut self.events.builder, FACT_MAX as usize);
            if omits_facts {
                facts::comm(builder, dir, limit);
            } else {
                facts::exec(builder, tid.unsigned_abs(), dir, owner, limit);
            }
        }
        self.deliver(sink);
        self.resume_inside(stop.into());
        Ok(())
    }

    /// A thread has taken over the id of its process's first thread, which is gone.
    fn take_over(&mut self, former: pid_t, tid: pid_t, sink: Sink) {
        let Some(moved) = self.tracees.remove(former) else {
            return;
        };
        // the kernel ends the other threads with code 0 (fs/exec.c, de_thread)
        let header = self.header(EventKind::Exit, tid);
        self.events.builder.begin(&header);
        self.deliver(sink);
        self.tracees.insert(tid, moved);
        self.pinner.renamed(former, tid);
    }

    /// Begins the event of a successful exec from the one that was made at its entry.
    fn begin_exec_event(&mut self, tid: pid_t, begun: &[u8]) {
        let header = self.header(EventKind::Exec, tid);
        if let Ok(event) = Event::parse(begun) {
            let entry = event.header();
            let header = Header {
                nr: entry.nr,
                abi: entry.abi,
                args: entry.args,
                flags: entry.flags,
                ..header
            };
            self.events.begin_from(&header, &event);
            return;
        }
        // its entry was before the process was attached to, or came by an ABI without a table
        let execve = table::by_name("execve");
        let number = execve.and_then(|call| call.number(Abi::NATIVE));
        let is_selected = execve.is_some_and(|call| self.coverage.selection.contains(call));
        let unselected = if is_selected { 0 } else { Flags::UNSELECTED };
        self.events.builder.begin(&Header {
            nr: number.unwrap_or(0),
            flags: Flags::INCOMPLETE | unselected,
            ..header
        });
    }
}
