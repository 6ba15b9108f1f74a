//! Falco's configuration as one of lanner's. Most keys have the same name and meaning. Each of the others becomes what comes
//! nearest, or a note that says why it has no counterpart.
//!
//! `types` reads values as Falco does, `reasons` says why keys have no counterpart, and `write` writes YAML.

mod reasons;
mod types;
mod write;

use std::path::Path;
use std::sync::Arc;

use lanner_plugin::files;

use super::error::{ConfigError, Fault, shown};
use super::expand::Expanded;
use super::tree::{self, Node, NodeValue};
use super::{MAX_FILE, schema, strict, typed};
use reasons::why_not;
use serde_json::Value;

/// A configuration that was converted.
#[derive(Debug)]
pub struct Converted {
    /// lanner's configuration.
    pub yaml: String,
    /// What has no counterpart: place, key and reason.
    pub notes: Vec<String>,
}

/// Converts Falco's configuration (`falco.yaml`). Variables such as `${NAME}` stay as they are.
///
/// # Errors
///
/// The file cannot be read, or is not YAML.
pub fn from_falco(path: &Path) -> Result<Converted, ConfigError> {
    let file = files::open_untrusted(path)?;
    let text = files::read_opened_text(file, path, MAX_FILE)?;
    convert(&Arc::from(path.display().to_string()), &text)
}

fn convert(source: &Arc<str>, text: &str) -> Result<Converted, ConfigError> {
    let as_it_is = |text: &str| {
        Ok(Expanded {
            text: text.to_owned(),
            secret: false,
        })
    };
    let mut notes = Notes(Vec::new());
    let mut yaml =
        String::from("# Converted from Falco's configuration by `lanner config from-falco`.\n");
    let Some(mut root) = tree::parse_with(source, text, &as_it_is)? else {
        return Ok(Converted {
            yaml,
            notes: notes.0,
        });
    };
    let NodeValue::Map(_) = root.kind else {
        return Err(ConfigError::at(root.place, Fault::NotAMap));
    };
    chart_values(&mut root, &mut notes);
    let schema = schema();
    types::as_falco_reads(&mut root, &schema);
    let (server, output) = (root.take("grpc"), root.take("grpc_output"));
    let grpc = grpc(server, output.as_ref(), &mut notes);
    let limit = root.take("outputs");
    let outputs = outputs(limit, grpc, &mut notes);
    if let Some(engine) = root.take("engine") {
        driver(&engine, &mut yaml, &mut notes);
    }
    if let Some(old) = root.take("rules_file") {
        rules_file(&mut root, old, &mut notes);
    }
    let NodeValue::Map(mut entries) = root.kind else {
        return Err(ConfigError::at(root.place, Fault::NotAMap));
    };
    entries.extend(outputs.map(|outputs| ("outputs".to_owned(), outputs)));
    for (key, node) in entries {
        if let Some(node) = same(&key, node, &schema, &mut notes) {
            write::entry(&mut yaml, 0, &key, &node);
        }
    }
    Ok(Converted {
        yaml,
        notes: notes.0,
    })
}

struct Notes(Vec<String>);

impl Notes {
    fn add(&mut self, node: &Node, key: &str, why: &str) {
        let note = format!("{}: {key}: {why}", node.place);
        self.0.push(shown(&note));
    }
}

/// In the values of Falco's Helm chart, the configuration is below `falco`.
fn chart_values(root: &mut Node, notes: &mut Notes) {
    let is_map = |node: &Node| matches!(node.kind, NodeValue::Map(_));
    if root.get("rules_files").is_some() || !root.get("falco").is_some_and(is_map) {
        return;
    }
    if let Some(below) = root.take("falco") {
        let why =
            "these are values of Falco's Helm chart, and only what is below `falco` is converted";
        notes.add(root, "falco", why);
        *root = below;
    }
}

/// `rules_file` was the name of `rules_files` until Falco 0.38. It may be a single file.
fn rules_file(root: &mut Node, old: Node, notes: &mut Notes) {
    if root.get("rules_files").is_some() {
        let why = "`rules_files` is there as well, and it alone is used; Falco refuses both";
        notes.add(&old, "rules_file", why);
        return;
    }
    if let NodeValue::Map(entries) = &mut root.kind {
        entries.insert(0, ("rules_files".to_owned(), types::list(old)));
    }
}

