//! A damaged or hostile capture gives an error with its place, and never a panic.

use driver_api::error::Chain;

use super::maker::{Body, Maker, each, inspector, int, long, open, text};

/// Reads a capture to its end or its fault.
fn read(bytes: &[u8]) -> Result<usize, String> {
    let mut replay = open(bytes).map_err(|error| Chain(&error).to_string())?;
    let mut inspector = inspector(&replay);
    let mut events = 0;
    let read = each(&mut replay, |event| {
        inspector.update(event);
        let mut line = String::new();
        decode::text::line(&mut line, event);
        events += 1;
    });
    match read {
        Ok(()) => Ok(events),
        Err(error) => Err(Chain(&error).to_string()),
    }
}

fn whole() -> Maker {
    let mut maker = Maker::new();
    let user = Body::default().u8(0).u32(1000).u32(100);
    let user = user.string(b"ada").string(b"/home/ada").string(b"/bin/sh");
    maker.block(0x206, &user.0);
    maker.shell();
    maker.old_event(7, 102, &[long(-100), text("x"), int(0x1001), int(0)]);
    maker.old_event(7, 103, &[long(4)]);
    maker.event(7, 9, &[long(2), b"hi".to_vec(), long(4), int(2)]);
    maker
}

#[test]
fn a_capture_that_was_cut_off_says_where() {
    let whole = whole().bytes;
    let all = read(&whole).unwrap();
    let mut between_blocks = 0;
    for cut in 28..whole.len() {
        match read(&whole[..cut]) {
            Ok(events) => {
                assert!(events <= all);
                between_blocks += 1;
            }
            Err(error) => assert!(error.contains("at byte "), "{cut}: {error}"),
        }
    }
    // behind the section header, and behind each block but the last
    assert_eq!(between_blocks, 6);
}

#[test]
fn no_single_wrong_byte_is_fatal() {
    let whole = whole().bytes;
    for at in 0..whole.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            let _ = read(&bytes);
        }
    }
}

#[test]
fn lengths_that_lie_cost_nothing() {
    let mut maker = Maker::new();
    maker.bytes.extend(0x215_u32.to_le_bytes());
    maker.bytes.extend((200_u32 << 20).to_le_bytes());
    let error = read(&maker.bytes).unwrap_err();
    assert!(
        error.contains("at byte 28") && error.contains("middle of a block"),
        "{error}"
    );
    let mut maker = Maker::new();
    maker.shell();
    // an event whose parameter is longer than the event
    let body = Body::default()
        .u16(0)
        .u64(1)
        .u64(7)
        .u32(28)
        .u16(5)
        .u32(1)
        .u16(9);
    maker.block(0x216, &body.0);
    let error = read(&maker.bytes).unwrap_err();
    assert!(error.contains("event 1 of type 5 is damaged"), "{error}");
}

#[test]
fn other_files_are_refused_with_the_reason() {
    let cases: [(&[u8], &str); 3] = [
        (b"", "no capture of Falco's"),
        (b"\x0a\x0d\x0d\x0a\x00\x00\x00\x1c\x1a\x2b\x3c\x4d", "byte order"),
        (b"\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x4d\x3c\x2b\x1a\x09\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x1c\x00\x00\x00", "version 9"),
    ];
    for (bytes, reason) in cases {
        let error = read(bytes).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}
