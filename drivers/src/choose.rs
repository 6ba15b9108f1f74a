//! Chooses a driver for a request, and says why.

use driver_api::driver::{Driver, Opened, registered};
use driver_api::error::{Chain, OpenError};
use driver_api::host::Host;
use driver_api::request::{Request, Target};
use driver_api::support::Serves;

use crate::order::Order;

/// The name that leaves the choice to this crate.
pub const AUTO: &str = "auto";

/// A driver that was opened.
#[derive(Debug)]
pub struct Chosen {
    /// The driver.
    pub driver: &'static dyn Driver,
    /// What it opened.
    pub opened: Opened,
    /// The drivers before it in the order.
    pub passed_over: Vec<PassedOver>,
}

impl Chosen {
    /// One line: which driver was taken, and why.
    pub fn reason(&self) -> String {
        let name = self.driver.name();
        if self.passed_over.is_empty() {
            return format!("driver {name}");
        }
        let reasons: Vec<String> = self
            .passed_over
            .iter()
            .map(|passed| format!("{}: {}", passed.driver, first_line(&passed.reason())))
            .collect();
        format!("driver {name}, because {}", reasons.join("; "))
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A driver that was not taken.
#[derive(Debug)]
pub struct PassedOver {
    /// The driver.
    pub driver: &'static str,
    /// Why it was not taken.
    pub why: OpenError,
}

impl PassedOver {
    fn new(driver: &dyn Driver, why: OpenError) -> Self {
        let passed = Self {
            driver: driver.name(),
            why,
        };
        tracing::info!(
            driver = passed.driver,
            why = passed.reason(),
            "driver passed over"
        );
        passed
    }

    /// Why it was not taken, for a text that has named the driver already.
    pub fn reason(&self) -> String {
        match &self.why {
            OpenError::Unusable { gaps, .. } => {
                let gaps: Vec<&str> = gaps.iter().map(|gap| gap.why.as_str()).collect();
                gaps.join(", ")
            }
            OpenError::Unsupported { what, why, .. } => {
                format!("it does not support {what}: {why}")
            }
            error @ (OpenError::Target(_) | OpenError::Failed { .. }) => Chain(error).to_string(),
        }
    }
}

/// Why nothing was opened.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no driver of this name.
    #[error("there is no driver {asked:?}; there are {AUTO}, {}", known.join(", "))]
    Unknown {
        /// The name.
        asked: String,
        /// The names that there are.
        known: Vec<&'static str>,
    },
    /// No driver has this mode.
    #[error("there is no mode {asked:?}; there are {}", known.join(", "))]
    NoMode {
        /// The name.
        asked: String,
        /// The modes that there are.
        known: Vec<&'static str>,
    },
    /// An order names a driver twice.
    #[error("the order names the driver {0} twice")]
    Twice(&'static str),
    /// The named driver refused, or the command or a process of the request is at fault.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Every driver was passed over.
    #[error(
        "no driver can serve this request here:{}\n  `lanner drivers --fix` prints what commands can change",
        Lines(.0)
    )]
    None(Vec<PassedOver>),
}

struct Lines<'a>(&'a [PassedOver]);

impl std::fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .try_for_each(|passed| write!(f, "\n  {}: {}", passed.driver, passed.reason()))
    }
}

/// Every driver. Modes that have names of their own follow their driver.
pub fn with_modes() -> Vec<&'static dyn Driver> {
    let mut all: Vec<&'static dyn Driver> = Vec::new();
    for driver in registered() {
        all.push(driver);
        let modes = driver.modes().iter().map(|mode| mode.driver);
        all.extend(modes.filter(|mode| mode.name() != driver.name()));
    }
    all
}

/// The driver, or mode of a driver, of this name.
///
/// # Errors
///
/// There is none of this name.
pub fn by_name(name: &str) -> Result<&'static dyn Driver, Refused> {
    let all = with_modes();
    all.iter()
        .copied()
        .find(|driver| driver.name() == name)
        .ok_or_else(|| Refused::Unknown {
            asked: name.to_owned(),
            known: all.iter().map(|driver| driver.name()).collect(),
        })
}

