//! Makes two runs of the same command comparable: threads are named by their birth, and what differs
//! from run to run (ids, addresses, ephemeral ports, random names) by what it is.

use std::collections::BTreeMap;

use serde_json::Value;

/// Per thread, in order: what it did.
pub(crate) type Story = BTreeMap<String, Vec<String>>;

/// Names threads: the first is "0", its second child "0.1".
#[derive(Debug, Default)]
pub(crate) struct Births {
    names: BTreeMap<u64, String>,
    children: BTreeMap<String, usize>,
}

impl Births {
    pub(crate) fn root(&mut self, tid: u64) {
        self.names.entry(tid).or_insert_with(|| "0".to_owned());
    }

    pub(crate) fn born(&mut self, parent: u64, child: u64) {
        let Some(parent) = self.names.get(&parent).cloned() else {
            return;
        };
        let at = self.children.entry(parent.clone()).or_default();
        self.names.insert(child, format!("{parent}.{at}"));
        *at += 1;
    }

    pub(crate) fn name(&self, tid: u64) -> Option<&String> {
        self.names.get(&tid)
    }
}

/// The story of `lanner trace --json` with procstart events.
pub(crate) fn story(events: &[Value]) -> Story {
    let mut births = Births::default();
    births.root(
        events
            .iter()
            .find_map(|e| e["tid"].as_u64())
            .unwrap_or_default(),
    );
    for event in events.iter().filter(|e| e["type"] == "procstart") {
        births.born(
            event["tid"].as_u64().unwrap_or(0),
            event["params"]["tid"].as_u64().unwrap_or(0),
        );
    }
    let mut story = Story::new();
    for event in events
        .iter()
        .filter(|e| e["type"] != "procstart" && e["type"] != "procexit")
    {
        let tid = event["tid"].as_u64().unwrap_or(0);
        let name = births
            .name(tid)
            .cloned()
            .unwrap_or_else(|| format!("unknown {tid}"));
        let kind = event["type"].as_str().unwrap_or_default();
        let mut line = format!("{kind} {}", plain(&event["params"], &births, ""));
        let ret = match kind {
            "clone" | "clone3" | "fork" | "vfork" => id(&event["ret"], &births),
            "brk" | "mmap" | "mremap" => "ADDRESS".to_owned(),
            _ => plain(&event["ret"], &births, ""),
        };
        line.push_str(&format!(
            " = {ret} {} {}",
            event["error"],
            plain(&event["facts"], &births, "")
        ));
        for extra in ["truncated", "incomplete"] {
            if let Some(value) = event.get(extra) {
                line.push_str(&format!(" {extra} {value}"));
            }
        }
        story.entry(name).or_default().push(line);
    }
    story
}

fn id(value: &Value, births: &Births) -> String {
    match value.as_u64().and_then(|tid| births.name(tid)) {
        Some(name) => format!("thread {name}"),
        None => value.to_string(),
    }
}

fn plain(value: &Value, births: &Births, key: &str) -> String {
    match value {
        _ if crate::neutral::is_random(key) => "RANDOM".to_owned(),
        Value::Object(map) => {
            // only ebpf-core reports the program's file and capabilities; elsewhere /proc is asked. The inode of an opened file
            // is another one in each run.
            let told_by_all =
                |(key, _): &(&String, &Value)| !matches!(key.as_str(), "program" | "file");
            let parts: Vec<String> = map
                .iter()
                .filter(told_by_all)
                .map(|(key, value)| format!("{key}:{}", plain(value, births, key)))
                .collect();
            format!("{{{}}}", parts.join(" "))
        }
        Value::Array(items) => {
            let parts: Vec<String> = items.iter().map(|item| plain(item, births, key)).collect();
            format!("[{}]", parts.join(" "))
        }
        // lanner itself, or the one who started it, is another process in every run
        Value::Number(_)
            if matches!(key, "ppid" | "pgid" | "sid")
                && births.name(value.as_u64().unwrap_or(0)).is_none() =>
        {
            "other".to_owned()
        }
        Value::Number(_) if matches!(key, "pid" | "tid" | "tgid" | "ppid" | "pgid" | "sid") => {
            id(value, births)
        }
        Value::Number(number)
            if key == "port" && number.as_u64().is_some_and(|port| port >= 32768) =>
        {
            "PORT".to_owned()
        }
        // addresses differ from run to run, whatever the kind
        Value::Number(number) if number.as_u64().is_some_and(|n| n > 1 << 40) => {
            "ADDRESS".to_owned()
        }
        Value::String(text) => mask(text, births),
        other => other.to_string(),
    }
}

/// Masks what is random in a text: addresses, pids in /proc paths, ephemeral ports, temporary names.
pub(crate) fn mask(text: &str, births: &Births) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(hex) = rest.strip_prefix("0x") {
            let digits = hex.bytes().take_while(u8::is_ascii_hexdigit).count();
            if digits > 5 {
                out.push_str("ADDRESS");
                rest = &hex[digits..];
                continue;
            }
        }
        if let Some((prefix, after)) = ["/proc/", "pid="]
            .into_iter()
            .find_map(|prefix| Some((prefix, rest.strip_prefix(prefix)?)))
        {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            if digits > 0 {
                let pid = after[..digits].parse().unwrap_or(0);
                out.push_str(prefix);
                out.push_str(births.name(pid).map_or("PID", String::as_str));
                rest = &after[digits..];
                continue;
            }
        }
        for (prefix, length) in [
            ("tmp_obj_", 6),
            (".git/t", 6),
            ("/cc", 6),
            ("127.0.0.1:", 5),
            ("[::1]:", 5),
            ("htons(", 5),
        ] {
            if let Some(after) = rest.strip_prefix(prefix)
                && after.len() >= length
                && after.is_char_boundary(length)
                && after[..length].bytes().all(|b| b.is_ascii_alphanumeric())
            {
                out.push_str(prefix);
                out.push_str("RANDOM");
                rest = &after[length..];
                break;
            }
        }
        let Some(next) = rest.chars().next() else {
            break;
        };
        if next == first {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

/// Fails with the first differences, if there are any. A program need not do the same each time (where its memory
/// came to lie decides what node looks up): the second story is true if it is one of those that `again` tells.
pub(crate) fn assert_same(
    what: &str,
    names: (&str, &str),
    stories: (&Story, &Story),
    mut again: impl FnMut() -> Story,
) {
    const TELLINGS: usize = 5;
    let first = differences(names, stories);
    if first.is_empty() || (1..TELLINGS).any(|_| again() == *stories.1) {
        return;
    }
    panic!(
        "{what}: {} threads differ\n{}",
        first.len(),
        first[..first.len().min(5)].join("\n")
    );
}

/// The first difference of each thread.
fn differences(names: (&str, &str), stories: (&Story, &Story)) -> Vec<String> {
    let mut faults = Vec::new();
    let threads: std::collections::BTreeSet<&String> =
        stories.0.keys().chain(stories.1.keys()).collect();
    for thread in threads {
        let empty = Vec::new();
        let (left, right) = (
            stories.0.get(thread).unwrap_or(&empty),
            stories.1.get(thread).unwrap_or(&empty),
        );
        for at in 0..left.len().max(right.len()) {
            let (l, r) = (
                left.get(at).map_or("(nothing)", String::as_str),
                right.get(at).map_or("(nothing)", String::as_str),
            );
            if l != r {
                faults.push(format!(
                    "thread {thread}, call {at}\n  {}: {l}\n  {}: {r}",
                    names.0, names.1
                ));
                break;
            }
        }
    }
    faults
}
