//! Plugins of this project, across the same border as those of others.

use super::*;

/// The same fields, by which drivers can leave out events.
struct Selecting;

impl FieldResolver for Selecting {
    fn resolve(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, UnknownName> {
        Table.resolve(name, arg).map(ResolvedField::selects)
    }

    fn event_type(&self, name: &str) -> Result<u32, UnknownName> {
        Table.event_type(name)
    }
}

#[test]
fn the_first_party_plugins_are_built_on_the_same_border() {
    let directory = [test_support::plugins::first_party(&[
        "rules-falco",
        "output-console",
    ])];
    let rules = find(&directory, "rules-falco").unwrap();
    assert_eq!(rules.capabilities(), ["rules"]);
    let file = |text: &str| RuleFile {
        name: "r.yaml".to_owned(),
        text: text.into(),
    };
    let good = "- rule: Cat\n  desc: d\n  condition: evt.type=openat and proc.name=cat\n  output: \
                o\n  priority: WARNING\n";
    let mut host = RuleHost::open(&rules, &Table, &[file(good)], "").unwrap();
    assert_eq!(
        *host.event_types(),
        EventTypes::Only(vec!["openat".to_owned()])
    );
    let mut matches = Vec::new();
    host.on_event(&Sample(5, "cat"), &mut matches);
    assert_eq!(matches, [0]);
    host.on_event(&Sample(5, "dog"), &mut matches);
    assert!(matches.is_empty());

    let bad = good.replace("proc.name", "proc.nmae");
    let error = RuleHost::open(&rules, &Table, &[file(&bad)], "")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("r.yaml:3:34: there is no field `proc.nmae`"),
        "{error}"
    );
    let said = RuleHost::check(&rules, &Table, &[file(&bad)], "").unwrap();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((said[0].line, said[0].column), (3, 34));
    assert_eq!(said[0].missing, "proc.nmae");
    let explanation = host.explain(0).unwrap();
    assert_eq!(
        explanation.condition,
        "evt.type = openat and proc.name = cat"
    );
    assert!(host.explain(1).is_err());
    let comparison = lanner_plugin::FieldComparison {
        field: "proc.name".to_owned(),
        relation: lanner_plugin::Relation::Equal,
        transformers: Vec::new(),
        constants: vec!["cat".to_owned()],
    };
    assert_eq!(host.comparisons().unwrap(), [comparison]);
    assert!(host.needs().is_empty());
    let selective = good.replace("proc.name=cat", "proc.name in (cat, dog)");
    let host = RuleHost::open(&rules, &Selecting, &[file(&selective)], "").unwrap();
    let test = FieldTest {
        field: "proc.name".to_owned(),
        relation: TestRelation::Equal,
        constants: vec!["cat".to_owned(), "dog".to_owned()],
        negated: false,
    };
    let need = EventNeed {
        event_type: "openat".to_owned(),
        tests: vec![test],
    };
    assert_eq!(host.needs(), [need]);
    let error = RuleHost::open(&rules, &Table, &[], "{\"x\":1}")
        .unwrap_err()
        .to_string();
    assert!(error.contains("unknown key `x`"), "{error}");
    assert!(matches!(
        OutputHost::open(&rules, ""),
        Err(PluginError::LacksCapability { .. })
    ));

    let console = find(&directory, "output-console").unwrap();
    let mut host = OutputHost::open(&console, "{\"json\":true}").unwrap();
    assert_eq!(host.emit(&[alert(Priority::Warning)]), Delivery::Delivered);
}
