//! `lanner plugins check`. The check runs in a process of its own, as a plugin may end the process that it is loaded into.

use std::process::{Command, ExitCode, Stdio};

use super::super::{Failure, print};
use super::{child, myself};
use command_line::PluginCheckArgs;
use serde_json::Value;

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

const GOOD: &str = "it is good";
const NOT_GOOD: &str = "it is not good";

pub(super) fn check(args: &PluginCheckArgs) -> Result<ExitCode, Failure> {
    if args.in_this_process {
        return run(args);
    }
    if let Some(address) = address(&args.settings).filter(|_| !args.deliver) {
        return Err(Failure::usage(format!(
            "the check of an output delivers {} alerts that it makes up, and the settings have the address {address:?}; \
             add --deliver to send them there",
            check::ALERTS
        )));
    }
    let failed = |error| Failure::broken(format!("cannot start a process for the check: {error}"));
    let mut child = Command::new(myself().map_err(failed)?);
    child.args(["plugins", "check", "--in-this-process"]);
    child.arg(format!("--settings={}", args.settings));
    child.arg(format!("--deadline={}ms", args.deadline.as_millis()));
    for rules in &args.rules {
        child.arg("--rules").arg(rules);
    }
    if args.cost {
        child.arg("--cost");
    }
    let child = child.arg("--").arg(&args.file).stdout(Stdio::piped());
    let child = child.spawn().map_err(failed)?;
    let mut printed = Ok(ExitCode::SUCCESS);
    let mut lines = Vec::new();
    // What the plugin itself prints comes here as well.
    let ended = child::until_end(child, None, |some| {
        if printed.is_ok() {
            printed = print(some);
        }
        lines.extend(some);
        // only the last line that it has printed is needed
        let done = lines
            .trim_ascii_end()
            .iter()
            .rposition(|byte| *byte == b'\n');
        lines.drain(..done.map_or(0, |at| at + 1));
    });
    printed?;
    // without a deadline, it has ended
    let Some(status) = ended.map_err(failed)? else {
        return Ok(ExitCode::FAILURE);
    };
    let last = String::from_utf8_lossy(&lines);
    match (status.code(), last.trim_end()) {
        (Some(0), GOOD) => Ok(ExitCode::SUCCESS),
        (Some(1), NOT_GOOD) => Ok(ExitCode::FAILURE),
        // Wrong rule files, for example. The child has said what is wrong.
        (Some(2), "") => Ok(ExitCode::from(2)),
        _ => {
            let text = format!("BAD: the plugin ended the process ({status})\n{NOT_GOOD}\n");
            print(text.as_bytes())?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// An address of another host in settings.
fn address(settings: &str) -> Option<String> {
    fn find(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => {
                let (scheme, rest) = text.split_once("://")?;
                let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                let here = ["localhost", "127.", "[::1]"]
                    .iter()
                    .any(|name| host.starts_with(name));
                (scheme != "unix" && !here).then(|| text.clone())
            }
            Value::Array(values) => values.iter().find_map(find),
            Value::Object(values) => values.values().find_map(find),
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        }
    }
    find(&serde_json::from_str(settings).ok()?)
}

fn run(args: &PluginCheckArgs) -> Result<ExitCode, Failure> {
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
    print(
        if good {
            format!("{GOOD}\n")
        } else {
            format!("{NOT_GOOD}\n")
        }
        .as_bytes(),
    )?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
