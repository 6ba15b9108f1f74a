//! Exceptions of rules: tables of field values for which a rule does not match. They become part of the condition's text:
//! `(condition) and not (row or row or ...)`.

use std::sync::Arc;

use crate::ast::Quantifier;
use crate::keys::{Keys, text};
use crate::lists::push_value;
use crate::operators::Op;
use crate::source::{Location, Problem, code};
use crate::text::Composed;
use crate::yaml::{Node, Scalar};

/// An exception of a rule.
#[derive(Debug)]
pub(crate) struct Exception {
    name: Scalar,
    fields: Option<Entry>,
    comparators: Option<Entry>,
    values: Vec<Entry>,
}

/// A text or a list, which may contain lists.
#[derive(Debug, Clone)]
enum Entry {
    One(Arc<Scalar>),
    Several(Location, Vec<Entry>),
}

impl Entry {
    fn read(name: &str, node: &Node) -> Result<Self, Problem> {
        Ok(match node {
            Node::Scalar(scalar) if scalar.is_null() => Self::One(Arc::new(scalar.with_text(""))),
            Node::Scalar(_) => Self::One(Arc::new(text(name, node)?)),
            Node::Sequence(place, nodes) => {
                let entries = nodes.iter().map(|node| Self::read(name, node));
                Self::Several(place.clone(), entries.collect::<Result<_, _>>()?)
            }
            // Falco reads nothing from it.
            Node::Mapping(place, _) => Self::One(Arc::new(Scalar::new("", place))),
        })
    }

    /// Whether something was given.
    fn is_given(&self) -> bool {
        match self {
            Self::One(scalar) => !scalar.text.is_empty(),
            Self::Several(..) => true,
        }
    }

    fn place(&self) -> &Location {
        match self {
            Self::One(scalar) => &scalar.place,
            Self::Several(place, _) => place,
        }
    }

    /// The text, which is empty for a list.
    fn text(&self) -> &str {
        match self {
            Self::One(scalar) => &scalar.text,
            Self::Several(..) => "",
        }
    }
}

/// Reads the key `exceptions`. `append` says that they are appended to those of a rule.
pub(crate) fn read(
    keys: &mut Keys,
    problems: &mut Vec<Problem>,
    append: bool,
) -> Result<Option<Vec<Exception>>, Problem> {
    let Some(node) = keys.take("exceptions") else {
        return Ok(None);
    };
    let nodes = match &*node {
        Node::Sequence(_, nodes) => nodes.as_slice(),
        Node::Scalar(scalar) if scalar.is_null() => &[],
        other => {
            let message = format!("`exceptions` must be a list, not {}", other.kind());
            return Err(Problem::new(other.place(), message).code(code::ITEM));
        }
    };
    let mut exceptions: Vec<Exception> = Vec::new();
    for node in nodes {
        let exception = Exception::read(node, problems, append)?;
        let name = &exception.name;
        if exceptions.iter().any(|known| known.name.text == name.text) {
            let message = format!("two exceptions are called `{}`", name.text);
            problems.push(Problem::warning(code::EXCEPTION_NAME, &name.place, message));
        }
        exceptions.push(exception);
    }
    Ok(Some(exceptions))
}

/// Appends exceptions. One without fields adds its values to the exception of the same name.
pub(crate) fn append(to: &mut Vec<Exception>, more: Vec<Exception>) -> Result<(), Problem> {
    for mut exception in more {
        let place = exception.name.place.clone();
        let known = to
            .iter_mut()
            .find(|old| old.name.text == exception.name.text);
        let Some(old) = known else {
            if exception.fields.is_some() && exception.values.is_empty() {
                return Err(Problem::new(&place, "this exception needs `values`"));
            }
            exception.complete()?;
            to.push(exception);
            continue;
        };
        if exception.fields.is_some() || exception.comparators.is_some() {
            let message = "an earlier exception with this name has `fields` already";
            return Err(Problem::new(&place, message)
                .help("give only `name` and `values` to add values to it"));
        }
        old.values.append(&mut exception.values);
    }
    Ok(())
}

