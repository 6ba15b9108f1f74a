//! A host with tables of fields, for tests and measurements through the plugin's C functions.

#![expect(clippy::expect_used, reason = "a test that cannot go on ends")]

use std::cell::RefCell;
use std::ffi::c_void;

use lanner_plugin::abi::{
    LannerEvent, LannerField, LannerHost, LannerMatches, LannerResolver, LannerRuleFile,
    LannerRulePlugin, LannerRuleRequest, LannerStatus, LannerStr, LannerText, LannerValue,
    STATUS_OK,
};
use lanner_plugin::{FieldKind, RawValue, ResolvedField, RuleTable, Value};
use rules_falco::FalcoRules;

const TABLE: LannerRulePlugin = RuleTable::<FalcoRules>::TABLE;

const NUMBERS: &str = "evt.num evt.rawres evt.failed fd.num proc.pid proc.ppid proc.tty user.uid \
    user.loginuid fd.sport fd.cport fd.lport fd.rport proc.duration group.gid";
const FLAGS: &str = "evt.is_open_read evt.is_open_write proc.is_exe_from_memfd \
    proc.is_exe_upper_layer container.privileged fd.connected fd.name_changed";
const ADDRESSES: &str = "fd.ip fd.net fd.sip fd.cip fd.snet fd.rip fd.lip";
const ANCESTORS: &str = "proc.aname proc.aexe proc.aexepath proc.acmdline";

/// The fields and event types that the plugin has looked up, in the order of their numbers.
#[derive(Debug, Default)]
struct Asked {
    fields: RefCell<Vec<String>>,
    types: RefCell<Vec<String>>,
}

/// Opened rules.
#[derive(Debug)]
pub(crate) struct Rules {
    state: *mut c_void,
    asked: Box<Asked>,
}

/// An event that can be delivered repeatedly.
#[derive(Debug)]
pub(crate) struct Prepared {
    event_type: u32,
    values: Vec<LannerValue>,
}

fn number(known: &RefCell<Vec<String>>, name: String) -> u32 {
    let mut known = known.borrow_mut();
    let at = known.iter().position(|one| *one == name);
    let at = at.unwrap_or_else(|| {
        known.push(name);
        known.len() - 1
    });
    u32::try_from(at).expect("few names")
}

fn has(names: &str, name: &str) -> bool {
    names.split_whitespace().any(|one| one == name)
}

unsafe extern "C" fn field(
    ctx: *const c_void,
    name: LannerStr,
    arg: LannerStr,
    field: *mut LannerField,
    _: *const LannerText,
) -> LannerStatus {
    // SAFETY: `ctx` is what `open` passed, and the texts live through the call.
    unsafe {
        let asked = &*ctx.cast::<Asked>();
        let (name, arg) = (name.to_text(), (!arg.ptr.is_null()).then(|| arg.to_text()));
        let kind = match name.as_str() {
            name if has(NUMBERS, name) => FieldKind::I64,
            name if has(FLAGS, name) => FieldKind::Bool,
            name if has(ADDRESSES, name) => FieldKind::Ip,
            _ => FieldKind::String,
        };
        let full = arg
            .as_ref()
            .map_or(name.clone(), |arg| format!("{name}[{arg}]"));
        let found = ResolvedField::new(number(&asked.fields, full), kind);
        *field = if has(ANCESTORS, &name) && arg.is_none() {
            found.any()
        } else {
            found
        }
        .to_abi();
    }
    STATUS_OK
}

unsafe extern "C" fn event_type(
    ctx: *const c_void,
    name: LannerStr,
    event_type: *mut u32,
    _: *const LannerText,
) -> LannerStatus {
    // SAFETY: as above.
    unsafe { *event_type = number(&(*ctx.cast::<Asked>()).types, name.to_text()) };
    STATUS_OK
}

unsafe extern "C" fn keep(ctx: *mut c_void, text: LannerStr) {
    // SAFETY: `ctx` is the text of `open`.
    unsafe { *ctx.cast::<String>() = text.to_text() };
}

unsafe extern "C" fn get(ctx: *const c_void, field: u32, value: *mut LannerValue) {
    // SAFETY: `ctx` is the values of `Rules::run`.
    unsafe {
        let values = &*ctx.cast::<Vec<LannerValue>>();
        *value = values
            .get(field as usize)
            .copied()
            .unwrap_or(LannerValue::NONE);
    }
}

