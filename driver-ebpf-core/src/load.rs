//! Brings the programs into the kernel and attaches them.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use driver_api::driver::OpenError;
use driver_api::error::Chain;
use driver_api::event::Abi;
use driver_api::plan::flag;
use driver_api::request::{Limits, Request, SyscallSet, Target};
use driver_api::support::Gap;
use driver_api::{plan, table};
use driver_ebpf::capture::EbpfCapture;
use driver_ebpf::follow::Followed;
use driver_ebpf::missed::Missed;
use driver_ebpf::{memory, own, quiet, start, undecided};
use libbpf_rs::{
    ErrorKind, Link, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, OpenObject, PrintLevel,
};
use zerocopy::{Immutable, IntoBytes};

use crate::NAME;
use crate::capture::RingSource;
use crate::entry::{self, Entry};
use crate::features::Features;
use crate::optional::{self, Refused};
use crate::ring::{Layout, Rings};

/// The programs for Linux 6.9 and later (`bpf/steps.h`).
static MAY_GOTO_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/core-goto.o"));
/// For Linux 5.12 and later.
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/core.o"));
/// For those before. Programs at functions could be preempted in 5.11, which these could not stand.
static OLD_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/core-old.o"));

/// The same, each, for kernels that have no types: attached by name, and by helper calls alone.
static UNTYPED_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/core-untyped.o"));
static OLD_UNTYPED_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/core-untyped-old.o"));

/// What to try: programs, and a way to see entries.
type Way = (&'static [u8], Entry);

/// With the kernel's own types, in this order. The first three are for kernels that have may_goto.
static TYPED: [Way; 7] = [
    (MAY_GOTO_OBJECT, Entry::Functions),
    (MAY_GOTO_OBJECT, Entry::Scheduler),
    (MAY_GOTO_OBJECT, Entry::Tracepoint),
    (OBJECT, Entry::Functions),
    (OBJECT, Entry::Scheduler),
    (OBJECT, Entry::Tracepoint),
    (OLD_OBJECT, Entry::Tracepoint),
];
const MAY_GOTO: usize = 3;
/// Without.
static UNTYPED: [Way; 2] = [
    (UNTYPED_OBJECT, Entry::Tracepoint),
    (OLD_UNTYPED_OBJECT, Entry::Tracepoint),
];

/// Reached by tail call alone: place in `tails`, name.
const TAILS: [(u32, &str); 2] = [(0, "sys_exit_exec"), (1, "sys_exit_messages")];

/// `struct settings` of `core.bpf.c`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct Settings {
    self_tgid: u32,
    execve_nr: u32,
    tree: u32,
    chunks: u32,
    chunk_shift: u32,
    late: u32,
}

/// What libbpf said last: the verifier's reasons are nowhere else.
static LIBBPF_SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn listen(level: PrintLevel, message: String) {
    tracing::debug!(target: "libbpf", ?level, "{}", message.trim_end());
    let mut said = LIBBPF_SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() > 64 {
        said.remove(0);
    }
    said.push(message);
}

/// What libbpf said since this was asked last.
fn said() -> String {
    std::mem::take(&mut *LIBBPF_SAID.lock().unwrap_or_else(PoisonError::into_inner)).concat()
}

/// An error of libbpf, with the last lines of what the verifier said.
fn failed(step: impl Into<String>) -> impl FnOnce(libbpf_rs::Error) -> OpenError {
    let step = step.into();
    move |error| OpenError::failed(NAME, step)(explained(&error, &said()))
}

/// An error with the last lines of what libbpf said, and with what helps where it may be the limit of memory.
fn explained(error: &libbpf_rs::Error, said: &str) -> String {
    let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
    let mut cause = format!("{error:#}");
    // the verifier's "permission denied" comes with a log
    if error.kind() == ErrorKind::PermissionDenied
        && !said.contains("PROG LOAD LOG")
        && let Some(hint) = memory::hint()
    {
        cause.push_str("; ");
        cause.push_str(&hint);
    }
    if !last.is_empty() {
        cause.push_str("\n  ");
        cause.push_str(&last);
    }
    cause
}

/// The ways that may work: with a file in place of the kernel's own types, those that need none in the kernel.
fn ways(own_types: bool, btf: Option<&Path>) -> Vec<Way> {
    if !own_types && btf.is_some() {
        return UNTYPED.to_vec();
    }
    let features = Features::of_kernel();
    tracing::debug!("{features:?}");
    let ways = &TYPED[if features.may_goto { 0 } else { MAY_GOTO }..];
    let may_be = |way: &&Way| features.functions || way.1 != Entry::Functions;
    ways.iter().filter(may_be).copied().collect()
}

