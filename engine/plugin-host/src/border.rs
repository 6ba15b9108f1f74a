//! What plugins can call, and how texts come back from them.
//!
//! Pointers and lengths that a plugin passes may be wrong. The kernel copies what they point to
//! (process_vm_readv(2)): it returns an error where a read of our own would crash lanner.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Instant;

use lanner_plugin::Level;
use lanner_plugin::abi::{
    ABI_MAJOR, ABI_MINOR, LannerHost, LannerStatus, LannerStr, LannerText, STATUS_ERROR,
    STATUS_GIVE_UP, STATUS_GO_ON, STATUS_OK, STATUS_PANIC, STATUS_TRY_AGAIN,
};

use super::{metrics, repeats, secrets};

/// The longest text that is taken from a plugin; the rest is cut off.
const MAX_TEXT: usize = 1 << 20;
/// The longest message that is shown.
const MAX_MESSAGE: usize = 1 << 16;
/// An array that claims to be longer is a mistake, and is not read at all.
const NONSENSE: usize = 1 << 26;
/// The same for a text. A text may be longer than what is taken of it: it is cut.
const NONSENSE_TEXT: usize = 1 << 32;
/// The most elements of an array that are read.
const MAX_ITEMS: usize = 1 << 14;

/// Plugins that have a table. Their number, from 1, is the table's `ctx`: a wrong `ctx` leads nowhere.
static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// Makes the table for a plugin. It is never freed, as plugins may use it until the process ends.
pub(super) fn host_table(plugin: &'static str) -> &'static LannerHost {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names.push(plugin);
    Box::leak(Box::new(LannerHost {
        size: size_of::<LannerHost>(),
        abi_major: ABI_MAJOR,
        abi_minor: ABI_MINOR,
        ctx: std::ptr::without_provenance(names.len()),
        log: Some(log),
        metric: Some(metrics::register),
        metric_add: Some(metrics::count),
        metric_set: Some(metrics::set),
    }))
}

/// The name of the plugin that a table was made for.
pub(super) fn plugin_name(ctx: *const c_void) -> &'static str {
    let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let known = ctx.addr().checked_sub(1).and_then(|at| names.get(at));
    known.unwrap_or(&"(a plugin that passes no valid ctx)")
}

unsafe extern "C" fn log(ctx: *const c_void, level: u32, message: LannerStr) {
    contained(|| {
        let plugin = plugin_name(ctx);
        let message = printable(&text(message), false);
        match repeats::admit(plugin, &message, Instant::now()) {
            None => return,
            Some(0) => {}
            Some(count) => {
                tracing::info!(target: "lanner::plugin", plugin, "the last message came {count} more times");
            }
        }
        match Level::from_number(level) {
            Level::Error => tracing::error!(target: "lanner::plugin", plugin, "{message}"),
            Level::Warn => tracing::warn!(target: "lanner::plugin", plugin, "{message}"),
            Level::Info => tracing::info!(target: "lanner::plugin", plugin, "{message}"),
            Level::Debug => tracing::debug!(target: "lanner::plugin", plugin, "{message}"),
            Level::Trace => tracing::trace!(target: "lanner::plugin", plugin, "{message}"),
        }
    });
}

/// What a sink's `ctx` points to. `None`: the plugin passed none.
///
/// # Safety
///
/// `ctx` is null, or what the host put into the sink, whose call has not returned.
pub(super) unsafe fn place<'a, T>(ctx: *mut c_void) -> Option<&'a mut T> {
    // SAFETY: by the function's contract.
    unsafe { ctx.cast::<T>().as_mut() }
}

/// A text from outside for logs and terminals: control characters and those that change the direction of text are escaped
/// (`\u{1b}`). `lines`: line breaks and tabs stay.
#[must_use]
pub fn escape(text: &str, lines: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        push_escaped(&mut shown, c, lines);
    }
    shown
}

fn push_escaped(shown: &mut String, c: char, lines: bool) {
    let direction =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let kept = lines && matches!(c, '\n' | '\t');
    if (c.is_control() && !kept) || direction {
        shown.extend(c.escape_default());
    } else {
        shown.push(c);
    }
}

/// A text of a plugin for logs and terminals, [escaped](escape). Secrets are hidden, and a long text is cut.
pub(super) fn printable(text: &str, lines: bool) -> String {
    let text = secrets::hide(text);
    let mut shown = String::with_capacity(text.len().min(MAX_MESSAGE));
    for c in text.chars() {
        if shown.len() >= MAX_MESSAGE {
            shown.push_str(" ... (cut)");
            break;
        }
        push_escaped(&mut shown, c, lines);
    }
    shown
}

