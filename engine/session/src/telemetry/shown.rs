//! Names from the configuration as metrics and the page show them. Secrets in them are hidden. Names that differ stay different: of
//! two series that are the same, Prometheus refuses the whole page.

use std::collections::BTreeSet;

use delivery::{Account, Outputs};
use plugin_host::secrets;

/// Names that were shown.
#[derive(Debug, Default)]
pub(super) struct Shown(BTreeSet<String>);

impl Shown {
    /// A name without secrets, and unlike those before.
    pub(super) fn name(&mut self, name: &str) -> String {
        let hidden = secrets::hide(name);
        let mut shown = hidden.clone().into_owned();
        let mut number = 1;
        while !self.0.insert(shown.clone()) {
            number += 1;
            shown = format!("{hidden}-{number}");
        }
        shown
    }
}

/// The counters of all outputs.
pub(crate) fn accounts(outputs: &Outputs) -> Vec<Account> {
    let mut shown = Shown::default();
    let mut accounts = outputs.accounts();
    for account in &mut accounts {
        account.output = shown.name(&account.output);
    }
    accounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_secrets_are_hidden_and_stay_different() {
        secrets::keep("name-of-one-host");
        secrets::keep("name-of-another-host");
        let mut shown = Shown::default();
        let names = ["x", "siem-name-of-one-host", "siem-name-of-another-host"];
        let names = names.map(|name| shown.name(name));
        assert_eq!(names, ["x", "siem-***", "siem-***-2"]);
    }
}
