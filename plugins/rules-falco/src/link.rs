//! The last step of compiling: the graph of conditions becomes a program, sorted by event type.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use lanner_plugin::{EventNeed, EventTypes, FieldCache, FieldComparison, Term};

use crate::comparisons::Collector;
use crate::compile::{KnownMatcher, ResolvedOperand};
use crate::graph::{self, Comparison, Graph, Id, Node};
use crate::matcher::Matcher;
use crate::needs::Needs;
use crate::program::{Candidates, Code, Fetch, Program, Symbol, Test, ValueSource};
use crate::text_matcher::{TextMatcher, TextRelation};
use crate::texts::TextSet;
use crate::types::TypeSet;

/// Event types beyond this number share one bucket. The host has fewer.
const MAX_TYPES: u32 = 65_535;

/// The result of the compiler.
pub(crate) struct CompiledRules {
    pub(crate) graph: Graph,
    /// For each rule; none if it never matches.
    pub(crate) conditions: Vec<Option<Id>>,
    pub(crate) operands: Vec<ResolvedOperand>,
    pub(crate) matchers: Vec<KnownMatcher>,
    pub(crate) rule_types: Vec<TypeSet>,
    pub(crate) type_names: BTreeMap<u32, String>,
}

/// The linked program.
pub(crate) struct Linked {
    pub(crate) program: Program,
    /// The event types that all rules together need.
    pub(crate) wanted: EventTypes,
    /// The event types that each rule needs.
    pub(crate) rule_types: Vec<EventTypes>,
    /// The fields that the rules compare with constants.
    pub(crate) comparisons: Vec<FieldComparison>,
    /// What events of a type must fulfil so that a rule can match.
    pub(crate) needs: Vec<EventNeed>,
}

/// Links the rules into a program.
pub(crate) fn link(rules: CompiledRules) -> Linked {
    let CompiledRules {
        mut graph,
        conditions,
        operands,
        matchers,
        rule_types,
        type_names,
    } = rules;
    // This includes types that a condition names without being limited to them: the condition differs for them.
    let mentioned: BTreeSet<u32> = type_names.keys().copied().collect();

    // A number that no rule mentions represents all other types.
    let unknown = u32::MAX;
    let mut bucket = |event_type| bucket(&mut graph, &conditions, &rule_types, event_type);
    let others = bucket(unknown);
    let end = mentioned
        .last()
        .map_or(0, |last| (*last).min(MAX_TYPES) + 1);
    let buckets: Vec<Bucket> = (0..end)
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

    let mut finder = Needs::new(&graph, &operands, &matchers);
    let needs = type_names.iter().flat_map(|(number, name)| {
        let rules = buckets.get(*number as usize).map_or(&[][..], Vec::as_slice);
        finder.of_type(name, rules.iter().map(|(_, id)| *id))
    });
    let needs = needs.collect();
    let mut linker = Linker::new(&graph, &operands, &matchers);
    let roots = buckets.iter().chain([&others]).flatten();
    linker.count(roots.map(|(_, id)| *id));
    let mut emit = |rules: &[(u32, Id)]| -> Box<[(u32, u32)]> {
        let emitted = rules.iter().map(|(rule, id)| (*rule, linker.emit(*id)));
        emitted.collect()
    };
    let buckets = buckets.iter().map(|rules| emit(rules)).collect();
    let others = emit(&others);
    let comparisons = linker.comparisons();
    let mut program = linker.finish();
    program.buckets = buckets;
    program.others = others;
    Linked {
        program,
        wanted,
        rule_types,
        comparisons,
        needs,
    }
}

/// The rules that events of one type can match: their numbers, and what is left of their conditions.
type Bucket = Vec<(u32, Id)>;

/// The rules that events of this type can match.
fn bucket(
    graph: &mut Graph,
    conditions: &[Option<Id>],
    rule_types: &[TypeSet],
    event_type: u32,
) -> Bucket {
    let mut done = HashMap::new();
    let mut rules = Vec::new();
    for (at, types) in rule_types.iter().enumerate() {
        let condition = conditions.get(at).copied().flatten();
        let Some(condition) = condition.filter(|_| types.contains(event_type)) else {
            continue;
        };
        let condition = graph.for_type(condition, event_type, &mut done);
        if *graph.node(condition) != Node::Const(false) {
            rules.push((u32::try_from(at).unwrap_or(u32::MAX), condition));
        }
    }
    rules
}

struct Linker<'a> {
    graph: &'a Graph,
    operands: &'a [ResolvedOperand],
    matchers: &'a [KnownMatcher],
    /// For each operand: the texts that it is tested for equality with.
    symbols: Vec<TextSet>,
    /// How many nodes and rules use a node. It has every node that a rule needs.
    uses: HashMap<Id, u32>,
    /// The index in the program of each node that was emitted.
    emitted: HashMap<Id, u32>,
    nodes: Vec<Code>,
    remembered: usize,
}

