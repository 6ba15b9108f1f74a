//! Asks the processor for memory before it is written.
//!
//! The ring is larger than the caches, so each event is written to memory that is in none of them. A processor that waits for it
//! spends more time on that than on the copy.

/// Bytes that processors move between memory and caches at once.
const LINE: usize = 64;
/// The most bytes that are asked for at once: the processor follows a long copy by itself.
const MOST: usize = 512;

/// These bytes will be written soon. The pointer may lead anywhere.
#[inline]
pub(crate) fn expect_writes(at: *const u8, length: usize) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..length.min(MOST)).step_by(LINE) {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: the instruction reads and writes nothing, and it does not fault, whatever the address is.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(at.wrapping_add(offset).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (at, length, LINE, MOST);
}
