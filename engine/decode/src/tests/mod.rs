//! Events made by hand, and what decoding makes of them.

mod extents;
mod forms;
mod hostile;
mod names;
mod netlink;
mod oracle;
mod widths;

use driver_api::event::{Abi, Encoding, EventBuilder, EventKind, Header, Part, Status};
use driver_api::table::{self, Syscall};

/// An argument of a call.
#[derive(Debug, Clone)]
pub(super) enum Arg {
    /// A register.
    N(u64),
    /// Memory.
    M(Vec<u8>),
    /// A string.
    S(&'static [u8]),
    /// Strings.
    V(Vec<&'static str>),
}

use Arg::{M, N, S, V};

/// A negative number in a register.
pub(super) fn neg(number: i64) -> Arg {
    N(number.cast_unsigned())
}

/// Appends what an argument points to.
pub(super) fn attach(builder: &mut EventBuilder, at: u8, arg: &Arg) {
    let (encoding, bytes) = match arg {
        N(_) => return,
        M(bytes) => (Encoding::Raw, bytes.clone()),
        S(bytes) => (Encoding::Raw, bytes.to_vec()),
        V(strings) => (
            Encoding::Strings,
            strings
                .iter()
                .flat_map(|s| [s.as_bytes(), b"\0"].concat())
                .collect(),
        ),
    };
    let full = bytes.len() as u64;
    builder.attach(at, Part::None, Status::Whole, encoding, full, &bytes);
}

/// A builder holding a call with all its memory; memory is at 0x7f0000001000 and so on.
pub(super) fn event(name: &str, args: &[Arg], ret: i64) -> (EventBuilder, &'static Syscall) {
    let call = table::by_name(name).expect("a call of the table");
    let mut header = Header {
        kind: EventKind::Syscall as u8,
        abi: Abi::X86_64 as u8,
        // a call of 32-bit programs alone has none
        nr: call.number(Abi::X86_64).unwrap_or_default(),
        tgid: 10,
        tid: 11,
        time_ns: 5,
        ret,
        ..Header::default()
    };
    for (register, (at, arg)) in header.args.iter_mut().zip((1..).zip(args)) {
        *register = match arg {
            N(number) => *number,
            _ => 0x7f00_0000_0000 + at * 0x1000,
        };
    }
    let mut builder = EventBuilder::new();
    builder.begin(&header);
    for (at, arg) in (0..).zip(args) {
        attach(&mut builder, at, arg);
    }
    (builder, call)
}

/// The same event with another header.
pub(super) fn altered(
    builder: &mut EventBuilder,
    change: impl FnOnce(&mut Header),
) -> EventBuilder {
    let event = builder.finish().expect("an event");
    let mut header = *event.header();
    change(&mut header);
    let mut altered = EventBuilder::new();
    altered.begin(&header);
    event
        .attachments()
        .for_each(|attachment| altered.attach_copy(&attachment));
    altered
}

/// The text of a call.
pub(super) fn line(name: &str, args: &[Arg], ret: i64) -> String {
    let (mut builder, _) = event(name, args, ret);
    let mut out = String::new();
    super::text::line(&mut out, &builder.finish().expect("an event"));
    out
}
