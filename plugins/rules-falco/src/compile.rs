//! Compiles conditions into the graph: looks up names, fills in macros and lists, checks types.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use lanner_plugin::{FieldKind, Relation, ResolvedField, RuleRequest, Severity, Term, UnknownName};

use crate::around;
use crate::ast::{Check, Expr, FieldRef, Operand, Right, Word};
use crate::checks::{self, Checked};
use crate::graph::{Comparison, Graph, Id, Test};
use crate::hints;
use crate::items::{Items, Macro};
use crate::link;
use crate::lists::Lists;
use crate::matcher::Matcher;
use crate::narrow;
use crate::numbers::without_blanks;
use crate::operands;
use crate::operators::Op;
use crate::parse::condition;
use crate::program::Candidates;
use crate::source::{Location, Problem, code};
use crate::text::Composed;
use crate::types::TypeSet;

#[path = "compile_macros.rs"]
mod macros;

/// Looks up names: the host, or a table of a test.
pub(crate) trait Names {
    fn field(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, UnknownName>;
    fn event_type(&self, name: &str) -> Result<u32, UnknownName>;
}

impl Names for RuleRequest<'_> {
    fn field(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, UnknownName> {
        self.field(name, arg)
    }

    fn event_type(&self, name: &str) -> Result<u32, UnknownName> {
        self.event_type(name)
    }
}

/// The depth limit of conditions with macros filled in.
const MAX_DEPTH: usize = 400;

/// A condition that can match more event types than this is slow. Falco counts the entry and the exit of a call, up to 100.
const MAX_TYPES: usize = 50;

/// A compiled condition and the event types that it, and its opposite, can match.
#[derive(Clone)]
struct Compiled {
    node: Id,
    types: TypeSet,
    opposite: TypeSet,
    /// What `evt.num`, which is at least 1, decides about it, as in the macro `never_true: evt.num=0`.
    known: Option<bool>,
}

enum MacroState {
    /// Being compiled. A use of it now is a cycle.
    Open,
    Done(Result<Compiled, Problem>),
}

/// An operand with its fields looked up. The program gets one source for each different one.
#[derive(Debug)]
pub(crate) struct ResolvedOperand {
    pub(crate) term: Term<u32>,
    pub(crate) field: ResolvedField,
    /// The names of its fields, in the order of [`Term::fields`].
    pub(crate) names: Vec<String>,
}

/// A matcher, and how to report its comparison to the host.
#[derive(Debug)]
pub(crate) struct KnownMatcher {
    pub(crate) matcher: Arc<Matcher>,
    pub(crate) relation: Relation,
    pub(crate) constants: Vec<String>,
}

/// Compiles rules one by one into a program.
pub(crate) struct Compiler<'a, N> {
    pub(crate) names: &'a N,
    items: &'a Items,
    graph: Graph,
    /// The condition of each rule; none for one that never matches.
    conditions: Vec<Option<Id>>,
    operands: Vec<ResolvedOperand>,
    operand_indices: HashMap<Term<u32>, usize>,
    matchers: Vec<KnownMatcher>,
    matcher_indices: HashMap<String, usize>,
    macros: HashMap<String, MacroState>,
    /// Macros that no rule uses, and that were checked.
    checked: BTreeSet<&'a str>,
    pub(crate) lists: Lists<'a>,
    /// Macros and lists that rules use.
    used_names: BTreeSet<String>,
    rule_types: Vec<TypeSet>,
    type_names: BTreeMap<u32, String>,
    /// Notes on conditions.
    pub(crate) notes: Vec<Problem>,
    depth: usize,
    /// The macro that is being compiled.
    inside: Option<&'a Macro>,
}

impl<'a, N: Names> Compiler<'a, N> {
    pub(crate) fn new(names: &'a N, items: &'a Items) -> Self {
        Self {
            names,
            items,
            graph: Graph::default(),
            conditions: Vec::new(),
            operands: Vec::new(),
            operand_indices: HashMap::new(),
            matchers: Vec::new(),
            matcher_indices: HashMap::new(),
            macros: HashMap::new(),
            checked: BTreeSet::new(),
            lists: Lists::new(items),
            used_names: BTreeSet::new(),
            rule_types: Vec::new(),
            type_names: BTreeMap::new(),
            notes: Vec::new(),
            depth: 0,
            inside: None,
        }
    }

    /// Adds the next rule. Returns whether its condition names the event types that it needs.
    pub(crate) fn rule(&mut self, text: &Composed, enabled: bool) -> Result<bool, Problem> {
        self.inside = None;
        let expr = self.parse(text)?;
        let compiled = self.expr(&expr)?;
        let few = |types: &BTreeSet<u32>| types.len() <= MAX_TYPES;
        let specific = compiled.types.finite().is_some_and(few) || compiled.known == Some(false);
        self.conditions.push(enabled.then_some(compiled.node));
        self.rule_types.push(compiled.types);
        Ok(specific)
    }

