//! The compiled program gives the same answers as a direct evaluation of the condition, whatever the graph did to it.

use lanner_plugin::Value;

use super::tests::{FIELDS, TYPES, rules, run, s};

/// Pseudo-random numbers, the same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

const WORDS: [&str; 4] = ["ab", "b", "abc", "c"];
const FIELD: [&str; 3] = ["proc.name", "fd.name", "proc.pname"];

/// A condition, with its text and its answer for an event.
enum Plain {
    Type(Vec<usize>),
    Text(usize, usize, Vec<usize>),
    Same(usize, usize),
    Not(Box<Plain>),
    And(Vec<Plain>),
    Or(Vec<Plain>),
}

const OPS: [&str; 11] = [
    "=",
    "!=",
    "in",
    "startswith",
    "endswith",
    "contains",
    "icontains",
    "istartswith",
    "iendswith",
    "exists",
    "tolower",
];

impl Plain {
    fn new(noise: &mut Noise, depth: usize) -> Self {
        let some = |noise: &mut Noise| (0..=noise.below(2)).map(|_| noise.below(4)).collect();
        match noise.below(if depth == 0 { 5 } else { 9 }) {
            0 => Self::Type(
                (0..=noise.below(2))
                    .map(|_| noise.below(TYPES.len()))
                    .collect(),
            ),
            1 => Self::Same(noise.below(3), noise.below(3)),
            2..=4 => Self::Text(noise.below(3), noise.below(OPS.len()), some(noise)),
            5 => Self::Not(Box::new(Self::new(noise, depth - 1))),
            6 => Self::And(
                (0..2 + noise.below(2))
                    .map(|_| Self::new(noise, depth - 1))
                    .collect(),
            ),
            _ => Self::Or(
                (0..2 + noise.below(2))
                    .map(|_| Self::new(noise, depth - 1))
                    .collect(),
            ),
        }
    }

    fn text(&self) -> String {
        let join = |terms: &[Self], word: &str| {
            let terms: Vec<_> = terms.iter().map(Self::text).collect();
            format!("({})", terms.join(word))
        };
        match self {
            Self::Type(types) => {
                let names: Vec<_> = types.iter().map(|at| TYPES[*at]).collect();
                format!("evt.type in ({})", names.join(", "))
            }
            Self::Same(a, b) => format!("{} = val({})", FIELD[*a], FIELD[*b]),
            Self::Text(field, op, words) => {
                let field = FIELD[*field];
                match OPS[*op] {
                    "exists" => format!("{field} exists"),
                    "in" => {
                        let words: Vec<_> = words.iter().map(|at| WORDS[*at]).collect();
                        format!("{field} in ({})", words.join(", "))
                    }
                    "tolower" => format!("tolower({field}) = {}", WORDS[words[0]]),
                    op => format!("{field} {op} {}", WORDS[words[0]]),
                }
            }
            Self::Not(inner) => format!("not ({})", inner.text()),
            Self::And(terms) => join(terms, " and "),
            Self::Or(terms) => join(terms, " or "),
        }
    }

    fn holds(&self, event_type: usize, values: &[Option<&str>; 3]) -> bool {
        match self {
            Self::Type(types) => types.contains(&event_type),
            Self::Same(a, b) => values[*a].is_some() && values[*a] == values[*b],
            Self::Text(field, op, words) => {
                let Some(value) = values[*field] else {
                    return false;
                };
                let word = WORDS[words[0]];
                match OPS[*op] {
                    "=" => value == word,
                    "!=" => value != word,
                    "in" => words.iter().any(|at| value == WORDS[*at]),
                    "startswith" => value.starts_with(word),
                    "endswith" => value.ends_with(word),
                    "contains" => value.contains(word),
                    "icontains" => value.to_lowercase().contains(word),
                    "istartswith" => value.to_lowercase().starts_with(word),
                    "iendswith" => value.to_lowercase().ends_with(word),
                    "tolower" => value.to_lowercase() == word,
                    _ => true,
                }
            }
            Self::Not(inner) => !inner.holds(event_type, values),
            Self::And(terms) => terms.iter().all(|term| term.holds(event_type, values)),
            Self::Or(terms) => terms.iter().any(|term| term.holds(event_type, values)),
        }
    }
}

#[test]
fn random_conditions_mean_what_they_say() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    assert!(
        FIELD
            .iter()
            .all(|name| FIELDS.iter().any(|(known, _)| known == name))
    );
    for round in 0..150 {
        let plain: Vec<Plain> = (0..5).map(|_| Plain::new(&mut noise, 4)).collect();
        let mut text = String::new();
        for (at, plain) in plain.iter().enumerate() {
            let condition = plain.text();
            text += &format!(
                "- macro: m{at}\n  condition: {condition}\n- rule: r{at}\n  desc: d\n  output: o\n  \
                 priority: INFO\n  warn_evttypes: false\n  condition: (m{at} or m{at}) and m{at}\n"
            );
        }
        let mut rules = rules(&text);
        rules.matching = crate::RuleMatching::All;
        for _ in 0..60 {
            let event_type = noise.below(TYPES.len());
            let texts = ["ab", "AB", "b", "abc", "c", "xabx", ""];
            let values: [Option<&str>; 3] =
                std::array::from_fn(|_| texts.get(noise.below(texts.len() + 2)).copied());
            let given: Vec<(&str, Value<'_>)> = FIELD
                .iter()
                .zip(values)
                .filter_map(|(name, value)| Some((*name, s(value?))))
                .collect();
            let expected: Vec<u32> = (0..5)
                .filter(|at| plain[*at as usize].holds(event_type, &values))
                .collect();
            let (found, _) = run(&mut rules, TYPES[event_type], &given);
            assert_eq!(
                found, expected,
                "round {round}, {} {given:?}\n{text}",
                TYPES[event_type]
            );
        }
    }
}
