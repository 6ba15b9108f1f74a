//! Reads the memory of a stopped thread: process_vm_readv(2), and /proc/PID/mem where that is forbidden.

use std::fs::File;
use std::os::unix::fs::FileExt;

use libc::{c_void, iovec, pid_t};

const PAGE: u64 = 4096;

/// The memory of a process, through one of its threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    tid: pid_t,
    /// Pointers are 4 bytes wide.
    pub(crate) narrow: bool,
}

impl Memory {
    pub(crate) fn new(tid: pid_t, narrow: bool) -> Self {
        Self { tid, narrow }
    }

    /// Reads as many bytes as there are up to the first that cannot be read; says how many.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) -> usize {
        if into.is_empty() {
            return 0;
        }
        let Ok(address) = usize::try_from(at) else {
            return 0;
        };
        let local = iovec {
            iov_base: into.as_mut_ptr().cast(),
            iov_len: into.len(),
        };
        let remote = iovec {
            iov_base: address as *mut c_void,
            iov_len: into.len(),
        };
        // SAFETY: the local vector is `into`; the remote one is checked by the kernel.
        let got = unsafe {
            libc::process_vm_readv(self.tid, &raw const local, 1, &raw const remote, 1, 0)
        };
        if let Ok(got) = usize::try_from(got) {
            return got;
        }
        match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::EPERM | libc::ENOSYS) => File::open(format!("/proc/{}/mem", self.tid))
                .and_then(|file| file.read_at(into, at))
                .unwrap_or(0),
            _ => self.read_pages(at, into),
        }
    }

    /// The kernel refuses a vector that begins well and ends badly only in whole elements: by pages.
    fn read_pages(&self, at: u64, into: &mut [u8]) -> usize {
        let first = usize::try_from(PAGE - at % PAGE).unwrap_or(0);
        if into.len() <= first {
            return 0;
        }
        let (head, tail) = into.split_at_mut(first);
        let got = self.read(at, head);
        if got < first {
            got
        } else {
            got + self.read(at + PAGE - at % PAGE, tail)
        }
    }

    /// All of it or nothing.
    pub(crate) fn exactly<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (self.read(at, &mut bytes) == N).then_some(bytes)
    }

    /// A number as wide as a pointer.
    pub(crate) fn word(&self, at: u64) -> Option<u64> {
        if self.narrow {
            self.exactly(at).map(|b| u64::from(u32::from_ne_bytes(b)))
        } else {
            self.exactly(at).map(u64::from_ne_bytes)
        }
    }

    /// Bytes of a pointer.
    pub(crate) fn width(&self) -> u64 {
        if self.narrow { 4 } else { 8 }
    }

    /// Appends a string without its NUL, at most `limit` bytes. False: an address could not be read
    /// before the string's end. The second answer: there is more.
    pub(crate) fn string(&self, at: u64, limit: usize, out: &mut Vec<u8>) -> (bool, bool) {
        let start = out.len();
        let mut at = at;
        let mut piece = [0_u8; 256];
        loop {
            let have = out.len() - start;
            if have > limit {
                out.truncate(start + limit);
                return (true, true);
            }
            let to_page_end = usize::try_from(PAGE - at % PAGE).unwrap_or(1);
            let want = piece.len().min(to_page_end).min(limit + 1 - have);
            if want == 0 {
                return (true, false);
            }
            let got = self.read(at, &mut piece[..want]);
            if let Some(end) = piece[..got].iter().position(|b| *b == 0) {
                out.extend_from_slice(&piece[..end]);
                return (true, false);
            }
            out.extend_from_slice(&piece[..got]);
            if got < want {
                return (false, false);
            }
            at = at.wrapping_add(got as u64);
        }
    }
}
