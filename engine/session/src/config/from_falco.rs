//! Falco's configuration as one of lanner's. Most keys have the same name and meaning. Each of the others becomes what comes
//! nearest, or a note that says why it has no counterpart.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use lanner_plugin::files;

use super::error::{ConfigError, Fault};
use super::expand::Expanded;
use super::tree::{self, Kind, Node};
use super::{MAX_FILE, schema, strict};

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
    let Kind::Map(_) = root.kind else {
        return Err(ConfigError::at(root.place, Fault::NotAMap));
    };
    strict::read_booleans(&mut root, &schema());
    let (server, output) = (root.take("grpc"), root.take("grpc_output"));
    let grpc = grpc(server, output.as_ref(), &mut notes);
    if let Some(engine) = root.take("engine") {
        driver(&engine, &mut yaml, &mut notes);
    }
    if let Kind::Map(entries) = root.kind {
        for (key, node) in entries {
            if let Some(node) = same(&key, node, &mut notes) {
                write_entry(&mut yaml, 0, &key, &node);
            }
        }
    }
    if let Some(grpc) = grpc {
        yaml.push_str("outputs:\n  - plugin: output-grpc\n");
        write_entry(&mut yaml, 2, "settings", &grpc);
    }
    Ok(Converted {
        yaml,
        notes: notes.0,
    })
}

struct Notes(Vec<String>);

impl Notes {
    fn add(&mut self, node: &Node, key: &str, why: &str) {
        self.0.push(format!("{}: {key}: {why}", node.place));
    }
}

/// Why a key of Falco's has no counterpart.
fn why_not(key: &str) -> Option<&'static str> {
    let why = match key {
        "plugins" | "load_plugins" | "plugins_hostinfo" => {
            "Falco's plugins do not fit lanner; the plugin `container` is not needed, as lanner asks container runtimes itself"
        }
        "rules" => "rules are switched off in a rule file: `- rule: NAME` with `enabled: false`",
        "output_timeout" => "each entry of `outputs` has a `deadline` of its own, 10s by default",
        "log_stderr" | "log_syslog" | "libs_logger" => {
            "lanner logs to standard error, or to the journal if standard error is the journal"
        }
        "metrics" => "the numbers are at /metrics: set `webserver: {enabled: true}`",
        "base_syscalls" => "lanner captures what the rules and its state need",
        "falco_libs" => "the size of lanner's state follows from the host",
        "syscall_event_timeouts" => "lanner has no such limit: without events it waits",
        "buffer_format_base64" => "lanner writes buffers as text with escapes",
        "container_engines" => "lanner finds container runtimes by their sockets",
        _ => return None,
    };
    Some(why)
}

/// A key that has the same name here, without what has no counterpart.
fn same(key: &str, mut node: Node, notes: &mut Notes) -> Option<Node> {
    if let Some(why) = why_not(key) {
        notes.add(&node, key, why);
        return None;
    }
    let schema = schema();
    if schema["properties"].get(key).is_none() {
        notes.add(&node, key, "lanner has no such key");
        return None;
    }
    match key {
        "log_level" => return log_level(node, notes),
        "outputs_queue" if node.get("capacity").is_some_and(is_zero) => {
            let why =
                "0 means no bound for Falco; lanner's queues always have one, 8192 by default";
            notes.add(&node, "outputs_queue.capacity", why);
            return None;
        }
        "http_output" => {
            if let Some(old) = node.take("max_consecutive_timeouts") {
                let why = "lanner tries again, with growing pauses, until the alert is delivered";
                notes.add(&old, "http_output.max_consecutive_timeouts", why);
            }
            // an empty text is Falco's word for none
            if let Kind::Map(entries) = &mut node.kind {
                entries
                    .retain(|(_, node)| !matches!(&node.kind, Kind::Text(text) if text.is_empty()));
            }
        }
        _ => {}
    }
    for (unknown, place) in strict::drop_unknown(key, &mut node, &schema) {
        let why = "lanner has no such key".to_owned();
        notes.0.push(format!("{place}: {unknown}: {why}"));
    }
    Some(node)
}

fn is_zero(node: &Node) -> bool {
    matches!(&node.kind, Kind::Number(number) if number.as_u64() == Some(0))
}

