//! One check of a condition: does its operator suit its field, and its values both?

use aho_corasick::AhoCorasickBuilder;
use lanner_plugin::{FieldKind, ResolvedField};
use memchr::memmem::Finder;
use regex::{Regex, RegexBuilder};

use crate::addresses::{IpRange, IpSet};
use crate::ast::{Check, Op, Quantifier, Word};
use crate::graph::{How, Sort};
use crate::matcher::{Matcher, Number, NumberSet, TextMatcher};
use crate::program::Candidates;
use crate::source::{Place, Problem, code};
use crate::texts::{Affixes, Side, TextSet};

/// Bytes that a compiled regular expression may take.
const MAX_REGEX: usize = 1 << 20;

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

/// A comparison: one of those that can be joined, or a matcher of its own.
#[derive(Debug)]
pub(crate) enum Comparison {
    How(How),
    Matcher(Matcher),
}

/// Makes the comparison. `values` have lists filled in.
pub(crate) fn comparison(
    check: &Check,
    values: &[Word],
    field: &ResolvedField,
) -> Result<Comparison, Problem> {
    let op = check.op;
    if op == Op::Exists {
        return Ok(Comparison::Matcher(Matcher::Exists));
    }
    suits(check, field)?;
    let text_field = matches!(field.kind, FieldKind::String | FieldKind::Bytes);
    if let Some(sort) = sort(op).filter(|_| text_field && check.quantifier != Some(Quantifier::One))
        && (check.quantifier != Some(Quantifier::All) || values.len() == 1)
    {
        let texts = values.iter().map(|word| match op {
            Op::Bcontains | Op::BstartsWith => hexadecimal(Some(word)),
            _ => Ok(word.text.as_bytes().into()),
        });
        return Ok(Comparison::How(How::Texts(
            sort,
            texts.collect::<Result<_, _>>()?,
        )));
    }
    if let (Op::Ne, true, None, [word]) = (op, text_field, check.quantifier, values) {
        return Ok(Comparison::How(How::NotText(word.text.as_bytes().into())));
    }
    if let Some(quantifier) = check.quantifier {
        let one = |value| kind_matcher(op, std::slice::from_ref(value), field.kind);
        let matchers = values.iter().map(one).collect::<Result<_, _>>()?;
        return Ok(Comparison::Matcher(Matcher::Quantified(
            quantifier, matchers,
        )));
    }
    kind_matcher(op, values, field.kind).map(Comparison::Matcher)
}

fn sort(op: Op) -> Option<Sort> {
    match op {
        Op::Eq | Op::In | Op::Intersects => Some(Sort::Equal),
        Op::StartsWith | Op::BstartsWith => Some(Sort::Prefix),
        Op::EndsWith => Some(Sort::Suffix),
        Op::Contains | Op::Bcontains => Some(Sort::Contains),
        Op::Icontains => Some(Sort::ContainsFolded),
        _ => None,
    }
}

/// Whether a field can be compared with this operator.
fn suits(check: &Check, field: &ResolvedField) -> Result<(), Problem> {
    let op = check.op;
    let allowed = allowed(field);
    if allowed.contains(&op) {
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
    let names: Vec<_> = allowed.iter().map(|op| op.name()).collect();
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
    place: &Place,
) -> Result<(), Problem> {
    suits(check, left)?;
    let problem = |message: String| Err(Problem::new(place, message).code(code::CONDITION));
    if check.op == Op::Regex {
        return problem("`regex` needs a text that is known when rules are loaded".to_owned());
    }
    if right.any || right.kind == FieldKind::Any {
        return problem(
            "a field that stands for several values or has no fixed type cannot stand here"
                .to_owned(),
        );
    }
    if right.list && !check.op.takes_list() {
        return problem(format!(
            "this is a list, which `{}` cannot compare with",
            check.op.name()
        ));
    }
    let class = |kind| match kind {
        FieldKind::Bool => 0,
        FieldKind::I64 | FieldKind::U64 | FieldKind::F64 => 1,
        FieldKind::String | FieldKind::Bytes => 2,
        FieldKind::Ip => 3,
        FieldKind::Any => 4,
    };
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

/// What a matcher costs, and how often it holds; both guessed.
pub(crate) fn guess(matcher: &Matcher) -> (f32, f32) {
    match matcher {
        Matcher::Exists => (2.0, 0.9),
        Matcher::Bool(_) | Matcher::NotBool(_) => (2.0, 0.4),
        Matcher::Number(op, _) => (2.0, if *op == Op::Eq { 0.1 } else { 0.5 }),
        Matcher::NumberIn(_) | Matcher::Ip(_) => (5.0, 0.2),
        Matcher::NotIp(_) => (5.0, 0.8),
        Matcher::Text(TextMatcher::Regex(_)) => (150.0, 0.2),
        Matcher::Text(TextMatcher::Glob(..) | TextMatcher::PathPrefix(_)) => (40.0, 0.2),
        Matcher::Text(_) | Matcher::TextOrder(..) => (10.0, 0.3),
        Matcher::NotText(_) => (10.0, 0.8),
        Matcher::Dynamic(all) | Matcher::Quantified(_, all) => {
            (all.iter().map(|one| guess(one).0).sum(), 0.3)
        }
    }
}

fn allowed(field: &ResolvedField) -> &'static [Op] {
    use Op::{
        Bcontains, BstartsWith, Contains, EndsWith, Eq, Exists, Ge, Glob, Gt, Icontains, Iglob, In,
        Intersects, Le, Lt, Ne, Pmatch, Regex, StartsWith,
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
            Pmatch, Glob, Iglob, Regex, Exists,
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
            Regex,
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
                (Op::In | Op::Intersects, _) => Matcher::NumberIn(NumberSet::new(&parsed)),
                (op, [value]) => Matcher::Number(op, *value),
                _ => Matcher::NumberIn(NumberSet::new(&parsed)),
            })
        }
        FieldKind::Ip => {
            let example = "an address, or a network such as 10.0.0.0/8";
            let parsed = all(values, example, |word| IpRange::parse(&word.text))?;
            Ok(match (op, parsed.as_slice()) {
                (Op::Ne, [_]) => Matcher::NotIp(IpSet::new(&parsed)),
                _ => Matcher::Ip(IpSet::new(&parsed)),
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
            Problem::new(&word.place, message).code(code::CONDITION)
        })
    };
    values.iter().map(one).collect()
}

