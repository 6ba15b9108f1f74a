//! What the tests share: requests, and captures that run to their end.

use std::time::{Duration, Instant};

use driver_api::driver::{Capture, Driver, Flow, Opened, Polled};
use driver_api::event::{Event, Fact, Status};
use driver_api::host::Host;
use driver_api::request::{Command, Limits, Request, SyscallSet, Target};
use driver_api::table;
use driver_ebpf_legacy::Legacy;
use test_support::{is_root, skipped};

/// How long a capture may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether this is root. If not, the test is skipped.
pub(crate) fn root() -> bool {
    if !is_root() {
        skipped("loading BPF programs needs root");
    }
    is_root()
}

/// A request for these calls of a target.
pub(crate) fn request_for(target: Target, calls: &[&str]) -> Request {
    Request {
        target,
        selection: calls
            .iter()
            .filter_map(|name| table::by_name(name))
            .collect::<SyscallSet>()
            .into(),
        limits: Limits::default(),
        buffer: 1 << 20,
    }
}

/// A request for these calls of a shell that runs a script.
pub(crate) fn request(script: &str, calls: &[&str]) -> Request {
    let command = Command {
        program: "/bin/sh".into(),
        args: ["sh", "-c", script].map(Into::into).to_vec(),
    };
    request_for(Target::Command(command), calls)
}

/// Opens the driver.
pub(crate) fn open(driver: &Legacy, request: &Request) -> Opened {
    let host = Host {
        capabilities: !0,
        ..Host::default()
    };
    let opened = driver.open(&host, request).expect("the driver opens");
    // where raw tracepoints or probes of functions are hidden or missing, the driver names what they alone give
    let rooms = driver_ebpf::gaps::rooms().what;
    let mut gaps = opened.gaps.iter();
    let search = gaps.find(|gap| !gap.why.contains("raw tracepoint") && gap.what != rooms);
    assert_eq!(search, None, "every offset is found on this kernel");
    opened
}

/// Keeps every event of a capture until it ends, and returns them with the command's wait status.
pub(crate) fn run_to_end(capture: &mut dyn Capture) -> (Vec<Vec<u8>>, Option<i32>) {
    let (mut events, mut status) = (Vec::new(), None);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let polled = capture.poll(Duration::from_millis(100), &mut |event| {
            events.push(event.to_vec());
            Flow::Continue
        });
        if let Polled::Ended(with) = polled.expect("polls") {
            status = with;
            break;
        }
    }
    assert_eq!(capture.stats().lost_total(), 0);
    assert_eq!(capture.stats().malformed, 0);
    (events, status)
}

/// Every event of a shell that runs a script, and its wait status.
pub(crate) fn run(script: &str, calls: &[&str]) -> (Vec<Vec<u8>>, Option<i32>) {
    let mut capture = open(&Legacy::new(), &request(script, calls)).capture;
    run_to_end(capture.as_mut())
}

/// The text of a fact, which was captured whole.
pub(crate) fn text(event: &Event<'_>, fact: Fact) -> String {
    let fact = event.fact(fact).expect("the fact");
    assert_eq!(fact.status, Status::Whole);
    String::from_utf8(fact.text().into_owned()).expect("text")
}
