//! The parser of conditions, from text to [`Expr`], by recursive descent. The grammar is that of Falco's own parser.
//!
//! ```text
//! Or    := And ('or' And)*
//! And   := Not ('and' Not)*
//! Not   := 'not'* Check
//! Check := '(' Or ')' | Operand Cond | macro
//! Cond  := 'exists' | order number | op value | op modifier List | listop List | op transformer
//! List  := '(' value, ... ')' | name
//! Operand := field | transformer
//! transformer := name '(' Arg, ... ')' ('[' option ']')?
//! Arg   := field | transformer | number | text in quotes | '(' Arg, ... ')'
//! ```

use lanner_plugin::Transformer;

use crate::ast::{Check, Expr, Operand, Quantifier, Right, Word};
use crate::operators::Op;
use crate::quotes::{self, Unquoted};
use crate::source::{Problem, code};
use crate::text::Composed;
use crate::yaml::Scalar;

#[path = "parse_operands.rs"]
mod operands;

/// The depth limit of parentheses. Falco's is a little lower.
const MAX_DEPTH: usize = 200;

/// The longest operator made of signs: `<=`.
const MAX_SIGNS: usize = 2;

/// Parses a condition. `notes` gets what Falco would refuse.
pub(crate) fn condition(text: &Composed, notes: &mut Vec<Problem>) -> Result<Expr, Problem> {
    let mut parser = Parser::new(text);
    let expr = parser.or()?;
    parser.blank();
    let expr = match parser.bytes.get(parser.at) {
        None => expr,
        Some(b')') => return Err(parser.problem("there is no `(` for this `)`")),
        Some(b',') if text.is_of_list(parser.at) => {
            let message = "a list with several elements is used where one value is needed";
            return Err(parser.problem(message).help(
                "write `in (...)` or `= anyof (...)`, or put quotes around it if you mean a text",
            ));
        }
        Some(_) => return Err(parser.problem("`and`, `or` or the end was expected here")),
    };
    notes.append(&mut parser.notes);
    Ok(expr)
}

/// Parses a text that is one field or transformer, as in an exception.
pub(crate) fn lone_operand(scalar: &Scalar) -> Result<Operand, Problem> {
    let text = Composed::new(scalar.clone());
    let mut parser = Parser::new(&text);
    let word = parser.identifier();
    match parser.operand(word, 0)? {
        Some(operand) if parser.at == parser.bytes.len() => Ok(operand),
        _ => Err(Problem::new(
            &scalar.place,
            "a field was expected, such as `proc.name`",
        )),
    }
}

/// Parses the transformer at a byte of a text. Returns it with its end, or none if there is none.
pub(crate) fn operand_at(
    scalar: &Scalar,
    start: usize,
) -> Result<Option<(Operand, usize)>, Problem> {
    let text = Composed::new(scalar.clone());
    let mut parser = Parser::new(&text);
    parser.at = start;
    let word = parser.identifier();
    let operand = parser.operand(word, start)?;
    Ok(operand.map(|operand| (operand, parser.at)))
}

/// Splits `evt.arg.flags` and `kernel.arg.flags` into `evt.arg` and `flags`, which is the same as `evt.arg[flags]`.
pub(crate) fn split_argument(name: &str) -> (&str, Option<&str>) {
    for prefix in ["evt.arg", "evt.rawarg", "kernel.arg"] {
        let rest = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('.'));
        if let Some(arg) = rest {
            return (prefix, Some(arg));
        }
    }
    (name, None)
}

