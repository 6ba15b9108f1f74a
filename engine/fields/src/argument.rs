//! Arguments of fields, in brackets; and the parameters of system calls, which `evt.arg` looks up by its argument.

use std::fmt::Write as _;
use std::sync::Arc;

use driver_api::event::{Event, Fact};
use driver_api::table::{Category, Kind, Number, Reading, Returns, SYSCALLS, Syscall};

use decode::{self, falco};
use inspect::{self, Descriptor};
use lanner_plugin::{UnknownName, Value};

use super::event::text_of;
use super::list::FIELDS;
use super::member::{self, Member};
use super::path;
use super::process::text;
use super::row::{ArgRule, FieldDef};
use super::view::View;
use suggest::did_you_mean;

mod raw;

pub(crate) use raw::raw;

/// A parsed argument.
#[derive(Debug, Clone)]
pub(super) enum Arg {
    None,
    Index(u32),
    Name(Box<str>),
    /// A parameter by its name or number.
    Param(Arc<Params>),
}

/// What a parameter's name or number means for each event.
#[derive(Debug)]
pub(super) struct Params {
    /// As the field has it.
    said: Box<str>,
    /// Where the parameter is, for each call of the table.
    calls: Box<[ParamMeaning]>,
}

/// What a parameter's name or number means for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ParamMeaning {
    /// The index of the parameter that Falco has for this call.
    falco: Option<u8>,
    place: ValueSource,
}

/// Where a parameter of a call is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueSource {
    Nowhere,
    Result,
    Param(u8),
    Fact(Fact),
    /// A member of a structure.
    Member(Member),
    /// State that Falco shows as a parameter: the index in [`STATE`].
    State(u8),
}

const FACTS: [Fact; 13] = [
    Fact::Path,
    Fact::Tuple,
    Fact::Exe,
    Fact::Cwd,
    Fact::Argv,
    Fact::Env,
    Fact::Ids,
    Fact::Comm,
    Fact::Local,
    Fact::Peer,
    Fact::Base,
    Fact::Base2,
    Fact::Root,
];

impl Arg {
    pub(super) fn parse(def: &FieldDef, arg: Option<&str>) -> Result<Self, UnknownName> {
        let name = def.name;
        match (def.arg, arg) {
            (ArgRule::None, None) => Ok(Self::None),
            (ArgRule::None, Some(_)) => Err(UnknownName::new(format!(
                "the field `{name}` takes no argument in brackets"
            ))),
            (ArgRule::Index | ArgRule::Name | ArgRule::IndexOrName, None) => Ok(Self::None),
            (ArgRule::Index, Some(arg)) => Self::index_of(arg).ok_or_else(|| {
                UnknownName::new(format!(
                    "`{name}[{arg}]`: the argument is a number, such as 1"
                ))
            }),
            (ArgRule::Name | ArgRule::Key, Some(arg)) => Ok(Self::Name(arg.into())),
            (ArgRule::Pattern | ArgRule::IndexOrName, Some(arg)) => Ok(arg
                .parse()
                .map_or_else(|_| Self::Name(arg.into()), Self::Index)),
            (ArgRule::Pattern | ArgRule::Key, None) => Err(UnknownName::new(format!(
                "the field `{name}` needs an argument in brackets"
            ))),
            (ArgRule::Param, None) => Err(UnknownName::new(format!(
                "the field `{name}` needs the name of a parameter, such as `{name}.flags`"
            ))),
            (ArgRule::Param, Some(arg)) => param(name, arg),
        }
    }

    /// Falco reads the index with `sscanf("%d")`: behind blanks, and with a sign. -1 is its sign for no argument, and other
    /// negative numbers are too large for any list.
    fn index_of(arg: &str) -> Option<Self> {
        let number: i64 = arg.trim_start().parse().ok()?;
        match (number, i32::try_from(number)) {
            (-1, _) => Some(Self::None),
            (_, Ok(number)) => Some(Self::Index(number.cast_unsigned())),
            (_, Err(_)) => u32::try_from(number).ok().map(Self::Index),
        }
    }