    /// Fills lists into a condition and parses it.
    fn parse(&mut self, text: &Composed) -> Result<Expr, Problem> {
        let text = self
            .lists
            .fill_in(text.clone(), &mut self.used_names, &mut self.notes)?;
        condition(&text, &mut self.notes)
    }

    /// Adds a rule that never matches, so that later rules keep their numbers.
    pub(crate) fn no_rule(&mut self) {
        self.conditions.push(None);
        self.rule_types.push(TypeSet::none());
    }

    /// Records the macros and lists of a rule that is not compiled.
    pub(crate) fn note_used(&mut self, names: BTreeSet<String>) {
        self.used_names.extend(names);
    }

    /// Whether a rule so far uses this macro.
    pub(crate) fn used_macro(&self, name: &str) -> bool {
        self.macros.contains_key(name) || self.used_names.contains(name)
    }

    /// Looks up a field.
    pub(crate) fn field(&self, field: &FieldRef) -> Result<ResolvedField, Problem> {
        let found = self.names.field(&field.name, field.arg.as_deref());
        found.map_err(|UnknownName { reason }| {
            let mut problem = Problem::new(&field.place, format!("there is no field `{field}`"))
                .code(code::CONDITION);
            problem.missing = Some(field.to_string().into());
            explain_unknown(problem, &reason, "`lanner fields` lists the fields")
        })
    }

    /// Looks up the fields of an operand and checks its transformers.
    pub(crate) fn operand(&self, operand: &Operand) -> Result<ResolvedOperand, Problem> {
        let mut names = Vec::new();
        let term = operand.term.try_map(&mut |field: &FieldRef| {
            names.push(field.to_string());
            self.field(field).map(|found| found.id)
        })?;
        Ok(ResolvedOperand {
            term,
            field: self.term_type(&operand.term, &operand.place)?,
            names,
        })
    }

    fn term_type(&self, term: &Term<FieldRef>, place: &Location) -> Result<ResolvedField, Problem> {
        match term {
            Term::Field(field) => self.field(field),
            Term::Text(_) => Ok(ResolvedField::new(0, FieldKind::String)),
            Term::List(elements) => {
                for element in elements {
                    let found = self.term_type(element, place)?;
                    if found.any || found.list || found.kind == FieldKind::Any {
                        let message = "an element of a list has one value";
                        return Err(Problem::new(place, message).code(code::CONDITION));
                    }
                }
                Ok(ResolvedField::new(0, FieldKind::String).list())
            }
            Term::Call(transformer, args, option) => {
                let mut types = Vec::with_capacity(args.len());
                for arg in args {
                    types.push(self.term_type(arg, place)?);
                }
                transformer
                    .result(&types, option.is_some())
                    .map_err(|error| Problem::new(place, error.to_string()).code(code::CONDITION))
            }
        }
    }

    /// The index of an operand among the sources. Equal operands have the same index.
    fn source(&mut self, operand: ResolvedOperand) -> usize {
        if let Some(at) = self.operand_indices.get(&operand.term) {
            return *at;
        }
        let at = self.operands.len();
        self.graph.source_costs.push(match &operand.term {
            Term::Call(..) => 20.0,
            Term::Field(_) | Term::Text(_) | Term::List(_)
                if operand.field.any || operand.field.list =>
            {
                15.0
            }
            Term::Field(_) | Term::Text(_) | Term::List(_) => 0.0,
        });
        self.operand_indices.insert(operand.term.clone(), at);
        self.operands.push(operand);
        at
    }

    /// The rules, sorted by event type.
    pub(crate) fn finish(self) -> link::Linked {
        link::link(link::CompiledRules {
            graph: self.graph,
            conditions: self.conditions,
            operands: self.operands,
            matchers: self.matchers,
            rule_types: self.rule_types,
            type_names: self.type_names,
        })
    }

    fn expr(&mut self, expr: &Expr) -> Result<Compiled, Problem> {
        self.depth += 1;
        let compiled = self.expr_at_depth(expr);
        self.depth -= 1;
        compiled
    }

