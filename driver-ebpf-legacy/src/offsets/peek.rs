//! Reads kernel memory through the program of `peek.bpf.c`. It runs when this process calls getpgid(2) with a number
//! that no process has.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use aya::maps::{Array, MapData};
use aya::programs::Program;
use aya::{Ebpf, EbpfLoader};
use driver_ebpf::life::monotonic_ns;

use driver_api::error::Chain;

use super::error::{OffsetsError, PeekError};
use crate::attach::tracefs::Tracefs;
use crate::attach::{AttachError, PerfEvents, TracepointKind};
use crate::error::{BpfError, ObjectError};
use crate::kernel::{Feature, Features};
use crate::layout::{ANSWER_SIZE, Answer, CALLERS, Caller, Query, Submission};
use crate::{maps, programs};

/// The program, compiled from `bpf/peek.bpf.c`.
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/peek.o"));

/// How often all queries of a search together are repeated, and the pause before each repetition.
///
/// The kernel skips a program at a perf-event tracepoint while it runs another such program on that CPU, or changes a map
/// there (`bpf_prog_active`). On a preemptible kernel that can last until another thread runs.
pub(super) const REPETITIONS: u32 = 2000;
pub(super) const PAUSE: Duration = Duration::from_millis(1);

/// A number for getpgid(2) that no process has (they end at PID_MAX_LIMIT, 2^22) and that no other lanner asks for: two
/// searches that run at once see each other's calls. The index of a caller is added to it.
fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mix = monotonic_ns() ^ (u64::from(std::process::id()) << 20);
    let mix = u32::try_from(mix & 0xf_ffff).unwrap_or(0);
    0x4000_0000 | (mix << 10) | ((NEXT.fetch_add(1, Ordering::Relaxed) & 127) * CALLERS)
}

impl Caller {
    /// Its process id in the initial PID namespace.
    pub(crate) fn tgid(&self) -> u32 {
        u32::try_from(self.id >> 32).unwrap_or(0)
    }

    /// Its thread id in the initial PID namespace.
    pub(crate) fn tid(&self) -> u32 {
        u32::try_from(self.id & 0xffff_ffff).unwrap_or(0)
    }
}

/// The program while it is attached.
pub(crate) struct Peek {
    /// Marks the calls that are for the program. What the search creates is named after it, too.
    pub(crate) magic: u32,
    kind: TracepointKind,
    record: RecordOffsets,
    /// The number of the last query.
    number: u32,
    /// How many repetitions are left.
    repetitions: u32,
    // dropped before its program
    _perf_events: PerfEvents,
    ebpf: Ebpf,
    maps: PeekMaps,
}

/// Where the record of the perf-event tracepoint has a call's number and its first argument. A raw tracepoint has no
/// record.
#[derive(Debug, Clone, Copy, Default)]
struct RecordOffsets {
    id: u32,
    argument: u32,
}

/// The maps of `peek.bpf.c`.
struct PeekMaps {
    query: Array<MapData, Query>,
    callers: Array<MapData, Caller>,
    answer: Array<MapData, Answer>,
    submission: Array<MapData, Submission>,
}

/// Calls getpgid(2) so that the program records the caller at this index, and answers the query if the index is 0.
/// This is a single system call, so that a forked child may make it.
pub(crate) fn identify(magic: u32, index: u8) {
    let argument = libc::pid_t::try_from(magic + u32::from(index)).unwrap_or(-1);
    // SAFETY: getpgid(2) touches no memory. It fails because there is no such process, which does not matter.
    unsafe { libc::getpgid(argument) };
}