/// Falco has syslog's levels, and lanner has five.
fn log_level(mut node: Node, notes: &mut Notes) -> Option<Node> {
    let Kind::Text(level) = &node.kind else {
        return Some(node);
    };
    let ours = match level.to_ascii_lowercase().as_str() {
        "emergency" | "alert" | "critical" | "error" => "error",
        "warning" => "warn",
        "notice" | "info" | "informational" => "info",
        "debug" => "debug",
        _ => {
            notes.add(&node, "log_level", "lanner has no such level");
            return None;
        }
    };
    node.kind = Kind::Text(ours.to_owned());
    Some(node)
}

/// `engine` becomes `driver`.
fn driver(engine: &Node, yaml: &mut String, notes: &mut Notes) {
    let Kind::Map(entries) = &engine.kind else {
        notes.add(engine, "engine", "it is not a map of keys");
        return;
    };
    let kind = match engine.get("kind").map(|node| &node.kind) {
        Some(Kind::Text(kind)) => kind.as_str(),
        _ => "",
    };
    let kind_node = engine.get("kind").unwrap_or(engine);
    match kind {
        "modern_ebpf" => yaml.push_str("driver: ebpf-core\n"),
        "ebpf" => yaml.push_str("driver: ebpf-legacy\n"),
        "kmod" => notes.add(
            kind_node,
            "engine.kind: kmod",
            "lanner has no kernel module; without `driver`, it takes the first driver that works",
        ),
        "replay" => notes.add(
            kind_node,
            "engine.kind: replay",
            "use `lanner run --replay FILE`, with a file of `lanner record`",
        ),
        "gvisor" | "nodriver" => notes.add(
            kind_node,
            &format!("engine.kind: {kind}"),
            "lanner has no such driver",
        ),
        "" => {}
        other => notes.add(
            kind_node,
            &format!("engine.kind: {other}"),
            "lanner has no such driver",
        ),
    }
    let settings = entries
        .iter()
        .filter_map(|(key, node)| match &node.kind {
            Kind::Map(settings) if key == kind => Some((key, settings)),
            _ => None,
        })
        .flat_map(|(key, settings)| settings.iter().map(move |(name, node)| (key, name, node)));
    for (key, name, node) in settings {
        let why = match name.as_str() {
            "buf_size_preset" => "use `lanner run --buffer BYTES`, 8M for each CPU by default",
            "drop_failed_exit" => "lanner captures calls that fail, too; rules test `evt.failed`",
            "cpus_for_each_buffer" => "lanner has a buffer for each CPU",
            "capture_file" => "use `lanner run --replay FILE`",
            _ => "lanner has no such key",
        };
        notes.add(node, &format!("engine.{key}.{name}"), why);
    }
}

/// The settings of `output-grpc`, if Falco's gRPC output is on.
fn grpc(server: Option<Node>, output: Option<&Node>, notes: &mut Notes) -> Option<Node> {
    let is_on = |node: Option<&Node>| {
        let enabled = node.and_then(|node| node.get("enabled"));
        enabled.is_some_and(|node| match &node.kind {
            Kind::Bool(on) => *on,
            Kind::Text(text) => strict::boolean(text) == Some(true),
            _ => false,
        })
    };
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
    if let Kind::Map(entries) = &mut server.kind {
        entries.retain(|(key, node)| {
            let is_default = key == "threadiness" && is_zero(node);
            !is_default && !matches!(&node.kind, Kind::Text(text) if text.is_empty())
        });
    }
    Some(server)
}

/// Writes `key: value` as YAML in block style.
fn write_entry(yaml: &mut String, indent: usize, key: &str, node: &Node) {
    let blanks = "  ".repeat(indent);
    let _ = match scalar(node) {
        Some(text) => writeln!(yaml, "{blanks}{}: {text}", key_text(key)),
        None => writeln!(yaml, "{blanks}{}:", key_text(key)),
    };
    write_below(yaml, indent + 1, node);
}

