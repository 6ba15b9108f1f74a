//! The last step of compiling: conditions in a graph become a program, sorted by event type.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use lanner_plugin::{EventTypes, FieldCache, Term};

use crate::checks::texts_matcher;
use crate::compile::Value;
use crate::graph::{self, Graph, How, Id, Node, Sort};
use crate::matcher::{Matcher, TextMatcher};
use crate::program::{Candidates, Code, From, Program, Source, Symbol, Test};
use crate::texts::TextSet;
use crate::types::TypeSet;

/// Event types beyond this number are not told apart; the host's are fewer.
const MAX_TYPES: u32 = 65_535;

/// What the compiler has.
pub(crate) struct Parts {
    pub(crate) graph: Graph,
    /// For each rule; none for one that never matches.
    pub(crate) conditions: Vec<Option<Id>>,
    pub(crate) values: Vec<Value>,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) rule_types: Vec<TypeSet>,
    pub(crate) type_names: BTreeMap<u32, String>,
}

/// What comes of it.
pub(crate) struct Linked {
    pub(crate) program: Program,
    /// What all rules together want.
    pub(crate) wanted: EventTypes,
    /// What each rule wants.
    pub(crate) rule_types: Vec<EventTypes>,
}

pub(crate) fn link(parts: Parts) -> Linked {
    let Parts {
        mut graph,
        conditions,
        values,
        matchers,
        rule_types,
        type_names,
    } = parts;
    let live = |at: usize| conditions.get(at).copied().flatten();
    // Also types that a condition names and that do not limit it: the condition differs for them.
    let mentioned: BTreeSet<u32> = type_names.keys().copied().collect();

    // A number that no rule mentions stands for all the others.
    let unknown = u32::MAX;
    let mut bucket = |event_type: u32| -> Vec<(u32, Id)> {
        let mut done = HashMap::new();
        let mut rules = Vec::new();
        for (at, types) in rule_types.iter().enumerate() {
            let Some(condition) = live(at).filter(|_| types.contains(event_type)) else {
                continue;
            };
            let condition = graph.for_type(condition, event_type, &mut done);
            if *graph.node(condition) != Node::Const(false) {
                rules.push((u32::try_from(at).unwrap_or(u32::MAX), condition));
            }
        }
        rules
    };
    let others = bucket(unknown);
    let end = mentioned
        .last()
        .map_or(0, |last| (*last).min(MAX_TYPES) + 1);
    let buckets: Vec<Vec<(u32, Id)>> = (0..end)
        .map(|event_type| {
            if mentioned.contains(&event_type) {
                bucket(event_type)
            } else {
                others.clone()
            }
        })
        .collect();

    let wanted = if others.is_empty() {
        let some = buckets
            .iter()
            .enumerate()
            .filter(|(_, rules)| !rules.is_empty());
        let names = some.filter_map(|(at, _)| type_names.get(&u32::try_from(at).ok()?).cloned());
        EventTypes::Only(names.collect())
    } else {
        EventTypes::All
    };
    let names_of = |types: &TypeSet| match types.finite() {
        Some(types) => {
            let names = types.iter().filter_map(|at| type_names.get(at).cloned());
            EventTypes::Only(names.collect())
        }
        None => EventTypes::All,
    };
    let rule_types = rule_types.iter().map(names_of).collect();

    let mut linker = Linker::new(&graph, values, matchers);
    let roots = buckets.iter().chain([&others]).flatten();
    linker.count(roots.map(|(_, id)| *id));
    let mut place = |rules: &[(u32, Id)]| -> Box<[(u32, u32)]> {
        let placed = rules.iter().map(|(rule, id)| (*rule, linker.place(*id)));
        placed.collect()
    };
    let buckets = buckets.iter().map(|rules| place(rules)).collect();
    let others = place(&others);
    let mut program = linker.finish();
    program.buckets = buckets;
    program.others = others;
    Linked {
        program,
        wanted,
        rule_types,
    }
}

struct Linker<'a> {
    graph: &'a Graph,
    values: Vec<Value>,
    matchers: Vec<Arc<Matcher>>,
    /// The texts that each value is tested for equality with.
    symbols: Vec<TextSet>,
    /// How many nodes need a node.
    uses: HashMap<Id, u32>,
    placed: HashMap<Id, u32>,
    nodes: Vec<Code>,
    remembered: usize,
}

impl<'a> Linker<'a> {
    fn new(graph: &'a Graph, values: Vec<Value>, matchers: Vec<Matcher>) -> Self {
        Self {
            graph,
            symbols: Vec::new(),
            uses: HashMap::new(),
            placed: HashMap::new(),
            nodes: Vec::new(),
            remembered: 0,
            matchers: matchers.into_iter().map(Arc::new).collect(),
            values,
        }
    }