    /// Whether it names a parameter that no call has.
    pub(super) fn is_nowhere(&self) -> bool {
        match self {
            Self::Param(params) => {
                let nowhere = |found: &ParamMeaning| {
                    found.place == ValueSource::Nowhere && found.falco.is_none()
                };
                params.calls.iter().all(nowhere) && !scap::is_in_lifecycle(&params.said)
            }
            Self::None | Self::Index(_) | Self::Name(_) => false,
        }
    }

    pub(super) fn index(&self) -> Option<u32> {
        match self {
            Self::Index(index) => Some(*index),
            _ => None,
        }
    }
}

fn param(field: &str, arg: &str) -> Result<Arg, UnknownName> {
    let with = |calls| {
        Arg::Param(Arc::new(Params {
            said: arg.into(),
            calls,
        }))
    };
    if let Ok(number) = arg.parse::<u32>() {
        let numbered = |call: &Syscall| match number.checked_sub(1) {
            None => ValueSource::Result,
            Some(at) => match u8::try_from(at) {
                Ok(at) if usize::from(at) < call.params.len() => ValueSource::Param(at),
                _ => ValueSource::Nowhere,
            },
        };
        let falco = |call| {
            u8::try_from(number)
                .ok()
                .filter(|at| usize::from(*at) < scap::arg_count(call))
        };
        let found = |call| ParamMeaning {
            falco: falco(call),
            place: numbered(call),
        };
        return Ok(with(calls().map(found).collect()));
    }
    let found = |call| {
        let place = place(call, arg);
        // what neither has a place for has no value
        let falco = scap::arg_named(call, arg)
            .filter(|at| place != ValueSource::Nowhere || scap::is_in_call(call, *at));
        ParamMeaning { falco, place }
    };
    let found: Box<[ParamMeaning]> = calls().map(found).collect();
    if found
        .iter()
        .any(|found| found.place != ValueSource::Nowhere || found.falco.is_some())
    {
        return Ok(with(found));
    }
    // A rule for Falco may name what only Falco's events have.
    if scap::has_param(arg) {
        return Ok(with(found));
    }
    let params = SYSCALLS.iter().flat_map(|call| call.params);
    let names =
        params.flat_map(|param| std::iter::once(param.name).chain(param.aliases.iter().copied()));
    let known = names
        .chain(FACTS.iter().map(|fact| fact.name()))
        .chain(["res"]);
    let help = did_you_mean(arg, known);
    Err(UnknownName::new(format!(
        "no call has a parameter `{arg}`, as `{field}.{arg}` asks for{help}"
    )))
}

/// The calls of the table, in its order.
fn calls() -> impl Iterator<Item = &'static Syscall> {
    SYSCALLS.iter()
}

fn place(call: &Syscall, name: &str) -> ValueSource {
    if name == "res" {
        return ValueSource::Result;
    }
    if let Some((at, _)) = call.param(name) {
        return u8::try_from(at).map_or(ValueSource::Nowhere, ValueSource::Param);
    }
    if name == "fd" && call.returns == Returns::Fd {
        return ValueSource::Result;
    }
    let fact = FACTS.into_iter().find(|fact| fact.name() == name);
    if let Some(fact) = fact {
        return ValueSource::Fact(fact);
    }
    if let Some(member) = member::find(call, name) {
        return ValueSource::Member(member);
    }
    if matches!(
        (call.returns, name),
        (Returns::Uid, "uid" | "euid") | (Returns::Gid, "gid" | "egid")
    ) {
        return ValueSource::Result;
    }
    let state = STATE
        .iter()
        .position(|(known, of, _)| *known == name && of(call));
    state
        .and_then(|at| u8::try_from(at).ok())
        .map_or(ValueSource::Nowhere, ValueSource::State)
}

/// Calls that make a process or give it a program.
fn makes_process(call: &Syscall) -> bool {
    call.returns == Returns::Child || is_exec(call)
}

fn is_exec(call: &Syscall) -> bool {
    call.params
        .iter()
        .any(|param| matches!(param.kind, Kind::Strv))
}

fn opens_path(call: &Syscall) -> bool {
    call.returns == Returns::Fd
}

fn manages_memory(call: &Syscall) -> bool {
    call.category == Category::Memory || makes_process(call)
}

