//! Explains a rule: its condition with macros and lists filled in, for people to read.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

use crate::ast::{Check, Expr, FieldRef, Operand, Right, Word, write_value};
use crate::exceptions::with_exceptions;
use crate::items::{Items, Rule};
use crate::lists::Lists;
use crate::parse::condition;
use crate::text::Composed;

/// The length limit of an explained condition. Macros that use each other can make a condition very long.
const MAX_LENGTH: usize = 1 << 16;

/// The depth limit of macros and parentheses.
const MAX_DEPTH: usize = 400;

/// A rule, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) condition: String,
    /// Each field by its name, at its first use.
    pub(crate) fields: BTreeMap<String, FieldRef>,
    /// The constants that `evt.type` is compared with.
    pub(crate) types: Vec<Word>,
    /// Macros and lists.
    pub(crate) names: BTreeSet<String>,
}

/// Takes a rule apart.
pub(crate) fn parts(items: &Items, rule: &Rule) -> Parts {
    let mut writer = Writer {
        items,
        lists: Lists::new(items),
        parts: Parts::default(),
        done: HashSet::new(),
        depth: 0,
    };
    let text = with_exceptions(&rule.condition, &rule.exceptions).ok();
    if let Some(expr) = text.and_then(|text| writer.parse(text)) {
        writer.collect(&expr);
        writer.write(&expr, 0);
    }
    writer.parts
}

struct Writer<'a> {
    items: &'a Items,
    lists: Lists<'a>,
    parts: Parts,
    /// Macros whose fields are already collected.
    done: HashSet<&'a str>,
    depth: usize,
}

impl<'a> Writer<'a> {
    /// Fills lists into a condition and parses it.
    fn parse(&mut self, text: Composed) -> Option<Expr> {
        let names = &mut self.parts.names;
        let text = self.lists.fill_in(text, names, &mut Vec::new()).ok()?;
        condition(&text, &mut Vec::new()).ok()
    }

    fn collect(&mut self, expr: &Expr) {
        match expr {
            Expr::Or(terms) | Expr::And(terms) => {
                terms.iter().for_each(|term| self.collect(term));
            }
            Expr::Not(inner) => self.collect(inner),
            Expr::Macro(word) => {
                let items = self.items;
                let found = items.macro_indices.get_key_value(&word.text);
                if let Some((name, at)) = found
                    && self.done.insert(name)
                {
                    self.parts.names.insert(name.clone());
                    if let Some(expr) = self.parse(items.macros[*at].condition.clone()) {
                        self.collect(&expr);
                    }
                }
            }
            Expr::Check(check) => {
                self.fields(&check.left);
                match &check.right {
                    Right::Operand(operand) => self.fields(operand),
                    Right::Values(words) if check.is_event_type() => {
                        self.parts.types.extend(words.iter().cloned());
                    }
                    Right::Values(_) => {}
                }
            }
        }
    }

    fn fields(&mut self, operand: &Operand) {
        operand.term.fields(&mut |field| {
            let name = field.to_string();
            self.parts
                .fields
                .entry(name)
                .or_insert_with(|| field.clone());
        });
    }

    /// Writes a condition. `around` is the precedence of the operator around it: 1 `or`, 2 `and`, 3 `not`.
    fn write(&mut self, expr: &Expr, around: u8) {
        if self.parts.condition.len() > MAX_LENGTH || self.depth > MAX_DEPTH {
            if !self.parts.condition.ends_with("...") {
                self.parts.condition.push_str("...");
            }
            return;
        }
        self.depth += 1;
        match expr {
            Expr::Or(terms) => self.join(terms, " or ", 1, around),
            Expr::And(terms) => self.join(terms, " and ", 2, around),
            Expr::Not(inner) => {
                self.parts.condition.push_str("not ");
                self.write(inner, 3);
            }
            Expr::Macro(word) => {
                let items = self.items;
                let found = items.macro_indices.get(&word.text);
                let text = found.map(|at| items.macros[*at].condition.clone());
                match text.and_then(|text| self.parse(text)) {
                    Some(expr) => self.write(&expr, around),
                    None => self.parts.condition.push_str(&word.text),
                }
            }
            Expr::Check(check) => self.check(check),
        }
        self.depth -= 1;
    }

    fn join(&mut self, terms: &[Expr], word: &str, binds: u8, around: u8) {
        let parentheses = around > binds;
        if parentheses {
            self.parts.condition.push('(');
        }
        for (at, term) in terms.iter().enumerate() {
            if at > 0 {
                self.parts.condition.push_str(word);
            }
            self.write(term, binds);
        }
        if parentheses {
            self.parts.condition.push(')');
        }
    }

    fn check(&mut self, check: &Check) {
        // Writing to a string cannot fail.
        let _ = write!(self.parts.condition, "{} {}", check.left, check.op.name());
        if let Some(quantifier) = check.quantifier {
            let _ = write!(self.parts.condition, " {}", quantifier.name());
        }
        match &check.right {
            Right::Operand(operand) => {
                let _ = write!(self.parts.condition, " {operand}");
            }
            Right::Values(words) if check.op.takes_list() || check.quantifier.is_some() => {
                self.parts.condition.push_str(" (");
                for (at, word) in words.iter().enumerate() {
                    if at > 0 {
                        self.parts.condition.push_str(", ");
                    }
                    let _ = write_value(&mut self.parts.condition, word);
                }
                self.parts.condition.push(')');
            }
            Right::Values(words) => {
                for word in words {
                    self.parts.condition.push(' ');
                    let _ = write_value(&mut self.parts.condition, word);
                }
            }
        }
    }
}
