//! The parser of conditions, from text to [`Expr`], by recursive descent.
//!
//! ```text
//! Or    := And ('or' And)*
//! And   := Not ('and' Not)*
//! Not   := 'not'* Check
//! Check := '(' Or ')' | Operand Cond | macro
//! Cond  := 'exists' | op value | op modifier? '(' value, ... ')' | op transformer
//! Operand := field | transformer
//! transformer := name '(' argument, ... ')' ('[' option ']')?
//! ```

use std::sync::Arc;

use lanner_plugin::{Term, Transformer};

use crate::ast::{Check, Expr, FieldRef, Operand, Quantifier, Right, Word};
use crate::operators::Op;
use crate::source::{Place, Problem, code};
use crate::yaml::Scalar;

/// The depth limit of parentheses. Falco has the same.
const MAX_DEPTH: usize = 100;

/// The longest operator made of signs: `<=`.
const MAX_SIGNS: usize = 2;

/// The text of a condition: a scalar, and the scalars appended to it.
#[derive(Debug, Clone)]
pub(crate) struct ConditionText {
    text: String,
    first: Arc<Scalar>,
    more: Vec<(usize, Arc<Scalar>)>,
}

impl ConditionText {
    pub(crate) fn new(scalar: Scalar) -> Self {
        Self {
            text: scalar.text.clone(),
            first: Arc::new(scalar),
            more: Vec::new(),
        }
    }

    /// Appends a text after a blank, as Falco does.
    pub(crate) fn append(&mut self, scalar: Scalar) {
        self.text.push(' ');
        self.text.push_str(&scalar.text);
        let start = self.text.len() - scalar.text.len();
        self.more.push((start, Arc::new(scalar)));
    }

    fn place(&self, offset: usize) -> Place {
        match self.more.iter().rev().find(|(start, _)| *start <= offset) {
            Some((start, scalar)) => scalar.place_of(offset - start),
            None => self.first.place_of(offset.min(self.first.text.len())),
        }
    }
}

/// Parses a condition.
pub(crate) fn condition(text: &ConditionText) -> Result<Expr, Problem> {
    let mut parser = Parser::new(text);
    let expr = parser.or()?;
    parser.blank();
    match parser.bytes.get(parser.at) {
        None => Ok(expr),
        Some(b')') => Err(parser.problem("there is no `(` for this `)`")),
        Some(_) => Err(parser.problem("`and`, `or` or the end was expected here")),
    }
}

