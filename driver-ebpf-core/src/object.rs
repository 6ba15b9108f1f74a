//! Brings one object into the kernel: prepares its maps and programs, loads it, and attaches its programs.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use driver_api::driver::OpenError;
use driver_api::event::Abi;
use driver_api::request::{Request, Target};
use driver_api::table;
use driver_ebpf::{interrupted, own, quiet};
use libbpf_rs::{Link, Object, ObjectBuilder, OpenObject};
use zerocopy::IntoBytes;

use crate::NAME;
use crate::entry::{self, EntryMethod, Rooms};
use crate::layout::{Settings, Tail};
use crate::libbpf::{LibbpfError, failed, printed};
use crate::maps::{self, Maps};
use crate::optional::{self, Refused};
use crate::ring::RingLayout;
use crate::thin;
use crate::ways::Way;

/// The program that sees the entries of calls for the time that they take. A run of it that the kernel skips loses no event.
pub(crate) const CALL_ENTERED: &str = "call_entered";

/// Programs that only a tail call reaches.
const TAILS: [(Tail, &str); 3] = [
    (Tail::Exec, "sys_exit_exec"),
    (Tail::Messages, "sys_exit_messages"),
    (Tail::Directories, "sys_exit_directories"),
];

/// The program that makes the events of execs, which only a tail call reaches, too, but from another tracepoint.
const EXEC_EVENT: &str = "process_exec_event";

/// Programs at the tracepoint of submitted operations of io_uring, which has another name on older kernels.
const SUBMITTED: [&str; 2] = ["io_uring_submit_req", "io_uring_submit_sqe"];

/// Programs that run, and their maps.
pub(crate) struct Running {
    pub(crate) object: Object,
    pub(crate) maps: Maps,
    pub(crate) links: Vec<Link>,
    /// Operations of io_uring are captured.
    pub(crate) operations: bool,
    pub(crate) rooms: Rooms,
}

/// Why the programs of an object do not run.
pub(crate) struct StartError {
    /// The program that was refused, if it was one.
    pub(crate) program: Option<String>,
    pub(crate) error: OpenError,
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        Self {
            program: None,
            error,
        }
    }
}

/// Loads and attaches the programs of an object, without the refused ones.
///
/// # Errors
///
/// libbpf or the kernel refuses the object or one of its programs.
pub(crate) fn start(
    way: Way,
    request: &Request,
    layout: RingLayout,
    types_file: Option<&Path>,
    refused: &Refused,
) -> Result<Running, StartError> {
    let mut builder = ObjectBuilder::default();
    let object = way.object.unpack();
    let object = object.map_err(OpenError::failed(NAME, "unpack its own BPF object"))?;
    let thin = match types_file {
        Some(_) => None,
        None => thin::of_kernel(&object, &SUBMITTED),
    };
    let types = types_file
        .map(Path::to_owned)
        .or_else(|| Some(thin.as_ref()?.path()));
    if let Some(file) = types {
        builder
            .btf_custom_path(file)
            .map_err(failed("take the kernel's types from the file"))?;
    }
    let mut open = builder
        .open_memory(&object)
        .map_err(failed("read its own BPF object"))?;
    prepare_maps(&mut open, request, layout, way.entry)?;
    let mut rooms = entry::prepare(&mut open, way.entry)
        .map_err(OpenError::failed(NAME, "attach to the functions of calls"))?;
    for mut program in open.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let is_unasked = name == CALL_ENTERED && !request.selection.times();
        let is_lacked = thin.as_ref().is_some_and(|thin| thin.lacks(&name));
        if is_unasked || is_lacked || refused.has(&name) {
            program.set_autoload(false);
        }
    }
    // forget what was printed about an object that was tried before
    printed();
    let object = quiet::undisturbed(|| open.load()).map_err(|error| {
        let printed = printed();
        StartError {
            program: optional::named(&printed).map(str::to_owned),
            error: OpenError::failed(NAME, "load its programs")(LibbpfError::new(error, &printed)),
        }
    })?;
    let mut maps = Maps::of(&object).map_err(OpenError::failed(NAME, "open its maps"))?;
    maps.select(&interrupted::watched(&request.selection), &request.limits)
        .map_err(OpenError::failed(NAME, "select the calls"))?;
    chain(&object, &maps)?;
    let (mut links, operations) = attach(&object)?;
    let calls = request.selection.with_multiplexers();
    rooms
        .attach(&object, calls.calls(), &mut links)
        .map_err(failed("attach to the functions of calls"))?;
    Ok(Running {
        object,
        maps,
        links,
        operations,
        rooms,
    })
}

