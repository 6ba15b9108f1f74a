//! [`OutputHost`]: an opened output plugin.

use std::ffi::c_void;

use lanner_plugin::Delivery;
use lanner_plugin::abi::{
    LannerOutputPlugin, LannerStatus, LannerStr, LannerText, STATUS_ERROR, STATUS_GIVE_UP,
    STATUS_GO_ON, STATUS_OK, STATUS_PANIC, STATUS_TRY_AGAIN,
};

use super::alert::{Alert, Batch};
use super::border::{last_text, printable, reason};
use super::crash::Inside;
use super::error::PluginError;
use super::load::Plugin;
use super::settings as check;
use super::slow::Call;

/// The name of the call that checks settings.
const CHECK: &str = "check its settings";

/// The fault of an answer after which the host would offer the same alerts again at once, for ever.
const IDLE: &str = "it answers LANNER_GO_ON without a delivered or refused alert; a plugin that can do nothing now answers \
                    LANNER_TRY_AGAIN";

/// A configured output. One thread uses it at a time; every call may block.
#[derive(Debug)]
pub struct OutputHost {
    plugin: Plugin,
    table: &'static LannerOutputPlugin,
    state: *mut c_void,
    /// Why it is switched off.
    off: Option<String>,
    /// The structs of the last batch. Their memory is used again.
    batch: Batch,
}

// SAFETY: the header allows a state to move from thread to thread between calls.
unsafe impl Send for OutputHost {}

impl OutputHost {
    /// Checks settings (a JSON text, or nothing) and opens an output with them.
    ///
    /// # Errors
    ///
    /// The plugin is no output plugin, or refuses the settings.
    pub fn open(plugin: &Plugin, settings: &str) -> Result<Self, PluginError> {
        Self::check(plugin, settings)?;
        Self::open_checked(plugin, settings)
    }

    /// Checks settings by the plugin's schema, and by its `check` if it has one. Opens nothing.
    ///
    /// # Errors
    ///
    /// The plugin is no output plugin, or refuses the settings.
    pub fn check(plugin: &Plugin, settings: &str) -> Result<(), PluginError> {
        plugin.output_table()?;
        if let Some(schema) = plugin.output_schema()? {
            if settings.is_empty() {
                // Without settings, a plugin may take them from either.
                check::check(plugin.name(), schema, "null")
                    .or_else(|_| check::check(plugin.name(), schema, "{}"))?;
            } else {
                check::check(plugin.name(), schema, settings)?;
            }
        }
        Self::ask(plugin, settings).unwrap_or(Ok(()))
    }

    /// What the plugin's own `check` says about settings. None: it has no such function.
    pub(crate) fn ask(plugin: &Plugin, settings: &str) -> Option<Result<(), PluginError>> {
        let table = match plugin.output_table() {
            Ok(table) => table,
            Err(error) => return Some(Err(error)),
        };
        let check = table.check?;
        let mut text = String::new();
        let error = last_text(&mut text);
        let settings = LannerStr::new(settings.as_bytes());
        let call = Call::begin(plugin.label(), CHECK);
        // SAFETY: all pointers live through the call.
        let status = unsafe { check(plugin.host(), settings, &raw const error) };
        drop(call);
        Some(match status {
            STATUS_OK => Ok(()),
            STATUS_ERROR => Err(PluginError::Settings {
                plugin: plugin.name().to_owned(),
                reason: reason(&text, status),
            }),
            _ => Err(failure(plugin, CHECK, status, &text)),
        })
    }

    /// Opens an output with settings that [`OutputHost::check`] accepts.
    ///
    /// # Errors
    ///
    /// The plugin is no output plugin, or refuses the settings.
    pub fn open_checked(plugin: &Plugin, settings: &str) -> Result<Self, PluginError> {
        let table = plugin.output_table()?;
        let mut state = std::ptr::null_mut();
        let mut text = String::new();
        let error = last_text(&mut text);
        let settings = LannerStr::new(settings.as_bytes());
        let call = Call::begin(plugin.label(), "open");
        let status = match table.open {
            // SAFETY: the table was checked; all pointers live through the call.
            Some(open) => unsafe {
                open(plugin.host(), settings, &raw mut state, &raw const error)
            },
            None => STATUS_ERROR,
        };
        drop(call);
        if status != STATUS_OK {
            return Err(failure(plugin, "open", status, &text));
        }
        Ok(Self {
            plugin: plugin.clone(),
            table,
            state,
            off: None,
            batch: Batch::default(),
        })
    }

    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// Why it is switched off, if it is.
    #[must_use]
    pub fn off(&self) -> Option<&str> {
        self.off.as_deref()
    }

