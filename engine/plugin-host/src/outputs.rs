//! [`OutputHost`]: an opened output plugin.

use std::ffi::c_void;

use lanner_plugin::Delivery;
use lanner_plugin::abi::{
    LannerOutputPlugin, LannerStatus, LannerStr, LannerText, STATUS_ERROR, STATUS_GIVE_UP,
    STATUS_OK, STATUS_PANIC, STATUS_TRY_AGAIN,
};

use super::alert::{Alert, Batch};
use super::border::{last_text, reason};
use super::error::PluginError;
use super::load::Plugin;
use super::settings as check;
use super::slow::Call;

/// A configured output. One thread uses it at a time; every call may block.
#[derive(Debug)]
pub struct OutputHost {
    plugin: Plugin,
    table: &'static LannerOutputPlugin,
    state: *mut c_void,
    /// Why it is switched off.
    off: Option<String>,
    /// The structs of the batch that was delivered last, whose room is used again.
    batch: Batch,
}

// SAFETY: the header allows a state to move from thread to thread between calls.
unsafe impl Send for OutputHost {}

impl OutputHost {
    /// Opens an output with settings: a JSON text, or nothing.
    ///
    /// # Errors
    ///
    /// The plugin is no output plugin, or refuses the settings.
    pub fn open(plugin: &Plugin, settings: &str) -> Result<Self, PluginError> {
        plugin.output_table()?;
        if let Some(schema) = plugin.output_schema()? {
            check::check(plugin.name(), schema, settings)?;
        }
        Self::open_unchecked(plugin, settings)
    }

    /// Checks settings as far as the plugin's schema goes, and opens nothing.
    ///
    /// # Errors
    ///
    /// The plugin is no output plugin, or its schema does not allow the settings.
    pub fn check(plugin: &Plugin, settings: &str) -> Result<(), PluginError> {
        plugin.output_table()?;
        let Some(schema) = plugin.output_schema()? else {
            return Ok(());
        };
        if !settings.is_empty() {
            return check::check(plugin.name(), schema, settings);
        }
        // where there are no settings, a plugin may take them from either
        check::check(plugin.name(), schema, "null")
            .or_else(|_| check::check(plugin.name(), schema, "{}"))
    }

    /// As [`OutputHost::open`], with settings that were not checked.
    pub(crate) fn open_unchecked(plugin: &Plugin, settings: &str) -> Result<Self, PluginError> {
        let table = plugin.output_table()?;
        let mut state = std::ptr::null_mut();
        let mut text = String::new();
        let error = last_text(&mut text);
        let settings = LannerStr::new(settings.as_bytes());
        let call = Call::begin(plugin.name(), "open");
        let status = match table.open {
            // SAFETY: the table was checked; all pointers live through the call.
            Some(open) => unsafe {
                open(plugin.host(), settings, &raw mut state, &raw const error)
            },
            None => STATUS_ERROR,
        };
        drop(call);
        if status != STATUS_OK {
            return Err(failure(plugin, "open", status, text));
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
        let batch = self.batch.fill(alerts);
        let mut delivered = 0;
        let emit = self.table.emit;
        let (status, text) = self.call("emit", |state, error| {
            // SAFETY: the state is open and ours alone; all pointers live through the call.
            emit.map(|emit| unsafe { emit(state, &raw const batch, &raw mut delivered, error) })
        });
        if delivered > alerts.len() {
            self.plugin.fault(
                "emit",
                "it claims to have delivered more alerts than it got",
            );
            delivered = 0;
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

    /// Has the plugin push out what it holds back.
    ///
    /// # Errors
    ///
    /// It did not work, or the plugin is switched off.
    pub fn flush(&mut self) -> Result<(), PluginError> {
        let flush = self.table.flush;
        let (status, text) = self.call("flush", |state, error| {
            // SAFETY: the state is open and ours alone.
            flush.map(|flush| unsafe { flush(state, error) })
        });
        self.result("flush", status, text)
    }

    /// Has the plugin open its files and connections anew.
    ///
    /// # Errors
    ///
    /// It did not work, or the plugin is switched off.
    pub fn reopen(&mut self) -> Result<(), PluginError> {
        let reopen = self.table.reopen;
        let (status, text) = self.call("reopen", |state, error| {
            // SAFETY: the state is open and ours alone.
            reopen.map(|reopen| unsafe { reopen(state, error) })
        });
        self.result("reopen", status, text)
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
        let status = function(self.state, &raw const error).unwrap_or(STATUS_ERROR);
        if status == STATUS_OK {
            return (status, text);
        }
        let text = reason(text, status);
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
        text: String,
    ) -> Result<(), PluginError> {
        match status {
            STATUS_OK => Ok(()),
            _ => Err(failure(&self.plugin, call, status, text)),
        }
    }
}

fn failure(plugin: &Plugin, call: &'static str, status: LannerStatus, text: String) -> PluginError {
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
            // SAFETY: the state came from `open`, and this is the last use.
            unsafe { close(self.state) };
        }
    }
}
