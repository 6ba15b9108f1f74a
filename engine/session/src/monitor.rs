//! A thread that looks once a second for losses and at the heartbeat. As long as the event path runs and has rules, it also
//! keeps the service manager's watchdog content.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::EventDrops;
use crate::heartbeat::Heartbeat;
use crate::session::Shared;
use crate::telemetry::losses::{Losses, raise_heartbeat};
use crate::telemetry::service;
use delivery::alert::AlertFormat;

const SECOND: Duration = Duration::from_secs(1);

/// The thread. Dropping this ends it after a last look.
#[derive(Debug)]
pub(super) struct Monitor {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub(super) fn start(
    settings: EventDrops,
    format: AlertFormat,
    mut heartbeat: Option<Heartbeat>,
    shared: Shared,
) -> std::io::Result<Monitor> {
    let (end, ends) = channel::<()>();
    let watchdog = service::watchdog();
    let tick = watchdog.map_or(SECOND, |watchdog| watchdog.min(SECOND));
    let tick = heartbeat
        .as_ref()
        .map_or(tick, |heartbeat| heartbeat.interval().min(tick));
    let mut losses = Losses::new(settings);
    let thread = std::thread::Builder::new()
        .name("monitor".to_owned())
        .spawn(move || {
            let mut notified = Instant::now();
            let mut looked = Instant::now();
            loop {
                let over = ends.recv_timeout(tick) != Err(RecvTimeoutError::Timeout);
                if over || looked.elapsed() >= SECOND {
                    looked = Instant::now();
                    losses.look(&shared.telemetry, &format, &shared.outputs);
                }
                if let Some(sign) = heartbeat.as_mut().and_then(Heartbeat::look) {
                    raise_heartbeat(&format, &shared.outputs, &sign);
                }
                if let Some(watchdog) = watchdog
                    && notified.elapsed() >= watchdog
                    && shared.telemetry.is_alive()
                    && !shared.telemetry.rules_off.load(Relaxed)
                {
                    notified = Instant::now();
                    service::alive();
                }
                if over {
                    return;
                }
            }
        })?;
    Ok(Monitor {
        end: Some(end),
        thread: Some(thread),
    })
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
