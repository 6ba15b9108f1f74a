//! `lanner plugins check`.

use std::process::ExitCode;

use super::super::args::PluginCheckArgs;
use super::super::{Failure, print};
use crate::plugin_check::{self, Request, Verdict};
use crate::plugin_host::RuleFile;

pub(super) fn check(args: &PluginCheckArgs) -> Result<ExitCode, Failure> {
    let rules = args.rules.iter().map(|path| RuleFile::read(path));
    let request = Request {
        file: args.file.clone(),
        settings: args.settings.clone(),
        rules: rules.collect::<Result<_, _>>().map_err(Failure::usage)?,
        deadline: args.deadline,
        cost: args.cost,
    };
    let mut written = Ok(ExitCode::SUCCESS);
    let good = plugin_check::check(&request, &mut |step, verdict| {
        // The step stands there before it runs: should the plugin end the process, it is the last word.
        let text = match verdict {
            None => format!("{step} ... "),
            Some(Verdict::Good) => "good\n".to_owned(),
            Some(Verdict::Note(said)) => format!("good: {said}\n"),
            Some(Verdict::Bad(reason)) => format!("BAD: {reason}\n"),
        };
        if written.is_ok() {
            written = print(text.as_bytes());
        }
    });
    written?;
    print(if good {
        b"it is good\n"
    } else {
        b"it is not good\n"
    })?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
