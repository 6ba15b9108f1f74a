//! Explains a rule: its condition with macros and lists filled in, for people to read.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

use crate::ast::{Check, Expr, FieldRef, Operand, Right, Word, write_value};
use crate::items::{Items, Rule};
use crate::parse::condition;

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
        parts: Parts::default(),
        done: HashSet::new(),
        depth: 0,
    };
    if let Ok(expr) = condition(&rule.condition) {
        writer.collect(&expr);
        let mut exceptions = Vec::new();
        for exception in &rule.exceptions {
            exceptions.extend(exception.condition().ok().flatten());
        }
        exceptions.iter().for_each(|expr| writer.collect(expr));
        writer.write(&expr, if exceptions.is_empty() { 0 } else { 2 });
        if !exceptions.is_empty() {
            writer.parts.condition.push_str(" and not ");
            writer.write(&Expr::Or(exceptions), 3);
        }
    }
    writer.parts
}

struct Writer<'a> {
    items: &'a Items,
    parts: Parts,
    /// Macros whose fields are already collected.
    done: HashSet<&'a str>,
    depth: usize,
}

impl<'a> Writer<'a> {
    fn collect(&mut self, expr: &Expr) {
        match expr {
            Expr::Or(terms) | Expr::And(terms) => {
                terms.iter().for_each(|term| self.collect(term));
            }
            Expr::Not(inner) => self.collect(inner),
            Expr::Macro(word) => {
                let items = self.items;
                if let Some((name, found)) = items.macros.get_key_value(&word.text)
                    && self.done.insert(name)
                {
                    self.parts.names.insert(name.clone());
                    if let Ok(expr) = condition(&found.condition) {
                        self.collect(&expr);
                    }
                }
            }
            Expr::Check(check) => {
                self.fields(&check.left);
                match &check.right {
                    Right::Operand(operand) => self.fields(operand),
                    Right::Values(words) => {
                        let mut all = Vec::new();
                        self.expand(words, &mut all, 0);
                        if check.is_event_type() {
                            self.parts.types.append(&mut all);
                        }
                    }
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

    /// Replaces lists by their elements, and records the lists.
    fn expand(&mut self, words: &[Word], out: &mut Vec<Word>, depth: usize) {
        for word in words {
            if out.len() > MAX_LENGTH {
                return;
            }
            let items = self.items;
            match items.lists.get(&word.text).filter(|_| !word.quoted) {
                Some(list) if depth < MAX_DEPTH => {
                    if self.parts.names.insert(word.text.clone()) || depth == 0 {
                        self.expand(&list.words, out, depth + 1);
                    }
                }
                _ => out.push(word.clone()),
            }
        }
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
                let found = self.items.macros.get(&word.text);
                match found.map(|found| condition(&found.condition)) {
                    Some(Ok(expr)) => self.write(&expr, around),
                    _ => self.parts.condition.push_str(&word.text),
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
                let mut values = Vec::new();
                let names = std::mem::take(&mut self.parts.names);
                self.expand(words, &mut values, 0);
                self.parts.names.extend(names);
                self.parts.condition.push_str(" (");
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        self.parts.condition.push_str(", ");
                    }
                    let _ = write_value(&mut self.parts.condition, &value.text);
                }
                self.parts.condition.push(')');
            }
            Right::Values(words) => {
                for word in words {
                    self.parts.condition.push(' ');
                    let _ = write_value(&mut self.parts.condition, &word.text);
                }
            }
        }
    }
}
