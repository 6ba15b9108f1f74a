//! Inspect, match and alert; the lanner binary.
//!
//! [`inspect`] follows processes and descriptors, [`fields`] answers what rules ask, [`plugin_host`] calls
//! rule and output plugins (those that do not come with lanner beside the event path), [`template`] and [`alert`] make the alert, [`delivery`] takes it to the outputs,
//! [`telemetry`] tells how all that goes, [`decode`] turns parameters into text, [`recording`] keeps events in files,
//! and [`cli`] is the command line on top.

pub mod alert;
pub mod cli;
pub mod config;
pub mod decode;
pub mod delivery;
pub mod fields;
pub mod inspect;
mod plugin_check;
pub mod plugin_host;
pub mod recording;
pub mod rule_lanes;
mod rule_tests;
pub mod telemetry;
pub mod template;
