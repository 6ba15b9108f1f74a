//! Wildcards: `*` matches any text (`/` included), `?` any byte, `[a-z]` and `[!a-z]` sets of bytes, and `\` makes the
//! next byte literal. This is fnmatch(3) without flags, or with FNM_CASEFOLD.

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
    let lower = |b: u8| if fold { b.to_ascii_lowercase() } else { b };
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => match set(pattern, p, lower(byte), lower) {
            Some((true, next)) => Some(next),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(p + 1),
        },
        b'\\' if p + 1 < pattern.len() => (lower(pattern[p + 1]) == lower(byte)).then_some(p + 2),
        literal => (lower(literal) == lower(byte)).then_some(p + 1),
    }
}

/// Whether a set contains `byte`, and the position after the set. None if the set has no end: `[` is literal then.
fn set(pattern: &[u8], p: usize, byte: u8, lower: impl Fn(u8) -> u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(p + 1), Some(b'!' | b'^'));
    let first = p + 1 + usize::from(negated);
    let mut at = first;
    let mut found = false;
    loop {
        let low = *pattern.get(at)?;
        if low == b']' && at > first {
            return Some((found != negated, at + 1));
        }
        match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some(b'-'), Some(high)) if *high != b']' => {
                found |= (lower(low)..=lower(*high)).contains(&byte);
                at += 3;
            }
            _ => {
                found |= lower(low) == byte;
                at += 1;
            }
        }
    }
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
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
        assert!(matches(b"*.PEM", b"key.pem", true));
        assert!(!matches(b"*.PEM", b"key.pem", false));
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
