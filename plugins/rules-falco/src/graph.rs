//! All conditions as one graph, in which equal conditions share a node. Building a node simplifies it, joins comparisons
//! of one field, and sorts the terms of `and` and `or` so that the cheapest decisive ones come first.

use std::collections::{BTreeMap, HashMap};

use crate::operators::Op;
use crate::program::Candidates;
use crate::text_matcher::TextRelation;

/// An index into [`Graph::nodes`].
pub(crate) type Id = u32;

/// Nested `and`s and nested `or`s are flattened up to this number of terms.
const MAX_TERMS: usize = 4096;

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Const(bool),
    Not(Id),
    And(Box<[Id]>),
    Or(Box<[Id]>),
    /// `evt.type` is one of these.
    EventType(Box<[u32]>),
    Test(Test),
}

/// A comparison.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Test {
    /// The index of the value among the sources.
    pub(crate) source: usize,
    pub(crate) candidates: Candidates,
    pub(crate) comparison: Comparison,
}

/// How a value is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Comparison {
    /// One of the texts fits. Tests of one source with the same relation can be joined.
    Texts(TextRelation, Box<[Box<[u8]>]>),
    /// The value is a text, and not this one.
    NotText(Box<[u8]>),
    /// Any other comparison with constants: an index into the compiler's matchers.
    Matcher(usize),
    /// With another source, by its index.
    Source(Op, usize),
}

/// A test, and the texts of all tests that can be joined with it.
type Joined = (Test, Vec<Box<[u8]>>);

/// Guesses for a node: its cost in nanoseconds, and the share of events for which it holds.
#[derive(Debug, Clone, Copy)]
struct Guess {
    cost: f32,
    holds: f32,
}

/// All nodes.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    guesses: Vec<Guess>,
    known: HashMap<Node, Id>,
    /// The cost of fetching the value of each source, beyond that of a plain field.
    pub(crate) source_costs: Vec<f32>,
    /// For each matcher: its cost, and the share of values that fit.
    pub(crate) matcher_costs: Vec<(f32, f32)>,
}

impl Graph {
    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    fn intern(&mut self, node: Node) -> Id {
        if let Some(id) = self.known.get(&node) {
            return *id;
        }
        let id = Id::try_from(self.nodes.len()).unwrap_or(Id::MAX);
        self.guesses.push(self.guess(&node));
        self.nodes.push(node.clone());
        self.known.insert(node, id);
        id
    }

    pub(crate) fn constant(&mut self, value: bool) -> Id {
        self.intern(Node::Const(value))
    }

    pub(crate) fn event_type(&mut self, mut types: Vec<u32>) -> Id {
        types.sort_unstable();
        types.dedup();
        self.intern(Node::EventType(types.into()))
    }

    pub(crate) fn test(&mut self, mut test: Test) -> Id {
        if let Comparison::Texts(_, texts) = &mut test.comparison {
            if texts.is_empty() {
                return self.constant(false);
            }
            let mut sorted = std::mem::take(texts).into_vec();
            sorted.sort_unstable();
            sorted.dedup();
            *texts = sorted.into();
        }
        self.intern(Node::Test(test))
    }

    pub(crate) fn not(&mut self, id: Id) -> Id {
        match self.node(id) {
            Node::Const(value) => {
                let value = !*value;
                self.constant(value)
            }
            Node::Not(inner) => *inner,
            Node::And(_) | Node::Or(_) | Node::EventType(_) | Node::Test(_) => {
                self.intern(Node::Not(id))
            }
        }
    }

    pub(crate) fn or(&mut self, terms: &[Id]) -> Id {
        let terms = self.flat(terms, |node| match node {
            Node::Or(inner) => Some(inner),
            _ => None,
        });
        let mut rest = Vec::with_capacity(terms.len());
        let mut types: Vec<u32> = Vec::new();
        // Tests that can be joined, by source, candidates and relation.
        let mut joined: BTreeMap<(usize, u8, TextRelation), Joined> = BTreeMap::new();
        for id in terms {
            match self.node(id) {
                Node::Const(true) => return id,
                Node::Const(false) => {}
                Node::EventType(some) => types.extend(some.iter()),
                Node::Test(test) => match &test.comparison {
                    Comparison::Texts(relation, texts) if test.candidates != Candidates::All => {
                        let key = (test.source, test.candidates as u8, *relation);
                        let entry = joined
                            .entry(key)
                            .or_insert_with(|| (test.clone(), Vec::new()));
                        entry.1.extend(texts.iter().cloned());
                    }
                    Comparison::Texts(..)
                    | Comparison::NotText(_)
                    | Comparison::Matcher(_)
                    | Comparison::Source(..) => rest.push(id),
                },
                Node::Not(_) | Node::And(_) | Node::Or(_) => rest.push(id),
            }
        }
        if !types.is_empty() {
            rest.push(self.event_type(types));
        }
        for ((_, _, relation), (mut test, texts)) in joined {
            test.comparison = Comparison::Texts(relation, texts.into());
            rest.push(self.test(test));
        }
        self.ordered(rest, false)
    }

