//! Compiles conditions into the graph: looks up names, fills in macros and lists, checks types.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use lanner_plugin::{FieldKind, Relation, ResolvedField, RuleRequest, Term, UnknownName};

use crate::ast::{Check, Expr, FieldRef, Operand, Right, Word};
use crate::checks::{self, Checked};
use crate::graph::{Comparison, Graph, Id, Test};
use crate::items::Items;
use crate::link;
use crate::matcher::Matcher;
use crate::operators::Op;
use crate::parse::{ConditionText, condition};
use crate::program::Candidates;
use crate::source::{Place, Problem, code};
use crate::types::TypeSet;

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

/// The depth limit of conditions with macros filled in, and of lists in lists.
const MAX_DEPTH: usize = 400;

/// A compiled condition and the event types that it, and its opposite, can match.
#[derive(Clone)]
struct Compiled {
    node: Id,
    types: TypeSet,
    opposite: TypeSet,
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
    names: &'a N,
    items: &'a Items,
    graph: Graph,
    /// The condition of each rule; none for one that never matches.
    conditions: Vec<Option<Id>>,
    operands: Vec<ResolvedOperand>,
    operand_indices: HashMap<Term<u32>, usize>,
    matchers: Vec<KnownMatcher>,
    matcher_indices: HashMap<String, usize>,
    macros: HashMap<String, MacroState>,
    /// Macros and lists that rules use.
    used_names: BTreeSet<String>,
    rule_types: Vec<TypeSet>,
    type_names: BTreeMap<u32, String>,
    /// Notes on conditions.
    pub(crate) notes: Vec<Problem>,
    depth: usize,
    /// The number of the item that is being compiled, among the items of all files.
    order: usize,
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
            used_names: BTreeSet::new(),
            rule_types: Vec::new(),
            type_names: BTreeMap::new(),
            notes: Vec::new(),
            depth: 0,
            order: 0,
        }
    }

    /// Adds the next rule. Returns whether its condition names the event types that it needs.
    pub(crate) fn rule(
        &mut self,
        text: &ConditionText,
        exceptions: Vec<Expr>,
        enabled: bool,
    ) -> Result<bool, Problem> {
        let mut expr = condition(text)?;
        if !exceptions.is_empty() {
            expr = Expr::And(vec![expr, Expr::Not(Box::new(Expr::Or(exceptions)))]);
        }
        let compiled = self.expr(&expr)?;
        let specific = compiled.types.finite().is_some();
        self.conditions.push(enabled.then_some(compiled.node));
        self.rule_types.push(compiled.types);
        Ok(specific)
    }

    /// Sets the number, among the items of all files, of the item whose condition is compiled next.
    pub(crate) fn begin_rule(&mut self, order: usize) {
        self.order = order;
    }

    /// Adds a rule that never matches, so that later rules keep their numbers.
    pub(crate) fn no_rule(&mut self) {
        self.conditions.push(None);
        self.rule_types.push(TypeSet::none());
    }

    /// Compiles a macro that no rule uses, to find its faults.
    pub(crate) fn check_macro(&mut self, name: &str, place: &Place) -> Result<(), Problem> {
        self.shared(name, place).map(|_| ())
    }

    /// Records the macros and lists of a rule that is not compiled.
    pub(crate) fn note_used(&mut self, names: BTreeSet<String>) {
        self.used_names.extend(names);
    }

    /// Whether a rule so far uses this macro.
    pub(crate) fn used_macro(&self, name: &str) -> bool {
        self.macros.contains_key(name) || self.used_names.contains(name)
    }

    /// Whether a rule so far uses this list.
    pub(crate) fn used_list(&self, name: &str) -> bool {
        self.used_names.contains(name)
    }

    /// Looks up a field.
    pub(crate) fn field(&self, field: &FieldRef) -> Result<ResolvedField, Problem> {
        let found = self.names.field(&field.name, field.arg.as_deref());
        found.map_err(|UnknownName { reason }| {
            let mut problem = Problem::new(&field.place, format!("there is no field `{field}`"))
                .code(code::FILTER);
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

    fn term_type(&self, term: &Term<FieldRef>, place: &Place) -> Result<ResolvedField, Problem> {
        match term {
            Term::Field(field) => self.field(field),
            Term::Text(_) => Ok(ResolvedField::new(0, FieldKind::String)),
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
            Term::Field(_) | Term::Text(_) if operand.field.any || operand.field.list => 15.0,
            Term::Field(_) | Term::Text(_) => 0.0,
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
                })
            }
            Expr::Not(inner) => {
                let inner = self.expr(inner)?;
                Ok(Compiled {
                    node: self.graph.not(inner.node),
                    types: inner.opposite,
                    opposite: inner.types,
                })
            }
            Expr::Macro(word) => self.shared(&word.text, &word.place),
            Expr::Check(check) => self.check(check),
        }
    }

    fn terms(&mut self, terms: &[Expr]) -> Result<Vec<Compiled>, Problem> {
        terms.iter().map(|term| self.expr(term)).collect()
    }

    fn shared(&mut self, name: &str, place: &Place) -> Result<Compiled, Problem> {
        match self.macros.get(name) {
            Some(MacroState::Done(result)) => return result.clone(),
            Some(MacroState::Open) => {
                return Err(
                    Problem::new(place, format!("the macro `{name}` contains itself"))
                        .code(code::CONDITION),
                );
            }
            None => {}
        }
        let items = self.items;
        let Some(known) = items.macros.get(name) else {
            let problem =
                Problem::new(place, format!("there is no macro `{name}`")).code(code::CONDITION);
            return Err(if items.lists.contains_key(name) {
                problem.help("it is a list; use it as `field in (list)`")
            } else {
                problem.nearest(name, items.macros.keys().map(String::as_str))
            });
        };
        if self.depth > MAX_DEPTH {
            let message = "macros are nested too deeply here";
            return Err(Problem::new(place, message).code(code::CONDITION));
        }
        if known.order > self.order {
            let message = format!("the macro `{name}` is defined only later");
            let problem = Problem::note(code::ORDER, place, message);
            self.notes
                .push(problem.help("Falco would not find it; define it before its first use"));
        }
        self.macros.insert(name.to_owned(), MacroState::Open);
        let around = std::mem::replace(&mut self.order, known.order);
        let result = condition(&known.condition).and_then(|expr| self.expr(&expr));
        self.order = around;
        let done = MacroState::Done(result.clone());
        self.macros.insert(name.to_owned(), done);
        result
    }

    fn check(&mut self, check: &Check) -> Result<Compiled, Problem> {
        let values = match &check.right {
            Right::Operand(right) => return self.check_with(check, right),
            Right::Values(values) => values,
        };
        let expanded;
        let values = if check.op.takes_list() || check.quantifier.is_some() {
            expanded = self.expand(values)?;
            &expanded
        } else {
            expanded = self.single(check, values)?;
            &expanded
        };
        self.note_missing(check, values);
        self.warn_of_direction(check);
        if check.is_event_type() {
            return self.event_type(values, check.op == Op::Ne);
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
        Ok(self.test(source, check.op.candidates(&field), comparison))
    }

    /// `field op val(field)`
    fn check_with(&mut self, check: &Check, right: &Operand) -> Result<Compiled, Problem> {
        let left = self.operand(&check.left)?;
        let value = self.operand(right)?;
        checks::suit_each_other(check, &left.field, &value.field, &right.place)?;
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
        }
    }

    /// The constant of an operator that takes one. The name of a list with one element stands for the element.
    fn single(&mut self, check: &Check, values: &[Word]) -> Result<Vec<Word>, Problem> {
        let Some(word) = values.first().filter(|word| !word.quoted) else {
            return Ok(values.to_vec());
        };
        if !self.items.lists.contains_key(&word.text) {
            return Ok(values.to_vec());
        }
        let elements = self.expand(values)?;
        if elements.len() == 1 {
            return Ok(elements);
        }
        let message = format!(
            "`{}` is a list of {} elements, and `{}` compares with one value",
            word.text,
            elements.len(),
            check.op.name()
        );
        let help = format!(
            "write `{} in ({})`, or put quotes around it if you mean a text",
            check.left, word.text
        );
        Err(Problem::new(&word.place, message)
            .code(code::CONDITION)
            .help(help))
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

    /// Warns about `evt.dir`, the only deprecated field of Falco that lanner has.
    fn warn_of_direction(&mut self, check: &Check) {
        if let Term::Field(field) = &check.left.term
            && field.name == "evt.dir"
        {
            let message = "`evt.dir` is deprecated: events are those of calls that have returned";
            let problem = Problem::warning(code::DEPRECATED, &field.place, message);
            self.notes.push(problem.help("leave this check out"));
        }
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
        }
    }

    /// Looks up the number of an event type.
    pub(crate) fn type_number(&self, word: &Word) -> Result<u32, Problem> {
        self.names
            .event_type(&word.text)
            .map_err(|UnknownName { reason }| {
                let message = format!("there is no event type `{}`", word.text);
                let mut problem = Problem::new(&word.place, message).code(code::FILTER);
                problem.missing = Some(word.text.as_str().into());
                explain_unknown(problem, &reason, "`lanner syscalls` lists them")
            })
    }

    fn event_type(&mut self, values: &[Word], negated: bool) -> Result<Compiled, Problem> {
        let mut types = Vec::new();
        for value in values {
            let number = self.type_number(value)?;
            self.type_names.insert(number, value.text.clone());
            types.push(number);
        }
        let set = TypeSet::only(types.iter().copied());
        let opposite = set.clone().invert();
        let node = self.graph.event_type(types);
        Ok(if negated {
            Compiled {
                node: self.graph.not(node),
                types: opposite,
                opposite: set,
            }
        } else {
            Compiled {
                node,
                types: set,
                opposite,
            }
        })
    }

    /// Replaces the names of lists by their elements.
    fn expand(&mut self, values: &[Word]) -> Result<Vec<Word>, Problem> {
        let mut out = Vec::new();
        let mut seen = BTreeSet::new();
        for value in values {
            self.expand_word(value, &mut out, &mut seen, &mut Vec::new())?;
        }
        Ok(out)
    }

    fn expand_word(
        &mut self,
        word: &Word,
        out: &mut Vec<Word>,
        seen: &mut BTreeSet<String>,
        path: &mut Vec<String>,
    ) -> Result<(), Problem> {
        let items = self.items;
        let list = (!word.quoted)
            .then(|| items.lists.get(&word.text))
            .flatten();
        let Some(list) = list else {
            out.push(word.clone());
            return Ok(());
        };
        self.used_names.insert(word.text.clone());
        if path.len() > MAX_DEPTH || path.contains(&word.text) {
            let message = format!("the list `{}` contains itself", word.text);
            return Err(Problem::new(&word.place, message).code(code::CONDITION));
        }
        // Each list is needed only once.
        if !seen.insert(word.text.clone()) {
            return Ok(());
        }
        path.push(word.text.clone());
        for element in &list.words {
            self.expand_word(element, out, seen, path)?;
        }
        path.pop();
        Ok(())
    }
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
