//! Comparisons of texts and buffers: the relations and patterns that operators use, prepared for constants and applied
//! to values.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};
use lanner_plugin::Relation;
use memchr::memmem::{self, Finder};
use regex::RegexBuilder;

use crate::ast::Word;
use crate::glob;
use crate::posix;
use crate::source::{Problem, code};
use crate::texts::{Affixes, Side, TextSet};

/// The size limit of a compiled regular expression, in bytes.
const MAX_REGEX: usize = 1 << 20;

/// How a text relates to a constant. Comparisons of one field with the same relation can be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TextRelation {
    Equal,
    Prefix,
    Suffix,
    Contains,
    /// Contains, ignoring the case of ASCII letters.
    ContainsFolded,
    /// Prefix, ignoring the case of ASCII letters.
    PrefixFolded,
    /// Suffix, ignoring the case of ASCII letters.
    SuffixFolded,
}

/// A kind of pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    Glob,
    /// A glob that ignores the case of ASCII letters.
    GlobFolded,
    /// A path, with wildcards within its components, that the text equals or lies below.
    PathPrefix,
    /// A regular expression for the whole text.
    Regex,
}

/// A comparison of texts and buffers. If there are several constants, one has to fit.
#[derive(Debug)]
pub(crate) enum TextMatcher {
    In(TextSet),
    Affix(Affixes),
    Contains(Box<Finder<'static>>),
    ContainsAny(Box<AhoCorasick>),
    /// One after the other: more texts than an automaton can number, or a relation that has no faster way.
    Each(Box<[Box<[u8]>]>, TextRelation),
    Glob {
        pattern: Box<[u8]>,
        fold: bool,
    },
    PathPrefix(Box<[Box<[u8]>]>),
    /// Anchored at both ends.
    Regex(Box<regex::Regex>),
}

impl TextRelation {
    /// Whether a text relates to a constant like this.
    pub(crate) fn holds(self, text: &[u8], constant: &[u8]) -> bool {
        match self {
            Self::Equal => text == constant,
            Self::Prefix => text.starts_with(constant),
            Self::Suffix => text.ends_with(constant),
            Self::Contains => memmem::find(text, constant).is_some(),
            Self::ContainsFolded => {
                constant.is_empty()
                    || text
                        .windows(constant.len())
                        .any(|window| window.eq_ignore_ascii_case(constant))
            }
            Self::PrefixFolded => text
                .get(..constant.len())
                .is_some_and(|beginning| beginning.eq_ignore_ascii_case(constant)),
            Self::SuffixFolded => text
                .len()
                .checked_sub(constant.len())
                .is_some_and(|at| text[at..].eq_ignore_ascii_case(constant)),
        }
    }

    /// The matcher for several constants.
    pub(crate) fn matcher(self, texts: &[Box<[u8]>]) -> TextMatcher {
        let all = || texts.iter().cloned();
        match self {
            Self::Equal => TextMatcher::In(TextSet::new(all())),
            Self::Prefix => TextMatcher::Affix(Affixes::new(Side::Beginning, all())),
            Self::Suffix => TextMatcher::Affix(Affixes::new(Side::End, all())),
            Self::Contains => match texts {
                [only] => TextMatcher::Contains(Box::new(Finder::new(only).into_owned())),
                _ => self.automaton(texts, false),
            },
            Self::ContainsFolded => self.automaton(texts, true),
            Self::PrefixFolded | Self::SuffixFolded => TextMatcher::Each(texts.into(), self),
        }
    }

    fn automaton(self, texts: &[Box<[u8]>], fold: bool) -> TextMatcher {
        let automaton = AhoCorasickBuilder::new()
            .ascii_case_insensitive(fold)
            .build(texts);
        match automaton {
            Ok(automaton) => TextMatcher::ContainsAny(Box::new(automaton)),
            Err(_) => TextMatcher::Each(texts.into(), self),
        }
    }

    /// A guess of the cost in nanoseconds.
    pub(crate) fn cost(self) -> f32 {
        match self {
            Self::Equal => 3.0,
            Self::Prefix | Self::Suffix | Self::PrefixFolded | Self::SuffixFolded => 4.0,
            Self::Contains => 20.0,
            Self::ContainsFolded => 40.0,
        }
    }

