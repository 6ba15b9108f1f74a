//! Regular expressions as Falco reads them: RE2 with POSIX syntax. They have no `\d`, `(?:...)`, `\b` and lazy repetitions, and
//! `^` and `$` also match at lines. This translates them for the crate `regex`.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

/// What RE2 does not take.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPosix {
    #[error("`\\{0}` means nothing")]
    Escape(char),
    #[error("it ends with a backslash")]
    Backslash,
    #[error("nothing is before `{0}`")]
    NothingToRepeat(char),
    #[error("a repetition is too often")]
    Repetition,
    #[error("a `[` has no `]`")]
    OpenClass,
    #[error("`{0}` in `[...]` means nothing")]
    Class(String),
    #[error("a `(` has no `)`")]
    OpenGroup,
    #[error("a `)` has no `(`")]
    ClosedGroup,
}

/// The most repetitions that RE2 takes.
const MAX_REPETITIONS: u32 = 1000;

/// Names of classes, as in `[[:alpha:]]`.
const CLASSES: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// Translates an expression. The result needs the flag for several lines.
pub(crate) fn translate(text: &str) -> Result<String, NotPosix> {
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    let mut depth = 0_usize;
    // Whether something is there that can be repeated, and whether it is a repetition.
    let (mut repeatable, mut repeated) = (false, false);
    while let Some(c) = chars.next() {
        let mut is_repetition = false;
        match c {
            '*' | '+' | '?' => {
                if !repeatable {
                    return Err(NotPosix::NothingToRepeat(c));
                }
                // A second sign repeats the repetition; for the crate, `?` would make it lazy.
                match (repeated, c) {
                    (true, '?') => out.push_str("{0,1}"),
                    (true, '+') => out.push_str("{1,}"),
                    _ => out.push(c),
                }
                is_repetition = true;
            }
            '{' => match repetition(&chars)? {
                Some(length) => {
                    if !repeatable {
                        return Err(NotPosix::NothingToRepeat(c));
                    }
                    out.push('{');
                    out.extend(chars.by_ref().take(length));
                    is_repetition = true;
                }
                None => out.push_str("\\{"),
            },
            '(' => {
                depth += 1;
                out.push(c);
            }
            ')' => {
                depth = depth.checked_sub(1).ok_or(NotPosix::ClosedGroup)?;
                out.push(c);
            }
            '[' => class(&mut chars, &mut out)?,
            '\\' => literal(escape(&mut chars)?, &mut out),
            '|' | '.' | '^' | '$' => out.push(c),
            c => literal(c, &mut out),
        }
        repeatable = !matches!(c, '(' | '|');
        repeated = is_repetition;
    }
    if depth > 0 {
        return Err(NotPosix::OpenGroup);
    }
    Ok(out)
}

/// Appends a character that stands for itself.
fn literal(c: char, out: &mut String) {
    if c.is_alphanumeric() || matches!(c, '/' | '_' | '-' | ' ' | ',' | ':' | '=' | '"' | '\'') {
        out.push(c);
    } else {
        let _ = write!(out, "\\x{{{:x}}}", u32::from(c));
    }
}

/// The length of a repetition after its `{`, with the `}`. None if it is none, so that the `{` stands for itself.
fn repetition(chars: &Peekable<Chars<'_>>) -> Result<Option<usize>, NotPosix> {
    let rest: String = chars.clone().take(24).collect();
    let Some((inner, _)) = rest.split_once('}') else {
        return Ok(None);
    };
    let (low, high) = match inner.split_once(',') {
        Some((low, high)) => (low, Some(high)),
        None => (inner, None),
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let open = high.is_some_and(str::is_empty);
    if !is_number(low) || !(open || high.is_none_or(is_number)) {
        return Ok(None);
    }
    let number = |text: &str| text.parse().unwrap_or(u32::MAX);
    let least = number(low);
    let most = high.filter(|high| !high.is_empty()).map_or(least, number);
    if least > MAX_REPETITIONS || most > MAX_REPETITIONS || least > most {
        return Err(NotPosix::Repetition);
    }
    Ok(Some(inner.len() + 1))
}

/// The character that an escape stands for, after its backslash.
fn escape(chars: &mut Peekable<Chars<'_>>) -> Result<char, NotPosix> {
    let c = chars.next().ok_or(NotPosix::Backslash)?;
    let octal = |chars: &mut Peekable<Chars<'_>>, mut code: u32| {
        for _ in 0..2 {
            let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) else {
                break;
            };
            code = code * 8 + digit;
            chars.next();
        }
        char::from_u32(code).unwrap_or('\0')
    };
    Ok(match c {
        'a' => '\x07',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '0' => octal(chars, 0),
        // One digit alone would be a back-reference.
        '1'..='7' if chars.peek().is_some_and(|next| next.is_digit(8)) => {
            octal(chars, c.to_digit(8).unwrap_or(0))
        }
        'x' => {
            let code = if chars.next_if_eq(&'{').is_some() {
                let digits: String =
                    std::iter::from_fn(|| chars.next_if(char::is_ascii_hexdigit)).collect();
                chars.next_if_eq(&'}').ok_or(NotPosix::Escape('x'))?;
                u32::from_str_radix(&digits, 16).ok()
            } else {
                let two: String = chars.by_ref().take(2).collect();
                let valid = two.len() == 2 && two.bytes().all(|b| b.is_ascii_hexdigit());
                valid.then(|| u32::from_str_radix(&two, 16).ok()).flatten()
            };
            code.and_then(char::from_u32).ok_or(NotPosix::Escape('x'))?
        }
        c if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' => c,
        c => return Err(NotPosix::Escape(c)),
    })
}

