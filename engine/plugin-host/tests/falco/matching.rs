//! Conditions: whether they are refused, and whether they match given values of fields.

use std::net::IpAddr;

use fields::FieldRegistry;
use lanner_plugin::{FieldKind, FieldResolver, FieldSource, Value};
use plugin_host::{Plugin, RuleFile, RuleHost};
use serde_json::Value as Json;

use crate::kinds::{self, Kind};
use crate::{answers, plugin};

/// Settings under which everything that Falco refuses is refused.
const STRICT: &str = r#"{"strict_falco":true}"#;

/// An event that has only these fields.
struct Values<'a>(Vec<(u32, Value<'a>)>);

impl FieldSource for Values<'_> {
    fn event_type(&self) -> u32 {
        0
    }

    fn get(&self, id: u32) -> Value<'_> {
        let found = self.0.iter().find(|(known, _)| *known == id);
        found.map_or(Value::None, |(_, value)| *value)
    }
}

fn value(kind: FieldKind, json: &Json) -> Value<'_> {
    match kind {
        FieldKind::Bool => Value::Bool(json.as_bool().expect("true or false")),
        FieldKind::I64 => Value::I64(json.as_i64().expect("a number")),
        FieldKind::U64 => Value::U64(json.as_u64().expect("a number")),
        FieldKind::F64 => Value::F64(json.as_f64().expect("a number")),
        FieldKind::Bytes => Value::Bytes(json.as_str().expect("a text").as_bytes()),
        FieldKind::String | FieldKind::Any => {
            Value::String(json.as_str().expect("a text").as_bytes())
        }
        FieldKind::Ip => {
            let address: IpAddr = json
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("an address");
            Value::Ip(address)
        }
    }
}

/// Whether a condition matches values of fields, or why it is refused.
fn matches(
    plugin: &Plugin,
    condition: &str,
    fields: &Json,
    settings: &str,
) -> Result<bool, String> {
    let condition = serde_json::to_string(condition).expect("a text");
    let text =
        format!("- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: {condition}\n");
    let file = RuleFile {
        name: "rules.yaml".to_owned(),
        text: text.into_bytes(),
    };
    let registry = FieldRegistry::new("");
    let mut host =
        RuleHost::open(plugin, &registry, &[file], settings).map_err(|error| error.to_string())?;
    let fields = fields.as_object().expect("fields");
    let values = fields.iter().map(|(name, json)| {
        let field = registry.resolve(name, None).expect("a field");
        (field.id, value(field.kind, json))
    });
    let event = Values(values.collect());
    let mut matches = Vec::new();
    host.on_event(&event, &mut matches);
    Ok(!matches.is_empty())
}

fn compare(plugin: &Plugin, answer: &Json) -> Option<(Kind, String)> {
    let condition = answer["condition"].as_str().expect("a condition");
    let ours = |settings| matches(plugin, condition, &answer["fields"], settings);
    match (&answer["matches"], ours(""), ours(STRICT)) {
        (Json::Bool(_), Err(error), _) => Some((Kind::Narrower, error)),
        (Json::Bool(_), Ok(_), Err(error)) => Some((Kind::StrictNarrower, error)),
        (Json::Bool(theirs), Ok(ours), Ok(_)) => (*theirs != ours).then(|| {
            (
                Kind::Match,
                format!("{ours}, Falco {theirs}: {}", answer["fields"]),
            )
        }),
        // What makes Falco crash may be anything.
        (Json::String(reason), _, Ok(_)) if reason != "crash" => {
            Some((Kind::Wider, reason.clone()))
        }
        (_, _, _) => None,
    }
}

#[test]
fn conditions_match_as_in_falco() {
    let mut report = kinds::Report::default();
    for file in ["match-1.jsonl", "match-5.jsonl"] {
        let Some(answers) = answers(file) else {
            return;
        };
        let plugin = plugin();
        for answer in &answers {
            let name = answer["condition"].as_str().expect("a condition");
            report.add(name, compare(&plugin, answer));
        }
    }
    report.finish();
}
