//! The plugins that this build has linked in: none, unless `LANNER_BUILT_IN` named some for `build.rs`.

use plugin_host::Linked;

include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// Makes them known to the plugin host.
pub(crate) fn link() {
    // SAFETY: each function is the `lanner_plugin` of a plugin, which tools/built-in has given another name.
    unsafe { plugin_host::link(&PLUGINS) };
}
