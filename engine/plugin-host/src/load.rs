//! Loads one plugin. Nothing of it is used before its version and sizes have been checked.

use std::ffi::c_void;
use std::fmt;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use lanner_plugin::abi::{
    ABI_MAJOR, LannerHost, LannerOutputPlugin, LannerPlugin, LannerPluginFn, LannerRulePlugin,
    LannerStatus, LannerStr, LannerText, STATUS_OK, SYMBOL,
};
use lanner_plugin::files;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use serde_json::Value as Json;

use super::border::{self, is_readable, last_text, reason};
use super::error::PluginError;
use super::pin::Pins;
use super::slow::{Call, LOAD};
use super::{crash, elf, metrics};

/// Whether this program can load plugins from files. One that is linked statically cannot: it has no dynamic linker.
pub const LOADS_LIBRARIES: bool = !cfg!(target_feature = "crt-static");

/// The longest name, version or description.
const MAX_WORD: usize = 4096;

/// `schema` of a capability's table.
type SchemaFn = unsafe extern "C" fn(*const LannerText, *const LannerText) -> LannerStatus;

/// A loaded plugin. Cheap to clone; never unloaded.
#[derive(Clone)]
pub struct Plugin(Arc<Loaded>);

struct Loaded {
    path: PathBuf,
    built_in: bool,
    name: &'static str,
    version: String,
    description: String,
    abi: (u32, u32),
    rules: Option<&'static LannerRulePlugin>,
    output: Option<&'static LannerOutputPlugin>,
    host: &'static LannerHost,
    faults: AtomicU64,
    rule_schema: OnceLock<Option<Json>>,
    output_schema: OnceLock<Option<Json>>,
}

// SAFETY: the plugin's tables never change, and the header lets any thread use them.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

/// Loads a plugin, if only root and the user who runs lanner can have written it.
///
/// # Errors
///
/// There is a [`PluginError`] for each reason why a file is no usable plugin. It names the file.
pub fn load(path: &Path) -> Result<Plugin, PluginError> {
    load_pinned(path, &Pins::default())
}

