//! The programs in the kernel, and how they are attached.

use std::os::fd::AsFd;

use aya::Ebpf;
use aya::programs::Program;
use driver_api::event::Loss;
use driver_api::request::{Limits, SyscallSet};
use driver_api::selection::Selection;
use driver_api::support::Gap;
use driver_api::table::{SYSCALLS, Syscall};
use driver_ebpf::follow::Followed;
use driver_ebpf::gaps;
use driver_ebpf::missed::Missed;
use driver_ebpf::start::Follow;

use driver_api::error::Chain;

use crate::attach::entry::has_room;
use crate::attach::{AttachError, EntryError, PerfEvents, TracepointKind};
use crate::error::{BpfError, LoadError, ObjectError};
use crate::kernel::{Feature, Features};
use crate::layout::{Offsets, have};
use crate::maps::ControlMaps;
use crate::programs::{
    self, ATTACHED, ENTER, ENTRY_TAILS, FUNCTION, FUNCTION_PREFIX, PREPARED, SIGNALS, SUBMITTED,
    TIMED, TIMES, TracepointProgram,
};

/// Why entries of calls cannot be seen in one of the ways there are.
#[derive(Debug, thiserror::Error)]
enum EntryWayError {
    #[error("a command is followed from its first exec on, even if that exec fails")]
    FirstExec,
    #[error("this kernel has no raw tracepoints")]
    NoRawTracepoints,
    #[error("a test hides {0:?}")]
    Hidden(Feature),
    #[error(
        "the registers of a call, or the exit code of a task, were not found in the kernel's memory"
    )]
    NotFound,
    #[error("the kernel refused the program {program}")]
    Refused {
        program: &'static str,
        source: BpfError,
    },
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// Why it cannot be measured how long calls take.
#[derive(Debug, thiserror::Error)]
enum TimesError {
    #[error("this kernel has no raw tracepoints, which came with Linux 4.17")]
    NoRawTracepoints,
    #[error("the kernel refused the program {program}")]
    Refused {
        program: &'static str,
        source: BpfError,
    },
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// The programs in the kernel, and the maps that control them.
pub(crate) struct Loaded {
    // dropped first: it detaches programs before they are unloaded
    perf_events: PerfEvents,
    ebpf: Ebpf,
    pub(crate) maps: ControlMaps,
    pub(crate) missed: Missed,
    /// The calls that replace the size of a buffer and whose functions are not probed yet, where functions are. Programs
    /// there need a CPU that is online.
    rooms: Option<(u32, Vec<&'static Syscall>)>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("programs", &self.ebpf.programs().count())
            .finish_non_exhaustive()
    }
}

/// How programs are to be attached.
#[derive(Debug)]
pub(crate) struct AttachOptions<'a> {
    pub(crate) features: Features,
    pub(crate) kind: &'a TracepointKind,
    pub(crate) offsets: &'a Offsets,
    /// A CPU that is online. A program at a perf event runs on every CPU, whichever is named.
    pub(crate) cpu: u32,
    /// An exec need not be seen before it has succeeded.
    pub(crate) late: bool,
    /// Somebody asks how long calls take.
    pub(crate) times: bool,
    /// The calls that are selected.
    pub(crate) calls: SyscallSet,
}

impl Loaded {
    /// Programs that are loaded and not attached.
    pub(crate) fn new(ebpf: Ebpf, maps: ControlMaps) -> Self {
        Self {
            perf_events: PerfEvents::default(),
            ebpf,
            maps,
            missed: Missed::default(),
            rooms: None,
        }
    }