/// Whether a file can have a kernel's types: BTF by itself, or an ELF file (Documentation/bpf/btf.rst).
fn check_types(file: &Path) -> Result<(), OpenError> {
    let mut magic = [0; 4];
    let why = match File::open(file).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) if magic == *b"\x7fELF" || magic[..2] == 0xeb9f_u16.to_ne_bytes() => return Ok(()),
        Ok(()) => "it holds no BTF".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(OpenError::Unsupported {
        driver: NAME,
        what: format!("{} as the kernel's types", file.display()),
        why,
    })
}

/// Loads, attaches, and arranges for the target to be followed. `own_types`: whether the kernel's can be read.
pub(crate) fn open(
    request: &Request,
    own_types: bool,
    btf: Option<&Path>,
) -> Result<(EbpfCapture<RingSource>, Vec<Gap>), OpenError> {
    if !request.buffer.is_power_of_two() || request.buffer < 1 << 16 {
        return Err(OpenError::Unsupported {
            driver: NAME,
            what: format!("a buffer of {} bytes", request.buffer),
            why: "a ring has a power of two of at least 65536 bytes".to_owned(),
        });
    }
    btf.map_or(Ok(()), check_types)?;
    let command = start::prepare(NAME, &request.target)?;
    memory::raise();
    libbpf_rs::set_print(Some((PrintLevel::Warn, listen)));
    let cpus = libbpf_rs::num_possible_cpus().map_err(failed("count the CPUs"))?;
    let layout = Layout::new(cpus, request.buffer);
    let Started {
        object,
        maps,
        links,
        refused,
    } = start_programs(&ways(own_types, btf), request, layout, btf)?;
    let rings = Rings::new(
        layout,
        maps.rings.as_fd(),
        maps.chunks.as_fd(),
        maps.bell.as_fd(),
    )
    .map_err(OpenError::failed(NAME, "map the rings"))?;
    start::follow_target(&request.target, command.as_ref(), |tid, state| {
        maps.followed
            .update(&tid.to_ne_bytes(), &[state as u8], MapFlags::ANY)
            .map_err(|error| format!("cannot follow thread {tid}: {error:#}").into())
    })?;
    let mut missed = Missed::default();
    for program in object.progs().filter(|program| program.autoload()) {
        missed.watch(&program.name().to_string_lossy(), program.as_fd());
    }
    let source = RingSource {
        links,
        missed,
        rings,
        maps,
        object,
        capacity: layout.size() * layout.cpus,
    };
    let capture = EbpfCapture::new(NAME, source, command, request);
    let mut gaps = refused.gaps();
    gaps.extend(own::gap());
    Ok((capture, gaps))
}

/// Programs that run.
struct Started {
    object: Object,
    maps: Maps,
    links: Vec<Link>,
    refused: Refused,
}

/// Why programs do not run.
struct Stopped {
    /// The program that was refused, where it was one.
    program: Option<String>,
    error: OpenError,
}

impl From<OpenError> for Stopped {
    fn from(error: OpenError) -> Self {
        Self {
            program: None,
            error,
        }
    }
}

/// Loads and attaches the first of the objects, and the first of the ways to see calls that do not return,
/// that this kernel takes, without the programs that it refuses and a capture can do without. If it takes
/// none, the error is that of the first.
fn start_programs(
    ways: &[Way],
    request: &Request,
    layout: Layout,
    btf: Option<&Path>,
) -> Result<Started, OpenError> {
    let mut first = None;
    for (bytes, entry) in ways {
        // a command is followed from its first exec on, also if that fails
        if *entry == Entry::Scheduler && matches!(request.target, Target::Command(_)) {
            continue;
        }
        let mut refused = Refused::default();
        loop {
            match start_object(bytes, *entry, request, layout, btf, &refused) {
                Ok((object, maps, links)) => {
                    return Ok(Started {
                        object,
                        maps,
                        links,
                        refused,
                    });
                }
                Err(Stopped { program, error }) => {
                    tracing::debug!("{entry:?}: {}", Chain(&error));
                    let without = program.is_some_and(|program| {
                        refused.note(&program, &request.target, &Chain(&error).to_string())
                    });
                    if !without {
                        first.get_or_insert(error);
                        break;
                    }
                }
            }
        }
    }
    Err(first.unwrap_or_else(|| {
        OpenError::failed(NAME, "load its programs")("there are none: this build is broken")
    }))
}

