//! What events of a type must fulfil so that a rule can match.

use lanner_plugin::{FieldTest, TestRelation, Value};

use super::tests::{rule, rules, run, s};

/// The needs of rules: `type: test and test`, with `not` in front of a negated test.
fn reported(text: &str) -> Vec<String> {
    let show = |test: &FieldTest| {
        let not = if test.negated { "not " } else { "" };
        let constants = test.constants.join(" ");
        format!("{not}{} {:?} {constants}", test.field, test.relation)
    };
    let needs = rules(text).needs;
    needs
        .iter()
        .map(|need| {
            let tests: Vec<String> = need.tests.iter().map(show).collect();
            format!("{}: {}", need.event_type, tests.join(" and "))
        })
        .collect()
}

fn of_condition(condition: &str) -> Vec<String> {
    reported(&rule("r", condition))
}

#[test]
fn what_the_host_can_test_remains_of_a_condition() {
    for (condition, expected) in [
        (
            "evt.rawres >= 0",
            &["open: evt.rawres GreaterOrEqual 0"][..],
        ),
        (
            "evt.rawres in (0, -115)",
            &["open: evt.rawres Equal 0 -115"],
        ),
        ("evt.rawres != 0", &["open: evt.rawres Unequal 0"]),
        ("not evt.rawres < 0", &["open: not evt.rawres Less 0"]),
        (
            "evt.is_open_read = true",
            &["open: evt.is_open_read Equal true"],
        ),
        ("evt.rawarg.x = 3", &["open: evt.rawarg[x] Equal 3"]),
        (
            "proc.name = cat and evt.rawres > 0",
            &["open: evt.rawres Greater 0"],
        ),
        (
            "evt.is_open_read = true and evt.rawres > 0",
            &["open: evt.is_open_read Equal true and evt.rawres Greater 0"],
        ),
        (
            "(evt.is_open_read = true or evt.rawres > 0)",
            &[
                "open: evt.is_open_read Equal true",
                "open: evt.rawres Greater 0",
            ],
        ),
        (
            "not (evt.is_open_read = true and evt.rawres > 0)",
            &[
                "open: not evt.is_open_read Equal true",
                "open: not evt.rawres Greater 0",
            ],
        ),
        (
            "(evt.rawres > 0 or (evt.rawres > 0 and evt.is_open_read = true))",
            &["open: evt.rawres Greater 0"],
        ),
        ("(proc.name = cat or evt.rawres > 0)", &[]),
        ("proc.name = cat", &[]),
        ("evt.rawres exists", &["open: evt.rawres Exists "]),
        (
            "(evt.rawres >= 0 or not evt.rawres exists)",
            &[
                "open: evt.rawres GreaterOrEqual 0",
                "open: not evt.rawres Exists ",
            ],
        ),
        ("proc.name exists", &[]),
        ("evt.rawres = val(proc.pid)", &[]),
        ("proc.pid > 0", &[]),
    ] {
        let found = of_condition(&format!("evt.type = open and {condition}"));
        assert_eq!(found, expected, "{condition}");
    }
}

#[test]
fn each_type_has_the_needs_of_all_rules_for_it() {
    let one = "evt.type in (open, openat) and evt.rawres >= 0";
    let two = "evt.type = openat and evt.is_open_read = true";
    let any = "proc.name = cat and evt.type in (openat)";
    assert_eq!(
        reported(&(rule("a", one) + &rule("b", two))),
        [
            "open: evt.rawres GreaterOrEqual 0",
            "openat: evt.is_open_read Equal true",
            "openat: evt.rawres GreaterOrEqual 0",
        ]
    );
    assert_eq!(
        reported(&(rule("a", one) + &rule("b", any))),
        ["open: evt.rawres GreaterOrEqual 0"]
    );
    // a condition without types holds for every type
    let all = "proc.name = cat";
    assert!(reported(&(rule("a", one) + &rule("b", all))).is_empty());
    // what decides about the type is no test
    let mixed = "(evt.type = open and evt.rawres > 0) or (evt.type = close and evt.rawres < 0)";
    assert_eq!(
        reported(&rule("a", mixed)),
        ["open: evt.rawres Greater 0", "close: evt.rawres Less 0"]
    );
}

#[test]
fn macros_and_exceptions_count() {
    let text = "- macro: opened\n  condition: (evt.type in (open) and evt.rawres >= 0)\n";
    let found = reported(&(text.to_owned() + &rule("r", "opened and proc.name = cat")));
    assert_eq!(found, ["open: evt.rawres GreaterOrEqual 0"]);
    let excepted = "- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: evt.type = open\n  \
                    exceptions:\n    - name: e\n      fields: [evt.rawres]\n      comps: [\"=\"]\n      \
                    values: [[7]]\n";
    assert_eq!(reported(excepted), ["open: not evt.rawres Equal 7"]);
}

