//! One line of strace, or of lanner's text, without what differs on purpose or from run to run.
//!
//! What differs on purpose:
//! - of what the call reads and writes (`[110 => 2]`), lanner has the value at the call's return (`[2]`),
//!   and likewise no `=> {parent_tid=[..]}` behind clone3;
//! - members of a structure come in the order of memory, strace has an order of its own: sorted here;
//! - the bytes of an iovec array are one string, as they went through the call; the lengths of a message's
//!   parts are those of what is shown;
//! - what strace makes of a terminal's settings is prose;
//! - a date follows a time stamp, and an explanation follows some results.

/// Members that differ from run to run.
const RANDOM: &[&str] = &[
    "st_ino",
    "st_atime",
    "st_mtime",
    "st_ctime",
    "st_atime_nsec",
    "st_mtime_nsec",
    "st_ctime_nsec",
    "st_blocks",
    "st_nlink",
    "stx_nlink",
    "st_dev",
    "stx_ino",
    "stx_atime",
    "stx_btime",
    "stx_mtime",
    "stx_ctime",
    "stx_blocks",
    "f_bfree",
    "f_bavail",
    "f_ffree",
    "f_fsid",
    "stx_mnt_id",
    "stx_dev_major",
    "stx_dev_minor",
    "stx_attributes_mask",
    "stx_mask",
    "stx_rdev_major",
    "stx_rdev_minor",
    // shown by strace where the kernel writes it
    "l_pid",
    // newer than strace
    "stx_dio_mem_align",
    "stx_dio_offset_align",
    "stx_subvol",
    "stx_atomic_write_unit_min",
    "stx_atomic_write_unit_max",
    "stx_atomic_write_segments_max",
];
/// Members that only strace has: how much room there was, and what a message's flags came back as.
const ROOM: &[&str] = &["msg_namelen", "msg_iovlen", "msg_controllen", "msg_flags"];

/// Whether a member differs from run to run.
pub(crate) fn is_random(member: &str) -> bool {
    RANDOM.contains(&member)
}

/// The line in its neutral form.
pub(crate) fn line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = at_return(&comments(&text));
    let text = if text.starts_with("ioctl(") {
        request(&text)
    } else {
        text
    };
    members(result(&text))
}

/// Without the parentheses behind a result that is no error.
fn result(text: &str) -> &str {
    match text.rsplit_once(" = ") {
        Some((_, result)) if !result.starts_with('-') => match result.split_once(" (") {
            Some((_, meaning)) => text
                .strip_suffix(meaning)
                .and_then(|text| text.strip_suffix(" ("))
                .unwrap_or(text),
            None => text,
        },
        _ => text,
    }
}

/// An ioctl up to its request.
fn request(text: &str) -> String {
    let result = text.rsplit_once(") = ").map_or("", |(_, result)| result);
    let head: Vec<&str> = text.splitn(3, ", ").take(2).collect();
    format!("{}) = {result}", head.join(", ").trim_end_matches(')'))
}

/// Without `/* ... */` behind numbers, which is a date there.
fn comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(" /* ") {
        let Some((comment, after)) = after.split_once(" */") else {
            break;
        };
        out.push_str(before);
        if !comment.starts_with(|c: char| c.is_ascii_digit()) || comment.contains("var") {
            out.push_str(&format!(" /* {comment} */"));
        }
        rest = after;
    }
    out + rest
}

