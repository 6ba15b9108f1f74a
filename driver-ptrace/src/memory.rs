//! Reads the memory of a stopped thread: process_vm_readv(2), or /proc/PID/mem where that is forbidden.
//!
//! If a page comes from the program itself (userfaultfd(2)), process_vm_readv(2) waits for the program, perhaps for ever.
//! /proc/PID/mem says at once that there is no such page. So it is read alone, once a program has asked for such pages
//! ([`expect_withheld_pages`]). It does not respect the protection of pages: memory that the program could not read
//! itself is shown then, and no fault. A page of a file on a FUSE file system comes from a program, too, and every reader
//! waits for it. While there are such file systems ([`fuse`]), another process reads ([`reader`]).
//!
//! Small reads are served from windows that are fetched ahead. A path, the words of a vector and the strings that
//! they point to mostly lie side by side, and a system call costs more than reading a kilobyte.

use std::cell::{Cell, OnceCell, RefCell};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_void, iovec, pid_t};

use crate::fuse;
use crate::proc_dir::ProcDir;
use crate::reader;

const PAGE: u64 = 4096;
/// How many bytes are fetched for a small read. Never beyond the page: the next one may not exist.
const WINDOW: usize = 1024;
/// A read that is longer is not served from a window.
const SMALL: usize = 512;

/// The memory of a process, read through one of its threads. For one stop: what was fetched ahead is not fetched
/// again.
#[derive(Debug)]
pub(crate) struct Memory {
    tid: pid_t,
    /// Pointers are 4 bytes wide.
    pub(crate) narrow: bool,
    /// /proc/TID/mem. None: it cannot be opened.
    file: OnceCell<Option<File>>,
    /// The kernel has forbidden a read.
    was_denied: Cell<bool>,
    /// A read can wait for a file system. None: not asked yet.
    can_wait: OnceCell<bool>,
    windows: RefCell<Windows>,
}

/// A watched program may have pages that come from itself.
static WITHHELD_PAGES: AtomicBool = AtomicBool::new(false);

/// A watched program is about to have pages that come from itself: from now on, no read waits for one.
pub(crate) fn expect_withheld_pages() {
    WITHHELD_PAGES.store(true, Ordering::Relaxed);
}

/// One window for a vector, one for what it points to.
#[derive(Debug)]
struct Windows {
    window: [Window; 2],
    /// The index of the one that was used last.
    last: usize,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    begin: u64,
    len: usize,
    bytes: [u8; WINDOW],
}

impl Memory {
    pub(crate) fn new(tid: pid_t, narrow: bool) -> Self {
        let empty = Window {
            begin: 0,
            len: 0,
            bytes: [0; WINDOW],
        };
        Self {
            tid,
            narrow,
            file: OnceCell::new(),
            was_denied: Cell::new(false),
            can_wait: OnceCell::new(),
            windows: RefCell::new(Windows {
                window: [empty; 2],
                last: 0,
            }),
        }
    }