    /// How it is reported to the host.
    pub(crate) fn reported(self) -> Relation {
        match self {
            Self::Equal => Relation::Equal,
            Self::Prefix | Self::PrefixFolded => Relation::Prefix,
            Self::Suffix | Self::SuffixFolded => Relation::Suffix,
            Self::Contains | Self::ContainsFolded => Relation::Contains,
        }
    }
}

impl Pattern {
    /// The matcher for constants. `pmatch` takes several, the others one.
    pub(crate) fn matcher(self, words: &[Word]) -> Result<TextMatcher, Problem> {
        // The parser has made sure that there is one.
        let first = words.first();
        let glob = |fold| TextMatcher::Glob {
            pattern: first.map_or_else(Box::default, bytes),
            fold,
        };
        Ok(match self {
            Self::Glob => glob(false),
            Self::GlobFolded => glob(true),
            Self::PathPrefix => TextMatcher::PathPrefix(words.iter().map(bytes).collect()),
            Self::Regex => match first {
                Some(word) => TextMatcher::Regex(Box::new(regex(word)?)),
                None => TextMatcher::In(TextSet::default()),
            },
        })
    }

    /// Whether a text fits a pattern that is a value of the event. A regular expression must be known when rules are
    /// loaded, so it never fits here; the type checks refuse it.
    pub(crate) fn fits(self, text: &[u8], pattern: &[u8]) -> bool {
        match self {
            Self::Glob => glob::matches(pattern, text, false),
            Self::GlobFolded => glob::matches(pattern, text, true),
            Self::PathPrefix => glob::path_prefix(pattern, text),
            Self::Regex => false,
        }
    }
}

impl TextMatcher {
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::In(set) => set.contains(text),
            Self::Affix(affixes) => affixes.fit(text),
            Self::Contains(finder) => finder.find(text).is_some(),
            Self::ContainsAny(automaton) => automaton.is_match(text),
            Self::Each(texts, relation) => texts.iter().any(|wanted| relation.holds(text, wanted)),
            Self::Glob { pattern, fold } => glob::matches(pattern, text, *fold),
            Self::PathPrefix(patterns) => patterns
                .iter()
                .any(|pattern| glob::path_prefix(pattern, text)),
            Self::Regex(regex) => {
                // A regular expression describes characters, so bytes that are not UTF-8 are replaced.
                let text: Cow<'_, str> = String::from_utf8_lossy(text);
                regex.is_match(&text)
            }
        }
    }

    /// Guesses of the cost in nanoseconds and of the share of values that fit.
    pub(crate) fn guess(&self) -> (f32, f32) {
        match self {
            Self::Regex(_) => (150.0, 0.2),
            Self::Glob { .. } | Self::PathPrefix(_) => (40.0, 0.2),
            Self::In(_)
            | Self::Affix(_)
            | Self::Contains(_)
            | Self::ContainsAny(_)
            | Self::Each(..) => (10.0, 0.3),
        }
    }
}

/// The bytes of a constant.
pub(crate) fn bytes(word: &Word) -> Box<[u8]> {
    word.bytes().into()
}

/// The bytes of a constant that is written in hexadecimal.
pub(crate) fn hexadecimal(word: &Word) -> Result<Box<[u8]>, Problem> {
    let digits = word.text.as_bytes();
    let bytes = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair)
            .ok()
            .filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    bytes.collect::<Option<_>>().ok_or_else(|| {
        let message = format!("bytes in hexadecimal are needed here, not `{}`", word.text);
        Problem::new(&word.place, message)
            .code(code::CONDITION)
            .help("write `666f6f` for `foo`")
    })
}

/// A regular expression that has to fit the whole text: one of Falco's, or another one of the crate `regex`.
fn regex(word: &Word) -> Result<regex::Regex, Problem> {
    let build = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.multi_line(true).size_limit(MAX_REGEX).build()
    };
    let text = posix::translate(&word.text).unwrap_or_else(|_| word.text.clone());
    // Alone first, so that an unbalanced `)` cannot escape from the anchors.
    let built = build(&text).and_then(|_| build(&format!(r"\A(?:{text})\z")));
    let problem = |reason: &str| {
        let message = format!("this is no regular expression: {reason}");
        Problem::new(&word.place, message)
            .code(code::CONDITION)
            .help("the syntax is that of RE2 for POSIX: no look-around, no back-references")
    };
    if word.raw.is_some() {
        return Err(problem("it has bytes that are not UTF-8"));
    }
    built.map_err(|error| {
        // The last line has the reason. The lines before draw a picture of the expression with the anchors.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default();
        problem(reason.strip_prefix("error: ").unwrap_or(reason))
    })
}
