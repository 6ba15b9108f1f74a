//! Values as Falco reads them: by what a key needs, and not by how they are written. A quoted "true" is a boolean where one is
//! needed, a number is a text where a text is needed, and a single value is a list of one.

use serde_json::Value;

use super::super::tree::{self, Node, NodeValue};
use super::write;

/// What a setting of Falco's needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Boolean,
    Number,
    Text,
}

type Settings = &'static [(&'static str, Needs)];

/// `grpc`
pub(super) const GRPC: Settings = &[
    ("bind_address", Needs::Text),
    ("threadiness", Needs::Number),
    ("private_key", Needs::Text),
    ("cert_chain", Needs::Text),
    ("root_certs", Needs::Text),
];

/// What Falco knows below a key that is an output, beside `enabled`. lanner's plugins have these settings, too.
pub(super) fn settings_of(key: &str) -> Option<Settings> {
    let settings: Settings = match key {
        "stdout_output" | "syslog_output" => &[],
        "file_output" => &[("filename", Needs::Text), ("keep_alive", Needs::Boolean)],
        "program_output" => &[("program", Needs::Text), ("keep_alive", Needs::Boolean)],
        "http_output" => &[
            ("url", Needs::Text),
            ("user_agent", Needs::Text),
            ("insecure", Needs::Boolean),
            ("ca_cert", Needs::Text),
            ("ca_bundle", Needs::Text),
            ("ca_path", Needs::Text),
            ("mtls", Needs::Boolean),
            ("client_cert", Needs::Text),
            ("client_key", Needs::Text),
            ("echo", Needs::Boolean),
            ("compress_uploads", Needs::Boolean),
            ("keep_alive", Needs::Boolean),
        ],
        _ => return None,
    };
    Some(settings)
}

/// Removes what is neither `enabled` nor known, and returns it.
pub(super) fn drop_others(node: &mut Node, known: Settings) -> Vec<(String, Node)> {
    let NodeValue::Map(entries) = &mut node.kind else {
        return Vec::new();
    };
    let is_known =
        |(key, _): &(String, Node)| key == "enabled" || known.iter().any(|(name, _)| name == key);
    let (kept, others) = std::mem::take(entries).into_iter().partition(is_known);
    *entries = kept;
    others
}

/// Falco's defaults for what is not set of its server, where lanner has others.
pub(super) fn complete_grpc(server: &mut Node) {
    let text = |place: &Node, text: &str| Node {
        kind: NodeValue::Text(text.to_owned()),
        place: place.place.clone(),
        secret: false,
    };
    let here = server.clone();
    let NodeValue::Map(entries) = &mut server.kind else {
        return;
    };
    let mut default = |key: &str, value: &str| {
        if here.get(key).is_none() {
            entries.push((key.to_owned(), text(&here, value)));
        }
    };
    let address = match here.get("bind_address").map(|node| &node.kind) {
        Some(NodeValue::Text(address)) => address.as_str(),
        _ => "0.0.0.0:5060",
    };
    default("bind_address", address);
    if !address.starts_with("unix:") {
        default("private_key", "/etc/falco/certs/server.key");
        default("cert_chain", "/etc/falco/certs/server.crt");
        default("root_certs", "/etc/falco/certs/ca.crt");
    }
    // gRPC knows two forms (naming.md): unix:/path and unix:///path
    let short = address.strip_prefix("unix:").filter(|path| {
        let is_long = path.starts_with("//");
        path.starts_with('/') && !is_long
    });
    if let Some(path) = short
        && let Some((_, node)) = entries.iter_mut().find(|(key, _)| key == "bind_address")
    {
        node.kind = NodeValue::Text(format!("unix://{path}"));
    }
}

/// A list with one value, unless it is a list already.
pub(super) fn list(node: Node) -> Node {
    match node.kind {
        NodeValue::List(_) | NodeValue::Null => node,
        _ => Node {
            place: node.place.clone(),
            secret: node.secret,
            kind: NodeValue::List(vec![node]),
        },
    }
}

/// Whether there is a variable, whose value is not known.
pub(super) fn has_variable(node: &Node) -> bool {
    match &node.kind {
        NodeValue::Text(text) => write::has_variable(text),
        NodeValue::List(items) => items.iter().any(has_variable),
        NodeValue::Map(entries) => entries.iter().any(|(_, node)| has_variable(node)),
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) => false,
    }
}

