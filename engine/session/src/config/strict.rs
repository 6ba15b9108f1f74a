//! Everything that is set must mean something: keys are held against the published schema.

use serde_json::Value;

use super::error::shown;
use super::tree::{Node, NodeValue};
use suggest::did_you_mean;

/// Says which keys the schema does not know, with their places and what was probably meant.
pub(super) fn unknown_keys(node: &Node, schema: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    walk(node, schema, schema, "", &mut problems);
    problems
}

fn walk(node: &Node, schema: &Value, root: &Value, path: &str, problems: &mut Vec<String>) {
    let may_be = |wanted: &str| allows(schema, root, wanted);
    let (map, list) = (may_be("object"), may_be("array"));
    let schema = resolve(schema, root, &node.kind);
    match &node.kind {
        NodeValue::Map(entries) => {
            let properties = schema["properties"].as_object();
            let others = &schema["additionalProperties"];
            for (key, child) in entries {
                let path = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                match properties.and_then(|properties| properties.get(key)) {
                    Some(schema) => walk(child, schema, root, &path, problems),
                    None if others.is_object() => walk(child, others, root, &path, problems),
                    None if *others == Value::Bool(false) => {
                        let known = properties.into_iter().flat_map(|map| map.keys());
                        let problem = format!(
                            "{}: there is no key `{path}`{}",
                            child.place,
                            did_you_mean(key, known.map(String::as_str))
                        );
                        problems.push(shown(&problem));
                    }
                    None => {}
                }
            }
        }
        // serde would take the values of a list for those of the keys, in their order
        NodeValue::List(_) if map && !list => {
            let problem = format!("{}: `{path}` has keys below it, and is no list", node.place);
            problems.push(shown(&problem));
        }
        NodeValue::List(items) => {
            for (at, item) in items.iter().enumerate() {
                walk(
                    item,
                    &schema["items"],
                    root,
                    &format!("{path}[{at}]"),
                    problems,
                );
            }
        }
        _ => {}
    }
}

/// Reads `yes`, `no`, `on` and `off` where the schema has a boolean, as YAML 1.1 and so Falco do.
pub(super) fn read_booleans(node: &mut Node, schema: &Value) {
    read_booleans_below(node, schema, schema);
}

fn read_booleans_below(node: &mut Node, schema: &Value, root: &Value) {
    let schema = resolve(schema, root, &node.kind);
    match &mut node.kind {
        NodeValue::Text(text) if is_of(schema, "boolean") => {
            if let Some(value) = boolean(text) {
                node.kind = NodeValue::Bool(value);
            }
        }
        NodeValue::Map(entries) => {
            for (key, child) in entries {
                let schema = match schema["properties"].get(&*key) {
                    Some(schema) => schema,
                    None => &schema["additionalProperties"],
                };
                read_booleans_below(child, schema, root);
            }
        }
        NodeValue::List(items) => {
            for item in items {
                read_booleans_below(item, &schema["items"], root);
            }
        }
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::Text(_) => {}
    }
}

/// A boolean of YAML 1.1 that is none of YAML 1.2.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Removes the keys below `key`, at any depth, that the schema does not know. Returns them with the keys above them.
pub(super) fn drop_unknown(key: &str, node: &mut Node, schema: &Value) -> Vec<(String, Node)> {
    let mut dropped = Vec::new();
    drop_below(node, &schema["properties"][key], schema, key, &mut dropped);
    dropped
}

fn drop_below(
    node: &mut Node,
    schema: &Value,
    root: &Value,
    path: &str,
    dropped: &mut Vec<(String, Node)>,
) {
    let schema = resolve(schema, root, &node.kind);
    match &mut node.kind {
        NodeValue::Map(entries) => {
            let others = &schema["additionalProperties"];
            let mut kept = Vec::new();
            for (key, mut child) in std::mem::take(entries) {
                let path = format!("{path}.{key}");
                match schema["properties"].get(&key) {
                    None if *others == Value::Bool(false) => {
                        dropped.push((path, child));
                        continue;
                    }
                    Some(schema) => drop_below(&mut child, schema, root, &path, dropped),
                    None => drop_below(&mut child, others, root, &path, dropped),
                }
                kept.push((key, child));
            }
            *entries = kept;
        }
        NodeValue::List(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                drop_below(
                    item,
                    &schema["items"],
                    root,
                    &format!("{path}[{at}]"),
                    dropped,
                );
            }
        }
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::Text(_) => {}
    }
}

/// Whether one of several forms allows values of this type.
fn allows(schema: &Value, root: &Value, wanted: &str) -> bool {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return allows(&root["$defs"][name], root, wanted);
    }
    match schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        Some(forms) => forms.iter().any(|form| allows(form, root, wanted)),
        None => is_of(schema, wanted),
    }
}

/// Whether values of this type are allowed.
fn is_of(schema: &Value, wanted: &str) -> bool {
    let types = &schema["type"];
    types == wanted
        || types
            .as_array()
            .is_some_and(|types| types.iter().any(|one| one == wanted))
}

/// Follows references, and takes of several forms the one that a value of this kind has.
fn resolve<'a>(mut schema: &'a Value, root: &'a Value, kind: &NodeValue) -> &'a Value {
    loop {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            schema = &root["$defs"][name];
            continue;
        }
        let forms = schema["anyOf"]
            .as_array()
            .or_else(|| schema["oneOf"].as_array());
        let wanted = match kind {
            NodeValue::Map(_) => "object",
            NodeValue::List(_) => "array",
            _ => return schema,
        };
        let Some(forms) = forms else {
            return schema;
        };
        let form = forms
            .iter()
            .map(|form| resolve(form, root, kind))
            .find(|form| is_of(form, wanted));
        return form.unwrap_or(&Value::Null);
    }
}
