//! Finds a receiver on another host in the settings of an output.
//!
//! The check of a plugin delivers alerts that it makes up, and they must not reach a real receiver by accident. The settings
//! can be those of any plugin. So whatever may be the address of another host counts as one.

use std::net::IpAddr;

use serde_json::Value;

/// Parts of the names of settings that hold addresses.
const KEYS: [&str; 9] = [
    "url", "uri", "server", "host", "addr", "endpoint", "broker", "proxy", "remote",
];

/// The first setting that may be the address of another host. `settings` is a JSON text.
#[must_use]
pub fn other_host(settings: &str) -> Option<String> {
    match serde_json::from_str(settings) {
        Ok(value) => find(&value, false),
        // the plugin may read it in another way
        Err(_) => in_text(settings, false),
    }
}

/// `named`: the name of the setting says that it holds an address.
fn find(value: &Value, named: bool) -> Option<String> {
    match value {
        Value::String(text) => in_text(text, named),
        Value::Array(values) => values.iter().find_map(|value| find(value, named)),
        Value::Object(values) => values.iter().find_map(|(key, value)| {
            let name = key.to_ascii_lowercase();
            let named = named || KEYS.iter().any(|part| name.contains(part));
            in_text(key, false).or_else(|| find(value, named))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// An address of another host in a text, which may be a list.
fn in_text(text: &str, named: bool) -> Option<String> {
    let between = |c: char| c == ',' || c == ';' || c.is_whitespace();
    text.split(between)
        .find(|part| !part.is_empty() && leaves(part, named))
        .map(str::to_owned)
}

/// Whether a word is the address of another host.
fn leaves(word: &str, named: bool) -> bool {
    if let Some((scheme, rest)) = word.split_once("://") {
        return !scheme.eq_ignore_ascii_case("unix") && !is_here(authority(rest));
    }
    if word.starts_with(['/', '.']) || word.starts_with("unix:") {
        return false;
    }
    let place = authority(word);
    if let Ok(address) = place.trim_matches(['[', ']']).parse() {
        return !is_local(address);
    }
    let has_port = (place.rsplit_once(':')).is_some_and(|(host, port)| {
        !host.is_empty() && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    (named || has_port || place.contains('@')) && !is_here(place)
}

/// `USER@HOST:PORT` at the start of what follows the scheme of a URL (RFC 3986, section 3.2).
fn authority(text: &str) -> &str {
    text.split(['/', '?', '#']).next().unwrap_or(text)
}

/// Whether this is a place on this host.
fn is_here(authority: &str) -> bool {
    if authority.contains('\\') {
        // programs differ on where the host ends
        return false;
    }
    let place = authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place);
    if let Ok(address) = place.trim_matches(['[', ']']).parse() {
        return is_local(address);
    }
    let host = match place.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) => return false,
        None => place,
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost") || bare.unwrap_or(host).parse().is_ok_and(is_local)
}

/// Linux sends what is for the unspecified address to this host.
fn is_local(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_may_be_another_host_counts_as_one() {
        for settings in [
            r#"{"url": "http://siem:9/"}"#,
            r#"{"url": "http://localhost.example.com:9/"}"#,
            r#"{"url": "http://127.example.com/"}"#,
            r#"{"url": "http://localhost@siem/"}"#,
            r#"{"url": "http://localhost:80@siem:9/"}"#,
            r#"{"url": "http://siem/x@localhost"}"#,
            r#"{"url": "http://siem?x@localhost"}"#,
            r#"{"url": "http://siem#@localhost"}"#,
            r#"{"url": "http://siem\\@localhost"}"#,
            r#"{"url": "http://[2001:db8::1]:9/"}"#,
            r#"{"url": "HTTP://SIEM"}"#,
            r#"{"servers": ["10.255.255.1:4222"]}"#,
            r#"{"servers": ["nats://localhost:4222", "siem"]}"#,
            r#"{"servers": "localhost:4222,siem:4222"}"#,
            r#"{"to": ["siem:4222"]}"#,
            r#"{"to": "10.255.255.1"}"#,
            r#"{"to": "2001:db8::1"}"#,
            r#"{"to": {"siem:514": {}}}"#,
            r#"{"a": {"address": {"name": "siem"}}}"#,
            r#"{"program": "curl -d @- http://siem/"}"#,
            "url: http://siem",
        ] {
            assert!(other_host(settings).is_some(), "{settings}");
        }
    }

    #[test]
    fn this_host_and_what_is_no_address_do_not_count() {
        for settings in [
            "",
            r#"{"url": "http://localhost:9/x@siem"}"#,
            r#"{"url": "http://LOCALHOST"}"#,
            r#"{"url": "http://user:word@127.0.0.1:9/"}"#,
            r#"{"url": "http://127.1.2.3/"}"#,
            r#"{"url": "http://[::1]:9/"}"#,
            r#"{"servers": ["127.0.0.1:4222", "localhost", "::1"]}"#,
            r#"{"bind_address": "0.0.0.0:5060"}"#,
            r#"{"bind_address": "unix:///run/lanner.sock"}"#,
            r#"{"address": "unix:///dev/log"}"#,
            r#"{"filename": "/var/log/a:1"}"#,
            r#"{"program": "tee -a /tmp/x", "keep_alive": true, "deadline": "10s"}"#,
        ] {
            assert_eq!(other_host(settings), None, "{settings}");
        }
    }
}