fn text_matcher(op: Op, values: &[Word]) -> Result<Matcher, Problem> {
    let texts = || values.iter().map(|word| word.text.as_bytes().into());
    let first = values.first();
    let text: Box<[u8]> = first.map_or_else(Box::default, |word| word.text.as_bytes().into());
    Ok(Matcher::Text(match op {
        Op::Ne => return Ok(Matcher::NotText(TextMatcher::In(TextSet::new([text])))),
        Op::Lt | Op::Le | Op::Gt | Op::Ge => return Ok(Matcher::TextOrder(op, text)),
        Op::Glob => TextMatcher::Glob(text, false),
        Op::Iglob => TextMatcher::Glob(text, true),
        Op::Pmatch => TextMatcher::PathPrefix(texts().collect()),
        Op::Bcontains => texts_matcher(Sort::Contains, &[hexadecimal(first)?]),
        Op::BstartsWith => texts_matcher(Sort::Prefix, &[hexadecimal(first)?]),
        Op::Regex => match first {
            Some(word) => TextMatcher::Regex(Box::new(regex(word)?)),
            None => TextMatcher::In(TextSet::default()),
        },
        _ => texts_matcher(
            sort(op).unwrap_or(Sort::Equal),
            &texts().collect::<Vec<_>>(),
        ),
    }))
}

/// The matcher for several texts of which one has to fit.
pub(crate) fn texts_matcher(sort: Sort, texts: &[Box<[u8]>]) -> TextMatcher {
    let all = || texts.iter().cloned();
    match sort {
        Sort::Equal => TextMatcher::In(TextSet::new(all())),
        Sort::Prefix => TextMatcher::Affix(Affixes::new(Side::Beginning, all())),
        Sort::Suffix => TextMatcher::Affix(Affixes::new(Side::End, all())),
        Sort::Contains | Sort::ContainsFolded => {
            if let (Sort::Contains, [only]) = (sort, texts) {
                return TextMatcher::Contains(Box::new(Finder::new(only).into_owned()));
            }
            let automaton = AhoCorasickBuilder::new()
                .ascii_case_insensitive(sort == Sort::ContainsFolded)
                .build(texts);
            match automaton {
                Ok(automaton) => TextMatcher::ContainsAny(Box::new(automaton)),
                // More than an automaton can number: each by itself then.
                Err(_) => TextMatcher::ContainsEach(texts.into(), sort == Sort::ContainsFolded),
            }
        }
    }
}

/// A regular expression that has to fit the whole text.
fn regex(word: &Word) -> Result<Regex, Problem> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(MAX_REGEX).build();
    let built = build(&word.text).and_then(|_| build(&format!(r"\A(?:{})\z", word.text)));
    built.map_err(|error| {
        // The last line says what; those before draw a picture, which has another frame here.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default();
        let reason = reason.strip_prefix("error: ").unwrap_or(reason);
        let message = format!("this is no regular expression: {reason}");
        Problem::new(&word.place, message)
            .code(code::CONDITION)
            .help("the syntax is RE2's: no look-around, no back-references")
    })
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
