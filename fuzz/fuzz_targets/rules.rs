//! Rule files in Falco's language: any bytes are refused with a reason, or become rules that can look at events.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "the tests of the plugin use the rest")]
#[path = "../../plugins/rules-falco/tests/host/mod.rs"]
mod host;

fuzz_target!(|data: &[u8]| {
    match host::Rules::try_open(data) {
        Ok(mut rules) => {
            for (event_type, fields) in host::ORDINARY {
                let event = rules.prepare(event_type, fields);
                rules.run(&event);
            }
        }
        Err(reason) => assert!(reason.starts_with("rules.yaml"), "{reason}"),
    }
});
