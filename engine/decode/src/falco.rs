//! A parameter as Falco's `evt.arg.NAME` and `evt.args` render it.
//!
//! A parameter has its name or an alias of the table. Beside the parameters there is `res`, the return
//! value. Calls that return a descriptor and take none also have it as `fd`. What Falco adds from its tables
//! of processes and descriptors (`fd=3(<f>/etc/hosts)`) is not added here.

use std::fmt::Write as _;

use driver_api::event::{Event, Flags};
use driver_api::table::{Returns, Syscall};

use super::errno;
use super::forms::{Forms, Style};
use super::value::{self, Value};

/// Appends `evt.arg.NAME`. False: nothing was appended, because the call has no such parameter or the event
/// does not have its memory.
pub fn arg(out: &mut String, event: &Event<'_>, call: &Syscall, name: &str) -> bool {
    if is_result(call, name) {
        return result(out, event, call, Style::Short);
    }
    let Some((at, _)) = call.param(name) else {
        return false;
    };
    value::param(event, call, at).is_some_and(|value| value.falco(out, Style::Short))
}

/// Appends `evt.args`: `name=value` of the result and of every parameter, separated by spaces.
pub fn args(out: &mut String, event: &Event<'_>, call: &Syscall) {
    let start = out.len();
    let mut member = |name: &str, write: &mut dyn FnMut(&mut String) -> bool| {
        if out.len() > start {
            out.push(' ');
        }
        let _ = write!(out, "{name}=");
        if !write(out) {
            out.push_str("<NA>");
        }
    };
    if call.returns != Returns::None {
        let name = if is_result(call, "fd") { "fd" } else { "res" };
        member(name, &mut |out| result(out, event, call, Style::Long));
    }
    for (at, param) in call.params.iter().enumerate() {
        let Some(value) = value::param(event, call, at) else {
            break;
        };
        member(param.name, &mut |out| value.falco(out, Style::Long));
    }
}

/// Appends `evt.res`: `SUCCESS` or the errno's name. False: the call does not return.
pub fn res(out: &mut String, event: &Event<'_>) -> bool {
    if event.has(Flags::NO_RESULT) {
        return false;
    }
    let ret = super::returned(event);
    match errno::of(ret).map(errno::name) {
        None => out.push_str("SUCCESS"),
        Some(Some(name)) => out.push_str(name),
        Some(None) => {
            let _ = write!(out, "{ret}");
        }
    }
    true
}

/// Appends a member of a structure, or an element of an array. False: nothing was appended.
pub fn member(out: &mut String, value: &Value<'_>) -> bool {
    value.falco(out, Style::Short)
}

fn is_result(call: &Syscall, name: &str) -> bool {
    name == "res" || (name == "fd" && call.returns == Returns::Fd && call.param("fd").is_none())
}

fn result(out: &mut String, event: &Event<'_>, call: &Syscall, style: Style) -> bool {
    if call.returns == Returns::None || event.has(Flags::NO_RESULT) {
        return false;
    }
    let ret = call.result(event.header().ret);
    let name = errno::of(ret).and_then(errno::name);
    let _ = match (name, style) {
        (Some(name), Style::Short) => write!(out, "{name}"),
        (Some(name), Style::Long) => write!(out, "{ret}({name})"),
        (None, _) => write!(out, "{ret}"),
    };
    true
}
