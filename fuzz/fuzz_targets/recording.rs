//! Recordings: any file is refused, or its events update the state.

#![no_main]

use std::path::PathBuf;
use std::time::Duration;

use driver_api::driver::{Capture, Flow, Polled};
use driver_api::request::SyscallSet;
use inspect::{Inspector, Options};
use lanner_fuzz::as_file;
use libfuzzer_sys::fuzz_target;
use recording::Replay;

fuzz_target!(|data: &[u8]| {
    let Ok(mut replay) = Replay::open(as_file(data), SyscallSet::all()) else {
        return;
    };
    let mut inspector = Inspector::new(&Options {
        proc_root: None,
        etc: PathBuf::from("/nonexistent"),
        clock: replay.clock(),
        containers: replay.containers(),
        ..Options::default()
    });
    loop {
        let polled = replay.poll(Duration::ZERO, &mut |event| {
            inspector.update(&event);
            Flow::Continue
        });
        if !matches!(polled, Ok(Polled::Events(_))) {
            return;
        }
    }
});
