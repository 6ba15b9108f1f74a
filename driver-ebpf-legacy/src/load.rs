//! Brings the programs into the kernel and attaches them.

use std::io;
use std::os::fd::AsFd;

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, ProgramArray};
use aya::programs::{Program, ProgramError, RawTracePoint};
use aya::{Ebpf, EbpfLoader, Pod};
use driver_api::driver::{OpenError, Opened};
use driver_api::event::{Abi, Loss};
use driver_api::plan::{Op, Plan, VariantKey};
use driver_api::request::{Limits, Request, SyscallSet, Target};
use driver_api::support::Gap;
use driver_api::{plan, table};
use driver_ebpf::capture::EbpfCapture;
use driver_ebpf::missed::Missed;
use driver_ebpf::{quiet, start};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use crate::NAME;
use crate::capture::PerfSource;
use crate::offsets::{self, Offsets};
use crate::perf::{Batches, Perf, SLOTS, page_size};

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/legacy.o"));

/// Reached by tail call alone: place in `tails` (operations by their code), name.
const TAILS: [(u32, &str); 15] = [
    (1, "op_simple"),
    (2, "op_simple"),
    (3, "op_vector"),
    (4, "op_gather"),
    (5, "op_message"),
    (6, "op_fd_path"),
    (7, "op_tuple"),
    (8, "op_messages"),
    (9, "op_variant"),
    (10, "op_walk"),
    (11, "exec_keep"),
    (12, "exec_exe"),
    (13, "exec_cwd"),
    (14, "exec_ids"),
    (15, "exec_strings"),
];

/// Program, and the tracepoint it is attached to. Births before calls: a followed process's child must
/// be known before it makes one.
const ATTACHED: [(&str, &str); 5] = [
    ("process_fork", "sched_process_fork"),
    ("process_exit", "sched_process_exit"),
    ("process_exec", "sched_process_exec"),
    ("sys_enter", "sys_enter"),
    ("sys_exit", "sys_exit"),
];

/// `struct settings` of `maps.h`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Settings {
    self_tgid: u32,
    execve_nr: u32,
    tree: u32,
}

// SAFETY: three numbers without padding; every pattern of bits is one.
unsafe impl Pod for Settings {}

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
struct PlanValue(Plan);

// SAFETY: as for Plan, which is FromBytes and IntoBytes: no padding, every pattern of bits is a plan.
unsafe impl Pod for PlanValue {}

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
struct KeyValue(VariantKey);

// SAFETY: as for PlanValue.
unsafe impl Pod for KeyValue {}

#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
struct OpValue(Op);

// SAFETY: as for PlanValue.
unsafe impl Pod for OpValue {}

/// An error with the next step for the user.
pub(crate) fn failed(step: impl Into<String>) -> impl FnOnce(String) -> OpenError {
    let step = step.into();
    move |cause| OpenError::Failed {
        driver: NAME,
        step,
        cause,
    }
}

/// The chain of causes in one line, and what to do where that is known.
pub(crate) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    let mut refused = false;
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            refused |= error.raw_os_error() == Some(libc::EPERM);
        }
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    if refused {
        text.push_str(
            " (before Linux 5.11 the locked-memory limit does this, too: raise it, `ulimit -l unlimited`, or give CAP_SYS_RESOURCE)",
        );
    }
    text
}

/// What the verifier said last, in a few lines.
fn refused(error: &ProgramError) -> String {
    if let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    {
        let log = verifier_log.to_string();
        let lines: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
        return format!("{io_error}\n  {last}");
    }
    said(error)
}

