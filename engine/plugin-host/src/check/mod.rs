//! `lanner plugins check`: calls every function of a plugin, also with input that its author may not expect: empty input,
//! very large input, bytes that are not UTF-8. The header of the ABI defines which answers are right.
//!
//! Every call runs on a thread of its own and has a deadline. A call that takes longer ends the run, because the plugin's
//! state cannot be used while it is busy.

mod cost;
mod outputs;
mod receiver;
mod rules;

use std::path::PathBuf;
use std::time::Duration;

pub use receiver::other_host;

use crate::answer::{NoAnswer, ask};
use crate::border::NO_REASON;
use crate::settings::Validator;
use crate::{FieldResolver, Plugin, PluginError, RuleFile, load};

/// How many alerts the check of an output delivers.
pub const ALERTS: usize = outputs::ALERTS;

/// A thread that calls the plugin has given no result.
const PANICKED: &str = "lanner panicked: a fault of lanner";

/// A call of the plugin has ended the thread.
const ENDED: &str = "it ended the thread that called it (pthread_exit)";

/// The fields of a host, which rule plugins are checked with.
pub trait HostFields: FieldResolver {
    /// Checks the fields that a rule's output names.
    ///
    /// # Errors
    ///
    /// The host's error for a field that does not exist, or for a template that is not well formed.
    fn check_output(&self, output: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// What to check a plugin with.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its file.
    pub file: PathBuf,
    /// Settings to open it with.
    pub settings: String,
    /// Rule files to open it with.
    pub rules: Vec<RuleFile>,
    /// How long a call may take.
    pub deadline: Duration,
    /// Makes the fields that the rules may ask for.
    pub fields: fn() -> Box<dyn HostFields>,
    /// Whether to measure calls.
    pub cost: bool,
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The plugin did what the header says.
    Good,
    /// Information for the author; not a fault.
    Note(String),
    /// A fault.
    Bad(String),
}

/// The run ends here.
#[derive(Debug)]
struct End;

/// The run: it reports each step and its verdict at once.
struct Run<'a> {
    request: &'a Request,
    plugin: Plugin,
    tell: &'a mut dyn FnMut(&str, Option<&Verdict>),
    bad: bool,
}

/// Checks a plugin. Calls `tell` when a step begins, and again with its verdict. Returns whether the plugin has no fault.
pub fn check(request: &Request, tell: &mut dyn FnMut(&str, Option<&Verdict>)) -> bool {
    const LOAD: &str = "load it";
    tell(LOAD, None);
    let file = request.file.clone();
    let (answer, question) = ask();
    std::thread::spawn(move || answer.give(load(&file)));
    let loaded = match question.wait(request.deadline) {
        Ok(Ok(plugin)) => Ok(plugin),
        Ok(Err(error)) => Err(error.to_string()),
        Err(NoAnswer::Late) => Err(format!("it did not return within {:?}", request.deadline)),
        Err(NoAnswer::Panicked) => Err(PANICKED.to_owned()),
        Err(NoAnswer::Ended(_)) => Err(ENDED.to_owned()),
    };
    let plugin = match loaded {
        Ok(plugin) => plugin,
        Err(reason) => {
            tell(LOAD, Some(&Verdict::Bad(reason)));
            return false;
        }
    };
    let abi = plugin.abi();
    let said = format!(
        "{} {} (ABI {}.{}, {})",
        plugin.name(),
        plugin.version(),
        abi.0,
        abi.1,
        plugin.capabilities().join(", ")
    );
    tell(LOAD, Some(&Verdict::Note(said)));
    let capabilities = plugin.capabilities();
    let mut run = Run {
        request,
        plugin,
        tell,
        bad: false,
    };
    for capability in capabilities {
        let ended = match capability {
            "rules" => rules::check(&mut run),
            _ => outputs::check(&mut run),
        };
        if ended.is_err() {
            return false;
        }
    }
    if request.cost && !run.bad {
        let _ = cost::measure(&mut run);
    }
    !run.bad
}

impl Run<'_> {
    /// Runs a step, within the deadline. `None`: this part cannot go on, and the verdict says why.
    fn step<T: Send + 'static>(
        &mut self,
        name: &str,
        body: impl FnOnce(&Plugin) -> (Verdict, Option<T>) + Send + 'static,
    ) -> Result<Option<T>, End> {
        (self.tell)(name, None);
        let plugin = self.plugin.clone();
        let faults = plugin.faults();
        let (answer, question) = ask();
        std::thread::spawn(move || answer.give(body(&plugin)));
        let (mut verdict, result) = match question.wait(self.request.deadline) {
            Ok(done) => done,
            Err(NoAnswer::Late) => {
                let verdict = Verdict::Bad(format!(
                    "it did not return within {:?}; the run ends here",
                    self.request.deadline
                ));
                self.say(name, &verdict);
                return Err(End);
            }
            Err(gone @ (NoAnswer::Panicked | NoAnswer::Ended(_))) => {
                let why = if gone == NoAnswer::Panicked {
                    PANICKED
                } else {
                    ENDED
                };
                self.say(name, &Verdict::Bad(why.to_owned()));
                return Err(End);
            }
        };
        let faults = self.plugin.faults() - faults;
        if faults > 0 && !matches!(verdict, Verdict::Bad(_)) {
            verdict = Verdict::Bad(format!(
                "it answered nonsense {faults} times; the log says more"
            ));
        }
        self.say(name, &verdict);
        Ok(result)
    }

    fn say(&mut self, name: &str, verdict: &Verdict) {
        self.bad |= matches!(verdict, Verdict::Bad(_));
        (self.tell)(name, Some(verdict));
    }

    /// Checks that the schema of its settings is a JSON schema.
    fn schema(
        &mut self,
        schema: fn(&Plugin) -> Result<Option<&serde_json::Value>, PluginError>,
    ) -> Result<(), End> {
        self.step("ask for the schema of its settings", move |plugin| {
            let verdict = match schema(plugin) {
                Err(error) => Verdict::Bad(error.to_string()),
                Ok(None) => {
                    Verdict::Note("it has none: lanner cannot check settings for it".to_owned())
                }
                Ok(Some(schema)) => match Validator::new(schema) {
                    Ok(_) => Verdict::Good,
                    Err(error) => Verdict::Bad(format!("it is no JSON schema: {error}")),
                },
            };
            (verdict, Some(()))
        })?;
        Ok(())
    }
}

/// The verdict on a call that the plugin should refuse.
fn refused<T>(answer: Result<T, PluginError>, otherwise: &str) -> Verdict {
    match answer {
        Ok(_) => Verdict::Note(otherwise.to_owned()),
        Err(PluginError::Failed { reason, .. } | PluginError::Settings { reason, .. })
            if !reason.starts_with(NO_REASON) =>
        {
            Verdict::Good
        }
        Err(error) => Verdict::Bad(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
