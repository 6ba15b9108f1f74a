//! Rule files: whether they load, the codes of their problems, and what their conditions become.

use std::collections::BTreeMap;

use fields::FieldRegistry;
use plugin_host::{Diagnostic, Plugin, RuleFile, RuleHost, Severity};
use serde_json::Value;

use crate::kinds::{self, Kind};
use crate::{answers, plugin, texts};

/// Settings under which everything that Falco refuses is refused.
const STRICT: &str = r#"{"strict_falco":true}"#;

fn file(text: &str) -> RuleFile {
    RuleFile {
        name: "rules.yaml".to_owned(),
        text: text.as_bytes().to_vec(),
    }
}

/// What lanner says about a rule file.
struct Ours {
    diagnostics: Vec<Diagnostic>,
}

impl Ours {
    fn codes(&self, wanted: impl Fn(Severity) -> bool) -> Vec<&str> {
        let some = self.diagnostics.iter().filter(|one| wanted(one.severity));
        let mut codes: Vec<&str> = some
            .map(|one| one.code.as_str())
            .filter(|code| !kinds::OWN_CODES.contains(code))
            .collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    fn loads(&self) -> bool {
        self.diagnostics
            .iter()
            .all(|one| one.severity != Severity::Error)
    }
}

/// The conditions of the enabled rules, as lanner explains them, or why the file does not load.
fn explained(plugin: &Plugin, text: &str) -> Result<BTreeMap<String, String>, String> {
    let registry = FieldRegistry::new("");
    let host = RuleHost::open(plugin, &registry, &[file(text)], "");
    let mut host = host.map_err(|error| error.to_string())?;
    let rules = host.rules().to_vec();
    let mut conditions = BTreeMap::new();
    for (at, rule) in (0..).zip(rules) {
        let explanation = host.explain(at).expect("an explanation");
        conditions.insert(rule.name, explanation.condition);
    }
    Ok(conditions)
}

/// Whether the conditions that Falco has made mean what ours mean. Both are explained by lanner.
fn same_conditions(plugin: &Plugin, text: &str, answer: &Value) -> Result<(), String> {
    let ours = explained(plugin, text)?;
    let Some(theirs) = answer["compiled"].as_object() else {
        return Ok(());
    };
    for (name, condition) in theirs {
        let condition = condition.as_str().expect("a condition");
        let quoted = serde_json::to_string(condition).expect("a text");
        let rule =
            format!("- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: {quoted}\n");
        // Falco prints some texts without the quotes that they need; such a condition cannot be compared
        let Ok(theirs) = explained(plugin, &rule) else {
            continue;
        };
        if ours.get(name) != theirs.get("r") {
            return Err(format!("{:?} is {:?} in Falco", ours.get(name), condition));
        }
    }
    Ok(())
}

fn compare(plugin: &Plugin, answer: &Value) -> Option<(Kind, String)> {
    let text = answer["rules"].as_str().expect("rules");
    let registry = FieldRegistry::new("");
    let check = |settings| Ours {
        diagnostics: RuleHost::check(plugin, &registry, &[file(text)], settings)
            .expect("the plugin answers"),
    };
    let (ours, strict) = (check(""), check(STRICT));
    let errors = |ours: &Ours| -> String {
        let all = ours.diagnostics.iter();
        let errors = all.filter(|one| one.severity == Severity::Error);
        let texts: Vec<String> = errors
            .map(|one| format!("{} {}", one.code, one.message))
            .collect();
        texts.join("; ")
    };
    let loads = answer["loads"].as_bool().expect("an answer");
    if loads && !ours.loads() {
        return Some((Kind::Narrower, errors(&ours)));
    }
    if loads && !strict.loads() {
        return Some((Kind::StrictNarrower, errors(&strict)));
    }
    if !loads && strict.loads() {
        return Some((Kind::Wider, texts(answer, "errors").join(" ")));
    }
    if !loads {
        let (theirs, ours) = (
            texts(answer, "errors"),
            strict.codes(|s| s == Severity::Error),
        );
        return (theirs != ours).then(|| {
            (
                Kind::Codes,
                format!("{ours:?}, Falco {theirs:?}: {}", errors(&strict)),
            )
        });
    }
    let (theirs, codes) = (
        texts(answer, "warnings"),
        ours.codes(|s| s != Severity::Error),
    );
    if theirs != codes {
        return Some((Kind::Warnings, format!("{codes:?}, Falco {theirs:?}")));
    }
    same_conditions(plugin, text, answer)
        .err()
        .map(|difference| (Kind::Condition, difference))
}

#[test]
fn rule_files_load_as_in_falco() {
    let Some(answers) = answers("load.jsonl") else {
        return;
    };
    let plugin = plugin();
    let mut report = kinds::Report::default();
    for answer in &answers {
        let name = answer["name"].as_str().expect("a name");
        report.add(name, compare(&plugin, answer));
    }
    report.finish();
}
