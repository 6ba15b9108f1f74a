//! From conditions as written to a [`Program`]: looks up names, fills in macros and lists, checks
//! types.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};

use lanner_plugin::{EventTypes, ResolvedField, RuleRequest};

use crate::ast::{Check, Expr, FieldRef, Op, Word};
use crate::checks::{self, candidates};
use crate::items::Items;
use crate::parse::{Text, condition};
use crate::program::{Node, Program};
use crate::source::{Place, Problem};
use crate::types::TypeSet;

/// Looks up names. The host, but for tests.
pub(crate) trait Names {
    fn field(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, String>;
    fn event_type(&self, name: &str) -> Result<u32, String>;
}

impl Names for RuleRequest<'_> {
    fn field(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, String> {
        self.field(name, arg)
    }

    fn event_type(&self, name: &str) -> Result<u32, String> {
        self.event_type(name)
    }
}

/// How deep conditions may nest when macros are filled in, and lists in lists.
const MAX_DEPTH: usize = 400;

/// A compiled condition and the event types that it, and its opposite, can match.
struct Compiled {
    node: Node,
    types: TypeSet,
    opposite: TypeSet,
}

/// A compiled macro.
#[derive(Clone)]
struct Shared {
    index: usize,
    types: TypeSet,
    opposite: TypeSet,
}

enum MacroState {
    /// Being compiled: whoever meets it now has come in a circle.
    Open,
    Done(Result<Shared, Problem>),
}

/// Compiles rules one by one into a program.
pub(crate) struct Compiler<'a, N> {
    names: &'a N,
    items: &'a Items,
    program: Program,
    macros: HashMap<String, MacroState>,
    rule_types: Vec<TypeSet>,
    type_names: HashMap<u32, String>,
    depth: usize,
}

impl<'a, N: Names> Compiler<'a, N> {
    pub(crate) fn new(names: &'a N, items: &'a Items) -> Self {
        Self {
            names,
            items,
            program: Program::default(),
            macros: HashMap::new(),
            rule_types: Vec::new(),
            type_names: HashMap::new(),
            depth: 0,
        }
    }

    /// Adds the next rule. Returns whether its condition says which event types it wants.
    pub(crate) fn rule(
        &mut self,
        text: &Text,
        exceptions: Vec<Expr>,
        enabled: bool,
    ) -> Result<bool, Problem> {
        let mut expr = condition(text)?;
        if !exceptions.is_empty() {
            expr = Expr::And(vec![expr, Expr::Not(Box::new(Expr::Or(exceptions)))]);
        }
        let compiled = self.expr(&expr)?;
        let specific = compiled.types.finite().is_some();
        self.program.conditions.push(compiled.node);
        self.rule_types.push(if enabled {
            compiled.types
        } else {
            TypeSet::none()
        });
        Ok(specific)
    }

    /// Adds a rule that never matches, to keep the count.
    pub(crate) fn no_rule(&mut self) {
        self.program.conditions.push(Node::Const(false));
        self.rule_types.push(TypeSet::none());
    }

    /// Compiles a macro that no rule uses, to find its faults.
    pub(crate) fn check_macro(&mut self, name: &str, place: &Place) -> Result<(), Problem> {
        self.shared(name, place).map(|_| ())
    }

    /// Whether a macro was needed so far.
    pub(crate) fn used_macro(&self, name: &str) -> bool {
        self.macros.contains_key(name)
    }

    /// Whether the host has this field.
    pub(crate) fn field(&self, field: &FieldRef) -> Result<ResolvedField, Problem> {
        let found = self.names.field(&field.name, field.arg.as_deref());
        found.map_err(|reason| {
            let arg = field.arg.as_ref();
            let arg = arg.map_or(String::new(), |arg| format!("[{arg}]"));
            let mut problem = Problem::new(
                &field.place,
                format!("there is no field `{}{arg}`", field.name),
            );
            problem.unknown_to_host = true;
            if reason.is_empty() {
                problem.help("`lanner fields` lists the fields")
            } else {
                problem.help(reason)
            }
        })
    }

