//! Calls that a signal has interrupted: how they end is known when it is delivered.
//!
//! Such a call returns a request to be made again (ERESTARTSYS and its kin, include/linux/errno.h). If a handler runs
//! next, the program sees EINTR, unless the request was ERESTARTSYS and the handler has SA_RESTART (sigaction(2)).
//! So the programs deliver the call as ended with EINTR, marked as open, and tell of each handler that is about to
//! run. What is open is kept until that, or until its thread shows that it has gone on: with whatever event, also
//! one of restart_syscall(2), which is watched for this alone where nobody selected it.

use std::collections::HashMap;
use std::mem::offset_of;

use driver_api::event::{Abi, Event, Header, Kind};
use driver_api::request::SyscallSet;
use driver_api::table;

/// `FLAG_OPEN` and `FLAG_OPEN_RESTARTS` of `bpf/ops.h`.
const OPEN: u16 = 0x8000;
const RESTARTS: u16 = 0x4000;

const GOES_ON: &str = "restart_syscall";

/// What to capture, so that this selection can be delivered.
pub fn watched(selection: &SyscallSet) -> SyscallSet {
    let mut all = *selection;
    if let Some(call) = table::by_name(GOES_ON) {
        all.insert(call);
    }
    all
}

/// What becomes of an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is delivered.
    Deliver,
    /// It is not, but this call is: it has ended now.
    Decided(Vec<u8>),
    /// Neither.
    Keep,
}

/// The calls that are open, by thread id.
#[derive(Debug)]
pub(crate) struct Undecided {
    open: HashMap<u32, Vec<u8>>,
    /// The number of restart_syscall in each ABI, where nobody selected it.
    unselected: [Option<u32>; 5],
}

impl Undecided {
    pub(crate) fn new(selection: &SyscallSet) -> Self {
        let mut new = Self {
            open: HashMap::new(),
            unselected: [None; 5],
        };
        new.select(selection);
        new
    }

    pub(crate) fn select(&mut self, selection: &SyscallSet) {
        let call = table::by_name(GOES_ON).filter(|call| !selection.contains(call));
        for (abi, number) in (0..).zip(&mut self.unselected) {
            *number = Abi::from_u8(abi).and_then(|abi| call?.number(abi));
        }
    }

    /// Of the events that follow, none says how an open call ends: some are missing.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
    }

    /// Called with every event; `bytes` are its own.
    #[inline]
    pub(crate) fn judge(&mut self, event: &Event<'_>, bytes: &[u8]) -> Verdict {
        let header = event.header();
        let unwanted = event.kind() == Kind::Syscall
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
                Verdict::Keep
            } else {
                Verdict::Deliver
            };
        }
        if event.kind() != Kind::Signal {
            if !unwanted && let Some(bytes) = bytes.get(..header.len as usize) {
                self.open.insert(header.tid, bytes.to_vec());
            }
            return Verdict::Keep;
        }
        let Some(mut call) = open else {
            return Verdict::Keep;
        };
        let flags = flags_of(&call);
        if flags & header.flags & RESTARTS != 0 {
            return Verdict::Keep;
        }
        put(
            &mut call,
            offset_of!(Header, flags),
            &(flags & !(OPEN | RESTARTS)).to_ne_bytes(),
        );
        // now it has ended; others of its process may have come in between
        put(
            &mut call,
            offset_of!(Header, time_ns),
            &header.time_ns.to_ne_bytes(),
        );
        Verdict::Decided(call)
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

    use super::*;

    const EINTR: i64 = -4;

    fn event(kind: Kind, tid: u32, flags: u16, nr: u32) -> Vec<u8> {
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

    fn judged(undecided: &mut Undecided, bytes: &[u8]) -> Verdict {
        undecided.judge(&Event::parse(bytes).expect("an event"), bytes)
    }

    fn number(name: &str) -> u32 {
        let call = table::by_name(name).expect("a call");
        call.number(Abi::NATIVE).expect("its number")
    }

    #[test]
    fn a_handler_ends_an_open_call_unless_it_restarts_what_asks_for_that() {
        // the call's flags, the handler's, whether the call ends
        let cases = [
            (OPEN, OPEN, true),
            (OPEN, OPEN | RESTARTS, true),
            (OPEN | RESTARTS, OPEN, true),
            (OPEN | RESTARTS, OPEN | RESTARTS, false),
        ];
        for (call, handler, ends) in cases {
            let mut undecided = Undecided::new(&SyscallSet::all());
            let read = event(Kind::Syscall, 7, call, number("read"));
            assert_eq!(judged(&mut undecided, &read), Verdict::Keep);
            let other = event(Kind::Signal, 8, OPEN, 0);
            assert_eq!(judged(&mut undecided, &other), Verdict::Keep);
            let signal = event(Kind::Signal, 7, handler, 0);
            let verdict = judged(&mut undecided, &signal);
            if let Verdict::Decided(bytes) = &verdict {
                let ended = Event::parse(bytes).expect("an event");
                assert_eq!((ended.header().flags, ended.header().ret), (0, EINTR));
                assert_eq!(ended.header().time_ns, 1000);
            }
            assert_eq!(matches!(verdict, Verdict::Decided(_)), ends, "{call:x}");
            assert_eq!(judged(&mut undecided, &signal), Verdict::Keep);
        }
    }

    #[test]
    fn a_call_that_is_made_again_is_forgotten() {
        let mut selection = SyscallSet::empty();
        selection.insert(table::by_name("nanosleep").expect("a call"));
        let mut undecided = Undecided::new(&selection);
        let sleep = event(Kind::Syscall, 7, OPEN, number("nanosleep"));
        let again = event(Kind::Syscall, 7, 0, number(GOES_ON));
        let signal = event(Kind::Signal, 7, OPEN, 0);
        assert_eq!(judged(&mut undecided, &sleep), Verdict::Keep);
        assert_eq!(judged(&mut undecided, &again), Verdict::Keep);
        assert_eq!(judged(&mut undecided, &signal), Verdict::Keep);
        undecided.select(&SyscallSet::all());
        assert_eq!(judged(&mut undecided, &again), Verdict::Deliver);
    }

    #[test]
    fn the_flags_are_those_of_the_header() {
        let header = include_str!("../bpf/ops.h");
        assert!(header.contains("FLAG_OPEN 0x8000"));
        assert!(header.contains("FLAG_OPEN_RESTARTS 0x4000"));
    }
}
