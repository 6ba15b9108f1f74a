//! Reads kernel memory through the program of `peek.bpf.c`, which runs when we call getpgid(2) with a
//! number that is no process's.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};

use aya::maps::{Array, Map, MapData, MapError};
use aya::programs::Program;
use aya::{Ebpf, EbpfLoader, Pod};
use driver_api::driver::OpenError;
use driver_ebpf::life::monotonic_ns;

use crate::attach::tracefs::Tracefs;
use crate::attach::{Events, Way, lacks};
use crate::load::{failed, said};

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/peek.o"));

/// Bytes that one look sees.
const SEEN: usize = 4096;
/// Places of `lookers`, in `peek.bpf.c`.
const PLACES: u32 = 8;

/// A number for getpgid(2) that is no process's (they end at PID_MAX_LIMIT, 2^22) and that nobody else asks
/// for: two searches at once see each other's calls. Places are added to it.
fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mix = monotonic_ns() ^ (u64::from(std::process::id()) << 20);
    let mix = u32::try_from(mix & 0xf_ffff).unwrap_or(0);
    0x4000_0000 | (mix << 10) | ((NEXT.fetch_add(1, Ordering::Relaxed) & 127) * PLACES)
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Wish {
    address: u64,
    len: u32,
    magic: u32,
    relative: u32,
    id_at: u32,
    argument_at: u32,
    pad: u32,
}

/// Who made a call.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Looker {
    /// The address of its `struct task_struct`.
    pub(crate) task: u64,
    id: u64,
    /// The beginning of the task: its `struct thread_info`.
    pub(crate) head: [u8; 128],
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Seen {
    error: i64,
    bytes: [u8; SEEN],
}

// SAFETY: none of the three has padding, and every pattern of bits is one.
unsafe impl Pod for Wish {}
// SAFETY: as above.
unsafe impl Pod for Looker {}
// SAFETY: as above.
unsafe impl Pod for Seen {}

impl Looker {
    pub(crate) fn tgid(&self) -> u32 {
        u32::try_from(self.id >> 32).unwrap_or(0)
    }

    pub(crate) fn tid(&self) -> u32 {
        u32::try_from(self.id & 0xffff_ffff).unwrap_or(0)
    }
}

/// The program, while it is attached.
pub(crate) struct Peek {
    /// What its calls are told by, and what is made for it is named after.
    pub(crate) magic: u32,
    way: Way,
    /// Where a call's number and its first argument stand in the record of a tracepoint.
    record: (u32, u32),
    // dropped before its program
    _events: Events,
    _ebpf: Ebpf,
    wish: Array<MapData, Wish>,
    lookers: Array<MapData, Looker>,
    seen: Array<MapData, Seen>,
}

/// Calls getpgid(2) so that the program sees who does; nothing but one system call, for forked children.
pub(crate) fn show(magic: u32, place: u8) {
    // SAFETY: getpgid(2) touches no memory; there is no such process, which is no matter.
    unsafe { libc::getpgid(libc::pid_t::try_from(magic + u32::from(place)).unwrap_or(-1)) };
}

