//! Texts, lists and typed values.

use std::ffi::c_void;

/// `LannerValue.tag`, `LannerField.kind`: there is no value. Treat an unknown tag as this one.
pub const TAG_NONE: u32 = 0;
/// `data.boolean`: 0 or 1.
pub const TAG_BOOL: u32 = 1;
/// `data.i64`.
pub const TAG_I64: u32 = 2;
/// `data.u64`.
pub const TAG_U64: u32 = 3;
/// `data.f64`.
pub const TAG_F64: u32 = 4;
/// `data.bytes`: text as the kernel gave it; usually UTF-8, but not guaranteed to be.
pub const TAG_STRING: u32 = 5;
/// `data.bytes`: a buffer.
pub const TAG_BYTES: u32 = 6;
/// `data.ip[0..4]`, network byte order.
pub const TAG_IPV4: u32 = 7;
/// `data.ip[0..16]`, network byte order.
pub const TAG_IPV6: u32 = 8;
/// `data.list`.
pub const TAG_LIST: u32 = 9;
/// `LannerField.kind` only: the tag of the value differs from event to event.
pub const TAG_ANY: u32 = 15;

/// Bytes that the other side owns. `ptr` is NULL only if `len` is 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerStr {
    /// First byte.
    pub ptr: *const u8,
    /// Number of bytes. There is no terminating NUL.
    pub len: usize,
}

/// A typed value. The tag says which member of `data` is set.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LannerValue {
    /// `LANNER_BOOL` and so on.
    pub tag: u32,
    /// 0.
    pub reserved: u32,
    /// The value.
    pub data: LannerValueData,
}

/// The data of a value.
#[repr(C)]
#[derive(Clone, Copy)]
pub union LannerValueData {
    /// 0 or 1.
    pub boolean: u8,
    /// Signed number.
    pub i64: i64,
    /// Unsigned number.
    pub u64: u64,
    /// Floating-point number.
    pub f64: f64,
    /// String or buffer.
    pub bytes: LannerStr,
    /// Address in network byte order. IPv4 uses the first four bytes.
    pub ip: [u8; 16],
    /// Elements.
    pub list: LannerList,
}

/// A list of values. Its elements are never lists themselves.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerList {
    /// First element. NULL only if `len` is 0.
    pub ptr: *const LannerValue,
    /// Number of elements.
    pub len: usize,
}

/// A sink for a text that the called side hands back, such as an error message. The host never passes NULL for it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerText {
    /// Pass it to `put`.
    pub ctx: *mut c_void,
    /// Copies the text. An error sink keeps only the text of the last `put`. Use it only during the call that
    /// passed the sink, and on the thread of that call. Does not block.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, text: LannerStr)>,
}

impl LannerStr {
    /// The text of `s`, for as long as `s` lives.
    #[must_use]
    pub const fn new(s: &[u8]) -> Self {
        Self {
            ptr: s.as_ptr(),
            len: s.len(),
        }
    }

    /// No text. Some functions distinguish it from an empty text.
    #[must_use]
    pub const fn null() -> Self {
        Self {
            ptr: std::ptr::null(),
            len: 0,
        }
    }

    /// The bytes.
    ///
    /// # Safety
    ///
    /// `ptr` is null, or points to `len` bytes that stay unchanged for `'a`.
    #[must_use]
    pub unsafe fn as_bytes<'a>(self) -> &'a [u8] {
        if self.ptr.is_null() || self.len > isize::MAX as usize {
            return &[];
        }
        // SAFETY: by the function's contract; the length was checked.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }

    /// The text. Bytes that are not UTF-8 are replaced by U+FFFD.
    ///
    /// # Safety
    ///
    /// As for [`LannerStr::as_bytes`].
    #[must_use]
    pub unsafe fn to_text(self) -> String {
        // SAFETY: by the function's contract.
        String::from_utf8_lossy(unsafe { self.as_bytes() }).into_owned()
    }
}

impl LannerText {
    /// Hands `text` to the sink.
    ///
    /// # Safety
    ///
    /// The call that passed the sink has not returned.
    pub unsafe fn say(&self, text: &str) {
        if let Some(put) = self.put {
            // SAFETY: the sink is still valid by the function's contract, and the text lives through the call.
            unsafe { put(self.ctx, LannerStr::new(text.as_bytes())) };
        }
    }
}

impl LannerValue {
    /// No value.
    ///
    /// cbindgen:ignore
    pub const NONE: Self = Self {
        tag: TAG_NONE,
        reserved: 0,
        data: LannerValueData { ip: [0; 16] },
    };
}

impl std::fmt::Debug for LannerValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LannerValue")
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LannerValueData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LannerValueData")
    }
}
