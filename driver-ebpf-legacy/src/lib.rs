//! The legacy driver: classic eBPF programs chained by tail calls, and perf buffers. It needs neither BTF nor kernel
//! headers, works from Linux 4.14 on, and loads its programs through aya.
//!
//! The programs of `bpf/legacy.bpf.c` write events, `perf` reads them, and `capture` hands them to `driver-ebpf`.
//!
//! | file | does |
//! |---|---|
//! | `load` | opens a capture |
//! | `kernel` | what this kernel offers |
//! | `offsets` | finds the fields of kernel structs by searching kernel memory |
//! | `programs`, `maps` | load the object and its maps |
//! | `loaded`, `attach` | attach the programs, by what the kernel offers |
//! | `perf` | reads the perf buffers |
//! | `sys` | opens perf events, where aya does not |
//! | `layout` | the structs that programs and user space share |
//! | `capture` | the running capture |
//! | `gaps` | what the driver needs of a host, and what it cannot capture there |
//! | `error` | why programs cannot be loaded |

mod attach;
mod capture;
mod error;
mod gaps;
mod kernel;
#[doc(hidden)]
pub mod layout;
mod load;
mod loaded;
mod maps;
mod offsets;
mod perf;
mod programs;
mod sys;

use driver_api::driver::{Driver, OpenError, Opened};
use driver_api::host::{Host, Trial};
use driver_api::request::Request;
use driver_api::support::{Serves, Support, Tested};
use driver_ebpf::trial;

#[doc(hidden)]
pub use kernel::Feature;
use kernel::Features;

/// The driver's name.
const NAME: &str = "ebpf-legacy";

/// The legacy driver.
#[derive(Debug)]
pub struct Legacy {
    features: Features,
}

impl Legacy {
    /// The driver, which uses all that the kernel offers.
    pub const fn new() -> Self {
        Self {
            features: Features::ALL,
        }
    }

    /// The driver as it is on a kernel without these features. For tests.
    #[doc(hidden)]
    pub const fn without(hidden: &'static [Feature]) -> Self {
        Self {
            features: Features::without(hidden),
        }
    }
}

impl Default for Legacy {
    fn default() -> Self {
        Self::new()
    }
}

