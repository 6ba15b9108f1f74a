//! Sends one alert through outputs of the configuration, to see whether it arrives. Nothing else of a session is started.

use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::alert::AlertFormat;
use plugin_host::{Alert, Delivery, OutputHost, Priority};

use crate::config::OutputConfig;
use crate::error::{LoadError, SessionError};
use crate::rule_loader::{LoadConfig, RuleLoader};
use crate::telemetry::now_ns;

/// The rule of the alert.
const RULE: &str = "lanner internal: test";
/// How often, and after which pause, an output that asks to be tried again is offered the alert.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// What became of the alert at one output.
#[derive(Debug)]
pub struct OutputTest {
    /// The output.
    pub output: String,
    /// How long the output took.
    pub took: Duration,
    /// Why the alert was not delivered.
    pub failure: Option<String>,
}

/// Sends an alert of the rule `lanner internal: test` through the outputs with these names, or through all if there are no
/// names.
///
/// # Errors
///
/// The configuration cannot be used, or has no output of a name.
pub fn test_outputs(config: LoadConfig, names: &[String]) -> Result<Vec<OutputTest>, SessionError> {
    let loader = Arc::new(RuleLoader::new(config));
    let loaded = loader.configuration()?;
    let all = loaded.config.all_outputs();
    if let Some(unknown) = names
        .iter()
        .find(|name| !all.iter().any(|output| output.name() == *name))
    {
        let known: Vec<_> = all.iter().map(OutputConfig::name).collect();
        let hint = suggest::nearest(unknown, known.iter().copied()).map_or_else(
            || format!("; there are {}", known.join(", ")),
            |near| format!("; did you mean `{near}`?"),
        );
        return Err(LoadError::NoSuchOutput {
            output: unknown.clone(),
            hint,
        }
        .into());
    }
    let chosen = all
        .into_iter()
        .filter(|output| names.is_empty() || names.iter().any(|name| name == output.name()));
    let mut tests = Vec::new();
    for output in chosen {
        let begin = Instant::now();
        let config = loaded.config.clone();
        let name = output.name().to_owned();
        let sent = loader.within(&loaded.config, move |loader| {
            let plugin = loader.plugin(&config, &output.plugin)?;
            let opened = OutputHost::open(&plugin, &output.settings_json());
            let host = opened.map_err(|source| LoadError::Output {
                output: output.name().to_owned(),
                source,
            })?;
            Ok(send(host, &alert(&loader.format(&config))))
        });
        let failure = match sent {
            Ok(failure) => failure,
            Err(error) => Some(driver_api::error::Chain(&error).to_string()),
        };
        tests.push(OutputTest {
            output: name,
            took: begin.elapsed(),
            failure,
        });
    }
    Ok(tests)
}

fn alert(format: &AlertFormat) -> Alert {
    let message = format!("{RULE}. This alert was sent to test an output.");
    format.internal(now_ns(), RULE, Priority::Notice, &message, Vec::new())
}

/// Returns why the alert was not delivered.
fn send(mut host: OutputHost, alert: &Alert) -> Option<String> {
    let mut failure = None;
    for round in 0..TRIES {
        if round > 0 {
            std::thread::sleep(PAUSE);
        }
        failure = match host.emit(&[alert]) {
            Delivery::Delivered | Delivery::GoOn { delivered: 1.., .. } => {
                return host.flush().err().map(|error| error.to_string());
            }
            Delivery::GiveUp { reason, .. } | Delivery::GoOn { reason, .. } => {
                return Some(format!("it is refused: {reason}"));
            }
            Delivery::TryAgain { reason, .. } => Some(reason),
        };
    }
    failure
}
