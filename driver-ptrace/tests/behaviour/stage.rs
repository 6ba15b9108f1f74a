//! What the cases share: the compiled programs, opening the driver, and events that outlive their poll.

use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use driver_api::driver::{Capture, CaptureError, Driver, Flow, OpenError, Polled};
use driver_api::event::{Event, EventKind, Header};
use driver_api::host::Host;
use driver_api::request::{Command, Limits, Request, SyscallSet, Target};
use driver_api::selection::Selection;
use driver_api::table;
use driver_ptrace::Ptrace;

/// No case may take longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An event that outlives its poll.
pub(crate) struct Kept(Vec<u8>);

impl Kept {
    pub(crate) fn event(&self) -> Event<'_> {
        Event::parse(&self.0).expect("a driver's event")
    }

    pub(crate) fn header(&self) -> Header {
        *self.event().header()
    }

    pub(crate) fn kind(&self) -> EventKind {
        self.event().kind()
    }

    pub(crate) fn name(&self) -> &'static str {
        table::by_number(self.event().abi(), self.header().nr).map_or("", |call| call.name)
    }

    /// What argument `at` points to, as text.
    pub(crate) fn text(&self, at: usize) -> String {
        let event = self.event();
        event.argument(at).map_or(String::new(), |attachment| {
            String::from_utf8_lossy(&attachment.text()).into_owned()
        })
    }
}

/// Compiles a C program from its sources, once for each run: into the build's folder, or among temporary files if this
/// user may not write there.
fn compiled(name: &str, sources: &[&str], options: &[&str]) -> PathBuf {
    let sources = sources.iter().map(|source| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/behaviour")
            .join(source)
    });
    // SAFETY: geteuid(2) always succeeds.
    let user = unsafe { libc::geteuid() };
    let name = format!("lanner-{name}-{user}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let begun = |folder: &Path| {
        let path = folder.join(format!("{name}-{}", std::process::id()));
        std::fs::File::create(&path).map(|_| path)
    };
    let (folder, fresh) = match begun(folder) {
        Ok(fresh) => (folder.to_owned(), fresh),
        Err(_) => {
            let folder = std::env::temp_dir();
            let fresh = begun(&folder).expect("a place for temporary files");
            (folder, fresh)
        }
    };
    let status = Process::new("cc")
        .args(["-O1", "-w", "-o"])
        .arg(&fresh)
        .args(sources)
        .args(options)
        .status()
        .expect("a C compiler");
    assert!(status.success(), "{name} does not compile");
    // another run may be executing the file that this one replaces
    let out = folder.join(name);
    std::fs::rename(fresh, &out).expect("the program's name");
    out
}

pub(crate) fn actor_path() -> &'static Path {
    static ACTOR: OnceLock<PathBuf> = OnceLock::new();
    ACTOR.get_or_init(|| compiled("actor", &["actor.c"], &["-pthread"]))
}

pub(crate) fn scenes_path() -> &'static Path {
    const SOURCES: [&str; 10] = [
        "scenes/main.c",
        "scenes/signals.c",
        "scenes/blocked.c",
        "scenes/stops.c",
        "scenes/births.c",
        "scenes/threads.c",
        "scenes/filters.c",
        "scenes/hidden.c",
        "scenes/late.c",
        "scenes/storm.c",
    ];
    static SCENES: OnceLock<PathBuf> = OnceLock::new();
    SCENES.get_or_init(|| compiled("scenes", &SOURCES, &["-pthread"]))
}

/// For a 32-bit program without a C library.
#[cfg(target_arch = "x86_64")]
const NARROW_OPTIONS: [&str; 3] = ["-m32", "-nostdlib", "-static"];

#[cfg(target_arch = "x86_64")]
pub(crate) fn narrow_path() -> &'static Path {
    static NARROW: OnceLock<PathBuf> = OnceLock::new();
    NARROW.get_or_init(|| compiled("narrow", &["narrow.c"], &NARROW_OPTIONS))
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn interrupted_path() -> &'static Path {
    static INTERRUPTED: OnceLock<PathBuf> = OnceLock::new();
    INTERRUPTED.get_or_init(|| compiled("interrupted", &["interrupted.c"], &NARROW_OPTIONS))
}

pub(crate) fn command(program: &Path, args: &[&str]) -> Target {
    let mut all = vec![program.as_os_str().to_owned()];
    all.extend(args.iter().map(Into::into));
    Target::Command(Command {
        program: program.as_os_str().to_owned(),
        args: all,
    })
}

pub(crate) fn actor(args: &[&str]) -> Target {
    command(actor_path(), args)
}

pub(crate) fn shell(script: &str) -> Target {
    command(Path::new("/bin/sh"), &["-c", script])
}

pub(crate) fn calls(names: &[&str]) -> SyscallSet {
    names
        .iter()
        .map(|name| table::by_name(name).expect("a call of the table"))
        .collect()
}

/// This host, as far as the driver asks.
pub(crate) fn host() -> Host {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let capabilities = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .expect("CapEff");
    Host {
        capabilities,
        seccomp: true,
        ..Host::default()
    }
}