/// Runs the body of a function that a plugin called. A panic of the host ends here and does not unwind into the plugin.
pub(super) fn contained(body: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        tracing::error!("lanner panicked in a call from a plugin; this is a fault of lanner");
    }
}

/// Copies a text from a plugin, at most [`MAX_TEXT`] bytes, up to the first byte that cannot be read.
pub(super) fn text(raw: LannerStr) -> String {
    if raw.len > NONSENSE_TEXT {
        return String::new();
    }
    String::from_utf8_lossy(&bytes(raw.ptr.addr(), raw.len.min(MAX_TEXT))).into_owned()
}

/// Copies an array from a plugin, at most [`MAX_ITEMS`] elements, up to the first that cannot be read.
///
/// # Safety
///
/// Any bytes are a valid `T`.
pub(super) unsafe fn slice<T: Copy>(first: *const T, count: usize) -> Vec<T> {
    let size = size_of::<T>();
    if count > NONSENSE {
        return Vec::new();
    }
    let bytes = bytes(first.addr(), count.min(MAX_ITEMS) * size);
    bytes
        .chunks_exact(size)
        // SAFETY: a chunk has the size of a `T`, and any bytes are a valid one.
        .map(|chunk| unsafe { std::ptr::read_unaligned(chunk.as_ptr().cast()) })
        .collect()
}

/// Whether all of this memory can be read.
pub(super) fn is_readable(address: usize, len: usize) -> bool {
    bytes(address, len).len() == len
}

/// Copies memory that may not be mapped, up to the first page that cannot be read.
///
/// process_vm_readv(2) does the copy, so a wrong address is an error and no crash. A seccomp filter may forbid this call
/// (Docker's did on kernels before 4.8), and a kernel may lack it (`CONFIG_CROSS_MEMORY_ATTACH`). Then the plugin is
/// trusted: its memory is read directly, as the header obliges it to pass valid pointers, and a wrong pointer crashes
/// lanner. The log warns of this once, with the remedy.
fn bytes(address: usize, len: usize) -> Vec<u8> {
    if address == 0 || len == 0 {
        return Vec::new();
    }
    let mut copy: Vec<u8> = Vec::with_capacity(len);
    let local = libc::iovec {
        iov_base: copy.as_mut_ptr().cast(),
        iov_len: len,
    };
    // One piece per page: the call copies nothing of a piece that is only partly mapped (process_vm_readv(2)).
    const PAGE: usize = 4096;
    let mut remote = Vec::new();
    let mut at = address;
    while at - address < len {
        let piece = (PAGE - at % PAGE).min(len - (at - address));
        remote.push(libc::iovec {
            iov_base: std::ptr::without_provenance_mut(at),
            iov_len: piece,
        });
        let Some(next) = at.checked_add(piece) else {
            break;
        };
        at = next;
    }
    // The kernel takes at most 1024 pieces (IOV_MAX): 4 MiB, more than any length here.
    remote.truncate(1024);
    // SAFETY: the call reads our own memory through the kernel, which checks it, and writes at most `len` bytes into
    // the vector, which is its capacity.
    let copied = unsafe {
        libc::process_vm_readv(
            libc::getpid(),
            &raw const local,
            1,
            remote.as_ptr(),
            remote.len() as libc::c_ulong,
            0,
        )
    };
    match usize::try_from(copied) {
        // SAFETY: the kernel wrote this number of bytes.
        Ok(copied) => unsafe { copy.set_len(copied.min(len)) },
        Err(_) => {
            let error = std::io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::EFAULT) {
                return copy;
            }
            warn_of_trust(&error);
            let raw = LannerStr {
                ptr: std::ptr::with_exposed_provenance(address),
                len,
            };
            // SAFETY: the header obliges the plugin to pass what can be read.
            copy.extend_from_slice(unsafe { raw.as_bytes() });
        }
    }
    copy
}

/// Warns, once, that pointers of plugins are not checked.
fn warn_of_trust(error: &std::io::Error) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            "process_vm_readv failed ({error}): pointers from plugins are not checked, and a faulty plugin can crash \
             lanner; allow this system call in the seccomp profile of lanner's container or service"
        );
    });
}

/// A sink that keeps the last text. `into` must outlive it.
pub(super) fn last_text(into: &mut String) -> LannerText {
    unsafe extern "C" fn put(ctx: *mut c_void, raw: LannerStr) {
        let text = text(raw);
        contained(|| {
            // SAFETY: `ctx` is `into`, and no one else borrows it during the call.
            if let Some(into) = unsafe { place::<String>(ctx) } {
                *into = text;
            }
        });
    }
    LannerText {
        ctx: std::ptr::from_mut(into).cast(),
        put: Some(put),
    }
}