fn start_object(
    bytes: &[u8],
    entry: Entry,
    request: &Request,
    layout: Layout,
    btf: Option<&Path>,
    refused: &Refused,
) -> Result<(Object, Maps, Vec<Link>), Stopped> {
    let mut builder = ObjectBuilder::default();
    if let Some(btf) = btf {
        builder
            .btf_custom_path(btf)
            .map_err(failed("take the kernel's types from the file"))?;
    }
    let mut open = builder
        .open_memory(bytes)
        .map_err(failed("read its own BPF object"))?;
    prepare_maps(&mut open, &request.target, layout, entry)?;
    entry::prepare(&mut open, entry)
        .map_err(OpenError::failed(NAME, "attach to the functions of calls"))?;
    for mut program in open.progs_mut() {
        if refused.has(&program.name().to_string_lossy()) {
            program.set_autoload(false);
        }
    }
    said();
    let object = quiet::undisturbed(|| open.load()).map_err(|error| {
        let said = said();
        Stopped {
            program: optional::named(&said).map(str::to_owned),
            error: OpenError::failed(NAME, "load its programs")(explained(&error, &said)),
        }
    })?;
    let maps = Maps::of(&object)?;
    maps.select(&undecided::watched(&request.selection), &request.limits)?;
    fill_tails(&object)?;
    let links = attach(&object)?;
    Ok((object, maps, links))
}

fn prepare_maps(
    open: &mut OpenObject,
    target: &Target,
    layout: Layout,
    entry: Entry,
) -> Result<(), OpenError> {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let settings = Settings {
        self_tgid: own::tgid().unwrap_or_else(|_| std::process::id()),
        execve_nr: table::by_name("execve")
            .and_then(|call| call.number(Abi::NATIVE))
            .unwrap_or_default(),
        tree: u32::from(!matches!(target, Target::Host)),
        chunks: narrow(layout.chunks),
        chunk_shift: layout.chunk.trailing_zeros(),
        late: u32::from(entry == Entry::Scheduler),
    };
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if name == "rings" {
            map.set_max_entries(narrow(layout.cpus))
                .map_err(failed("have a ring for each CPU"))?;
        } else if name == "chunks" {
            map.set_value_size(narrow(layout.value()))
                .and_then(|()| map.set_max_entries(narrow(layout.values())))
                .map_err(failed("size the rings"))?;
        } else if name.ends_with(".settings") {
            map.set_initial_value(settings.as_bytes())
                .map_err(failed("set its settings"))?;
        }
    }
    Ok(())
}

fn fill_tails(object: &Object) -> Result<(), OpenError> {
    let tails = handle(object, "tails")?;
    for program in object.progs().filter(|program| program.autoload()) {
        if let Some((at, name)) = TAILS.iter().find(|(_, name)| program.name() == *name) {
            let fd = program.as_fd().as_raw_fd().to_ne_bytes();
            tails
                .update(&at.to_ne_bytes(), &fd, MapFlags::ANY)
                .map_err(failed(format!("chain the program {name}")))?;
        }
    }
    Ok(())
}

fn attach(object: &Object) -> Result<Vec<Link>, Stopped> {
    let mut links = Vec::new();
    for program in object.progs_mut().filter(|program| program.autoload()) {
        let name = program.name().to_string_lossy().into_owned();
        if TAILS.iter().any(|(_, tail)| *tail == name) {
            continue;
        }
        let link = program.attach().map_err(|error| Stopped {
            error: failed(format!("attach the program {name}"))(error),
            program: Some(name),
        })?;
        links.push(link);
    }
    Ok(links)
}

fn handle(object: &Object, name: &str) -> Result<MapHandle, OpenError> {
    let map = object
        .maps()
        .find(|map| map.name().to_string_lossy().ends_with(name))
        .ok_or_else(|| {
            OpenError::failed(NAME, format!("find the map {name} in its own object"))(
                "it is not there: this build is broken",
            )
        })?;
    MapHandle::try_from(&map).map_err(failed(format!("open the map {name}")))
}

/// The maps that user space talks through.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) bell: MapHandle,
    rings: MapHandle,
    chunks: MapHandle,
    gate: MapHandle,
    plans: MapHandle,
    variants: MapHandle,
    followed: MapHandle,
    losses: MapHandle,
}

impl Maps {
    fn of(object: &Object) -> Result<Self, OpenError> {
        Ok(Self {
            bell: handle(object, "bell")?,
            rings: handle(object, "rings")?,
            chunks: handle(object, "chunks")?,
            gate: handle(object, ".data.gate")?,
            plans: handle(object, "plans")?,
            variants: handle(object, "variants")?,
            followed: handle(object, "followed")?,
            losses: handle(object, "losses")?,
        })
    }

