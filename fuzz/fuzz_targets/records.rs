//! A driver's records: any bytes that a driver may hand out, through every view of an event.

#![no_main]

use std::hint::black_box;

use driver_api::event::Event;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(event) = Event::parse(data) else {
        return;
    };
    for attachment in event.attachments() {
        black_box(attachment.text());
        black_box(attachment.strings().count());
        let mut text = Vec::new();
        attachment.append_text(&mut text);
    }
    for argument in 0..8 {
        black_box(event.argument(argument));
        black_box(event.parts(argument).count());
    }
    black_box((event.tuple(), event.ids(), event.program()));
    // A view's own bytes are an event again, with the same attachments.
    let copy = event.to_vec();
    let again = Event::parse(&copy).expect("a copy of an event is an event");
    assert_eq!(again.attachments().count(), event.attachments().count());
});
