//! The `lanner` command: its arguments, its verbs, signals and the log. Everything else is in the library crates;
//! `session` puts them together.

mod args;
mod drivers;
mod lists;
mod logging;
mod outputs;
mod plugins;
mod record;
mod report;
mod rules;
mod run;
mod signals;
mod trace;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Verb};

/// Exit code: the request or the set-up is at fault, and nothing was started.
const USAGE: u8 = 2;

/// A message for the user, and the exit code that goes with it.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// What the user asked for cannot be done, and nothing was started.
    #[expect(clippy::needless_pass_by_value, reason = "it is what map_err calls")]
    pub(crate) fn usage(message: impl ToString) -> Self {
        Self {
            message: message.to_string(),
            code: USAGE,
        }
    }

    /// Something failed after the start.
    #[expect(clippy::needless_pass_by_value, reason = "it is what map_err calls")]
    pub(crate) fn broken(message: impl ToString) -> Self {
        Self {
            message: message.to_string(),
            code: 1,
        }
    }
}

/// Runs the command line. Exit codes: 0; 1 (failed after the start); 2 (cannot do what was asked); or the status of the
/// watched command, which is 128 plus the signal's number if a signal killed it.
fn main() -> ExitCode {
    plugin_host::report_crashes();
    let cli = Cli::parse();
    logging::start(cli.verbose);
    let result = match cli.verb {
        Verb::Run(args) => run::run(&args),
        Verb::Config(verb) => run::config(&verb),
        Verb::Trace(args) => trace::trace(&args),
        Verb::Record(args) => record::record(&args),
        Verb::Drivers(args) => drivers::list(&args),
        Verb::Syscalls(args) => lists::syscalls(&args),
        Verb::Fields(args) => lists::fields(&args),
        Verb::Rules(verb) => rules::rules(verb),
        Verb::Plugins(args) => plugins::plugins(args),
        Verb::Outputs(verb) => outputs::outputs(&verb),
    };
    let code = result.unwrap_or_else(|failure| {
        say(&failure.message);
        ExitCode::from(failure.code)
    });
    if plugin_host::is_loading() {
        leave(code);
    }
    code
}

/// Ends the process although a plugin hangs while it is loaded.
fn leave(code: ExitCode) -> ! {
    let number = (0..=u8::MAX).find(|number| ExitCode::from(*number) == code);
    // An error has no other place to go.
    let _ = std::io::stdout().flush();
    // SAFETY: it ends the process, and runs nothing of it.
    unsafe { libc::_exit(number.unwrap_or(1).into()) }
}

/// Writes one message to standard error. Standard output is for events and alerts alone.
#[expect(clippy::print_stderr, reason = "messages to the user go there")]
pub(crate) fn say(message: &str) {
    eprintln!("lanner: {message}");
}

/// Writes to standard output. A reader that has gone is not an error.
///
/// The watched command may write into the same pipe. So each write has whole lines, as many as a pipe takes in one piece
/// (`PIPE_BUF`, pipe(7)). A longer line can be interleaved with other output.
pub(crate) fn print(text: &[u8]) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout().lock();
    let mut rest = text;
    let mut written = Ok(());
    while !rest.is_empty() && written.is_ok() {
        let fits = rest.len().min(libc::PIPE_BUF);
        let lines = rest[..fits].iter().rposition(|byte| *byte == b'\n');
        let (now, later) = rest.split_at(lines.map_or(fits, |at| at + 1));
        written = out.write_all(now);
        rest = later;
    }
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::broken(
            format!("cannot write to standard output: {error}"),
        )),
        _ => Ok(ExitCode::SUCCESS),
    }
}
