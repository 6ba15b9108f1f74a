//! `lanner plugins check`: a plugin is taken through everything that lanner may do to it, with what its author may
//! not have thought of: nothing at all, far too much, bytes that are no text. It is judged by what the header says.
//!
//! Every call runs on a thread of its own and has a deadline. One that takes longer ends the run, as nothing can be
//! said of a state that is still busy.

mod cost;
mod outputs;
mod rules;

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use crate::settings::Validator;
use crate::{FieldResolver, Plugin, PluginError, RuleFile, load};

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

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As it ought to be.
    Good,
    /// Worth knowing, and no fault.
    Note(String),
    /// A fault.
    Bad(String),
}

/// The run ends here.
#[derive(Debug)]
struct End;

/// Tells steps and what came of them as they happen.
struct Run<'a> {
    request: &'a Request,
    plugin: Plugin,
    tell: &'a mut dyn FnMut(&str, Option<&Verdict>),
    bad: bool,
}

/// Checks a plugin. `tell` hears of each step when it begins, and when its verdict is there. Returns whether there was
/// no fault.
pub fn check(request: &Request, tell: &mut dyn FnMut(&str, Option<&Verdict>)) -> bool {
    const LOAD: &str = "load it";
    tell(LOAD, None);
    let plugin = match load(&request.file) {
        Ok(plugin) => plugin,
        Err(error) => {
            tell(LOAD, Some(&Verdict::Bad(error.to_string())));
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
    /// Runs a step, within the deadline. `None`: it is over for this part, and the verdict says why.
    fn step<T: Send + 'static>(
        &mut self,
        name: &str,
        body: impl FnOnce(&Plugin) -> (Verdict, Option<T>) + Send + 'static,
    ) -> Result<Option<T>, End> {
        (self.tell)(name, None);
        let plugin = self.plugin.clone();
        let faults = plugin.faults();
        let (done, wait) = mpsc::channel();
        std::thread::spawn(move || drop(done.send(body(&plugin))));
        let (mut verdict, result) = match wait.recv_timeout(self.request.deadline) {
            Ok(done) => done,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let verdict = Verdict::Bad(format!(
                    "it did not return within {:?}; the run ends here",
                    self.request.deadline
                ));
                self.say(name, &verdict);
                return Err(End);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                self.say(
                    name,
                    &Verdict::Bad("lanner panicked: a fault of lanner".to_owned()),
                );
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

    /// Whether the schema of its settings is one.
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

/// A refusal that was asked for, or that is none.
fn refused<T>(answer: Result<T, PluginError>, otherwise: &str) -> Verdict {
    match answer {
        Ok(_) => Verdict::Note(otherwise.to_owned()),
        Err(PluginError::Failed { reason, .. }) if !reason.starts_with("it gave no reason") => {
            Verdict::Good
        }
        Err(error) => Verdict::Bad(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
