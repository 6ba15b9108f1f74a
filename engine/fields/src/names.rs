//! Names of hosts, for `fd.sip.name` and similar fields. As in Falco, only names that a rule compares with are known:
//! a thread looks up their addresses and refreshes them, and an address that belongs to one of the names has that
//! name.

use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use lanner_plugin::{FieldComparison, Relation};

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

/// The fields whose value is the name of a host.
const NAME_FIELDS: [&str; 4] = ["fd.sip.name", "fd.cip.name", "fd.lip.name", "fd.rip.name"];

/// The host names whose addresses the rules need: those that a rule tests `NAME_FIELDS` for equality with. The
/// transformers that change case may stand around the field. Any other comparison, such as `contains`, does not say
/// which hosts it means, so nothing is looked up for it.
#[must_use]
pub fn host_names(comparisons: &[FieldComparison]) -> Vec<String> {
    let needed = comparisons.iter().filter(|comparison| {
        comparison.relation == Relation::Equal
            && NAME_FIELDS.contains(&comparison.field.as_str())
            && comparison
                .transformers
                .iter()
                .all(|name| matches!(name.as_str(), "tolower" | "toupper"))
    });
    let mut names: Vec<String> = needed
        .flat_map(|comparison| &comparison.constants)
        .filter(|constant| is_host_name(constant))
        .cloned()
        .collect();
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

    fn comparison(field: &str, relation: Relation, constants: &[&str]) -> FieldComparison {
        FieldComparison {
            field: field.to_owned(),
            relation,
            transformers: Vec::new(),
            constants: constants.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn names_that_are_tested_for_equality_are_looked_up() {
        let found = host_names(&[
            comparison("fd.sip.name", Relation::Equal, &["b.example", "a.example"]),
            comparison("fd.cip.name", Relation::Equal, &["c.example", "a.example"]),
            FieldComparison {
                transformers: vec!["tolower".to_owned()],
                ..comparison("fd.rip.name", Relation::Equal, &["d.example"])
            },
        ]);
        assert_eq!(found, ["a.example", "b.example", "c.example", "d.example"]);
    }

    #[test]
    fn nothing_else_is_looked_up() {
        for relation in [
            Relation::Other,
            Relation::Order,
            Relation::Prefix,
            Relation::Suffix,
            Relation::Contains,
            Relation::Pattern,
        ] {
            assert!(host_names(&[comparison("fd.sip.name", relation, &["a.example"])]).is_empty());
        }
        let other_field = comparison("proc.cmdline", Relation::Equal, &["a.example"]);
        let not_a_name = comparison("fd.sip.name", Relation::Equal, &["", "two words"]);
        let other_value = FieldComparison {
            transformers: vec!["concat".to_owned()],
            ..comparison("fd.sip.name", Relation::Equal, &["a.example"])
        };
        assert!(host_names(&[other_field, not_a_name, other_value]).is_empty());
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
