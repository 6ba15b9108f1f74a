//! Compares an event with the truth, in every part.

use std::collections::BTreeMap;
use std::fmt::Write;

use driver_api::event::{Attachment, Event, EventKind, Fact, Flags};
use driver_api::table::{Kind, Written};

use crate::truth::{Truth, Want};

/// A difference between the event and the truth.
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
/// `entry_only`: the driver sees only entries.
pub(crate) fn compare(truth: &Truth, kept: &[Vec<u8>], entry_only: bool) -> Vec<Fault> {
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
    let mut faults = header(truth, &event, entry_only);
    for (what, written, by_table) in &truth.more_written {
        let expected = format!("the {written} bytes that the kernel wrote");
        let found = format!("{by_table} bytes by the table");
        faults.push(fault(register(truth, *what), expected, found));
    }
    attachments(&mut faults, truth, &event, entry_only);
    faults
}

fn header(truth: &Truth, event: &Event<'_>, entry_only: bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    let header = event.header();
    let kind = if truth.exec {
        EventKind::Exec
    } else {
        EventKind::Syscall
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
    } else if entry_only && !truth.exec {
        Flags::ENTRY
    } else {
        0
    };
    // whether a file was made or found, and whether a size was seen, are facts of some drivers, not of the call
    let found = header.flags & !(Flags::CREATED | Flags::EXISTED | Flags::ROOM_SEEN);
    if found != flags {
        faults.push(fault("flags", format!("{flags:#x}"), format!("{found:#x}")));
    }
    if let Some(ret) = truth.ret
        && flags == Flags::ENTRY
    {
        faults.push(fault("return value", ret.to_string(), "none"));
    } else if let Some(ret) = truth.ret
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

/// The name of the value in a register.
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
        // how long a fact was that was cut off is not always known
        full: if is_fact {
            bytes.len() as u64
        } else {
            attachment.full
        },
        bytes,
    }
}

/// Whether the kernel writes this memory, or only then has this fact, when the call is made. A driver that sees only
/// entries cannot have it.
fn is_done_by_kernel(truth: &Truth, what: u8) -> bool {
    if Fact::from_u8(what).is_some() {
        return !truth.exec;
    }
    let Some(call) = truth.call() else {
        return false;
    };
    let place = (0..call.params.len()).find(|p| call.register(truth.abi, *p) == usize::from(what));
    let param = place.map(|place| &call.params[place]);
    // another parameter decides what a variant is
    param.is_some_and(|param| {
        param.written != Written::Always || matches!(param.kind, Kind::By(..) | Kind::Ioc)
    })
}

/// Whether only how many bytes there were differs: the kernel says of a message how many it has sent.
fn differ_in_length(expected: &[Want], found: &[Want]) -> bool {
    let without = |wants: &[Want]| -> Vec<Want> {
        let wants = wants.iter().cloned();
        wants.map(|want| Want { full: 0, ..want }).collect()
    };
    without(expected) == without(found)
}

fn attachments(faults: &mut Vec<Fault>, truth: &Truth, event: &Event<'_>, entry_only: bool) {
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
        // ids and the facts of files are compared by the other suite
        let elsewhere = [Fact::Ids, Fact::Program, Fact::File];
        if !elsewhere.iter().any(|fact| found.what == *fact as u8) {
            let pair = pairs.entry((found.what, found.part)).or_default();
            pair.1.push(found);
        }
    }
    for ((what, part), (expected, found)) in pairs {
        if expected != found {
            let whole = |wants: &[Want]| wants.iter().all(|want| want.status == 0);
            let is_fact = Fact::from_u8(what).is_some();
            let named = if entry_only && found.is_empty() && is_done_by_kernel(truth, what) {
                "what the kernel does".to_owned()
            } else if entry_only
                && !found.is_empty()
                && !is_fact
                && (whole(&found) || differ_in_length(&expected, &found))
            {
                "what the kernel changes".to_owned()
            } else {
                name(truth, what, part)
            };
            faults.push(fault(named, show(&expected), show(&found)));
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