/// The same through the 32-bit call gate. Where the kernel has none, the caller dies: this is for children alone.
#[cfg(target_arch = "x86_64")]
pub(crate) fn identify_compat(magic: u32, index: u8) {
    const GETPGID: u64 = 132;
    let argument = u64::from(magic + u32::from(index));
    // SAFETY: the call gate changes rax only (and r8 to r11 on old kernels); rbx is restored.
    unsafe {
        core::arch::asm!(
            "xchg rbx, {argument}",
            "int 0x80",
            "xchg rbx, {argument}",
            argument = inout(reg) argument => _,
            inout("rax") GETPGID => _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
}

impl Peek {
    /// Loads the program, and attaches it to a raw tracepoint or, where this kernel has none, to a perf-event
    /// tracepoint. `cpu` is one that is online.
    pub(crate) fn load(
        features: Features,
        cpu: u32,
        loader: &mut EbpfLoader<'_>,
    ) -> Result<Self, OffsetsError> {
        let mut ebpf = loader
            .load(OBJECT)
            .map_err(|error| ObjectError::CreateMaps(error.into()))?;
        let maps = PeekMaps {
            query: maps::take(&mut ebpf, "query")?,
            callers: maps::take(&mut ebpf, "callers")?,
            answer: maps::take(&mut ebpf, "answer")?,
            submission: maps::take(&mut ebpf, "submission")?,
        };
        let mut perf_events = PerfEvents::default();
        let (kind, record) = match attach_raw(features, &mut ebpf) {
            Ok(()) => (TracepointKind::Raw, RecordOffsets::default()),
            Err(raw) => {
                let attached = attach_perf_event(features, cpu, &mut ebpf, &mut perf_events);
                tracing::debug!("raw tracepoints cannot be used: {}", Chain(&raw));
                let (tracefs, record) = attached.map_err(|source| OffsetsError::Attach {
                    raw: Box::new(raw),
                    source: Box::new(source),
                })?;
                (TracepointKind::PerfEvent(tracefs), record)
            }
        };
        Ok(Self {
            magic: unique(),
            kind,
            record,
            number: 0,
            repetitions: REPETITIONS,
            _perf_events: perf_events,
            ebpf,
            maps,
        })
    }

    /// Detaches the program, and returns the kind of tracepoint that it was attached to.
    pub(crate) fn detach(self) -> TracepointKind {
        tracing::debug!(
            "{} queries, {} of them repetitions",
            self.number,
            REPETITIONS - self.repetitions
        );
        self.kind
    }

    /// Asks the program to read, and makes it run by `call`. None: it cannot read, or `call` failed.
    fn ask(
        &mut self,
        address: u64,
        relative: bool,
        len: usize,
        mut call: impl FnMut() -> Option<()>,
    ) -> Option<Vec<u8>> {
        let len = len.min(ANSWER_SIZE);
        loop {
            self.number += 1;
            let query = Query {
                address,
                len: u32::try_from(len).ok()?,
                magic: self.magic,
                relative: u32::from(relative),
                id_offset: self.record.id,
                argument_offset: self.record.argument,
                number: self.number,
            };
            self.maps.query.set(0, query, 0).ok()?;
            call()?;
            let answer = self.maps.answer.get(&0, 0).ok()?;
            if answer.number == u64::from(self.number) {
                return (answer.error == 0).then(|| answer.bytes.get(..len).map(<[u8]>::to_vec))?;
            }
            self.repetitions = self.repetitions.checked_sub(1)?;
            thread::sleep(PAUSE);
        }
    }

    /// Reads from the task_struct of the thread that calls [`identify`] with index 0 in `run`. `from` is an offset in
    /// it.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn read_task_of_caller(
        &mut self,
        from: usize,
        len: usize,
        run: impl FnMut() -> Option<()>,
    ) -> Option<Vec<u8>> {
        self.ask(from as u64, true, len, run)
    }

    /// Reads at most [`ANSWER_SIZE`] bytes of kernel memory. None: the kernel cannot read all of them.
    pub(crate) fn read(&mut self, address: u64, len: usize) -> Option<Vec<u8>> {
        let magic = self.magic;
        self.ask(address, false, len, || {
            identify(magic, 0);
            Some(())
        })
    }

    /// The arguments of the tracepoint that submitted operations of io_uring pass, from the last one that `submit` submits.
    pub(crate) fn submission(&mut self, submit: impl FnOnce() -> Option<()>) -> Option<[u64; 2]> {
        const PROGRAMS: [(&str, &str); 2] = [
            ("raw_submit_req", "io_uring_submit_req"),
            ("raw_submit_sqe", "io_uring_submit_sqe"),
        ];
        let id = self.me()?.id;
        let nothing = Submission {
            id,
            arguments: [0; 2],
        };
        self.maps.submission.set(0, nothing, 0).ok()?;
        let (program, link) = PROGRAMS.iter().find_map(|&(name, tracepoint)| {
            let Program::RawTracePoint(program) = programs::find(&mut self.ebpf, name).ok()? else {
                return None;
            };
            if program.fd().is_err() {
                program.load().ok()?;
            }
            Some((name, program.attach(tracepoint).ok()?))
        })?;
        let submitted = submit();
        if let Ok(Program::RawTracePoint(program)) = programs::find(&mut self.ebpf, program) {
            let _ = program.detach(link);
        }
        submitted?;
        let seen = self.maps.submission.get(&0, 0).ok()?;
        (seen.arguments[0] != 0).then_some(seen.arguments)
    }

    /// The caller of [`identify`] with this index.
    pub(crate) fn caller(&self, index: u8) -> Option<Caller> {
        self.maps
            .callers
            .get(&u32::from(index), 0)
            .ok()
            .filter(|caller| caller.task != 0)
    }

    /// This thread as a caller.
    pub(crate) fn me(&mut self) -> Option<Caller> {
        self.read(0, 0);
        self.caller(0)
    }

    /// Reads 8 bytes of kernel memory as a number.
    pub(crate) fn read_u64(&mut self, address: u64) -> Option<u64> {
        self.read(address, 8).and_then(|bytes| u64_at(&bytes, 0))
    }

    /// Reads a large struct, as far as it can be read: at most `most` bytes.
    pub(crate) fn read_prefix(&mut self, address: u64, most: usize) -> Vec<u8> {
        const STEP: usize = 1024;
        let mut bytes = Vec::with_capacity(most);
        while bytes.len() < most {
            match self.read(address + bytes.len() as u64, STEP.min(most - bytes.len())) {
                Some(more) => bytes.extend_from_slice(&more),
                None => break,
            }
        }
        bytes
    }
}

fn load(ebpf: &mut Ebpf, name: &'static str) -> Result<(), ObjectError> {
    programs::load(programs::find(ebpf, name)?).map_err(|error| ObjectError::LoadProgram {
        program: name.to_owned(),
        source: error.into(),
    })
}

fn attach_raw(features: Features, ebpf: &mut Ebpf) -> Result<(), PeekError> {
    const NAME: &str = "raw_peek";
    const TRACEPOINT: &str = "sys_enter";
    if features.hides(Feature::RawTracepoints) {
        return Err(PeekError::Hidden(Feature::RawTracepoints));
    }
    load(ebpf, NAME)?;
    let Program::RawTracePoint(program) = programs::find(ebpf, NAME)? else {
        return Err(AttachError::WrongType {
            program: NAME.to_owned(),
        }
        .into());
    };
    program
        .attach(TRACEPOINT)
        .map_err(|error| AttachError::RawTracepoint {
            program: NAME.to_owned(),
            tracepoint: TRACEPOINT,
            source: error.into(),
        })?;
    Ok(())
}

fn attach_perf_event(
    features: Features,
    cpu: u32,
    ebpf: &mut Ebpf,
    perf_events: &mut PerfEvents,
) -> Result<(Tracefs, RecordOffsets), PeekError> {
    const NAME: &str = "tp_peek";
    const TRACEPOINT: &str = "raw_syscalls/sys_enter";
    let tracefs = Tracefs::open(features)?;
    let record = RecordOffsets {
        id: tracefs.field(TRACEPOINT, "id")?,
        argument: tracefs.field(TRACEPOINT, "args")?,
    };
    load(ebpf, NAME)?;
    let program = programs::find(ebpf, NAME)?;
    let fd = program.fd().map_err(|error| AttachError::NotLoaded {
        program: NAME.to_owned(),
        source: BpfError::from(error),
    })?;
    perf_events
        .attach_tracepoint(&tracefs, cpu, TRACEPOINT, fd.as_fd())
        .map_err(|source| AttachError::Tracepoint {
            program: NAME.to_owned(),
            tracepoint: TRACEPOINT,
            source,
        })?;
    Ok((tracefs, record))
}

impl std::fmt::Debug for Peek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peek")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// The 64-bit number at an offset.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The 32-bit number at an offset.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The 16-bit number at an offset.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Whether a number can be the address of a struct in the kernel.
pub(crate) fn is_pointer(value: u64) -> bool {
    value > 0xff00_0000_0000_0000 && value < 0xffff_ffff_ffff_f000 && value.is_multiple_of(8)
}

/// The pointers in a piece of memory, each with its offset.
pub(crate) fn pointers(bytes: &[u8]) -> impl Iterator<Item = (usize, u64)> + '_ {
    bytes
        .chunks_exact(8)
        .enumerate()
        .filter_map(|(at, chunk)| Some((at * 8, u64::from_ne_bytes(chunk.try_into().ok()?))))
        .filter(|&(_, value)| is_pointer(value))
}

/// The offsets at which a piece of memory has this 32-bit number.
pub(crate) fn offsets_of(bytes: &[u8], value: u32) -> impl Iterator<Item = usize> + '_ {
    bytes
        .chunks_exact(4)
        .enumerate()
        .filter_map(move |(at, chunk)| (chunk == value.to_ne_bytes()).then_some(at * 4))
}
