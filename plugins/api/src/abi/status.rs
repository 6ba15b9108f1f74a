//! What a call returns.

/// The result of a call: one of the constants that follow.
pub type LannerStatus = i32;
/// Success. From `emit`: all alerts were delivered.
pub const STATUS_OK: LannerStatus = 0;
/// Failure. The error sink received the reason.
pub const STATUS_ERROR: LannerStatus = 1;
/// The plugin panicked (or caught its language's equivalent). The host only closes the state after this.
pub const STATUS_PANIC: LannerStatus = 2;
/// From `emit` only: offer the undelivered alerts again later.
pub const STATUS_TRY_AGAIN: LannerStatus = 3;
/// From `emit` only: the undelivered alerts of this batch can never be delivered.
pub const STATUS_GIVE_UP: LannerStatus = 4;
/// Since 1.4. From `emit` only, and only if the batch has `refused`: a part of the batch is done. The host offers the rest
/// at once.
pub const STATUS_GO_ON: LannerStatus = 5;
