//! The rings of io_uring(7) and their requests, found by a ring that this thread makes. The program at the tracepoint of
//! submitted operations says where a request is.

use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::files::file_of;
use super::offset;
use super::peek::{Peek, pointers, u32_at, u64_at};
use crate::layout::{Offsets, have};

/// Requests that the ring has room for.
const ENTRIES: u32 = 128;
/// Bytes of a request (`struct io_uring_sqe`).
const REQUEST: usize = 64;
/// Bytes of a `struct io_ring_ctx` and of a `struct io_kiocb` that are searched.
const RING: usize = 4096;
const KIOCB: usize = 256;

/// Operations: `IORING_OP_NOP`; and two that do not end, so that their requests stay.
const NOP: u8 = 0;
const POLL_ADD: u8 = 6;
const TIMEOUT: u8 = 11;

/// Flags of a ring that change nothing here: `IORING_SETUP_CLAMP`, and `IORING_SETUP_CQSIZE` with that size.
const CLAMP: u32 = 1 << 4;
const CQSIZE: u32 = 1 << 3;
const RESULTS: u32 = 512;

/// `struct io_uring_params`, without the fields that are not used.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    unused: [u32; 7],
    /// `struct io_sqring_offsets`: head, tail, ring_mask, ring_entries, flags, dropped, array.
    sq_off: [u32; 10],
    cq_off: [u32; 10],
}

/// Memory of a ring.
struct Mapping {
    at: NonNull<libc::c_void>,
    len: usize,
}

impl Mapping {
    fn new(ring: &OwnedFd, len: usize, at: i64) -> Option<Self> {
        // SAFETY: a new mapping at an address that the kernel chooses.
        let mapped = unsafe {
            mmap(
                None,
                len.try_into().ok()?,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE,
                ring,
                at,
            )
        };
        Some(Self {
            at: mapped.ok()?,
            len,
        })
    }

    /// Writes bytes at an offset. Nothing is written beyond the end.
    fn write(&self, at: usize, bytes: &[u8]) {
        if at + bytes.len() <= self.len {
            // SAFETY: inside the mapping, which nothing else in this process refers to.
            unsafe {
                self.at
                    .as_ptr()
                    .cast::<u8>()
                    .add(at)
                    .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            }
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is our own, and is not used after this.
        let _ = unsafe { munmap(self.at, self.len) };
    }
}

/// A ring of this process.
struct Ring {
    fd: OwnedFd,
    queue: Mapping,
    requests: Mapping,
    offsets: [u32; 10],
    submitted: u32,
    /// The mark in the requests: it is found in the kernel's memory again.
    mark: u64,
}

/// Where a ring is mapped (include/uapi/linux/io_uring.h).
const IORING_OFF_SQ_RING: i64 = 0;
const IORING_OFF_SQES: i64 = 0x1000_0000;

impl Ring {
    fn new(flags: u32, mark: u64) -> Option<Self> {
        let mut params = Params {
            flags,
            cq_entries: if flags & CQSIZE != 0 { RESULTS } else { 0 },
            ..Params::default()
        };
        // SAFETY: io_uring_setup(2) reads and writes the parameters, and returns a new descriptor.
        let fd = unsafe {
            let fd = libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut params);
            i32::try_from(fd)
                .ok()
                .filter(|fd| *fd >= 0)
                .map(|fd| OwnedFd::from_raw_fd(fd))
        }?;
        let array = params.sq_off[6] as usize;
        let ring = Self {
            queue: Mapping::new(&fd, array + 4 * ENTRIES as usize, IORING_OFF_SQ_RING)?,
            requests: Mapping::new(&fd, REQUEST * ENTRIES as usize, IORING_OFF_SQES)?,
            fd,
            offsets: params.sq_off,
            submitted: 0,
            mark,
        };
        for place in 0..ENTRIES {
            ring.queue
                .write(array + 4 * place as usize, &index(place).to_ne_bytes());
            ring.write_request(place, NOP, |_| ());
        }
        Some(ring)
    }

    /// Writes the request that is taken at this place.
    fn write_request(&self, place: u32, code: u8, more: impl FnOnce(&mut [u8; REQUEST])) {
        let mut request = [0; REQUEST];
        request[0] = code;
        request[32..40].copy_from_slice(&self.mark_of(index(place)).to_ne_bytes());
        more(&mut request);
        self.requests
            .write(REQUEST * index(place) as usize, &request);
    }

    /// The `user_data` of the request at this index.
    fn mark_of(&self, index: u32) -> u64 {
        self.mark << 8 | u64::from(index)
    }