/// As [`load`], if the file has the SHA-256 sum that it must have.
///
/// # Errors
///
/// As for [`load`].
pub fn load_pinned(path: &Path, pins: &Pins) -> Result<Plugin, PluginError> {
    if !LOADS_LIBRARIES {
        return Err(PluginError::Static {
            path: path.to_owned(),
        });
    }
    // The linker opens the path again. Only root and the user who runs lanner can change where it leads. The name of the
    // descriptor would break libraries that the plugin brings along, which the linker finds by the plugin's folder.
    let (file, real) = files::library(path)?;
    pins.check(path, &file)?;
    elf::check_open(path, &file)?;
    let _call = Call::begin(crash::file_name(path), LOAD);
    // SAFETY: this runs the library's initialisers; whoever can write it is trusted, as checked above.
    let library = unsafe { Library::open(Some(&real), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|error| PluginError::NotLoaded {
        path: path.to_owned(),
        reason: cause(&error),
    })?;
    // SAFETY: a trusted library that exports this symbol exports this function.
    let (description, code) = unsafe {
        match library.get::<LannerPluginFn>(SYMBOL.as_bytes()) {
            Ok(function) => (function(), *function as *const c_void),
            Err(_) => {
                return Err(PluginError::MissingSymbol {
                    path: path.to_owned(),
                });
            }
        }
    };
    // Its code may run for as long as the process does.
    std::mem::forget(library);
    // SAFETY: a plugin's description stays valid until the process ends.
    unsafe { read(path, description, Some(code)) }
}

/// Takes a plugin that is linked into the program. `path` names it in messages.
///
/// # Safety
///
/// The function is a plugin's `lanner_plugin`.
pub(super) unsafe fn load_linked(
    path: &Path,
    entry: LannerPluginFn,
) -> Result<Plugin, PluginError> {
    // SAFETY: by this function's contract. A plugin's description stays valid until the process ends.
    unsafe { read(path, entry(), None) }
}

fn cause(error: &libloading::Error) -> String {
    use std::error::Error;
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// # Safety
///
/// `raw` is null, or at least its first three fields can be read, and its sizes and pointers are valid until the process
/// ends. `code` is an address in the plugin's library, if it has one.
unsafe fn read(
    path: &Path,
    raw: *const LannerPlugin,
    code: Option<*const c_void>,
) -> Result<Plugin, PluginError> {
    let faulty = |reason: &str| PluginError::Faulty {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let no_pointer = || faulty("`lanner_plugin` returned no valid pointer");
    let at = raw.addr();
    if !raw.is_aligned() || !is_readable(at, offset_of!(LannerPlugin, name)) {
        return Err(no_pointer());
    }
    // SAFETY: the first three fields are there in every version.
    let (major, minor, size) = unsafe {
        (
            ptr::read(&raw const (*raw).abi_major),
            ptr::read(&raw const (*raw).abi_minor),
            ptr::read(&raw const (*raw).size),
        )
    };
    if major != ABI_MAJOR {
        return Err(PluginError::WrongMajor {
            path: path.to_owned(),
            found: major,
            expected: ABI_MAJOR,
        });
    }
    check_size(path, "struct LannerPlugin", size, size_of::<LannerPlugin>())?;
    if !is_readable(at, size_of::<LannerPlugin>()) {
        return Err(no_pointer());
    }
    // SAFETY: all fields are there.
    let raw = unsafe { &*raw };
    let word = |raw: LannerStr, what: &str| {
        if raw.len > MAX_WORD || (raw.ptr.is_null() && raw.len > 0) {
            return Err(faulty(&format!(
                "its {what} has no valid pointer or length"
            )));
        }
        Ok(border::text(raw))
    };
    let name = word(raw.name, "name")?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
        let name = name.escape_debug();
        return Err(faulty(&format!(
            "its name `{name}` is not made of at most 64 lower-case letters, digits and `-`"
        )));
    }
    // SAFETY: the capabilities live until the process ends.
    let (rules, output) = unsafe { (rules(path, raw.rules)?, output(path, raw.output)?) };
    if rules.is_none() && output.is_none() {
        return Err(PluginError::NoCapability {
            path: path.to_owned(),
        });
    }
    let label = crash::forever(&name);
    if let Some(code) = code {
        crash::note_code(label, code);
    }
    Ok(Plugin(Arc::new(Loaded {
        path: path.to_owned(),
        built_in: code.is_none(),
        version: word(raw.version, "version")?,
        description: word(raw.description, "description")?,
        abi: (major, minor),
        rules,
        output,
        host: border::host_table(label),
        name: label,
        faults: AtomicU64::new(0),
        rule_schema: OnceLock::new(),
        output_schema: OnceLock::new(),
    })))
}

fn check_size(
    path: &Path,
    what: &'static str,
    size: usize,
    needed: usize,
) -> Result<(), PluginError> {
    if size < needed {
        return Err(PluginError::TooSmall {
            path: path.to_owned(),
            what,
            size,
            needed,
        });
    }
    Ok(())
}

/// Checks one capability: its size, then each of its functions. A table of an earlier minor version is shorter than ours:
/// the functions that it lacks count as absent.
macro_rules! capability {
    ($function:ident, $struct:ident, $capability:literal, $what:literal; $($field:ident)*) => {
        /// # Safety
        ///
        /// `raw` is null, or what its size says can be read until the process ends.
        unsafe fn $function(
            path: &Path,
            raw: *const $struct,
        ) -> Result<Option<&'static $struct>, PluginError> {
            if raw.is_null() {
                return Ok(None);
            }
            let no_pointer = || PluginError::Faulty {
                path: path.to_owned(),
                reason: concat!("its ", $what, " has no valid pointer").to_owned(),
            };
            if !raw.is_aligned() || !is_readable(raw.addr(), size_of::<usize>()) {
                return Err(no_pointer());
            }
            // SAFETY: the size is always there.
            let size = unsafe { ptr::read(&raw const (*raw).size) };
            check_size(path, $what, size, $struct::FIRST_SIZE)?;
            if !is_readable(raw.addr(), size.min(size_of::<$struct>())) {
                return Err(no_pointer());
            }
            let table: &'static $struct = if size < size_of::<$struct>() {
                let mut whole = $struct::empty();
                // Half a function is none.
                let size = size - size % size_of::<usize>();
                // SAFETY: both sides have this number of bytes, and a shorter table has the first fields of ours.
                unsafe {
                    ptr::copy_nonoverlapping(
                        raw.cast::<u8>(),
                        (&raw mut whole).cast::<u8>(),
                        size,
                    );
                }
                Box::leak(Box::new(whole))
            } else {
                // SAFETY: all fields are there.
                unsafe { &*raw }
            };
            $(
                if table.$field.is_none() {
                    return Err(PluginError::HalfImplemented {
                        path: path.to_owned(),
                        capability: $capability,
                        function: stringify!($field),
                    });
                }
            )*
            Ok(Some(table))
        }
    };
}