    /// Delivers alerts, oldest first. An output that is switched off gives up.
    pub fn emit<A: AsRef<Alert>>(&mut self, alerts: &[A]) -> Delivery {
        let (mut delivered, mut refused) = (0, 0);
        let batch = self.batch.fill(alerts, &mut refused);
        let emit = self.table.emit;
        let (status, text) = self.call("emit", |state, error| {
            // SAFETY: the state is open and ours alone; all pointers live through the call.
            emit.map(|emit| unsafe { emit(state, &raw const batch, &raw mut delivered, error) })
        });
        // The plugin wrote through the pointer in `batch`.
        let refused_now = if status == STATUS_GO_ON { refused } else { 0 };
        if delivered
            .checked_add(refused_now)
            .is_none_or(|done| done > alerts.len())
        {
            self.plugin.fault(
                "emit",
                "it claims to have delivered or refused more alerts than it got",
            );
            delivered = 0;
        } else if status == STATUS_GO_ON && (delivered + refused_now > 0 || alerts.is_empty()) {
            return Delivery::GoOn {
                delivered,
                refused: refused_now,
                reason: text,
            };
        }
        if status == STATUS_GO_ON && delivered + refused_now == 0 && !alerts.is_empty() {
            self.plugin.fault("emit", IDLE);
            return Delivery::TryAgain {
                delivered: 0,
                reason: IDLE.to_owned(),
            };
        }
        match status {
            STATUS_OK => Delivery::Delivered,
            STATUS_GIVE_UP | STATUS_PANIC => Delivery::GiveUp {
                delivered,
                reason: text,
            },
            other => {
                if other != STATUS_TRY_AGAIN {
                    self.plugin.fault("emit", &text);
                }
                Delivery::TryAgain {
                    delivered,
                    reason: text,
                }
            }
        }
    }

    /// Makes the plugin write out what it buffers.
    ///
    /// # Errors
    ///
    /// The plugin failed, or it is switched off.
    pub fn flush(&mut self) -> Result<(), PluginError> {
        let flush = self.table.flush;
        let (status, text) = self.call("flush", |state, error| {
            // SAFETY: the state is open and ours alone.
            flush.map(|flush| unsafe { flush(state, error) })
        });
        self.result("flush", status, &text)
    }

    /// Makes the plugin open its files and connections again.
    ///
    /// # Errors
    ///
    /// The plugin failed, or it is switched off.
    pub fn reopen(&mut self) -> Result<(), PluginError> {
        let reopen = self.table.reopen;
        let (status, text) = self.call("reopen", |state, error| {
            // SAFETY: the state is open and ours alone.
            reopen.map(|reopen| unsafe { reopen(state, error) })
        });
        self.result("reopen", status, &text)
    }

    /// Calls a function of the plugin, unless it is switched off; a panic switches it off.
    fn call(
        &mut self,
        name: &str,
        function: impl FnOnce(*mut c_void, *const LannerText) -> Option<LannerStatus>,
    ) -> (LannerStatus, String) {
        if let Some(off) = &self.off {
            return (STATUS_PANIC, format!("it is switched off: {off}"));
        }
        let mut text = String::new();
        let error = last_text(&mut text);
        let inside = Inside::enter(self.plugin.label());
        let status = function(self.state, &raw const error).unwrap_or(STATUS_ERROR);
        drop(inside);
        if status == STATUS_OK || status == STATUS_GO_ON {
            return (status, one_line(&text));
        }
        let text = match text.is_empty() {
            true => reason(&text, status),
            false => one_line(&text),
        };
        if status == STATUS_PANIC {
            self.plugin
                .fault(name, &format!("it panicked and is switched off: {text}"));
            self.off = Some(text.clone());
        }
        (status, text)
    }

    fn result(
        &self,
        call: &'static str,
        status: LannerStatus,
        text: &str,
    ) -> Result<(), PluginError> {
        match status {
            STATUS_OK => Ok(()),
            _ => Err(failure(&self.plugin, call, status, text)),
        }
    }
}

/// A reason in one line. It often has a part of a receiver's answer, which must not look like lines of lanner's log.
fn one_line(text: &str) -> String {
    printable(text, false)
}

fn failure(plugin: &Plugin, call: &'static str, status: LannerStatus, text: &str) -> PluginError {
    let plugin = plugin.name().to_owned();
    let reason = reason(text, status);
    match status {
        STATUS_PANIC => PluginError::Panicked { plugin, reason },
        _ => PluginError::Failed {
            plugin,
            call,
            reason,
        },
    }
}

impl Drop for OutputHost {
    fn drop(&mut self) {
        if let Some(close) = self.table.close {
            let _inside = Inside::enter(self.plugin.label());
            // SAFETY: the state came from `open`, and this is the last use.
            unsafe { close(self.state) };
        }
    }
}
