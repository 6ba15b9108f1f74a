//! The plugin's side of every call: panics become a status ([`guard`]), states are boxed ([`State`]), and
//! settings are parsed.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::abi::{LannerStatus, LannerText, STATUS_ERROR, STATUS_OK, STATUS_PANIC};
use crate::chain::Chain;

/// The error of a plugin. Any error converts into it with `?`, and a text with `.into()`.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the SDK itself reports instead of calling the plugin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// A fault of the host.
    #[error("the host called {function} without {argument}; this is a fault of the host")]
    MissingArgument {
        function: &'static str,
        argument: &'static str,
    },
    /// The settings do not fit the plugin's type.
    #[error("settings")]
    Settings(#[source] serde_json::Error),
    /// There are no settings, and the plugin's type has no default.
    #[error("settings are needed")]
    NoSettings(#[source] serde_json::Error),
    /// The plugin does not implement `explain`, or does not have the rule.
    #[error("this plugin cannot explain rule {rule}")]
    NoExplanation { rule: u32 },
}

/// Runs `body`. An error or a panic becomes a status and a text.
///
/// # Safety
///
/// `error` is null or a sink of the current call.
pub(crate) unsafe fn guard(
    error: *const LannerText,
    body: impl FnOnce() -> Result<LannerStatus, Error>,
) -> LannerStatus {
    // Unwind safety: a state that panicked is only closed after this, so its broken contents stay unused.
    let (status, text) = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => return status,
        Ok(Err(failure)) => (STATUS_ERROR, Chain(&*failure).to_string()),
        Err(payload) => {
            let text = panic_text(&*payload);
            // The payload's own Drop may panic as well, so leak it.
            std::mem::forget(payload);
            (STATUS_PANIC, text)
        }
    };
    // SAFETY: by the function's contract.
    unsafe { say(error, &text) };
    status
}

/// Hands a text to a sink, if there is one.
///
/// # Safety
///
/// As for [`guard`].
pub(crate) unsafe fn say(sink: *const LannerText, text: &str) {
    // SAFETY: by the function's contract.
    unsafe {
        if let Some(sink) = sink.as_ref() {
            sink.say(text);
        }
    }
}

/// What a state pointer points to.
pub(crate) struct State<P> {
    plugin: P,
    /// A call panicked, so the plugin's invariants may be broken.
    poisoned: bool,
}

impl<P> State<P> {
    /// Boxes the plugin and returns the state pointer for the host.
    pub(crate) fn store(plugin: P) -> *mut c_void {
        let poisoned = false;
        Box::into_raw(Box::new(Self { plugin, poisoned })).cast()
    }
}

/// Runs `body` on the plugin of a state, unless an earlier call panicked.
///
/// # Safety
///
/// `state` came from [`State::store`] and is not in use elsewhere; `error` as for [`guard`].
pub(crate) unsafe fn with_state<P>(
    state: *mut c_void,
    error: *const LannerText,
    body: impl FnOnce(&mut P) -> Result<LannerStatus, Error>,
) -> LannerStatus {
    // SAFETY: by the function's contract.
    unsafe {
        let Some(state) = state.cast::<State<P>>().as_mut() else {
            say(error, "the host passed no state");
            return STATUS_PANIC;
        };
        if state.poisoned {
            say(error, "the plugin panicked before");
            return STATUS_PANIC;
        }
        let status = guard(error, || body(&mut state.plugin));
        state.poisoned = status == STATUS_PANIC;
        status
    }
}

/// Frees a state. Catches a panic of the plugin's `Drop`.
///
/// # Safety
///
/// `state` is null, or came from [`State::store`] for the same `P` and is not used again.
pub(crate) unsafe extern "C" fn close<P>(state: *mut c_void) {
    if state.is_null() {
        return;
    }
    // SAFETY: by the function's contract.
    let state = unsafe { Box::from_raw(state.cast::<State<P>>()) };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(state))) {
        std::mem::forget(payload);
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "panic without a message".to_owned()
    }
}

/// Hands over the JSON schema of `T`.
///
/// # Safety
///
/// The pointers are null or sinks of the current call.
pub(crate) unsafe extern "C" fn schema<T: JsonSchema>(
    sink: *const LannerText,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: by the function's contract.
    unsafe {
        guard(error, || {
            say(sink, &serde_json::to_string(&schemars::schema_for!(T))?);
            Ok(STATUS_OK)
        })
    }
}

/// Parses settings as the plugin's own type. Without settings it parses `null`, and if that fails `{}`.
pub(crate) fn settings<T: DeserializeOwned>(json: &[u8]) -> Result<T, CallError> {
    if !json.trim_ascii().is_empty() {
        return serde_json::from_slice(json).map_err(CallError::Settings);
    }
    serde_json::from_str("null")
        .or_else(|_| serde_json::from_str("{}").map_err(CallError::NoSettings))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[serde(default)]
        json: bool,
    }

    #[test]
    fn no_settings_are_the_defaults_and_unknown_ones_are_refused() {
        assert_eq!(settings::<Strict>(b"").unwrap(), Strict { json: false });
        settings::<()>(b"").unwrap();
        let error = Chain(&settings::<Strict>(br#"{"jsn":true}"#).unwrap_err()).to_string();
        assert!(error.contains("unknown field `jsn`"), "{error}");
    }

    #[test]
    fn a_panic_becomes_a_status() {
        // SAFETY: null is allowed.
        let status = unsafe { guard(std::ptr::null(), || panic!("boom")) };
        assert_eq!(status, STATUS_PANIC);
    }
}
