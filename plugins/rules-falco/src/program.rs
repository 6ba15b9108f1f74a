//! Compiled rules, and how an event runs through them.

use std::cell::Cell;

use lanner_plugin::{CachedEvent, Event, FieldCache, Value};

use crate::matcher::Matcher;

/// A condition, ready to run.
#[derive(Debug)]
pub(crate) enum Node {
    Const(bool),
    Not(Box<Node>),
    And(Box<[Node]>),
    Or(Box<[Node]>),
    /// `evt.type` is, or is not, one of these.
    EventType {
        types: Box<[u32]>,
        negated: bool,
    },
    Test {
        /// Where the cache has the field.
        slot: usize,
        candidates: Candidates,
        matcher: Matcher,
    },
    /// A macro, by its place in [`Program::macros`].
    Macro(usize),
}

/// What to do with a value that is a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidates {
    /// Hand it to the matcher as it is.
    Whole,
    /// One element must fit.
    Any,
    /// Every element must fit, and there must be one.
    All,
}

/// All rules, sorted by the event types that they can match.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) conditions: Vec<Node>,
    pub(crate) macros: Vec<Node>,
    /// Rules to try for each event type, in load order.
    pub(crate) buckets: Vec<Box<[u32]>>,
    /// Rules to try for types beyond the buckets.
    pub(crate) others: Box<[u32]>,
    pub(crate) fields: FieldCache,
    /// What each macro gave for the event of this generation.
    pub(crate) remembered: Vec<Cell<(u32, bool)>>,
}

struct Run<'a> {
    event: CachedEvent<'a>,
    macros: &'a [Node],
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
        }
        let run = Run {
            event,
            macros: &self.macros,
            remembered: &self.remembered,
        };
        for rule in rules {
            if run.holds(&self.conditions[*rule as usize]) && !matched(*rule) {
                return;
            }
        }
    }
}

impl Run<'_> {
    fn holds(&self, node: &Node) -> bool {
        match node {
            Node::Const(value) => *value,
            Node::Not(inner) => !self.holds(inner),
            Node::And(terms) => terms.iter().all(|term| self.holds(term)),
            Node::Or(terms) => terms.iter().any(|term| self.holds(term)),
            Node::EventType { types, negated } => {
                types.contains(&self.event.event().event_type()) != *negated
            }
            Node::Test {
                slot,
                candidates,
                matcher,
            } => {
                let value = self.event.get(*slot);
                match (candidates, value) {
                    (Candidates::Any, Value::List(list)) => {
                        list.iter().any(|value| matcher.matches(value))
                    }
                    (Candidates::All, Value::List(list)) => {
                        !list.is_empty() && list.iter().all(|value| matcher.matches(value))
                    }
                    (_, value) => matcher.matches(value),
                }
            }
            Node::Macro(index) => {
                let generation = self.event.generation();
                let (stamp, known) = self.remembered[*index].get();
                if stamp == generation {
                    return known;
                }
                let result = self.holds(&self.macros[*index]);
                self.remembered[*index].set((generation, result));
                result
            }
        }
    }
}
