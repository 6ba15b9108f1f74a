//! Macros: each is compiled once for all rules that use it, and checked if no rule does.

use super::{Compiled, Compiler, MAX_DEPTH, MacroState, Names};
use crate::ast::Expr;
use crate::items::Macro;
use crate::source::{Location, Problem, code};

impl<'a, N: Names> Compiler<'a, N> {
    /// A macro, compiled once for all its uses.
    pub(super) fn shared(&mut self, name: &str, place: &Location) -> Result<Compiled, Problem> {
        match self.macros.get(name) {
            Some(MacroState::Done(result)) => {
                let result = result.clone();
                let known = self.find_macro(name, place)?;
                self.note_order(known, place);
                return result;
            }
            Some(MacroState::Open) => return Err(contains_itself(name, place)),
            None => {}
        }
        let known = self.find_macro(name, place)?;
        if self.depth > MAX_DEPTH {
            let message = "macros are nested too deeply here";
            return Err(Problem::new(place, message).code(code::CONDITION));
        }
        self.note_order(known, place);
        self.macros.insert(name.to_owned(), MacroState::Open);
        let around = self.inside.replace(known);
        let result = self
            .parse(&known.condition)
            .and_then(|expr| self.expr(&expr));
        self.inside = around;
        let done = MacroState::Done(result.clone());
        self.macros.insert(name.to_owned(), done);
        result
    }

    /// Notes a macro within a macro that is defined only after the last change of the outer one.
    fn note_order(&mut self, known: &Macro, place: &Location) {
        if self
            .inside
            .is_some_and(|around| known.order > around.changed)
        {
            let message = format!("the macro `{}` is defined only later", known.name);
            let problem = Problem::refused_by_falco(code::VALIDATE, place, message);
            self.notes
                .push(problem.help("Falco would not find it; define it before its first use"));
        }
    }

    /// Checks a macro that no rule uses. As in Falco, its grammar and its macros must be right, not its values.
    pub(crate) fn check_macro(&mut self, known: &'a Macro) -> Result<(), Problem> {
        let mut path = vec![known.name.as_str()];
        self.check_macro_in(known, &mut path)
    }

    fn check_macro_in(&mut self, known: &'a Macro, path: &mut Vec<&'a str>) -> Result<(), Problem> {
        if self.macros.contains_key(&known.name) || !self.checked.insert(&known.name) {
            return Ok(());
        }
        self.inside = Some(known);
        let expr = self.parse(&known.condition)?;
        self.check_macros(&expr, known, path)
    }

    fn check_macros(
        &mut self,
        expr: &Expr,
        inside: &'a Macro,
        path: &mut Vec<&'a str>,
    ) -> Result<(), Problem> {
        match expr {
            Expr::Or(terms) | Expr::And(terms) => terms
                .iter()
                .try_for_each(|term| self.check_macros(term, inside, path)),
            Expr::Not(inner) => self.check_macros(inner, inside, path),
            Expr::Macro(word) => {
                let known = self.find_macro(&word.text, &word.place)?;
                self.inside = Some(inside);
                self.note_order(known, &word.place);
                if path.contains(&known.name.as_str()) {
                    return Err(contains_itself(&known.name, &word.place));
                }
                if path.len() > MAX_DEPTH {
                    let message = "macros are nested too deeply here";
                    return Err(Problem::new(&word.place, message).code(code::CONDITION));
                }
                self.used_names.insert(known.name.clone());
                path.push(&known.name);
                let result = self.check_macro_in(known, path);
                path.pop();
                result
            }
            Expr::Check(_) => Ok(()),
        }
    }

    fn find_macro(&self, name: &str, place: &Location) -> Result<&'a Macro, Problem> {
        let items = self.items;
        if let Some(at) = items.macro_indices.get(name) {
            return Ok(&items.macros[*at]);
        }
        let problem = Problem::new(place, format!("there is no macro `{name}`"));
        Err(if self.lists.contains(name) {
            problem.help("it is a list; use it as `field in (list)`")
        } else {
            problem.nearest(name, items.macro_indices.keys().map(String::as_str))
        })
    }
}

fn contains_itself(name: &str, place: &Location) -> Problem {
    Problem::new(place, format!("the macro `{name}` contains itself"))
}
