//! Which events of a type the rules can match, for the host, which has drivers leave out the others.
//!
//! The condition of each rule for a type becomes a few sets of tests, one of which must hold (a disjunctive normal form).
//! What the host cannot test counts as true, also where it is negated. So the sets may hold for events that no rule
//! matches, but never the other way round.

use std::collections::HashMap;

use lanner_plugin::{EventNeed, FieldTest, Term, TestRelation};

use crate::compile::{KnownMatcher, ResolvedOperand};
use crate::graph::{Comparison, Graph, Id, Node, Test};
use crate::matcher::Matcher;
use crate::operators::Ordered;
use crate::program::Candidates;
use crate::text_matcher::TextRelation;

/// More sets than this become none: the type has no limit then.
const MAX_SETS: usize = 16;
/// More tests in a set are left out.
const MAX_TESTS: usize = 8;

/// Tests that must hold together, sorted.
type Set = Vec<FieldTest>;

/// What must hold: one of the sets. None: nothing is known.
type Sets = Option<Vec<Set>>;

/// Finds what conditions need.
#[derive(Debug)]
pub(crate) struct Needs<'a> {
    graph: &'a Graph,
    operands: &'a [ResolvedOperand],
    matchers: &'a [KnownMatcher],
    /// What conditions need, and their opposites.
    known: HashMap<(Id, bool), Sets>,
}

impl<'a> Needs<'a> {
    pub(crate) fn new(
        graph: &'a Graph,
        operands: &'a [ResolvedOperand],
        matchers: &'a [KnownMatcher],
    ) -> Self {
        Self {
            graph,
            operands,
            matchers,
            known: HashMap::new(),
        }
    }

    /// What one of these conditions, which are those of an event type, needs of an event. Empty: there is no limit.
    pub(crate) fn of_type(
        &mut self,
        name: &str,
        conditions: impl Iterator<Item = Id>,
    ) -> Vec<EventNeed> {
        let mut all = Some(Vec::new());
        for condition in conditions {
            all = either(all, self.of(condition, false));
        }
        let sets = all.unwrap_or_default().into_iter();
        sets.map(|tests| EventNeed {
            event_type: name.to_owned(),
            tests,
        })
        .collect()
    }

    /// What a condition, or its opposite, needs.
    fn of(&mut self, id: Id, negated: bool) -> Sets {
        if let Some(known) = self.known.get(&(id, negated)) {
            return known.clone();
        }
        let sets = match self.graph.node(id) {
            Node::Const(value) if *value == negated => Some(Vec::new()),
            Node::Const(_) | Node::EventType(_) => None,
            Node::Not(inner) => self.of(*inner, !negated),
            Node::And(terms) if negated => self.any(terms, negated),
            Node::Or(terms) if !negated => self.any(terms, negated),
            Node::And(terms) | Node::Or(terms) => self.all(terms, negated),
            Node::Test(test) => self
                .test(test)
                .map(|test| vec![vec![FieldTest { negated, ..test }]]),
        };
        self.known.insert((id, negated), sets.clone());
        sets
    }

    fn any(&mut self, terms: &[Id], negated: bool) -> Sets {
        let none = Some(Vec::new());
        terms.iter().fold(none, |sets, term| {
            // nothing is known of the whole if nothing is known of one
            sets.as_ref()?;
            either(sets, self.of(*term, negated))
        })
    }

    fn all(&mut self, terms: &[Id], negated: bool) -> Sets {
        terms
            .iter()
            .fold(None, |sets, term| both(sets, self.of(*term, negated)))
    }

    /// A test of the host. None: the host cannot test it.
    fn test(&self, test: &Test) -> Option<FieldTest> {
        let operand = &self.operands[test.source];
        if !operand.field.selects
            || !matches!(operand.term, Term::Field(_))
            || test.candidates != Candidates::Whole
        {
            return None;
        }
        let (relation, constants) = match &test.comparison {
            Comparison::Texts(TextRelation::Equal, texts) => (
                TestRelation::Equal,
                all_utf8(texts.iter().map(|text| &**text))?,
            ),
            Comparison::NotText(text) => (TestRelation::Unequal, all_utf8([&**text].into_iter())?),
            Comparison::Matcher(at) => {
                let known = &self.matchers[*at];
                (relation(&known.matcher)?, known.constants.clone())
            }
            Comparison::Texts(..) | Comparison::Source(..) => return None,
        };
        Some(FieldTest {
            field: operand.names.first()?.clone(),
            relation,
            constants,
            negated: false,
        })
    }
}

fn all_utf8<'t>(texts: impl Iterator<Item = &'t [u8]>) -> Option<Vec<String>> {
    texts
        .map(|text| String::from_utf8(text.to_vec()).ok())
        .collect()
}

/// The relation of a matcher with its constants.
fn relation(matcher: &Matcher) -> Option<TestRelation> {
    Some(match matcher {
        Matcher::Bool(_) | Matcher::NumberIn(_) | Matcher::Number(Ordered::Equal, _) => {
            TestRelation::Equal
        }
        Matcher::NotBool(_) | Matcher::Number(Ordered::NotEqual, _) => TestRelation::Unequal,
        Matcher::Number(Ordered::Less, _) => TestRelation::Less,
        Matcher::Number(Ordered::LessOrEqual, _) => TestRelation::LessOrEqual,
        Matcher::Number(Ordered::Greater, _) => TestRelation::Greater,
        Matcher::Number(Ordered::GreaterOrEqual, _) => TestRelation::GreaterOrEqual,
        // a field of any type: those that select have numbers
        Matcher::Dynamic(matchers) => matchers.iter().find_map(|one| match one {
            Matcher::Number(..) | Matcher::NumberIn(_) => relation(one),
            _ => None,
        })?,
        Matcher::Exists => TestRelation::Exists,
        Matcher::Text(_)
        | Matcher::NotText(_)
        | Matcher::TextOrder(..)
        | Matcher::Ip(_)
        | Matcher::NotIp(_)
        | Matcher::Quantified(..) => return None,
    })
}

fn either(one: Sets, other: Sets) -> Sets {
    let mut sets = one?;
    sets.extend(other?);
    let sets = without_covered(sets);
    (sets.len() <= MAX_SETS && !sets.iter().any(Vec::is_empty)).then_some(sets)
}

fn both(one: Sets, other: Sets) -> Sets {
    let (one, other) = match (one, other) {
        (None, sets) | (sets, None) => return sets,
        (Some(one), Some(other)) => (one, other),
    };
    let mut sets = Vec::new();
    for left in &one {
        for right in &other {
            let mut set = left.clone();
            set.extend(right.iter().cloned());
            set.sort_unstable();
            set.dedup();
            set.truncate(MAX_TESTS);
            sets.push(set);
        }
    }
    let sets = without_covered(sets);
    // the limit of one of them is a limit of both
    if sets.len() > MAX_SETS {
        Some(one)
    } else {
        Some(sets)
    }
}

/// The sets without those that hold only if another one does.
fn without_covered(mut sets: Vec<Set>) -> Vec<Set> {
    sets.sort_unstable();
    sets.dedup();
    let covers = |small: &Set, large: &Set| {
        small.len() < large.len() && small.iter().all(|test| large.contains(test))
    };
    let all = sets.clone();
    sets.retain(|set| !all.iter().any(|other| covers(other, set)));
    sets
}
