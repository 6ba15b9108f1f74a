//! A condition in the language of rules. The rule plugin compiles it as the condition of a rule of its own.

use driver_api::request::SyscallSet;
use fields::{FieldRegistry, View, host_names};
use plugin_host::{Plugin, PluginError, RuleFile, RuleHost};
use serde_json::json;

/// The name of the rule, and of the file it is in, for messages.
const NAME: &str = "--where";

/// A compiled condition.
#[derive(Debug)]
pub(crate) struct Condition {
    rules: RuleHost,
    matches: Vec<u32>,
}

impl Condition {
    pub(crate) fn compile(
        text: &str,
        plugin: &Plugin,
        registry: &FieldRegistry,
    ) -> Result<Self, PluginError> {
        // JSON is YAML, too
        let rule = json!([{
            "rule": NAME,
            "desc": NAME,
            "condition": text,
            "output": "%evt.num",
            "priority": "INFORMATIONAL",
        }]);
        let file = RuleFile {
            name: NAME.to_owned(),
            text: rule.to_string().into_bytes(),
        };
        Ok(Self {
            rules: RuleHost::open(plugin, registry, &[file], "")?,
            matches: Vec::new(),
        })
    }

    /// The calls that can fulfil it.
    pub(crate) fn calls(&self) -> SyscallSet {
        session::calls_of(self.rules.event_types())
    }

    /// The names of hosts whose addresses it needs.
    pub(crate) fn host_names(&mut self) -> Result<Vec<String>, PluginError> {
        Ok(host_names(&self.rules.comparisons()?))
    }

    /// Whether an event fulfils it.
    pub(crate) fn matches(&mut self, view: &View<'_>) -> bool {
        self.rules.on_event(view, &mut self.matches);
        !self.matches.is_empty()
    }

    /// Why it cannot match any more: the plugin panicked.
    pub(crate) fn off(&self) -> Option<&str> {
        self.rules.off()
    }
}
