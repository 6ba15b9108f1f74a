//! Values that no message shows: what a configuration took from the environment or from a file.
//!
//! Settings go to plugins as text, and a plugin may repeat them in its messages: whole, in part, or encoded. So the host
//! knows the values themselves, and puts [`HIDDEN`] in their place wherever a text leaves lanner: messages, the log,
//! alerts about lanner itself, metrics.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Bound;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, BuildError, Match, MatchKind};
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, Encoding, SpecificationError};

/// What messages show instead of a secret.
pub const HIDDEN: &str = "***";

/// Shorter values are not hidden: they would make every message unreadable, and protect nothing.
const MIN: usize = 4;
/// Shorter values are hidden only as whole words: `8080`, but not in `180801`.
const MIN_INSIDE: usize = 8;
/// A message may be cut off within a value. This many characters of its beginning or end are enough to know it by.
const EDGE: usize = 16;
/// Shorter parts of a value are not hidden by themselves: the `https` of an address is no secret.
const MIN_PART: usize = 8;

/// This many characters are enough where a message ends within a value that is too short to have a beginning and an end.
const CUT: usize = 8;

/// Every text that is hidden.
static TEXTS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static MATCHER: RwLock<Option<Arc<Matcher>>> = RwLock::new(None);

/// Finds the texts that are hidden, and what is left of one that is cut off.
#[derive(Debug)]
struct Matcher {
    patterns: AhoCorasick,
    /// By pattern.
    found: Vec<TextPart>,
    /// Texts without [`edges`], in lower case: a message may be cut off within one.
    short: BTreeSet<String>,
}

/// What a pattern is.
#[derive(Debug)]
enum TextPart {
    /// All of a text.
    Whole,
    /// The beginning of these texts.
    Head(Vec<String>),
    /// The end of these texts.
    Tail(Vec<String>),
}

impl Matcher {
    fn new(texts: &BTreeSet<String>) -> Result<Self, BuildError> {
        let mut heads: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut tails: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut short = BTreeSet::new();
        for text in texts {
            if !text.starts_with('/') && text.len() < 2 * EDGE {
                short.insert(text.to_ascii_lowercase());
            }
            if let Some((head, tail)) = edges(text) {
                heads.entry(head).or_default().push(text.clone());
                tails.entry(tail).or_default().push(text.clone());
            }
        }
        let whole = texts.iter().map(|text| (text.as_str(), TextPart::Whole));
        let heads = heads
            .into_iter()
            .map(|(head, of)| (head, TextPart::Head(of)));
        let tails = tails
            .into_iter()
            .map(|(tail, of)| (tail, TextPart::Tail(of)));
        let (patterns, found): (Vec<&str>, Vec<TextPart>) = whole.chain(heads).chain(tails).unzip();
        let patterns = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns)?;
        Ok(Self {
            patterns,
            found,
            short,
        })
    }

    /// Where the beginning of a short text starts that the end of a message cuts off.
    fn cut_at(&self, shown: &str) -> Option<usize> {
        let from = shown.floor_char_boundary(shown.len().saturating_sub(2 * EDGE));
        let last = shown[from..].to_ascii_lowercase();
        let starts = last.char_indices().map(|(at, _)| at);
        let mut starts = starts.take_while(|at| last.len() - at >= CUT);
        let is_cut = |at: &usize| {
            let end = &last[*at..];
            let next = self
                .short
                .range::<str, _>((Bound::Included(end), Bound::Unbounded))
                .next();
            next.is_some_and(|text| text.starts_with(end))
        };
        starts.find(is_cut).map(|at| from + at)
    }

    /// The bounds of a match, with what else of a text is there.
    fn bounds(&self, shown: &str, found: &Match) -> (usize, usize) {
        let (at, behind) = (found.start(), found.end());
        let len = behind - at;
        match &self.found[found.pattern().as_usize()] {
            TextPart::Whole => (at, behind),
            TextPart::Head(texts) => {
                let rest = |text: &String| {
                    let begin = text.find("://").map_or(0, |at| at + 3);
                    common(text[begin + len..].chars(), shown[behind..].chars())
                };
                (at, behind + texts.iter().map(rest).max().unwrap_or(0))
            }
            TextPart::Tail(texts) => {
                let before = |text: &String| {
                    let before = text[..text.len() - len].chars().rev();
                    common(before, shown[..at].chars().rev())
                };
                (at - texts.iter().map(before).max().unwrap_or(0), behind)
            }
        }
    }
}

/// How many bytes two texts have in common at their beginning.
fn common(one: impl Iterator<Item = char>, other: impl Iterator<Item = char>) -> usize {
    one.zip(other)
        .take_while(|(a, b)| a.eq_ignore_ascii_case(b))
        .map(|(_, c)| c.len_utf8())
        .sum()
}

