//! Names of hosts, for `fd.sip.name` and its like. As in Falco, the names are those that rules compare with: their
//! addresses are looked up on a thread of their own and kept fresh, and an address that belongs to one of them has
//! that name.

use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use super::scratch::Scratch;

/// Between two looks at a name's addresses.
const FRESH: Duration = Duration::from_secs(60);

/// Names of addresses.
#[derive(Debug, Clone, Default)]
pub struct HostNames {
    by_address: Arc<RwLock<HashMap<IpAddr, Arc<str>>>>,
    /// The thread ends when this is gone.
    watch: Option<Arc<Sender<()>>>,
}

impl HostNames {
    /// Follows the addresses of these names, if there are any.
    #[must_use]
    pub fn watch(names: Vec<String>) -> Self {
        let by_address: Arc<RwLock<HashMap<IpAddr, Arc<str>>>> = Arc::default();
        if names.is_empty() {
            return Self::default();
        }
        let (watch, gone) = mpsc::channel();
        let known = by_address.clone();
        let work = move || loop {
            for name in &names {
                learn(&known, name);
            }
            if gone.recv_timeout(FRESH) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
        };
        let thread = std::thread::Builder::new().name("names".to_owned());
        if let Err(error) = thread.spawn(work) {
            tracing::warn!("names of hosts are not looked up: no thread: {error}");
        }
        Self {
            by_address,
            watch: Some(Arc::new(watch)),
        }
    }

    /// The name that an address belongs to.
    pub(super) fn name_of<'a>(&self, ip: IpAddr, scratch: &'a Scratch) -> Option<&'a [u8]> {
        self.watch.as_ref()?;
        let names = match self.by_address.read() {
            Ok(names) => names,
            Err(poisoned) => poisoned.into_inner(),
        };
        let name = names.get(&ip)?;
        Some(scratch.bytes(|out| out.extend_from_slice(name.as_bytes())))
    }
}

/// Looks up the addresses of one name. Those that it had before stay where it has none now.
fn learn(known: &RwLock<HashMap<IpAddr, Arc<str>>>, name: &str) {
    let Ok(addresses) = (name, 0).to_socket_addrs() else {
        return;
    };
    let addresses: Vec<IpAddr> = addresses
        .map(|address| address.ip().to_canonical())
        .collect();
    let name: Arc<str> = name.into();
    let mut known = match known.write() {
        Ok(known) => known,
        Err(poisoned) => poisoned.into_inner(),
    };
    known.retain(|_, of| **of != *name);
    for address in addresses {
        known.insert(address, name.clone());
    }
}

/// The names that a condition compares `fd.sip.name` and its like with: what stands behind such a field, up to the
/// next word that is neither an operator nor in the list.
#[must_use]
pub fn names_in(condition: &str) -> Vec<String> {
    let mut names = Vec::new();
    for field in ["fd.sip.name", "fd.cip.name", "fd.lip.name", "fd.rip.name"] {
        for (at, _) in condition.match_indices(field) {
            let rest = condition[at + field.len()..].trim_start();
            let operator = rest
                .split(|c: char| c.is_whitespace() || c == '(' || c == '"')
                .next();
            let operator = operator.unwrap_or_default();
            if operator == "exists" {
                continue;
            }
            let rest = match operator {
                "in" | "intersects" => rest[operator.len()..].trim_start(),
                _ => rest.trim_start_matches(['=', '!']).trim_start(),
            };
            let listed = match rest.strip_prefix('(') {
                Some(list) => list.split(')').next().unwrap_or_default(),
                None => rest
                    .split(|c: char| c.is_whitespace() || c == ')')
                    .next()
                    .unwrap_or_default(),
            };
            let words = listed
                .split(',')
                .map(|word| word.trim().trim_matches(['"', '\'']));
            names.extend(words.filter(|word| is_host_name(word)).map(str::to_owned));
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn is_host_name(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_conditions() {
        let condition = r#"evt.type = connect and (fd.sip.name="a.example" or fd.sip.name in (b.example, "c.example"))
            and not fd.cip.name = d.example"#;
        assert_eq!(
            names_in(condition),
            ["a.example", "b.example", "c.example", "d.example"]
        );
        assert!(names_in("fd.sip.name exists and fd.sip = 1.2.3.4").is_empty());
        assert!(names_in("fd.sip.name").is_empty());
    }

    #[test]
    fn an_address_has_the_name_that_leads_to_it() {
        let names = HostNames {
            by_address: Arc::default(),
            watch: Some(Arc::new(mpsc::channel().0)),
        };
        learn(&names.by_address, "localhost");
        let scratch = Scratch::default();
        assert_eq!(
            names.name_of(IpAddr::from([127, 0, 0, 1]), &scratch),
            Some(&b"localhost"[..])
        );
        assert_eq!(names.name_of(IpAddr::from([10, 0, 0, 1]), &scratch), None);
    }
}
