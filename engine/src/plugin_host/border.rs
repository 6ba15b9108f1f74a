//! What plugins can call, and how texts come back from them.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lanner_plugin::Level;
use lanner_plugin::abi::{ABI_MAJOR, ABI_MINOR, LannerHost, LannerStr, LannerText};

/// A text that a plugin hands back may be this long; the rest is cut off.
const MAX_TEXT: usize = 1 << 20;

/// Makes the table for a plugin. It is never freed, as plugins may use it until the process ends.
pub(super) fn host_table(plugin: &str) -> &'static LannerHost {
    let name: &'static String = Box::leak(Box::new(plugin.to_owned()));
    Box::leak(Box::new(LannerHost {
        size: size_of::<LannerHost>(),
        abi_major: ABI_MAJOR,
        abi_minor: ABI_MINOR,
        ctx: std::ptr::from_ref(name).cast(),
        log: Some(log),
    }))
}

unsafe extern "C" fn log(ctx: *const c_void, level: u32, message: LannerStr) {
    contained(|| {
        // SAFETY: `ctx` is the name that `host_table` leaked; the message lives through the call.
        let (plugin, message) = unsafe { (&*ctx.cast::<String>(), text(message)) };
        match Level::from_number(level) {
            Level::Error => tracing::error!(target: "lanner::plugin", plugin, "{message}"),
            Level::Warn => tracing::warn!(target: "lanner::plugin", plugin, "{message}"),
            Level::Info => tracing::info!(target: "lanner::plugin", plugin, "{message}"),
            Level::Debug => tracing::debug!(target: "lanner::plugin", plugin, "{message}"),
            Level::Trace => tracing::trace!(target: "lanner::plugin", plugin, "{message}"),
        }
    });
}

/// Runs what a plugin called. Should the host itself panic there, the plugin must not see it.
pub(super) fn contained(body: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        tracing::error!("lanner panicked in a call from a plugin; this is a fault of lanner");
    }
}

/// A text from a plugin, cut to a sane length.
///
/// # Safety
///
/// As for [`LannerStr::as_bytes`].
pub(super) unsafe fn text(raw: LannerStr) -> String {
    // SAFETY: by the function's contract; less of it is valid as well.
    unsafe {
        LannerStr {
            ptr: raw.ptr,
            len: raw.len.min(MAX_TEXT),
        }
        .to_text()
    }
}

/// A sink that keeps the last text. `into` must outlive it.
pub(super) fn last_text(into: &mut String) -> LannerText {
    unsafe extern "C" fn put(ctx: *mut c_void, raw: LannerStr) {
        // SAFETY: `ctx` is `into`, borrowed by nobody else during the call.
        contained(|| unsafe { *ctx.cast::<String>() = text(raw) });
    }
    LannerText {
        ctx: std::ptr::from_mut(into).cast(),
        put: Some(put),
    }
}

/// A sink that keeps all texts. `into` must outlive it.
pub(super) fn all_texts(into: &mut Vec<String>) -> LannerText {
    unsafe extern "C" fn put(ctx: *mut c_void, raw: LannerStr) {
        // SAFETY: `ctx` is `into`, borrowed by nobody else during the call.
        contained(|| unsafe { (*ctx.cast::<Vec<String>>()).push(text(raw)) });
    }
    LannerText {
        ctx: std::ptr::from_mut(into).cast(),
        put: Some(put),
    }
}

/// The reason that a plugin gave, or that it gave none.
pub(super) fn reason(text: String, status: i32) -> String {
    if text.is_empty() {
        format!("it gave no reason (status {status})")
    } else {
        text
    }
}
