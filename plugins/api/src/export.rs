//! [`export_plugin!`](crate::export_plugin): the one symbol that makes a shared library a plugin.

/// Exports a plugin. `rules:` or `output:` is required; both are allowed.
///
/// ```text
/// lanner_plugin::export_plugin! {
///     name: "my-plugin",
///     description: "One sentence on what it does.",
///     rules: MyRules,
///     output: MyOutput,
/// }
/// ```
///
/// The plugin has the version of the crate. Panics are caught only if the crate is built with `panic = "unwind"`, which
/// is Cargo's default.
#[macro_export]
macro_rules! export_plugin {
    (
        name: $name:expr,
        description: $description:expr
        $(, rules: $rules:ty)?
        $(, output: $output:ty)?
        $(,)?
    ) => {
        /// The description of this plugin, for the host.
        #[unsafe(no_mangle)]
        pub extern "C" fn lanner_plugin() -> *const $crate::abi::LannerPlugin {
            static PLUGIN: $crate::abi::LannerPlugin = $crate::abi::LannerPlugin {
                abi_major: $crate::abi::ABI_MAJOR,
                abi_minor: $crate::abi::ABI_MINOR,
                size: ::core::mem::size_of::<$crate::abi::LannerPlugin>(),
                name: $crate::abi::LannerStr::new(str::as_bytes($name)),
                version: $crate::abi::LannerStr::new(str::as_bytes(env!("CARGO_PKG_VERSION"))),
                description: $crate::abi::LannerStr::new(str::as_bytes($description)),
                rules: $crate::__capability!($(&$crate::RuleTable::<$rules>::TABLE)?),
                output: $crate::__capability!($(&$crate::OutputTable::<$output>::TABLE)?),
            };
            &raw const PLUGIN
        }
    };
}

/// A capability's table, or null.
#[doc(hidden)]
#[macro_export]
macro_rules! __capability {
    () => {
        ::core::ptr::null()
    };
    ($table:expr) => {
        $table
    };
}
