//! Chooses a driver for a request, and says why.

use driver_api::driver::{Driver, OpenError, Opened, registered};
use driver_api::host::Host;
use driver_api::request::{Request, Target};

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

/// The driver of this name.
pub fn by_name(name: &str) -> Result<&'static dyn Driver, Refused> {
    let all = registered();
    all.iter()
        .copied()
        .find(|driver| driver.name() == name)
        .ok_or_else(|| Refused::Unknown {
            asked: name.to_owned(),
            known: all.iter().map(|driver| driver.name()).collect(),
        })
}

/// Opens the named driver or, for [`AUTO`], the first in the order of preference that can serve.
pub fn open(name: &str, host: &Host, request: &Request) -> Result<Chosen, Refused> {
    if name != AUTO {
        let driver = by_name(name)?;
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
    for driver in registered() {
        if let Some(why) = cannot_serve(driver, &request.target) {
            passed_over.push((driver.name(), why));
            continue;
        }
        match driver.open(host, request) {
            Ok(opened) => {
                return Ok(Chosen {
                    driver,
                    opened,
                    passed_over,
                });
            }
            // no other driver would do better
            Err(error @ OpenError::Target(_)) => return Err(Refused::Open(error)),
            Err(error) => passed_over.push((driver.name(), reason(&error))),
        }
    }
    Err(Refused::None(passed_over))
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

fn cannot_serve(driver: &dyn Driver, target: &Target) -> Option<String> {
    (!driver.serves().target(target)).then(|| {
        format!(
            "it cannot capture {}; give it a command (-- COMMAND) or a process (-p PID)",
            target_name(target)
        )
    })
}

fn target_name(target: &Target) -> &'static str {
    match target {
        Target::Host => "the whole host",
        Target::Command(_) => "a command",
        Target::Pids(_) => "running processes",
    }
}
