//! Falco's `evt.around[TIME] = MILLISECONDS`: the event happened at most that many milliseconds before or after a time. The time
//! is given in nanoseconds since the epoch. The check becomes two comparisons of `evt.rawtime`.

use crate::ast::{Check, Expr, FieldRef, Operand, Right, Word};
use crate::numbers::without_blanks;
use crate::operators::{Op, Ordered, Predicate};
use crate::source::{Location, Problem, code};

/// The comparisons that a check of `evt.around` means. None: it checks another field.
pub(crate) fn expand(check: &Check, values: &[Word]) -> Result<Option<Expr>, Problem> {
    let Some(field) = check
        .left
        .plain()
        .filter(|field| field.name == "evt.around")
    else {
        return Ok(None);
    };
    let problem = |place: &Location, message: &'static str| {
        let problem = Problem::new(place, message).code(code::CONDITION);
        problem.help("write `evt.around[TIME] = MILLISECONDS`, with a time in nanoseconds")
    };
    if check.op.predicate() != Predicate::Ordered(Ordered::Equal) || check.quantifier.is_some() {
        let message = "`evt.around` can only be compared with `=`";
        return Err(problem(&check.op_place, message));
    }
    let number = |text: &str| without_blanks(text).parse::<u64>().ok();
    let Some(time) = field.arg.as_deref().and_then(number) else {
        return Err(problem(
            &field.place,
            "`evt.around` needs a time in brackets",
        ));
    };
    let Some((word, distance)) = values
        .first()
        .and_then(|word| Some((word, number(&word.text)?)))
    else {
        let message = "`evt.around` is compared with a number of milliseconds";
        return Err(problem(&check.op_place, message));
    };
    let distance = distance.saturating_mul(1_000_000);
    let compare = |op: Op, time: u64| {
        let rawtime = FieldRef {
            name: "evt.rawtime".to_owned(),
            arg: None,
            place: field.place.clone(),
        };
        let value = Word {
            text: time.to_string(),
            ..word.clone()
        };
        Expr::Check(Check {
            left: Operand::field(rawtime),
            op,
            right: Right::Values(vec![value]),
            ..check.clone()
        })
    };
    Ok(Some(Expr::And(vec![
        compare(Op::Ge, time.saturating_sub(distance)),
        compare(Op::Le, time.saturating_add(distance)),
    ])))
}
