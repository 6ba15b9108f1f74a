//! Operations of io_uring(7): events of their own, as of calls that are entered.

use std::ffi::CString;

use driver_api::event::{Abi, Flags, Status};
use driver_api::support::Gap;

use crate::Case;
use crate::stage::{Kept, Outcome, Stage, check, named, same};

pub(crate) const CASES: &[Case] = &[(&[8, 13], "operations of io_uring are events", operations)];

const NAMES: [&str; 6] = [
    "io_uring_openat",
    "io_uring_close",
    "io_uring_read",
    "io_uring_write",
    "io_uring_renameat",
    "io_uring_connect",
];

/// What the program in [`act`] submits, as events.
fn operations(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let file = folder.path().join("file");
    let file = file.to_str().unwrap_or_default();
    std::fs::write(file, b"twelve bytes").map_err(|e| e.to_string())?;
    let (events, status) = stage.watch("rings", &[file], &NAMES)?;
    if status == Some(NO_RINGS << 8) {
        same("events without a ring", &events_of_rings(&events), &0)?;
        return Ok(Some("this kernel makes no rings".to_owned()));
    }
    let support = stage.driver.probe(stage.host);
    if support.gaps().iter().any(|gap| gap.what == Gap::OPERATIONS) {
        same("events of a gap", &events_of_rings(&events), &0)?;
        return Ok(Some("gap: operations of io_uring".to_owned()));
    }
    let all: Vec<_> = events
        .iter()
        .filter(|e| NAMES.contains(&e.name()))
        .collect();
    check(
        all.iter()
            .all(|e| e.event().abi() == Abi::IoUring && e.event().has(Flags::ENTRY)),
        || "an operation is no entry of the ABI io_uring".to_owned(),
    )?;
    let open = named(&events, "io_uring_openat")
        .next()
        .ok_or("the openat is missing")?;
    same("path", &open.text(1).as_deref(), &Some(file))?;
    let [directory, _, flags, mode, ..] = open.header().args;
    same(
        "directory, flags and mode",
        &(directory as u32 as i32, flags, mode),
        &(libc::AT_FDCWD, libc::O_RDWR as u64, 0o640),
    )?;
    let write = named(&events, "io_uring_write")
        .next()
        .ok_or("the write is missing")?;
    same("data", &write.text(1).as_deref(), &Some("written"))?;
    let read = named(&events, "io_uring_read")
        .next()
        .ok_or("the read is missing")?;
    check(
        read.event()
            .argument(1)
            .is_none_or(|data| data.bytes.is_empty()),
        || "a read that has not been made has data".to_owned(),
    )?;
    same(
        "read of a registered file",
        &read.header().args[0],
        &u64::MAX,
    )?;
    let close = named(&events, "io_uring_close")
        .next()
        .ok_or("the close is missing")?;
    same("closed descriptor", &close.header().args[0], &777)?;
    let rename = named(&events, "io_uring_renameat")
        .next()
        .ok_or("the renameat is missing")?;
    same(
        "paths",
        &(rename.text(1).as_deref(), rename.text(3).as_deref()),
        &(Some(file), Some("/nonexistent/name")),
    )?;
    let connect = named(&events, "io_uring_connect")
        .next()
        .ok_or("the connect is missing")?;
    let address = connect
        .event()
        .argument(1)
        .map(|address| (address.status, address.bytes.len()));
    same("address", &address, &Some((Status::Whole, 16)))?;
    Ok(None)
}

fn events_of_rings(events: &[Kept]) -> usize {
    events.iter().filter(|e| NAMES.contains(&e.name())).count()
}

/// The actor's status where io_uring_setup(2) is refused: before Linux 5.1, or by kernel.io_uring_disabled.
const NO_RINGS: i32 = 3;

/// Codes of operations (include/uapi/linux/io_uring.h).
const CONNECT: u8 = 16;
const OPENAT: u8 = 18;
const CLOSE: u8 = 19;
const READ: u8 = 22;
const WRITE: u8 = 23;
const RENAMEAT: u8 = 35;

/// `struct io_uring_sqe`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Request {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    off: u64,
    addr: u64,
    len: u32,
    op_flags: u32,
    rest: [u64; 4],
}

/// `struct io_uring_params`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Params {
    head: [u32; 10],
    /// head, tail, ring_mask, ring_entries, flags, dropped, array
    queue: [u32; 10],
    results: [u32; 10],
}

/// Submits operations to a ring, and waits for each.
pub(crate) fn act(file: &str) {
    const FIXED_FILE: u8 = 1;
    let mut params = Params::default();
    // SAFETY: io_uring_setup(2) writes the parameters.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 8, &raw mut params) };
    if ring < 0 {
        let why = std::io::Error::last_os_error();
        let refused = [libc::ENOSYS, libc::EPERM].contains(&why.raw_os_error().unwrap_or(0));
        assert!(refused, "io_uring_setup: {why}");
        std::process::exit(NO_RINGS);
    }
    let ring = i32::try_from(ring).expect("a descriptor");
    let map = |len: usize, at: i64| {
        // SAFETY: a new mapping of the ring, which lasts until the process ends.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                ring,
                at,
            )
        };
        assert_ne!(at, libc::MAP_FAILED, "the ring can be mapped");
        at
    };
    let array = params.queue[6] as usize;
    let queue = map(array + 4 * 8, 0);
    let requests = map(64 * 8, 0x1000_0000).cast::<Request>();
    let mut next = 0_u32;
    let mut submit = |request: Request| {
        // SAFETY: all is within the two mappings: the request at the index, the index in the array, and the tail. The
        // memory that the request refers to outlives io_uring_enter(2), which waits for the result.
        unsafe {
            let at = next % 8;
            requests.add(at as usize).write(request);
            queue
                .byte_add(array + 4 * at as usize)
                .cast::<u32>()
                .write(at);
            next += 1;
            queue
                .byte_add(params.queue[1] as usize)
                .cast::<u32>()
                .write_volatile(next);
            libc::syscall(
                libc::SYS_io_uring_enter,
                ring,
                1,
                1,
                1, // IORING_ENTER_GETEVENTS
                std::ptr::null::<libc::c_void>(),
                0,
            );
        }
    };
    let address = |text: &CString| text.as_ptr() as u64;
    let path = CString::new(file).expect("no NUL");
    let other = CString::new("/nonexistent/name").expect("no NUL");
    let data = CString::new("written").expect("no NUL");
    let mut buffer = [0_u8; 64];
    let internet = [2_u8, 0, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let request = |opcode, fd| Request {
        opcode,
        fd,
        ..Request::default()
    };
    submit(Request {
        addr: address(&path),
        len: 0o640,
        op_flags: libc::O_RDWR.cast_unsigned(),
        ..request(OPENAT, libc::AT_FDCWD)
    });
    submit(Request {
        addr: address(&data),
        len: 7,
        ..request(WRITE, 999)
    });
    submit(Request {
        flags: FIXED_FILE,
        addr: buffer.as_mut_ptr() as u64,
        len: 64,
        ..request(READ, 0)
    });
    submit(request(CLOSE, 777));
    submit(Request {
        addr: address(&path),
        len: libc::AT_FDCWD.cast_unsigned(),
        off: address(&other),
        ..request(RENAMEAT, libc::AT_FDCWD)
    });
    submit(Request {
        addr: internet.as_ptr() as u64,
        off: 16,
        ..request(CONNECT, 999)
    });
}
