//! Keeps panics on the plugin's side: every function that the host may call goes through [`guard`].

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::abi::{LannerStatus, LannerText, STATUS_ERROR, STATUS_OK, STATUS_PANIC};
use crate::chain::Chain;

/// What a plugin fails with. Any error converts into it with `?`, and so does a text with `.into()`.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Runs `body` and turns an error or a panic into a status and a text.
///
/// # Safety
///
/// `error` is null or a sink of the call that is going on.
pub(crate) unsafe fn guard(
    error: *const LannerText,
    body: impl FnOnce() -> Result<LannerStatus, Error>,
) -> LannerStatus {
    // A state that panicked is not used again, except to be closed, so that nobody sees what the
    // panic left half-done.
    let (status, text) = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => return status,
        Ok(Err(failure)) => (STATUS_ERROR, Chain(&*failure).to_string()),
        Err(payload) => {
            let text = panic_text(&*payload);
            // The payload's own Drop may panic as well; a leak is the lesser evil.
            std::mem::forget(payload);
            (STATUS_PANIC, text)
        }
    };
    // SAFETY: by the function's contract.
    unsafe { tell(error, &text) };
    status
}

/// # Safety
///
/// As for [`guard`].
pub(crate) unsafe fn tell(error: *const LannerText, text: &str) {
    // SAFETY: by the function's contract.
    unsafe {
        if let Some(sink) = error.as_ref() {
            sink.say(text);
        }
    }
}

/// What a state pointer leads to.
pub(crate) struct State<P> {
    plugin: P,
    /// It panicked, and may be in any state.
    poisoned: bool,
}

impl<P> State<P> {
    /// Puts the plugin where the host's state pointer can lead to it.
    pub(crate) fn store(plugin: P) -> *mut c_void {
        let poisoned = false;
        Box::into_raw(Box::new(Self { plugin, poisoned })).cast()
    }
}

/// Runs `body` on the state, unless it has panicked before.
///
/// # Safety
///
/// `state` came from [`State::store`] and nobody else uses it now; `error` as for [`guard`].
pub(crate) unsafe fn with_state<P>(
    state: *mut c_void,
    error: *const LannerText,
    body: impl FnOnce(&mut P) -> Result<LannerStatus, Error>,
) -> LannerStatus {
    // SAFETY: by the function's contract.
    unsafe {
        let Some(state) = state.cast::<State<P>>().as_mut() else {
            tell(error, "the host passed no state");
            return STATUS_PANIC;
        };
        if state.poisoned {
            tell(error, "the plugin panicked before");
            return STATUS_PANIC;
        }
        let status = guard(error, || body(&mut state.plugin));
        state.poisoned = status == STATUS_PANIC;
        status
    }
}

/// Frees a state; a panic on the way ends here.
///
/// # Safety
///
/// `state` is null or came from [`State::store`], for the same `P`, and is not used again.
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
/// The pointers are null or sinks of the call that is going on.
pub(crate) unsafe extern "C" fn schema<T: JsonSchema>(
    sink: *const LannerText,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: by the function's contract.
    unsafe {
        guard(error, || {
            tell(sink, &serde_json::to_string(&schemars::schema_for!(T))?);
            Ok(STATUS_OK)
        })
    }
}

/// Settings as the plugin's own type. No settings are `null`, or else `{}`.
pub(crate) fn settings<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    if !json.trim_ascii().is_empty() {
        return serde_json::from_slice(json).map_err(|error| format!("settings: {error}").into());
    }
    serde_json::from_str("null").or_else(|_| {
        serde_json::from_str("{}").map_err(|error| format!("settings are needed: {error}").into())
    })
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
        let error = settings::<Strict>(br#"{"jsn":true}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `jsn`"), "{error}");
    }

    #[test]
    fn a_panic_becomes_a_status() {
        // SAFETY: null is allowed.
        let status = unsafe { guard(std::ptr::null(), || panic!("boom")) };
        assert_eq!(status, STATUS_PANIC);
    }
}
