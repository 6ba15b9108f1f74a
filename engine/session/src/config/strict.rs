//! Everything that is set must mean something: keys are held against the published schema.

use serde_json::Value;

use super::tree::{Kind, Node};
use suggest::did_you_mean;

/// Says which keys the schema does not know, with their places and what was probably meant.
pub(super) fn unknown_keys(node: &Node, schema: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    walk(node, schema, schema, "", &mut problems);
    problems
}

fn walk(node: &Node, schema: &Value, root: &Value, path: &str, problems: &mut Vec<String>) {
    let schema = resolve(schema, root, &node.kind);
    match &node.kind {
        Kind::Map(entries) => {
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
                        problems.push(format!(
                            "{}: there is no key `{path}`{}",
                            child.place,
                            did_you_mean(key, known.map(String::as_str))
                        ));
                    }
                    None => {}
                }
            }
        }
        Kind::List(items) => {
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

/// Follows references, and takes of several forms the one that a value of this kind has.
fn resolve<'a>(mut schema: &'a Value, root: &'a Value, kind: &Kind) -> &'a Value {
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
            Kind::Map(_) => "object",
            Kind::List(_) => "array",
            _ => return schema,
        };
        let Some(forms) = forms else {
            return schema;
        };
        let form = forms
            .iter()
            .map(|form| resolve(form, root, kind))
            .find(|form| {
                form["type"] == wanted
                    || form["type"]
                        .as_array()
                        .is_some_and(|types| types.iter().any(|t| t == wanted))
            });
        return form.unwrap_or(&Value::Null);
    }
}