    /// Submits this many more requests.
    fn submit(&mut self, count: u32) -> Option<()> {
        self.submitted += count;
        self.queue
            .write(self.offsets[1] as usize, &self.submitted.to_ne_bytes());
        // SAFETY: io_uring_enter(2) takes numbers. The requests refer to memory that outlives it.
        let taken = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.fd.as_raw_fd(),
                count,
                0,
                0,
                std::ptr::null::<libc::c_void>(),
                0,
            )
        };
        (taken == i64::from(count)).then_some(())
    }
}

/// The index of the request that a ring takes at this place: last first, so that the array of indices looks like no other
/// memory.
fn index(place: u32) -> u32 {
    ENTRIES - 1 - place
}

/// Finds the ring of a request, and in a ring its requests: which it takes next, where they are, and their order.
pub(super) fn rings(peek: &mut Peek, off: &mut Offsets, task: u64) -> Option<()> {
    let mark = u64::from(peek.magic) | 1 << 40;
    let mut ring = Ring::new(CLAMP | CQSIZE, mark)?;
    let other = Ring::new(CLAMP, mark)?;
    let (reader, _writer): (PipeReader, PipeWriter) = pipe().ok()?;
    let mut address = |ring: &Ring| {
        let file = file_of(peek, off, task, ring.fd.as_raw_fd())?;
        peek.read_u64(file + u64::from(off.file_private))
    };
    let (at, other_at) = (address(&ring)?, address(&other)?);
    // numbers of submitted requests that no other member has by chance, and that no result counts
    ring.submit(76)?;
    ring.write_request(76, POLL_ADD, |request| {
        request[4..8].copy_from_slice(&reader.as_raw_fd().to_ne_bytes());
        request[28..30].copy_from_slice(&libc::POLLIN.to_ne_bytes());
    });
    let polled = peek.submission(|| ring.submit(1))?;
    let first = peek.read_prefix(at, RING);
    ring.submit(4)?;
    let forever = [1_i64 << 31, 0];
    ring.write_request(81, TIMEOUT, |request| {
        request[16..24].copy_from_slice(&(forever.as_ptr() as u64).to_ne_bytes());
        request[24..28].copy_from_slice(&1_u32.to_ne_bytes());
    });
    let timed = peek.submission(|| ring.submit(1))?;
    let second = peek.read_prefix(at, RING);
    let other = peek.read_prefix(other_at, RING);

    let head = only(
        (0..RING - 4)
            .step_by(4)
            .filter(|&at| u32_at(&first, at) == Some(77) && u32_at(&second, at) == Some(82)),
    )?;
    let entries = [head + 4, head.saturating_sub(4)]
        .into_iter()
        .find(|&at| u32_at(&first, at) == Some(ENTRIES))?;
    let flags = only((0..RING - 4).step_by(4).filter(|&at| {
        u32_at(&first, at) == Some(CLAMP | CQSIZE) && u32_at(&other, at) == Some(CLAMP)
    }))?;
    // the first that fit: behind the ring the memory may be that of the other ring
    let (mut array, mut requests) = (None, None);
    for (at, to) in pointers(&first) {
        let Some(bytes) = peek.read(to, 4 * REQUEST) else {
            continue;
        };
        if (0..4).all(|n| u32_at(&bytes, 4 * n) == Some(index(n as u32))) {
            array.get_or_insert(at);
        }
        if (0..4).all(|n| u64_at(&bytes, REQUEST * n + 32) == Some(ring.mark_of(n as u32))) {
            requests.get_or_insert(at);
        }
    }
    let [polled, timed] = [polled, timed].map(|[first, second]| {
        let ring_first = first == at;
        (ring_first, if ring_first { second } else { first })
    });
    off.submits_ring = u32::from(polled.0);
    // before Linux 5.13 the tracepoint has the code instead of the request
    if polled.1 != u64::from(POLL_ADD) {
        let (poll, timeout) = (peek.read(polled.1, KIOCB)?, peek.read(timed.1, KIOCB)?);
        off.request_ring = offset(
            pointers(&poll)
                .find(|&(at_in, to)| to == at && u64_at(&timeout, at_in) == Some(at))?
                .0,
        );
        off.request_code =
            offset((0..KIOCB).find(|&at| poll[at] == POLL_ADD && timeout[at] == TIMEOUT)?);
    }
    off.ring_head = offset(head);
    off.ring_entries = offset(entries);
    off.ring_flags = offset(flags);
    off.ring_array = offset(array?);
    off.ring_requests = offset(requests?);
    off.have |= have::RINGS;
    Some(())
}

/// The one value of an iterator. None: there are others, or there is none.
fn only(mut found: impl Iterator<Item = usize>) -> Option<usize> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}
