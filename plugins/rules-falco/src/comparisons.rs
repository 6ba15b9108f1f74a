//! Which fields the rules compare with which constants, for the host. The host prepares some fields with it: it looks
//! up only the host names that a rule compares `fd.sip.name` with.
//!
//! The answer comes from the linked graph, where macros, lists and exceptions are filled in, disabled rules are gone,
//! and branches that can never decide anything are gone too.

use std::collections::{BTreeMap, BTreeSet};

use lanner_plugin::{Buffers, FieldComparison, Relation, Term, Transformer, Value};

use crate::compile::{KnownMatcher, ResolvedOperand};
use crate::graph::{Comparison, Test};

/// Field, relation, transformers: what comparisons that are reported together have in common.
type Key = (String, Relation, Vec<String>);

/// Collects comparisons. Those of one field that differ only in their constants become one.
#[derive(Debug)]
pub(crate) struct Collector<'a> {
    operands: &'a [ResolvedOperand],
    matchers: &'a [KnownMatcher],
    found: BTreeMap<Key, BTreeSet<String>>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(operands: &'a [ResolvedOperand], matchers: &'a [KnownMatcher]) -> Self {
        Self {
            operands,
            matchers,
            found: BTreeMap::new(),
        }
    }

    /// Adds the comparisons of a test.
    pub(crate) fn add(&mut self, test: &Test) {
        let left = &self.operands[test.source];
        match &test.comparison {
            Comparison::Texts(relation, texts) => {
                self.put(
                    left,
                    relation.reported(),
                    texts.iter().map(|text| show(text)),
                );
            }
            Comparison::NotText(text) => self.put(left, Relation::Equal, [show(text)]),
            Comparison::Matcher(at) => {
                let matcher = &self.matchers[*at];
                self.put(left, matcher.relation, matcher.constants.iter().cloned());
            }
            Comparison::Source(op, right) => {
                let right = &self.operands[*right];
                self.put(left, op.relation(), constants(right));
                // `concat("a") startswith val(field)` does not mean that the field begins with the constant.
                let swapped = match op.relation() {
                    Relation::Equal => Relation::Equal,
                    Relation::Other
                    | Relation::Order
                    | Relation::Prefix
                    | Relation::Suffix
                    | Relation::Contains
                    | Relation::Pattern => Relation::Other,
                };
                self.put(right, swapped, constants(left));
            }
        }
    }

    pub(crate) fn finish(self) -> Vec<FieldComparison> {
        let found = self.found.into_iter();
        found
            .map(
                |((field, relation, transformers), constants)| FieldComparison {
                    field,
                    relation,
                    transformers,
                    constants: constants.into_iter().collect(),
                },
            )
            .collect()
    }

    /// Adds a comparison of every field in `operand` with these constants, if there are any.
    fn put(
        &mut self,
        operand: &ResolvedOperand,
        relation: Relation,
        constants: impl IntoIterator<Item = String>,
    ) {
        let constants: BTreeSet<String> = constants.into_iter().collect();
        if constants.is_empty() {
            return;
        }
        let mut names = operand.names.iter();
        let mut fields = Vec::new();
        with_transformers(&operand.term, &mut Vec::new(), &mut |transformers| {
            if let Some(name) = names.next() {
                fields.push((name.clone(), relation, transformers.to_vec()));
            }
        });
        for key in fields {
            let all = self.found.entry(key).or_default();
            all.extend(constants.iter().cloned());
        }
    }
}

/// Calls `found` for each field in a term, in the order of [`Term::fields`], with the names of the transformers around
/// it, outermost first. `val` changes nothing, and is left out.
fn with_transformers(
    term: &Term<u32>,
    around: &mut Vec<String>,
    found: &mut impl FnMut(&[String]),
) {
    match term {
        Term::Field(_) => found(around),
        Term::Text(_) => {}
        Term::List(elements) => {
            for element in elements {
                with_transformers(element, around, found);
            }
        }
        Term::Call(transformer, args, _) => {
            let depth = around.len();
            if *transformer != Transformer::Val {
                around.push(transformer.name().to_owned());
            }
            for arg in args {
                with_transformers(arg, around, found);
            }
            around.truncate(depth);
        }
    }
}

/// The constants of an operand without fields: one, or the elements of a list.
fn constants(operand: &ResolvedOperand) -> Vec<String> {
    let mut constants = Vec::new();
    if operand.names.is_empty() {
        let no_field = |_: &u32| Value::None;
        operand
            .term
            .value(&Buffers::default(), &no_field, &mut |value| {
                match value {
                    Value::List(list) => constants.extend(list.iter().filter_map(scalar)),
                    value => constants.extend(scalar(value)),
                };
            });
    }
    constants
}

fn scalar(value: Value<'_>) -> Option<String> {
    match value {
        Value::None | Value::List(_) => None,
        Value::Bool(value) => Some(value.to_string()),
        Value::I64(value) => Some(value.to_string()),
        Value::U64(value) => Some(value.to_string()),
        Value::F64(value) => Some(value.to_string()),
        Value::Ip(value) => Some(value.to_string()),
        Value::String(text) | Value::Bytes(text) => Some(show(text)),
    }
}

fn show(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