    fn expr_at_depth(&mut self, expr: &Expr) -> Result<Compiled, Problem> {
        match expr {
            Expr::Or(terms) => {
                let terms = self.terms(terms)?;
                let ids: Vec<Id> = terms.iter().map(|term| term.node).collect();
                let start = (TypeSet::none(), TypeSet::all());
                let (types, opposite) = terms.iter().fold(start, |(types, opposite), term| {
                    let types = types.unite(&term.types);
                    (types, opposite.intersect(&term.opposite))
                });
                Ok(Compiled {
                    node: self.graph.or(&ids),
                    types,
                    opposite,
                    known: known_of(&terms, true),
                })
            }
            Expr::And(terms) => {
                let terms = self.terms(terms)?;
                let ids: Vec<Id> = terms.iter().map(|term| term.node).collect();
                let start = (TypeSet::all(), TypeSet::none());
                let (types, opposite) = terms.iter().fold(start, |(types, opposite), term| {
                    let types = types.intersect(&term.types);
                    (types, opposite.unite(&term.opposite))
                });
                Ok(Compiled {
                    node: self.graph.and(&ids),
                    types,
                    opposite,
                    known: known_of(&terms, false),
                })
            }
            Expr::Not(inner) => {
                let inner = self.expr(inner)?;
                Ok(Compiled {
                    node: self.graph.not(inner.node),
                    types: inner.opposite,
                    opposite: inner.types,
                    known: inner.known.map(|known| !known),
                })
            }
            Expr::Macro(word) => self.shared(&word.text, &word.place),
            Expr::Check(check) => self.check(check),
        }
    }

    fn terms(&mut self, terms: &[Expr]) -> Result<Vec<Compiled>, Problem> {
        terms.iter().map(|term| self.expr(term)).collect()
    }

    fn check(&mut self, check: &Check) -> Result<Compiled, Problem> {
        let values = match &check.right {
            Right::Operand(right) => return self.check_with(check, right),
            Right::Values(values) => values,
        };
        if let Some(expr) = around::expand(check, values)? {
            return self.expr(&expr);
        }
        self.note_missing(check, values);
        self.note_fields(&check.left);
        for word in values {
            let known = |name: &str, arg: Option<&str>| self.names.field(name, arg).is_ok();
            self.notes.extend(hints::of_value(check.op, word, known));
        }
        if check.is_event_type() {
            return self.event_type(check, values);
        }
        // Events are ends of calls only, as in Falco since its engine 0.58.
        if matches!(check.op, Op::Eq | Op::Ne | Op::In)
            && check
                .left
                .plain()
                .is_some_and(|field| field.name == "evt.dir")
        {
            let found = values.iter().any(|value| value.text == "<");
            return Ok(self.constant(found != (check.op == Op::Ne)));
        }
        let left = self.operand(&check.left)?;
        let field = left.field;
        self.notes.extend(narrow::notes(check, values, &field));
        let numbers = self.falco_numbers(check, values, &field);
        let values = numbers.as_deref().unwrap_or(values);
        let comparison = match checks::comparison(check, values, &field)? {
            Checked::Joinable(comparison) => comparison,
            Checked::Matcher(matcher) => {
                let constants: Vec<_> = values.iter().map(|word| word.text.clone()).collect();
                let key = format!(
                    "{:?} {:?} {:?} {constants:?}",
                    check.op, check.quantifier, field.kind
                );
                let matcher = KnownMatcher {
                    matcher: Arc::new(matcher),
                    relation: check.op.relation(),
                    constants,
                };
                Comparison::Matcher(self.matcher(key, matcher))
            }
        };
        let source = self.source(left);
        let compiled = self.test(source, check.op.candidates(&field), comparison);
        Ok(Compiled {
            known: hints::decided_by_number(check, values),
            ..compiled
        })
    }