fn moves_data(call: &Syscall) -> bool {
    matches!(call.category, Category::IoRead | Category::IoWrite)
}

/// A value that Falco shows as a parameter of a call although it is state: its name, the calls that have it, and the field
/// with the value.
type StateRow = (&'static str, fn(&Syscall) -> bool, &'static str);

const STATE: &[StateRow] = &[
    ("args", makes_process, "proc.args"),
    ("tid", makes_process, "thread.tid"),
    ("pid", makes_process, "proc.pid"),
    ("ptid", makes_process, "proc.ppid"),
    ("fdlimit", makes_process, "proc.fdlimit"),
    ("pgft_maj", makes_process, "thread.pfmajor"),
    ("pgft_min", makes_process, "thread.pfminor"),
    ("vm_size", manages_memory, "proc.vmsize"),
    ("vm_rss", manages_memory, "proc.vmrss"),
    ("vm_swap", manages_memory, "proc.vmswap"),
    ("cgroups", makes_process, "thread.cgroups"),
    ("uid", makes_process, "user.uid"),
    ("gid", makes_process, "group.gid"),
    ("vtid", makes_process, "thread.vtid"),
    ("vpid", makes_process, "proc.vpid"),
    (
        "pidns_init_start_ts",
        makes_process,
        "proc.pidns_init_start_ts",
    ),
    ("tty", is_exec, "proc.tty"),
    ("pgid", is_exec, "proc.pgid"),
    ("vpgid", is_exec, "proc.vpgid"),
    ("loginuid", is_exec, "user.loginuid"),
    ("flags", is_exec, "proc.exe_flags"),
    ("cap_inheritable", is_exec, "thread.cap_inheritable"),
    ("cap_permitted", is_exec, "thread.cap_permitted"),
    ("cap_effective", is_exec, "thread.cap_effective"),
    ("exe_ino", is_exec, "proc.exe_ino"),
    ("exe_ino_ctime", is_exec, "proc.exe_ino.ctime"),
    ("exe_ino_mtime", is_exec, "proc.exe_ino.mtime"),
    ("trusted_exepath", is_exec, "proc.exepath"),
    ("dev", opens_path, "fd.dev"),
    ("ino", opens_path, "fd.ino"),
    ("size", moves_data, "evt.buflen"),
];

fn state<'a>(view: &View<'a>, at: u8) -> Value<'a> {
    let row = STATE.get(usize::from(at));
    let field = row.and_then(|(.., name)| FIELDS.iter().find(|field| field.name == *name));
    field.map_or(Value::None, |field| (field.get)(view, &Arg::None))
}

fn member_text<'a>(view: &View<'a>, call: &Syscall, member: Member) -> Value<'a> {
    let Some(value) = member.value(view.event, call) else {
        return Value::None;
    };
    if let Some(fd) = descriptor_number(&value)
        && let Some(descriptor) = view
            .seen
            .process
            .and_then(|key| view.inspector.descriptor_of(key, view.seen.tid, fd))
    {
        return described(view, descriptor);
    }
    let mut there = false;
    let text = view.scratch.text(|out| there = falco::member(out, &value));
    if there {
        Value::String(text)
    } else {
        Value::None
    }
}

fn descriptor_number(value: &decode::Value<'_>) -> Option<i32> {
    match value {
        decode::Value::Number(number) if number.reading() == Reading::DirFd => {
            i32::try_from(number.signed()).ok()
        }
        _ => None,
    }
}

fn find(view: &View<'_>, arg: &Arg) -> Option<(&'static Syscall, ParamMeaning)> {
    let call = view.seen.call?;
    match arg {
        Arg::Param(params) => Some((call, *params.calls.get(call.index())?)),
        Arg::None | Arg::Index(_) | Arg::Name(_) => None,
    }
}

