//! Brings the programs into the kernel and attaches them.

use std::io;
use std::os::fd::AsFd;

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, ProgramArray};
use aya::programs::Program;
use aya::{Ebpf, EbpfLoader, Pod};
use driver_api::driver::{OpenError, Opened};
use driver_api::error::Chain;
use driver_api::event::{Abi, Loss};
use driver_api::plan::{Op, Plan, VariantKey};
use driver_api::request::{Limits, Request, SyscallSet, Target};
use driver_api::support::Gap;
use driver_api::{plan, table};
use driver_ebpf::capture::EbpfCapture;
use driver_ebpf::follow::Followed;
use driver_ebpf::missed::Missed;
use driver_ebpf::{interrupted, memory, quiet, start};

use crate::NAME;
use crate::attach::{Events, Way, lacks};
use crate::capture::PerfSource;
use crate::offsets::{self, Found, Offsets, have};
use crate::perf::{Batches, Perf, SLOTS, SMALLEST, page_size};
use crate::programs::{
    ATTACHED, ENTER, ENTRY_TAILS, FUNCTION, PREPARED, SIGNALS, fill, load_one, load_programs,
    program, refused,
};

pub(crate) static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/legacy.o"));

/// `struct settings` of `maps.h`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Settings {
    self_tgid: u32,
    execve_nr: u32,
    tree: u32,
    late: u32,
}

// SAFETY: four numbers without padding; every pattern of bits is one.
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
    move |cause| OpenError::failed(NAME, step)(cause)
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

/// Loads, looks for offsets, attaches, and arranges for the target to be followed.
pub(crate) fn open(request: &Request) -> Result<Opened, OpenError> {
    let page = page_size();
    if !request.buffer.is_power_of_two()
        || request.buffer < SMALLEST
        || !request.buffer.is_multiple_of(page)
    {
        return Err(OpenError::Unsupported {
            driver: NAME,
            what: format!("a buffer of {} bytes", request.buffer),
            why: "a perf buffer has a power of two of at least 65536 bytes".to_owned(),
        });
    }
    let command = start::prepare(NAME, &request.target)?;
    memory::raise();
    let cpus = aya::util::nr_cpus()
        .map_err(|(path, error)| failed("count the CPUs")(format!("{path}: {error}")))?;
    let cpus = u32::try_from(cpus).unwrap_or(1);
    let mut loader = EbpfLoader::new();
    loader.btf(None).map_max_entries("slots", SLOTS * cpus);
    let Found {
        offsets,
        tgid,
        mut gaps,
        way,
    } = quiet::undisturbed(|| offsets::find(&mut loader))?;
    let mut ebpf = loader
        .load(OBJECT)
        .map_err(|e| failed("create its maps")(said(&e)))?;
    let tails = quiet::undisturbed(|| load_programs(&mut ebpf, &way, &mut gaps))?;
    let mut loaded = Loaded::of(ebpf, tails)?;
    let settings = Settings {
        self_tgid: tgid,
        execve_nr: table::by_name("execve")
            .and_then(|call| call.number(Abi::NATIVE))
            .unwrap_or_default(),
        tree: u32::from(!matches!(request.target, Target::Host)),
        late: 0,
    };
    loaded.set(settings, offsets)?;
    loaded
        .select(&interrupted::watched(&request.selection), &request.limits)
        .map_err(failed("write the capture plan"))?;
    let perf = loaded.open_buffers(request.buffer, cpus)?;
    let late = (!matches!(request.target, Target::Command(_))).then_some(settings);
    quiet::undisturbed(|| loaded.attach(&way, &offsets, late, &mut gaps))?;
    start::follow_target(&request.target, command.as_ref(), |tid, state| {
        loaded
            .followed
            .insert(tid, state as u8, 0)
            .map_err(|error| format!("cannot follow thread {tid}: {}", said(&error)).into())
    })?;
    let source = PerfSource { loaded, perf };
    let capture = EbpfCapture::new(NAME, source, command, request);
    Ok(Opened {
        capture: Box::new(capture),
        gaps,
    })
}

fn online() -> Result<Vec<u32>, OpenError> {
    aya::util::online_cpus()
        .map_err(|(path, error)| failed("list the CPUs")(format!("{path}: {error}")))
}

fn no_program(name: &str, error: &dyn std::error::Error) -> OpenError {
    failed(format!("attach the program {name}"))(said(error))
}

