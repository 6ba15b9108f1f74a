//! Wildcards: `*` matches any text (`/` included), `?` any byte, `[a-z]` and `[!a-z]` sets of bytes, and `\` makes the
//! next byte literal. Sets have classes: `[[:alpha:]_]`. This is fnmatch(3) without flags, or with FNM_CASEFOLD.

/// Whether `pattern` matches the whole `text`.
pub(crate) fn matches(pattern: &[u8], text: &[u8], fold: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to continue if the part after the last `*` does not match.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, t));
            p += 1;
            continue;
        }
        let fits = match text.get(t) {
            None if p == pattern.len() => return true,
            None => None,
            Some(byte) => one(pattern, p, *byte, fold),
        };
        if let Some(next) = fits {
            p = next;
            t += 1;
            continue;
        }
        let Some((star, from)) = retry.filter(|(_, from)| *from < text.len()) else {
            return false;
        };
        retry = Some((star, from + 1));
        p = star + 1;
        t = from + 1;
    }
}

/// If the pattern at `p` matches `byte`, the position after that part of the pattern.
fn one(pattern: &[u8], p: usize, byte: u8, fold: bool) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => match set(pattern, p, byte, fold) {
            Set::Found(next) => Some(next),
            Set::Missing => None,
            Set::Endless => (byte == b'[').then_some(p + 1),
        },
        b'\\' => {
            let literal = pattern.get(p + 1)?;
            (lower(*literal, fold) == lower(byte, fold)).then_some(p + 2)
        }
        literal => (lower(literal, fold) == lower(byte, fold)).then_some(p + 1),
    }
}

fn lower(byte: u8, fold: bool) -> u8 {
    if fold {
        byte.to_ascii_lowercase()
    } else {
        byte
    }
}

/// Whether a set in brackets contains a byte.
enum Set {
    /// It does. The position after the set.
    Found(usize),
    Missing,
    /// There is no `]`, so the `[` is literal.
    Endless,
}

/// A part of a set.
enum Part {
    /// One that may begin a range.
    Byte(u8),
    /// `[=a=]`
    Equal(u8),
    /// `[:alpha:]`
    Class(fn(&u8) -> bool),
    /// A part that the C library refuses: no set with it contains anything that the parts before do not.
    Wrong,
}

fn set(pattern: &[u8], p: usize, byte: u8, fold: bool) -> Set {
    let negated = matches!(pattern.get(p + 1), Some(b'!' | b'^'));
    let first = p + 1 + usize::from(negated);
    let mut at = first;
    let (mut found, mut wrong) = (false, false);
    while pattern.get(at) != Some(&b']') || at == first {
        let Some((part, next)) = part(pattern, at) else {
            return Set::Endless;
        };
        at = next;
        match part {
            Part::Wrong => wrong |= !found,
            Part::Class(is) => found |= is(&byte) && !wrong,
            Part::Equal(other) => found |= lower(other, fold) == lower(byte, fold) && !wrong,
            Part::Byte(low) => {
                let mut high = low;
                if pattern.get(at) == Some(&b'-') && pattern.get(at + 1).is_some_and(|b| *b != b']')
                {
                    match self::part(pattern, at + 1) {
                        Some((Part::Byte(end), next)) => (high, at) = (end, next),
                        Some((Part::Class(_) | Part::Equal(_), _)) => (high, at) = (b'[', at + 2),
                        Some((Part::Wrong, next)) => {
                            (wrong, at) = (wrong | !found, next);
                            continue;
                        }
                        None => return Set::Endless,
                    }
                }
                let range = lower(low, fold)..=lower(high, fold);
                found |= range.contains(&lower(byte, fold)) && !wrong;
            }
        }
    }
    if wrong || found == negated {
        return Set::Missing;
    }
    Set::Found(at + 1)
}

/// The part of a set at a position, and the position after it. None: the pattern ends.
fn part(pattern: &[u8], at: usize) -> Option<(Part, usize)> {
    match (*pattern.get(at)?, pattern.get(at + 1)) {
        (b'\\', next) => Some((Part::Byte(*next?), at + 2)),
        (b'[', Some(kind @ (b':' | b'=' | b'.'))) => {
            Some(named(pattern, at, *kind).unwrap_or((Part::Byte(b'['), at + 1)))
        }
        (byte, _) => Some((Part::Byte(byte), at + 1)),
    }
}

