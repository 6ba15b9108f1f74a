//! The decoder: parameters and facts of any event become text, JSON and Falco's notation, and the JSON is valid. Data of netlink
//! sockets become messages, and their text is not much longer than they are.

#![no_main]

use decode::json::Context;
use decode::{falco, json, text};
use driver_api::event::{Abi, Encoding, EventBuilder, EventKind, Header, Part, Status};
use driver_api::table;
use lanner_fuzz::repaired;
use libfuzzer_sys::fuzz_target;

/// The data as what a program sends through a netlink socket, of the protocol that the first byte says.
fn netlink(data: &[u8]) {
    let Some((protocol, sent)) = data.split_first() else {
        return;
    };
    let call = table::by_name("sendto").expect("the table has sendto");
    let mut builder = EventBuilder::new();
    builder.begin(&Header {
        kind: EventKind::Syscall as u8,
        abi: Abi::X86_64 as u8,
        nr: call.number(Abi::X86_64).expect("x86_64 has it"),
        args: [3, 1, sent.len() as u64, 0, 0, 0],
        ..Header::default()
    });
    let full = sent.len() as u64;
    builder.attach(1, Part::None, Status::Whole, Encoding::Raw, full, sent);
    let event = builder.finish().expect("an event");
    let mut out = String::new();
    let behind = &mut |_: &mut String, _| {};
    let netlink = Some(u16::from(*protocol));
    text::line_with(&mut out, &event, &mut text::Around { behind, netlink });
    assert!(
        out.len() <= 400 + 64 * sent.len(),
        "{} of {}",
        out.len(),
        sent.len()
    );
}

fuzz_target!(|data: &[u8]| {
    netlink(data);
    let Some(mut builder) = repaired(data) else {
        return;
    };
    let event = builder.finish().expect("a repaired event is an event");
    let mut out = String::new();
    text::line(&mut out, &event);
    falco::res(&mut out, &event);
    if let Some(call) = decode::call(&event) {
        falco::args(&mut out, &event, call);
        for param in call.params {
            falco::arg(&mut out, &event, call, param.name);
        }
    }
    let context = Context {
        epoch_ns: 0,
        ppid: None,
        comm: data.get(..16).unwrap_or_default(),
    };
    out.clear();
    json::event(&mut out, &event, &context);
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&out) {
        panic!("{error}: {out}");
    }
});