/// Loads, looks for offsets, attaches, and arranges for the target to be followed.
pub(crate) fn open(request: &Request) -> Result<Opened, OpenError> {
    let page = page_size();
    if !request.buffer.is_power_of_two()
        || request.buffer < 1 << 16
        || !request.buffer.is_multiple_of(page)
    {
        return Err(OpenError::Unsupported {
            driver: NAME,
            what: format!("a buffer of {} bytes", request.buffer),
            why: "a perf buffer has a power of two of at least 65536 bytes".to_owned(),
        });
    }
    let command = start::prepare(NAME, &request.target)?;
    // Before 5.11 BPF memory counts against it; where it cannot be raised it may suffice.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    let cpus = aya::util::nr_cpus()
        .map_err(|(path, error)| failed("count the CPUs")(format!("{path}: {error}")))?;
    let cpus = u32::try_from(cpus).unwrap_or(1);
    let mut loader = EbpfLoader::new();
    loader.btf(None).map_max_entries("slots", SLOTS * cpus);
    let found = quiet::undisturbed(|| offsets::find(&mut loader))?;
    let mut ebpf = loader
        .load(OBJECT)
        .map_err(|e| failed("create its maps")(said(&e)))?;
    let mut gaps = found.gaps;
    let tails = quiet::undisturbed(|| load_programs(&mut ebpf, &mut gaps))?;
    let mut loaded = Loaded::of(ebpf, tails)?;
    loaded.set(
        Settings {
            self_tgid: found.tgid,
            execve_nr: table::by_name("execve")
                .and_then(|call| call.number(Abi::NATIVE))
                .unwrap_or_default(),
            tree: u32::from(!matches!(request.target, Target::Host)),
        },
        found.offsets,
    )?;
    loaded
        .select(&request.selection, &request.limits)
        .map_err(failed("write the capture plan"))?;
    let perf = loaded.open_buffers(request.buffer, cpus)?;
    loaded.attach()?;
    start::follow_target(&request.target, command.as_ref(), |tid, state| {
        loaded
            .followed
            .insert(tid, state as u8, 0)
            .map_err(|error| format!("cannot follow thread {tid}: {}", said(&error)))
    })?;
    let source = PerfSource { loaded, perf };
    let capture = EbpfCapture::new(NAME, source, command, request);
    Ok(Opened {
        captures: vec![Box::new(capture)],
        gaps,
    })
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut RawTracePoint, OpenError> {
    let program = ebpf.program_mut(name).and_then(|program| match program {
        Program::RawTracePoint(program) => Some(program),
        _ => None,
    });
    program.ok_or_else(|| {
        failed(format!("find the program {name} in its own object"))(
            "it is not there: this build is broken".to_owned(),
        )
    })
}

/// Each operation is optional on its own: one that the verifier refuses is a gap.
fn load_programs(ebpf: &mut Ebpf, gaps: &mut Vec<Gap>) -> Result<ProgramArray<MapData>, OpenError> {
    for (name, _) in ATTACHED {
        program(ebpf, name)?
            .load()
            .map_err(|e| failed(format!("load the program {name}"))(refused(&e)))?;
    }
    let mut tails: ProgramArray<MapData> = take(ebpf, "tails")?;
    let mut loaded = "";
    for (at, name) in TAILS {
        let program = program(ebpf, name)?;
        if loaded != name
            && let Err(error) = program.load()
        {
            let why = refused(&error);
            tracing::warn!("the kernel refused the program {name}: {why}");
            gaps.push(Gap::new(
                format!("the program {name}"),
                format!(
                    "the kernel refused it: {}",
                    why.lines().next().unwrap_or_default()
                ),
                "",
            ));
            continue;
        }
        loaded = name;
        let chain = |error: &dyn std::error::Error| {
            failed(format!("chain the program {name}"))(said(error))
        };
        let fd = program.fd().map_err(|e| chain(&e))?;
        tails.set(at, fd, 0).map_err(|e| chain(&e))?;
    }
    Ok(tails)
}

fn no_map(name: &str) -> OpenError {
    let step = failed(format!("find the map {name} in its own object"));
    step("it is not there: this build is broken".to_owned())
}

fn take<T: TryFrom<Map, Error = aya::maps::MapError>>(
    ebpf: &mut Ebpf,
    name: &str,
) -> Result<T, OpenError> {
    let map = ebpf.take_map(name).ok_or_else(|| no_map(name))?;
    T::try_from(map).map_err(|e| failed(format!("open the map {name}"))(said(&e)))
}

/// The array of perf events, which is filled by `perf`.
fn take_outputs(ebpf: &mut Ebpf) -> Result<MapData, OpenError> {
    match ebpf.take_map("events") {
        Some(Map::PerfEventArray(map)) => Ok(map),
        _ => Err(no_map("events")),
    }
}

/// The programs in the kernel, and the maps that user space talks through.
pub(crate) struct Loaded {
    ebpf: Ebpf,
    events: MapData,
    plans: Array<MapData, PlanValue>,
    interest: Array<MapData, u8>,
    variants: HashMap<MapData, KeyValue, OpValue>,
    followed: HashMap<MapData, u32, u8>,
    losses: PerCpuArray<MapData, u64>,
    missed: Missed,
    // the kernel empties an array of programs when its last user closes it
    _tails: ProgramArray<MapData>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("programs", &self.ebpf.programs().count())
            .finish()
    }
}

impl Loaded {
    fn of(mut ebpf: Ebpf, tails: ProgramArray<MapData>) -> Result<Self, OpenError> {
        Ok(Self {
            events: take_outputs(&mut ebpf)?,
            plans: take(&mut ebpf, "plans")?,
            interest: take(&mut ebpf, "interest")?,
            variants: take(&mut ebpf, "variants")?,
            followed: take(&mut ebpf, "followed")?,
            losses: take(&mut ebpf, "losses")?,
            missed: Missed::default(),
            ebpf,
            _tails: tails,
        })
    }