/// Parses a text that is one field or transformer, as in an exception.
pub(crate) fn lone_operand(scalar: &Scalar) -> Result<Operand, Problem> {
    let text = ConditionText::new(scalar.clone());
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

/// Parses the field or transformer at a byte of a text. Returns it with its end, or none if there is neither.
pub(crate) fn operand_at(
    scalar: &Scalar,
    start: usize,
) -> Result<Option<(Operand, usize)>, Problem> {
    let text = ConditionText::new(scalar.clone());
    let mut parser = Parser::new(&text);
    parser.at = start;
    let word = parser.identifier();
    let operand = parser.operand(word, start)?;
    Ok(operand.map(|operand| (operand, parser.at)))
}

/// Splits `evt.arg.flags` into `evt.arg` and `flags`, which is the same as `evt.arg[flags]`.
pub(crate) fn split_argument(name: &str) -> (&str, Option<&str>) {
    for prefix in ["evt.arg", "evt.rawarg"] {
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
    text: &'a ConditionText,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a ConditionText) -> Self {
        Self {
            text,
            bytes: text.text.as_bytes(),
            at: 0,
            depth: 0,
        }
    }

    fn problem(&self, message: impl Into<Box<str>>) -> Problem {
        self.problem_at(self.at, message)
    }

    fn problem_at(&self, at: usize, message: impl Into<Box<str>>) -> Problem {
        Problem::new(&self.text.place(at), message).code(code::CONDITION)
    }

    fn blank(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
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

    /// Moves past `keyword` if it is the next whole word.
    fn keyword(&mut self, keyword: &str) -> bool {
        self.blank();
        let found = self.peek_identifier() == keyword
            && !matches!(self.bytes.get(self.at + keyword.len()), Some(b'.'));
        if found {
            self.at += keyword.len();
        }
        found
    }

    fn or(&mut self) -> Result<Expr, Problem> {
        let mut terms = vec![self.and()?];
        while self.keyword("or") {
            terms.push(self.and()?);
        }
        Ok(single(terms, Expr::Or))
    }

    fn and(&mut self) -> Result<Expr, Problem> {
        let mut terms = vec![self.not()?];
        while self.keyword("and") {
            terms.push(self.not()?);
        }
        Ok(single(terms, Expr::And))
    }

    fn not(&mut self) -> Result<Expr, Problem> {
        let mut negated = false;
        while self.keyword("not") {
            negated = !negated;
        }
        let check = self.check()?;
        Ok(if negated {
            Expr::Not(Box::new(check))
        } else {
            check
        })
    }

    fn check(&mut self) -> Result<Expr, Problem> {
        self.blank();
        let start = self.at;
        if self.bytes.get(start) == Some(&b'(') {
            self.enter()?;
            self.at += 1;
            let expr = self.or()?;
            self.depth -= 1;
            self.blank();
            if self.bytes.get(self.at) != Some(&b')') {
                return Err(self
                    .problem("`)`, `and` or `or` was expected here")
                    .help(format!("the `(` is at {}", self.text.place(start))));
            }
            self.at += 1;
            return Ok(expr);
        }
        let word = self.identifier();
        if word.is_empty() || matches!(word, "and" | "or" | "in" | "exists") {
            let problem =
                self.problem_at(start, "a field, a macro, `not` or `(` was expected here");
            return Err(problem.help("a check is written like `proc.name = cat`"));
        }
        if let Some(operand) = self.operand(word, start)? {
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
            quoted: false,
            place: self.text.place(start),
        }))
    }

    /// The field or transformer whose first word is `first`. None if it is neither.
    fn operand(&mut self, first: &str, start: usize) -> Result<Option<Operand>, Problem> {
        if self.bytes.get(self.at) == Some(&b'(')
            && let Some(transformer) = Transformer::by_name(first)
        {
            return self.call(transformer, start).map(Some);
        }
        Ok(self.field(first, start)?.map(Operand::field))
    }

    /// The arguments of a transformer and its option.
    fn call(&mut self, transformer: Transformer, start: usize) -> Result<Operand, Problem> {
        self.enter()?;
        let open = self.at;
        self.at += 1;
        let mut args = Vec::new();
        loop {
            self.blank();
            args.push(self.argument(transformer)?);
            self.blank();
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b')') => break,
                None => {
                    let message = format!("this `{}(` has no `)`", transformer.name());
                    return Err(self.problem_at(open, message));
                }
                Some(_) => return Err(self.problem("`,` or `)` was expected here")),
            }
        }
        self.at += 1;
        self.depth -= 1;
        let option = if self.bytes.get(self.at) == Some(&b'[') {
            self.at += 1;
            Some(self.field_argument()?.into_boxed_str())
        } else {
            None
        };
        Ok(Operand {
            term: Term::Call(transformer, args.into(), option),
            place: self.text.place(start),
        })
    }

    fn argument(&mut self, transformer: Transformer) -> Result<Term<FieldRef>, Problem> {
        let start = self.at;
        if let Some(b'"' | b'\'') = self.bytes.get(start) {
            return Ok(Term::Text(self.quoted()?.into_bytes().into()));
        }
        let word = self.identifier();
        if let Some(operand) = self.operand(word, start)? {
            return Ok(operand.term);
        }
        let message = format!("`{}` needs a field here", transformer.name());
        let problem = self.problem_at(start, message);
        Err(problem.help("a field is written like `proc.name`; put quotes around a text"))
    }

    /// Counts one more level of nesting.
    fn enter(&mut self) -> Result<(), Problem> {
        if self.depth == MAX_DEPTH {
            return Err(self.problem(format!("more than {MAX_DEPTH} nested parentheses")));
        }
        self.depth += 1;
        Ok(())
    }

    /// The rest of a field whose first part is `first`. None if it is no field.
    fn field(&mut self, first: &str, start: usize) -> Result<Option<FieldRef>, Problem> {
        let mut name = first.to_owned();
        while self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            let part = self.identifier();
            if part.is_empty() {
                return Err(self.problem("a part of the field's name is missing after this `.`"));
            }
            name.push('.');
            name.push_str(part);
        }
        if name.len() == first.len() {
            return Ok(None);
        }
        let mut arg = None;
        if let (base, Some(argument)) = split_argument(&name) {
            arg = Some(argument.to_owned());
            name = base.to_owned();
        } else if self.bytes.get(self.at) == Some(&b'[') {
            self.at += 1;
            arg = Some(self.field_argument()?);
        }
        Ok(Some(FieldRef {
            name,
            arg,
            place: self.text.place(start),
        }))
    }

    fn field_argument(&mut self) -> Result<String, Problem> {
        let start = self.at;
        let arg = match self.bytes.get(self.at) {
            Some(b'"' | b'\'') => self.quoted()?,
            _ => self.bare(b"[]\"' \t\r\n"),
        };
        if self.bytes.get(self.at) != Some(&b']') || arg.is_empty() {
            let problem = self.problem_at(start, "this field's argument has no end");
            return Err(problem.help("an argument is written like `proc.aname[2]`"));
        }
        self.at += 1;
        Ok(arg)
    }

    fn comparison(&mut self, left: Operand) -> Result<Check, Problem> {
        self.blank();
        let start = self.at;
        let op_place = self.text.place(start);
        let op = self.operator()?;
        let mut quantifier = None;
        if op.takes_quantifier() {
            let word = {
                self.blank();
                self.peek_identifier()
            };
            let found = Quantifier::by_name(word);
            let after = self.bytes.get(self.at + word.len());
            if found.is_some() && after.is_some_and(|byte| b" \t\r\n(".contains(byte)) {
                self.at += word.len();
                quantifier = found;
            }
        }
        self.blank();
        let right = if !op.takes_values() {
            Right::Values(Vec::new())
        } else if let Some(operand) = self.transformer()? {
            if let Some(quantifier) = quantifier {
                let message = format!("`{}` needs a list", quantifier.name());
                return Err(Problem::new(&operand.place, message).code(code::CONDITION));
            }
            Right::Operand(operand)
        } else if (op.takes_list() || quantifier.is_some())
            && self.bytes.get(self.at) == Some(&b'(')
        {
            Right::Values(self.list()?)
        } else {
            Right::Values(vec![self.value(op)?])
        };
        Ok(Check {
            left,
            op,
            quantifier,
            op_place,
            right,
        })
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

    fn operator(&mut self) -> Result<Op, Problem> {
        let start = self.at;
        // Signs such as `<=`, the longest first.
        let signs = self.bytes[start..]
            .iter()
            .take_while(|byte| b"<>=!".contains(byte));
        for len in (1..=signs.count().min(MAX_SIGNS)).rev() {
            let symbol = &self.bytes[start..start + len];
            if let Some(op) = std::str::from_utf8(symbol).ok().and_then(Op::by_name) {
                self.at += len;
                return Ok(op);
            }
        }
        let word = self.identifier();
        if let Some(op) = Op::by_name(word) {
            return Ok(op);
        }
        let names = Op::all_names();
        let all: Vec<_> = names.clone().collect();
        let problem = self.problem_at(start, "an operator was expected here");
        Err(problem
            .help(format!("the operators are {}", all.join(" ")))
            .nearest(word, names.filter(|name| name.len() > 2)))
    }

    fn list(&mut self) -> Result<Vec<Word>, Problem> {
        let open = self.at;
        self.at += 1;
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

    fn value(&mut self, op: Op) -> Result<Word, Problem> {
        let start = self.at;
        let place = self.text.place(start);
        if let Some(b'"' | b'\'') = self.bytes.get(start) {
            let text = self.quoted()?;
            return Ok(Word {
                text,
                quoted: true,
                place,
            });
        }
        let text = self.bare(b"()\"' \t\r\n=,");
        if text.is_empty() {
            let message = format!("`{}` needs a value here", op.name());
            return Err(self
                .problem_at(start, message)
                .help("put quotes around a value with blanks, quotes, `(`, `)`, `=` or `,`"));
        }
        Ok(Word {
            text,
            quoted: false,
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
    fn quoted(&mut self) -> Result<String, Problem> {
        let start = self.at;
        let (text, end) = unquote(&self.text.text[start..])
            .ok_or_else(|| self.problem_at(start, "this quoted text has no end"))?;
        self.at += end;
        Ok(text)
    }
}

/// Resolves the escapes of the quoted text at the start of `text`. Returns it with its end. An unknown escape stays as it
/// is.
pub(crate) fn unquote(text: &str) -> Option<(String, usize)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((out, at + 1));
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some((at, escaped)) = chars.next() else {
            break;
        };
        match escaped {
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            '\\' | '/' => out.push(escaped),
            ' ' => out.push('\\'),
            'x' => {
                let digits = text.get(at + 1..at + 3);
                let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                match code.filter(u8::is_ascii) {
                    Some(code) => {
                        out.push(char::from(code));
                        chars.next();
                        chars.next();
                    }
                    None => out.push_str("\\x"),
                }
            }
            c if c == quote => out.push(c),
            other => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    None
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
