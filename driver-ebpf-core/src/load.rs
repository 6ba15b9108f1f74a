//! Brings the programs into the kernel and attaches them.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::process;
use std::sync::{Mutex, PoisonError};

use driver_api::driver::OpenError;
use driver_api::event::Abi;
use driver_api::request::{Limits, Request, SyscallSet, Target};
use driver_api::{plan, table};
use driver_ebpf::capture::EbpfCapture;
use driver_ebpf::{quiet, start};
use libbpf_rs::{
    Link, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, OpenObject, PrintLevel,
};
use zerocopy::{Immutable, IntoBytes};

use crate::NAME;
use crate::capture::RingSource;
use crate::ring::Ring;

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/core.o"));

/// Reached by tail call alone: place in `tails`, name.
const TAILS: [(u32, &str); 2] = [(0, "sys_exit_large"), (1, "sys_exit_messages")];

/// `struct settings` of `core.bpf.c`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct Settings {
    self_tgid: u32,
    execve_nr: u32,
    tree: u32,
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

/// An error of libbpf, with the last lines of what the verifier said.
fn failed(step: impl Into<String>) -> impl FnOnce(libbpf_rs::Error) -> OpenError {
    let step = step.into();
    move |error| {
        let said = std::mem::take(&mut *LIBBPF_SAID.lock().unwrap_or_else(PoisonError::into_inner))
            .concat();
        let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
        let cause = if last.is_empty() {
            format!("{error:#}")
        } else {
            format!("{error:#}\n  {last}")
        };
        OpenError::Failed {
            driver: NAME,
            step,
            cause,
        }
    }
}

/// Loads, attaches, and arranges for the target to be followed.
pub(crate) fn open(request: &Request) -> Result<EbpfCapture<RingSource>, OpenError> {
    if !request.buffer.is_power_of_two() || request.buffer < 1 << 16 {
        return Err(OpenError::Unsupported {
            driver: NAME,
            what: format!("a buffer of {} bytes", request.buffer),
            why: "a BPF ring buffer has a power of two of at least 65536 bytes".to_owned(),
        });
    }
    let command = start::prepare(&request.target)?;
    libbpf_rs::set_print(Some((PrintLevel::Warn, listen)));
    let cpus = libbpf_rs::num_possible_cpus().map_err(failed("count the CPUs"))?;
    let size = (request.buffer * cpus).next_power_of_two().min(1 << 30);
    let mut open = ObjectBuilder::default()
        .open_memory(OBJECT)
        .map_err(failed("read its own BPF object"))?;
    prepare_maps(&mut open, &request.target, size)?;
    let object = quiet::undisturbed(|| open.load()).map_err(failed("load its programs"))?;
    let maps = Maps::of(&object)?;
    maps.select(&request.selection, &request.limits)?;
    fill_tails(&object)?;
    let ring =
        Ring::new(maps.events.as_fd(), size).map_err(|error: io::Error| OpenError::Failed {
            driver: NAME,
            step: "map the ring buffer".to_owned(),
            cause: error.to_string(),
        })?;
    let links = attach(&object)?;
    start::follow_target(&request.target, command.as_ref(), |tid, state| {
        maps.followed
            .update(&tid.to_ne_bytes(), &[state as u8], MapFlags::ANY)
            .map_err(|error| format!("cannot follow thread {tid}: {error:#}"))
    })?;
    let source = RingSource {
        links,
        ring,
        maps,
        object,
        size,
    };
    Ok(EbpfCapture::new(NAME, source, command, request))
}

fn prepare_maps(open: &mut OpenObject, target: &Target, size: usize) -> Result<(), OpenError> {
    let settings = Settings {
        self_tgid: process::id(),
        execve_nr: table::by_name("execve")
            .and_then(|call| call.number(Abi::NATIVE))
            .unwrap_or_default(),
        tree: u32::from(!matches!(target, Target::Host)),
    };
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if name == "events" {
            map.set_max_entries(u32::try_from(size).unwrap_or(1 << 30))
                .map_err(failed("size the ring buffer"))?;
        } else if name.ends_with(".settings") {
            map.set_initial_value(settings.as_bytes())
                .map_err(failed("set its settings"))?;
        }
    }
    Ok(())
}

fn fill_tails(object: &Object) -> Result<(), OpenError> {
    let tails = handle(object, "tails")?;
    for program in object.progs() {
        if let Some((at, name)) = TAILS.iter().find(|(_, name)| program.name() == *name) {
            let fd = program.as_fd().as_raw_fd().to_ne_bytes();
            tails
                .update(&at.to_ne_bytes(), &fd, MapFlags::ANY)
                .map_err(failed(format!("chain the program {name}")))?;
        }
    }
    Ok(())
}

fn attach(object: &Object) -> Result<Vec<Link>, OpenError> {
    let mut links = Vec::new();
    for program in object.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        if !TAILS.iter().any(|(_, tail)| *tail == name) {
            links.push(
                program
                    .attach()
                    .map_err(failed(format!("attach the program {name}")))?,
            );
        }
    }
    Ok(links)
}

fn handle(object: &Object, name: &str) -> Result<MapHandle, OpenError> {
    let map = object
        .maps()
        .find(|map| map.name() == name)
        .ok_or_else(|| OpenError::Failed {
            driver: NAME,
            step: format!("find the map {name} in its own object"),
            cause: "it is not there: this build is broken".to_owned(),
        })?;
    MapHandle::try_from(&map).map_err(failed(format!("open the map {name}")))
}

/// The maps that user space talks through.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) events: MapHandle,
    plans: MapHandle,
    variants: MapHandle,
    followed: MapHandle,
    losses: MapHandle,
}

impl Maps {
    fn of(object: &Object) -> Result<Self, OpenError> {
        Ok(Self {
            events: handle(object, "events")?,
            plans: handle(object, "plans")?,
            variants: handle(object, "variants")?,
            followed: handle(object, "followed")?,
            losses: handle(object, "losses")?,
        })
    }

    /// Writes the plans of a selection.
    pub(crate) fn select(&self, selection: &SyscallSet, limits: &Limits) -> Result<(), OpenError> {
        for (first, abi) in [(0, Abi::NATIVE), (plan::NUMBERS, Abi::COMPAT)] {
            for (at, plan) in plan::array(abi, selection, limits).iter().enumerate() {
                let key = u32::try_from(first + at).unwrap_or(u32::MAX).to_ne_bytes();
                self.plans
                    .update(&key, plan.as_bytes(), MapFlags::ANY)
                    .map_err(failed("write the capture plan"))?;
            }
        }
        self.choices(limits)
    }

    /// Writes the operations of variants.
    fn choices(&self, limits: &Limits) -> Result<(), OpenError> {
        for (key, op) in plan::variants(Abi::NATIVE, limits)
            .into_iter()
            .chain(plan::variants(Abi::COMPAT, limits))
        {
            self.variants
                .update(key.as_bytes(), op.as_bytes(), MapFlags::ANY)
                .map_err(failed("write the operations of variants"))?;
        }
        Ok(())
    }

    /// Whether any thread is followed still.
    pub(crate) fn anyone_followed(&self) -> bool {
        self.followed.keys().next().is_some()
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