/// The outputs: the list is lanner's own, and for Falco before 0.37, the map limits alerts.
fn outputs(given: Option<Node>, grpc: Option<Node>, notes: &mut Notes) -> Option<Node> {
    let place = grpc.as_ref().or(given.as_ref())?.place.clone();
    let mut items = match given {
        Some(node) => match node.kind {
            NodeValue::List(items) => items,
            NodeValue::Map(entries) => {
                for (key, node) in entries {
                    let key = format!("outputs.{key}");
                    notes.add(&node, &key, why_not(&key).unwrap_or(NO_KEY));
                }
                Vec::new()
            }
            _ => {
                notes.add(&node, "outputs", "it is not a map of keys");
                Vec::new()
            }
        },
        None => Vec::new(),
    };
    if let Some(settings) = grpc {
        let mut output = Node::map(settings.place.clone());
        let plugin = Node {
            kind: NodeValue::Text("output-grpc".to_owned()),
            ..output.clone()
        };
        output.kind = NodeValue::Map(vec![
            ("plugin".to_owned(), plugin),
            ("settings".to_owned(), settings),
        ]);
        items.push(output);
    }
    (!items.is_empty()).then_some(Node {
        kind: NodeValue::List(items),
        place,
        secret: false,
    })
}

const NO_KEY: &str = "lanner has no such key";

/// A key that has the same name here, without what has no counterpart.
fn same(key: &str, mut node: Node, schema: &Value, notes: &mut Notes) -> Option<Node> {
    if let Some(why) = why_not(key) {
        notes.add(&node, key, why);
        return None;
    }
    if schema["properties"].get(key).is_none() {
        notes.add(&node, key, NO_KEY);
        return None;
    }
    match key {
        "log_level" => return log_level(node, notes),
        "config_files" if !is_empty(&node) => {
            let why = "these files are Falco's; convert each of them, too, and name the results in `config_files`";
            notes.add(&node, key, why);
            return None;
        }
        "outputs_queue" if node.get("capacity").is_some_and(is_zero) => {
            let why =
                "0 means no bound for Falco; lanner's queues always have one, 8192 by default";
            notes.add(&node, "outputs_queue.capacity", why);
            node.take("capacity");
        }
        _ => {}
    }
    if let Some(known) = types::settings_of(key) {
        // an empty text is Falco's word for none
        if let NodeValue::Map(entries) = &mut node.kind {
            entries.retain(|(_, node)| !is_empty(node));
        }
        for (unknown, node) in types::drop_others(&mut node, known) {
            let unknown = format!("{key}.{unknown}");
            notes.add(&node, &unknown, why_not(&unknown).unwrap_or(NO_KEY));
        }
    }
    for (unknown, dropped) in strict::drop_unknown(key, &mut node, schema) {
        notes.add(&dropped, &unknown, why_not(&unknown).unwrap_or(NO_KEY));
    }
    if let Some(problem) = problem(key, &node) {
        notes.add(
            &node,
            key,
            &format!("lanner cannot use the value: {problem}"),
        );
        return None;
    }
    (!is_bare(&node)).then_some(node)
}

/// Why lanner would refuse a key. What has a variable is not known before it is filled in.
fn problem(key: &str, node: &Node) -> Option<String> {
    if types::has_variable(node) {
        return None;
    }
    let mut root = Node::map(node.place.clone());
    root.kind = NodeValue::Map(vec![(key.to_owned(), node.clone())]);
    if !strict::unknown_keys(&root, &schema()).is_empty() {
        return Some("it has keys below it, and is no list".to_owned());
    }
    match typed(&root) {
        Ok(config) => (config.check().err()).map(|(_, problem)| problem.to_string()),
        Err(ConfigError::At {
            source: Fault::Value { path, problem },
            ..
        }) => Some(match path == key {
            true => problem,
            false => format!("{path}: {problem}"),
        }),
        Err(other) => Some(other.to_string()),
    }
}

fn is_zero(node: &Node) -> bool {
    matches!(&node.kind, NodeValue::Number(number) if number.as_u64() == Some(0))
}

fn is_empty(node: &Node) -> bool {
    match &node.kind {
        NodeValue::Text(text) => text.is_empty(),
        NodeValue::List(items) => items.is_empty(),
        NodeValue::Null => true,
        NodeValue::Map(_) | NodeValue::Bool(_) | NodeValue::Number(_) => false,
    }
}

