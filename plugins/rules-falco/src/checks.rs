//! One check of a condition: does its operator suit its field, and its values both?

use lanner_plugin::{FieldKind, ResolvedField};
use memchr::memmem::Finder;

use crate::ast::{Check, Op, Word};
use crate::matcher::{IpRange, Matcher, Number, TextMatcher, TextSet};
use crate::program::Candidates;
use crate::source::Problem;

/// What a list value means for an operator.
pub(crate) fn candidates(op: Op, field: &ResolvedField) -> Candidates {
    match op {
        Op::Exists => Candidates::Whole,
        Op::Ne if field.either => Candidates::All,
        Op::In if field.list => Candidates::All,
        _ if field.any || field.list => Candidates::Any,
        _ => Candidates::Whole,
    }
}

/// Makes the comparison. `values` have lists filled in.
pub(crate) fn matcher(
    check: &Check,
    values: &[Word],
    field: &ResolvedField,
) -> Result<Matcher, Problem> {
    let op = check.op;
    if op == Op::Exists {
        return Ok(Matcher::Exists);
    }
    if op == Op::Regex {
        let problem = Problem::new(&check.op_place, "`regex` is not supported yet");
        return Err(problem.help("`glob` may do: `*` is any text, `?` any character"));
    }
    let allowed = allowed(field);
    if !allowed.contains(&op) {
        let what = if field.list {
            "a list"
        } else {
            kind_name(field.kind)
        };
        let message = format!(
            "`{}` is {what}, which `{}` cannot compare",
            check.field.name,
            op.name()
        );
        let names: Vec<_> = allowed.iter().map(|op| op.name()).collect();
        let help = format!("it can be compared with {}", names.join(" "));
        return Err(Problem::new(&check.op_place, message).help(help));
    }
    if let Some(quantifier) = check.quantifier {
        let one = |value| kind_matcher(op, std::slice::from_ref(value), field.kind);
        let matchers = values.iter().map(one).collect::<Result<_, _>>()?;
        return Ok(Matcher::Quantified(quantifier, matchers));
    }
    kind_matcher(op, values, field.kind)
}

fn allowed(field: &ResolvedField) -> &'static [Op] {
    use Op::{
        Bcontains, BstartsWith, Contains, EndsWith, Eq, Exists, Ge, Glob, Gt, Icontains, Iglob, In,
        Intersects, Le, Lt, Ne, Pmatch, StartsWith,
    };
    if field.list {
        return &[In, Intersects, Exists];
    }
    match field.kind {
        FieldKind::Bool | FieldKind::Ip => &[Eq, Ne, In, Intersects, Exists],
        FieldKind::I64 | FieldKind::U64 | FieldKind::F64 => {
            &[Eq, Ne, Lt, Le, Gt, Ge, In, Intersects, Exists]
        }
        FieldKind::Bytes => &[
            Eq,
            Ne,
            Contains,
            StartsWith,
            EndsWith,
            Bcontains,
            BstartsWith,
            In,
            Intersects,
            Exists,
        ],
        FieldKind::String => &[
            Eq, Ne, Lt, Le, Gt, Ge, Contains, Icontains, StartsWith, EndsWith, In, Intersects,
            Pmatch, Glob, Iglob, Exists,
        ],
        FieldKind::Any => &[
            Eq,
            Ne,
            Lt,
            Le,
            Gt,
            Ge,
            Contains,
            Icontains,
            StartsWith,
            EndsWith,
            Bcontains,
            BstartsWith,
            In,
            Intersects,
            Pmatch,
            Glob,
            Iglob,
            Exists,
        ],
    }
}

fn kind_name(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Bool => "true or false",
        FieldKind::I64 | FieldKind::U64 | FieldKind::F64 => "a number",
        FieldKind::String => "a text",
        FieldKind::Bytes => "a buffer",
        FieldKind::Ip => "an address",
        FieldKind::Any => "of changing type",
    }
}