    /// Reads up to the first byte that cannot be read. Returns the number of bytes read.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) -> usize {
        if into.len() > SMALL {
            return self.read_directly(at, into);
        }
        let mut done = 0;
        while done < into.len() {
            let got = self.window_read(at.wrapping_add(done as u64), &mut into[done..]);
            if got == 0 {
                break;
            }
            done += got;
        }
        done
    }

    /// Copies the part of these bytes that a window has: at least one, unless the first cannot be read.
    fn window_read(&self, at: u64, into: &mut [u8]) -> usize {
        let mut windows = self.windows.borrow_mut();
        let has = |window: &Window| at.wrapping_sub(window.begin) < window.len as u64;
        let which = match windows.window.iter().position(has) {
            Some(which) => which,
            None => {
                let which = 1 - windows.last;
                let window = &mut windows.window[which];
                let len = WINDOW.min(to_page_end(at));
                window.begin = at;
                window.len = self.read_directly(at, &mut window.bytes[..len]);
                which
            }
        };
        windows.last = which;
        let window = &windows.window[which];
        let skip = usize::try_from(at.wrapping_sub(window.begin)).unwrap_or(WINDOW);
        let there = window.bytes[..window.len].get(skip..).unwrap_or_default();
        let got = there.len().min(into.len());
        into[..got].copy_from_slice(&there[..got]);
        got
    }

    fn read_directly(&self, at: u64, into: &mut [u8]) -> usize {
        if self.can_wait() {
            // it leaves the memory to its process while it waits, as the file does not
            let read = reader::memory(self.tid, at, into);
            return read.unwrap_or_else(|| self.read_file(at, into));
        }
        if WITHHELD_PAGES.load(Ordering::Relaxed) {
            return self.read_file(at, into);
        }
        self.read_across(at, into)
    }

    fn can_wait(&self) -> bool {
        *self.can_wait.get_or_init(fuse::is_possible)
    }

    fn read_file(&self, at: u64, into: &mut [u8]) -> usize {
        let file = self.file.get_or_init(|| {
            let dir = ProcDir::open(self.tid.unsigned_abs())?;
            match dir.file(c"mem") {
                Ok(file) => Some(file.into()),
                Err(error) => {
                    let denied = error.kind() == ErrorKind::PermissionDenied;
                    self.was_denied.set(self.was_denied.get() || denied);
                    None
                }
            }
        });
        let Some(file) = file else {
            return 0;
        };
        if self.can_wait() {
            return reader::file(self.tid, file.as_fd(), at, into);
        }
        file.read_at(into, at).unwrap_or(0)
    }

    /// Whether lanner was not allowed to read what it has tried to.
    pub(crate) fn was_denied(&self) -> bool {
        self.was_denied.get()
    }

    fn read_across(&self, at: u64, into: &mut [u8]) -> usize {
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
        // SAFETY: the local vector describes `into`; the remote one is an address in the other process, which the
        // kernel checks.
        let got = unsafe {
            libc::process_vm_readv(self.tid, &raw const local, 1, &raw const remote, 1, 0)
        };
        if let Ok(got) = usize::try_from(got) {
            return got;
        }
        match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::EPERM | libc::ENOSYS) => self.read_file(at, into),
            _ => self.read_pages(at, into),
        }
    }

    /// Reads page by page. The kernel reads nothing of an element of a vector if only a part of it can be read.
    fn read_pages(&self, at: u64, into: &mut [u8]) -> usize {
        let first = to_page_end(at);
        if into.len() <= first {
            return 0;
        }
        let (head, tail) = into.split_at_mut(first);
        let got = self.read_across(at, head);
        if got < first {
            got
        } else {
            got + self.read_across(at.wrapping_add(first as u64), tail)
        }
    }

    /// Reads a whole array, or nothing.
    pub(crate) fn exactly<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (self.read(at, &mut bytes) == N).then_some(bytes)
    }

    /// Reads a number as wide as a pointer.
    pub(crate) fn word(&self, at: u64) -> Option<u64> {
        if self.narrow {
            self.exactly(at).map(|b| u64::from(u32::from_ne_bytes(b)))
        } else {
            self.exactly(at).map(u64::from_ne_bytes)
        }
    }

    /// The number of bytes of a pointer.
    pub(crate) fn width(&self) -> u64 {
        if self.narrow { 4 } else { 8 }
    }

    /// Appends a string without its NUL, at most `limit` bytes. Returns whether it could be read to its end or to
    /// the limit, and whether it is longer than the limit.
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
            let want = piece.len().min(to_page_end(at)).min(limit + 1 - have);
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

/// Bytes from an address to the end of its page, at least one.
fn to_page_end(at: u64) -> usize {
    usize::try_from(PAGE - at % PAGE).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pages. Only the first can be read.
    fn pages() -> *mut u8 {
        let len = 2 * PAGE as usize;
        // SAFETY: a new mapping; the first page is filled, and the second, which nothing uses, is unmapped.
        unsafe {
            let at = libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(at, libc::MAP_FAILED);
            libc::memset(at, i32::from(b'x'), PAGE as usize);
            assert_eq!(libc::munmap(at.add(PAGE as usize), PAGE as usize), 0);
            at.cast()
        }
    }

    fn ours(narrow: bool) -> Memory {
        // SAFETY: gettid(2) always succeeds.
        Memory::new(unsafe { libc::gettid() }, narrow)
    }

    #[test]
    fn a_read_ends_where_the_memory_does_whatever_its_length() {
        let begin = pages() as u64;
        for len in [1, 8, 100, SMALL, SMALL + 1, WINDOW, 2000] {
            for back in [1, 8, 99, 100, 511, 1024, 1999, 4096] {
                let mut into = vec![0; len];
                let got = ours(false).read(begin + PAGE - back, &mut into);
                assert_eq!(
                    got,
                    len.min(back as usize),
                    "{len} bytes {back} before the end"
                );
                assert!(into[..got].iter().all(|b| *b == b'x'));
            }
        }
        assert_eq!(ours(false).read(begin + PAGE, &mut [0; 8]), 0);
    }

    #[test]
    fn words_and_strings_come_from_their_own_places_in_turn() {
        let strings: Vec<String> = (0..300).map(|n| format!("string {n}")).collect();
        let owned: Vec<Vec<u8>> = strings
            .iter()
            .map(|text| [text.as_bytes(), b"\0"].concat())
            .collect();
        let pointers: Vec<u64> = owned.iter().map(|text| text.as_ptr() as u64).collect();
        let memory = ours(false);
        for (index, text) in strings.iter().enumerate() {
            let word = memory.word(pointers.as_ptr() as u64 + 8 * index as u64);
            let mut out = Vec::new();
            let answer = memory.string(word.unwrap(), 4096, &mut out);
            assert_eq!(answer, (true, false));
            assert_eq!(out, text.as_bytes());
        }
        let numbers = [1_u32, 2, 3];
        let narrow = ours(true);
        for (index, number) in numbers.iter().enumerate() {
            let at = numbers.as_ptr() as u64 + 4 * index as u64;
            assert_eq!(narrow.word(at), Some(u64::from(*number)));
        }
    }
}