    /// The values with numbers as Falco reads them: names of services are their ports, and a number that does not fit wraps
    /// around. None if all values are what they look like.
    fn falco_numbers(
        &mut self,
        check: &Check,
        values: &[Word],
        field: &ResolvedField,
    ) -> Option<Vec<Word>> {
        let read: Vec<_> = values
            .iter()
            .map(|word| narrow::number(check, &word.text, field))
            .collect();
        if read.iter().all(Option::is_none) {
            return None;
        }
        let mut replaced = Vec::new();
        for (word, read) in values.iter().zip(read) {
            let text = read.unwrap_or_else(|| word.text.clone());
            let number = without_blanks(&word.text);
            if number.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)) {
                let message = format!(
                    "`{}` does not fit this field, and becomes {text}",
                    word.text
                );
                if text != number {
                    self.notes
                        .push(Problem::note(code::WRAPS, &word.place, message));
                }
            }
            replaced.push(Word {
                text,
                ..word.clone()
            });
        }
        Some(replaced)
    }

    /// `field op val(field)`
    fn check_with(&mut self, check: &Check, right: &Operand) -> Result<Compiled, Problem> {
        self.note_fields(&check.left);
        self.note_fields(right);
        let left = self.operand(&check.left)?;
        let value = self.operand(right)?;
        checks::suit_each_other(check, &left.field, &value.field, &right.place)?;
        self.notes
            .extend(operands::of_comparison(self.names, check, right));
        let field = left.field;
        let (source, right) = (self.source(left), self.source(value));
        // The operator itself compares whole lists.
        let candidates = if field.list {
            Candidates::Whole
        } else {
            check.op.candidates(&field)
        };
        let comparison = Comparison::Source(check.op, right);
        Ok(self.test(source, candidates, comparison))
    }

    /// The index of a matcher. Equal comparisons, which have the same key, share one.
    fn matcher(&mut self, key: String, matcher: KnownMatcher) -> usize {
        if let Some(at) = self.matcher_indices.get(&key) {
            return *at;
        }
        let at = self.matchers.len();
        self.graph.matcher_costs.push(matcher.matcher.guess());
        self.matchers.push(matcher);
        self.matcher_indices.insert(key, at);
        at
    }

    fn test(&mut self, source: usize, candidates: Candidates, comparison: Comparison) -> Compiled {
        Compiled {
            node: self.graph.test(Test {
                source,
                candidates,
                comparison,
            }),
            types: TypeSet::all(),
            opposite: TypeSet::all(),
            known: None,
        }
    }

    /// Notes a comparison with `<NA>`, which means a missing value in outputs only.
    fn note_missing(&mut self, check: &Check, values: &[Word]) {
        if let Some(word) = values.iter().find(|word| word.text == "<NA>") {
            let message = "`<NA>` is shown for a missing field, but no value equals it";
            let help = format!("`{} exists` tests whether there is a value", check.left);
            self.notes
                .push(Problem::note(code::NA_CHECK, &word.place, message).help(help));
        }
    }

    /// Notes fields that Falco does not have, or has given up.
    fn note_fields(&mut self, operand: &Operand) {
        let (names, notes) = (self.names, &mut self.notes);
        operand.term.fields(&mut |field| {
            let known = names.field(&field.name, field.arg.as_deref()).ok();
            notes.extend(hints::of_field(field, known, code::CONDITION));
        });
        notes.extend(operands::of_operand(names, operand, code::CONDITION));
    }

    fn constant(&mut self, value: bool) -> Compiled {
        let (types, opposite) = (TypeSet::all(), TypeSet::none());
        let (types, opposite) = if value {
            (types, opposite)
        } else {
            (opposite, types)
        };
        Compiled {
            node: self.graph.constant(value),
            types,
            opposite,
            known: Some(value),
        }
    }

    /// Looks up the number of an event type.
    pub(crate) fn type_number(&self, word: &Word) -> Result<u32, Problem> {
        self.names
            .event_type(&word.text)
            .map_err(|UnknownName { reason }| {
                let message = format!("there is no event type `{}`", word.text);
                let mut problem = Problem::new(&word.place, message).code(code::CONDITION);
                problem.missing = Some(word.text.as_str().into());
                explain_unknown(problem, &reason, "`lanner syscalls` lists them")
            })
    }

    fn event_type(&mut self, check: &Check, values: &[Word]) -> Result<Compiled, Problem> {
        let negated = check.op == Op::Ne;
        let free = check.left.plain().is_some_and(|f| f.name == "syscall.type");
        let mut types = Vec::new();
        for value in values {
            match self.type_number(value) {
                Ok(number) => {
                    self.type_names.insert(number, value.text.clone());
                    types.push(number);
                }
                // As in Falco, `syscall.type` takes any text.
                Err(problem) if free => self.notes.push(Problem {
                    severity: Severity::Note,
                    missing: None,
                    ..problem.code(code::HINT)
                }),
                Err(problem) => return Err(problem),
            }
        }
        let set = TypeSet::only(types.iter().copied());
        let opposite = set.clone().invert();
        let node = self.graph.event_type(types);
        Ok(if negated {
            Compiled {
                node: self.graph.not(node),
                types: opposite,
                opposite: set,
                known: None,
            }
        } else {
            Compiled {
                node,
                types: set,
                opposite,
                known: None,
            }
        })
    }
}

/// Whether terms decide an `or` (`and`): one that is true (false) does, and so do all others.
fn known_of(terms: &[Compiled], or: bool) -> Option<bool> {
    if terms.iter().any(|term| term.known == Some(or)) {
        return Some(or);
    }
    let all = terms.iter().all(|term| term.known == Some(!or));
    all.then_some(!or)
}

/// Adds the host's reason why it does not know a name, without the part that the message already says. `without` is the
/// help if nothing is left.
fn explain_unknown(problem: Problem, reason: &str, without: &str) -> Problem {
    let more = reason.strip_prefix(&*problem.message).unwrap_or(reason);
    match more.trim_start_matches("; ") {
        "" => problem.help(without),
        more => problem.help(more),
    }
}