/// `[:alpha:]`, `[=a=]` or `[.a.]` within a set. None: it is none of them, so its `[` is an element.
fn named(pattern: &[u8], at: usize, kind: u8) -> Option<(Part, usize)> {
    let start = at + 2;
    let rest = pattern.get(start..)?;
    let length = rest.windows(2).position(|two| two == [kind, b']'])?;
    let name = &rest[..length];
    let part = match (kind, name) {
        (b':', name) if !name.iter().all(u8::is_ascii_lowercase) => return None,
        (b':', name) => class(name).map_or(Part::Wrong, Part::Class),
        // Without a language, a name of several letters is unknown.
        (b'=', [byte]) => Part::Equal(*byte),
        (b'=', _) => return None,
        (_, [byte]) => Part::Byte(*byte),
        _ => Part::Wrong,
    };
    Some((part, start + length + 2))
}

/// The classes of the C library, for ASCII.
fn class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

/// Whether `path` equals `pattern` or lies below it. A wildcard stays within one component. As in Falco, a leading `/` does
/// not matter, and a component without wildcards is literal.
pub(crate) fn path_prefix(pattern: &[u8], path: &[u8]) -> bool {
    let mut parts = components(path);
    components(pattern).all(|pattern| {
        let wild = pattern.iter().any(|byte| b"?*[".contains(byte));
        parts.next().is_some_and(|part| {
            if wild {
                matches(pattern, part, false)
            } else {
                pattern == part
            }
        })
    })
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|component| !component.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn wildcards_take_what_fnmatch_takes() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("*../*../*", "/etc/../etc/../x", true),
            ("*../*../*", "/etc/../x", false),
            ("/home/*/.ssh/*", "/home/a/b/.ssh/id", true),
            ("?", "a", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[", "[", true),
            ("[a", "[a", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("a**b", "ab", true),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("[[:alpha:]]rue", "true", true),
            ("[![:alpha:]]rue", "true", false),
            ("[[:nope:]]rue", "true", false),
            ("[[:alpha:]", "[", false),
            ("[[.t.]]rue", "true", true),
            ("tru[[=e=]]", "true", true),
            ("[[.a.]-c]", "b", true),
            (r"[\]]at", "]at", true),
            (r"[a\-c]", "-", true),
            (r"[a\-c]", "b", false),
            (r"a\", r"a\", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
        assert!(matches(b"*.PEM", b"key.pem", true));
        assert!(!matches(b"*.PEM", b"key.pem", false));
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn random_patterns_match_what_the_c_library_matches() {
        use std::ffi::CString;
        let parts = [
            "a",
            "b",
            "c",
            "B",
            "-",
            "*",
            "?",
            "[",
            "]",
            "!",
            "^",
            r"\",
            "[:alpha:]",
            "[:upper:]",
            "[=a=]",
            "[.b.]",
            "[:nope:]",
            "[a-c]",
            "[!b]",
            "[[:lower:]]",
            "[[.a.]-c]",
        ];
        let texts = [
            "", "a", "b", "ab", "abc", "B", "-", "[", "]", r"\", "a]", "[a", "^", "!",
        ];
        let mut state = 1_u64;
        let mut below = |limit: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % limit
        };
        for _ in 0..20_000 {
            let pattern: String = (0..=below(5)).map(|_| parts[below(parts.len())]).collect();
            let c_pattern = CString::new(pattern.as_str()).unwrap();
            for text in texts {
                let c_text = CString::new(text).unwrap();
                for (fold, flags) in [(false, 0), (true, libc::FNM_CASEFOLD)] {
                    // The C library does not fold the case of `[.b.]`.
                    if fold && pattern.contains("[.") {
                        continue;
                    }
                    // SAFETY: both are C strings.
                    let code = unsafe { libc::fnmatch(c_pattern.as_ptr(), c_text.as_ptr(), flags) };
                    let found = matches(pattern.as_bytes(), text.as_bytes(), fold);
                    assert_eq!(found, code == 0, "{pattern} {text} {fold}");
                }
            }
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = "*a".repeat(30) + "b";
        assert!(!glob(&pattern, &"a".repeat(3000)));
    }

    #[test]
    fn a_path_prefix_ends_at_a_component() {
        for (pattern, path, expected) in [
            ("/etc", "/etc/passwd", true),
            ("/etc/", "/etc", true),
            ("/etc", "/etcetera", false),
            ("/home/*/.ssh", "/home/joe/.ssh/id", true),
            ("/home/*/.ssh", "/home/joe/x/.ssh/id", false),
            ("etc", "/etc", true),
            ("/etc", "etc/x", true),
            ("/", "x", true),
            (r"/a\b", r"/a\b", true),
            (r"/a\*", "/a*", true),
        ] {
            let found = path_prefix(pattern.as_bytes(), path.as_bytes());
            assert_eq!(found, expected, "{pattern} {path}");
        }
    }
}