/// The driver in this mode. A driver without such a mode is returned as it is.
fn in_mode(driver: &'static dyn Driver, mode: &str) -> &'static dyn Driver {
    let mut modes = driver.modes().iter();
    modes
        .find(|has| has.name == mode)
        .map_or(driver, |has| has.driver)
}

/// The modes of these drivers, by name, and [`AUTO`].
fn check_mode(mode: &str, drivers: &[&'static dyn Driver]) -> Result<(), Refused> {
    let modes = drivers.iter().flat_map(|driver| driver.modes());
    let known: Vec<&str> = [AUTO]
        .into_iter()
        .chain(modes.map(|mode| mode.name))
        .collect();
    if known.contains(&mode) {
        return Ok(());
    }
    Err(Refused::NoMode {
        asked: mode.to_owned(),
        known,
    })
}

/// Opens the named driver or, for [`AUTO`], the first in the order of preference that can serve the request.
///
/// # Errors
///
/// Those of [`open_as`].
pub fn open(name: &str, host: &Host, request: &Request) -> Result<Chosen, Refused> {
    open_as(name, AUTO, &Order::default(), host, request)
}

/// Opens the named driver or, for [`AUTO`], the first in `order` that can serve the request. A driver that is named
/// is never replaced by another.
///
/// `mode` names a mode ([`Driver::modes`]). Drivers that have it capture in that mode; others ignore it. With
/// [`AUTO`] each driver takes the first of its modes that works.
///
/// # Errors
///
/// There is no such driver or mode; the named driver refused, or all did; or the command or a process of the request
/// is at fault.
pub fn open_as(
    name: &str,
    mode: &str,
    order: &Order,
    host: &Host,
    request: &Request,
) -> Result<Chosen, Refused> {
    check_mode(mode, &registered())?;
    if name == AUTO {
        return first(mode, order, host, request);
    }
    let driver = in_mode(by_name(name)?, mode);
    if let Some(error) = cannot_serve(driver, &request.target) {
        return Err(error.into());
    }
    if let Some(file) = host.btf_file.as_ref().filter(|_| !driver.uses_btf()) {
        let all = registered().into_iter();
        let readers: Vec<&str> = all
            .filter(|other| other.uses_btf())
            .map(Driver::name)
            .collect();
        return Err(Refused::Open(OpenError::Unsupported {
            driver: driver.name(),
            what: format!("the kernel's types in {}", file.display()),
            why: format!(
                "it does not read them; drivers that do: {}",
                readers.join(", ")
            ),
        }));
    }
    let opened = driver.open(host, request)?;
    Ok(Chosen {
        driver,
        opened,
        passed_over: Vec::new(),
    })
}

/// Opens the first driver of an order that can serve the request.
fn first(mode: &str, order: &Order, host: &Host, request: &Request) -> Result<Chosen, Refused> {
    let mut passed_over = Vec::new();
    for driver in order.drivers() {
        let driver = in_mode(*driver, mode);
        let opened = match cannot_serve(driver, &request.target) {
            Some(error) => Err(error),
            None => driver.open(host, request),
        };
        match opened {
            Ok(opened) => {
                tracing::info!(driver = driver.name(), "driver taken");
                return Ok(Chosen {
                    driver,
                    opened,
                    passed_over,
                });
            }
            // no other driver would do better
            Err(error @ OpenError::Target(_)) => return Err(Refused::Open(error)),
            Err(error) => passed_over.push(PassedOver::new(driver, error)),
        }
    }
    Err(Refused::None(passed_over))
}

/// The error of a driver that does not serve targets of this kind.
pub(crate) fn cannot_serve(driver: &dyn Driver, target: &Target) -> Option<OpenError> {
    (!driver.serves().target(target)).then(|| OpenError::Unsupported {
        driver: driver.name(),
        what: target_name(target).to_owned(),
        why: format!("give it {}", advice(driver.serves())),
    })
}

fn advice(serves: Serves) -> &'static str {
    match (serves.command, serves.pids) {
        (true, false) => "a command (-- COMMAND)",
        _ => "a command (-- COMMAND) or a process (-p PID)",
    }
}

fn target_name(target: &Target) -> &'static str {
    match target {
        Target::Host => "the whole host",
        Target::Command(_) => "a command",
        Target::Pids(_) => "running processes",
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use driver_api::driver::Mode;

    use super::*;
    use crate::made::{BROKEN, Made, WHOLE, command, host, request};

    #[test]
    fn a_driver_that_fails_to_load_makes_the_next_ones_turn_and_the_reason_is_told() {
        let order = Order::of(&[&BROKEN, &WHOLE]);
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
        let order = Order::of(&[&BROKEN]);
        let refused = open_as(AUTO, AUTO, &order, &host(), &request(Target::Host)).unwrap_err();
        let Refused::None(passed_over) = refused else {
            panic!("{refused}");
        };
        assert_eq!(passed_over.len(), 1);
        assert!(passed_over[0].reason().contains("the kernel refused them"));
        assert!(passed_over[0].why.source().is_some());
    }

    #[test]
    fn a_mode_holds_the_driver_that_has_it_and_leaves_others_alone() {
        const NARROW: Made = Made {
            name: "whole-narrow",
            ..WHOLE
        };
        const MODAL: Made = Made {
            modes: &[Mode {
                name: "narrow",
                driver: &NARROW,
            }],
            ..WHOLE
        };
        assert_eq!(in_mode(&MODAL, "narrow").name(), "whole-narrow");
        assert_eq!(in_mode(&MODAL, AUTO).name(), "whole");
        assert_eq!(in_mode(&BROKEN, "narrow").name(), "broken");
        check_mode("narrow", &[&MODAL]).unwrap();
        let refused = check_mode("wide", &[&BROKEN, &MODAL]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "there is no mode \"wide\"; there are auto, narrow"
        );
    }

    #[test]
    fn a_target_that_a_driver_does_not_serve_is_refused_with_what_would_do() {
        const OWN: Made = Made {
            name: "own",
            host: false,
            ..WHOLE
        };
        let order = Order::of(&[&OWN]);
        let refused = open_as(AUTO, AUTO, &order, &host(), &request(Target::Host)).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains("own: it does not support the whole host: give it a command"),
            "{text}"
        );
        open_as(AUTO, AUTO, &order, &host(), &request(command())).unwrap();
    }
}
