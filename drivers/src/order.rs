//! The order in which drivers are tried, and which of them would be taken: told by probing alone, nothing is
//! opened.

use driver_api::driver::{Driver, registered};
use driver_api::host::Host;
use driver_api::request::Target;
use driver_api::support::Support;

use crate::choose::{Refused, by_name, cannot_serve};

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
    /// These and no others; without any name, the default. A name that is unknown or comes twice is refused.
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

    /// The drivers, in order.
    pub fn drivers(&self) -> &[&'static dyn Driver] {
        &self.0
    }

    /// Which driver would be taken for a target on this host. One that fails to load makes the next one's
    /// turn, which only [`open`](crate::open) can find out.
    pub fn choice(&self, host: &Host, target: &Target) -> Choice {
        let mut passed_over = Vec::new();
        for driver in &self.0 {
            let why = cannot_serve(*driver, target).or_else(|| match driver.probe(host) {
                Support::Usable(_) => None,
                Support::Unusable(gaps) => {
                    let why: Vec<String> = gaps.into_iter().map(|gap| gap.why).collect();
                    Some(why.join(", "))
                }
            });
            let Some(why) = why else {
                return Choice {
                    driver: Some(*driver),
                    passed_over,
                };
            };
            passed_over.push((driver.name(), why));
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
    /// The driver; none: no driver would do.
    pub driver: Option<&'static dyn Driver>,
    /// Those that stand before it in the order, and why each is passed over.
    pub passed_over: Vec<(&'static str, String)>,
}

#[cfg(test)]
mod tests {
    use driver_api::driver::{OpenError, Opened};
    use driver_api::request::{Command, Limits, Request, SyscallSet};
    use driver_api::scripted::Scripted;
    use driver_api::support::{Gap, Serves};

    use super::*;
    use crate::{AUTO, open_as};

    /// A driver that is said to be usable, and loads or does not.
    #[derive(Debug)]
    struct Made {
        name: &'static str,
        loads: bool,
    }

    impl Driver for Made {
        fn name(&self) -> &'static str {
            self.name
        }

        fn description(&self) -> &'static str {
            "made for a test"
        }

        fn preference(&self) -> u32 {
            0
        }

        fn serves(&self) -> Serves {
            Serves {
                host: true,
                command: true,
                pids: true,
            }
        }

        fn probe(&self, host: &Host) -> Support {
            if host.seccomp {
                return Support::Usable(Vec::new());
            }
            let gap = |why: &str| Gap::new("something", why, "");
            Support::Unusable(vec![gap("no seccomp"), gap("nothing else")])
        }

        fn open(&self, _: &Host, _: &Request) -> Result<Opened, OpenError> {
            if self.loads {
                return Ok(Opened {
                    captures: vec![Box::new(Scripted::new(Vec::new(), None))],
                    gaps: Vec::new(),
                });
            }
            Err(OpenError::Failed {
                driver: self.name,
                step: "load its programs".to_owned(),
                cause: "the kernel refused them".to_owned(),
            })
        }
    }

    const BROKEN: Made = Made {
        name: "broken",
        loads: false,
    };
    const WHOLE: Made = Made {
        name: "whole",
        loads: true,
    };

    fn host() -> Host {
        Host {
            seccomp: true,
            ..Host::default()
        }
    }

    fn request(target: Target) -> Request {
        Request {
            target,
            selection: SyscallSet::empty(),
            limits: Limits::default(),
            shards: 1,
            buffer: 1 << 16,
        }
    }

    #[test]
    fn a_driver_that_fails_to_load_makes_the_next_ones_turn_and_the_reason_is_told() {
        let order = Order(vec![&BROKEN, &WHOLE]);
        let chosen = open_as(AUTO, AUTO, &order, &host(), &request(Target::Host)).unwrap();
        assert_eq!(chosen.driver.name(), "whole");
        let reason = chosen.reason();
        assert!(
            reason.starts_with("driver whole, because broken: ")
                && reason.contains("the kernel refused them"),
            "{reason}"
        );
    }

    #[test]
    fn when_none_would_do_each_is_told_with_its_reason() {
        let order = Order(vec![&BROKEN]);
        let refused = open_as(AUTO, AUTO, &order, &host(), &request(Target::Host)).unwrap_err();
        let Refused::None(reasons) = refused else {
            panic!("{refused}");
        };
        assert_eq!(reasons.len(), 1);
        assert!(reasons[0].1.contains("the kernel refused them"));
    }

    #[test]
    fn the_choice_is_the_first_usable_one_and_tells_why_not_those_before_it() {
        let order = Order(vec![&WHOLE, &BROKEN]);
        let choice = order.choice(&host(), &Target::Host);
        assert_eq!(choice.driver.map(Driver::name), Some("whole"));
        assert_eq!(choice.passed_over, []);
        let nothing = order.choice(&Host::default(), &Target::Host);
        assert!(nothing.driver.is_none());
        let why = "no seccomp, nothing else".to_owned();
        assert_eq!(
            nothing.passed_over,
            [("whole", why.clone()), ("broken", why)]
        );
    }

    #[cfg(all(feature = "core", feature = "legacy", feature = "ptrace"))]
    #[test]
    fn an_order_of_names_is_kept_and_leaves_the_others_out() {
        let command = Target::Command(Command {
            program: "true".into(),
            args: Vec::new(),
        });
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
        let choice = order.choice(&host(), &command);
        assert_eq!(choice.driver.map(Driver::name), Some("ptrace"));
        // it cannot watch the whole host, and the eBPF driver has no privilege here
        let choice = order.choice(&host(), &Target::Host);
        assert!(choice.driver.is_none());
        assert!(choice.passed_over[0].1.contains("the whole host"));
        assert!(choice.passed_over[1].1.contains("CAP_SYS_ADMIN"));
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
