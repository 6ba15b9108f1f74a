//! Keeps a page and the settings that it describes in step.

use std::path::Path;

use serde_json::Value;

/// Checks that a section of `docs/outputs.md` has a row for each setting of a schema, with the default that the schema
/// has, and for no other. The section's heading is the plugin's name. A row may describe several settings, with as many
/// defaults: `` | `keep`, `keep_mb` | `10000`, `32` | ... | ``.
///
/// # Panics
///
/// The section and the schema differ; the message lists all differences.
pub fn assert_documented(plugin: &str, schema: &Value) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/outputs.md");
    let page = std::fs::read_to_string(page).expect("the page can be read");
    let documented = rows(section(&page, plugin));
    let properties = schema["properties"].as_object().expect("settings");
    let mut wrong = Vec::new();
    for (name, property) in properties {
        let default = property.get("default").map(Value::to_string);
        match documented.iter().find(|row| row.0 == *name) {
            None => wrong.push(format!("`{name}` has no row")),
            Some((_, found)) if !same(found.as_deref(), default.as_deref()) => wrong.push(format!(
                "`{name}`: the page has the default {found:?}, the schema {default:?}"
            )),
            Some(_) => {}
        }
    }
    for (name, _) in &documented {
        if !properties.contains_key(name) {
            wrong.push(format!("there is no setting `{name}`"));
        }
    }
    assert!(
        wrong.is_empty(),
        "docs/outputs.md, section {plugin}:\n{}",
        wrong.join("\n")
    );
}

fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let begin = format!("\n## {heading}\n");
    let (_, rest) = page.split_once(&begin).expect("the page has the section");
    rest.split("\n## ").next().unwrap_or_default()
}

/// The settings of a section's table, each with its default if the row has one.
fn rows(section: &str) -> Vec<(String, Option<String>)> {
    let mut rows = Vec::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (names, defaults) = (quoted(cells[1]), quoted(cells[2]));
        for (at, name) in names.iter().enumerate() {
            // Only a default for each name can be assigned.
            let default = if defaults.len() == names.len() {
                defaults.get(at).cloned()
            } else {
                None
            };
            rows.push((name.clone(), default));
        }
    }
    rows
}

/// What is between backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// No default is `null`. The version of the program is not compared.
fn same(page: Option<&str>, schema: Option<&str>) -> bool {
    let schema = schema.filter(|default| *default != "null");
    match (page, schema) {
        (Some(page), Some(schema)) => {
            page.contains("VERSION")
                || serde_json::from_str::<Value>(page).ok() == serde_json::from_str(schema).ok()
        }
        (page, schema) => page.is_none() && schema.is_none(),
    }
}