/// The beginning and the end of a text by which what is left of it is known. None: it is too short, or it is a path, whose
/// parts are no secrets.
fn edges(text: &str) -> Option<(&str, &str)> {
    let begin = text.find("://").map_or(0, |at| at + 3);
    if text.starts_with('/') || text.len() - begin < 2 * EDGE {
        return None;
    }
    let head = text.ceil_char_boundary(begin + EDGE);
    let tail = text.floor_char_boundary(text.len() - EDGE);
    Some((&text[begin..head], &text[tail..]))
}

/// Hides a value from now on, for as long as the process runs.
pub fn keep(value: &str) {
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    let before = texts.len();
    texts.extend(forms(value));
    if texts.len() == before {
        return;
    }
    match Matcher::new(&texts) {
        Ok(matcher) => {
            *MATCHER.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(matcher));
        }
        // that many bytes of secrets do not fit into memory
        Err(error) => tracing::error!("secrets cannot be hidden in messages: {error}"),
    }
}

/// A text without secrets.
#[must_use]
pub fn hide(text: &str) -> Cow<'_, str> {
    let matcher = MATCHER.read().unwrap_or_else(PoisonError::into_inner);
    let Some(matcher) = matcher.as_ref() else {
        return Cow::Borrowed(text);
    };
    let mut shown = String::new();
    let mut end = 0;
    let mut hides = false;
    for found in matcher.patterns.find_iter(text) {
        let (at, behind) = matcher.bounds(text, &found);
        let whole =
            !is_word(text[..at].chars().next_back()) && !is_word(text[behind..].chars().next());
        // what is left of one text may reach into the next one
        if behind > end && (behind - at >= MIN_INSIDE || whole) {
            shown.push_str(&text[end..at.max(end)]);
            shown.push_str(HIDDEN);
            end = behind;
            hides = true;
        }
    }
    let rest = &text[end..];
    match matcher.cut_at(rest) {
        Some(at) => {
            shown.push_str(&rest[..at]);
            shown.push_str(HIDDEN);
        }
        None if !hides => return Cow::Borrowed(text),
        None => shown.push_str(rest),
    }
    Cow::Owned(shown)
}

fn is_word(next: Option<char>) -> bool {
    next.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// The forms in which a message may show a value: itself, its lines, and the parts of an address; each as it is, escaped
/// as in JSON and in Rust's debug output, percent-encoded (RFC 3986), and in base64 (RFC 4648), as HTTP's basic
/// authentication has user and password. What is in base64 already is also hidden as the text that it stands for.
fn forms(value: &str) -> BTreeSet<String> {
    let mut plain: BTreeSet<String> = BTreeSet::new();
    for line in value.lines().chain([value]).map(str::trim) {
        plain.insert(line.to_owned());
        for part in address(line) {
            plain.extend([part.to_owned(), percent_decoded(part)]);
        }
        let decoded = percent_decoded(line);
        let is_separator: fn(char) -> bool =
            |c| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '+'));
        // the names in a path are no secrets by themselves
        let has_parts = !line.starts_with('/');
        for text in [line, &decoded].into_iter().filter(|_| has_parts) {
            plain.extend(runs(text, is_separator));
        }
        plain.insert(decoded);
        // a receiver may name whom it does not know: user and password of HTTP's basic authentication
        let words = line.split(char::is_whitespace);
        for text in words.filter_map(base64_decoded) {
            let parts = text.split(':').filter(|part| part.len() >= MIN_PART);
            plain.extend(parts.map(str::to_owned));
            plain.insert(text);
        }
    }
    let mut forms = BTreeSet::new();
    for text in plain {
        let json = serde_json::Value::from(text.as_str()).to_string();
        forms.insert(json.trim_matches('"').to_owned());
        forms.insert(text.escape_debug().to_string());
        forms.insert(percent_encoded(&text));
        if text.len() >= MIN_PART {
            forms.extend([BASE64_NOPAD, BASE64URL_NOPAD].map(|form| form.encode(text.as_bytes())));
        }
        forms.insert(text);
    }
    forms.retain(|form| form.len() >= MIN);
    forms
}

/// The parts of a text between separators, and every run of neighbouring parts.
fn runs(text: &str, is_separator: fn(char) -> bool) -> Vec<String> {
    /// With more parts, there would be too many runs.
    const MAX: usize = 32;
    let mut bounds = vec![];
    for part in text
        .split(is_separator)
        .filter(|part| !part.is_empty())
        .take(MAX)
    {
        let from = part.as_ptr().addr() - text.as_ptr().addr();
        bounds.push((from, from + part.len()));
    }
    let mut runs = Vec::new();
    for (at, (from, _)) in bounds.iter().enumerate() {
        let ends = bounds[at..].iter().map(|(_, to)| &text[*from..*to]);
        runs.extend(ends.filter(|run| run.len() >= MIN_PART).map(str::to_owned));
    }
    runs
}

