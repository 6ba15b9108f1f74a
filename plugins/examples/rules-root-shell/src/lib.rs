//! Rule plugin with one rule: root starts a shell.

use lanner_plugin::{
    Error, Event, EventTypes, Host, Matches, Priority, RuleInfo, RulePlugin, RuleRequest, Value,
};

/// The rules. Lanner may have several of these at once.
pub struct Rules {
    rules: Vec<RuleInfo>,
    execve: u32,
    name: u32,
    uid: u32,
}

/// The rule, for alerts and listings.
fn rule() -> RuleInfo {
    RuleInfo {
        name: "Shell of root".to_owned(),
        description: "Root started a shell.".to_owned(),
        priority: Priority::Notice,
        source: "syscall".to_owned(),
        tags: vec!["T1059.004".to_owned()],
        output: "root started a shell: %proc.cmdline".to_owned(),
        enabled: true,
    }
}

/// Whether a program of this name, started by this user, breaks the rule.
fn matches(name: Value<'_>, uid: Value<'_>) -> bool {
    let shell = matches!(name, Value::String(b"sh" | b"bash" | b"dash"));
    shell && uid == Value::U64(0)
}

impl RulePlugin for Rules {
    type Settings = ();

    fn open(_host: Host, request: &RuleRequest<'_>, _settings: ()) -> Result<Self, Error> {
        if let Some(file) = request.files().next() {
            return Err(format!("{}: this plugin has no rule files", file.name()).into());
        }
        Ok(Self {
            rules: vec![rule()],
            execve: request.event_type("execve")?,
            name: request.field("proc.name", None)?.id,
            uid: request.field("user.uid", None)?.id,
        })
    }

    fn rules(&self) -> &[RuleInfo] {
        &self.rules
    }

    fn event_types(&self) -> EventTypes {
        EventTypes::Only(vec!["execve".to_owned()])
    }

    fn on_event(&mut self, event: &Event<'_>, found: &mut Matches<'_>) {
        if event.event_type() == self.execve && matches(event.get(self.name), event.get(self.uid)) {
            found.add(0);
        }
    }
}

lanner_plugin::export_plugin! {
    name: "rules-root-shell",
    description: "Shells of root.",
    rules: Rules,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_of_root_matches_and_nothing_else() {
        assert!(matches(Value::String(b"bash"), Value::U64(0)));
        assert!(!matches(Value::String(b"bash"), Value::U64(1000)));
        assert!(!matches(Value::String(b"cat"), Value::U64(0)));
        assert!(!matches(Value::None, Value::None));
    }
}
