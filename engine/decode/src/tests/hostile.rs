//! Events are untrusted: whatever the bytes, decoding ends and writes well-formed text.

use driver_api::event::{Abi, Encoding, Event, EventBuilder, EventKind, Header, Part, Status};
use driver_api::table::{self, SYSCALLS};

use crate::{call, falco, json, text};

/// xorshift64: Marsaglia, "Xorshift RNGs".
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(64),
            1 => u64::MAX - self.below(64),
            2 => 1 << self.below(64),
            _ => self.next(),
        }
    }
}

/// Whether the text is one JSON value: enough of a parser to see that it is closed and quoted right.
fn well_formed(text: &str) -> bool {
    let (mut open, mut quoted, mut escaped) = (Vec::new(), false, false);
    for letter in text.chars() {
        if quoted {
            match letter {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = false,
                _ if letter < ' ' => return false,
                _ => {}
            }
        } else {
            match letter {
                '"' => quoted = true,
                '{' | '[' => open.push(letter),
                '}' | ']' => {
                    let expected = if letter == '}' { '{' } else { '[' };
                    if open.pop() != Some(expected) {
                        return false;
                    }
                }
                _ => {}
            }
        }
    }
    open.is_empty() && !quoted
}

fn decode_all(event: &Event<'_>) {
    let mut out = String::new();
    text::line(&mut out, event);
    assert!(out.chars().all(|c| (' '..='~').contains(&c)), "{out}");
    out.clear();
    json::event(
        &mut out,
        event,
        &json::Context {
            epoch_ns: i64::MIN,
            ppid: None,
            comm: b"\xff\"",
        },
    );
    assert!(well_formed(&out), "{out}");
    if let Some(call) = call(event) {
        out.clear();
        falco::args(&mut out, event, call);
        falco::res(&mut out, event);
        for param in call.params {
            falco::arg(&mut out, event, call, param.name);
        }
    }
}

fn random_event(random: &mut Random, builder: &mut EventBuilder) {
    const KINDS: [EventKind; 6] = [
        EventKind::Syscall,
        EventKind::Exec,
        EventKind::Fork,
        EventKind::Exit,
        EventKind::Signal,
        EventKind::Lost,
    ];
    const ABIS: [Abi; 5] = [Abi::X86_64, Abi::I386, Abi::X32, Abi::Aarch64, Abi::Arm];
    let pick = |random: &mut Random, end: usize| random.below(end as u64) as usize;
    let abi = ABIS[if random.below(3) == 0 {
        pick(random, 5)
    } else {
        0
    }];
    let kind = KINDS[if random.below(8) == 0 {
        pick(random, 6)
    } else {
        0
    }];
    let known = SYSCALLS[pick(random, SYSCALLS.len())].number(abi);
    let mut header = Header {
        kind: kind as u8,
        abi: abi as u8,
        nr: known.unwrap_or_else(|| random.next() as u32),
        flags: random.next() as u16 & 7,
        ret: random.number().cast_signed(),
        time_ns: random.number(),
        ..Header::default()
    };
    for register in &mut header.args {
        *register = random.number();
    }
    builder.begin(&header);
    for at in 0..random.below(9) {
        let bytes: Vec<u8> = match random.below(3) {
            0 => (0..random.below(200))
                .map(|_| random.next() as u8)
                .collect(),
            1 => (0..random.below(40))
                .map(|_| random.below(4) as u8)
                .collect(),
            _ => {
                let family = random.below(20) as u8;
                [family, 0]
                    .into_iter()
                    .chain((0..random.below(40)).map(|_| random.next() as u8))
                    .collect()
            }
        };
        let what = if random.below(3) == 0 {
            16 + random.below(12)
        } else {
            at % 7
        };
        let part = [Part::None, Part::Name, Part::Data, Part::Control][pick(random, 4)];
        let status = [Status::Whole, Status::Truncated, Status::Fault][pick(random, 3)];
        let encoding = [Encoding::Raw, Encoding::Parts, Encoding::Strings][pick(random, 3)];
        builder.attach(what as u8, part, status, encoding, random.number(), &bytes);
    }
}

#[test]
fn no_event_is_too_strange() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut builder = EventBuilder::new();
    for _ in 0..30_000 {
        random_event(&mut random, &mut builder);
        let event = builder.finish().expect("an event");
        decode_all(&event);
        // And with bytes changed, header and lengths included.
        let mut bytes = event.to_vec();
        for _ in 0..4 {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.next() as u8;
        }
        if let Ok(event) = Event::parse(&bytes) {
            decode_all(&event);
        }
    }
}

#[test]
fn every_call_can_be_decoded_without_memory() {
    for call in SYSCALLS {
        for value in [0, 1, u64::MAX] {
            let Some(nr) = call.number(Abi::X86_64) else {
                continue;
            };
            let header = Header {
                kind: EventKind::Syscall as u8,
                nr,
                args: [value; 6],
                ..Header::default()
            };
            let mut builder = EventBuilder::new();
            builder.begin(&header);
            decode_all(&builder.finish().expect("an event"));
            assert!(table::by_number(Abi::X86_64, nr).is_some());
        }
    }
}