    pub(crate) fn and(&mut self, terms: &[Id]) -> Id {
        let terms = self.flat(terms, |node| match node {
            Node::And(inner) => Some(inner),
            _ => None,
        });
        let mut rest = Vec::with_capacity(terms.len());
        let mut negated = Vec::new();
        for id in terms {
            match self.node(id) {
                Node::Const(false) => return id,
                Node::Const(true) => {}
                Node::Not(inner) => negated.push(*inner),
                Node::And(_) | Node::Or(_) | Node::EventType(_) | Node::Test(_) => rest.push(id),
            }
        }
        // `not a and not b` is `not (a or b)`, and the tests of an `or` may be joined.
        if let [only] = negated[..] {
            rest.push(self.not(only));
        } else if !negated.is_empty() {
            let any = self.or(&negated);
            match self.node(any) {
                Node::Const(true) => return self.constant(false),
                Node::Const(false) => {}
                Node::Or(terms) => {
                    // Split it again, so that the cheap terms come first.
                    for term in terms.clone() {
                        rest.push(self.not(term));
                    }
                }
                Node::Not(_) | Node::And(_) | Node::EventType(_) | Node::Test(_) => {
                    rest.push(self.not(any));
                }
            }
        }
        self.ordered(rest, true)
    }

    fn flat(&self, terms: &[Id], inside: fn(&Node) -> Option<&[Id]>) -> Vec<Id> {
        let mut out = Vec::with_capacity(terms.len());
        let mut total = terms.len();
        for id in terms {
            match inside(self.node(*id)) {
                Some(inner) if total + inner.len() <= MAX_TERMS => {
                    total += inner.len();
                    out.extend_from_slice(inner);
                }
                _ => out.push(*id),
            }
        }
        out
    }

    fn ordered(&mut self, mut terms: Vec<Id>, and: bool) -> Id {
        // The term that decides most for its cost comes first. Equal ones keep a fixed order.
        let rank = |id: &Id| {
            let guess = self.guesses[*id as usize];
            let decides = if and { 1.0 - guess.holds } else { guess.holds };
            guess.cost / decides.max(0.001)
        };
        terms.sort_unstable_by(|a, b| rank(a).total_cmp(&rank(b)).then(a.cmp(b)));
        terms.dedup();
        match terms[..] {
            [] => self.constant(and),
            [only] => only,
            _ if and => self.intern(Node::And(terms.into())),
            _ => self.intern(Node::Or(terms.into())),
        }
    }

    fn guess(&self, node: &Node) -> Guess {
        let of = |id: &Id| self.guesses[*id as usize];
        match node {
            Node::Const(_) | Node::EventType(_) => Guess {
                cost: 0.5,
                holds: 0.3,
            },
            Node::Not(inner) => Guess {
                cost: of(inner).cost,
                holds: 1.0 - of(inner).holds,
            },
            // A later term is evaluated only if the earlier ones do not decide.
            Node::And(terms) => terms.iter().fold(
                Guess {
                    cost: 1.0,
                    holds: 1.0,
                },
                |sum, id| Guess {
                    cost: sum.cost + sum.holds * of(id).cost,
                    holds: sum.holds * of(id).holds,
                },
            ),
            Node::Or(terms) => {
                let none = terms.iter().fold(
                    Guess {
                        cost: 1.0,
                        holds: 1.0,
                    },
                    |sum, id| Guess {
                        cost: sum.cost + sum.holds * of(id).cost,
                        holds: sum.holds * (1.0 - of(id).holds),
                    },
                );
                Guess {
                    cost: none.cost,
                    holds: 1.0 - none.holds,
                }
            }
            Node::Test(test) => self.guess_test(test),
        }
    }

    fn guess_test(&self, test: &Test) -> Guess {
        let cost_of = |source: usize| self.source_costs.get(source).copied().unwrap_or(0.0);
        let (cost, holds) = match &test.comparison {
            Comparison::Texts(relation, texts) => {
                let holds = (0.03 * texts.len() as f32).clamp(0.05, 0.3);
                (relation.cost(), holds)
            }
            Comparison::NotText(_) => (3.0, 0.9),
            Comparison::Matcher(matcher) => self
                .matcher_costs
                .get(*matcher)
                .copied()
                .unwrap_or((10.0, 0.5)),
            Comparison::Source(_, right) => (10.0 + cost_of(*right), 0.2),
        };
        let many = if test.candidates == Candidates::Whole {
            0.0
        } else {
            20.0
        };
        Guess {
            cost: cost + many + cost_of(test.source),
            holds,
        }
    }

    /// The condition for events of one type. `done` has the nodes that are already converted.
    pub(crate) fn for_type(&mut self, id: Id, event_type: u32, done: &mut HashMap<Id, Id>) -> Id {
        if let Some(known) = done.get(&id) {
            return *known;
        }
        let result = match self.node(id).clone() {
            Node::Const(_) | Node::Test(_) => id,
            Node::EventType(types) => {
                let holds = types.binary_search(&event_type).is_ok();
                self.constant(holds)
            }
            Node::Not(inner) => {
                let inner = self.for_type(inner, event_type, done);
                self.not(inner)
            }
            Node::And(terms) => {
                let terms: Vec<Id> = terms
                    .iter()
                    .map(|term| self.for_type(*term, event_type, done))
                    .collect();
                self.and(&terms)
            }
            Node::Or(terms) => {
                let terms: Vec<Id> = terms
                    .iter()
                    .map(|term| self.for_type(*term, event_type, done))
                    .collect();
                self.or(&terms)
            }
        };
        done.insert(id, result);
        result
    }
}