fn write_below(yaml: &mut String, indent: usize, node: &Node) {
    let blanks = "  ".repeat(indent);
    match &node.kind {
        Kind::Map(entries) => {
            for (key, node) in entries {
                write_entry(yaml, indent, key, node);
            }
        }
        Kind::List(items) => {
            for item in items {
                let _ = match scalar(item) {
                    Some(text) => writeln!(yaml, "{blanks}- {text}"),
                    None => writeln!(yaml, "{blanks}-"),
                };
                write_below(yaml, indent + 1, item);
            }
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
    }
}

/// A value that fits on the line of its key.
fn scalar(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::List(items) => items.is_empty().then(|| "[]".to_owned()),
        Kind::Map(entries) => entries.is_empty().then(|| "{}".to_owned()),
        // its type shows when it is filled in
        Kind::Text(text) if is_variable(text) => Some(text.clone()),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {
            Some(node.json().to_string())
        }
    }
}

fn is_variable(text: &str) -> bool {
    let name = text
        .strip_prefix("${")
        .and_then(|text| text.strip_suffix('}'));
    name.is_some_and(|name| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

fn key_text(key: &str) -> String {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !key.is_empty() && key.bytes().all(is_word) {
        key.to_owned()
    } else {
        serde_json::Value::from(key).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{CaptureMode, Config};
    use super::*;

    const FALCO: &str = r#"
config_files: []
rules_files:
  - /etc/falco/falco_rules.yaml
rules:
  - disable: {rule: "*"}
engine:
  kind: modern_ebpf
  kmod: {buf_size_preset: 4}
  modern_ebpf:
    cpus_for_each_buffer: 2
    buf_size_preset: 4
plugins:
  - name: k8saudit
json_output: yes
priority: debug
outputs_queue:
  capacity: 0
stdout_output: {enabled: on}
http_output:
  enabled: true
  url: "http://sink:2801"
  ca_cert: ""
  max_consecutive_timeouts: 5
static_fields:
  node: ${NODE_NAME}
grpc:
  enabled: true
  bind_address: "unix:///run/falco/falco.sock"
  threadiness: 0
grpc_output:
  enabled: true
webserver:
  enabled: true
  threadiness: 0
  ssl_enabled: false
log_level: notice
capture:
  enabled: true
  path_prefix: /tmp/falco
  mode: all_rules
  default_duration: 5000
  max_file_size_mb: 100
syscall_event_drops:
  threshold: .1
  simulate_drops: false
new_key_of_falco: 1
"#;

    #[test]
    fn falcos_configuration_becomes_one_that_lanner_reads() {
        let source: Arc<str> = Arc::from("falco.yaml");
        let converted = convert(&source, FALCO).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lanner.yaml");
        let yaml = converted.yaml.replace("${NODE_NAME}", "here");
        fs::write(&path, &yaml).unwrap();
        let config = Config::load(Some(&path), &[]).unwrap().config;
        assert_eq!(config.driver.as_deref(), Some("ebpf-core"));
        assert!(config.json_output && config.stdout_output.enabled);
        assert_eq!(config.outputs[0].plugin, "output-grpc");
        assert_eq!(
            config.outputs[0].settings["bind_address"],
            "unix:///run/falco/falco.sock"
        );
        assert_eq!(config.http_output.settings["url"], "http://sink:2801");
        assert!(!config.http_output.settings.contains_key("ca_cert"));
        assert_eq!(config.capture.enabled, Some(true));
        assert_eq!(config.capture.mode, CaptureMode::AllRules);
        assert_eq!(config.capture.path_prefix, Path::new("/tmp/falco"));
        assert_eq!(config.capture.max_file_size_mb, Some(100));
        assert!(converted.yaml.contains("node: ${NODE_NAME}\n"));
        let expected = [
            "falco.yaml:11: engine.modern_ebpf.cpus_for_each_buffer: ",
            "engine.modern_ebpf.buf_size_preset: ",
            ": rules: ",
            ": plugins: ",
            ": outputs_queue.capacity: ",
            ": http_output.max_consecutive_timeouts: ",
            ": webserver.threadiness: ",
            ": webserver.ssl_enabled: ",
            ": syscall_event_drops.simulate_drops: ",
            ": new_key_of_falco: ",
        ];
        for note in expected {
            let found = converted.notes.iter().any(|found| found.contains(note));
            assert!(found, "{note}: {:?}", converted.notes);
        }
        assert_eq!(
            converted.notes.len(),
            expected.len(),
            "{:?}",
            converted.notes
        );
    }
}