/// `evt.arg`: a parameter as Falco shows it. What Falco does not have is shown as [`decoded`] shows it.
pub(super) fn arg<'a>(view: &View<'a>, arg: &Arg) -> Value<'a> {
    let Some((call, found)) = find(view, arg) else {
        let mut number = None;
        let text = (view.scratch).text(|out| number = lifecycle(view, arg, out));
        return number.map_or(Value::None, |_| Value::String(text));
    };
    let Some(at) = found
        .falco
        .filter(|_| found.place != ValueSource::Fact(Fact::Tuple))
    else {
        return decoded(view, arg);
    };
    let mut shown = scap::Shown::Nothing;
    let text = view
        .scratch
        .text(|out| shown = scap::arg(out, view.event, view.seen, view.inspector, at));
    match shown {
        scap::Shown::Appended => Value::String(text),
        scap::Shown::Text(name) => match call.param(name) {
            Some((at, param)) if matches!(param.kind, Kind::Path(_)) => {
                self::text(path::argument(view, at))
            }
            Some((at, _)) => self::text(path::said(view, at)),
            None => Value::None,
        },
        scap::Shown::Descriptor(fd) => match descriptor(view, fd) {
            Some(descriptor) => described(view, descriptor),
            None => Value::None,
        },
        scap::Shown::Name | scap::Shown::Nothing => decoded(view, arg),
    }
}

/// A parameter of an event that is no call: its number, and its meaning as text.
fn lifecycle(view: &View<'_>, arg: &Arg, out: &mut String) -> Option<i64> {
    let Arg::Param(params) = arg else { return None };
    if view.seen.call.is_some() {
        return None;
    }
    scap::lifecycle_arg(out, view.event, view.seen, view.inspector, &params.said)
}

/// What a descriptor of the thread refers to.
fn descriptor<'a>(view: &View<'a>, fd: i32) -> Option<&'a Descriptor> {
    if view.seen.fd == Some(fd) {
        return view.descriptor();
    }
    let process = view.seen.process?;
    view.inspector.descriptor_of(process, view.seen.tid, fd)
}

/// `kernel.arg`: a parameter as text, with the kernel's names.
pub(super) fn decoded<'a>(view: &View<'a>, arg: &Arg) -> Value<'a> {
    let Some((call, ParamMeaning { place, .. })) = find(view, arg) else {
        return Value::None;
    };
    match place {
        ValueSource::Nowhere => Value::None,
        ValueSource::Fact(fact) => self::fact(view, fact),
        ValueSource::Member(member) => member_text(view, call, member),
        ValueSource::State(at) => named_state(view, call, at),
        ValueSource::Result => {
            if let Some(name) = named_result(view, call) {
                return name;
            }
            if call.returns == Returns::Fd
                && let Some(descriptor) = view.descriptor()
            {
                return described(view, descriptor);
            }
            falco_text(view, call, "res")
        }
        ValueSource::Param(at) => {
            let Some(param) = call.params.get(usize::from(at)) else {
                return Value::None;
            };
            let lacks = (view.event).lacks(call.register(view.event.abi(), usize::from(at)));
            match param.kind {
                Kind::Str => string(view, at),
                Kind::Path(_) => text(path::argument(view, usize::from(at))),
                Kind::Number(number @ (Number::Uid | Number::Gid | Number::Pid), _) if !lacks => {
                    let id = view.event.header().args[usize::from(at)];
                    named_id(view, call, number, id)
                        .unwrap_or_else(|| falco_text(view, call, param.name))
                }
                Kind::Number(Number::Fd | Number::DirFd, _) if !lacks => {
                    let fd = inspect::fd_in(view.event.header().args[usize::from(at)]);
                    match descriptor(view, fd) {
                        Some(descriptor) => described(view, descriptor),
                        None => falco_text(view, call, param.name),
                    }
                }
                _ => falco_text(view, call, param.name),
            }
        }
    }
}

/// The name of a user, group or process, which Falco shows in place of its id. None: the id is shown.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the kernel takes the lower 32 bits"
)]
fn named_id<'a>(view: &View<'a>, call: &Syscall, number: Number, id: u64) -> Option<Value<'a>> {
    let id = id as u32;
    match number {
        // Falco has ids of files as numbers.
        Number::Uid | Number::Gid if call.category != Category::User => None,
        Number::Uid | Number::Gid if id == u32::MAX => Some(Value::String(b"<NONE>")),
        Number::Uid => Some(super::process::user_name(view, id)),
        Number::Gid => Some(super::process::name_of_group(view, id)),
        Number::Pid => {
            let process = view.inspector.process_by_pid(id);
            let name = process.map(|process| &*process.name);
            name.filter(|name| !name.is_empty()).map(Value::String)
        }
        _ => None,
    }
}