capability!(rules, LannerRulePlugin, "rules", "struct LannerRulePlugin";
    open rules event_types on_event close);
capability!(output, LannerOutputPlugin, "output", "struct LannerOutputPlugin";
    open emit flush reopen close);

impl Plugin {
    /// Its name, which the configuration uses.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name
    }

    /// Its name, which stays valid until the process ends.
    pub(super) fn label(&self) -> &'static str {
        self.0.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// What it does, in one sentence.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.0.description
    }

    /// Major and minor version of the ABI that it was built for.
    #[must_use]
    pub fn abi(&self) -> (u32, u32) {
        self.0.abi
    }

    /// Where it was loaded from; for a built-in plugin, its name in messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Whether it is linked into the program.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.0.built_in
    }

    /// What it can do: `rules`, `output`.
    #[must_use]
    pub fn capabilities(&self) -> Vec<&'static str> {
        let all = [
            (self.0.rules.is_some(), "rules"),
            (self.0.output.is_some(), "output"),
        ];
        all.into_iter()
            .filter_map(|(has, name)| has.then_some(name))
            .collect()
    }

    /// How often it panicked, failed or gave an invalid answer, over all its states.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.0.faults.load(Ordering::Relaxed)
    }

    /// Counts a fault. Reports the first, second, fourth, eighth and so on.
    pub(super) fn fault(&self, call: &str, reason: &str) {
        let count = self.0.faults.fetch_add(1, Ordering::Relaxed) + 1;
        metrics::fault(self.name());
        if count.is_power_of_two() {
            let plugin = self.name();
            tracing::error!(
                plugin,
                call,
                faults = count,
                "plugin `{plugin}` is faulty: {reason}"
            );
        }
    }

    /// The JSON schema of its settings as an output, if it has one.
    ///
    /// # Errors
    ///
    /// It is no output, or its schema is not JSON.
    pub fn output_schema(&self) -> Result<Option<&Json>, PluginError> {
        let table = self.output_table()?;
        self.schema(&self.0.output_schema, table.schema)
    }

    /// The JSON schema of its settings as a rule plugin, if it has one.
    ///
    /// # Errors
    ///
    /// It has no rules, or its schema is not JSON.
    pub fn rule_schema(&self) -> Result<Option<&Json>, PluginError> {
        let table = self.rule_table()?;
        self.schema(&self.0.rule_schema, table.schema)
    }

    fn schema<'a>(
        &self,
        known: &'a OnceLock<Option<Json>>,
        function: Option<SchemaFn>,
    ) -> Result<Option<&'a Json>, PluginError> {
        if let Some(known) = known.get() {
            return Ok(known.as_ref());
        }
        let Some(function) = function else {
            return Ok(None);
        };
        let (mut schema, mut text) = (String::new(), String::new());
        let (sink, error) = (last_text(&mut schema), last_text(&mut text));
        let _call = Call::begin(self.label(), "say what its settings are");
        // SAFETY: both sinks live through the call.
        let status = unsafe { function(&raw const sink, &raw const error) };
        let failed = |reason: String| PluginError::Failed {
            plugin: self.name().to_owned(),
            call: "say what its settings are",
            reason,
        };
        if status != STATUS_OK {
            return Err(failed(reason(&text, status)));
        }
        let schema = serde_json::from_str(&schema)
            .map_err(|error| failed(format!("its schema is not JSON: {error}")))?;
        Ok(known.get_or_init(|| Some(schema)).as_ref())
    }

    pub(super) fn host(&self) -> &'static LannerHost {
        self.0.host
    }

    pub(super) fn rule_table(&self) -> Result<&'static LannerRulePlugin, PluginError> {
        self.0.rules.ok_or_else(|| self.lacks("rules"))
    }

    pub(super) fn output_table(&self) -> Result<&'static LannerOutputPlugin, PluginError> {
        self.0.output.ok_or_else(|| self.lacks("output"))
    }

    fn lacks(&self, capability: &'static str) -> PluginError {
        PluginError::LacksCapability {
            plugin: self.name().to_owned(),
            capability,
        }
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.0.name)
            .field("version", &self.0.version)
            .field("path", &self.0.path)
            .finish_non_exhaustive()
    }
}
