//! `lanner plugins check`. The check runs in a process of its own, as a plugin may end the process that it is loaded into. Its
//! steps are on standard output, beside what the plugin prints. Whether the plugin is good comes through a pipe of its own.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::process::{Command, ExitCode};

use super::super::{Failure, print};
use super::{child, myself};
use command_line::PluginCheckArgs;

use fields::FieldRegistry;
use fields::template::Template;
use plugin_host::check::{self, HostFields, Request, Verdict, other_host};
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

/// What the process of the check answers.
const GOOD: &[u8] = b"good";
const NOT_GOOD: &[u8] = b"not good";
/// It was asked for something that cannot be done.
const UNCHECKED: &[u8] = b"unchecked";

pub(super) fn check(args: &PluginCheckArgs) -> Result<ExitCode, Failure> {
    if args.in_this_process {
        return run(args);
    }
    if let Some(address) = other_host(&args.settings).filter(|_| !args.deliver) {
        return Err(Failure::usage(format!(
            "the check of an output delivers {} alerts that it makes up, and the settings have the address {address:?}; \
             add --deliver to send them there",
            check::ALERTS
        )));
    }
    let failed = |error| Failure::broken(format!("cannot start a process for the check: {error}"));
    let (mut answer, answers) = io::pipe().map_err(failed)?;
    let (output, prints) = io::pipe().map_err(failed)?;
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
    if !args.deliver {
        // alerts for this host would go through a proxy on another one
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_proxy(name)) {
            child.env_remove(name);
        }
    }
    child.arg("--").arg(&args.file);
    child.stdin(answers).stdout(prints);
    let spawned = child.spawn().map_err(failed)?;
    // or the pipes would have no end
    drop(child);
    let mut printed = Ok(ExitCode::SUCCESS);
    let ended = child::until_end(spawned, output, None, |some| {
        if printed.is_ok() {
            printed = print(some);
        }
    });
    printed?;
    // without a deadline, it has ended
    let Some(status) = ended.map_err(failed)? else {
        return Ok(ExitCode::FAILURE);
    };
    let answer = child::what_is_there(&mut answer);
    match (status.code(), answer.as_slice()) {
        (Some(0), GOOD) => Ok(ExitCode::SUCCESS),
        (Some(1), NOT_GOOD) => Ok(ExitCode::FAILURE),
        // Wrong rule files, for example. The child has said what is wrong.
        (Some(2), UNCHECKED) => Ok(ExitCode::from(2)),
        _ => {
            let text = format!("BAD: the plugin ended the process ({status})\nit is not good\n");
            print(text.as_bytes())?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Whether an environment variable names a proxy.
fn is_proxy(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_lowercase();
    name.ends_with("_proxy") && name != "no_proxy"
}

/// The process of the check.
fn run(args: &PluginCheckArgs) -> Result<ExitCode, Failure> {
    let failed = |error| Failure::broken(format!("cannot answer: {error}"));
    let mut answer = child::answer().map_err(failed)?;
    let result = run_steps(args);
    let word = match &result {
        Ok(true) => GOOD,
        Ok(false) => NOT_GOOD,
        Err(_) => UNCHECKED,
    };
    answer.write_all(word).map_err(failed)?;
    let (text, code) = if result? {
        ("it is good\n", ExitCode::SUCCESS)
    } else {
        ("it is not good\n", ExitCode::FAILURE)
    };
    print(text.as_bytes())?;
    Ok(code)
}

/// Whether the plugin is good.
fn run_steps(args: &PluginCheckArgs) -> Result<bool, Failure> {
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
    Ok(good)
}