fn no_map(name: &str) -> OpenError {
    let step = failed(format!("find the map {name} in its own object"));
    step("it is not there: this build is broken".to_owned())
}

pub(crate) fn take<T: TryFrom<Map, Error = aya::maps::MapError>>(
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
    // dropped first: what is attached is detached before its programs go
    events_at: Events,
    ebpf: Ebpf,
    events: MapData,
    settings: Array<MapData, Settings>,
    // as all maps open for as long as programs are loaded, which name them by their descriptors
    offsets: Array<MapData, Offsets>,
    plans: Array<MapData, PlanValue>,
    interest: Array<MapData, u8>,
    variants: HashMap<MapData, KeyValue, OpValue>,
    followed: HashMap<MapData, u32, u8>,
    losses: PerCpuArray<MapData, u64>,
    missed: Missed,
    // the kernel empties an array of programs when its last user closes it
    _tails: ProgramArray<MapData>,
    _entry_tails: Option<ProgramArray<MapData>>,
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
            settings: take(&mut ebpf, "settings")?,
            offsets: take(&mut ebpf, "offsets")?,
            plans: take(&mut ebpf, "plans")?,
            interest: take(&mut ebpf, "interest")?,
            variants: take(&mut ebpf, "variants")?,
            followed: take(&mut ebpf, "followed")?,
            losses: take(&mut ebpf, "losses")?,
            missed: Missed::default(),
            events_at: Events::default(),
            ebpf,
            _tails: tails,
            _entry_tails: None,
        })
    }

    /// What the programs have to know, before they are attached.
    fn set(&mut self, settings: Settings, offsets: Offsets) -> Result<(), OpenError> {
        self.settings
            .set(0, settings, 0)
            .map_err(|e| failed("write its settings")(said(&e)))?;
        self.offsets
            .set(0, offsets, 0)
            .map_err(|e| failed("write the offsets")(said(&e)))
    }

    /// A perf buffer for each CPU, where the programs find it, and the batches that go there.
    fn open_buffers(&mut self, size: usize, cpus: u32) -> Result<Perf, OpenError> {
        let online = online()?;
        let batches = match (self.ebpf.take_map("slots"), self.ebpf.take_map("marks")) {
            (Some(Map::Array(slots)), Some(Map::PerCpuArray(marks))) => {
                Batches::new(slots, marks, cpus)
                    .map_err(|e| failed("look at its maps")(said(&e)))?
            }
            _ => return Err(no_map("slots")),
        };
        let map = self.events.fd().as_fd();
        Perf::new(map, &online, size, batches).map_err(|(cpu, error)| {
            let mut cause = error.to_string();
            if error.raw_os_error() == Some(libc::EPERM)
                && let Some(hint) = memory::needed(online.len() * (SMALLEST + page_size()))
            {
                cause.push_str(&hint);
            }
            failed(format!("open a perf buffer on CPU {cpu}"))(cause)
        })
    }

    /// Has everything run, in the order of [`ATTACHED`]. `late`: the settings, if an exec need not be seen before it
    /// has succeeded.
    fn attach(
        &mut self,
        way: &Way,
        offsets: &Offsets,
        late: Option<Settings>,
        gaps: &mut Vec<Gap>,
    ) -> Result<(), OpenError> {
        let cpu = online()?.first().copied().unwrap_or(0);
        if let Err(why) = self.look_at_signals(way, cpu) {
            tracing::warn!("calls that a signal handler ends will be missing: {why}");
            gaps.push(Gap::interrupted_calls());
        }
        for one in ATTACHED {
            self.attach_one(way, cpu, one)?;
        }
        let Err(functions) = self.enter_functions(cpu, offsets) else {
            return Ok(());
        };
        let Err(scheduler) = self.enter_late(way, cpu, offsets, late) else {
            tracing::debug!("entries are looked at late, as functions cannot be: {functions}");
            return Ok(());
        };
        tracing::debug!("every call is looked at when it begins: {functions}; {scheduler}");
        load_one(program(
            &mut self.ebpf,
            &format!("{}{}", way.prefix(), ENTER.0),
        )?)
        .map_err(|e| failed("load the program sys_enter")(refused(&e)))?;
        self.attach_one(way, cpu, ENTER)
    }

    /// Looks at entries by the scheduler's tracepoints: at an exec that will succeed before the old program's memory
    /// goes, at calls that do not return when their task ends. An error says why that cannot be.
    fn enter_late(
        &mut self,
        way: &Way,
        cpu: u32,
        offsets: &Offsets,
        settings: Option<Settings>,
    ) -> Result<(), String> {
        let Some(settings) = settings else {
            return Err(
                "a command is followed from its first exec on, also if that fails".to_owned(),
            );
        };
        if lacks("sched_prepare_exec") || !matches!(way, Way::Raw) {
            return Err("there is no raw tracepoint sched_prepare_exec".to_owned());
        }
        if !offsets.has(have::REGS | have::EXIT) {
            return Err("where a call's registers are was not found".to_owned());
        }
        let plain = |error: OpenError| Chain(&error).to_string();
        load_one(program(&mut self.ebpf, &format!("raw_{}", PREPARED.0)).map_err(plain)?)
            .map_err(|error| refused(&error))?;
        self.attach_one(way, cpu, PREPARED).map_err(plain)?;
        let late = Settings {
            late: 1,
            ..settings
        };
        self.settings.set(0, late, 0).map_err(|error| said(&error))
    }

    /// Has handlers decide how interrupted calls end.
    fn look_at_signals(&mut self, way: &Way, cpu: u32) -> Result<(), String> {
        let name = format!("{}{}", way.prefix(), SIGNALS.0);
        let program = program(&mut self.ebpf, &name).map_err(|error| Chain(&error).to_string())?;
        load_one(program).map_err(|error| refused(&error))?;
        self.attach_one(way, cpu, SIGNALS)
            .map_err(|error| Chain(&error).to_string())
    }

    fn attach_one(
        &mut self,
        way: &Way,
        cpu: u32,
        (name, raw, tracepoint): (&str, &str, &str),
    ) -> Result<(), OpenError> {
        let program = program(&mut self.ebpf, &format!("{}{name}", way.prefix()))?;
        let error = match (way, &mut *program) {
            (Way::Raw, Program::RawTracePoint(program)) => {
                program.attach(raw).err().map(|e| said(&e))
            }
            (Way::Tracepoints(tracefs), program) => {
                let fd = program.fd().map_err(|e| no_program(name, &e))?;
                let attached = self
                    .events_at
                    .tracepoint(tracefs, cpu, tracepoint, fd.as_fd());
                attached.err().map(|e| e.to_string())
            }
            _ => Some("it is of another type: this build is broken".to_owned()),
        };
        if let Some(error) = error {
            let step = format!("attach the program {name} to the tracepoint {raw}");
            return Err(failed(step)(error));
        }
        if let Ok(fd) = program.fd() {
            self.missed.watch(name, fd.as_fd());
        }
        Ok(())
    }

    /// Attaches to the functions of the calls whose entry matters. An error says why that cannot be.
    fn enter_functions(&mut self, cpu: u32, offsets: &Offsets) -> Result<(), String> {
        if !offsets.has(have::REGS) {
            return Err("where a call's registers are was not found".to_owned());
        }
        let plain = |error: OpenError| Chain(&error).to_string();
        let mut tails = take(&mut self.ebpf, "entry_tails").map_err(plain)?;
        let mut refused = None;
        let gap = |_: &str, why: &str| refused = Some(why.to_owned());
        fill(&mut self.ebpf, &mut tails, "fn_", &ENTRY_TAILS, gap).map_err(plain)?;
        self._entry_tails = Some(tails);
        if let Some(why) = refused {
            return Err(why);
        }
        let program = program(&mut self.ebpf, FUNCTION).map_err(plain)?;
        load_one(program).map_err(|error| crate::programs::refused(&error))?;
        let fd = program.fd().map_err(|error| said(&error))?.as_fd();
        self.events_at.entries(cpu, offsets.has(have::COMPAT), fd)?;
        self.missed.watch(FUNCTION, fd);
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

impl Followed for Loaded {
    fn tids(&self) -> Vec<u32> {
        self.followed.keys().flatten().collect()
    }

    fn add(&mut self, tid: u32) {
        /// `BPF_NOEXIST` of include/uapi/linux/bpf.h.
        const NO_EXIST: u64 = 1;
        let _ = self
            .followed
            .insert(tid, start::Follow::Active as u8, NO_EXIST);
    }

    fn remove(&mut self, tid: u32) {
        let _ = self.followed.remove(&tid);
    }
}
