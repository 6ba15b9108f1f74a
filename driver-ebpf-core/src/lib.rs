//! The core driver: CO-RE programs on the kernel's BTF-typed tracepoints, and a ring for each CPU in mapped arrays.
//!
//! The programs of `bpf/core.bpf.c` write events, `ring` reads them, and `capture` hands them on.
//!
//! | file | does |
//! |---|---|
//! | `load` | opens a capture: tries one way of loading after the other |
//! | `ways` | the ways that this kernel may take, the best first |
//! | `features` | finds out what the kernel accepts, with tiny programs |
//! | `object` | loads the programs of one way, and attaches them |
//! | `optional`, `entry` | programs that may be refused; programs that see calls at their entry |
//! | `capture` | the running capture |
//! | `ring`, `mapping` | reads the rings; the memory that they are in |
//! | `maps`, `layout` | the maps and the structs that programs and user space share |
//! | `thin`, `btf` | the kernel's types, without those that the programs do not read |
//! | `simulated` | rings for measurements |
//! | `libbpf` | what libbpf and the verifier print, as errors |

mod btf;
mod capture;
mod entry;
mod features;
pub mod layout;
mod libbpf;
mod load;
mod mapping;
mod maps;
mod object;
mod optional;
mod ring;
pub mod simulated;
mod thin;
mod ways;

use std::path::Path;

use driver_api::driver::{Driver, OpenError, Opened};
use driver_api::host::Host;
use driver_api::request::Request;
use driver_api::support::{Gap, Serves, Support, Tested};
use driver_ebpf::{gaps, trial};

/// The driver's name.
const NAME: &str = "ebpf-core";

/// The core driver.
#[derive(Debug)]
pub struct Core;

driver_api::register!(Core);

impl Driver for Core {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "CO-RE eBPF with a ring for each CPU: kernels with BTF, 5.8 and later"
    }

    fn preference(&self) -> u32 {
        10
    }

    fn tested(&self) -> Tested {
        driver_ebpf::TESTED
    }

    fn serves(&self) -> Serves {
        driver_ebpf::SERVES
    }

    fn uses_btf(&self) -> bool {
        true
    }

    fn check_btf(&self, file: &Path) -> Result<(), OpenError> {
        load::check_btf(file)
    }

    fn capabilities_to_open(&self, host: &Host) -> u64 {
        gaps::capabilities_to_open(host)
    }

    fn try_out(&self, host: &mut Host) {
        trial::try_out(host);
    }

    fn probe(&self, host: &Host) -> Support {
        let mut missing = gaps::missing(host);
        if !host.btf && host.btf_file.is_none() {
            missing.push(Gap::new(
                "kernel types",
                "/sys/kernel/btf/vmlinux cannot be read",
                "use a kernel with CONFIG_DEBUG_INFO_BTF, name a file that has its types (--btf FILE), or use \
                 the driver ebpf-legacy",
            ));
        }
        if host.lacks_ring_buffer {
            missing.push(Gap::new(
                "BPF ring buffers",
                "this kernel has none: they came with Linux 5.8",
                "use the driver ebpf-legacy",
            ));
        }
        if !missing.is_empty() {
            return Support::Unusable(missing);
        }
        Support::Usable(gaps::always(host))
    }

    fn open(&self, host: &Host, request: &Request) -> Result<Opened, OpenError> {
        gaps::tried_out(self, host)?;
        let (capture, gaps) = load::open(request, host.btf, host.btf_file.as_deref())?;
        Ok(Opened {
            capture: Box::new(capture),
            gaps,
        })
    }
}

#[test]
fn a_kernel_without_ring_buffers_is_refused_with_that_reason() {
    let host = |lacks_ring_buffer| Host {
        capabilities: u64::MAX,
        btf: true,
        lacks_ring_buffer,
        ..Host::default()
    };
    assert!(Core.probe(&host(false)).usable());
    let support = Core.probe(&host(true));
    assert!(!support.usable());
    let [gap] = support.gaps() else {
        panic!("one gap, not {support:?}");
    };
    assert!(gap.why.contains("5.8") && gap.remedy.contains("ebpf-legacy"));
}
