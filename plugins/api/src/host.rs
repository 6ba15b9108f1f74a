//! What a plugin can ask of the host at any time: at present, to log.

use crate::abi::{
    LEVEL_DEBUG, LEVEL_ERROR, LEVEL_INFO, LEVEL_TRACE, LEVEL_WARN, LannerHost, LannerStr,
};

/// The host, as a plugin sees it. Copy it wherever you like: it is valid until the process ends,
/// and every method may be called from any thread.
#[derive(Debug, Clone, Copy)]
pub struct Host(&'static LannerHost);

// SAFETY: the host's table never changes, and its functions may be called from any thread.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

/// How important a log message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    /// Something does not work.
    Error = LEVEL_ERROR,
    /// Something is odd, and somebody should look.
    Warn = LEVEL_WARN,
    /// Something happened that is worth a line.
    Info = LEVEL_INFO,
    /// For whoever looks for a fault.
    Debug = LEVEL_DEBUG,
    /// Everything.
    Trace = LEVEL_TRACE,
}

impl Level {
    /// The level with this number. Unknown ones count as [`Level::Trace`].
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        match number {
            LEVEL_ERROR => Self::Error,
            LEVEL_WARN => Self::Warn,
            LEVEL_INFO => Self::Info,
            LEVEL_DEBUG => Self::Debug,
            _ => Self::Trace,
        }
    }
}

impl Host {
    /// Wraps the host's table.
    ///
    /// # Safety
    ///
    /// `raw` points to a table as the header describes it, valid until the process ends.
    #[must_use]
    pub unsafe fn from_abi(raw: *const LannerHost) -> Option<Self> {
        // SAFETY: by the function's contract.
        let table = unsafe { raw.as_ref() }?;
        (table.size >= size_of::<LannerHost>()).then_some(Self(table))
    }

    /// Writes a line to lanner's log. Lanner puts the plugin's name before it.
    pub fn log(&self, level: Level, message: &str) {
        if let Some(log) = self.0.log {
            // SAFETY: the table is valid by the contract of `from_abi`, the message lives through
            // the call.
            unsafe { log(self.0.ctx, level as u32, LannerStr::new(message.as_bytes())) };
        }
    }
}
