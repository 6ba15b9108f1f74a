//! Compiled rules, and how an event runs through them.
//!
//! An event meets only the rules that want its type, in a form that was simplified for that type.
//! Fields are fetched when a test wants them, once; the equality tests of a field share one look-up
//! of its value among all the texts that rules compare it with; and what several rules have in
//! common is worked out once.

use std::cell::Cell;
use std::sync::Arc;

use lanner_plugin::{Buffers, CachedEvent, Event, FieldCache, Term, Value};

use crate::ast::Op;
use crate::matcher::{Matcher, compare};
use crate::texts::TextSet;

/// What to do with a value that is a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Candidates {
    /// Hand it to the matcher as it is.
    Whole,
    /// One element must fit.
    Any,
    /// Every element must fit, and there must be one.
    All,
}

/// A condition, ready to run; parts of it are places in [`Program::nodes`].
#[derive(Debug)]
pub(crate) enum Code {
    Const(bool),
    Not(u32),
    And(Box<[u32]>),
    Or(Box<[u32]>),
    Test(Test),
    /// Worked out once for each event: the place in [`Program::remembered`], and what it is.
    Once(usize, u32),
}

/// A comparison.
#[derive(Debug)]
pub(crate) enum Test {
    /// The value of a source is one of the texts whose bits are set, or (`negated`) is a text and
    /// none of them.
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

/// Where a value comes from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) from: From,
    /// The texts that it is tested for equality with.
    pub(crate) symbols: TextSet,
    /// The event, and what its value was among them.
    pub(crate) symbol: Cell<(u32, Symbol)>,
}

/// A field of the event, by its slot in the cache, or something made from fields.
#[derive(Debug)]
pub(crate) enum From {
    Slot(usize),
    Term(Term<usize>),
}

/// What a value is among the texts of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Symbol {
    /// Missing, or no text.
    None,
    /// A text, but none of them.
    Other,
    /// The one of this number.
    Known(u32),
}

/// All rules, sorted by the event types that they can match.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) nodes: Vec<Code>,
    pub(crate) sources: Vec<Source>,
    /// For each event type: rules and their conditions, in load order.
    pub(crate) buckets: Vec<Box<[(u32, u32)]>>,
    /// The same for types beyond the buckets.
    pub(crate) others: Box<[(u32, u32)]>,
    pub(crate) fields: FieldCache,
    pub(crate) buffers: Buffers,
    /// What a node gave for the event of this generation.
    pub(crate) remembered: Vec<Cell<(u32, bool)>>,
}

struct Run<'a> {
    event: CachedEvent<'a>,
    nodes: &'a [Code],
    sources: &'a [Source],
    buffers: &'a Buffers,
    remembered: &'a [Cell<(u32, bool)>],
}

impl Program {
    /// Calls `matched` for each rule that matches, in load order, until it answers false.
    pub(crate) fn run(&mut self, event: &Event<'_>, mut matched: impl FnMut(u32) -> bool) {
        let bucket = self.buckets.get(event.event_type() as usize);
        let rules = bucket.unwrap_or(&self.others);
        if rules.is_empty() {
            return;
        }
        let event = self.fields.view(event);
        if event.generation() == 1 {
            // The generations began anew: what is remembered could look new.
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
            Code::Once(place, inner) => {
                let generation = self.event.generation();
                let (stamp, known) = self.remembered[*place].get();
                if stamp == generation {
                    return known;
                }
                let result = self.holds(*inner);
                self.remembered[*place].set((generation, result));
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
        let symbol = match &source.from {
            From::Slot(slot) => of(self.event.get(*slot)),
            From::Term(term) => self.with_term(term, of, Symbol::None),
        };
        source.symbol.set((generation, symbol));
        symbol
    }

    fn with(&self, source: usize, body: impl Fn(Value<'_>) -> bool) -> bool {
        match &self.sources[source].from {
            From::Slot(slot) => body(self.event.get(*slot)),
            From::Term(term) => self.with_term(term, body, false),
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
        (Candidates::All, Value::List(list)) => !list.is_empty() && list.iter().all(fits),
        (_, value) => fits(value),
    }
}