#[test]
fn many_alternatives_are_no_limit() {
    let terms: Vec<String> = (0..40).map(|at| format!("evt.rawres > {at}")).collect();
    assert!(of_condition(&format!("evt.type = open and ({})", terms.join(" or "))).is_empty());
    // a part that is known stays, although the product of all would be too large
    let pairs: Vec<String> = (0..12)
        .map(|at| format!("(evt.rawres != {at} or evt.rawarg.x = {at})"))
        .collect();
    let found = of_condition(&format!("evt.type = open and {}", pairs.join(" and ")));
    assert!(!found.is_empty() && found.len() <= 16, "{found:?}");
}

/// Pseudo-random numbers, the same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn condition(&mut self, depth: usize) -> String {
        let number = self.below(4);
        match self.below(if depth == 0 { 8 } else { 12 }) {
            0 => format!(
                "evt.type in ({})",
                ["open", "openat", "open, close"][self.below(3)]
            ),
            1 => format!(
                "evt.rawres {} {number}",
                ["<", "<=", ">", ">=", "=", "!="][self.below(6)]
            ),
            2 => format!("evt.rawres in ({number}, 2)"),
            3 => format!("evt.is_open_read {} true", ["=", "!="][self.below(2)]),
            4 => format!("evt.rawarg.x {} {number}", ["=", "!=", "<"][self.below(3)]),
            5 => format!("evt.rawarg.x in ({number}, 1)"),
            6 => "proc.name = cat".to_owned(),
            7 => format!(
                "{} exists",
                ["evt.rawres", "evt.is_open_read", "evt.rawarg.x"][self.below(3)]
            ),
            8 => format!("not ({})", self.condition(depth - 1)),
            9 | 10 => format!(
                "({} and {})",
                self.condition(depth - 1),
                self.condition(depth - 1)
            ),
            _ => format!(
                "({} or {})",
                self.condition(depth - 1),
                self.condition(depth - 1)
            ),
        }
    }
}

fn holds(test: &FieldTest, values: &[(&str, Value<'_>)]) -> bool {
    let name = test.field.replace("evt.rawarg.x", "evt.rawarg[x]");
    let value = values.iter().find(|(known, _)| *known == name);
    let held = value.is_some_and(|(_, value)| match value {
        Value::I64(value) => {
            let mut orders = test
                .constants
                .iter()
                .map(|text| value.cmp(&text.parse().unwrap()));
            match test.relation {
                TestRelation::Equal => orders.any(std::cmp::Ordering::is_eq),
                TestRelation::Unequal => orders.all(std::cmp::Ordering::is_ne),
                TestRelation::Less => orders.all(std::cmp::Ordering::is_lt),
                TestRelation::LessOrEqual => orders.all(std::cmp::Ordering::is_le),
                TestRelation::Greater => orders.all(std::cmp::Ordering::is_gt),
                TestRelation::GreaterOrEqual => orders.all(std::cmp::Ordering::is_ge),
                TestRelation::Exists => true,
            }
        }
        Value::Bool(value) => {
            let equal = test.constants.iter().any(|text| text.parse() == Ok(*value));
            test.relation == TestRelation::Exists || equal == (test.relation == TestRelation::Equal)
        }
        _ => panic!("{name}"),
    });
    held != test.negated
}

#[test]
fn an_event_that_matches_fulfils_a_need() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let (mut limited, mut left_out) = (0, 0);
    for _ in 0..400 {
        let condition = format!("evt.type in (open, openat) and {}", noise.condition(4));
        let mut rules = rules(&rule("r", &condition));
        for _ in 0..40 {
            let event_type = ["open", "openat"][noise.below(2)];
            let mut values = Vec::new();
            for name in ["evt.rawres", "evt.rawarg[x]"] {
                if noise.below(4) > 0 {
                    values.push((name, Value::I64(noise.below(5) as i64 - 1)));
                }
            }
            if noise.below(4) > 0 {
                values.push(("evt.is_open_read", Value::Bool(noise.below(2) == 0)));
            }
            values.push(("proc.name", s(["cat", "dog"][noise.below(2)])));
            let needs: Vec<_> = rules
                .needs
                .iter()
                .filter(|n| n.event_type == event_type)
                .cloned()
                .collect();
            let fulfilled = needs.is_empty()
                || needs
                    .iter()
                    .any(|need| need.tests.iter().all(|test| holds(test, &values)));
            limited += usize::from(!needs.is_empty());
            left_out += usize::from(!fulfilled);
            let (found, _) = run(&mut rules, event_type, &values);
            assert!(
                fulfilled || found.is_empty(),
                "{condition}\n{values:?}\n{needs:?}"
            );
        }
    }
    assert!(limited > 1000 && left_out > 500, "{limited} {left_out}");
}