    /// Attaches all programs, in the order of [`ATTACHED`], and then what sees the entries of calls.
    pub(crate) fn attach(
        &mut self,
        how: &AttachOptions<'_>,
        gaps: &mut Vec<Gap>,
    ) -> Result<(), LoadError> {
        if let Err(error) = self.load_and_attach(how, SIGNALS) {
            tracing::warn!(
                "calls that a signal handler ends will be missing: {}",
                Chain(&error)
            );
            gaps.push(Gap::interrupted_calls());
        }
        if how.times
            && let Err(error) = self.measure_times(how)
        {
            gaps.push(Gap::times(Chain(&error).to_string(), ""));
            self.maps.set(|settings| settings.times_since = 0)?;
        }
        for program in ATTACHED {
            self.attach_one(how, program)?;
        }
        self.see_operations(how, gaps);
        let Err(functions) = self.see_entries_at_functions(how) else {
            let calls = SYSCALLS.iter().filter(|call| has_room(call));
            self.rooms = Some((how.cpu, calls.collect()));
            if let Err(error) = self.see_rooms(&how.calls) {
                tracing::debug!("{}", Chain(&error));
                gaps.push(gaps::rooms());
            }
            return Ok(());
        };
        let Err(scheduler) = self.see_entries_at_scheduler(how) else {
            tracing::debug!(
                "entries are seen at the scheduler's tracepoints, as they cannot be at functions: {}",
                Chain(&functions)
            );
            gaps.push(gaps::rooms());
            return Ok(());
        };
        tracing::debug!(
            "every call runs a program at its entry, as entries can be seen neither at functions ({}) nor at the \
             scheduler's tracepoints ({})",
            Chain(&functions),
            Chain(&scheduler)
        );
        self.load_and_attach(how, ENTER)
    }

    /// Measures how long calls take. Runs of these programs that the kernel skips lose no event.
    fn measure_times(&mut self, how: &AttachOptions<'_>) -> Result<(), TimesError> {
        if !matches!(how.kind, TracepointKind::Raw) {
            return Err(TimesError::NoRawTracepoints);
        }
        for program in TIMES {
            program.load(&mut self.ebpf, how.kind)?;
        }
        let tails = &mut self.maps.tails;
        let mut refused = programs::chain(&mut self.ebpf, tails, how.kind.prefix(), &[TIMED])?;
        if let Some((program, source)) = refused.pop() {
            return Err(TimesError::Refused { program, source });
        }
        for program in TIMES {
            self.attach_unwatched(how, program)?;
        }
        Ok(())
    }

    fn load_and_attach(
        &mut self,
        how: &AttachOptions<'_>,
        program: TracepointProgram,
    ) -> Result<(), LoadError> {
        program.load(&mut self.ebpf, how.kind)?;
        self.attach_one(how, program)
    }

    fn attach_one(
        &mut self,
        how: &AttachOptions<'_>,
        program: TracepointProgram,
    ) -> Result<(), LoadError> {
        self.attach_unwatched(how, program)?;
        let attached = programs::find(&mut self.ebpf, &program.full_name(how.kind))?;
        if let Ok(fd) = attached.fd() {
            self.missed.watch(program.name, fd.as_fd());
        }
        Ok(())
    }

    /// Attaches a program without counting the runs of it that the kernel skips.
    fn attach_unwatched(
        &mut self,
        how: &AttachOptions<'_>,
        wanted: TracepointProgram,
    ) -> Result<(), LoadError> {
        let TracepointProgram {
            raw, perf_event, ..
        } = wanted;
        let full_name = wanted.full_name(how.kind);
        let program = programs::find(&mut self.ebpf, &full_name)?;
        let not_loaded = |error| AttachError::NotLoaded {
            program: full_name.clone(),
            source: BpfError::from(error),
        };
        match (how.kind, &mut *program) {
            (TracepointKind::Raw, Program::RawTracePoint(program)) => {
                program
                    .attach(raw)
                    .map_err(|error| AttachError::RawTracepoint {
                        program: full_name.clone(),
                        tracepoint: raw,
                        source: error.into(),
                    })?;
            }
            (TracepointKind::PerfEvent(tracefs), program) => {
                let fd = program.fd().map_err(not_loaded)?;
                self.perf_events
                    .attach_tracepoint(tracefs, how.cpu, perf_event, fd.as_fd())
                    .map_err(|source| AttachError::Tracepoint {
                        program: full_name.clone(),
                        tracepoint: perf_event,
                        source,
                    })?;
            }
            (TracepointKind::Raw, _) => {
                return Err(AttachError::WrongType { program: full_name }.into());
            }
        }
        Ok(())
    }

    /// Sees operations that are submitted to rings of io_uring.
    fn see_operations(&mut self, how: &AttachOptions<'_>, gaps: &mut Vec<Gap>) {
        if !matches!(how.kind, TracepointKind::Raw) {
            return; // such a kernel is older than io_uring
        }
        let seen = how.offsets.has(have::RINGS)
            && SUBMITTED.iter().any(|program| {
                self.load_and_attach(how, *program)
                    .inspect_err(|error| tracing::debug!("{}: {}", program.name, Chain(error)))
                    .is_ok()
            });
        if !seen {
            gaps.extend(gaps::operations());
        }
    }

