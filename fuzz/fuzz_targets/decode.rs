//! The decoder: parameters and facts of any event become text, JSON and Falco's notation, and the JSON is valid.

#![no_main]

use decode::json::Context;
use decode::{falco, json, text};
use lanner_fuzz::repaired;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
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