/// User, password and host of an address, if it is one.
fn address(text: &str) -> Vec<&str> {
    let Some((_, behind)) = text.split_once("://") else {
        return Vec::new();
    };
    let authority = behind.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let host_name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    vec![user, name, password, host, host_name]
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // writing to a string cannot fail
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Both alphabets of RFC 4648, also mixed, and any bits behind the last byte: a message shows what its author made of a value.
static LENIENT_BASE64: LazyLock<Result<Encoding, SpecificationError>> = LazyLock::new(|| {
    let mut specification = BASE64_NOPAD.specification();
    specification.check_trailing_bits = false;
    specification.translate.from.push_str("-_");
    specification.translate.to.push_str("+/");
    specification.encoding()
});

/// The text that base64 stands for, if it does for one.
fn base64_decoded(text: &str) -> Option<String> {
    let digits = text.trim_end_matches('=');
    if digits.len() < MIN_PART {
        return None;
    }
    let bytes = LENIENT_BASE64.as_ref().ok()?.decode(digits.as_bytes());
    let text = String::from_utf8(bytes.ok()?).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let digits = more.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_in_every_form() {
        keep("https://me:p%40ss-w0rd@Hooks.Example.com:8443/services/T0KEN-1234?x=y\n");
        keep("a \"quoted\" one\\");
        keep(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJsYW5uZXIiLCJuYW1lIjoiw6TDtsO8IiwiaWF0IjoxNTE2MjM5MDIyfQ.c2lnbmF0dXJl",
        );
        keep("9417");
        keep("xy");
        keep("port/name:4711");
        keep("/srv/alerts-of-mine/lanner");
        keep("Basic YWRtaW46aHVudGVyMmh1bnRlcjI=");
        keep("cut-off-in-the-middle");
        for (text, expected) in [
            ("cannot reach hooks.example.com:8443", "cannot reach ***"),
            ("POST /services/T0KEN-1234: 403", "POST /***: 403"),
            ("user me, password p@ss-w0rd.", "user me, password ***."),
            ("\"a \\\"quoted\\\" one\\\\\" is wrong", "\"***\" is wrong"),
            ("no host port/name", "no host ***"),
            ("a%20%22quoted%22%20one%5C", "***"),
            ("port 9417, and 94170", "port ***, and 94170"),
            (
                "Authorization: Basic bWU6cEBzcy13MHJk",
                "Authorization: Basic ***",
            ),
            (
                "xyz and https are no secrets",
                "xyz and https are no secrets",
            ),
            ("lanner, alerts-of-mine", "lanner, alerts-of-mine"),
            (
                "cannot open /srv/alerts-of-mine/lanner/x",
                "cannot open ***/x",
            ),
            ("me:p%40ss-w0rd", "***"),
            (
                "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJsYW5uZXIi",
                "Bearer ***",
            ),
            (
                "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIX",
                "Bearer ***X",
            ),
            ("... IiwiaWF0IjoxNTE2MjM5MDIyfQ.c2lnbmF0dXJl!", "... ***!"),
            ("no admin:hunter2hunter2", "no ***"),
            ("wrong password: hunter2hunter2", "wrong password: ***"),
            (
                "answers 403: Token Cut-off-in-the",
                "answers 403: Token ***",
            ),
            ("cut-off", "cut-off"),
            ("cut-off-in then", "cut-off-in then"),
            ("eyJhbGciOiJIUzI1", "***"),
            ("eyJhbGciOiJIUz", "eyJhbGciOiJIUz"),
        ] {
            assert_eq!(hide(text), expected, "{text}");
        }
        let whole = "https://me:p%40ss-w0rd@Hooks.Example.com:8443/services/T0KEN-1234?x=y";
        assert_eq!(hide(&format!("{whole:?}")), "\"***\"");
    }

    #[test]
    fn base64_is_read_in_every_spelling() {
        // an alphabet, the other one, both, padding, bits behind the last byte
        for (text, decoded) in [
            ("aHVudGVyPj4/Pz8", Some("hunter>>???")),
            ("aHVudGVyPj4_Pz8", Some("hunter>>???")),
            ("aHVudGVyPj4_Pz8/", Some("hunter>>????")),
            ("aHVudGVyMg====", Some("hunter2")),
            ("aHVudGVyMh", Some("hunter2")),
            ("aHVudGVyM", None),
            ("aHVudGV=yMg", None),
            ("aHVudGV", None),
        ] {
            assert_eq!(base64_decoded(text).as_deref(), decoded, "{text}");
        }
    }
}
