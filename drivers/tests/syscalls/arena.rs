//! The actor's memory. It is below 4 GiB, so that 32-bit calls reach it, and its end is unreadable.

use driver_api::event::Abi;
use driver_api::table;

/// Bytes of a slot: more than any generated call lets the kernel write.
pub(crate) const SLOT: usize = 8192;
const SLOTS: usize = 96;
const GUARD: usize = 8192;
/// A flag of mmap(2): below 4 GiB. On other machines the suite makes no 32-bit calls.
#[cfg(target_arch = "x86_64")]
pub(crate) const MAP_LOW: i32 = libc::MAP_32BIT;
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const MAP_LOW: i32 = 0;

/// Slots of memory, given out in order and again for the next call.
#[derive(Debug)]
pub(crate) struct Arena {
    base: u64,
    used: usize,
    /// What the slots in use held before the call.
    before: Vec<u8>,
}

impl Arena {
    pub(crate) fn new() -> Self {
        let all = SLOTS * SLOT;
        // SAFETY: a new mapping, which lives as long as the process; its end is made unreadable.
        let base = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | MAP_LOW;
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            let base = libc::mmap(std::ptr::null_mut(), all + GUARD, prot, flags, -1, 0);
            assert_ne!(base, libc::MAP_FAILED, "there is memory below 4 GiB");
            libc::mprotect(base.byte_add(all), GUARD, libc::PROT_NONE);
            base as u64
        };
        Self {
            base,
            used: 0,
            before: Vec::new(),
        }
    }

    /// Gives all slots back.
    pub(crate) fn reset(&mut self) {
        self.used = 0;
    }

    /// An address that cannot be read.
    pub(crate) fn bad(&self) -> u64 {
        self.end() + 64
    }

    fn end(&self) -> u64 {
        self.base + (SLOTS * SLOT) as u64
    }

    /// A slot that holds a pattern of its own, without a zero byte.
    pub(crate) fn pattern(&mut self) -> u64 {
        assert!(
            self.used < SLOTS - 1,
            "a call of the script needs more memory"
        );
        let at = self.base + (self.used * SLOT) as u64;
        let shift = self.used * 5;
        self.used += 1;
        let bytes: Vec<u8> = (0..SLOT).map(|i| b'A' + ((i + shift) % 26) as u8).collect();
        put(at, &bytes);
        at
    }

    /// A slot that begins with these bytes; zeros follow.
    pub(crate) fn hold(&mut self, bytes: &[u8]) -> u64 {
        let at = self.pattern();
        let mut whole = bytes.to_vec();
        whole.resize(SLOT, 0);
        put(at, &whole);
        at
    }

    /// `len` bytes directly before the unreadable end, none of them zero.
    pub(crate) fn edge(&self, len: usize) -> u64 {
        let at = self.end() - len as u64;
        put(at, &vec![b'e'; len]);
        at
    }

    /// An array of numbers as wide as the ABI's pointers.
    pub(crate) fn words(&mut self, abi: Abi, nr: u32, words: &[u64]) -> u64 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| wide(abi, nr, *word)).collect();
        self.hold(&bytes)
    }

    /// Remembers what the slots hold now.
    pub(crate) fn remember(&mut self) {
        self.before = self.read(self.base, self.used * SLOT).unwrap_or_default();
    }

    /// The 32-bit number that was at this address before the call. None: no slot has the address.
    pub(crate) fn before(&self, at: u64) -> Option<u32> {
        let start = at.checked_sub(self.base)? as usize;
        let bytes = self.before.get(start..start.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// How many bytes the kernel wrote from this address on: the distance to the last byte of the slot that changed.
    pub(crate) fn changed(&self, at: u64) -> u64 {
        let Some(start) = at.checked_sub(self.base).map(|start| start as usize) else {
            return 0;
        };
        if start >= self.before.len() {
            return 0;
        }
        let end = (start / SLOT + 1) * SLOT;
        let now = self.read(at, end - start).unwrap_or_default();
        let old = &self.before[start..end];
        let last = old.iter().zip(&now).rposition(|(old, new)| old != new);
        last.map_or(0, |place| place as u64 + 1)
    }

    /// Whether all of it can be read.
    fn holds(&self, at: u64, len: usize) -> bool {
        at >= self.base
            && at
                .checked_add(len as u64)
                .is_some_and(|end| end <= self.end())
    }

    /// The memory there now. None: it cannot be read completely.
    pub(crate) fn read(&self, at: u64, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0_u8; len];
        if self.holds(at, len) {
            // SAFETY: these bytes are mapped, and nothing writes to them now.
            unsafe { std::ptr::copy_nonoverlapping(at as *const u8, bytes.as_mut_ptr(), len) };
            return Some(bytes);
        }
        let iov = |base: u64| libc::iovec {
            iov_base: base as *mut libc::c_void,
            iov_len: len,
        };
        let (local, remote) = (iov(bytes.as_mut_ptr() as u64), iov(at));
        // SAFETY: the local vector is `bytes`; the kernel checks the other.
        let got = unsafe {
            libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0)
        };
        (len == 0 || usize::try_from(got) == Ok(len)).then_some(bytes)
    }
}

fn put(at: u64, bytes: &[u8]) {
    // SAFETY: callers stay within the mapping, to which nothing else refers.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) };
}

/// A number as wide as the ABI's pointers.
pub(crate) fn wide(abi: Abi, nr: u32, number: u64) -> Vec<u8> {
    if table::is_narrow(abi, nr) {
        (number as u32).to_ne_bytes().to_vec()
    } else {
        number.to_ne_bytes().to_vec()
    }
}
