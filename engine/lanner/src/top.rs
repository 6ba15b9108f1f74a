//! `lanner top`: a live view. The library `top` does the work.

use std::process::ExitCode;

use driver_api::error::Chain;
use session::EventSource;
use top::{Plan, Screen, TopError};

use super::watch::CommandSignals;
use super::{Failure, report, signals};
use command_line::TopArgs;

pub(crate) fn top(args: &TopArgs) -> Result<ExitCode, Failure> {
    let usage = |error: TopError| Failure::usage(Chain(&error));
    // the terminal is given back before an error is printed
    let plan = Plan::new(&args.request()).map_err(usage)?;
    let screen = Screen::take().map_err(usage)?;
    let config = args.source.config();
    let control = signals::watch(&config, false, Box::new(CommandSignals))?;
    let (selection, omit) = plan.selection();
    let open = || config.open(&selection, omit);
    let source = open().map_err(|error| Failure::usage(Chain(&error)))?;
    let ended = plan
        .run(
            screen,
            source,
            &open,
            &args.target(),
            &control,
            &signals::end_command,
        )
        .map_err(|error| Failure::broken(Chain(&error)))?;
    report::capture(&ended.stats);
    let status = ended
        .status
        .map_err(|error| Failure::broken(Chain(&error)))?;
    Ok(report::exit_code(status))
}
