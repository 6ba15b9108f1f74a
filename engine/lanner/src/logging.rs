//! Sends lanner's log to journald if standard error is connected to it, and else to standard error.

use std::io::{IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use plugin_host::secrets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// The command line or the environment set the level, so the configuration does not change it.
static CHOSEN: OnceLock<Option<reload::Handle<EnvFilter, Registry>>> = OnceLock::new();

/// Starts the log.
pub(super) fn start(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let from_env = EnvFilter::try_from_env("LANNER_LOG");
    let fixed = verbose > 0 || from_env.is_ok();
    let (filter, handle) = reload::Layer::new(from_env.unwrap_or_else(|_| level.into()));
    let _ = CHOSEN.set((!fixed).then_some(handle));
    let journal = is_journal()
        .then(tracing_journald::layer)
        .and_then(Result::ok);
    let layer = match journal {
        Some(journal) => journal.boxed(),
        None => tracing_subscriber::fmt::layer()
            .with_writer(|| Hiding(std::io::stderr()))
            .with_target(false)
            .with_ansi(colours())
            .boxed(),
    };
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init();
}

/// Sets the level of the configuration, unless the command line or the environment set one.
pub(super) fn set_level(level: &str) {
    if let Some(Some(handle)) = CHOSEN.get() {
        let _ = handle.reload(EnvFilter::from(level));
    }
}

/// Whether lines have colours: only for a person, who may forbid it (<https://no-color.org>).
fn colours() -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !forbidden
}

/// Writes without secrets. The log writes each message in one piece. Its further lines are indented, so that none of them
/// looks like a message of its own.
struct Hiding(std::io::Stderr);

impl Write for Hiding {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = secrets::hide(&text);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.replace('\n', "\n  ") + "\n";
        self.0.write_all(text.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Whether standard error is the journal: systemd says which socket that is (systemd.exec(5), `JOURNAL_STREAM`).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|meta| stream == format!("{}:{}", meta.dev(), meta.ino()))
}