/// Sets what has to be known before the maps are made: their sizes, and the settings.
fn prepare_maps(
    open: &mut OpenObject,
    request: &Request,
    layout: RingLayout,
    entry: EntryMethod,
) -> Result<(), OpenError> {
    let Request {
        target, selection, ..
    } = request;
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let settings = Settings {
        self_tgid: own::tgid().unwrap_or_else(|_| std::process::id()),
        execve_nr: table::by_name("execve")
            .and_then(|call| call.number(Abi::NATIVE))
            .unwrap_or_default(),
        tree: u32::from(!matches!(target, Target::Host)),
        chunks: narrow(layout.chunks),
        chunk_shift: layout.chunk.trailing_zeros(),
        late: u32::from(entry == EntryMethod::Scheduler),
        times: u32::from(selection.times()),
    };
    for mut map in open.maps_mut() {
        let name = map.name();
        if name == maps::RINGS {
            map.set_max_entries(narrow(layout.cpus))
                .map_err(failed("make a ring for each CPU"))?;
        } else if name == maps::CHUNKS {
            map.set_value_size(narrow(layout.value()))
                .and_then(|()| map.set_max_entries(narrow(layout.values())))
                .map_err(failed("size the rings"))?;
        } else if name == maps::FOLLOWED && settings.tree == 0 {
            // nothing is looked up in it, and it would take 5 MiB
            map.set_max_entries(1)
                .map_err(failed("size the table of followed threads"))?;
        } else if name == maps::TIMED && settings.times == 0 {
            map.set_max_entries(1)
                .map_err(failed("size the table of entered calls"))?;
        } else if name == maps::SETTINGS {
            map.set_initial_value(settings.as_bytes())
                .map_err(failed("set its settings"))?;
        }
    }
    Ok(())
}

/// Makes the programs of [`TAILS`] and [`EXEC_EVENT`] reachable.
fn chain(object: &Object, maps: &Maps) -> Result<(), OpenError> {
    for program in object.progs().filter(|program| program.autoload()) {
        if program.name() == EXEC_EVENT {
            maps.chain_exec(program.as_fd().as_raw_fd())
                .map_err(OpenError::failed(NAME, "chain the program of execs"))?;
        }
        if let Some((tail, name)) = TAILS.iter().find(|(_, name)| program.name() == *name) {
            maps.chain(*tail, program.as_fd().as_raw_fd())
                .map_err(OpenError::failed(NAME, format!("chain the program {name}")))?;
        }
    }
    Ok(())
}

/// Attaches every program but those of [`TAILS`], [`EXEC_EVENT`] and [`Rooms`]. Returns also whether one of [`SUBMITTED`] is attached.
fn attach(object: &Object) -> Result<(Vec<Link>, bool), StartError> {
    let mut links = Vec::new();
    let mut operations = false;
    for program in object.progs_mut().filter(|program| program.autoload()) {
        let name = program.name().to_string_lossy().into_owned();
        let is_tail = name == EXEC_EVENT || TAILS.iter().any(|(_, tail)| *tail == name);
        if is_tail || Rooms::has(&name) {
            continue;
        }
        let submitted = SUBMITTED.contains(&name.as_str());
        let link = match program.attach() {
            Ok(link) => link,
            Err(error) if submitted => {
                tracing::debug!("{name}: {error}");
                continue;
            }
            Err(error) => {
                return Err(StartError {
                    error: failed(format!("attach the program {name}"))(error),
                    program: Some(name),
                });
            }
        };
        operations |= submitted;
        links.push(link);
    }
    // what libbpf printed about the tracepoint that this kernel does not have
    printed();
    Ok((links, operations))
}