    /// Counts uses, and collects the texts of equality tests.
    fn count(&mut self, roots: impl Iterator<Item = Id>) {
        let mut texts: Vec<BTreeSet<Box<[u8]>>> = vec![BTreeSet::new(); self.values.len()];
        let mut open: Vec<Id> = roots.collect();
        while let Some(id) = open.pop() {
            let uses = self.uses.entry(id).or_insert(0);
            *uses += 1;
            if *uses > 1 {
                continue;
            }
            match self.graph.node(id) {
                Node::Not(inner) => open.push(*inner),
                Node::And(terms) | Node::Or(terms) => open.extend(terms),
                Node::Test(test) => match &test.how {
                    How::Texts(Sort::Equal, some) if test.candidates == Candidates::Whole => {
                        texts[test.source].extend(some.iter().cloned());
                    }
                    How::NotText(text) if test.candidates == Candidates::Whole => {
                        texts[test.source].insert(text.clone());
                    }
                    _ => {}
                },
                Node::Const(_) | Node::EventType(_) => {}
            }
        }
        self.symbols = texts.into_iter().map(TextSet::new).collect();
    }

    /// The place of a node in the program.
    fn place(&mut self, id: Id) -> u32 {
        if let Some(at) = self.placed.get(&id) {
            return *at;
        }
        let code = match self.graph.node(id) {
            Node::Const(value) => Code::Const(*value),
            // All types were decided on the way here.
            Node::EventType(_) => Code::Const(false),
            Node::Not(inner) => Code::Not(self.place(*inner)),
            Node::And(terms) => Code::And(terms.iter().map(|term| self.place(*term)).collect()),
            Node::Or(terms) => Code::Or(terms.iter().map(|term| self.place(*term)).collect()),
            Node::Test(test) => Code::Test(self.test(test)),
        };
        // A look-up of a symbol is remembered anyway; a negation is nothing.
        let cheap = matches!(
            code,
            Code::Const(_) | Code::Not(_) | Code::Test(Test::Symbol { .. })
        );
        let mut at = self.push(code);
        if !cheap && self.uses.get(&id).is_some_and(|uses| *uses > 1) {
            at = self.push(Code::Once(self.remembered, at));
            self.remembered += 1;
        }
        self.placed.insert(id, at);
        at
    }

    fn push(&mut self, code: Code) -> u32 {
        self.nodes.push(code);
        u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
    }

    fn test(&self, test: &graph::Test) -> Test {
        let source = test.source;
        if test.candidates == Candidates::Whole {
            match &test.how {
                How::Texts(Sort::Equal, texts) => return self.symbol(source, texts, false),
                How::NotText(text) => {
                    return self.symbol(source, std::slice::from_ref(text), true);
                }
                _ => {}
            }
        }
        let matcher = match &test.how {
            How::Texts(sort, texts) => Arc::new(Matcher::Text(texts_matcher(*sort, texts))),
            How::NotText(text) => {
                let set = TextSet::new([text.clone()]);
                Arc::new(Matcher::NotText(TextMatcher::In(set)))
            }
            How::Other(at) => Arc::clone(&self.matchers[*at]),
            How::With(op, right) => {
                return Test::Compare {
                    left: source,
                    op: *op,
                    right: *right,
                    candidates: test.candidates,
                };
            }
        };
        Test::Match {
            source,
            candidates: test.candidates,
            matcher,
        }
    }

    fn symbol(&self, source: usize, texts: &[Box<[u8]>], negated: bool) -> Test {
        let symbols = &self.symbols[source];
        let mut bits = vec![0_u64; symbols.len().div_ceil(64)];
        for number in texts.iter().filter_map(|text| symbols.find(text)) {
            bits[number as usize / 64] |= 1 << (number % 64);
        }
        Test::Symbol {
            source,
            bits: bits.into(),
            negated,
        }
    }

    fn finish(self) -> Program {
        let mut fields = FieldCache::default();
        let mut slot = |id: &u32| Ok::<usize, std::convert::Infallible>(fields.slot(*id));
        let sources = self
            .values
            .iter()
            .zip(self.symbols)
            .map(|(value, symbols)| {
                let Ok(term) = value.term.try_map(&mut slot);
                Source {
                    from: match term {
                        Term::Field(slot) => From::Slot(slot),
                        term => From::Term(term),
                    },
                    symbols,
                    symbol: Cell::new((0, Symbol::None)),
                }
            })
            .collect();
        Program {
            nodes: self.nodes,
            sources,
            fields,
            remembered: (0..self.remembered)
                .map(|_| Cell::new((0, false)))
                .collect(),
            ..Program::default()
        }
    }
}
