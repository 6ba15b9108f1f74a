//! Exceptions of rules: tables of field values for which a rule does not match. They become part of the condition:
//! `condition and not (row or row or ...)`.

use std::collections::HashSet;
use std::sync::Arc;

use crate::ast::{Check, Expr, Operand, Quantifier, Right, Word};
use crate::keys::{Keys, text, texts};
use crate::operators::Op;
use crate::parse::lone_operand;
use crate::source::{Place, Problem, code};
use crate::yaml::{Node, Scalar};

/// An exception of a rule.
#[derive(Debug)]
pub(crate) struct Exception {
    name: Scalar,
    columns: Option<Columns>,
    values: Vec<Arc<Node>>,
}

#[derive(Debug)]
enum Columns {
    /// One field. The values are a list.
    One(Column),
    /// Several fields. Each value is a row.
    Several(Vec<Column>),
}

/// A field, and how it is compared with the values.
#[derive(Debug)]
struct Column {
    field: Operand,
    comparator: Comparator,
    /// The position of the comparator.
    place: Place,
}

/// An operator, possibly with a quantifier: `startswith anyof`.
#[derive(Debug, Clone, Copy)]
struct Comparator {
    op: Op,
    quantifier: Option<Quantifier>,
}

impl Exception {
    pub(crate) fn read_all(node: &Node) -> Result<Vec<Self>, Problem> {
        match node {
            Node::Sequence(_, items) => items.iter().map(|item| Self::read(item)).collect(),
            Node::Scalar(scalar) if scalar.is_null() => Ok(Vec::new()),
            other => {
                let message = format!("`exceptions` must be a list, not {}", other.kind());
                Err(Problem::new(other.place(), message))
            }
        }
    }

    fn read(item: &Node) -> Result<Self, Problem> {
        let mut keys = Keys::new(item)?;
        let Some(name) = keys.text("name")? else {
            return Err(Problem::new(item.place(), "an exception needs a `name`"));
        };
        let fields = keys.take("fields");
        let comps = keys.take("comps");
        let values = match keys.take("values").as_deref() {
            Some(Node::Sequence(_, rows)) => rows.clone(),
            Some(Node::Scalar(scalar)) if scalar.is_null() => Vec::new(),
            Some(other) => {
                let message = format!("`values` must be a list, not {}", other.kind());
                return Err(Problem::new(other.place(), message));
            }
            None => Vec::new(),
        };
        if let Some(unknown) = keys.unknown().into_iter().next() {
            return Err(unknown);
        }
        let columns = match fields {
            Some(fields) => Some(Columns::read(&fields, comps.as_deref())?),
            None => None,
        };
        Ok(Self {
            name,
            columns,
            values,
        })
    }

    /// Warns about exceptions with the same name.
    pub(crate) fn duplicates(all: &[Self]) -> Vec<Problem> {
        let mut seen = HashSet::new();
        let twice = all
            .iter()
            .filter(|one| !seen.insert(one.name.text.as_str()));
        twice
            .map(|one| {
                let message = format!("two exceptions are called `{}`", one.name.text);
                Problem::warning(code::EXCEPTION_NAME, &one.name.place, message)
            })
            .collect()
    }

    /// Warns about appended exceptions without values.
    pub(crate) fn without_values(all: &[Self]) -> Vec<Problem> {
        let empty = all.iter().filter(|one| one.values.is_empty());
        empty
            .map(|one| {
                let message = format!("the exception `{}` appends no values", one.name.text);
                Problem::warning(code::NO_VALUES, &one.name.place, message)
            })
            .collect()
    }

    /// Appends exceptions. One without fields adds its values to the exception of the same name.
    pub(crate) fn append_all(to: &mut Vec<Self>, more: Vec<Self>) -> Result<(), Problem> {
        for exception in more {
            match to
                .iter_mut()
                .find(|old| old.name.text == exception.name.text)
            {
                Some(old) if exception.columns.is_none() => old.values.extend(exception.values),
                Some(_) => {
                    let message = "an earlier exception with this name has `fields` already";
                    return Err(Problem::new(&exception.name.place, message)
                        .help("give only `name` and `values` to add values to it"));
                }
                None => to.push(exception),
            }
        }
        Ok(())
    }

    /// The condition for which the rule does not match. None if there are no values.
    pub(crate) fn condition(&self) -> Result<Option<Expr>, Problem> {
        let Some(columns) = &self.columns else {
            return Err(Problem::new(
                &self.name.place,
                "this exception needs `fields`",
            ));
        };
        let rows: Vec<Expr> = match columns {
            Columns::One(column) if column.comparator.takes_list() => {
                let mut words = Vec::new();
                for value in &self.values {
                    words.extend(cell(value)?);
                }
                if words.is_empty() {
                    Vec::new()
                } else {
                    vec![column.check(words)]
                }
            }
            Columns::One(column) => {
                let mut checks = Vec::new();
                for value in &self.values {
                    for word in cell(value)? {
                        checks.push(column.check(vec![word]));
                    }
                }
                checks
            }
            Columns::Several(columns) => {
                let rows = self.values.iter().map(|row| Self::row(columns, row));
                rows.collect::<Result<_, _>>()?
            }
        };
        Ok((!rows.is_empty()).then_some(Expr::Or(rows)))
    }

