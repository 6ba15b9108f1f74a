//! What a plugin says about itself: the head of its file, and a schema and settings (JSON texts, separated by NUL).

#![no_main]

use lanner_fuzz::as_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"\x7f") {
        let _ = plugin_host::check_library(as_file(data));
        return;
    }
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (Some(schema), Some(settings)) = (parts.next(), parts.next()) else {
        return;
    };
    let (Ok(schema), Ok(settings)) = (
        serde_json::from_slice(schema),
        std::str::from_utf8(settings),
    ) else {
        return;
    };
    let _ = plugin_host::check_settings("fuzzed", &schema, settings);
});
