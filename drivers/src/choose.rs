//! Chooses a driver for a request, and says why.

use driver_api::driver::{Driver, OpenError, Opened, registered};
use driver_api::host::Host;
use driver_api::request::{Request, Target};
use driver_api::support::Serves;

use crate::order::Order;

/// The name that leaves the choice to us.
pub const AUTO: &str = "auto";

/// A driver that was opened.
#[derive(Debug)]
pub struct Chosen {
    /// The driver.
    pub driver: &'static dyn Driver,
    /// What it gave.
    pub opened: Opened,
    /// Those that were preferred to it, and why each was passed over.
    pub passed_over: Vec<(&'static str, String)>,
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
            .map(|(name, why)| format!("{name}: {}", first_line(why)))
            .collect();
        format!("driver {name}, because {}", reasons.join("; "))
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Why nothing was opened.
#[derive(Debug)]
pub enum Refused {
    /// There is no driver of this name.
    Unknown {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// No driver of the request has this mode.
    NoMode {
        /// What was asked for.
        asked: String,
        /// What there is: drivers and their modes.
        known: Vec<String>,
    },
    /// A driver stands twice in an order.
    Twice(&'static str),
    /// The named driver, or the command or process of the request, is at fault.
    Open(OpenError),
    /// None of the drivers would do: each with its reason.
    None(Vec<(&'static str, String)>),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown { asked, known } => {
                write!(
                    f,
                    "there is no driver {asked:?}; there are {AUTO}, {}",
                    known.join(", ")
                )
            }
            Self::NoMode { asked, known } => {
                write!(
                    f,
                    "there is no mode {asked:?}; there are {}",
                    known.join(", ")
                )
            }
            Self::Twice(name) => write!(f, "the driver {name} stands twice in the order"),
            Self::Open(error) => write!(f, "{error}"),
            Self::None(reasons) => {
                write!(f, "no driver can serve this request here:")?;
                reasons
                    .iter()
                    .try_for_each(|(name, why)| write!(f, "\n  {name}: {why}"))
            }
        }
    }
}

impl std::error::Error for Refused {}

/// Every driver, and after each those of its modes that have a name of their own.
pub fn with_modes() -> Vec<&'static dyn Driver> {
    let mut all: Vec<&'static dyn Driver> = Vec::new();
    for driver in registered() {
        all.push(driver);
        let modes = driver.modes().iter().map(|mode| mode.driver);
        all.extend(modes.filter(|mode| mode.name() != driver.name()));
    }
    all
}

/// The driver of this name; a mode of a driver has one, too.
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

/// The driver held to a mode, where it has modes and one is asked for.
fn held(driver: &'static dyn Driver, mode: &str) -> Option<&'static dyn Driver> {
    if mode == AUTO || driver.modes().is_empty() {
        return Some(driver);
    }
    let mut modes = driver.modes().iter();
    modes.find(|has| has.name == mode).map(|has| has.driver)
}

/// Opens the named driver or, for [`AUTO`], the first in the order of preference that can serve.
pub fn open(name: &str, host: &Host, request: &Request) -> Result<Chosen, Refused> {
    open_as(name, AUTO, &Order::default(), host, request)
}

/// As [`open`], with an order of one's own for [`AUTO`]; a driver that has several modes is held to this one,
/// unless it is [`AUTO`], too. A driver that is named is never replaced by another.
pub fn open_as(
    name: &str,
    mode: &str,
    order: &Order,
    host: &Host,
    request: &Request,
) -> Result<Chosen, Refused> {
    let all = registered();
    let modes = || all.iter().flat_map(|d| d.modes().iter().map(|m| m.name));
    if mode != AUTO && !modes().any(|known| known == mode) {
        return Err(Refused::NoMode {
            asked: mode.to_owned(),
            known: [AUTO]
                .into_iter()
                .chain(modes())
                .map(str::to_owned)
                .collect(),
        });
    }
    let held = |driver| held(driver, mode).unwrap_or(driver);
    if name != AUTO {
        let driver = held(by_name(name)?);
        if let Some(why) = cannot_serve(driver, &request.target) {
            let error = OpenError::Unsupported {
                driver: driver.name(),
                what: target_name(&request.target).to_owned(),
                why,
            };
            return Err(Refused::Open(error));
        }
        if let Some(file) = host.btf_file.as_ref().filter(|_| !driver.uses_btf()) {
            return Err(Refused::Open(OpenError::Unsupported {
                driver: driver.name(),
                what: format!("the kernel's types in {}", file.display()),
                why: "it does not read them; ebpf-core does".to_owned(),
            }));
        }
        let opened = driver.open(host, request).map_err(Refused::Open)?;
        return Ok(Chosen {
            driver,
            opened,
            passed_over: Vec::new(),
        });
    }
    let mut passed_over = Vec::new();
    for driver in order.drivers().iter().copied().map(held) {
        if let Some(why) = cannot_serve(driver, &request.target) {
            pass(driver, &why);
            passed_over.push((driver.name(), why));
            continue;
        }
        match driver.open(host, request) {
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
            Err(error) => {
                let why = reason(&error);
                pass(driver, &why);
                passed_over.push((driver.name(), why));
            }
        }
    }
    Err(Refused::None(passed_over))
}

fn pass(driver: &dyn Driver, why: &str) {
    tracing::info!(driver = driver.name(), why, "driver passed over");
}

/// An error without the driver's name, which stands before it anyhow.
fn reason(error: &OpenError) -> String {
    match error {
        OpenError::Unusable { gaps, .. } => {
            let gaps: Vec<String> = gaps.iter().map(|gap| gap.why.clone()).collect();
            gaps.join(", ")
        }
        other => other.to_string(),
    }
}

/// Why a driver cannot capture such a target, if it cannot.
pub(crate) fn cannot_serve(driver: &dyn Driver, target: &Target) -> Option<String> {
    (!driver.serves().target(target)).then(|| {
        format!(
            "it cannot capture {}; give it {}",
            target_name(target),
            advice(driver.serves())
        )
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
