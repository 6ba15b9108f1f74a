//! Falco's configuration, as several releases have it.

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

fn converted(text: &str) -> Converted {
    convert(&Arc::from("falco.yaml"), text).unwrap()
}

/// What lanner reads of a configuration that was converted.
fn loaded(converted: &Converted) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lanner.yaml");
    fs::write(&path, &converted.yaml).unwrap();
    match Config::load(Some(&path), &[]) {
        Ok(loaded) => loaded.config,
        Err(error) => panic!("{}{}", converted.yaml, driver_api::error::Chain(&error)),
    }
}

fn has_note(converted: &Converted, note: &str) -> bool {
    converted.notes.iter().any(|found| found.contains(note))
}

/// The keys of a tree, with those above them.
fn paths(node: &Node, above: &str, found: &mut Vec<String>) {
    if let NodeValue::Map(entries) = &node.kind {
        for (key, node) in entries {
            let path = match above {
                "" => key.clone(),
                above => format!("{above}.{key}"),
            };
            paths(node, &path, found);
            found.push(path);
        }
    }
}

fn tree(text: &str) -> Node {
    let as_it_is = |text: &str| {
        Ok(Expanded {
            text: text.to_owned(),
            secret: false,
        })
    };
    let tree = tree::parse_with(&Arc::from("falco.yaml"), text, &as_it_is);
    tree.unwrap().unwrap()
}

/// The files have the keys and values of Falco's own falco.yaml, without its comments.
#[test]
fn each_key_of_falcos_own_files_is_converted_or_named() {
    for text in [
        include_str!("releases/0.30.0.yaml"),
        include_str!("releases/0.36.0.yaml"),
        include_str!("releases/0.44.1.yaml"),
    ] {
        let converted = converted(text);
        let config = loaded(&converted);
        assert_eq!(
            config.rules_files[0],
            Path::new("/etc/falco/falco_rules.yaml")
        );
        assert!(config.stdout_output.enabled && config.syslog_output.enabled);
        let (mut falcos, mut ours) = (Vec::new(), Vec::new());
        paths(&tree(text), "", &mut falcos);
        paths(&tree(&converted.yaml), "", &mut ours);
        let is_off = |key: &str| {
            // Falco has no use for them either
            key.starts_with("grpc")
                || ["kmod", "ebpf", "gvisor", "replay"]
                    .iter()
                    .any(|kind| key.starts_with(&format!("engine.{kind}")))
        };
        let renamed = |key: &str| {
            matches!(
                key,
                "rules_file" | "engine" | "engine.kind" | "engine.modern_ebpf" | "outputs"
            )
        };
        for key in falcos {
            let above = |note: &str| {
                let named = note.split(": ").nth(1).unwrap_or_default();
                named == key
                    || key.starts_with(&format!("{named}."))
                    || named.starts_with(&format!("{key}."))
            };
            let is_known = ours.contains(&key)
                || converted.notes.iter().any(|note| above(note))
                || is_off(&key)
                || renamed(&key)
                // an empty text is Falco's word for none
                || (key.starts_with("http_output.") && text.contains(&format!("{}: ''", &key[12..])));
            assert!(
                is_known,
                "{key}: {:#?}\n{}",
                converted.notes, converted.yaml
            );
        }
    }
}

#[test]
fn alerts_have_one_list_of_outputs() {
    let text = "
outputs: {rate: 1, max_burst: 1000}
grpc: {enabled: true, bind_address: 'unix:/run/falco/falco.sock', threadiness: '8', other: 1}
grpc_output: {enabled: on}
";
    let converted = converted(text);
    let config = loaded(&converted);
    assert_eq!(config.outputs.len(), 1);
    let settings = &config.outputs[0].settings;
    assert_eq!(settings["bind_address"], "unix:///run/falco/falco.sock");
    assert_eq!(settings["threadiness"], 8);
    for note in [
        "falco.yaml:2: outputs.rate: lanner has no limit for all alerts together",
        "falco.yaml:2: outputs.max_burst: ",
        "falco.yaml:3: grpc.other: ",
    ] {
        assert!(has_note(&converted, note), "{note}: {:?}", converted.notes);
    }
    // Falco's defaults
    let converted = self::converted("grpc: {enabled: true}\ngrpc_output: {enabled: true}\n");
    let settings = &loaded(&converted).outputs[0].settings;
    assert_eq!(settings["bind_address"], "0.0.0.0:5060");
    assert_eq!(settings["private_key"], "/etc/falco/certs/server.key");
}

