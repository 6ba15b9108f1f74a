//! Calls that a signal has interrupted. How they end is known only when the signal is delivered.
//!
//! An interrupted call returns a code by which the kernel makes it again (ERESTARTSYS and others,
//! include/linux/errno.h). If a handler runs next, the program sees EINTR, unless the code was ERESTARTSYS and the handler
//! has SA_RESTART (sigaction(2)). So the programs deliver the call as ended with EINTR, marked as open, and an event of
//! each handler that is about to run. An open call is kept until that event, or until its thread goes on: any other event
//! of the thread shows that, also one of restart_syscall(2), which is captured for this purpose if it is not selected.

use std::collections::HashMap;
use std::mem::offset_of;

use driver_api::event::{Abi, Event, EventKind, Header};
use driver_api::selection::Selection;
use driver_api::table;

use crate::layout::{FLAG_OPEN as OPEN, FLAG_OPEN_RESTARTS as RESTARTS};

/// The call that goes on with an interrupted one.
const RESTART: &str = "restart_syscall";

/// How many ABIs there are, with that of operations of io_uring, which has no such call.
const ABIS: usize = Abi::IoUring as usize + 1;

/// What has to be captured so that a selection can be delivered: itself, and restart_syscall(2).
pub fn watched(selection: &Selection) -> Selection {
    selection.with_all_of(&table::by_name(RESTART).into_iter().collect())
}

/// What to do with an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Deliver the event.
    Deliver,
    /// Deliver this call instead, which has now ended with EINTR.
    Ended(Vec<u8>),
    /// Deliver nothing.
    Withhold,
}

/// The calls that are open, by thread id.
#[derive(Debug)]
pub(crate) struct InterruptedCalls {
    open: HashMap<u32, Vec<u8>>,
    /// The number of restart_syscall in each ABI, if it is not selected.
    unselected: [Option<u32>; ABIS],
}

impl InterruptedCalls {
    pub(crate) fn new(selection: &Selection) -> Self {
        let mut new = Self {
            open: HashMap::new(),
            unselected: [None; ABIS],
        };
        new.select(selection);
        new
    }

    pub(crate) fn select(&mut self, selection: &Selection) {
        let call = table::by_name(RESTART).filter(|call| !selection.contains(call));
        for (abi, number) in (0..).zip(&mut self.unselected) {
            *number = Abi::from_u8(abi).and_then(|abi| call?.number(abi));
        }
    }

    /// Forgets the open calls: events are missing, so the following ones do not say how an open call ends.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
    }

    /// Decides about an event, whose bytes are `bytes`. Call it with every event.
    #[inline]
    pub(crate) fn judge(&mut self, event: &Event<'_>, bytes: &[u8]) -> Verdict {
        let header = event.header();
        let unwanted = event.kind() == EventKind::Syscall
            && self.unselected[event.abi() as usize] == Some(header.nr);
        if header.flags & OPEN == 0 && self.open.is_empty() && !unwanted {
            return Verdict::Deliver;
        }
        self.weigh(event, bytes, unwanted)
    }

    #[cold]
    fn weigh(&mut self, event: &Event<'_>, bytes: &[u8], unwanted: bool) -> Verdict {
        let header = event.header();
        let open = self.open.remove(&header.tid);
        if header.flags & OPEN == 0 {
            return if unwanted {
                Verdict::Withhold
            } else {
                Verdict::Deliver
            };
        }
        if event.kind() != EventKind::Signal {
            if !unwanted && let Some(bytes) = bytes.get(..header.len as usize) {
                self.open.insert(header.tid, bytes.to_vec());
            }
            return Verdict::Withhold;
        }
        let Some(mut call) = open else {
            return Verdict::Withhold;
        };
        let flags = flags_of(&call);
        if flags & header.flags & RESTARTS != 0 {
            return Verdict::Withhold;
        }
        put(
            &mut call,
            offset_of!(Header, flags),
            &(flags & !(OPEN | RESTARTS)).to_ne_bytes(),
        );
        // it ends at the time of the signal, because events of its process may have come in between
        put(
            &mut call,
            offset_of!(Header, time_ns),
            &header.time_ns.to_ne_bytes(),
        );
        Verdict::Ended(call)
    }
}

fn flags_of(event: &[u8]) -> u16 {
    let at = offset_of!(Header, flags);
    event
        .get(at..at + 2)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u16::from_ne_bytes)
}

fn put(event: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = event.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use driver_api::event::EventBuilder;
    use driver_api::request::SyscallSet;

    use super::*;

    const EINTR: i64 = -4;

    fn event(kind: EventKind, tid: u32, flags: u16, nr: u32) -> Vec<u8> {
        let mut builder = EventBuilder::new();
        builder.begin(&Header {
            kind: kind as u8,
            abi: Abi::NATIVE as u8,
            tid,
            flags,
            nr,
            time_ns: u64::from(nr) + 1000,
            ret: EINTR,
            ..Header::default()
        });
        builder.finish().expect("an event").to_vec()
    }

    fn judged(calls: &mut InterruptedCalls, bytes: &[u8]) -> Verdict {
        calls.judge(&Event::parse(bytes).expect("an event"), bytes)
    }

    fn number(name: &str) -> u32 {
        let call = table::by_name(name).expect("a call");
        call.number(Abi::NATIVE).expect("its number")
    }

    #[test]
    fn a_handler_ends_an_open_call_unless_the_call_and_the_handler_allow_a_restart() {
        // the flags of the call, the flags of the handler, whether the call ends
        let cases = [
            (OPEN, OPEN, true),
            (OPEN, OPEN | RESTARTS, true),
            (OPEN | RESTARTS, OPEN, true),
            (OPEN | RESTARTS, OPEN | RESTARTS, false),
        ];
        for (call, handler, ends) in cases {
            let mut calls = InterruptedCalls::new(&SyscallSet::all().into());
            let read = event(EventKind::Syscall, 7, call, number("read"));
            assert_eq!(judged(&mut calls, &read), Verdict::Withhold);
            let other = event(EventKind::Signal, 8, OPEN, 0);
            assert_eq!(judged(&mut calls, &other), Verdict::Withhold);
            let signal = event(EventKind::Signal, 7, handler, 0);
            let verdict = judged(&mut calls, &signal);
            if let Verdict::Ended(bytes) = &verdict {
                let ended = Event::parse(bytes).expect("an event");
                assert_eq!((ended.header().flags, ended.header().ret), (0, EINTR));
                assert_eq!(ended.header().time_ns, 1000);
            }
            assert_eq!(matches!(verdict, Verdict::Ended(_)), ends, "{call:x}");
            assert_eq!(judged(&mut calls, &signal), Verdict::Withhold);
        }
    }

    #[test]
    fn a_call_that_is_made_again_is_forgotten() {
        let mut selection = SyscallSet::empty();
        selection.insert(table::by_name("nanosleep").expect("a call"));
        let mut calls = InterruptedCalls::new(&selection.into());
        let sleep = event(EventKind::Syscall, 7, OPEN, number("nanosleep"));
        let again = event(EventKind::Syscall, 7, 0, number(RESTART));
        let signal = event(EventKind::Signal, 7, OPEN, 0);
        assert_eq!(judged(&mut calls, &sleep), Verdict::Withhold);
        assert_eq!(judged(&mut calls, &again), Verdict::Withhold);
        assert_eq!(judged(&mut calls, &signal), Verdict::Withhold);
        calls.select(&SyscallSet::all().into());
        assert_eq!(judged(&mut calls, &again), Verdict::Deliver);
    }
}
