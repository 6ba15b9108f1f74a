//! What the exported function returns.

use super::{LannerOutputPlugin, LannerRulePlugin, LannerStr};

/// What the exported function returns. Constant, and valid until the process ends.
#[repr(C)]
#[derive(Debug)]
pub struct LannerPlugin {
    /// `LANNER_ABI_MAJOR`. The first three fields never change.
    pub abi_major: u32,
    /// `LANNER_ABI_MINOR`.
    pub abi_minor: u32,
    /// Bytes in this struct.
    pub size: usize,
    /// Lower-case letters, digits, `-`; not empty.
    pub name: LannerStr,
    /// Version of the plugin, in any form.
    pub version: LannerStr,
    /// One sentence.
    pub description: LannerStr,
    /// The rules capability, or NULL.
    pub rules: *const LannerRulePlugin,
    /// The output capability, or NULL. A plugin has at least one of the two.
    pub output: *const LannerOutputPlugin,
}

// SAFETY: the struct and everything that it points to never change, so any thread may read them.
unsafe impl Sync for LannerPlugin {}

/// The type of the exported function. Called from any thread, possibly several times; must not block.
pub type LannerPluginFn = unsafe extern "C" fn() -> *const LannerPlugin;