fn kind_matcher(op: Op, values: &[Word], kind: FieldKind) -> Result<Matcher, Problem> {
    match kind {
        FieldKind::Bool => {
            let parse = |word: &Word| match word.text.as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            };
            let parsed = all(values, "`true` or `false`", parse)?;
            Ok(match (op, parsed.as_slice()) {
                (Op::Ne, [value]) => Matcher::NotBool(*value),
                _ => Matcher::Bool(parsed.into()),
            })
        }
        FieldKind::I64 | FieldKind::U64 | FieldKind::F64 => {
            let parsed = all(values, "a number", |word| Number::parse(&word.text))?;
            Ok(match (op, parsed.as_slice()) {
                (Op::In | Op::Intersects, _) => Matcher::NumberIn(parsed.into()),
                (op, [value]) => Matcher::Number(op, *value),
                _ => Matcher::NumberIn(parsed.into()),
            })
        }
        FieldKind::Ip => {
            let example = "an address, or a network such as 10.0.0.0/8";
            let parsed = all(values, example, |word| IpRange::parse(&word.text))?;
            Ok(match (op, parsed.as_slice()) {
                (Op::Ne, [value]) => Matcher::NotIp(*value),
                _ => Matcher::Ip(parsed.into()),
            })
        }
        FieldKind::String | FieldKind::Bytes => text_matcher(op, values),
        FieldKind::Any => {
            // Whatever the values can be read as, for whatever the field turns out to be.
            let mut matchers = vec![text_matcher(op, values)?];
            let other_kinds = [FieldKind::Bool, FieldKind::I64, FieldKind::Ip];
            for kind in other_kinds {
                if allowed(&ResolvedField::new(0, kind)).contains(&op) {
                    matchers.extend(kind_matcher(op, values, kind));
                }
            }
            Ok(Matcher::Dynamic(matchers))
        }
    }
}

fn all<T>(
    values: &[Word],
    expected: &str,
    parse: impl Fn(&Word) -> Option<T>,
) -> Result<Vec<T>, Problem> {
    let one = |word: &Word| {
        parse(word).ok_or_else(|| {
            let message = format!("{expected} is needed here, not `{}`", word.text);
            Problem::new(&word.place, message)
        })
    };
    values.iter().map(one).collect()
}

fn text_matcher(op: Op, values: &[Word]) -> Result<Matcher, Problem> {
    let texts = || values.iter().map(|word| word.text.clone().into_bytes());
    let first = values.first();
    let text: Box<[u8]> = first.map_or_else(Box::default, |word| word.text.as_bytes().into());
    Ok(match op {
        Op::Eq => Matcher::Text(TextMatcher::Equal(text)),
        Op::Ne => Matcher::NotText(TextMatcher::Equal(text)),
        Op::Lt | Op::Le | Op::Gt | Op::Ge => Matcher::TextOrder(op, text),
        Op::Contains => contains(&text),
        Op::Icontains => Matcher::Text(TextMatcher::ContainsFolded(
            text.to_ascii_lowercase().into(),
        )),
        Op::StartsWith => Matcher::Text(TextMatcher::Prefix(text)),
        Op::EndsWith => Matcher::Text(TextMatcher::Suffix(text)),
        Op::Glob => Matcher::Text(TextMatcher::Glob(text, false)),
        Op::Iglob => Matcher::Text(TextMatcher::Glob(text, true)),
        Op::Pmatch => {
            let patterns: Vec<Box<[u8]>> = texts().map(Vec::into_boxed_slice).collect();
            Matcher::Text(TextMatcher::PathPrefix(patterns.into()))
        }
        Op::Bcontains => contains(&hexadecimal(first)?),
        Op::BstartsWith => Matcher::Text(TextMatcher::Prefix(hexadecimal(first)?)),
        Op::In | Op::Intersects | Op::Exists | Op::Regex => {
            Matcher::Text(TextMatcher::In(TextSet::new(texts())))
        }
    })
}

fn contains(text: &[u8]) -> Matcher {
    Matcher::Text(TextMatcher::Contains(Box::new(
        Finder::new(text).into_owned(),
    )))
}

fn hexadecimal(word: Option<&Word>) -> Result<Box<[u8]>, Problem> {
    let Some(word) = word else {
        return Ok(Box::default());
    };
    let digits = word.text.as_bytes();
    let bytes = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair)
            .ok()
            .filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    bytes.collect::<Option<_>>().ok_or_else(|| {
        let message = format!("bytes in hexadecimal are needed here, not `{}`", word.text);
        Problem::new(&word.place, message).help("write `666f6f` for `foo`")
    })
}
