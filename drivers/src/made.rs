//! A driver for tests: what it says and does is made up.

use driver_api::driver::{Driver, Mode, OpenError, Opened};
use driver_api::host::{Host, capability};
use driver_api::request::{Command, Limits, Request, Target};
use driver_api::scripted::Scripted;
use driver_api::selection::Selection;
use driver_api::support::{FilterStage, Gap, Serves, Support, Tested};

/// A driver that is usable on a host with seccomp, and that opens or fails to load.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) name: &'static str,
    pub(crate) loads: bool,
    /// Whether it serves the whole host, or only commands and processes.
    pub(crate) host: bool,
    /// What it needs CAP_BPF to give up: as an eBPF driver does.
    pub(crate) capabilities_to_open: u64,
    pub(crate) modes: &'static [Mode],
}

pub(crate) const BROKEN: Made = Made {
    name: "broken",
    loads: false,
    host: true,
    capabilities_to_open: 0,
    modes: &[],
};

pub(crate) const WHOLE: Made = Made {
    name: "whole",
    loads: true,
    ..BROKEN
};

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

    fn tested(&self) -> Tested {
        Tested {
            arguments: FilterStage::Lanner,
            result: FilterStage::Lanner,
        }
    }

    fn serves(&self) -> Serves {
        Serves {
            host: self.host,
            command: true,
            pids: true,
        }
    }

    fn modes(&self) -> &'static [Mode] {
        self.modes
    }

    fn capabilities_to_open(&self, host: &Host) -> u64 {
        if host.has(capability::BPF) {
            self.capabilities_to_open
        } else {
            0
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
                capture: Box::new(Scripted::new(Vec::new(), None)),
                gaps: Vec::new(),
            });
        }
        Err(OpenError::failed(self.name, "load its programs")(
            "the kernel refused them",
        ))
    }
}

/// A host on which [`Made`] is usable.
pub(crate) fn host() -> Host {
    Host {
        seccomp: true,
        ..Host::default()
    }
}

pub(crate) fn request(target: Target) -> Request {
    Request {
        target,
        selection: Selection::default(),
        limits: Limits::default(),
        buffer: 1 << 16,
    }
}

pub(crate) fn command() -> Target {
    Target::Command(Command {
        program: "true".into(),
        args: Vec::new(),
    })
}