#[test]
fn values_are_read_by_what_their_key_needs() {
    let text = r#"
rules_file: /etc/falco/rules.yaml
json_output: "true"
buffered_outputs: "No"
watch_config_files: n
priority: WARNING
rule_matching: First
capture: {enabled: "yes"}
webserver: {enabled: 'on', listen_port: "8766"}
syscall_event_drops: {actions: alert, threshold: "0.5", rate: "1"}
static_fields: {zone: 7, on: true}
outputs_queue: {capacity: "100"}
file_output: {enabled: "TRUE", keep_alive: "false", filename: 7}
http_output: {enabled: true, url: "https://a/", insecure: yes, mtls: "off", echo: True}
"#;
    let config = loaded(&converted(text));
    assert_eq!(config.rules_files, [Path::new("/etc/falco/rules.yaml")]);
    assert!(config.json_output && !config.buffered_outputs && !config.watch_config_files);
    assert_eq!(config.priority.priority(), plugin_host::Priority::Warning);
    assert_eq!(config.rule_matching, Some(super::super::Matching::First));
    assert_eq!(config.capture.enabled, Some(true));
    assert_eq!(
        (config.webserver.enabled, config.webserver.listen_port),
        (true, 8766)
    );
    assert_eq!(
        config.syscall_event_drops.actions,
        [super::super::DropAction::Alert]
    );
    assert_eq!(config.static_fields["zone"], "7");
    assert_eq!(config.outputs_queue.capacity, 100);
    assert!(config.file_output.enabled);
    assert_eq!(config.file_output.settings["keep_alive"], false);
    assert_eq!(config.file_output.settings["filename"], "7");
    let http = &config.http_output.settings;
    assert_eq!(
        (&http["insecure"], &http["mtls"], &http["echo"]),
        (&true.into(), &false.into(), &true.into())
    );
}

#[test]
fn what_lanner_would_refuse_is_named_and_left_out() {
    let text = "
priority: loud
webserver: [true]
grpc: [true]
syscall_event_drops: {threshold: 7}
http_output: {enabled: false, retries: 3}
append_output: [{extra_output: x, new_key: 1}]
rules_file: a.yaml
rules_files: [b.yaml]
config_files: [/etc/falco/config.d]
engine: {kind: modern_ebpf, new_kind: {a: 1}}
json_output: [1]
log_level:
";
    let converted = converted(text);
    let config = loaded(&converted);
    assert_eq!(config.rules_files, [Path::new("b.yaml")]);
    assert_eq!(config.append_output.len(), 1);
    for note in [
        ":2: priority: lanner cannot use the value",
        ":3: webserver: lanner cannot use the value: it has keys below it",
        ":4: grpc: it is not a map of keys",
        ":5: syscall_event_drops: lanner cannot use the value: the threshold",
        ":6: http_output.retries: ",
        ":7: append_output[0].new_key: ",
        ":8: rules_file: ",
        ":10: config_files: these files are Falco's",
        ":11: engine.new_kind: ",
        ":12: json_output: lanner cannot use the value",
    ] {
        assert!(has_note(&converted, note), "{note}: {:?}", converted.notes);
    }
}

#[test]
fn the_values_of_falcos_chart_have_the_configuration_below_a_key() {
    let text = "image: {tag: 0.44.1}\nfalco:\n  rules_files: [a.yaml]\n  json_output: true\n";
    let converted = converted(text);
    let config = loaded(&converted);
    assert!(config.json_output && config.rules_files == [Path::new("a.yaml")]);
    assert_eq!(converted.notes.len(), 1, "{:?}", converted.notes);
    assert!(has_note(&converted, "values of Falco's Helm chart"));
}

#[test]
fn texts_mean_for_lanner_what_they_mean_for_falco() {
    for (text, read) in [
        (
            "echo $$ ${HOME:-/} ${x%y} $1",
            "echo $$ ${HOME:-/} ${x%y} $1",
        ),
        ("$${NAME}", "${NAME}"),
        (
            "a\u{1b}[2J\u{7f}\u{85}\u{feff}\\\"\n\tb",
            "a\u{1b}[2J\u{7f}\u{85}\u{feff}\\\"\n\tb",
        ),
    ] {
        let falco = format!(
            "program_output: {{enabled: true, program: {}}}\n",
            write::quoted(text)
        );
        let config = loaded(&converted(&falco));
        assert_eq!(config.program_output.settings["program"], read);
    }
    let variable = converted("priority: ${LEVEL}\n").yaml;
    assert!(variable.ends_with("\npriority: ${LEVEL}\n"), "{variable}");
}

#[test]
fn a_name_or_value_does_nothing_to_a_terminal_and_adds_no_line() {
    let converted =
        converted("\"a\\e[2J\\nb\": 1\npriority: \"\\e]0;x\\a\\nlanner: all is well\"\n");
    assert_eq!(converted.notes.len(), 2);
    for note in &converted.notes {
        assert!(!note.contains(char::is_control), "{note:?}");
    }
    assert!(
        has_note(&converted, r"a\u{1b}[2J\nb"),
        "{:?}",
        converted.notes
    );
}