/// Whether a key has nothing left, or never had a value.
fn is_bare(node: &Node) -> bool {
    match &node.kind {
        NodeValue::Map(entries) => entries.is_empty(),
        NodeValue::Null => true,
        NodeValue::List(_) | NodeValue::Text(_) | NodeValue::Bool(_) | NodeValue::Number(_) => {
            false
        }
    }
}

/// Falco has syslog's levels, and lanner has five.
fn log_level(mut node: Node, notes: &mut Notes) -> Option<Node> {
    let NodeValue::Text(level) = &node.kind else {
        notes.add(&node, "log_level", "lanner has no such level");
        return None;
    };
    if types::has_variable(&node) {
        return Some(node);
    }
    let ours = match level.to_ascii_lowercase().as_str() {
        "emergency" | "alert" | "critical" | "error" => "error",
        "warning" => "warn",
        "notice" | "info" | "informational" => "info",
        "debug" => "debug",
        "trace" => "trace",
        _ => {
            notes.add(&node, "log_level", "lanner has no such level");
            return None;
        }
    };
    node.kind = NodeValue::Text(ours.to_owned());
    Some(node)
}

/// `engine` becomes `driver`.
fn driver(engine: &Node, yaml: &mut String, notes: &mut Notes) {
    const KINDS: [&str; 6] = [
        "kmod",
        "ebpf",
        "modern_ebpf",
        "replay",
        "gvisor",
        "nodriver",
    ];
    let NodeValue::Map(entries) = &engine.kind else {
        notes.add(engine, "engine", "it is not a map of keys");
        return;
    };
    let kind_node = engine.get("kind").unwrap_or(engine);
    let kind = match &kind_node.kind {
        NodeValue::Text(kind) => kind.as_str(),
        _ => "",
    };
    let why = match kind {
        "modern_ebpf" => {
            yaml.push_str("driver: ebpf-core\n");
            None
        }
        "ebpf" => {
            yaml.push_str("driver: ebpf-legacy\n");
            None
        }
        "kmod" => Some(
            "lanner has no kernel module; without `driver`, it takes the first driver that works",
        ),
        "replay" => Some("use `lanner run --replay FILE`, with a file of `lanner record`"),
        "" => None,
        _ => Some("lanner has no such driver"),
    };
    if let Some(why) = why {
        notes.add(kind_node, &format!("engine.kind: {kind}"), why);
    }
    for (key, node) in entries.iter().filter(|(key, _)| key != "kind") {
        match &node.kind {
            NodeValue::Map(settings) if key == kind => {
                for (name, node) in settings {
                    let key = format!("engine.{key}.{name}");
                    notes.add(node, &key, reasons::of_engine(name));
                }
            }
            // Falco does not look at the settings of the other kinds.
            _ if KINDS.contains(&key.as_str()) => {}
            _ => notes.add(node, &format!("engine.{key}"), NO_KEY),
        }
    }
}

/// The settings of `output-grpc`, if Falco's gRPC output is on.
fn grpc(server: Option<Node>, output: Option<&Node>, notes: &mut Notes) -> Option<Node> {
    let is_on = |node: Option<&Node>| {
        let enabled = node.and_then(|node| node.get("enabled"));
        enabled.is_some_and(|node| matches!(&node.kind, NodeValue::Bool(true)))
    };
    for (key, node) in [("grpc", server.as_ref()), ("grpc_output", output)] {
        if let Some(node) =
            node.filter(|node| !matches!(node.kind, NodeValue::Map(_) | NodeValue::Null))
        {
            notes.add(node, key, "it is not a map of keys");
        }
    }
    let mut server = match (is_on(server.as_ref()), is_on(output)) {
        (true, true) => server?,
        (false, false) => return None,
        _ => {
            if let Some(node) = server.as_ref().or(output) {
                let why =
                    "alerts need both `grpc` and `grpc_output`, and only one of them is enabled";
                notes.add(node, "grpc", why);
            }
            return None;
        }
    };
    server.take("enabled");
    if let NodeValue::Map(entries) = &mut server.kind {
        entries.retain(|(key, node)| !(is_empty(node) || (key == "threadiness" && is_zero(node))));
    }
    for (unknown, node) in types::drop_others(&mut server, types::GRPC) {
        notes.add(&node, &format!("grpc.{unknown}"), NO_KEY);
    }
    types::complete_grpc(&mut server);
    Some(server)
}

#[cfg(test)]
mod tests;