/// Translates a class, after its `[`.
fn class(chars: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), NotPosix> {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        let next = *chars.peek().ok_or(NotPosix::OpenClass)?;
        if next == ']' && !first {
            chars.next();
            out.push(']');
            return Ok(());
        }
        if next == '-' && !first {
            let mut ahead = chars.clone();
            ahead.next();
            if ahead.peek() != Some(&']') {
                return Err(NotPosix::Class("-".to_owned()));
            }
        }
        first = false;
        let rest: String = chars.clone().take(16).collect();
        if let Some(inner) = rest.strip_prefix("[:")
            && let Some((name, _)) = inner.split_once(":]")
        {
            let plain = name.strip_prefix('^').unwrap_or(name);
            if !CLASSES.contains(&plain) {
                return Err(NotPosix::Class(format!("[:{name}:]")));
            }
            let _ = write!(out, "[:{name}:]");
            chars.by_ref().take(name.len() + 4).for_each(drop);
            continue;
        }
        let low = member(chars)?;
        let mut ahead = chars.clone();
        let is_range = ahead.next() == Some('-') && ahead.peek().is_some_and(|c| *c != ']');
        let _ = write!(out, "\\x{{{:x}}}", u32::from(low));
        if is_range {
            chars.next();
            let high = member(chars)?;
            if high < low {
                return Err(NotPosix::Class(format!("{low}-{high}")));
            }
            let _ = write!(out, "-\\x{{{:x}}}", u32::from(high));
        }
    }
}

/// A character of a class.
fn member(chars: &mut Peekable<Chars<'_>>) -> Result<char, NotPosix> {
    match chars.next().ok_or(NotPosix::OpenClass)? {
        '\\' => escape(chars),
        c => Ok(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, text: &str) -> bool {
        let translated = translate(expression).unwrap();
        let whole = format!(r"\A(?:{translated})\z");
        let regex = regex::RegexBuilder::new(&whole).multi_line(true).build();
        regex.unwrap().is_match(text)
    }

    #[test]
    fn expressions_mean_what_they_mean_in_falco() {
        for (expression, text, expected) in [
            ("", "", true),
            ("a.c", "abc", true),
            ("a.c", "a\nc", false),
            ("a{2,3}", "aaaa", false),
            ("a{", "a{", true),
            ("a{x}", "a{x}", true),
            // `a+?` is not lazy, but any number of `a`
            ("a+?", "", true),
            ("a*+", "aa", true),
            ("a**", "aa", true),
            ("[a[b&&]+", "a[b&", true),
            ("[]a]+", "]a", true),
            ("[^]a]", "b", true),
            ("[a-]+", "a-", true),
            ("[[:digit:]x]+", "1x2", true),
            ("a\n^b", "a\nb", true),
            ("a$\nb", "a\nb", true),
            (r"\.\x41\101\x{e9}", ".AA\u{e9}", true),
            ("(a|b)*c", "abac", true),
            ("]}", "]}", true),
        ] {
            assert_eq!(
                matches(expression, text),
                expected,
                "{expression:?} {text:?}"
            );
        }
    }

    #[test]
    fn what_falco_refuses_is_refused() {
        for expression in [
            r"\d",
            r"\w",
            r"\bx",
            "(?i)a",
            "(?:a)",
            "*a",
            "a|*",
            "(+)",
            r"\1",
            r"\8",
            r"\_",
            r"a\",
            "[a",
            "[[:nope:]]",
            "[b-a]",
            "[a-b-c]",
            r"[\d]",
            "(a",
            "a)",
            "a{1001}",
            "a{3,2}",
            r"\pL",
            r"\A",
            r"\xg",
            r"\x{110000}",
        ] {
            assert!(translate(expression).is_err(), "{expression}");
        }
    }
}