/// `[110 => 2]` is `[2]`, and what clone3 wrote is left out.
fn at_return(line: &str) -> String {
    let line = match (
        line.starts_with("clone3("),
        line.split_once("} => {"),
        line.rsplit_once("}, "),
    ) {
        (true, Some((before, _)), Some((_, after))) => format!("{before}}}, {after}"),
        _ => line.to_owned(),
    };
    let mut out = String::new();
    let mut rest = line.as_str();
    while let Some((before, after)) = rest.split_once(" => ") {
        match (before.rsplit_once('['), after.split_once(']')) {
            (Some((head, number)), Some((value, _))) if is_number(number) && is_number(value) => {
                out.push_str(head);
                out.push('[');
            }
            _ => {
                out.push_str(before);
                out.push_str(" => ");
            }
        }
        rest = after;
    }
    out + rest
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Sorts the members of every structure, and leaves out those of [`RANDOM`] and [`ROOM`].
fn members(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = find_open(rest) {
        let Some(end) = closing(&rest[at..]).map(|end| at + end) else {
            break;
        };
        out.push_str(&rest[..at]);
        let mut parts: Vec<String> = split(&rest[at + 1..end])
            .into_iter()
            .filter(|part| {
                let name = part.split('=').next().unwrap_or(part);
                !RANDOM.contains(&name) && !ROOM.contains(&name)
            })
            .map(|part| match part.strip_prefix("msg_iov=") {
                Some(iov) => format!("msg_iov={}", joined(iov)),
                // a name without bytes
                None if part.starts_with("msg_name=0x") => "msg_name=NULL".to_owned(),
                None => members(part),
            })
            .collect();
        // of a device strace shows the number, not the size
        if parts.iter().any(|part| part.starts_with("st_rdev=")) {
            parts.retain(|part| !part.starts_with("st_size="));
        }
        parts.sort();
        out.push_str(&format!("{{{}}}", parts.join(", ")));
        rest = &rest[end + 1..];
    }
    joined_vectors(&(out + rest))
}

/// The place of the first brace that is not in a string.
fn find_open(text: &str) -> Option<usize> {
    walk(text, |_, c, _| c == '{')
}

/// The place of the brace that closes the first one.
fn closing(text: &str) -> Option<usize> {
    walk(text, |depth, c, at| depth == 1 && c == '}' && at > 0)
}

/// The first place outside of strings that `found` accepts; it gets the depth of brackets before the place.
fn walk(text: &str, found: impl Fn(usize, char, usize) -> bool) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        if found(depth, c, at) {
            return Some(at);
        }
        match c {
            '"' => quoted = true,
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The members between commas.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = walk(rest, |depth, c, _| depth == 0 && c == ',') {
        parts.push(&rest[..at]);
        rest = rest[at + 1..].trim_start();
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

/// `[{iov_base="a", iov_len=1}, {iov_base="b", iov_len=1}]` as `"ab"`.
fn joined(vector: &str) -> String {
    let Some(inside) = vector.strip_prefix('[').and_then(|v| v.strip_suffix(']')) else {
        return vector.to_owned();
    };
    let bytes: String = split(inside)
        .into_iter()
        .filter_map(|entry| {
            let base = split(entry.trim_matches(['{', '}']))
                .into_iter()
                .find_map(|m| m.strip_prefix("iov_base="))?
                .to_owned();
            base.strip_prefix('"')?.strip_suffix('"').map(str::to_owned)
        })
        .collect();
    format!("\"{bytes}\"")
}

/// The same for the vectors that are parameters.
fn joined_vectors(text: &str) -> String {
    let Some(at) = text.find("[{iov_base=") else {
        return text.to_owned();
    };
    let Some(end) = walk(&text[at..], |depth, c, at| depth == 1 && c == ']' && at > 0) else {
        return text.to_owned();
    };
    let end = at + end + 1;
    format!("{}{}{}", &text[..at], joined(&text[at..end]), &text[end..])
}

#[test]
fn lines_lose_what_differs() {
    assert_eq!(
        line("fstat(3, {st_mode=S_IFREG|0644, st_ino=5, st_a=\"}\", st_size=1}) = 0"),
        "fstat(3, {st_a=\"}\", st_mode=S_IFREG|0644, st_size=1}) = 0"
    );
    assert_eq!(
        line("writev(1, [{iov_base=\"a\\\"\", iov_len=2}, {iov_base=\"b\", iov_len=1}], 2) = 3"),
        "writev(1, \"a\\\"b\", 2) = 3"
    );
    assert_eq!(
        line("accept(3, NULL, [110 => 2]) = 4"),
        "accept(3, NULL, [2]) = 4"
    );
    assert_eq!(
        line("ioctl(1, TCGETS, {B38400 opost}) = 0"),
        "ioctl(1, TCGETS) = 0"
    );
    assert_eq!(
        line("utimensat(3, {tv_sec=1, tv_nsec=2} /* 1970-01-01T00:00:01 */) = 0"),
        "utimensat(3, {tv_nsec=2, tv_sec=1}) = 0"
    );
}