    /// Sees entries at the kernel functions of the calls whose entry matters.
    fn see_entries_at_functions(&mut self, how: &AttachOptions<'_>) -> Result<(), EntryWayError> {
        if !how.offsets.has(have::REGS) {
            return Err(EntryWayError::NotFound);
        }
        let tails = &mut self.maps.entry_tails;
        let mut refused = programs::chain(&mut self.ebpf, tails, FUNCTION_PREFIX, &ENTRY_TAILS)?;
        if let Some((program, source)) = refused.pop() {
            return Err(EntryWayError::Refused { program, source });
        }
        let refused = |source| EntryWayError::Refused {
            program: FUNCTION,
            source,
        };
        let program = programs::find(&mut self.ebpf, FUNCTION)?;
        programs::load(program).map_err(|error| refused(error.into()))?;
        let fd = program.fd().map_err(|error| refused(error.into()))?.as_fd();
        let compat = how.offsets.has(have::COMPAT);
        self.perf_events
            .attach_entries(how.features, how.cpu, compat, fd)?;
        self.missed.watch(FUNCTION, fd);
        Ok(())
    }

    /// Sees the entries of those of these calls that replace the size of a buffer.
    fn see_rooms(&mut self, calls: &SyscallSet) -> Result<(), EntryWayError> {
        let Some((cpu, waiting)) = &mut self.rooms else {
            return Ok(());
        };
        let program = programs::find(&mut self.ebpf, FUNCTION)?;
        let fd = program.fd().map_err(|error| EntryWayError::Refused {
            program: FUNCTION,
            source: error.into(),
        })?;
        let selected: Vec<_> = waiting
            .extract_if(.., |call| calls.contains(call))
            .collect();
        let mut seen = Ok(());
        for call in selected {
            if let Err(error) = self.perf_events.attach_room(*cpu, call, fd.as_fd()) {
                // the others are seen all the same
                seen = Err(error.into());
            }
        }
        seen
    }

    /// Sees entries at the scheduler's tracepoints: an exec that will succeed before the old program's memory is
    /// released, and calls that do not return when their task ends.
    fn see_entries_at_scheduler(&mut self, how: &AttachOptions<'_>) -> Result<(), EntryWayError> {
        if !how.late {
            return Err(EntryWayError::FirstExec);
        }
        if how.features.hides(Feature::SchedPrepareExec) {
            return Err(EntryWayError::Hidden(Feature::SchedPrepareExec));
        }
        if !matches!(how.kind, TracepointKind::Raw) {
            return Err(EntryWayError::NoRawTracepoints);
        }
        if !how.offsets.has(have::REGS | have::EXIT) {
            return Err(EntryWayError::NotFound);
        }
        self.load_and_attach(how, PREPARED)?;
        self.maps.set(|settings| settings.late = 1)?;
        Ok(())
    }

    /// Writes the plans of a selection.
    pub(crate) fn select(
        &mut self,
        selection: &Selection,
        limits: &Limits,
    ) -> Result<(), ObjectError> {
        let calls = selection.with_multiplexers();
        if let Err(error) = self.see_rooms(calls.calls()) {
            tracing::warn!(
                "of some calls, what the kernel writes may be shown beyond the buffer: {}",
                Chain(&error)
            );
        }
        self.maps.select(selection, limits)
    }

    /// Events lost so far, by cause.
    pub(crate) fn lost(&self) -> [u64; Loss::ALL.len()] {
        let mut lost = self.maps.lost();
        lost[Loss::Nested as usize] += self.missed.runs();
        lost
    }
}

impl Followed for Loaded {
    fn tids(&self) -> Vec<u32> {
        self.maps.followed.keys().flatten().collect()
    }

    fn add(&mut self, tid: u32) {
        /// `BPF_NOEXIST` of include/uapi/linux/bpf.h.
        const NO_EXIST: u64 = 1;
        let _ = self
            .maps
            .followed
            .insert(tid, Follow::Active as u8, NO_EXIST);
    }

    fn remove(&mut self, tid: u32) {
        let _ = self.maps.followed.remove(&tid);
    }
}