/// A sink that keeps all texts. `into` must outlive it.
pub(super) fn all_texts(into: &mut Vec<String>) -> LannerText {
    unsafe extern "C" fn put(ctx: *mut c_void, raw: LannerStr) {
        let text = text(raw);
        contained(|| {
            // SAFETY: `ctx` is `into`, and no one else borrows it during the call.
            if let Some(into) = unsafe { place::<Vec<String>>(ctx) } {
                into.push(text);
            }
        });
    }
    LannerText {
        ctx: std::ptr::from_mut(into).cast(),
        put: Some(put),
    }
}

/// The reason that a plugin gave, fit to be shown, or a text that begins with [`NO_REASON`]. It may have several lines.
pub(super) fn reason(text: &str, status: LannerStatus) -> String {
    if !text.is_empty() {
        return printable(text, true);
    }
    match name_of(status) {
        Some(name) => format!("{NO_REASON} for {name}"),
        None => format!("{NO_REASON}, and its answer {status} is no status of lanner_plugin.h"),
    }
}

/// How [`reason`] begins if the plugin gave none.
pub(super) const NO_REASON: &str = "it gave no reason";

/// What the header calls a status.
fn name_of(status: LannerStatus) -> Option<&'static str> {
    Some(match status {
        STATUS_OK => "LANNER_OK",
        STATUS_ERROR => "LANNER_ERROR",
        STATUS_PANIC => "LANNER_PANIC",
        STATUS_TRY_AGAIN => "LANNER_TRY_AGAIN",
        STATUS_GIVE_UP => "LANNER_GIVE_UP",
        STATUS_GO_ON => "LANNER_GO_ON",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn str(address: usize, len: usize) -> LannerStr {
        LannerStr {
            ptr: std::ptr::without_provenance(address),
            len,
        }
    }

    #[test]
    fn pointers_and_lengths_that_lead_nowhere_are_survived() {
        assert_eq!(text(LannerStr::new(b"good")), "good");
        assert_eq!(text(str(0, 7)), "");
        for address in [1, 8, 4095, usize::MAX, usize::MAX - 4096, 1 << 60] {
            assert_eq!(text(str(address, 7)), "", "{address:#x}");
            assert_eq!(text(str(address, usize::MAX)), "", "{address:#x}");
            assert_eq!(text(str(address, 1 << 22)), "", "{address:#x}");
            // SAFETY: any bytes are a number.
            let numbers: Vec<u64> =
                unsafe { slice(std::ptr::without_provenance(address), 1 << 20) };
            assert!(numbers.is_empty(), "{address:#x}");
        }
    }

    #[test]
    fn functions_of_the_host_survive_null() {
        // SAFETY: null is what is tried.
        unsafe {
            log(std::ptr::null(), 1, LannerStr::null());
            log(std::ptr::without_provenance(usize::MAX), 1, str(0, 7));
            let none = metrics::register(std::ptr::null(), std::ptr::null());
            assert!(none.is_null());
            let mut into = String::new();
            let put = last_text(&mut into).put.unwrap();
            put(std::ptr::null_mut(), LannerStr::new(b"x"));
            let mut all = Vec::new();
            let put = all_texts(&mut all).put.unwrap();
            put(std::ptr::null_mut(), LannerStr::new(b"x"));
        }
    }

    #[test]
    fn texts_are_shown_without_control_characters_and_cut() {
        let text = "a\u{1b}[2J\r\n\u{9b}31m\u{202e}b\tü";
        assert_eq!(
            printable(text, false),
            "a\\u{1b}[2J\\r\\n\\u{9b}31m\\u{202e}b\\tü"
        );
        assert!(printable(text, true).contains("\\r\n\\u{9b}"));
        let long = "x".repeat(1 << 20);
        let shown = reason(&long, 1);
        assert!(shown.len() < MAX_MESSAGE + 20 && shown.ends_with("(cut)"));
        let huge = LannerStr {
            ptr: long.as_ptr(),
            len: NONSENSE + 1,
        };
        // Only the beginning of it is there.
        assert!(super::text(huge).starts_with("xxx"));
    }

    #[test]
    fn a_text_whose_end_cannot_be_read_is_cut_there() {
        // SAFETY: two new pages; the second is made unreadable; both are leaked.
        let first = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            let pages = libc::mmap(std::ptr::null_mut(), 8192, prot, flags, -1, 0);
            assert_ne!(pages, libc::MAP_FAILED);
            let pages = pages.cast::<u8>();
            std::ptr::write_bytes(pages, b'x', 4096);
            assert_eq!(
                libc::mprotect(pages.add(4096).cast(), 4096, libc::PROT_NONE),
                0
            );
            pages
        };
        let raw = LannerStr {
            ptr: first.wrapping_add(4000),
            len: 1 << 20,
        };
        assert_eq!(text(raw), "x".repeat(96));
    }
}
