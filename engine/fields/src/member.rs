//! Members of structures as parameters of their own: `evt.arg.resolve` of openat2(2), `evt.arg.cur` of setrlimit(2). The
//! table of structures says which there are; nothing here knows a call.

use driver_api::event::Event;
use driver_api::table::{Kind, Structure, Syscall};

use decode::{self, Value as Decoded};

/// A member of a structure that a parameter points to, or an element of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    param: u8,
    /// The index in an array; 0 for a single structure.
    element: u8,
    /// None: the element itself.
    name: Option<&'static str>,
}

/// Finds a member by name: as the structure has it; without its prefix (`cur` for `rlim_cur`); with the parameter's
/// (`newcur` for `rlim_cur` behind `new_rlim`); with the number of an element (`sem_num_0`, `fd1`).
pub(super) fn find(call: &Syscall, wanted: &str) -> Option<Member> {
    let one = |at: usize, element: u8, wanted: &str| {
        let param = &call.params[at];
        let name = member_of(structure(&param.kind)?, param.name, wanted)?;
        Some(Member {
            param: u8::try_from(at).ok()?,
            element,
            name: Some(name),
        })
    };
    let params = 0..call.params.len();
    if let Some(found) = params.clone().find_map(|at| one(at, 0, wanted)) {
        return Some(found);
    }
    let digits = wanted.len() - wanted.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (base, number) = wanted.split_at(wanted.len() - digits);
    let number: u8 = number.parse().ok()?;
    if let Some(base) = base.strip_suffix('_') {
        return params
            .filter(|at| matches!(call.params[*at].kind, Kind::Array(..)))
            .find_map(|at| one(at, number, base));
    }
    // fd1 and fd2 of pipe(2): elements of `fds`, counted from 1
    let at = params.into_iter().find(|at| {
        let param = &call.params[*at];
        matches!(param.kind, Kind::Array(..)) && param.name.strip_suffix('s') == Some(base)
    })?;
    Some(Member {
        param: u8::try_from(at).ok()?,
        element: number.checked_sub(1)?,
        name: None,
    })
}

fn structure(kind: &Kind) -> Option<&'static Structure> {
    match kind {
        Kind::Struct(of, _) => Some(of),
        Kind::Array(of, _) => structure(of),
        _ => None,
    }
}

fn member_of(of: &'static Structure, param: &str, wanted: &str) -> Option<&'static str> {
    let fields = of.layouts[0].fields;
    let shown = || {
        fields
            .iter()
            .map(|field| field.name)
            .filter(|name| !name.starts_with('_'))
    };
    let short = |name: &'static str| name.split_once('_').map_or(name, |(_, short)| short);
    let prefix = param.split('_').next().unwrap_or_default();
    shown()
        .find(|name| *name == wanted)
        .or_else(|| shown().find(|name| wanted.strip_prefix("cap_") == Some(name)))
        .or_else(|| shown().find(|name| wanted.strip_prefix(prefix) == Some(short(name))))
        .or_else(|| {
            // where two parameters are of this sort, the name alone says nothing
            let one = !param.starts_with("old") && !param.starts_with("new");
            one.then(|| shown().find(|name| short(name) == wanted))
                .flatten()
        })
}

impl Member {
    /// The member's value in an event.
    pub(super) fn value<'a>(self, event: &Event<'a>, call: &Syscall) -> Option<Decoded<'a>> {
        let whole = decode::param(event, call, usize::from(self.param))?;
        let element = match whole {
            Decoded::Array(array) => array.iter().nth(usize::from(self.element))?,
            other if self.element == 0 => other,
            _ => return None,
        };
        match (self.name, element) {
            (None, element) => Some(element),
            (Some(name), Decoded::Struct(of)) => of.field(name),
            _ => None,
        }
    }
}
