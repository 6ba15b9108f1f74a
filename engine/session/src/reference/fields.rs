//! The fields: the list as text, JSON and a page of docs/.

use std::fmt::Write as _;

use fields::{ArgRule, FIELDS, FieldDef};
use serde_json::{Value, json};

use super::Form;

/// The fields that rules and outputs can use.
#[must_use]
pub fn fields(form: Form) -> String {
    if form == Form::Json {
        let rows: Vec<Value> = FIELDS.iter().map(field_json).collect();
        return format!("{:#}\n", Value::from(rows));
    }
    let mut text = String::new();
    if form == Form::Markdown {
        text.push_str("# Fields\n\nMade by `make docs` from the list in `engine/fields/src/list`.\n\n| field | type | meaning |\n|---|---|---|\n");
    }
    for field in FIELDS {
        let name = format!("{}{}", field.name, argument(field));
        let _ = if form == Form::Markdown {
            writeln!(
                text,
                "| `{name}` | {} | {} |",
                field.type_name(),
                field.description
            )
        } else {
            writeln!(
                text,
                "{name:<28} {:<9} {}",
                field.type_name(),
                field.description
            )
        };
    }
    text
}

fn argument(field: &FieldDef) -> &'static str {
    if field.arg == ArgRule::None {
        ""
    } else {
        "[...]"
    }
}

fn field_json(field: &FieldDef) -> Value {
    json!({
        "name": field.name,
        "type": field.type_name(),
        "class": field.class(),
        "takes_argument": field.arg != ArgRule::None,
        "deprecated": field.deprecated,
        "description": field.description,
    })
}
