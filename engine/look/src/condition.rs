//! A condition in the language of rules. The rule plugin compiles it as the condition of a rule of its own.

use driver_api::request::SyscallSet;
use fields::{FieldRegistry, View, host_names};
use plugin_host::{Plugin, PluginError, RuleFile, RuleHost};
use serde_json::json;

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {
    rules: RuleHost,
    matches: Vec<u32>,
}

impl Condition {
    /// Compiles a condition. Messages name its place as `name`.
    ///
    /// # Errors
    ///
    /// The rule plugin refuses the condition, or fails; the text has its reason.
    pub fn compile(
        name: &str,
        text: &str,
        plugin: &Plugin,
        registry: &FieldRegistry,
    ) -> Result<Self, PluginError> {
        // JSON is YAML, too
        let rule = json!([{
            "rule": name,
            "desc": name,
            "condition": text,
            "output": "%evt.num",
            "priority": "INFORMATIONAL",
        }]);
        let file = RuleFile {
            name: name.to_owned(),
            text: rule.to_string().into_bytes(),
        };
        Ok(Self {
            rules: RuleHost::open(plugin, registry, &[file], "")?,
            matches: Vec::new(),
        })
    }

    /// The calls that can fulfil it.
    #[must_use]
    pub fn calls(&self) -> SyscallSet {
        session::calls_of(self.rules.event_types())
    }

    /// The names of hosts whose addresses it needs.
    ///
    /// # Errors
    ///
    /// The rule plugin failed; the text has its reason.
    pub fn host_names(&mut self) -> Result<Vec<String>, PluginError> {
        Ok(host_names(&self.rules.comparisons()?))
    }

    /// Whether an event fulfils it.
    pub fn matches(&mut self, view: &View<'_>) -> bool {
        self.rules.on_event(view, &mut self.matches);
        !self.matches.is_empty()
    }

    /// Why it cannot match any more: the plugin panicked.
    #[must_use]
    pub fn off(&self) -> Option<&str> {
        self.rules.off()
    }
}
