//! The `lanner` command: its arguments, its verbs, signals and the log. Everything else is in the library crates;
//! `session` puts them together.

mod built_in;
mod copy;
mod drivers;
mod lines;
mod lists;
mod logging;
mod outputs;
mod plugins;
mod record;
mod report;
mod rules;
mod run;
mod signals;
mod top;
mod trace;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

use plugin_host::{escape, files, secrets};

use command_line::{Cli, Verb};
use lines::Lines;

/// Exit code: the request or the set-up is at fault, and nothing was started.
const USAGE: u8 = 2;

/// Commands, outputs and files would be started and written in the name of the program's owner.
const SET_ID: &str = "its file has the set-user-ID or set-group-ID bit, with which everyone could run commands as its owner; \
     run `chmod u-s,g-s` on it, and give it capabilities instead: `lanner drivers` says which";

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
    forget_untrusted_variables();
    plugin_host::report_crashes();
    built_in::link();
    if files::is_set_id() {
        say(SET_ID);
        return ExitCode::from(USAGE);
    }
    let cli = Cli::parse();
    logging::start(cli.verbose);
    signals::survive_file_limit();
    let result = match cli.verb {
        Verb::Run(args) => run::run(&args),
        Verb::Config(verb) => run::config(&verb),
        Verb::Trace(args) => trace::trace(&args),
        Verb::Top(args) => top::top(&args),
        Verb::Record(args) => record::record(&args),
        Verb::Convert(args) => record::convert(&args),
        Verb::Drivers(args) => drivers::list(&args),
        Verb::Syscalls(args) => lists::syscalls(&args),
        Verb::Fields(args) => lists::fields(&args),
        Verb::Rules(verb) => rules::rules(verb),
        Verb::Plugins(args) => plugins::plugins(args),
        Verb::Outputs(verb) => outputs::outputs(&verb),
        Verb::Copy(args) => copy::copy(&args),
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

/// Removes the environment variables that lanner or its outputs listen to, where the environment belongs to a user with fewer
/// rights: they would choose the proxy that alerts go through, and the certificates that vouch for their receivers.
fn forget_untrusted_variables() {
    if !files::is_secure() {
        return;
    }
    for (name, _) in std::env::vars_os() {
        let word = name.to_string_lossy().to_ascii_uppercase();
        if ["LANNER_", "SSL_CERT_"]
            .iter()
            .any(|first| word.starts_with(first))
            || word.ends_with("_PROXY")
        {
            // SAFETY: this is the only thread, as `main` has just begun.
            unsafe { std::env::remove_var(name) };
        }
    }
}

/// Writes one message, without secrets, to standard error: standard output is for events and alerts alone. Control characters
/// in names and values are escaped, so that they do nothing to a terminal. Further lines are indented, so that none of them
/// looks like a message of its own.
pub(crate) fn say(message: &str) {
    // where standard error cannot be written, there is no place to say so
    let message = escape(&secrets::hide(message), true).replace('\n', "\n  ");
    let _ = writeln!(std::io::stderr(), "lanner: {message}");
}

/// Writes to standard output. A reader that has gone is not an error.
pub(crate) fn print(text: &[u8]) -> Result<ExitCode, Failure> {
    let mut out = Lines::open(lines::Destination::Stdout)?;
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::broken(
            format!("cannot write to standard output: {error}"),
        )),
        _ => Ok(ExitCode::SUCCESS),
    }
}
