//! Operators and values that lanner takes and Falco refuses: they become notes, and errors with the setting `strict_falco`.

use lanner_plugin::{FieldKind, ResolvedField};

use crate::ast::{Check, Word};
use crate::numbers::without_blanks;
use crate::operators::Predicate;
use crate::posix;
use crate::source::{Problem, code};
use crate::text_matcher::Pattern;

/// A note for the operator and for each value that Falco refuses.
pub(crate) fn notes(check: &Check, values: &[Word], field: &ResolvedField) -> Vec<Problem> {
    let of = |word: &Word| {
        let message = refused(check, word, field)?;
        let message = format!("Falco does not take `{}` here: {message}", word.text);
        Some(Problem::refused_by_falco(
            code::CONDITION,
            &word.place,
            message,
        ))
    };
    let operator = (!check.op.is_falcos()).then(|| {
        let message = format!("Falco has no operator `{}`", check.op.name());
        Problem::refused_by_falco(code::CONDITION, &check.op_place, message)
    });
    operator
        .into_iter()
        .chain(values.iter().filter_map(of))
        .collect()
}

/// Why Falco refuses a value.
fn refused(check: &Check, word: &Word, field: &ResolvedField) -> Option<String> {
    let text = word.text.as_str();
    match field.kind {
        FieldKind::I64 | FieldKind::U64 | FieldKind::F64 => {
            let number = without_blanks(text);
            let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if is_port(check) {
                let plain = digits.len() == text.len() && plain;
                let fits = text.parse::<i32>().is_ok();
                let service = services::port(text).is_some() || text.is_empty();
                return (!(service || (plain && fits)))
                    .then(|| "a port is a number or the name of a service".to_owned());
            }
            (!plain).then(|| "a number has digits only".to_owned())
        }
        FieldKind::Ip => {
            let network = text.split_once('/');
            let wants_network = last_word(check).is_some_and(|word| word.ends_with("net"));
            match network {
                Some(_) if !wants_network => Some("this field takes addresses".to_owned()),
                None if wants_network => Some("this field takes networks".to_owned()),
                Some((address, "0")) if address.contains(':') => {
                    Some("a network has a length".to_owned())
                }
                _ if text.contains('.') && text.contains(':') => {
                    Some("an IPv6 address has no dots".to_owned())
                }
                _ => None,
            }
        }
        FieldKind::String if check.op.predicate() == Predicate::Pattern(Pattern::Regex) => {
            posix::translate(text).err().map(|error| error.to_string())
        }
        FieldKind::String | FieldKind::Bool | FieldKind::Bytes | FieldKind::Any => None,
    }
}

/// Fields that have 32 bits in Falco. The others have 64.
const NARROW: &[&str] = &["user.uid", "group.gid", "proc.tty"];

/// What Falco reads where it does not read the number as it is written: the port of a service, or a number that wraps
/// around because it does not fit the field.
pub(crate) fn number(check: &Check, text: &str, field: &ResolvedField) -> Option<String> {
    let signed = match field.kind {
        FieldKind::I64 => true,
        FieldKind::U64 => false,
        FieldKind::F64
        | FieldKind::Bool
        | FieldKind::String
        | FieldKind::Bytes
        | FieldKind::Ip
        | FieldKind::Any => return None,
    };
    let port = is_port(check);
    if port {
        match text {
            "" => return Some("0".to_owned()),
            text => {
                if let Some(port) = services::port(text) {
                    return Some(port.to_string());
                }
            }
        }
    }
    let text = without_blanks(text);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let negative = text.starts_with('-');
    let name = check.left.plain().map(|field| field.name.as_str());
    let written = digits.parse::<i128>().unwrap_or(i128::MAX);
    let written = if negative { -written } else { written };
    let read = if name == Some("evt.cpu") {
        // 16 bits, from a number of 32 bits, from one of 64.
        let whole = written.clamp(i64::MIN.into(), i64::MAX.into());
        let low = whole.rem_euclid(1 << 16);
        if low < 1 << 15 { low } else { low - (1 << 16) }
    } else if signed {
        written.clamp(i64::MIN.into(), i64::MAX.into())
    } else {
        // strtoull(3): too large a number is the largest one, and a negative one wraps around.
        let most = i128::from(u64::MAX);
        let whole = if written.abs() > most {
            most
        } else {
            written.rem_euclid(most + 1)
        };
        match name {
            _ if port => whole & 0xffff,
            Some(name) if NARROW.contains(&name) => whole & 0xffff_ffff,
            _ => whole,
        }
    };
    (read != written).then(|| read.to_string())
}

/// Whether a check compares ports.
pub(crate) fn is_port(check: &Check) -> bool {
    let field = check.left.plain();
    let name = field.and_then(|field| field.name.strip_prefix("fd."));
    name.is_some_and(|name| name.ends_with("port") || name == "proto")
}

fn last_word(check: &Check) -> Option<&str> {
    check.left.plain()?.name.rsplit('.').next()
}

/// The ports of services, from /etc/services.
pub(crate) mod services {
    use std::collections::HashMap;
    use std::sync::OnceLock;

    /// The port of a service.
    pub(crate) fn port(name: &str) -> Option<u16> {
        static KNOWN: OnceLock<HashMap<String, u16>> = OnceLock::new();
        let known =
            KNOWN.get_or_init(|| parse(&std::fs::read("/etc/services").unwrap_or_default()));
        known.get(name).copied()
    }

    /// Reads lines such as `http  80/tcp  www  # comment`. The first line of a name counts.
    fn parse(text: &[u8]) -> HashMap<String, u16> {
        let mut known = HashMap::new();
        for line in String::from_utf8_lossy(text).lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let (Some(name), Some(port)) = (words.next(), words.next()) else {
                continue;
            };
            let Some(port) = port.split('/').next().and_then(|port| port.parse().ok()) else {
                continue;
            };
            for name in std::iter::once(name).chain(words) {
                known.entry(name.to_owned()).or_insert(port);
            }
        }
        known
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn services_have_names_and_aliases() {
            let known =
                super::parse(b"# x\nhttp 80/tcp www # web\nhttp 81/udp\nbad\nworse x/tcp\n");
            assert_eq!(known.get("http"), Some(&80));
            assert_eq!(known.get("www"), Some(&80));
            assert_eq!(known.len(), 2);
        }
    }
}
