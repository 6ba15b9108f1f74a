//! The operands of checks: fields, transformers and their arguments.

use lanner_plugin::{Term, Transformer};

use super::{Parser, split_argument};
use crate::ast::{FieldRef, Operand};
use crate::source::{Problem, code};

impl<'a> Parser<'a> {
    /// The field or transformer whose first word is `first`. None if it is neither.
    pub(super) fn operand(
        &mut self,
        first: &str,
        start: usize,
    ) -> Result<Option<Operand>, Problem> {
        if self.bytes.get(self.at) == Some(&b'(')
            && let Some(transformer) = Transformer::by_name(first)
        {
            return self.call(transformer, start).map(Some);
        }
        Ok(self.field(first, start)?.map(Operand::field))
    }

    /// The arguments of a transformer and its option.
    pub(super) fn call(
        &mut self,
        transformer: Transformer,
        start: usize,
    ) -> Result<Operand, Problem> {
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
        match self.bytes.get(start) {
            Some(b'"' | b'\'') => {
                let text = self.quoted()?;
                return Ok(Term::Text(text.bytes().into()));
            }
            Some(b'(') => return self.list_argument(transformer),
            _ => {}
        }
        if let Some(number) = self.number() {
            return Ok(Term::Text(number.as_bytes().into()));
        }
        let word = self.identifier();
        if let Some(operand) = self.operand(word, start)? {
            return Ok(operand.term);
        }
        let message = format!("`{}` needs a field here", transformer.name());
        let problem = self.problem_at(start, message);
        Err(problem.help("a field is written like `proc.name`; put quotes around a text"))
    }

    /// `(a, b)` as the argument of a transformer.
    fn list_argument(&mut self, transformer: Transformer) -> Result<Term<FieldRef>, Problem> {
        let open = self.at;
        self.enter()?;
        self.at += 1;
        let mut elements = Vec::new();
        self.blank();
        if !self.take(")") {
            loop {
                self.blank();
                if self.bytes.get(self.at) == Some(&b'(') {
                    return Err(self.problem("a list contains no lists"));
                }
                elements.push(self.argument(transformer)?);
                self.blank();
                if self.take(")") {
                    break;
                }
                if !self.take(",") {
                    return Err(self.problem_at(open, "this list has no `)`"));
                }
            }
        }
        self.depth -= 1;
        Ok(Term::List(elements.into()))
    }

    /// A number: `0x1f`, `-5`, `1.5e+3`.
    pub(super) fn number(&mut self) -> Option<&'a str> {
        let rest = &self.bytes[self.at..];
        let count = |from: usize, is: fn(&u8) -> bool| {
            let rest = rest.get(from..).unwrap_or_default();
            rest.iter().take_while(|byte| is(byte)).count()
        };
        let digits = |from| count(from, u8::is_ascii_digit);
        let hexadecimal = match rest {
            [b'0', b'x' | b'X', ..] => count(2, u8::is_ascii_hexdigit),
            _ => 0,
        };
        let length = if hexadecimal > 0 {
            2 + hexadecimal
        } else {
            let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
            let whole = digits(sign);
            if whole == 0 {
                return None;
            }
            let mut end = sign + whole;
            if rest.get(end) == Some(&b'.') {
                end += 1 + digits(end + 1);
            }
            if let (Some(b'e' | b'E'), Some(b'+' | b'-')) = (rest.get(end), rest.get(end + 1)) {
                let exponent = digits(end + 2);
                end += if exponent > 0 { 2 + exponent } else { 0 };
            }
            end
        };
        let text = std::str::from_utf8(&rest[..length]).ok()?;
        self.at += length;
        Some(text)
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
            let argument = self.field_argument()?;
            self.note_brackets(&name, &argument, start);
            arg = Some(argument);
        }
        Ok(Some(FieldRef {
            name,
            arg,
            place: self.text.place(start),
        }))
    }

    /// A note on brackets for which Falco has a dot only.
    fn note_brackets(&mut self, name: &str, argument: &str, start: usize) {
        let dot_only = match name {
            "evt.rawarg" | "evt.type.is" => true,
            "evt.arg" => argument.trim_start().parse::<i32>().is_err(),
            _ => false,
        };
        if dot_only {
            let message = format!("Falco writes `{name}.{argument}`");
            let place = self.text.place(start);
            self.notes
                .push(Problem::refused_by_falco(code::CONDITION, &place, message));
        }
    }

    fn field_argument(&mut self) -> Result<String, Problem> {
        let start = self.at;
        let quoted = matches!(self.bytes.get(start), Some(b'"' | b'\''));
        let arg = if quoted {
            self.quoted()?.text
        } else {
            self.bare(b"[]\"' \t\r\n\x0b\x0c")
        };
        if self.bytes.get(self.at) != Some(&b']') || (arg.is_empty() && !quoted) {
            let problem = self.problem_at(start, "this field's argument has no end");
            return Err(problem.help("an argument is written like `proc.aname[2]`"));
        }
        self.at += 1;
        Ok(arg)
    }
}