unsafe extern "C" fn count(ctx: *mut c_void, _: u32) {
    // SAFETY: `ctx` is the number of `Rules::run`.
    unsafe { *ctx.cast::<usize>() += 1 };
}

impl Rules {
    /// Opens rules. Panics if the plugin refuses them.
    pub(crate) fn open(text: &[u8]) -> Self {
        Self::try_open(text).expect("the rules are good")
    }

    /// Opens rules, or gives the plugin's reason for refusing them.
    pub(crate) fn try_open(text: &[u8]) -> Result<Self, String> {
        let asked = Box::new(Asked::default());
        let host: &'static LannerHost = Box::leak(Box::new(LannerHost {
            size: size_of::<LannerHost>(),
            abi_major: 1,
            abi_minor: 2,
            ctx: std::ptr::null(),
            log: None,
            metric: None,
            metric_add: None,
            metric_set: None,
        }));
        let resolver = LannerResolver {
            size: size_of::<LannerResolver>(),
            ctx: (&raw const *asked).cast(),
            field: Some(field),
            event_type: Some(event_type),
        };
        let file = LannerRuleFile {
            name: LannerStr::new(b"rules.yaml"),
            text: LannerStr::new(text),
        };
        let request = LannerRuleRequest {
            size: size_of::<LannerRuleRequest>(),
            resolver: &raw const resolver,
            files: &raw const file,
            file_count: 1,
            settings: LannerStr::new(b""),
        };
        let mut state = std::ptr::null_mut();
        let mut reason = String::new();
        let error = LannerText {
            ctx: (&raw mut reason).cast(),
            put: Some(keep),
        };
        let open = TABLE.open.expect("a function");
        // SAFETY: all pointers live through the call.
        let status = unsafe { open(host, &raw const request, &raw mut state, &raw const error) };
        if status == STATUS_OK {
            Ok(Self { state, asked })
        } else {
            Err(reason)
        }
    }

    /// An event of a type with these fields, parsed by their types. Fields that are not in the list are missing.
    pub(crate) fn prepare(&self, event_type: &str, fields: &[(&str, &'static str)]) -> Prepared {
        let names = self.asked.fields.borrow();
        let value = |name: &String| {
            let found = fields.iter().find(|(known, _)| known == name);
            let value = found.map_or(Value::None, |(name, text)| {
                let base = name.split('[').next().unwrap_or(name);
                if has(NUMBERS, base) {
                    Value::I64(text.parse().expect("a number"))
                } else if has(FLAGS, base) {
                    Value::Bool(text.parse().expect("true or false"))
                } else if has(ADDRESSES, base) {
                    Value::Ip(text.parse().expect("an address"))
                } else {
                    Value::String(text.as_bytes())
                }
            });
            RawValue::from(value).abi()
        };
        Prepared {
            event_type: number(&self.asked.types, event_type.to_owned()),
            values: names.iter().map(value).collect(),
        }
    }

    /// The number of rules that an event matches.
    pub(crate) fn run(&mut self, event: &Prepared) -> usize {
        let raw = LannerEvent {
            size: size_of::<LannerEvent>(),
            ctx: (&raw const event.values).cast(),
            get: Some(get),
            event_type: event.event_type,
            reserved: 0,
        };
        let mut matched = 0_usize;
        let matches = LannerMatches {
            ctx: (&raw mut matched).cast(),
            put: Some(count),
        };
        let on_event = TABLE.on_event.expect("a function");
        // SAFETY: the state is open and ours; all pointers live through the call.
        let status = unsafe {
            on_event(
                self.state,
                &raw const raw,
                &raw const matches,
                std::ptr::null(),
            )
        };
        assert_eq!(status, STATUS_OK);
        matched
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        if let Some(close) = TABLE.close {
            // SAFETY: the state came from `open`, and this is the last use.
            unsafe { close(self.state) };
        }
    }
}

/// Ordinary events: types and fields.
pub(crate) const ORDINARY: &[(&str, &[(&str, &str)])] = &[
    (
        "openat",
        &[
            ("evt.num", "1000"),
            ("evt.is_open_read", "true"),
            ("evt.is_open_write", "false"),
            ("fd.typechar", "f"),
            ("fd.num", "3"),
            ("fd.name", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
            ("evt.rawres", "3"),
            ("fd.nameraw", "/lib/x86_64-linux-gnu/libc.so.6"),
            ("fd.directory", "/usr/lib/x86_64-linux-gnu"),
            ("fd.filename", "libc.so.6"),
            ("proc.name", "cc1"),
            ("proc.pname", "gcc"),
            ("evt.res", "SUCCESS"),
            (
                "proc.cmdline",
                "cc1 -quiet -imultiarch x86_64-linux-gnu main.c -o /tmp/cc3xYz.s",
            ),
            ("proc.pcmdline", "gcc -O2 -c main.c"),
            ("proc.aname[2]", "make"),
            ("container.id", "host"),
            ("evt.arg[flags]", "O_RDONLY|O_CLOEXEC"),
            ("proc.exepath", "/usr/lib/gcc/x86_64-linux-gnu/14/cc1"),
            ("proc.duration", "20000000"),
            ("user.name", "joe"),
            ("proc.pid", "4711"),
        ],
    ),
    (
        "openat",
        &[
            ("evt.num", "1001"),
            ("evt.is_open_read", "false"),
            ("evt.is_open_write", "true"),
            ("fd.typechar", "f"),
            ("fd.num", "5"),
            ("fd.name", "/tmp/cc3xYz.s"),
            ("fd.nameraw", "/tmp/cc3xYz.s"),
            ("evt.rawres", "5"),
            ("fd.directory", "/tmp"),
            ("fd.filename", "cc3xYz.s"),
            ("proc.name", "cc1"),
            ("proc.pname", "gcc"),
            ("evt.arg[flags]", "O_WRONLY|O_CREAT|O_TRUNC"),
            ("container.id", "host"),
            ("evt.res", "SUCCESS"),
            ("proc.exepath", "/usr/lib/gcc/x86_64-linux-gnu/14/cc1"),
            ("proc.pid", "4711"),
        ],
    ),
    (
        "execve",
        &[
            ("evt.num", "1002"),
            ("evt.rawres", "0"),
            ("evt.res", "SUCCESS"),
            ("proc.name", "as"),
            ("proc.pname", "gcc"),
            ("proc.exe", "as"),
            ("proc.exepath", "/usr/bin/as"),
            ("proc.args", "--64 -o main.o /tmp/cc3xYz.s"),
            ("proc.cmdline", "as --64 -o main.o /tmp/cc3xYz.s"),
            ("proc.pcmdline", "gcc -O2 -c main.c"),
            ("proc.aname[2]", "make"),
            ("proc.aname[3]", "bash"),
            ("container.id", "host"),
            ("user.name", "joe"),
            ("proc.cwd", "/home/joe/src"),
            ("proc.is_exe_from_memfd", "false"),
            ("proc.tty", "34816"),
            ("proc.pid", "4712"),
        ],
    ),
    (
        "execve",
        &[
            ("evt.num", "1003"),
            ("evt.rawres", "0"),
            ("evt.res", "SUCCESS"),
            ("proc.name", "sh"),
            ("proc.pname", "make"),
            ("proc.exe", "/bin/sh"),
            ("proc.exepath", "/usr/bin/dash"),
            ("proc.args", "-c gcc -O2 -c main.c"),
            ("proc.cmdline", "sh -c gcc -O2 -c main.c"),
            ("proc.pcmdline", "make -j8"),
            ("proc.aname[2]", "bash"),
            ("container.id", "host"),
            ("user.name", "joe"),
            ("proc.cwd", "/home/joe/src"),
            ("proc.pexe", "make"),
            ("proc.is_exe_from_memfd", "false"),
            ("proc.tty", "34816"),
            ("proc.pid", "4713"),
        ],
    ),
    (
        "connect",
        &[
            ("evt.num", "1004"),
            ("evt.rawres", "0"),
            ("evt.res", "SUCCESS"),
            ("proc.name", "curl"),
            ("proc.pname", "bash"),
            ("fd.typechar", "4"),
            ("fd.l4proto", "tcp"),
            ("fd.ip", "192.0.2.1"),
            ("fd.net", "192.0.2.1"),
            ("fd.snet", "192.0.2.1"),
            ("fd.sip", "192.0.2.1"),
            ("fd.sport", "443"),
            ("proc.exe", "curl"),
            ("container.id", "host"),
            ("proc.pid", "4714"),
        ],
    ),
];
