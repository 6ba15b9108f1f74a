//! Resolves relative paths without access to files, as if no component were a symbolic link.

/// Appends the absolute form of `path`, resolved from the directory `base`, without `.`, `..`, double or trailing
/// slashes. If `base` is empty (not known), a relative path stays relative.
pub fn resolve(base: &[u8], path: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let absolute = path.first() == Some(&b'/');
    if !absolute && base.first() != Some(&b'/') {
        out.extend_from_slice(path);
        return;
    }
    if !absolute {
        push_components(base, start, out);
    }
    push_components(path, start, out);
    if out.len() == start {
        out.push(b'/');
    }
}

/// Appends the absolute form of the absolute path `path` of a process whose root directory is `root`. `..` does not lead
/// out of the root.
pub fn resolve_below(root: &[u8], path: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    push_components(root, start, out);
    let below = out.len();
    push_components(path, below, out);
    if out.len() == start {
        out.push(b'/');
    }
}

/// Appends the absolute form of `path`, of a process whose root directory is `root` and that resolves relative paths from
/// `base`. `..` does not lead out of the root, unless the base is outside. If `base` is empty (not known), a relative path
/// stays relative.
pub fn resolve_within(root: &[u8], base: &[u8], path: &[u8], out: &mut Vec<u8>) {
    if path.first() == Some(&b'/') {
        return resolve_below(root, path, out);
    }
    let below = base.strip_prefix(root).filter(|_| !root.is_empty());
    match below.filter(|below| matches!(below.first(), None | Some(b'/'))) {
        Some(below) => resolve_below(root, &[below, b"/", path].concat(), out),
        None => resolve(base, path, out),
    }
}

fn push_components(path: &[u8], start: usize, out: &mut Vec<u8>) {
    for component in path.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                let parent = out[start..].iter().rposition(|&b| b == b'/').unwrap_or(0);
                out.truncate(start + parent);
            }
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    fn within(root: &str, base: &str, path: &str) -> String {
        let mut out = Vec::new();
        super::resolve_within(root.as_bytes(), base.as_bytes(), path.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_path_stays_below_the_root_directory() {
        assert_eq!(within("/jail", "/jail/d", "/etc/x"), "/jail/etc/x");
        assert_eq!(within("/jail", "/jail/d", "../../../x"), "/jail/x");
        assert_eq!(within("/jail", "/jail", "x"), "/jail/x");
        // the process was outside when it changed its root
        assert_eq!(within("/jail", "/home", "../x"), "/x");
        assert_eq!(within("/jail", "/jailed/d", "../../x"), "/x");
        assert_eq!(within("/jail", "", "x"), "x");
        assert_eq!(within("", "/home", "../../x"), "/x");
        assert_eq!(within("", "", "/x"), "/x");
    }

    fn resolve(base: &str, path: &str) -> String {
        let mut out = b"kept".to_vec();
        super::resolve(base.as_bytes(), path.as_bytes(), &mut out);
        String::from_utf8(out)
            .unwrap()
            .strip_prefix("kept")
            .unwrap()
            .to_owned()
    }

    #[test]
    fn an_absolute_path_stays_below_the_root_directory() {
        for (path, expected) in [
            ("/etc/passwd", "/jail/etc/passwd"),
            ("/../../etc", "/jail/etc"),
            ("/", "/jail"),
        ] {
            let mut out = b"kept".to_vec();
            super::resolve_below(b"/jail", path.as_bytes(), &mut out);
            assert_eq!(out, format!("kept{expected}").into_bytes(), "{path}");
        }
    }

    #[test]
    fn a_path_is_resolved_by_its_letters() {
        let cases = [
            ("/home/a", "x", "/home/a/x"),
            ("/home/a", "./x//y/", "/home/a/x/y"),
            ("/home/a", "../b", "/home/b"),
            ("/home/a", "../../../../etc/passwd", "/etc/passwd"),
            ("/home/a", "/etc/../etc/./shadow", "/etc/shadow"),
            ("/", "x", "/x"),
            ("/", "..", "/"),
            ("/home/", "", "/home"),
            ("", "x", "x"),
            ("", "/x/..", "/"),
            ("relative", "x", "x"),
        ];
        for (base, path, expected) in cases {
            assert_eq!(resolve(base, path), expected, "{base} {path}");
        }
    }
}
