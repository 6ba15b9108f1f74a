//! Requests to a running session, and what the session reports.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::config::LogLevel;

/// Requests to a session. Any thread may make them, and signal handlers too: each is one atomic store.
#[derive(Debug)]
pub struct Control {
    end: AtomicBool,
    reload: AtomicBool,
    reopen: AtomicBool,
    observer: Box<dyn Observer>,
}

/// Receives what a session reports.
pub trait Observer: Send + Sync + fmt::Debug {
    /// Reports something that the user should know at once.
    fn notice(&self, notice: &Notice<'_>);

    /// The watched command has begun, and this is its process id. Called at least once, and possibly after every poll.
    fn command_began(&self, _pid: u32) {}

    /// The watched command has ended: its process id may soon be another's.
    fn command_ended(&self) {}

    /// The configuration asks for this level of the log.
    fn log_level(&self, _level: LogLevel) {}
}

/// What a session reports while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice<'a> {
    /// A rule plugin panicked and is not called any more.
    RulePluginOff {
        /// The plugin.
        plugin: &'a str,
        /// The message of the panic.
        reason: &'a str,
    },
    /// The session ends because events were lost: the configuration asks for that.
    EndsAfterLoss,
    /// An output that a reload replaced or removed has ended.
    Output(&'a delivery::Account),
}

impl Control {
    /// A control without a request.
    #[must_use]
    pub fn new(observer: Box<dyn Observer>) -> Self {
        Self {
            end: AtomicBool::new(false),
            reload: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            observer,
        }
    }

    /// Asks the session to end. Events that were captured before are still delivered.
    pub fn end(&self) {
        self.end.store(true, Relaxed);
    }

    /// Asks the session to load configuration and rules again.
    pub fn reload(&self) {
        self.reload.store(true, Relaxed);
    }

    /// Asks the session to open the outputs' files again, after they were rotated.
    pub fn reopen(&self) {
        self.reopen.store(true, Relaxed);
    }

    /// Whether the session was asked to end.
    #[must_use]
    pub fn is_asked_to_end(&self) -> bool {
        self.end.load(Relaxed)
    }

    /// Whether a reload was asked for since the last call.
    pub(crate) fn take_reload(&self) -> bool {
        self.reload.swap(false, Relaxed)
    }

    /// Whether reopening was asked for since the last call.
    pub(crate) fn take_reopen(&self) -> bool {
        self.reopen.swap(false, Relaxed)
    }

    pub(crate) fn observer(&self) -> &dyn Observer {
        &*self.observer
    }
}
