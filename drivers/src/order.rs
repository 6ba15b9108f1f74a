//! The order in which drivers are tried, and which of them would be taken. This only probes; it opens nothing.

use driver_api::driver::{Driver, registered};
use driver_api::error::OpenError;
use driver_api::host::Host;
use driver_api::request::Target;
use driver_api::support::Support;

use crate::choose::{PassedOver, Refused, by_name, cannot_serve};

/// The drivers that [`AUTO`](crate::AUTO) tries, the first one first.
#[derive(Debug, Clone)]
pub struct Order(Vec<&'static dyn Driver>);

impl Default for Order {
    /// Every driver of this build, the preferred one first.
    fn default() -> Self {
        Self(registered())
    }
}

impl Order {
    /// These drivers and no others. Without any name, the default order.
    ///
    /// # Errors
    ///
    /// A name is unknown, or comes twice.
    pub fn named<S: AsRef<str>>(names: &[S]) -> Result<Self, Refused> {
        if names.is_empty() {
            return Ok(Self::default());
        }
        let mut drivers: Vec<&'static dyn Driver> = Vec::new();
        for name in names {
            let driver = by_name(name.as_ref())?;
            if drivers.iter().any(|other| other.name() == driver.name()) {
                return Err(Refused::Twice(driver.name()));
            }
            drivers.push(driver);
        }
        Ok(Self(drivers))
    }

    #[cfg(test)]
    pub(crate) fn of(drivers: &[&'static dyn Driver]) -> Self {
        Self(drivers.to_vec())
    }

    /// The drivers, in order.
    pub fn drivers(&self) -> &[&'static dyn Driver] {
        &self.0
    }

    /// Which driver would be taken for a target on this host, as far as probing can say: if it fails to load,
    /// [`open`](crate::open) takes the next one.
    pub fn choice(&self, host: &Host, target: &Target) -> Choice {
        let mut passed_over = Vec::new();
        for driver in &self.0 {
            let why = cannot_serve(*driver, target).or_else(|| match driver.probe(host) {
                Support::Usable(_) => None,
                Support::Unusable(gaps) => Some(OpenError::Unusable {
                    driver: driver.name(),
                    gaps,
                }),
            });
            let Some(why) = why else {
                return Choice {
                    driver: Some(*driver),
                    passed_over,
                };
            };
            passed_over.push(PassedOver {
                driver: driver.name(),
                why,
            });
        }
        Choice {
            driver: None,
            passed_over,
        }
    }
}

/// A driver that would be taken.
#[derive(Debug)]
pub struct Choice {
    /// The driver. None: every driver is passed over.
    pub driver: Option<&'static dyn Driver>,
    /// The drivers before it in the order.
    pub passed_over: Vec<PassedOver>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made::{BROKEN, WHOLE, command, host};

    /// Names and reasons of drivers that were passed over.
    fn reasons(choice: &Choice) -> Vec<(&'static str, String)> {
        let passed = choice.passed_over.iter();
        passed.map(|p| (p.driver, p.reason())).collect()
    }

    #[test]
    fn the_choice_is_the_first_usable_one_and_tells_why_not_those_before_it() {
        let order = Order::of(&[&WHOLE, &BROKEN]);
        let choice = order.choice(&host(), &Target::Host);
        assert_eq!(choice.driver.map(Driver::name), Some("whole"));
        assert_eq!(reasons(&choice), []);
        let nothing = order.choice(&Host::default(), &Target::Host);
        assert!(nothing.driver.is_none());
        let why = "no seccomp, nothing else".to_owned();
        assert_eq!(reasons(&nothing), [("whole", why.clone()), ("broken", why)]);
    }

    #[test]
    fn an_order_of_names_is_kept_and_leaves_the_others_out() {
        let names = |order: &Order| {
            let drivers = order.drivers().iter();
            drivers.map(|driver| driver.name()).collect::<Vec<_>>()
        };
        let nothing: [&str; 0] = [];
        assert_eq!(
            names(&Order::named(&nothing).unwrap()),
            ["ebpf-core", "ebpf-legacy", "ptrace"]
        );
        let order = Order::named(&["ptrace", "ebpf-core"]).unwrap();
        assert_eq!(names(&order), ["ptrace", "ebpf-core"]);
        let choice = order.choice(&host(), &command());
        assert_eq!(choice.driver.map(Driver::name), Some("ptrace"));
        // it cannot watch the whole host, and the eBPF driver has no privilege here
        let choice = order.choice(&host(), &Target::Host);
        assert!(choice.driver.is_none());
        assert!(reasons(&choice)[0].1.contains("the whole host"));
        assert!(reasons(&choice)[1].1.contains("CAP_SYS_ADMIN"));
    }

    #[test]
    fn names_that_are_unknown_or_come_twice_are_refused() {
        let known = registered().first().map(|driver| driver.name()).unwrap();
        assert!(matches!(
            Order::named(&[known, "nosuch"]),
            Err(Refused::Unknown { asked, .. }) if asked == "nosuch"
        ));
        let twice = Order::named(&[known, known]).unwrap_err();
        assert!(twice.to_string().contains("twice"), "{twice}");
    }
}