/// Reads all values of a configuration as Falco does.
pub(super) fn as_falco_reads(root: &mut Node, schema: &Value) {
    read(root, schema, schema);
    let NodeValue::Map(entries) = &mut root.kind else {
        return;
    };
    for (key, node) in entries {
        let settings = match key.as_str() {
            "grpc" => Some(GRPC),
            "grpc_output" => settings_of("stdout_output"),
            key => settings_of(key),
        };
        if let (Some(settings), NodeValue::Map(entries)) = (settings, &mut node.kind) {
            for (name, node) in entries {
                let found = settings.iter().find(|(known, _)| known == name);
                match found.map(|(_, needs)| *needs) {
                    Some(Needs::Boolean) => scalar(node, &["boolean"], false),
                    Some(Needs::Number) => scalar(node, &["integer"], false),
                    Some(Needs::Text) => scalar(node, &["string"], false),
                    None if name == "enabled" => scalar(node, &["boolean"], false),
                    None => {}
                }
            }
        }
    }
}

/// The forms that a value can have.
fn forms<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return forms(&root["$defs"][name], root);
    }
    let several = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
    match several {
        Some(several) => several.iter().flat_map(|form| forms(form, root)).collect(),
        None => vec![schema],
    }
}

fn types(form: &Value) -> Vec<&str> {
    match &form["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn read(node: &mut Node, schema: &Value, root: &Value) {
    let forms = forms(schema, root);
    let of = |wanted: &str| (forms.iter().copied()).find(|form| types(form).contains(&wanted));
    let is_scalar = !matches!(
        node.kind,
        NodeValue::Map(_) | NodeValue::List(_) | NodeValue::Null
    );
    if is_scalar && of("array").is_some() && of("string").is_none() {
        *node = list(node.clone());
    }
    match &mut node.kind {
        NodeValue::Map(entries) => {
            let Some(form) = of("object") else {
                return;
            };
            for (key, child) in entries {
                let below = match form["properties"].get(&*key) {
                    Some(schema) => schema,
                    None => &form["additionalProperties"],
                };
                read(child, below, root);
            }
        }
        NodeValue::List(items) => {
            let Some(form) = of("array") else {
                return;
            };
            for item in items {
                read(item, &form["items"], root);
            }
        }
        NodeValue::Null => {}
        NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::Text(_) => {
            let types: Vec<&str> = forms.iter().flat_map(|form| types(form)).collect();
            let is_word = |form: &&Value| form.get("enum").is_some() || form.get("const").is_some();
            scalar(node, &types, forms.iter().any(is_word));
        }
    }
}

/// Makes a scalar one of these types. `word`: it is one of several words, which are in lower case.
fn scalar(node: &mut Node, types: &[&str], word: bool) {
    let has = |wanted: &str| types.contains(&wanted);
    let read = match &node.kind {
        NodeValue::Text(text) if write::has_variable(text) => None,
        NodeValue::Text(text) if word => Some(NodeValue::Text(text.to_ascii_lowercase())),
        NodeValue::Text(_) if has("string") => None,
        NodeValue::Text(text) if has("boolean") => boolean(text).map(NodeValue::Bool),
        NodeValue::Text(text) if has("integer") || has("number") => {
            Some(tree::plain(text)).filter(|kind| matches!(kind, NodeValue::Number(_)))
        }
        NodeValue::Number(number) if has("string") && !has("integer") && !has("number") => {
            Some(NodeValue::Text(number.to_string()))
        }
        NodeValue::Bool(value) if has("string") && !has("boolean") => {
            Some(NodeValue::Text(value.to_string()))
        }
        _ => None,
    };
    if let Some(read) = read {
        node.kind = read;
    }
}

/// A boolean of YAML 1.1, as yaml-cpp knows it.
fn boolean(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    let capital = text.starts_with(|c: char| c.is_ascii_uppercase());
    let rest = text.get(1..).unwrap_or_default();
    let as_written = text == lower
        || text == text.to_ascii_uppercase()
        || (capital && rest == rest.to_ascii_lowercase());
    match lower.as_str() {
        "y" | "yes" | "true" | "on" if as_written => Some(true),
        "n" | "no" | "false" | "off" if as_written => Some(false),
        _ => None,
    }
}
