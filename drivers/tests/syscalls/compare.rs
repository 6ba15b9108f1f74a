//! Compares an event with the truth, in every part.

use std::collections::BTreeMap;
use std::fmt::Write;

use driver_api::event::{Attachment, Event, Fact, Flags, Kind};

use crate::truth::{Truth, Want};

/// A difference: where, what should be, what is.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// A parameter, a fact, or a part of the header.
    pub(crate) what: String,
    pub(crate) expected: String,
    pub(crate) found: String,
}

fn fault(what: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Fault {
    Fault {
        what: what.into(),
        expected: expected.into(),
        found: found.into(),
    }
}

/// All differences between what happened and what the driver delivered behind the call's mark.
pub(crate) fn compare(truth: &Truth, kept: &[Vec<u8>]) -> Vec<Fault> {
    let events = kept.iter().filter_map(|bytes| Event::parse(bytes).ok());
    let mut same = events.filter(|event| event.header().nr == truth.nr && event.abi() == truth.abi);
    let Some(event) = same.next() else {
        let others: Vec<String> = kept
            .iter()
            .filter_map(|bytes| Event::parse(bytes).ok())
            .map(|event| format!("{} {}", event.abi().name(), event.header().nr))
            .collect();
        return vec![fault(
            "event",
            "one",
            format!("none among [{}]", others.join(", ")),
        )];
    };
    let mut faults = header(truth, &event);
    for (what, written, told) in &truth.untold {
        let expected = format!("the {written} bytes that the kernel wrote");
        let found = format!("{told} bytes by the table");
        faults.push(fault(register(truth, *what), expected, found));
    }
    attachments(&mut faults, truth, &event);
    faults
}

fn header(truth: &Truth, event: &Event<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let header = event.header();
    let kind = if truth.exec {
        Kind::Exec
    } else {
        Kind::Syscall
    };
    if event.kind() != kind {
        faults.push(fault(
            "kind",
            format!("{kind:?}"),
            format!("{:?}", event.kind()),
        ));
    }
    let flags = if truth.ret.is_none() {
        Flags::NORETURN
    } else {
        0
    };
    if header.flags != flags {
        faults.push(fault(
            "flags",
            format!("{flags:#x}"),
            format!("{:#x}", header.flags),
        ));
    }
    if let Some(ret) = truth.ret
        && ret != header.ret
    {
        faults.push(fault(
            "return value",
            ret.to_string(),
            header.ret.to_string(),
        ));
    }
    if truth.call().is_some_and(|call| call.name == "rt_sigreturn") {
        // the registers hold anything
        return faults;
    }
    for (at, (expected, found)) in truth.args.iter().zip(header.args).enumerate() {
        if *expected != found {
            faults.push(fault(
                register(truth, at as u8),
                format!("{expected:#x}"),
                format!("{found:#x}"),
            ));
        }
    }
    faults
}

/// The name of what stands in a register.
fn register(truth: &Truth, at: u8) -> String {
    let call = truth.call();
    let named = call.and_then(|call| {
        let place =
            (0..call.params.len()).find(|p| call.register(truth.abi, *p) == usize::from(at));
        place.map(|place| call.params[place].name.to_owned())
    });
    named.unwrap_or_else(|| format!("argument {at}"))
}

fn name(truth: &Truth, what: u8, part: u8) -> String {
    let name = match Fact::from_u8(what) {
        Some(fact) => format!("fact {}", fact.name()),
        None => register(truth, what),
    };
    match (part >> 2, part & 3) {
        (0, 0) => name,
        (index, part) => format!(
            "{name}[{index}].{}",
            ["all", "name", "data", "control"][usize::from(part)]
        ),
    }
}

/// An attachment as it is compared.
fn seen(attachment: &Attachment<'_>) -> Want {
    let bytes = attachment.text().into_owned();
    let is_fact = Fact::from_u8(attachment.what).is_some();
    Want {
        what: attachment.what,
        part: attachment.part.of(attachment.index).0,
        status: attachment.status as u8,
        // what a fact was cut off from is not always known
        full: if is_fact {
            bytes.len() as u64
        } else {
            attachment.full
        },
        bytes,
    }
}

fn attachments(faults: &mut Vec<Fault>, truth: &Truth, event: &Event<'_>) {
    let mut pairs: BTreeMap<(u8, u8), (Vec<Want>, Vec<Want>)> = BTreeMap::new();
    for want in &truth.want {
        let pair = pairs.entry((want.what, want.part)).or_default();
        pair.0.push(want.clone());
    }
    let found = event
        .attachments()
        .filter(|a| a.what != driver_api::event::layout::REPLACED);
    for found in found {
        let found = seen(&found);
        // ids are compared by the other suite; a process has them whatever it calls
        if found.what != Fact::Ids as u8 {
            let pair = pairs.entry((found.what, found.part)).or_default();
            pair.1.push(found);
        }
    }
    for ((what, part), (expected, found)) in pairs {
        if expected != found {
            faults.push(fault(
                name(truth, what, part),
                show(&expected),
                show(&found),
            ));
        }
    }
}

fn show(all: &[Want]) -> String {
    if all.is_empty() {
        return "nothing".to_owned();
    }
    let mut text = String::new();
    for one in all {
        let status = ["whole", "truncated", "fault"][usize::from(one.status)];
        let shown = &one.bytes[..one.bytes.len().min(96)];
        let _ = write!(
            text,
            "{status}, {} of {}: {}",
            one.bytes.len(),
            one.full,
            shown.escape_ascii()
        );
    }
    text
}
