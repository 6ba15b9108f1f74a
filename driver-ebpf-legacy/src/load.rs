//! Opens the driver: finds offsets, loads the programs, attaches them, and makes them follow the target.

use std::io;

use aya::EbpfLoader;
use bpf_syscall::{Attach, Instruction, ProgramKind, load_program};
use driver_api::driver::{OpenError, Opened};
use driver_api::error::Chain;
use driver_api::event::Abi;
use driver_api::host::Trial;
use driver_api::request::{Request, Target};
use driver_api::support::Gap;
use driver_api::table;
use driver_ebpf::capture::EbpfCapture;
use driver_ebpf::packed::Packed;
use driver_ebpf::{interrupted, memory, quiet, start, trial};

use crate::NAME;
use crate::attach::tracefs::Tracefs;
use crate::capture::PerfSource;
use crate::error::{FollowError, LoadError, ObjectError};
use crate::kernel::Features;
use crate::layout::Settings;
use crate::loaded::{AttachOptions, Loaded};
use crate::maps::{self, OutputMaps};
use crate::offsets::{self, Discovered};
use crate::perf::{Batches, BufferError, MIN_SIZE, Perf, SLOTS, page_size};
use crate::{programs, sys};

/// The programs, compiled from `bpf/legacy.bpf.c`.
pub(crate) static OBJECT: Packed =
    Packed::new(include_bytes!(concat!(env!("OUT_DIR"), "/legacy.o.z")));

/// Whether this kernel refuses programs at raw tracepoints, because it does not know them.
pub(crate) fn lacks_raw_tracepoints() -> bool {
    let nothing = [Instruction::set(0), Instruction::EXIT];
    load_program(ProgramKind::RawTracepoint, Attach::OfKind, &nothing)
        .is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
}

/// Opens a perf event for the output of one CPU.
pub(crate) fn try_perf_events() -> Trial {
    let online = aya::util::online_cpus().unwrap_or_default();
    trial::trial(&sys::open_output(online.first().copied().unwrap_or(0), 1))
}

/// Why the ids of tracepoints cannot be read. None: they can be.
pub(crate) fn no_tracefs(features: Features) -> Option<String> {
    Tracefs::open(features)
        .and_then(|tracefs| tracefs.id("raw_syscalls/sys_exit"))
        .err()
        .map(|error| Chain(&error).to_string())
}

/// Opens a capture.
pub(crate) fn open(features: Features, request: &Request) -> Result<Opened, OpenError> {
    if !request.buffer.is_power_of_two()
        || request.buffer < MIN_SIZE
        || !request.buffer.is_multiple_of(page_size())
    {
        return Err(OpenError::Unsupported {
            driver: NAME,
            what: format!("a buffer of {} bytes", request.buffer),
            why: format!(
                "the size of a perf buffer is a power of two of at least {MIN_SIZE} bytes"
            ),
        });
    }
    let command = start::prepare(NAME, &request.target)?;
    let mut gaps = Vec::new();
    let mut source = begin(features, request, &mut gaps)?;
    let followed = &mut source.loaded.maps.followed;
    start::follow_target(&request.target, command.as_ref(), |tid, state| {
        followed
            .insert(tid, state as u8, 0)
            .map_err(|error| FollowError::new(tid, error).into())
    })?;
    let capture = EbpfCapture::new(NAME, source, command, request);
    Ok(Opened {
        capture: Box::new(capture),
        gaps,
    })
}

/// Loads and attaches the programs.
fn begin(
    features: Features,
    request: &Request,
    gaps: &mut Vec<Gap>,
) -> Result<PerfSource, LoadError> {
    memory::raise();
    let cpus = possible_cpus()?;
    let online = aya::util::online_cpus().map_err(unlisted)?;
    let cpu = online.first().copied().unwrap_or(0);
    let mut loader = EbpfLoader::new();
    loader.btf(None).map_max_entries("slots", SLOTS * cpus);
    if matches!(request.target, Target::Host) {
        // nothing is looked up in it, and it would take 5 MiB
        loader.map_max_entries("followed", 1);
    }
    if !request.selection.times() {
        loader.map_max_entries("timed", 1);
    }
    let Discovered {
        offsets,
        tgid,
        kind,
    } = quiet::undisturbed(|| offsets::find(features, cpu, &mut loader, gaps))?;
    let object = OBJECT.unpack().map_err(ObjectError::Unpack)?;
    let mut ebpf = loader
        .load(&object)
        .map_err(|error| ObjectError::CreateMaps(error.into()))?;
    let (mut control, output) = maps::take_all(&mut ebpf)?;
    quiet::undisturbed(|| programs::load_all(&mut ebpf, &mut control.tails, &kind, gaps))?;
    let settings = Settings {
        self_tgid: tgid,
        execve_nr: table::by_name("execve")
            .and_then(|call| call.number(Abi::NATIVE))
            .unwrap_or_default(),
        tree: u32::from(!matches!(request.target, Target::Host)),
        late: 0,
        times_since: u64::from(request.selection.times()),
    };
    control.configure(settings, offsets)?;
    control.select(&interrupted::watched(&request.selection), &request.limits)?;
    let perf = open_buffers(output, &online, cpus, request.buffer)?;
    let mut loaded = Loaded::new(ebpf, control);
    let options = AttachOptions {
        features,
        kind: &kind,
        offsets: &offsets,
        cpu,
        late: !matches!(request.target, Target::Command(_)),
        times: request.selection.times(),
        calls: *request.selection.with_multiplexers().calls(),
    };
    quiet::undisturbed(|| loaded.attach(&options, gaps))?;
    Ok(PerfSource { loaded, perf })
}

/// Opens a perf buffer on each CPU that is online.
fn open_buffers(
    output: OutputMaps,
    online: &[u32],
    cpus: u32,
    size: usize,
) -> Result<Perf, LoadError> {
    let batches =
        Batches::new(output.slots, output.marks, cpus).map_err(|error| ObjectError::OpenMap {
            map: "slots",
            source: error.into(),
        })?;
    Perf::new(output.events, online, size, batches).map_err(|BufferError { cpu, source }| {
        let denied = source.raw_os_error() == Some(libc::EPERM);
        match memory::needed(online.len() * (MIN_SIZE + page_size())).filter(|_| denied) {
            Some(hint) => LoadError::LockedMemory { cpu, hint, source },
            None => LoadError::PerfBuffer { cpu, source },
        }
    })
}

/// The number of CPUs that can come online: a map per CPU has a value for each.
fn possible_cpus() -> Result<u32, LoadError> {
    let cpus = aya::util::nr_cpus().map_err(unlisted)?;
    u32::try_from(cpus).map_err(|_| LoadError::TooManyCpus {
        path: "/sys/devices/system/cpu/possible",
    })
}

fn unlisted((path, source): (&'static str, io::Error)) -> LoadError {
    LoadError::Cpus { path, source }
}