static LEGACY: Legacy = Legacy::new();
driver_api::register!(LEGACY);

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

    fn tested(&self) -> Tested {
        driver_ebpf::TESTED
    }

    fn serves(&self) -> Serves {
        driver_ebpf::SERVES
    }

    fn capabilities_to_open(&self, host: &Host) -> u64 {
        driver_ebpf::gaps::capabilities_to_open(host)
    }

    fn try_out(&self, host: &mut Host) {
        trial::try_out(host);
        if host.perf_events == Trial::Untried && host.may_trace_with_bpf() {
            host.perf_events = load::try_perf_events();
        }
        if host.may_trace_with_bpf()
            && (self.features.hides(Feature::RawTracepoints) || load::lacks_raw_tracepoints())
        {
            host.lacks_raw_tracepoints = true;
            host.no_tracefs = load::no_tracefs(self.features);
        }
    }

    fn probe(&self, host: &Host) -> Support {
        let missing = gaps::missing(host);
        if missing.is_empty() {
            Support::Usable(gaps::known(host))
        } else {
            Support::Unusable(missing)
        }
    }

    fn open(&self, host: &Host, request: &Request) -> Result<Opened, OpenError> {
        let known = driver_ebpf::gaps::tried_out(self, host)?;
        let mut opened = load::open(self.features, request)?;
        // the same gap in the same words: the search does not know why it did not find a thing
        for gap in &mut opened.gaps {
            if let Some(known) = known.iter().find(|known| known.what == gap.what) {
                gap.clone_from(known);
            }
        }
        Ok(opened)
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use driver_api::host::capability;
    use driver_api::support::Gap;

    use super::*;

    #[test]
    fn a_kernel_without_raw_tracepoints_needs_a_tracefs() {
        let host = |lacks_raw_tracepoints, no_tracefs: Option<&str>| Host {
            capabilities: u64::MAX,
            lacks_raw_tracepoints,
            no_tracefs: no_tracefs.map(str::to_owned),
            ..Host::default()
        };
        let why = "cannot read events/raw_syscalls/sys_exit/id in tracefs: permission denied";
        for (host, usable) in [
            (host(false, None), true),
            (host(true, None), true),
            (host(true, Some(why)), false),
        ] {
            let support = LEGACY.probe(&host);
            assert_eq!(support.usable(), usable, "{host:?}");
            let births = offsets::births_gap().what;
            let named = support.gaps().iter().any(|gap| gap.what == births);
            assert_eq!(named, usable && host.lacks_raw_tracepoints, "{host:?}");
            if !usable {
                let [gap] = support.gaps() else {
                    panic!("one gap, not {support:?}");
                };
                assert!(gap.why.contains(why), "{gap:?}");
                assert!(gap.remedy.contains("CAP_DAC_READ_SEARCH"), "{gap:?}");
            }
        }
    }

    /// Whether a kernel of this release has a gap of this name.
    fn has_gap(release: &str, what: &str) -> bool {
        let host = Host {
            capabilities: u64::MAX,
            release: release.to_owned(),
            ..Host::default()
        };
        let support = LEGACY.probe(&host);
        support.gaps().iter().any(|gap| gap.what == what)
    }

    #[test]
    fn kernels_with_rings_and_without_their_tracepoint_are_named() {
        let named = |release| has_gap(release, Gap::OPERATIONS);
        for (release, expected) in [
            ("4.19.79", false),
            ("5.0.21", false),
            ("5.1.0", true),
            ("5.4.286", true),
            ("5.5.0", false),
            ("6.18.44", false),
        ] {
            assert_eq!(named(release), expected, "{release}");
        }
    }

    #[test]
    fn kernels_before_4_19_do_not_say_that_an_open_has_created_its_file() {
        let named = |release| has_gap(release, &offsets::created_gap().what);
        assert!(named("4.14.67") && named("4.18.0-553.el8"));
        assert!(!named("4.19.79") && !named("6.18.5"));
    }

    #[test]
    fn kernels_before_4_15_take_one_capture_at_a_time() {
        let named = |release| has_gap(release, "a second capture at the same time");
        assert!(named("4.14.67"));
        assert!(!named("4.15.1") && !named("6.18.5"));
    }

    #[test]
    fn gaps_name_what_prevents_or_limits_perf_buffers_and_the_remedy() {
        let capabilities: u64 = 1 << capability::BPF | 1 << capability::PERFMON;
        let host = |paranoid, locked_memory, more| Host {
            capabilities: capabilities | more,
            perf_event_paranoid: Some(paranoid),
            locked_memory,
            ..Host::default()
        };
        let tried = |paranoid, perf_events| Host {
            perf_events,
            ..host(paranoid, None, 0)
        };
        let few = Some(8 << 20);
        for (host, usable, smaller) in [
            (host(2, None, 0), true, false),
            (host(2, few, 0), true, true),
            (host(-1, few, 0), true, false),
            (host(2, few, 1 << capability::IPC_LOCK), true, false),
            (host(3, None, 0), false, false),
            (host(3, None, 1 << capability::SYS_ADMIN), true, false),
            // what was tried decides
            (tried(3, Trial::Works), true, false),
            (tried(3, Trial::Refused(libc::EACCES)), false, false),
            (tried(2, Trial::Refused(libc::EPERM)), false, false),
        ] {
            let support = LEGACY.probe(&host);
            assert_eq!(support.usable(), usable, "{host:?}");
            assert!(usable || support.gaps().iter().all(|gap| !gap.remedy.is_empty()));
            let named = |gap: &Gap| gap.why.contains("they are made smaller");
            assert_eq!(support.gaps().iter().any(named), smaller, "{host:?}");
        }
    }
}
