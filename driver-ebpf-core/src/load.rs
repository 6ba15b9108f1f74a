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
use libbpf_rs::Program;

use crate::NAME;
use crate::capture::RingSource;
use crate::entry::EntryMethod;
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
        check_btf(file)?;
    }
    let command = start::prepare(NAME, &request.target)?;
    memory::raise();
    libbpf::listen();
    let cpus = libbpf_rs::num_possible_cpus().map_err(failed("count the CPUs"))?;
    let layout = RingLayout::new(cpus, request.buffer);
    let ways = ways(own_types, types_file);
    let started = start_programs(&ways, request, layout, types_file, Refused::default)?;
    capture(started, request, layout, command)
}

/// Checks that a file has a kernel's types.
///
/// # Errors
///
/// It has something else, or cannot be read.
pub(crate) fn check_btf(file: &Path) -> Result<(), OpenError> {
    check_types(file).map_err(|error| OpenError::Unsupported {
        driver: NAME,
        what: format!("{} as the kernel's types", file.display()),
        why: Chain(&error).to_string(),
    })
}

/// Makes the programs that run follow the target.
fn capture(
    started: Started,
    request: &Request,
    layout: RingLayout,
    command: Option<start::Held>,
) -> Result<(EbpfCapture<RingSource>, Vec<Gap>), OpenError> {
    let Started { running, refused } = started;
    let Running {
        object,
        maps,
        links,
        operations,
        rooms,
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
    let makes_events =
        |program: &Program<'_>| program.autoload() && program.name() != object::CALL_ENTERED;
    for program in object.progs().filter(makes_events) {
        missed.watch(&program.name().to_string_lossy(), program.as_fd());
    }
    let sees_rooms = rooms.seen;
    let source = RingSource {
        links,
        rooms,
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
    if !sees_rooms {
        gaps.push(gaps::rooms());
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
/// and that a capture can do without. If it takes none of the ways, the error is that of the first. `without`: programs
/// that are left out from the beginning.
fn start_programs(
    ways: &[Way],
    request: &Request,
    layout: RingLayout,
    types_file: Option<&Path>,
    without: fn() -> Refused,
) -> Result<Started, OpenError> {
    let mut first = None;
    for way in ways {
        // a command is followed from its first exec on, even if that fails
        if way.entry == EntryMethod::Scheduler && matches!(request.target, Target::Command(_)) {
            continue;
        }
        let mut refused = without();
        loop {
            match object::start(*way, request, layout, types_file, &refused) {
                Ok(running) => return Ok(Started { running, refused }),
                Err(StartError { program, error }) => {
                    let text = Chain(&error).to_string();
                    tracing::debug!("{:?}: {text}", way.entry);
                    let can_do_without = !way.whole
                        && program
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
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use driver_api::driver::{Capture, Flow};
    use driver_api::event::EventKind;
    use driver_api::request::{Limits, SyscallSet};
    use driver_ebpf::packed::Packed;
    use test_support::{is_root, lacking, skipped};

    use super::*;
    use crate::features::Features;

    /// The programs, with one that every verifier refuses (`REFUSE_FORK` in `bpf/tasks.h`).
    const WITHOUT_FORK: Packed = Packed::new(include_bytes!(concat!(
        env!("OUT_DIR"),
        "/core-refused.o.z"
    )));

    /// Whether this user may load programs.
    fn may_load() -> bool {
        if !is_root() {
            skipped("loading BPF programs needs root");
        }
        is_root()
    }

    fn start(target: Target) -> Result<Started, OpenError> {
        libbpf::listen();
        let request = Request {
            target,
            selection: SyscallSet::all().into(),
            limits: Limits::default(),
            buffer: 1 << 16,
        };
        let cpus = libbpf_rs::num_possible_cpus().expect("there are CPUs");
        let ways = [Way {
            object: WITHOUT_FORK,
            entry: EntryMethod::Tracepoint,
            whole: false,
        }];
        let layout = RingLayout::new(cpus, request.buffer);
        start_programs(&ways, &request, layout, None, Refused::default)
    }

    /// How many births, execs and ends of `true` the programs see while it runs ten times.
    fn lives(without: fn() -> Refused) -> [usize; 3] {
        const TIMES: usize = 10;
        libbpf::listen();
        let request = Request {
            target: Target::Host,
            selection: SyscallSet::default().into(),
            limits: Limits::default(),
            buffer: 1 << 22,
        };
        let cpus = libbpf_rs::num_possible_cpus().expect("there are CPUs");
        let layout = RingLayout::new(cpus, request.buffer);
        let ways = ways(true, None);
        let started = start_programs(&ways, &request, layout, None, without).expect("they run");
        let (mut capture, _) = capture(started, &request, layout, None).expect("it is open");
        // the children are born by a shell, because the programs leave out lanner's own process
        let script = "for i in 0 1 2 3 4 5 6 7 8 9; do /bin/true; done; exit 7";
        let mut shell = std::process::Command::new("/bin/sh")
            .args(["-c", script])
            .spawn()
            .expect("a shell starts");
        let parent = shell.id();
        let mut seen = [0; 3];
        let mut children = std::collections::BTreeSet::new();
        let mut ended = false;
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !ended && std::time::Instant::now() < deadline {
            let polled = capture.poll(Duration::from_millis(100), &mut |event| {
                let header = event.header();
                let of_child = children.contains(&header.tgid);
                match event.kind() {
                    EventKind::Fork if header.tgid == parent => {
                        children.insert(u32::try_from(header.args[1]).unwrap_or(0));
                        seen[0] += 1;
                    }
                    EventKind::Exec if of_child => seen[1] += 1,
                    EventKind::Exit if of_child => seen[2] += 1,
                    EventKind::Exit if header.tgid == parent => ended = true,
                    _ => {}
                }
                Flow::Continue
            });
            polled.expect("events can be read");
        }
        shell.wait().expect("the shell ends");
        assert!(ended, "the end of the shell is missing: {seen:?}");
        assert_eq!(children.len(), TIMES, "{seen:?}");
        seen
    }

    /// What loading costs is how many instructions the verifier follows. Without the parts of `bpf/parts.h` there were
    /// half a million.
    #[test]
    fn the_verifier_follows_each_part_of_the_programs_once() {
        if !may_load() {
            return;
        }
        if !Features::of_kernel().may_goto {
            return lacking("loops that the verifier follows once");
        }
        libbpf::listen();
        let request = Request {
            target: Target::Host,
            selection: SyscallSet::all().into(),
            limits: Limits::default(),
            buffer: 1 << 16,
        };
        let cpus = libbpf_rs::num_possible_cpus().expect("there are CPUs");
        let layout = RingLayout::new(cpus, request.buffer);
        let ways = ways(true, None);
        let started = start_programs(&ways, &request, layout, None, Refused::default);
        let object = started.expect("they run").running.object;
        let mut all = 0;
        for program in object.progs().filter(|program| program.autoload()) {
            let fd = program.as_fd().as_raw_fd();
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}"));
            let info = info.expect("it can be read");
            let verified = info.lines().find_map(|line| {
                let number = line.strip_prefix("verified_insns:")?;
                number.trim().parse::<u64>().ok()
            });
            let verified = verified.expect("since Linux 5.16 it is there");
            println!("{:>7} {}", verified, program.name().to_string_lossy());
            all += verified;
        }
        println!("{all:>7} in all");
        assert!((1..100_000).contains(&all), "{all} instructions");
    }

    #[test]
    fn births_execs_and_ends_are_seen_once_by_all_copies_of_a_program() {
        if !may_load() {
            return;
        }
        assert_eq!(lives(Refused::default), [10, 10, 10]);
    }

    /// Needs a kernel for which there are copies (Linux 6.9). The kernel skips a program for all the time that
    /// another thread is preempted in it; here the first ones are not there at all.
    #[test]
    fn a_copy_sees_what_the_first_program_misses() {
        if !may_load() {
            return;
        }
        if !Features::of_kernel().may_goto {
            lacking("preemption of programs at tracepoints");
            return;
        }
        let without_first = || Refused::hiding(&["process_fork", "process_exec", "process_exit"]);
        assert_eq!(lives(without_first), [10, 10, 10]);
    }

    /// Needs a kernel that takes the programs for 5.12 and later.
    #[test]
    fn a_refused_program_is_a_named_gap_and_the_others_run() {
        if !may_load() {
            return;
        }
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
        if !may_load() {
            return;
        }
        let Err(error) = start(Target::Pids(vec![1])) else {
            panic!("without births, children would be missed");
        };
        let error = Chain(&error).to_string();
        assert!(error.contains("process_fork"), "{error}");
    }
}
