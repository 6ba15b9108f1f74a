//! `lanner plugins check`.

use std::process::ExitCode;

use super::super::args::PluginCheckArgs;
use super::super::{Failure, print};
use fields::FieldRegistry;
use fields::template::Template;
use plugin_host::check::{self, HostFields, Request, Verdict};
use plugin_host::{FieldResolver, ResolvedField, RuleFile, UnknownName};

/// lanner's own fields.
struct Checked(FieldRegistry);

impl FieldResolver for Checked {
    fn resolve(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, UnknownName> {
        self.0.resolve(name, arg)
    }

    fn event_type(&self, name: &str) -> Result<u32, UnknownName> {
        self.0.event_type(name)
    }
}

impl HostFields for Checked {
    fn check_output(&self, output: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Template::compile(output, &self.0)?;
        Ok(())
    }
}

pub(super) fn check(args: &PluginCheckArgs) -> Result<ExitCode, Failure> {
    let rules = args.rules.iter().map(|path| RuleFile::read(path));
    let request = Request {
        file: args.file.clone(),
        settings: args.settings.clone(),
        rules: rules.collect::<Result<_, _>>().map_err(Failure::usage)?,
        deadline: args.deadline,
        fields: || Box::new(Checked(FieldRegistry::new("host"))),
        cost: args.cost,
    };
    let mut written = Ok(ExitCode::SUCCESS);
    let good = check::check(&request, &mut |step, verdict| {
        // The step is printed before it runs: if the plugin ends the process, the last line names the step.
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