impl Exception {
    fn read(item: &Node, problems: &mut Vec<Problem>, append: bool) -> Result<Self, Problem> {
        let mut keys = Keys::new(item)?;
        let Some(name) = keys.text("name")? else {
            let problem = Problem::new(item.place(), "an exception needs a `name`");
            return Err(problem.code(code::ITEM));
        };
        let fields = keys.take("fields");
        if fields.is_none() && !append {
            let problem = Problem::new(&name.place, "this exception needs `fields`");
            return Err(problem.code(code::ITEM));
        }
        if let Some(Node::Sequence(place, nodes)) = fields.as_deref()
            && nodes.is_empty()
        {
            let message = "Falco needs a field in an exception";
            problems.push(Problem::refused_by_falco(code::VALIDATE, place, message));
        }
        let entry = |name: &str, node: Option<Arc<Node>>| -> Result<Option<Entry>, Problem> {
            let entry = node.map(|node| Entry::read(name, &node)).transpose()?;
            Ok(entry.filter(Entry::is_given))
        };
        let fields = entry("fields", fields)?;
        let comparators = entry("comps", keys.take("comps"))?;
        let values = match keys.take("values").as_deref() {
            Some(Node::Sequence(_, rows)) => {
                let rows = rows.iter().map(|row| Entry::read("values", row));
                rows.collect::<Result<_, _>>()?
            }
            Some(other) => {
                let message = format!("`values` must be a list, not {}", other.kind());
                return Err(Problem::new(other.place(), message).code(code::ITEM));
            }
            None => {
                if append {
                    let message = format!("the exception `{}` appends no values", name.text);
                    problems.push(Problem::warning(code::NO_VALUES, &name.place, message));
                }
                Vec::new()
            }
        };
        // Falco says nothing of them
        problems.extend(
            keys.unknown()
                .into_iter()
                .map(|one| one.code(code::LEFT_OUT)),
        );
        Ok(Self {
            name,
            fields,
            comparators,
            values,
        })
    }

    /// A note if the exception has one field and no comparator, which Falco needs where exceptions are replaced.
    pub(crate) fn without_comparators(&self) -> Option<Problem> {
        let message = "Falco needs `comps` in exceptions that replace others";
        let one = matches!(self.fields, Some(Entry::One(_)));
        let missing = one && self.comparators.is_none() && !self.values.is_empty();
        missing.then(|| Problem::refused_by_falco(code::CONDITION, &self.name.place, message))
    }

    /// Fills in the usual comparators, and checks that fields and comparators fit each other.
    pub(crate) fn complete(&mut self) -> Result<(), Problem> {
        let Some(fields) = &self.fields else {
            return Err(Problem::new(
                &self.name.place,
                "this exception needs `fields`",
            ));
        };
        let place = fields.place().clone();
        match fields {
            Entry::Several(_, fields) => {
                let usual = || {
                    let equal = Entry::One(Arc::new(Scalar::new("=", &place)));
                    Entry::Several(place.clone(), vec![equal; fields.len()])
                };
                let comparators = self.comparators.get_or_insert_with(usual);
                let some = match comparators {
                    Entry::Several(_, some) if some.len() == fields.len() => some,
                    _ => {
                        let message = "`comps` and `fields` must be equally long lists";
                        return Err(Problem::new(comparators.place(), message));
                    }
                };
                for entry in some {
                    trim(entry);
                    let known = Op::by_name(entry.text()).is_some();
                    if !known && !is_modified(entry.text()) {
                        return Err(unknown_comparator(entry));
                    }
                }
            }
            Entry::One(_) => {
                let usual = || Entry::One(Arc::new(Scalar::new("in", &place)));
                let entry = self.comparators.get_or_insert_with(usual);
                trim(entry);
                let known = Op::by_name(entry.text()).is_some_and(Op::takes_list);
                if !known && !is_modified(entry.text()) {
                    return Err(unknown_comparator(entry));
                }
            }
        }
        Ok(())
    }

    /// The fields, to look up.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &Arc<Scalar>> {
        let entries = match &self.fields {
            Some(Entry::Several(_, entries)) => entries.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        entries.iter().filter_map(|entry| match entry {
            Entry::One(scalar) => Some(scalar),
            Entry::Several(..) => None,
        })
    }

    /// Appends ` and not (...)` to a condition, if there are values.
    fn write(&self, out: &mut Composed) -> Result<(), Problem> {
        let (Some(fields), Some(comparators)) = (&self.fields, &self.comparators) else {
            return Ok(());
        };
        if self.values.is_empty() {
            return Ok(());
        }
        let glue = Arc::new(self.name.clone());
        out.add(" and not (", &glue);
        match (fields, comparators) {
            (Entry::Several(_, fields), Entry::Several(_, comparators)) => {
                for (at, row) in self.values.iter().enumerate() {
                    out.add(if at == 0 { "(" } else { " or (" }, &glue);
                    write_row(fields, comparators, row, out)?;
                    out.add(")", &glue);
                }
            }
            (Entry::One(field), Entry::One(comparator)) => {
                out.push(field, None);
                out.add(" ", comparator);
                out.push(comparator, None);
                for (at, value) in self.values.iter().enumerate() {
                    let Entry::One(scalar) = value else {
                        let message = "with one field, the values are texts, not lists";
                        return Err(Problem::new(value.place(), message));
                    };
                    out.add(if at == 0 { " (" } else { ", " }, scalar);
                    push_value(out, scalar, None);
                }
                out.add(")", &glue);
            }
            // `complete` has refused these.
            (Entry::Several(..), Entry::One(_)) | (Entry::One(_), Entry::Several(..)) => {}
        }
        out.add(")", &glue);
        Ok(())
    }
}