    /// Writes the plans of a selection.
    pub(crate) fn select(&self, selection: &SyscallSet, limits: &Limits) -> Result<(), OpenError> {
        let mut gate = [0u8; plan::NUMBERS];
        let mut plans = Vec::new();
        for (bit, abi) in [(1, Abi::NATIVE), (2, Abi::COMPAT)] {
            for (open, plan) in gate.iter_mut().zip(plan::array(abi, selection, limits)) {
                if plan.flags & (flag::SELECTED | flag::EXEC) != 0 {
                    *open |= bit;
                }
                plans.extend_from_slice(plan.as_bytes());
            }
        }
        let numbers: Vec<u32> = (0u32..).take(2 * plan::NUMBERS).collect();
        fill(&self.plans, numbers.as_bytes(), &plans, numbers.len())
            .map_err(failed("write the capture plan"))?;
        let (mut keys, mut ops, mut count) = (Vec::new(), Vec::new(), 0);
        for (key, op) in plan::variants(Abi::NATIVE, limits)
            .into_iter()
            .chain(plan::variants(Abi::COMPAT, limits))
        {
            keys.extend_from_slice(key.as_bytes());
            ops.extend_from_slice(op.as_bytes());
            count += 1;
        }
        fill(&self.variants, &keys, &ops, count)
            .map_err(failed("write the operations of variants"))?;
        self.gate
            .update(&0u32.to_ne_bytes(), &gate, MapFlags::ANY)
            .map_err(failed("open the gate for the selected calls"))
    }

    /// Events lost so far, by cause.
    pub(crate) fn lost(&self) -> [u64; 4] {
        let mut lost = [0; 4];
        for (cause, sum) in (0u32..).zip(&mut lost) {
            if let Ok(Some(values)) = self
                .losses
                .lookup_percpu(&cause.to_ne_bytes(), MapFlags::ANY)
            {
                *sum = values
                    .iter()
                    .filter_map(|v| v.get(..8)?.try_into().ok())
                    .map(u64::from_ne_bytes)
                    .sum();
            }
        }
        lost
    }
}

impl Followed for Maps {
    fn tids(&self) -> Vec<u32> {
        self.followed
            .keys()
            .filter_map(|key| key.try_into().ok().map(u32::from_ne_bytes))
            .collect()
    }

    fn add(&mut self, tid: u32) {
        let _ = self.followed.update(
            &tid.to_ne_bytes(),
            &[start::Follow::Active as u8],
            MapFlags::NO_EXIST,
        );
    }

    fn remove(&mut self, tid: u32) {
        let _ = self.followed.delete(&tid.to_ne_bytes());
    }
}

/// Writes so many entries at once.
fn fill(map: &MapHandle, keys: &[u8], values: &[u8], count: usize) -> libbpf_rs::Result<()> {
    let Some(count) = u32::try_from(count).ok().filter(|count| *count > 0) else {
        return Ok(());
    };
    map.update_batch(keys, values, count, MapFlags::ANY, MapFlags::ANY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The programs, but for one that no verifier takes (`REFUSE_FORK` in `core.bpf.c`).
    static WITHOUT_FORK: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/core-refused.o"));

    fn start(target: Target) -> Result<Started, OpenError> {
        libbpf_rs::set_print(Some((PrintLevel::Warn, listen)));
        let request = Request {
            target,
            selection: SyscallSet::all(),
            limits: Limits::default(),
            buffer: 1 << 16,
        };
        let cpus = libbpf_rs::num_possible_cpus().expect("there are CPUs");
        let ways: [Way; 1] = [(WITHOUT_FORK, Entry::Tracepoint)];
        start_programs(&ways, &request, Layout::new(cpus, request.buffer), None)
    }

    /// Needs root, and a kernel that takes the programs for 5.12 and later.
    #[test]
    fn a_refused_program_is_a_named_gap_and_the_others_run() {
        let started = start(Target::Host).expect("the others run");
        let [gap] = &started.refused.gaps()[..] else {
            panic!("one gap, not {:?}", started.refused);
        };
        assert!(gap.what.contains("births"), "{gap:?}");
        assert!(gap.why.contains("process_fork"), "{gap:?}");
        assert!(
            format!("{:?}", started.refused).contains("invalid mem access"),
            "the verifier's words are kept: {:?}",
            started.refused
        );
        assert!(started.links.len() >= 4, "{} links", started.links.len());
    }

    #[test]
    fn processes_are_not_followed_by_halves() {
        let Err(error) = start(Target::Pids(vec![1])) else {
            panic!("without births, children would be missed");
        };
        let error = Chain(&error).to_string();
        assert!(error.contains("process_fork"), "{error}");
    }
}
