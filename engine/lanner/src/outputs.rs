//! `lanner outputs test` sends one alert through outputs of the configuration.

use std::process::ExitCode;

use session::LoadConfig;

use super::{Failure, lines, say};
use command_line::OutputVerb;

pub(crate) fn outputs(verb: &OutputVerb) -> Result<ExitCode, Failure> {
    let OutputVerb::Test(args) = verb;
    lines::need_stdout()?;
    let config = LoadConfig {
        config: args.config.clone(),
        options: args.options.clone(),
        plugin_dirs: args.plugin_dirs.clone(),
        ..LoadConfig::default()
    };
    let tests = session::test_outputs(config, &args.names)?;
    let mut code = ExitCode::SUCCESS;
    for test in &tests {
        let name = &test.output;
        match &test.failure {
            None => say(&format!(
                "output {name}: delivered after {} ms",
                test.took.as_millis()
            )),
            Some(reason) => {
                code = ExitCode::FAILURE;
                say(&format!("output {name}: not delivered: {reason}"));
            }
        }
    }
    Ok(code)
}
