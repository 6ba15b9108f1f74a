//! Counts allocations of memory: by this program, and by the plugins that it loads. Their calls of malloc(3) find the
//! functions here before those of the C library.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// The number of allocations so far.
pub(crate) fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(old: *mut c_void, size: usize) -> *mut c_void;
}

/// malloc(3)
// SAFETY: no other function of this program has this name, and it behaves as that of the C library.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    COUNT.fetch_add(1, Ordering::Relaxed);
    // SAFETY: any size can be requested.
    unsafe { __libc_malloc(size) }
}

/// calloc(3)
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    COUNT.fetch_add(1, Ordering::Relaxed);
    // SAFETY: any sizes can be requested.
    unsafe { __libc_calloc(count, size) }
}

/// realloc(3)
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(old: *mut c_void, size: usize) -> *mut c_void {
    COUNT.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the caller's promise: memory of these functions, or null.
    unsafe { __libc_realloc(old, size) }
}
