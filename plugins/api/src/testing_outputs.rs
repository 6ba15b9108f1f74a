//! Opening outputs and delivering to them, as the host does it.

use crate::border::{Error, settings};
use crate::chain::Chain;
use crate::host::Host;
use crate::output::{Delivery, OutputPlugin};
use crate::testing::{Alert, emit, host};

/// Opens an output with settings, on a host that ignores logs and metrics.
///
/// # Errors
///
/// The settings are not of the output's type, or its `open` failed.
pub fn open<P: OutputPlugin>(json: &serde_json::Value) -> Result<P, Error> {
    open_on(host(), json)
}

/// Opens an output with settings on a host, such as that of [`host_with_ears`](crate::testing::host_with_ears).
///
/// # Errors
///
/// As [`open`].
pub fn open_on<P: OutputPlugin>(host: Host, json: &serde_json::Value) -> Result<P, Error> {
    P::open(host, settings(json.to_string().as_bytes())?)
}

/// The text with which an output refuses settings, as the user sees it. `None`: the output accepts them.
#[must_use]
pub fn refusal<P: OutputPlugin>(json: &serde_json::Value) -> Option<String> {
    let refused = open::<P>(json).err()?;
    Some(Chain(&*refused).to_string())
}

/// The text with which an output's `check` refuses settings, as the user sees it. `None`: it has no objection.
#[must_use]
pub fn objection<P: OutputPlugin>(json: &serde_json::Value) -> Option<String> {
    let checked = settings(json.to_string().as_bytes())
        .map_err(Error::from)
        .and_then(|settings| P::check(&settings));
    Some(Chain(&*checked.err()?).to_string())
}

/// Has an output deliver one alert for each message. All are of the rule `r`.
pub fn emit_messages<P: OutputPlugin>(output: &mut P, messages: &[&str]) -> Delivery {
    let alerts: Vec<Alert> = messages.iter().map(|text| Alert::new("r", text)).collect();
    emit(output, &alerts)
}
