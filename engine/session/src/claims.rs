//! What only one may have: the address at which an output listens, or the web server. A plugin marks the setting in its schema
//! with `"x-lanner-alone": true`; nothing here knows a plugin by its name.

use std::path::Path;

use crate::config::{OutputConfig, Webserver, real};
use crate::error::LoadError;
use plugin_host::Plugin;

/// The mark in a schema.
const ALONE: &str = "x-lanner-alone";
/// How the web server is called in messages.
const WEB: &str = "webserver";

/// What was claimed so far: the place, and by whom.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<(String, String)>);

impl Claims {
    /// Those of the web server.
    pub(super) fn of(web: &Webserver) -> Self {
        let place = match &web.unix_socket {
            _ if !web.enabled => return Self::default(),
            Some(path) => unix(path),
            None => format!("{}:{}", web.listen_address, web.listen_port),
        };
        Self(vec![(place, WEB.to_owned())])
    }

    /// Adds those of an output.
    ///
    /// # Errors
    ///
    /// One of them was claimed before.
    pub(super) fn add(&mut self, output: &OutputConfig, plugin: &Plugin) -> Result<(), LoadError> {
        let Ok(Some(schema)) = plugin.output_schema() else {
            return Ok(());
        };
        let properties = schema["properties"].as_object();
        for (setting, property) in properties.into_iter().flatten() {
            if property[ALONE] != true {
                continue;
            }
            let value = output.settings.get(setting).or(property.get("default"));
            let Some(value) = value.and_then(|value| value.as_str()) else {
                continue;
            };
            let place = match value.strip_prefix("unix://") {
                Some(path) => unix(Path::new(path)),
                None => value.to_owned(),
            };
            if let Some((_, other)) = self.0.iter().find(|(claimed, _)| *claimed == place) {
                return Err(LoadError::Claimed {
                    output: output.name().to_owned(),
                    setting: setting.clone(),
                    other: other.clone(),
                });
            }
            self.0.push((place, output.name().to_owned()));
        }
        Ok(())
    }
}

/// A socket, however its path is written.
fn unix(path: &Path) -> String {
    format!("unix://{}", real(path).display())
}
