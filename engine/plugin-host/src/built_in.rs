//! Plugins that are linked into the program. They are the same plugins behind the same ABI; only the library that holds
//! them is missing. A static lanner has no other plugins, since it has no dynamic linker.

use std::path::PathBuf;
use std::sync::OnceLock;

use lanner_plugin::abi::LannerPluginFn;

use super::crash;
use super::error::PluginError;
use super::find::PluginFile;
use super::load::{Plugin, load_linked};
use super::slow::{Call, LOAD};

/// A plugin that is linked into the program.
#[derive(Debug, Clone, Copy)]
pub struct Linked {
    /// A name for messages about a plugin that is refused.
    pub name: &'static str,
    /// What a library would export as `lanner_plugin`.
    pub entry: LannerPluginFn,
}

static PLUGINS: OnceLock<Vec<PluginFile>> = OnceLock::new();

/// Makes linked plugins known. The program calls it once, before it looks for a plugin.
///
/// # Safety
///
/// Each entry returns a plugin's description as `lanner_plugin.h` demands it.
pub unsafe fn link(plugins: &[Linked]) {
    PLUGINS.get_or_init(|| {
        let mut found: Vec<PluginFile> = Vec::new();
        for Linked { name, entry } in plugins {
            let path = PathBuf::from(format!("built-in plugin {name}"));
            let _call = Call::begin(crash::forever(name), LOAD);
            // SAFETY: by the contract of this function.
            let plugin = unsafe { load_linked(&path, *entry) };
            let plugin = plugin.and_then(|plugin| match named(&found, plugin.name()) {
                Some(first) => Err(PluginError::same_name(path.clone(), &plugin, first)),
                None => Ok(plugin),
            });
            found.push(PluginFile { path, plugin });
        }
        found
    });
}

/// The linked plugins, in the order in which the program named them.
#[must_use]
pub fn built_in() -> &'static [PluginFile] {
    PLUGINS.get().map_or(&[], Vec::as_slice)
}

/// The plugin of this name among those that were found.
pub(super) fn named<'a>(found: &'a [PluginFile], name: &str) -> Option<&'a Plugin> {
    found
        .iter()
        .filter_map(|found| found.plugin.as_ref().ok())
        .find(|plugin| plugin.name() == name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lanner_plugin::{Alerts, Delivery, Error, Host, OutputPlugin};

    use super::*;
    use crate::find::{find, list};
    use crate::outputs::OutputHost;
    use crate::tests::{Directory, TABLES};

    struct Sink;

    impl OutputPlugin for Sink {
        type Settings = ();

        fn open(_host: Host, _settings: ()) -> Result<Self, Error> {
            Ok(Self)
        }

        fn emit(&mut self, _alerts: &Alerts<'_>) -> Delivery {
            Delivery::Delivered
        }
    }

    lanner_plugin::export_plugin! {
        name: "linked",
        description: "Takes alerts.",
        output: Sink,
    }

    unsafe extern "C" fn nothing() -> *const lanner_plugin::abi::LannerPlugin {
        std::ptr::null()
    }

    #[test]
    fn a_built_in_plugin_is_used_like_one_from_a_file_and_comes_before_it() {
        let plugins = [
            Linked {
                name: "linked",
                entry: lanner_plugin,
            },
            Linked {
                name: "again",
                entry: lanner_plugin,
            },
            Linked {
                name: "empty",
                entry: nothing,
            },
        ];
        // SAFETY: two entries are that of a plugin, and a null pointer is refused.
        unsafe { link(&plugins) };
        let plugin = find(&[], "linked").unwrap();
        assert!(plugin.is_built_in());
        assert_eq!(plugin.capabilities(), ["output"]);
        OutputHost::open(&plugin, "").unwrap().flush().unwrap();
        // the other two are refused, and named
        let refused: Vec<String> = built_in()
            .iter()
            .filter_map(|found| Some(found.plugin.as_ref().err()?.to_string()))
            .collect();
        assert_eq!(refused.len(), 2);
        assert!(
            refused[0].starts_with("built-in plugin again is left out: built-in plugin linked"),
            "{refused:?}"
        );
        assert!(
            refused[1].starts_with("built-in plugin empty is faulty"),
            "{refused:?}"
        );
        let missing = find(&[], "other").unwrap_err().to_string();
        assert!(missing.contains(&refused[1]), "{missing}");

        // a file cannot take the place of a built-in plugin
        let directory = Directory::new();
        let file = directory.c("linked", &format!("#define NAME \"linked\"\n{TABLES}"));
        let folder = [file.parent().map(Path::to_owned).unwrap()];
        assert!(find(&folder, "linked").unwrap().is_built_in());
        let listed = list(&folder);
        let error = listed[0].plugin.as_ref().unwrap_err().to_string();
        assert!(error.contains("built-in plugin linked"), "{error}");
    }
}
