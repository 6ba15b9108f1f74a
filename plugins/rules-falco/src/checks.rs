//! One check of a condition: whether its operator suits its field and its values, and the comparison that it becomes.

use lanner_plugin::{FieldKind, ResolvedField};

use crate::ast::{Check, Quantifier, Word};
use crate::graph::Comparison;
use crate::matcher::Matcher;
use crate::operators::{Op, Ordered, Predicate};
use crate::source::{Location, Problem, code};
use crate::text_matcher::{self, Pattern, TextRelation, hexadecimal};

/// A comparison with constants.
#[derive(Debug)]
pub(crate) enum Checked {
    /// One that the graph can join with others.
    Joinable(Comparison),
    Matcher(Matcher),
}

/// Checks a comparison with constants. `values` have lists filled in.
pub(crate) fn comparison(
    check: &Check,
    values: &[Word],
    field: &ResolvedField,
) -> Result<Checked, Problem> {
    suits(check, field)?;
    if field.kind != FieldKind::Bytes
        && let Some(word) = values.iter().find(|word| word.text.contains('\0'))
    {
        let message = "no value contains the byte 0";
        return Err(Problem::new(&word.place, message).code(code::CONDITION));
    }
    if let FieldKind::String | FieldKind::Bytes = field.kind
        && let Some(comparison) = joinable(check, values)?
    {
        return Ok(Checked::Joinable(comparison));
    }
    if let Some(quantifier) = check.quantifier {
        let one = |value| Matcher::new(check.op, std::slice::from_ref(value), field.kind);
        let matchers = values.iter().map(one).collect::<Result<_, _>>()?;
        return Ok(Checked::Matcher(Matcher::Quantified(quantifier, matchers)));
    }
    Matcher::new(check.op, values, field.kind).map(Checked::Matcher)
}

/// The form of a comparison of texts that the graph can join: one of several constants has to fit.
fn joinable(check: &Check, values: &[Word]) -> Result<Option<Comparison>, Problem> {
    match check.quantifier {
        None | Some(Quantifier::Any) => {}
        Some(Quantifier::All) if values.len() == 1 => {}
        Some(Quantifier::All | Quantifier::One) => return Ok(None),
    }
    let plain = || values.iter().map(text_matcher::bytes).collect();
    Ok(match check.op.predicate() {
        Predicate::Ordered(Ordered::Equal) | Predicate::Member(_) => {
            Some(Comparison::Texts(TextRelation::Equal, plain()))
        }
        Predicate::Text(relation) => Some(Comparison::Texts(relation, plain())),
        Predicate::Hex(relation) => {
            let texts: Result<_, _> = values.iter().map(hexadecimal).collect();
            Some(Comparison::Texts(relation, texts?))
        }
        Predicate::Ordered(Ordered::NotEqual) => match (check.quantifier, values) {
            (None, [word]) => Some(Comparison::NotText(text_matcher::bytes(word))),
            _ => None,
        },
        Predicate::Exists
        | Predicate::Ordered(
            Ordered::Less | Ordered::LessOrEqual | Ordered::Greater | Ordered::GreaterOrEqual,
        )
        | Predicate::Pattern(_) => None,
    })
}

/// Whether a field can be compared with this operator.
fn suits(check: &Check, field: &ResolvedField) -> Result<(), Problem> {
    let op = check.op;
    if op.suits(field) {
        return Ok(());
    }
    let what = if field.list {
        "a list"
    } else {
        kind_name(field.kind)
    };
    let message = format!(
        "`{}` is {what}, which `{}` cannot compare",
        check.left,
        op.name()
    );
    let suitable = Op::ALL.iter().filter(|op| op.suits(field));
    let names: Vec<_> = suitable.map(|op| op.name()).collect();
    let help = format!("it can be compared with {}", names.join(" "));
    Err(Problem::new(&check.op_place, message)
        .code(code::CONDITION)
        .help(help))
}

/// Whether a field can be compared with another one.
pub(crate) fn suit_each_other(
    check: &Check,
    left: &ResolvedField,
    right: &ResolvedField,
    place: &Location,
) -> Result<(), Problem> {
    suits(check, left)?;
    let problem = |message: String| Err(Problem::new(place, message).code(code::CONDITION));
    if check.op.predicate() == Predicate::Pattern(Pattern::Regex) {
        return problem(
            "`regex` needs a constant: lanner compiles the expression when it loads the rules"
                .to_owned(),
        );
    }
    if right.any || right.kind == FieldKind::Any {
        return problem(
            "a field that stands for several values or has no fixed type cannot be used here"
                .to_owned(),
        );
    }
    if right.list && !check.op.takes_list() {
        return problem(format!(
            "this is a list, which `{}` cannot compare with",
            check.op.name()
        ));
    }
    if left.kind != FieldKind::Any && class(left.kind) != class(right.kind) {
        return problem(format!(
            "this is {}, and `{}` is {}",
            kind_name(right.kind),
            check.left,
            kind_name(left.kind)
        ));
    }
    Ok(())
}

/// A number for each group of types that can be compared with each other.
fn class(kind: FieldKind) -> u8 {
    match kind {
        FieldKind::Bool => 0,
        FieldKind::I64 | FieldKind::U64 | FieldKind::F64 => 1,
        FieldKind::String | FieldKind::Bytes => 2,
        FieldKind::Ip => 3,
        FieldKind::Any => 4,
    }
}

fn kind_name(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Bool => "true or false",
        FieldKind::I64 | FieldKind::U64 | FieldKind::F64 => "a number",
        FieldKind::String => "a text",
        FieldKind::Bytes => "a buffer",
        FieldKind::Ip => "an address",
        FieldKind::Any => "of no fixed type",
    }
}