/// The same through the 32-bit call gate. Where the kernel has none, the caller dies: for children alone.
#[cfg(target_arch = "x86_64")]
pub(crate) fn show_compat(magic: u32, place: u8) {
    const GETPGID: u64 = 132;
    let argument = u64::from(magic + u32::from(place));
    // SAFETY: the call gate changes rax only (and r8 to r11 on old kernels); rbx is put back.
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
    /// Loads and attaches it, at a raw tracepoint or, where this kernel has none, at one of perf events.
    pub(crate) fn load(loader: &mut EbpfLoader<'_>) -> Result<Self, OpenError> {
        let step = || failed("load the program that looks for offsets");
        let mut ebpf = loader.load(OBJECT).map_err(|e| step()(said(&e)))?;
        let mut events = Events::default();
        let (way, record) = match attach_raw(&mut ebpf) {
            Ok(()) => (Way::Raw, (0, 0)),
            Err(raw) => {
                let (tracefs, record) = attach_tracepoint(&mut ebpf, &mut events).map_err(|why| {
                    failed("attach to the beginning of calls")(format!(
                        "as a raw tracepoint (since Linux 4.17): {raw}; as one of perf events: {why}"
                    ))
                })?;
                tracing::debug!("perf-event tracepoints are used, as raw ones cannot be: {raw}");
                (Way::Tracepoints(tracefs), record)
            }
        };
        let peek = Self {
            magic: unique(),
            way,
            record,
            _events: events,
            wish: take(&mut ebpf, "wish")?,
            lookers: take(&mut ebpf, "lookers")?,
            seen: take(&mut ebpf, "seen")?,
            _ebpf: ebpf,
        };
        Ok(peek)
    }

    /// Takes the program away, and says how programs get to run here.
    pub(crate) fn detach(self) -> Way {
        self.way
    }

    fn wish(&mut self, address: u64, relative: bool, len: usize) -> Option<()> {
        let wish = Wish {
            address,
            len: u32::try_from(len).ok()?,
            magic: self.magic,
            relative: u32::from(relative),
            id_at: self.record.0,
            argument_at: self.record.1,
            pad: 0,
        };
        self.wish.set(0, wish, 0).ok()
    }

    fn seen(&self, len: usize) -> Option<Vec<u8>> {
        let seen = self.seen.get(&0, 0).ok()?;
        (seen.error == 0).then(|| seen.bytes.get(..len).map(<[u8]>::to_vec))?
    }

    /// What lies so far behind the beginning of the task that `show` is called by, with the number 0, in `run`.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn read_of_looker(
        &mut self,
        from: usize,
        len: usize,
        run: impl FnOnce() -> Option<()>,
    ) -> Option<Vec<u8>> {
        self.wish(from as u64, true, len.min(SEEN))?;
        run()?;
        self.seen(len.min(SEEN))
    }

    /// What lies at an address of the kernel; none where nothing does.
    pub(crate) fn read(&mut self, address: u64, len: usize) -> Option<Vec<u8>> {
        let len = len.min(SEEN);
        self.wish(address, false, len)?;
        show(self.magic, 0);
        self.seen(len)
    }

    /// Who has called `show` with this number.
    pub(crate) fn looker(&self, place: u8) -> Option<Looker> {
        self.lookers
            .get(&u32::from(place), 0)
            .ok()
            .filter(|looker| looker.task != 0)
    }

    /// Ourselves.
    pub(crate) fn me(&mut self) -> Option<Looker> {
        self.read(0, 0);
        self.looker(0)
    }

    /// A number of the kernel's.
    pub(crate) fn word(&mut self, address: u64) -> Option<u64> {
        self.read(address, 8).and_then(|bytes| word_at(&bytes, 0))
    }

    /// The bytes of a large struct, as far as they can be read.
    pub(crate) fn read_far(&mut self, address: u64, most: usize) -> Vec<u8> {
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

fn attach_raw(ebpf: &mut Ebpf) -> Result<(), String> {
    if lacks("raw_tracepoints") {
        return Err("LANNER_LEGACY_WITHOUT has raw_tracepoints".to_owned());
    }
    let Some(Program::RawTracePoint(program)) = ebpf.program_mut("raw_peek") else {
        return Err("it is not there: this build is broken".to_owned());
    };
    program.load().map_err(|error| said(&error))?;
    program.attach("sys_enter").map_err(|error| said(&error))?;
    Ok(())
}

fn attach_tracepoint(
    ebpf: &mut Ebpf,
    events: &mut Events,
) -> Result<(Tracefs, (u32, u32)), String> {
    const ENTER: &str = "raw_syscalls/sys_enter";
    let tracefs = Tracefs::open()?;
    let plain = |error: io::Error| format!("{ENTER}: {error}");
    let record = (
        tracefs.field(ENTER, "id").map_err(plain)?,
        tracefs.field(ENTER, "args").map_err(plain)?,
    );
    let Some(Program::TracePoint(program)) = ebpf.program_mut("tp_peek") else {
        return Err("it is not there: this build is broken".to_owned());
    };
    program.load().map_err(|error| said(&error))?;
    let fd = program.fd().map_err(|error| said(&error))?;
    let cpus = aya::util::online_cpus().map_err(|(path, error)| format!("{path}: {error}"))?;
    let cpu = cpus.first().copied().unwrap_or(0);
    events
        .tracepoint(&tracefs, cpu, ENTER, fd.as_fd())
        .map_err(plain)?;
    Ok((tracefs, record))
}

fn take<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<T, OpenError> {
    let step = || failed(format!("open the map {name}"));
    let map = ebpf
        .take_map(name)
        .ok_or_else(|| step()("it is not there: this build is broken".to_owned()))?;
    T::try_from(map).map_err(|e| step()(said(&e)))
}

impl std::fmt::Debug for Peek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peek")
    }
}

/// Eight bytes of a piece of memory as a number.
pub(crate) fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Four bytes of a piece of memory as a number.
pub(crate) fn half_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Two bytes of a piece of memory as a number.
pub(crate) fn quarter_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Whether a number can be the address of a struct in the kernel.
pub(crate) fn is_pointer(value: u64) -> bool {
    value > 0xff00_0000_0000_0000 && value < 0xffff_ffff_ffff_f000 && value.is_multiple_of(8)
}

/// Every pointer in a piece of memory, with its place.
pub(crate) fn pointers(bytes: &[u8]) -> impl Iterator<Item = (usize, u64)> + '_ {
    bytes
        .chunks_exact(8)
        .enumerate()
        .filter_map(|(at, chunk)| Some((at * 8, u64::from_ne_bytes(chunk.try_into().ok()?))))
        .filter(|&(_, value)| is_pointer(value))
}

/// Every place where this 32-bit number stands.
pub(crate) fn places(bytes: &[u8], value: u32) -> impl Iterator<Item = usize> + '_ {
    bytes
        .chunks_exact(4)
        .enumerate()
        .filter_map(move |(at, chunk)| (chunk == value.to_ne_bytes()).then_some(at * 4))
}
