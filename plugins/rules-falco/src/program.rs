//! Compiled rules, and their evaluation for an event.
//!
//! An event runs only through the rules for its type, in a form that is simplified for that type. A field is fetched
//! once, when a test first needs it. All equality tests of a field share one look-up of its value among the texts that
//! rules compare it with. A condition that several rules share is evaluated once.

use std::cell::Cell;
use std::sync::Arc;

use lanner_plugin::{Buffers, CachedEvent, Event, FieldCache, Term, Value};

use crate::matcher::{Matcher, compare};
use crate::operators::Op;
use crate::texts::TextSet;

/// How to compare a value that is a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Candidates {
    /// The matcher compares the list itself.
    Whole,
    /// One element must fit.
    Any,
    /// Every element must fit, and there must be one.
    All,
}

/// A node of a condition. Numbers are indices into [`Program::nodes`].
#[derive(Debug)]
pub(crate) enum Code {
    Const(bool),
    Not(u32),
    And(Box<[u32]>),
    Or(Box<[u32]>),
    Test(Test),
    /// Evaluated once for each event: an index into [`Program::remembered`], and the node.
    Once(usize, u32),
}

/// A comparison.
#[derive(Debug)]
pub(crate) enum Test {
    /// The value of a source is one of the texts whose bits are set. If `negated`: it is a text, but none of them.
    Symbol {
        source: usize,
        bits: Box<[u64]>,
        negated: bool,
    },
    Match {
        source: usize,
        candidates: Candidates,
        matcher: Arc<Matcher>,
    },
    Compare {
        left: usize,
        op: Op,
        right: usize,
        candidates: Candidates,
    },
}

/// A value that tests compare.
#[derive(Debug)]
pub(crate) struct ValueSource {
    pub(crate) fetch: Fetch,
    /// The texts that tests compare it with for equality.
    pub(crate) symbols: TextSet,
    /// The generation of an event, and the symbol of its value.
    pub(crate) symbol: Cell<(u32, Symbol)>,
}

/// How to get a value: a field by its slot in the cache, or a term to compute.
#[derive(Debug)]
pub(crate) enum Fetch {
    Slot(usize),
    Term(Term<usize>),
}

/// Which of the texts of a source a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Symbol {
    /// No text: the value is missing or has another type.
    None,
    /// A text, but none of them.
    Other,
    /// The text with this number.
    Known(u32),
}

/// All rules, sorted by the event types that they can match.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) nodes: Vec<Code>,
    pub(crate) sources: Vec<ValueSource>,
    /// For each event type: rules and their conditions, in load order.
    pub(crate) buckets: Vec<Box<[(u32, u32)]>>,
    /// The same for types beyond the buckets.
    pub(crate) others: Box<[(u32, u32)]>,
    pub(crate) fields: FieldCache,
    pub(crate) buffers: Buffers,
    /// The generation of an event, and what a node gave for it.
    pub(crate) remembered: Vec<Cell<(u32, bool)>>,
}

struct Run<'a> {
    event: CachedEvent<'a>,
    nodes: &'a [Code],
    sources: &'a [ValueSource],
    buffers: &'a Buffers,
    remembered: &'a [Cell<(u32, bool)>],
}

impl Program {
    /// Calls `matched` for each rule that matches, in load order, until it returns false.
    pub(crate) fn run(&mut self, event: &Event<'_>, mut matched: impl FnMut(u32) -> bool) {
        let bucket = self.buckets.get(event.event_type() as usize);
        let rules = bucket.unwrap_or(&self.others);
        if rules.is_empty() {
            return;
        }
        let event = self.fields.view(event);
        if event.generation() == 1 {
            // The counter of generations has wrapped around, so old results could look current.
            for result in &self.remembered {
                result.set((0, false));
            }
            for source in &self.sources {
                source.symbol.set((0, Symbol::None));
            }
        }
        let run = Run {
            event,
            nodes: &self.nodes,
            sources: &self.sources,
            buffers: &self.buffers,
            remembered: &self.remembered,
        };
        for (rule, condition) in rules {
            if run.holds(*condition) && !matched(*rule) {
                return;
            }
        }
    }
}

impl Run<'_> {
    fn holds(&self, node: u32) -> bool {
        match &self.nodes[node as usize] {
            Code::Const(value) => *value,
            Code::Not(inner) => !self.holds(*inner),
            Code::And(terms) => terms.iter().all(|term| self.holds(*term)),
            Code::Or(terms) => terms.iter().any(|term| self.holds(*term)),
            Code::Test(test) => self.test(test),
            Code::Once(index, inner) => {
                let generation = self.event.generation();
                let (stamp, known) = self.remembered[*index].get();
                if stamp == generation {
                    return known;
                }
                let result = self.holds(*inner);
                self.remembered[*index].set((generation, result));
                result
            }
        }
    }

    fn test(&self, test: &Test) -> bool {
        match test {
            Test::Symbol {
                source,
                bits,
                negated,
            } => match self.symbol(*source) {
                Symbol::None => false,
                Symbol::Other => *negated,
                Symbol::Known(number) => {
                    let word = bits.get(number as usize / 64).copied().unwrap_or(0);
                    (word >> (number % 64) & 1 == 1) != *negated
                }
            },
            Test::Match {
                source,
                candidates,
                matcher,
            } => self.with(*source, |value| {
                each(*candidates, value, |value| matcher.matches(value))
            }),
            Test::Compare {
                left,
                op,
                right,
                candidates,
            } => self.with(*left, |left| {
                self.with(*right, |right| {
                    each(*candidates, left, |left| compare(*op, left, right))
                })
            }),
        }
    }

    #[inline]
    fn symbol(&self, source: usize) -> Symbol {
        let source = &self.sources[source];
        let generation = self.event.generation();
        let (stamp, known) = source.symbol.get();
        if stamp == generation {
            return known;
        }
        let of = |value: Value<'_>| match value.as_bytes() {
            None => Symbol::None,
            Some(text) => source
                .symbols
                .find(text)
                .map_or(Symbol::Other, Symbol::Known),
        };
        let symbol = match &source.fetch {
            Fetch::Slot(slot) => of(self.event.get(*slot)),
            Fetch::Term(term) => self.with_term(term, of, Symbol::None),
        };
        source.symbol.set((generation, symbol));
        symbol
    }

    fn with(&self, source: usize, body: impl Fn(Value<'_>) -> bool) -> bool {
        match &self.sources[source].fetch {
            Fetch::Slot(slot) => body(self.event.get(*slot)),
            Fetch::Term(term) => self.with_term(term, body, false),
        }
    }

    fn with_term<R>(&self, term: &Term<usize>, body: impl Fn(Value<'_>) -> R, without: R) -> R {
        let mut result = without;
        let get = |slot: &usize| self.event.get(*slot);
        term.value(self.buffers, &get, &mut |value| result = body(value));
        result
    }
}

fn each(candidates: Candidates, value: Value<'_>, fits: impl Fn(Value<'_>) -> bool) -> bool {
    match (candidates, value) {
        (Candidates::Any, Value::List(list)) => list.iter().any(fits),
        (Candidates::All, Value::List(list)) => list.iter().all(fits),
        (Candidates::Whole | Candidates::Any | Candidates::All, value) => fits(value),
    }
}
