//! Looking up fields and event types.

use std::ffi::c_void;

use super::{LannerStatus, LannerStr, LannerText};

/// `LannerField.flags`: the value is a list. `in` compares all elements, `intersects` any element.
pub const FIELD_LIST: u32 = 1;
/// `LannerField.flags`: the value is a list of candidates (all ancestors, for example). A comparison holds if it
/// holds for one candidate.
pub const FIELD_ANY: u32 = 2;
/// `LannerField.flags`: set together with `LANNER_FIELD_ANY` for the two ends of a connection. `!=` holds only if it
/// holds for both ends.
pub const FIELD_EITHER: u32 = 4;
/// `LannerField.flags`: a comparison of the field can keep the driver from capturing an event (`needs`). Since 1.6.
pub const FIELD_SELECTS: u32 = 8;
/// `LannerField.flags`: no event has a value. The name is there for rules that were written for another program. Since 1.7.
pub const FIELD_NEVER: u32 = 16;

/// The result of a field look-up.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerField {
    /// Pass it to `LannerEvent.get`.
    pub id: u32,
    /// `LANNER_BOOL` .. `LANNER_ANY`: the type of the value, or of the elements of a list. `LANNER_IPV6` covers
    /// addresses of both versions.
    pub kind: u32,
    /// `LANNER_FIELD_LIST` and so on, or-ed.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
}

/// Looks up names. Valid while `open` or `check` runs, on its thread. Neither function blocks.
#[repr(C)]
#[derive(Debug)]
pub struct LannerResolver {
    /// Bytes in this struct.
    pub size: usize,
    /// Pass it to the functions below.
    pub ctx: *const c_void,
    /// Finds a field: name `proc.aname`, arg `2`. `arg.ptr` is NULL if there is no argument. `LANNER_OK` sets
    /// `*field`. On `LANNER_ERROR`, `error` receives the reason; `error` may be NULL.
    pub field: Option<
        unsafe extern "C" fn(
            ctx: *const c_void,
            name: LannerStr,
            arg: LannerStr,
            field: *mut LannerField,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Finds the number of an event type such as `openat`, as in `LannerEvent.event_type`. Numbers are small and
    /// dense, so they can index an array.
    pub event_type: Option<
        unsafe extern "C" fn(
            ctx: *const c_void,
            name: LannerStr,
            event_type: *mut u32,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
}
