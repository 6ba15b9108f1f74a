//! Captures of Falco's: any file is refused, or its events update the state.

#![no_main]

use std::path::PathBuf;
use std::time::Duration;

use driver_api::driver::{Capture, Flow, Polled};
use driver_api::request::SyscallSet;
use inspect::{Inspector, Options};
use lanner_fuzz::as_file;
use libfuzzer_sys::fuzz_target;
use scap::ScapReplay;

fuzz_target!(|data: &[u8]| {
    let path = as_file(data);
    let _ = scap::is_capture(path);
    let Ok(mut replay) = ScapReplay::open(path, SyscallSet::all()) else {
        return;
    };
    let mut inspector = Inspector::new(&Options {
        proc_root: None,
        etc: PathBuf::from("/nonexistent"),
        clock: replay.clock(),
        containers: Some(replay.containers()),
        recorded: Some(replay.recorded()),
        ..Options::default()
    });
    let mut text = String::new();
    loop {
        let polled = replay.poll(Duration::ZERO, &mut |event| {
            inspector.update(&event);
            text.clear();
            decode::text::line(&mut text, &event);
            Flow::Continue
        });
        if !matches!(polled, Ok(Polled::Events(_))) {
            return;
        }
    }
});