/// A condition with exceptions.
pub(crate) fn with_exceptions(
    condition: &Composed,
    exceptions: &[Exception],
) -> Result<Composed, Problem> {
    let (Some(_), Some(scalar)) = (exceptions.first(), condition.scalar(0)) else {
        return Ok(condition.clone());
    };
    let mut text = Composed::default();
    text.add("(", scalar);
    text.push_slice(condition, 0..condition.as_str().len());
    text.add(")", scalar);
    for exception in exceptions {
        exception.write(&mut text)?;
    }
    Ok(text)
}

fn write_row(
    fields: &[Entry],
    comparators: &[Entry],
    row: &Entry,
    out: &mut Composed,
) -> Result<(), Problem> {
    let cells = match row {
        Entry::Several(_, cells) => cells.as_slice(),
        Entry::One(_) => &[],
    };
    if cells.len() != fields.len() {
        let message = match row {
            Entry::Several(..) => {
                let (have, need) = (cells.len(), fields.len());
                format!("this row has {have} values, but there are {need} fields")
            }
            Entry::One(_) => "a row of values is a list, not a text".to_owned(),
        };
        return Err(Problem::new(row.place(), message));
    }
    for (at, ((field, comparator), cell)) in fields.iter().zip(comparators).zip(cells).enumerate() {
        let (Entry::One(field), Entry::One(comparator)) = (field, comparator) else {
            let message = "`fields` and `comps` are texts or lists of texts";
            return Err(Problem::new(field.place(), message));
        };
        out.add(if at == 0 { "" } else { " and " }, field);
        out.push(field, None);
        out.add(" ", comparator);
        out.push(comparator, None);
        out.add(" ", comparator);
        match cell {
            Entry::Several(place, values) => {
                let glue = Arc::new(Scalar::new("", place));
                out.add("(", &glue);
                for (at, value) in values.iter().enumerate() {
                    let Entry::One(value) = value else {
                        let message = "a list of values contains no lists";
                        return Err(Problem::new(value.place(), message).code(code::CONDITION));
                    };
                    out.add(if at == 0 { "" } else { ", " }, value);
                    push_value(out, value, None);
                }
                out.add(")", &glue);
            }
            Entry::One(value) if takes_list(&comparator.text) => {
                // As in Falco, a list may be one text: "(a, b)".
                let open = !value.text.starts_with('(');
                out.add(if open { "(" } else { "" }, value);
                out.push(value, None);
                out.add(if open { ")" } else { "" }, value);
            }
            Entry::One(value) => push_value(out, value, None),
        }
    }
    Ok(())
}

fn trim(entry: &mut Entry) {
    if let Entry::One(scalar) = entry {
        let trimmed = scalar.text.trim_matches([' ', '\t', '\r', '\n']);
        *scalar = Arc::new(scalar.with_text(trimmed));
    }
}

/// Whether a comparator is followed by several values.
fn takes_list(comparator: &str) -> bool {
    Op::by_name(comparator).is_some_and(Op::takes_list) || is_modified(comparator)
}

/// Whether a comparator is one like `startswith anyof`.
fn is_modified(comparator: &str) -> bool {
    let Some((op, quantifier)) = comparator.split_once(' ') else {
        return false;
    };
    Op::by_name(op).is_some_and(Op::takes_quantifier) && Quantifier::by_name(quantifier).is_some()
}

fn unknown_comparator(entry: &Entry) -> Problem {
    let name = entry.text();
    let message = format!("`{name}` is not an operator for exceptions");
    let first = name.split(' ').next().unwrap_or_default();
    match Op::by_name(first) {
        Some(op) if op.takes_quantifier() => Problem::new(entry.place(), message).help(format!(
            "write `{first} anyof`, or `{first}` in a list of comparators"
        )),
        Some(_) => Problem::new(entry.place(), message).help(format!("write `{first}`")),
        None => Problem::new(entry.place(), message).nearest(first, Op::all_names()),
    }
}