    /// Sorts the rules by event type.
    pub(crate) fn finish(mut self) -> (Program, EventTypes) {
        let rules_for = |wanted: &dyn Fn(&TypeSet) -> bool| -> Box<[u32]> {
            let rules = self.rule_types.iter().enumerate();
            rules
                .filter(|(_, types)| wanted(types))
                .filter_map(|(index, _)| u32::try_from(index).ok())
                .collect()
        };
        let mentioned: BTreeSet<u32> = self
            .rule_types
            .iter()
            .flat_map(|types| types.mentioned().iter().copied())
            .collect();
        let others = rules_for(&|types| types.finite().is_none());
        // The host's numbers are small and dense, but it is not for us to rely on it.
        let end = mentioned.last().map_or(0, |last| (*last).min(65_535) + 1);
        self.program.buckets = (0..end)
            .map(|event_type| {
                if mentioned.contains(&event_type) {
                    rules_for(&|types| types.contains(event_type))
                } else {
                    others.clone()
                }
            })
            .collect();
        let wanted = if others.is_empty() {
            let names = mentioned.iter().filter_map(|event_type| {
                let any = self
                    .rule_types
                    .iter()
                    .any(|types| types.contains(*event_type));
                any.then(|| self.type_names.get(event_type).cloned())?
            });
            EventTypes::Only(names.collect())
        } else {
            EventTypes::All
        };
        self.program.others = others;
        self.program.remembered = (0..self.program.macros.len())
            .map(|_| Cell::new((0, false)))
            .collect();
        (self.program, wanted)
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
                Ok(join(
                    terms,
                    Node::Or,
                    TypeSet::none(),
                    TypeSet::unite,
                    TypeSet::intersect,
                ))
            }
            Expr::And(terms) => {
                let terms = self.terms(terms)?;
                Ok(join(
                    terms,
                    Node::And,
                    TypeSet::all(),
                    TypeSet::intersect,
                    TypeSet::unite,
                ))
            }
            Expr::Not(inner) => {
                let inner = self.expr(inner)?;
                Ok(Compiled {
                    node: Node::Not(Box::new(inner.node)),
                    types: inner.opposite,
                    opposite: inner.types,
                })
            }
            Expr::Macro(word) => {
                let shared = self.shared(&word.text, &word.place)?;
                Ok(Compiled {
                    node: Node::Macro(shared.index),
                    types: shared.types,
                    opposite: shared.opposite,
                })
            }
            Expr::Check(check) => self.check(check),
        }
    }

    fn terms(&mut self, terms: &[Expr]) -> Result<Vec<Compiled>, Problem> {
        terms.iter().map(|term| self.expr(term)).collect()
    }

    fn shared(&mut self, name: &str, place: &Place) -> Result<Shared, Problem> {
        match self.macros.get(name) {
            Some(MacroState::Done(result)) => return result.clone(),
            Some(MacroState::Open) => {
                return Err(Problem::new(
                    place,
                    format!("the macro `{name}` contains itself"),
                ));
            }
            None => {}
        }
        let items = self.items;
        let Some(known) = items.macros.get(name) else {
            let problem = Problem::new(place, format!("there is no macro `{name}`"));
            return Err(if items.lists.contains_key(name) {
                problem.help("it is a list; use it as `field in (list)`")
            } else {
                problem.nearest(name, items.macros.keys().map(String::as_str))
            });
        };
        if self.depth > MAX_DEPTH {
            return Err(Problem::new(place, "macros are nested too deeply here"));
        }
        self.macros.insert(name.to_owned(), MacroState::Open);
        let result = condition(&known.condition).and_then(|expr| self.expr(&expr));
        let result = result.map(|compiled| {
            self.program.macros.push(compiled.node);
            Shared {
                index: self.program.macros.len() - 1,
                types: compiled.types,
                opposite: compiled.opposite,
            }
        });
        let done = MacroState::Done(result.clone());
        self.macros.insert(name.to_owned(), done);
        result
    }

    fn check(&mut self, check: &Check) -> Result<Compiled, Problem> {
        let values = if check.op.takes_list() || check.quantifier.is_some() {
            self.expand(&check.values)?
        } else {
            check.values.clone()
        };
        let field = &check.field;
        match (field.name.as_str(), field.arg.as_deref(), check.op) {
            ("evt.type" | "syscall.type", None, Op::Eq | Op::Ne | Op::In | Op::Intersects)
                if check.quantifier.is_none() =>
            {
                self.event_type(&values, check.op == Op::Ne)
            }
            // Falco delivers only the end of a call since its engine 0.58, and so do we.
            ("evt.dir", None, Op::Eq | Op::Ne | Op::In) => {
                let found = values.iter().any(|value| value.text == "<");
                Ok(constant(found != (check.op == Op::Ne)))
            }
            _ => {
                let resolved = self.field(field)?;
                let matcher = checks::matcher(check, &values, &resolved)?;
                Ok(Compiled {
                    node: Node::Test {
                        slot: self.program.fields.slot(resolved.id),
                        candidates: candidates(check.op, &resolved),
                        matcher,
                    },
                    types: TypeSet::all(),
                    opposite: TypeSet::all(),
                })
            }
        }
    }

    fn event_type(&mut self, values: &[Word], negated: bool) -> Result<Compiled, Problem> {
        let mut types = Vec::new();
        for value in values {
            let number = self.names.event_type(&value.text).map_err(|reason| {
                let message = format!("there is no event type `{}`", value.text);
                let mut problem = Problem::new(&value.place, message);
                problem.unknown_to_host = true;
                if reason.is_empty() {
                    problem.help("`lanner syscalls` lists them")
                } else {
                    problem.help(reason)
                }
            })?;
            self.type_names.insert(number, value.text.clone());
            types.push(number);
        }
        let set = TypeSet::only(types.iter().copied());
        let opposite = set.clone().invert();
        let (types_of, opposite) = if negated {
            (opposite, set)
        } else {
            (set, opposite)
        };
        Ok(Compiled {
            node: Node::EventType {
                types: types.into_boxed_slice(),
                negated,
            },
            types: types_of,
            opposite,
        })
    }

    /// Puts the elements of lists in place of their names.
    fn expand(&self, values: &[Word]) -> Result<Vec<Word>, Problem> {
        let mut out = Vec::new();
        let mut seen = BTreeSet::new();
        for value in values {
            self.expand_word(value, &mut out, &mut seen, &mut Vec::new())?;
        }
        Ok(out)
    }

    fn expand_word(
        &self,
        word: &Word,
        out: &mut Vec<Word>,
        seen: &mut BTreeSet<String>,
        path: &mut Vec<String>,
    ) -> Result<(), Problem> {
        let list = (!word.quoted)
            .then(|| self.items.lists.get(&word.text))
            .flatten();
        let Some(list) = list else {
            out.push(word.clone());
            return Ok(());
        };
        if path.len() > MAX_DEPTH || path.contains(&word.text) {
            let message = format!("the list `{}` contains itself", word.text);
            return Err(Problem::new(&word.place, message));
        }
        // A list that was put in once need not be put in again.
        if !seen.insert(word.text.clone()) {
            return Ok(());
        }
        path.push(word.text.clone());
        for element in list {
            self.expand_word(element, out, seen, path)?;
        }
        path.pop();
        Ok(())
    }
}

fn constant(value: bool) -> Compiled {
    let (types, opposite) = (TypeSet::all(), TypeSet::none());
    let (types, opposite) = if value {
        (types, opposite)
    } else {
        (opposite, types)
    };
    Compiled {
        node: Node::Const(value),
        types,
        opposite,
    }
}

fn join(
    terms: Vec<Compiled>,
    node: impl FnOnce(Box<[Node]>) -> Node,
    start: TypeSet,
    combine: impl Fn(&TypeSet, &TypeSet) -> TypeSet,
    combine_opposites: impl Fn(&TypeSet, &TypeSet) -> TypeSet,
) -> Compiled {
    let mut opposite = start.clone().invert();
    let mut types = start;
    let mut nodes = Vec::new();
    for term in terms {
        types = combine(&types, &term.types);
        opposite = combine_opposites(&opposite, &term.opposite);
        nodes.push(term.node);
    }
    Compiled {
        node: node(nodes.into_boxed_slice()),
        types,
        opposite,
    }
}