impl<'a> Linker<'a> {
    fn new(
        graph: &'a Graph,
        operands: &'a [ResolvedOperand],
        matchers: &'a [KnownMatcher],
    ) -> Self {
        Self {
            graph,
            operands,
            matchers,
            symbols: Vec::new(),
            uses: HashMap::new(),
            emitted: HashMap::new(),
            nodes: Vec::new(),
            remembered: 0,
        }
    }

    /// The comparisons of fields with constants in all nodes that a rule needs.
    fn comparisons(&self) -> Vec<FieldComparison> {
        let mut collector = Collector::new(self.operands, self.matchers);
        for id in self.uses.keys() {
            match self.graph.node(*id) {
                Node::Test(test) => collector.add(test),
                Node::Const(_) | Node::EventType(_) | Node::Not(_) | Node::And(_) | Node::Or(_) => {
                }
            }
        }
        collector.finish()
    }

    /// Counts uses, and collects the texts of equality tests.
    fn count(&mut self, roots: impl Iterator<Item = Id>) {
        let mut texts: Vec<BTreeSet<Box<[u8]>>> = vec![BTreeSet::new(); self.operands.len()];
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
                Node::Test(test) => match &test.comparison {
                    Comparison::Texts(TextRelation::Equal, some)
                        if test.candidates == Candidates::Whole =>
                    {
                        texts[test.source].extend(some.iter().cloned());
                    }
                    Comparison::NotText(text) if test.candidates == Candidates::Whole => {
                        texts[test.source].insert(text.clone());
                    }
                    Comparison::Texts(..)
                    | Comparison::NotText(_)
                    | Comparison::Matcher(_)
                    | Comparison::Source(..) => {}
                },
                Node::Const(_) | Node::EventType(_) => {}
            }
        }
        self.symbols = texts.into_iter().map(TextSet::new).collect();
    }

    /// Puts a node into the program, unless it is there, and returns its index.
    fn emit(&mut self, id: Id) -> u32 {
        if let Some(at) = self.emitted.get(&id) {
            return *at;
        }
        let code = match self.graph.node(id) {
            Node::Const(value) => Code::Const(*value),
            // The graph for one event type has no such node any more.
            Node::EventType(_) => Code::Const(false),
            Node::Not(inner) => Code::Not(self.emit(*inner)),
            Node::And(terms) => Code::And(terms.iter().map(|term| self.emit(*term)).collect()),
            Node::Or(terms) => Code::Or(terms.iter().map(|term| self.emit(*term)).collect()),
            Node::Test(test) => Code::Test(self.test(test)),
        };
        // The symbol of a source is remembered anyway, and a negation costs nothing.
        let cheap = matches!(
            code,
            Code::Const(_) | Code::Not(_) | Code::Test(Test::Symbol { .. })
        );
        let mut at = self.push(code);
        if !cheap && self.uses.get(&id).is_some_and(|uses| *uses > 1) {
            at = self.push(Code::Once(self.remembered, at));
            self.remembered += 1;
        }
        self.emitted.insert(id, at);
        at
    }

    fn push(&mut self, code: Code) -> u32 {
        self.nodes.push(code);
        u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
    }

    fn test(&self, test: &graph::Test) -> Test {
        let source = test.source;
        if test.candidates == Candidates::Whole {
            match &test.comparison {
                Comparison::Texts(TextRelation::Equal, texts) => {
                    return self.symbol(source, texts, false);
                }
                Comparison::NotText(text) => {
                    return self.symbol(source, std::slice::from_ref(text), true);
                }
                Comparison::Texts(..) | Comparison::Matcher(_) | Comparison::Source(..) => {}
            }
        }
        let matcher = match &test.comparison {
            Comparison::Texts(relation, texts) => Arc::new(Matcher::Text(relation.matcher(texts))),
            Comparison::NotText(text) => {
                let set = TextSet::new([text.clone()]);
                Arc::new(Matcher::NotText(TextMatcher::In(set)))
            }
            Comparison::Matcher(at) => Arc::clone(&self.matchers[*at].matcher),
            Comparison::Source(op, right) => {
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
            .operands
            .iter()
            .zip(self.symbols)
            .map(|(operand, symbols)| {
                let Ok(term) = operand.term.try_map(&mut slot);
                ValueSource {
                    fetch: match term {
                        Term::Field(slot) => Fetch::Slot(slot),
                        term @ (Term::Text(_) | Term::List(_) | Term::Call(..)) => {
                            Fetch::Term(term)
                        }
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
