//! Rings that user space fills in place of programs, for measurements: what the reader costs on a host with more CPUs than
//! this one has.

use std::io;
use std::os::fd::AsFd;
use std::ptr;
use std::sync::atomic::Ordering;

use driver_api::driver::Flow;
use driver_api::event::layout::MAX;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;

use crate::layout::{RingState, WRITING_BITS};
use crate::mapping::Mapping;
use crate::ring::{RingLayout, Rings};

/// The rings of a made-up number of CPUs, with their reader.
#[derive(Debug)]
pub struct SimulatedRings {
    rings: Rings,
    layout: RingLayout,
    states: Mapping,
    bytes: Mapping,
    /// Where the next record of each ring begins.
    ends: Vec<u64>,
}

impl SimulatedRings {
    /// For this many CPUs, with `size` bytes each, a power of two.
    ///
    /// # Errors
    ///
    /// There is not enough memory.
    pub fn new(cpus: usize, size: usize) -> io::Result<Self> {
        let layout = RingLayout::new(cpus, size);
        let memory = |bytes: usize| -> io::Result<_> {
            let file = memfd_create(c"rings", MFdFlags::MFD_CLOEXEC)?;
            let bytes = bytes.next_multiple_of(1 << 16);
            ftruncate(&file, i64::try_from(bytes).unwrap_or(i64::MAX))?;
            let mapping = Mapping::writable(file.as_fd(), bytes)?;
            Ok((file, mapping))
        };
        let (state_file, states) = memory(cpus * size_of::<RingState>())?;
        let (byte_file, bytes) = memory(layout.values() * layout.value())?;
        // nothing sleeps on these rings
        let (wakeup, _) = memory(1 << 16)?;
        Ok(Self {
            rings: Rings::new(
                layout,
                state_file.as_fd(),
                byte_file.as_fd(),
                wakeup.as_fd(),
            )?,
            layout,
            states,
            bytes,
            ends: vec![0; cpus],
        })
    }

    fn state(&self, cpu: usize) -> &RingState {
        let states = self.states.base().cast::<RingState>();
        // SAFETY: `write` has checked that the CPU is one of the layout, and the mapping has a state for each; all that is
        // written is atomic.
        unsafe { states.add(cpu).as_ref() }
    }

    /// Writes an event to the ring of a CPU, as a program does. False: there is no such CPU, or its ring is full.
    pub fn write(&mut self, cpu: usize, event: &[u8]) -> bool {
        let Some(&end) = self.ends.get(cpu) else {
            return false;
        };
        let waiting = end - self.state(cpu).consumed.load(Ordering::Acquire);
        let room = self.layout.size() as u64;
        if event.len() > MAX || waiting + MAX as u64 > room {
            return false;
        }
        let (offset, _) = self.layout.place(cpu, end);
        // SAFETY: a value has room for the largest event behind each place in its chunk, and `size` bytes back there is
        // nothing that the reader still has: it has handed back what it read, as `self` is borrowed for writing.
        unsafe {
            let to = self.bytes.base().add(offset).as_ptr();
            ptr::copy_nonoverlapping(event.as_ptr(), to, event.len());
        }
        let end = end + event.len() as u64;
        self.ends[cpu] = end;
        let state = &self.state(cpu).state;
        state.store(end << WRITING_BITS, Ordering::Release);
        true
    }

    /// Hands all waiting events to the sink, in the order of time. Returns how many there were.
    pub fn read(&mut self, sink: &mut dyn FnMut(&[u8]) -> Flow) -> usize {
        self.rings.look();
        self.rings.drain(sink)
    }
}

#[cfg(test)]
mod tests {
    use driver_api::event::{Event, EventBuilder, EventKind, Header};

    use super::*;

    fn event(time_ns: u64) -> Vec<u8> {
        let mut builder = EventBuilder::default();
        builder.begin(&Header {
            kind: EventKind::Syscall as u8,
            time_ns,
            ..Header::default()
        });
        builder.finish().unwrap().to_vec()
    }

    #[test]
    fn events_of_many_cpus_come_in_the_order_of_their_times() {
        const CPUS: usize = 64;
        let mut rings = SimulatedRings::new(CPUS, 1 << 16).unwrap();
        let mut next = 0;
        // more than the rings hold at once
        for round in 0..40 {
            let first = next;
            for _ in 0..4000 {
                // in turns of different lengths
                let cpu = (next / (1 + round % 3) * 7) as usize % CPUS;
                assert!(rings.write(cpu, &event(next)), "{next}");
                next += 1;
            }
            let mut seen = Vec::new();
            let read = rings.read(&mut |bytes| {
                seen.push(Event::parse(bytes).unwrap().header().time_ns);
                Flow::Continue
            });
            assert_eq!(read, 4000);
            assert_eq!(seen, (first..next).collect::<Vec<u64>>());
        }
        assert!(!rings.write(CPUS, &event(next)));
        while rings.write(0, &event(next)) {
            next += 1;
        }
        assert!(rings.write(1, &event(next)), "only one ring is full");
    }
}
