//! Opens a capture: finds a way that this kernel takes, loads and attaches the programs, and makes them follow the target.

use std::os::fd::AsFd;
use std::path::Path;

use driver_api::driver::OpenError;
use driver_api::error::{Cause, Chain};
use driver_api::request::{Request, Target};
use driver_api::support::Gap;
use driver_ebpf::capture::EbpfCapture;
use driver_ebpf::missed::Missed;
use driver_ebpf::{gaps, memory, own, start};

use crate::NAME;
use crate::capture::RingSource;
use crate::entry::Entry;
use crate::libbpf::{self, failed};
use crate::object::{self, Running, StartError};
use crate::optional::Refused;
use crate::ring::{RingLayout, Rings};
use crate::ways::{Way, check_types, ways};

/// The smallest ring in bytes.
const SMALLEST: usize = 1 << 16;

/// Loads, attaches, and makes the programs follow the target. `own_types`: the kernel's own types can be read;
/// `types_file`: a file that has them. Returns the gaps that showed.
///
/// # Errors
///
/// The request cannot be honoured, the target is at fault, or the kernel refuses the programs in every way.
pub(crate) fn open(
    request: &Request,
    own_types: bool,
    types_file: Option<&Path>,
) -> Result<(EbpfCapture<RingSource>, Vec<Gap>), OpenError> {
    if !request.buffer.is_power_of_two() || request.buffer < SMALLEST {
        return Err(OpenError::Unsupported {
            driver: NAME,
            what: format!("a buffer of {} bytes", request.buffer),
            why: format!("a ring has a power of two of at least {SMALLEST} bytes"),
        });
    }
    if let Some(file) = types_file {
        check_types(file).map_err(|error| OpenError::Unsupported {
            driver: NAME,
            what: format!("{} as the kernel's types", file.display()),
            why: Chain(&error).to_string(),
        })?;
    }
    let command = start::prepare(NAME, &request.target)?;
    memory::raise();
    libbpf::listen();
    let cpus = libbpf_rs::num_possible_cpus().map_err(failed("count the CPUs"))?;
    let layout = RingLayout::new(cpus, request.buffer);
    let Started { running, refused } =
        start_programs(&ways(own_types, types_file), request, layout, types_file)?;
    let Running {
        object,
        maps,
        links,
        operations,
    } = running;
    let rings = Rings::new(
        layout,
        maps.rings.as_fd(),
        maps.chunks.as_fd(),
        maps.wakeup.as_fd(),
    )
    .map_err(OpenError::failed(NAME, "map the rings"))?;
    start::follow_target(&request.target, command.as_ref(), |tid, state| {
        maps.follow(tid, state).map_err(Cause::from)
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
    if !operations {
        gaps.extend(gaps::operations());
    }
    gaps.extend(own::gap());
    Ok((capture, gaps))
}

/// Programs that run, and those that were refused.
struct Started {
    running: Running,
    refused: Refused,
}

/// Loads and attaches the programs in the first of the ways that this kernel takes, without the programs that it refuses
/// and that a capture can do without. If it takes none of the ways, the error is that of the first.
fn start_programs(
    ways: &[Way],
    request: &Request,
    layout: RingLayout,
    types_file: Option<&Path>,
) -> Result<Started, OpenError> {
    let mut first = None;
    for way in ways {
        // a command is followed from its first exec on, even if that fails
        if way.entry == Entry::Scheduler && matches!(request.target, Target::Command(_)) {
            continue;
        }
        let mut refused = Refused::default();
        loop {
            match object::start(*way, request, layout, types_file, &refused) {
                Ok(running) => return Ok(Started { running, refused }),
                Err(StartError { program, error }) => {
                    let text = Chain(&error).to_string();
                    tracing::debug!("{:?}: {text}", way.entry);
                    let can_do_without = program
                        .is_some_and(|program| refused.note(&program, &request.target, &text));
                    if !can_do_without {
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

#[cfg(test)]
mod tests {
    use driver_api::request::{Limits, SyscallSet};

    use super::*;

    /// The programs, with one that every verifier refuses (`REFUSE_FORK` in `bpf/tasks.h`).
    static WITHOUT_FORK: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/core-refused.o"));

    fn start(target: Target) -> Result<Started, OpenError> {
        libbpf::listen();
        let request = Request {
            target,
            selection: SyscallSet::all(),
            limits: Limits::default(),
            buffer: 1 << 16,
        };
        let cpus = libbpf_rs::num_possible_cpus().expect("there are CPUs");
        let ways = [Way {
            object: WITHOUT_FORK,
            entry: Entry::Tracepoint,
        }];
        start_programs(&ways, &request, RingLayout::new(cpus, request.buffer), None)
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
        let links = started.running.links.len();
        assert!(links >= 4, "{links} links");
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