struct Parser<'a> {
    text: &'a Composed,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    notes: Vec<Problem>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a Composed) -> Self {
        Self {
            text,
            bytes: text.as_str().as_bytes(),
            at: 0,
            depth: 0,
            notes: Vec::new(),
        }
    }

    fn problem(&self, message: impl Into<Box<str>>) -> Problem {
        self.problem_at(self.at, message)
    }

    fn problem_at(&self, at: usize, message: impl Into<Box<str>>) -> Problem {
        Problem::new(&self.text.place(at), message).code(code::CONDITION)
    }

    /// Notes that Falco refuses what is at `at`.
    fn note(&mut self, at: usize, message: impl Into<Box<str>>) {
        let place = self.text.place(at);
        self.notes
            .push(Problem::refused_by_falco(code::CONDITION, &place, message));
    }

    /// Moves past blanks. Returns whether there were some.
    fn blank(&mut self) -> bool {
        let start = self.at;
        while matches!(
            self.bytes.get(self.at),
            Some(b' ' | b'\t' | b'\x08' | b'\r' | b'\n')
        ) {
            self.at += 1;
        }
        self.at > start
    }

    /// Moves past `text` if it is next.
    fn take(&mut self, text: &str) -> bool {
        let found = self.bytes[self.at..].starts_with(text.as_bytes());
        self.at += if found { text.len() } else { 0 };
        found
    }

    /// Moves past `word` and the blanks that must follow it.
    fn take_word(&mut self, word: &str) -> bool {
        let start = self.at;
        if self.take(word) && self.blank() {
            return true;
        }
        self.at = start;
        false
    }

    /// `[a-zA-Z][a-zA-Z0-9_]*` at the current position, without moving past it.
    fn peek_identifier(&self) -> &'a str {
        let rest = &self.bytes[self.at..];
        if !rest.first().is_some_and(u8::is_ascii_alphabetic) {
            return "";
        }
        let end = rest
            .iter()
            .position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'))
            .unwrap_or(rest.len());
        std::str::from_utf8(&rest[..end]).unwrap_or_default()
    }

    fn identifier(&mut self) -> &'a str {
        let word = self.peek_identifier();
        self.at += word.len();
        word
    }

    fn or(&mut self) -> Result<Expr, Problem> {
        self.joined("or", Self::and, Expr::Or)
    }

    fn and(&mut self) -> Result<Expr, Problem> {
        self.joined("and", Self::not, Expr::And)
    }

    /// Terms with a keyword between them. The keyword is followed by a blank, or by parentheses.
    fn joined(
        &mut self,
        keyword: &str,
        term: fn(&mut Self) -> Result<Expr, Problem>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr, Problem> {
        let mut terms = vec![term(self)?];
        loop {
            self.blank();
            if !self.take(keyword) {
                return Ok(single(terms, join));
            }
            terms.push(if self.blank() {
                term(self)?
            } else if self.bytes.get(self.at) == Some(&b'(') {
                self.embedded()?
            } else {
                let message = format!("a blank or `(` was expected after `{keyword}`");
                return Err(self.problem(message));
            });
        }
    }

    fn not(&mut self) -> Result<Expr, Problem> {
        self.blank();
        let mut negated = false;
        while self.take_word("not") {
            negated = !negated;
        }
        let check = if self.bytes[self.at..].starts_with(b"not(") {
            self.at += "not".len();
            negated = !negated;
            self.embedded()?
        } else {
            self.check()?
        };
        Ok(if negated {
            Expr::Not(Box::new(check))
        } else {
            check
        })
    }

    /// A condition in parentheses.
    fn embedded(&mut self) -> Result<Expr, Problem> {
        let start = self.at;
        self.enter()?;
        self.at += 1;
        let expr = self.or()?;
        self.depth -= 1;
        self.blank();
        if !self.take(")") {
            return Err(self
                .problem("`)`, `and` or `or` was expected here")
                .help(format!("the `(` is at {}", self.text.place(start))));
        }
        Ok(expr)
    }

    fn check(&mut self) -> Result<Expr, Problem> {
        self.blank();
        let start = self.at;
        if self.bytes.get(start) == Some(&b'(') {
            return self.embedded();
        }
        let word = self.identifier();
        if word.is_empty() || matches!(word, "and" | "or" | "in" | "exists") {
            let problem =
                self.problem_at(start, "a field, a macro, `not` or `(` was expected here");
            return Err(problem.help("a check is written like `proc.name = cat`"));
        }
        if let Some(operand) = self.operand(word, start)? {
            if word == Transformer::Val.name() {
                self.note(start, "Falco takes `val` only on the right side");
            }
            return self.comparison(operand).map(Expr::Check);
        }
        if self.bytes.get(self.at) == Some(&b'(') {
            let names = Transformer::NAMES.iter().map(|(name, _)| *name);
            let all: Vec<_> = names.clone().collect();
            let message = format!("there is no transformer `{word}`");
            return Err(self
                .problem_at(start, message)
                .help(format!("the transformers are {}", all.join(" ")))
                .nearest(word, names));
        }
        Ok(Expr::Macro(Word {
            text: word.to_owned(),
            raw: None,
            place: self.text.place(start),
        }))
    }

    /// Counts one more level of nesting.
    fn enter(&mut self) -> Result<(), Problem> {
        if self.depth == MAX_DEPTH {
            return Err(self.problem(format!("more than {MAX_DEPTH} nested parentheses")));
        }
        self.depth += 1;
        Ok(())
    }

    fn comparison(&mut self, left: Operand) -> Result<Check, Problem> {
        self.blank();
        let start = self.at;
        let op_place = self.text.place(start);
        let (op, blank) = self.operator()?;
        let check = |quantifier, right| Check {
            left,
            op,
            quantifier,
            op_place,
            right,
        };
        if !op.takes_values() {
            return Ok(check(None, Right::Values(Vec::new())));
        }
        if op.takes_quantifier()
            && (self.blank() || blank)
            && let Some(quantifier) = self.quantifier()
        {
            let values = self.list()?;
            return Ok(check(Some(quantifier), Right::Values(values)));
        }
        self.blank();
        if op.takes_list() && self.bytes.get(self.at) == Some(&b'(') {
            let values = self.list()?;
            return Ok(check(None, Right::Values(values)));
        }
        if let Some(operand) = self.transformer()? {
            return Ok(check(None, Right::Operand(operand)));
        }
        let values = if op.takes_list() {
            self.list()?
        } else if op.takes_number() {
            vec![self.ordered_value(op)?]
        } else {
            vec![self.value(op)?]
        };
        Ok(check(None, Right::Values(values)))
    }

    /// The modifier that comes next, if several values follow it. Otherwise the word is a value itself.
    fn quantifier(&mut self) -> Option<Quantifier> {
        let start = self.at;
        let word = self.peek_identifier();
        let found = Quantifier::by_name(word).filter(|_| self.take_word(word));
        let next = self.peek_identifier();
        let values = self.bytes.get(self.at) == Some(&b'(')
            || !(next.is_empty() || matches!(next, "and" | "or" | "not"));
        if found.is_none() || !values {
            self.at = start;
            return None;
        }
        found
    }

    /// The transformer that comes next, if there is one.
    fn transformer(&mut self) -> Result<Option<Operand>, Problem> {
        let start = self.at;
        let word = self.peek_identifier();
        let found = Transformer::by_name(word)
            .filter(|_| self.bytes.get(start + word.len()) == Some(&b'('));
        let Some(transformer) = found else {
            return Ok(None);
        };
        self.at += word.len();
        self.call(transformer, start).map(Some)
    }

    /// The operator, and whether a blank follows it.
    fn operator(&mut self) -> Result<(Op, bool), Problem> {
        let start = self.at;
        // Signs such as `<=`, the longest first.
        let signs = self.bytes[start..]
            .iter()
            .take_while(|byte| b"<>=!".contains(byte));
        for len in (1..=signs.count().min(MAX_SIGNS)).rev() {
            let symbol = &self.bytes[start..start + len];
            if let Some(op) = std::str::from_utf8(symbol).ok().and_then(Op::by_name) {
                self.at += len;
                return Ok((op, self.blank()));
            }
        }
        let word = self.identifier();
        if let Some(op) = Op::by_name(word) {
            let blank = self.blank();
            // As in Falco, `in(` is fine and `contains(` is not.
            if blank || op.takes_list() || !op.takes_values() {
                return Ok((op, blank));
            }
            let message = format!("`{word}` needs a blank after it");
            return Err(self.problem(message));
        }
        let names = Op::all_names();
        let all: Vec<_> = names.clone().collect();
        let problem = self.problem_at(start, "an operator was expected here");
        Err(problem
            .help(format!("the operators are {}", all.join(" ")))
            .nearest(word, names.filter(|name| name.len() > 2)))
    }

    /// `(a, b)`, or one name.
    fn list(&mut self) -> Result<Vec<Word>, Problem> {
        let open = self.at;
        if !self.take("(") {
            let name = self.identifier();
            if name.is_empty() {
                let problem = self.problem("`(` was expected here");
                return Err(problem.help("values are written like `(a, b)`"));
            }
            return Ok(vec![Word {
                text: name.to_owned(),
                raw: None,
                place: self.text.place(open),
            }]);
        }
        let mut values = Vec::new();
        loop {
            self.blank();
            match self.bytes.get(self.at) {
                Some(b')') if values.is_empty() => break,
                None => return Err(self.problem_at(open, "this list has no `)`")),
                _ => values.push(self.value(Op::In)?),
            }
            self.blank();
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b')') => break,
                None => return Err(self.problem_at(open, "this list has no `)`")),
                Some(_) => {
                    let problem = self.problem("`,` or `)` was expected here");
                    return Err(problem.help("put quotes around a value that has blanks in it"));
                }
            }
        }
        self.at += 1;
        Ok(values)
    }

    /// The value of `<` and its like: a number. lanner also takes a text.
    fn ordered_value(&mut self, op: Op) -> Result<Word, Problem> {
        let start = self.at;
        match self.number() {
            Some(number) => Ok(Word {
                text: number.to_owned(),
                raw: None,
                place: self.text.place(start),
            }),
            None => {
                let value = self.value(op)?;
                let message = format!("Falco takes only numbers after `{}`", op.name());
                self.note(start, message);
                Ok(value)
            }
        }
    }

    fn value(&mut self, op: Op) -> Result<Word, Problem> {
        let start = self.at;
        let place = self.text.place(start);
        if let Some(b'"' | b'\'') = self.bytes.get(start) {
            let Unquoted { text, raw } = self.quoted()?;
            return Ok(Word { text, raw, place });
        }
        let text = self.bare(b"()\"' \t\r\n\x0b\x0c=,");
        if text.is_empty() {
            let message = format!("`{}` needs a value here", op.name());
            return Err(self
                .problem_at(start, message)
                .help("put quotes around a value with blanks, quotes, `(`, `)`, `=` or `,`"));
        }
        Ok(Word {
            text,
            raw: None,
            place,
        })
    }

    fn bare(&mut self, end: &[u8]) -> String {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|byte| end.contains(byte))
            .unwrap_or(rest.len());
        self.at += length;
        String::from_utf8_lossy(&rest[..length]).into_owned()
    }

    /// A quoted text, with its escapes resolved.
    fn quoted(&mut self) -> Result<Unquoted, Problem> {
        let start = self.at;
        let length = quotes::length(&self.bytes[start..])
            .ok_or_else(|| self.problem_at(start, "this quoted text has no end"))?;
        let inner = &self.bytes[start + 1..start + length - 1];
        let unquoted = quotes::unescape(inner, self.bytes[start]).map_err(|error| {
            self.problem_at(start + 1 + error.at, error.to_string())
                .help("write `\\\\` for a backslash")
        })?;
        self.at += length;
        Ok(unquoted)
    }
}

fn single(mut terms: Vec<Expr>, join: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match terms.pop() {
        Some(only) if terms.is_empty() => only,
        Some(last) => {
            terms.push(last);
            join(terms)
        }
        None => join(terms),
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