/// The name of the user or group whose id a call returns.
fn named_result<'a>(view: &View<'a>, call: &Syscall) -> Option<Value<'a>> {
    let number = match call.returns {
        Returns::Uid => Number::Uid,
        Returns::Gid => Number::Gid,
        _ => return None,
    };
    let id = u64::try_from(view.event.header().ret).ok()?;
    named_id(view, call, number, id)
}

/// State that Falco shows as a parameter: names in place of ids.
fn named_state<'a>(view: &View<'a>, call: &Syscall, at: u8) -> Value<'a> {
    let field = STATE.get(usize::from(at)).map(|(.., field)| *field);
    let name = match field {
        Some("user.uid") if is_exec(call) => "user.name",
        Some("group.gid") if is_exec(call) => "group.name",
        Some("user.loginuid") => {
            if super::process::login_id(view) == Value::I64(-1) {
                return Value::String(b"<NONE>");
            }
            "user.loginname"
        }
        Some("proc.pid" | "thread.tid") => "proc.name",
        Some("proc.ppid") => "proc.pname",
        _ => return state(view, at),
    };
    let field = FIELDS.iter().find(|field| field.name == name);
    let value = field.map_or(Value::None, |field| (field.get)(view, &Arg::None));
    if value == Value::None {
        state(view, at)
    } else {
        value
    }
}

/// `<f>/etc/hosts`, `<4t>10.0.0.1:4000->10.0.0.2:80`
fn described<'a>(view: &View<'a>, descriptor: &Descriptor) -> Value<'a> {
    Value::String(view.scratch.bytes(|out| {
        out.push(b'<');
        out.extend_from_slice(descriptor.kind.letter().as_bytes());
        out.extend_from_slice(scap::protocol(descriptor).as_bytes());
        out.push(b'>');
        out.extend_from_slice(&descriptor.name);
    }))
}

fn falco_text<'a>(view: &View<'a>, call: &Syscall, name: &str) -> Value<'a> {
    let mut there = false;
    let text = view
        .scratch
        .text(|out| there = falco::arg(out, view.event, call, name));
    if there {
        Value::String(text)
    } else {
        Value::None
    }
}

fn string<'a>(view: &View<'a>, at: u8) -> Value<'a> {
    text(path::said(view, usize::from(at)))
}

fn fact<'a>(view: &View<'a>, fact: Fact) -> Value<'a> {
    let event: &Event<'a> = view.event;
    // as in Falco, calls that send and receive have it as well, and the end that connected comes first
    let socket = view.descriptor().filter(|socket| socket.kind.is_inet());
    let name = socket.map(|socket| &*socket.name);
    match fact {
        Fact::Tuple if name.is_some_and(|name| !name.is_empty()) => text(name),
        Fact::Tuple => match event.tuple() {
            Some(tuple) => Value::String(view.scratch.text(|out| {
                let (local, remote) = inspect::ends(&tuple).unzip();
                if let (Some(local), Some(remote)) = (local, remote) {
                    let _ = write!(
                        out,
                        "{}:{}->{}:{}",
                        local.ip(),
                        local.port(),
                        remote.ip(),
                        remote.port()
                    );
                }
            })),
            None => Value::None,
        },
        Fact::Ids => match event.ids() {
            Some(ids) => Value::String(view.scratch.text(|out| {
                let _ = write!(
                    out,
                    "uid={} euid={} gid={} egid={}",
                    ids.uid, ids.euid, ids.gid, ids.egid
                );
            })),
            None => Value::None,
        },
        Fact::Argv | Fact::Env => match event.fact(fact) {
            Some(strings) => Value::String(view.scratch.bytes(|out| {
                super::process::join(out, strings.strings());
            })),
            None => Value::None,
        },
        _ => event
            .fact(fact)
            .map_or(Value::None, |fact| Value::String(text_of(view, &fact))),
    }
}