    /// What the programs have to know, before they are attached.
    fn set(&mut self, settings: Settings, offsets: Offsets) -> Result<(), OpenError> {
        let mut map: Array<MapData, Settings> = take(&mut self.ebpf, "settings")?;
        map.set(0, settings, 0)
            .map_err(|e| failed("write its settings")(said(&e)))?;
        let mut map: Array<MapData, Offsets> = take(&mut self.ebpf, "offsets")?;
        map.set(0, offsets, 0)
            .map_err(|e| failed("write the offsets")(said(&e)))
    }

    /// A perf buffer for each CPU, where the programs find it, and the batches that go there.
    fn open_buffers(&mut self, size: usize, cpus: u32) -> Result<Perf, OpenError> {
        let online = aya::util::online_cpus()
            .map_err(|(path, error)| failed("list the CPUs")(format!("{path}: {error}")))?;
        let batches = match (self.ebpf.take_map("slots"), self.ebpf.take_map("marks")) {
            (Some(Map::Array(slots)), Some(Map::PerCpuArray(marks))) => {
                Batches::new(slots, marks, cpus)
                    .map_err(|e| failed("look at its maps")(said(&e)))?
            }
            _ => return Err(no_map("slots")),
        };
        Perf::new(self.events.fd().as_fd(), online, size, batches).map_err(|(cpu, error)| {
            failed(format!("open a perf buffer on CPU {cpu}"))(error.to_string())
        })
    }

    fn attach(&mut self) -> Result<(), OpenError> {
        for (name, tracepoint) in ATTACHED {
            let program = program(&mut self.ebpf, name)?;
            program.attach(tracepoint).map_err(|e| {
                failed(format!(
                    "attach the program {name} to the tracepoint {tracepoint}"
                ))(said(&e))
            })?;
            if let Ok(fd) = program.fd() {
                self.missed.watch(fd.as_fd());
            }
        }
        Ok(())
    }

    /// Writes the plans of a selection.
    pub(crate) fn select(&mut self, selection: &SyscallSet, limits: &Limits) -> Result<(), String> {
        let mut interest = [0; plan::NUMBERS];
        for (first, abi) in [(0, Abi::NATIVE), (plan::NUMBERS, Abi::COMPAT)] {
            for (at, plan) in plan::array(abi, selection, limits).into_iter().enumerate() {
                let key = u32::try_from(first + at).unwrap_or(u32::MAX);
                interest[at] |= plan.flags;
                self.plans
                    .set(key, PlanValue(plan), 0)
                    .map_err(|error| said(&error))?;
            }
        }
        for (key, flags) in (0..).zip(interest) {
            self.interest
                .set(key, flags, 0)
                .map_err(|error| said(&error))?;
        }
        for abi in [Abi::NATIVE, Abi::COMPAT] {
            for (key, op) in plan::variants(abi, limits) {
                self.variants
                    .insert(KeyValue(key), OpValue(op), 0)
                    .map_err(|error| said(&error))?;
            }
        }
        Ok(())
    }

    /// Whether any thread is followed still.
    pub(crate) fn anyone_followed(&self) -> bool {
        self.followed.keys().next().is_some()
    }

    /// Events lost so far, by cause.
    pub(crate) fn lost(&self) -> [u64; Loss::ALL.len()] {
        let mut lost = [0; Loss::ALL.len()];
        for (cause, sum) in (0u32..).zip(&mut lost) {
            if let Ok(values) = self.losses.get(&cause, 0) {
                *sum = values.iter().sum();
            }
        }
        lost[Loss::Nested as usize] += self.missed.runs();
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4.14 gives up after 131072 instructions looked at; here it is to be no more than half of that.
    #[test]
    fn no_program_costs_the_verifier_much() {
        // SAFETY: geteuid(2) touches no memory.
        if unsafe { libc::geteuid() } != 0 {
            println!("skipped: loading BPF programs needs root");
            return;
        }
        let mut ebpf = EbpfLoader::new().btf(None).load(OBJECT).expect("maps");
        let mut failures = Vec::new();
        for (name, program) in ebpf.programs_mut() {
            let program: &mut RawTracePoint = program.try_into().expect("a raw tracepoint program");
            if let Err(error) = program.load() {
                failures.push(format!("{name}: {}", refused(&error)));
                continue;
            }
            let effort = program.info().expect("info").verified_instruction_count();
            println!("{name}: {effort:?}");
            assert!(effort.is_none_or(|n| n < 65536), "{name}: {effort:?}");
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}