    fn row(columns: &[Column], row: &Node) -> Result<Expr, Problem> {
        let Node::Sequence(_, cells) = row else {
            let message = format!("a row of values is a list, not {}", row.kind());
            return Err(Problem::new(row.place(), message));
        };
        if cells.len() != columns.len() {
            let (have, need) = (cells.len(), columns.len());
            let message = format!("this row has {have} values, but there are {need} fields");
            return Err(Problem::new(row.place(), message));
        }
        let mut checks = Vec::new();
        for (column, value) in columns.iter().zip(cells) {
            let comparator = column.comparator;
            if !comparator.takes_list() && matches!(**value, Node::Sequence(..)) {
                let name = comparator.op.name();
                let message = format!("`{name}` compares with one value, not with a list");
                return Err(Problem::new(value.place(), message));
            }
            checks.push(column.check(cell(value)?));
        }
        Ok(Expr::And(checks))
    }
}

impl Columns {
    fn read(fields: &Node, comps: Option<&Node>) -> Result<Self, Problem> {
        if let Node::Scalar(field) = fields {
            let comp = comps.map(|node| text("comps", node)).transpose()?;
            return Ok(Self::One(Column::read(field, comp.as_ref(), Op::In)?));
        }
        let fields = texts("fields", fields)?;
        let comps = comps.map(|node| texts("comps", node)).transpose()?;
        if let (Some(comps), Some(first)) = (&comps, fields.first())
            && comps.len() != fields.len()
        {
            let message = "`comps` and `fields` must be equally long";
            return Err(Problem::new(&first.place, message));
        }
        let columns = fields.iter().enumerate().map(|(at, field)| {
            let comp = comps.as_ref().and_then(|comps| comps.get(at));
            Column::read(field, comp, Op::Eq)
        });
        Ok(Self::Several(columns.collect::<Result<_, _>>()?))
    }
}

impl Column {
    /// Reads a field and its comparator. Without one, `default` compares.
    fn read(field: &Scalar, comp: Option<&Scalar>, default: Op) -> Result<Self, Problem> {
        let default = Comparator {
            op: default,
            quantifier: None,
        };
        Ok(Self {
            field: lone_operand(field)?,
            comparator: comp.map_or(Ok(default), Comparator::read)?,
            place: comp.unwrap_or(field).place.clone(),
        })
    }

    fn check(&self, values: Vec<Word>) -> Expr {
        Expr::Check(Check {
            left: self.field.clone(),
            op: self.comparator.op,
            quantifier: self.comparator.quantifier,
            op_place: self.place.clone(),
            right: Right::Values(values),
        })
    }
}

impl Comparator {
    fn read(comp: &Scalar) -> Result<Self, Problem> {
        let mut words = comp.text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let op = Op::by_name(name).filter(|op| op.takes_values());
        let quantifier = words.next().map(Quantifier::by_name);
        match (op, quantifier, words.next()) {
            (Some(op), None, None) => Ok(Self {
                op,
                quantifier: None,
            }),
            (Some(op), Some(Some(quantifier)), None) if op.takes_quantifier() => Ok(Self {
                op,
                quantifier: Some(quantifier),
            }),
            (op, _, _) => {
                let message = format!("`{}` is not an operator for exceptions", comp.text);
                let problem = Problem::new(&comp.place, message);
                Err(match op {
                    None => problem.nearest(name, Op::all_names()),
                    Some(op) if op.takes_quantifier() => {
                        problem.help(format!("write `{name}`, or `{name} anyof`"))
                    }
                    Some(_) => problem.help(format!("write `{name}`")),
                })
            }
        }
    }

    /// Whether it compares with several values at once.
    fn takes_list(self) -> bool {
        self.op.takes_list() || self.quantifier.is_some()
    }
}

/// The values of a cell: a text, or a list of texts.
fn cell(node: &Node) -> Result<Vec<Word>, Problem> {
    match node {
        Node::Scalar(scalar) => {
            // Falco also accepts a list as one text: "(a, b)".
            let inner = scalar
                .text
                .strip_prefix('(')
                .and_then(|t| t.strip_suffix(')'));
            let Some(inner) = inner else {
                return Ok(vec![Word::of_item(scalar.clone())]);
            };
            let parts = inner
                .split(',')
                .map(|part| Word::of_item(scalar.with_text(part.trim())));
            Ok(parts.collect())
        }
        Node::Sequence(..) => Ok(texts("values", node)?
            .into_iter()
            .map(Word::of_item)
            .collect()),
        Node::Mapping(place, _) => Err(Problem::new(
            place,
            "a value is a text or a list, not a map",
        )),
    }
}