pub(crate) fn open(target: Target, names: &[&str]) -> Result<Box<dyn Capture>, OpenError> {
    open_on(&Ptrace, &host(), target, names)
}

/// Opens a mode of the driver on a host.
pub(crate) fn open_on(
    driver: &dyn Driver,
    host: &Host,
    target: Target,
    names: &[&str],
) -> Result<Box<dyn Capture>, OpenError> {
    open_selected(driver, host, target, calls(names).into())
}

/// The same with a selection that may have predicates.
pub(crate) fn open_selected(
    driver: &dyn Driver,
    host: &Host,
    target: Target,
    selection: Selection,
) -> Result<Box<dyn Capture>, OpenError> {
    let request = Request {
        target,
        selection,
        limits: Limits::default(),
        buffer: 1 << 20,
    };
    let opened = driver.open(host, &request)?;
    Ok(opened.capture)
}

/// Polls until `enough` holds, or the end: the events, and whether and how it ended.
pub(crate) fn until(
    capture: &mut dyn Capture,
    mut enough: impl FnMut(&Kept) -> bool,
) -> Result<(Vec<Kept>, Option<Option<i32>>), CaptureError> {
    let begin = Instant::now();
    let mut events: Vec<Kept> = Vec::new();
    let mut done = false;
    while !done {
        assert!(
            begin.elapsed() < PATIENCE,
            "no end after {} events",
            events.len()
        );
        let polled = capture.poll(Duration::from_millis(100), &mut |event| {
            let kept = Kept(event.to_vec());
            done = done || enough(&kept);
            events.push(kept);
            if done { Flow::Stop } else { Flow::Continue }
        })?;
        if let Polled::Ended(status) = polled {
            return Ok((events, Some(status)));
        }
    }
    Ok((events, None))
}

/// Runs a command to its end in a mode of the driver, on a host.
pub(crate) fn watch_on(
    driver: &dyn Driver,
    host: &Host,
    target: Target,
    names: &[&str],
) -> (Vec<Kept>, i32) {
    let mut capture = open_on(driver, host, target, names).expect("the driver opens");
    let (events, status) = until(capture.as_mut(), |_| false).expect("the capture goes on");
    let status = status.flatten().expect("a wait status");
    (events, status)
}

/// Runs a command to its end.
pub(crate) fn watch(target: Target, names: &[&str]) -> (Vec<Kept>, i32) {
    watch_on(&Ptrace, &host(), target, names)
}

pub(crate) fn exit_code(status: i32) -> i32 {
    assert!(
        libc::WIFEXITED(status),
        "the command was ended by signal {}",
        libc::WTERMSIG(status)
    );
    libc::WEXITSTATUS(status)
}

/// All calls of the table, so that every call stops twice: the hardest case.
pub(crate) fn everything() -> Vec<&'static str> {
    table::SYSCALLS.iter().map(|call| call.name).collect()
}

pub(crate) fn of_kind(events: &[Kept], kind: EventKind) -> Vec<&Kept> {
    events.iter().filter(|event| event.kind() == kind).collect()
}

pub(crate) fn named<'a>(events: &'a [Kept], name: &str) -> Vec<&'a Kept> {
    events
        .iter()
        .filter(|event| {
            matches!(event.kind(), EventKind::Syscall | EventKind::Exec) && event.name() == name
        })
        .collect()
}

/// Checks that each thread has one birth and one end, and no event before or after its life.
pub(crate) fn lives_are_whole(events: &[Kept]) {
    let mut alive = std::collections::BTreeMap::new();
    let mut killed = std::collections::BTreeSet::new();
    let first = events.first().expect("events").header();
    alive.insert(first.tid, first.tgid);
    for event in events {
        let header = event.header();
        if event.kind() == EventKind::Exec && !alive.contains_key(&header.tid) {
            // a thread that executes takes the first thread's id; its own id has no end
            let former = alive.iter().find(|(_, tgid)| **tgid == header.tgid);
            let former = *former.expect("the thread that made the call").0;
            alive.remove(&former);
            alive.insert(header.tid, header.tgid);
        }
        // the end of a parent that is killed while it forks may come before the birth of the child
        let late = event.kind() == EventKind::Fork && killed.contains(&header.tid);
        assert!(
            late || alive.contains_key(&header.tid),
            "{:?} of thread {} which does not live",
            event.kind(),
            header.tid
        );
        match event.kind() {
            EventKind::Fork => {
                let child = u32::try_from(header.args[0]).expect("a thread id");
                let tgid = u32::try_from(header.args[1]).expect("a process id");
                assert!(alive.insert(child, tgid).is_none(), "{child} is born twice");
            }
            EventKind::Exit => {
                alive.remove(&header.tid);
                if i32::try_from(header.ret).is_ok_and(|status| libc::WIFSIGNALED(status)) {
                    killed.insert(header.tid);
                }
            }
            _ => {}
        }
    }
    assert!(alive.is_empty(), "threads without an end: {alive:?}");
}
