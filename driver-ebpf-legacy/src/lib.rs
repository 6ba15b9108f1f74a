//! The legacy driver: tracepoints and perf buffers without BTF, through aya.
//!
//! `bpf/legacy.bpf.c` writes events, [`perf`] reads them, [`capture`] hands them on, [`load`] brings the
//! programs ([`programs`]) into the kernel, [`attach`] has them run by what this kernel offers. Where the fields of kernel structs are on this kernel,
//! [`offsets`] finds out by looking.

mod attach;
mod capture;
mod load;
mod offsets;
mod perf;
mod programs;
mod sys;

use driver_api::driver::{Driver, OpenError, Opened};
use driver_api::host::{Host, capability};
use driver_api::request::Request;
use driver_api::support::{Gap, Serves, Support};
use driver_ebpf::gaps;

/// The driver's name.
const NAME: &str = "ebpf-legacy";

/// The legacy driver.
#[derive(Debug)]
pub struct Legacy;

driver_api::register!(Legacy);

impl Driver for Legacy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "classic eBPF with perf buffers: kernels without BTF"
    }

    fn preference(&self) -> u32 {
        20
    }

    fn serves(&self) -> Serves {
        Serves {
            host: true,
            command: true,
            pids: true,
        }
    }

    fn probe(&self, host: &Host) -> Support {
        let mut missing = gaps::missing(host);
        if host.perf_event_paranoid.is_some_and(|level| level > 2)
            && !host.has(capability::SYS_ADMIN)
        {
            missing.push(Gap::new(
                "opening perf buffers",
                "kernel.perf_event_paranoid is 3 or more, which CAP_PERFMON alone does not pass",
                "sysctl kernel.perf_event_paranoid=2, or give lanner CAP_SYS_ADMIN",
            ));
        }
        if !missing.is_empty() {
            return Support::Unusable(missing);
        }
        let mut gaps = gaps::always();
        gaps.push(Gap::new(
            "cgroup ids of events",
            "the helper that gives them came with Linux 4.18, and this driver uses none newer than 4.14",
            "",
        ));
        Support::Usable(gaps)
    }

    fn open(&self, host: &Host, request: &Request) -> Result<Opened, OpenError> {
        if let Support::Unusable(gaps) = self.probe(host) {
            return Err(OpenError::Unusable { driver: NAME, gaps });
        }
        load::open(request)
    }
}
