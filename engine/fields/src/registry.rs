//! Names to numbers: fields and event types, while rules are loaded.

use std::cell::RefCell;
use std::sync::Arc;

use driver_api::event::{Event, EventKind};
use driver_api::table::{self, SYSCALLS, Syscall};

use inspect::{Container, Seen};
use lanner_plugin::{FieldResolver, ResolvedField, UnknownName, Value};

use super::argument::Arg;
use super::list::FIELDS;
use super::names::HostNames;
use super::row::{ArgRule, FieldDef, Many};
use super::scratch::Scratch;
use super::view::View;
use suggest::did_you_mean;

/// A field with its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub(super) u32);

#[derive(Debug, Clone)]
struct Used {
    def: &'static FieldDef,
    written: Option<Box<str>>,
    arg: Arg,
}

/// Gives numbers to the fields that rules and templates use.
#[derive(Debug, Default)]
pub struct FieldRegistry {
    used: RefCell<Vec<Used>>,
    hostname: Arc<str>,
}

impl FieldId {
    /// The number, for [`lanner_plugin::FieldSource::get`].
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

/// The fields that are used. Its clones share them.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    used: Arc<[Used]>,
    pub(super) hostname: Arc<str>,
    pub(super) names: HostNames,
    /// Events say how long calls took, where it is known.
    pub(super) times: bool,
}

impl FieldRegistry {
    /// An empty one. The name of the host is for `evt.hostname`.
    #[must_use]
    pub fn new(hostname: &str) -> Self {
        Self {
            used: RefCell::default(),
            hostname: hostname.into(),
        }
    }

    /// Finds the field `name`, `name[arg]`, or `evt.arg.name`, as a template or a rule has it.
    ///
    /// # Errors
    ///
    /// [`UnknownName`]: there is no such field, or its argument is missing or wrong. The reason is for the user.
    pub fn field(&self, name: &str, arg: Option<&str>) -> Result<FieldId, UnknownName> {
        self.resolve(name, arg).map(|field| FieldId(field.id))
    }

    /// The name of a field, with its argument, as rules have it.
    #[must_use]
    pub fn name(&self, id: FieldId) -> Box<str> {
        let used = self.used.borrow();
        let Some(used) = usize::try_from(id.0).ok().and_then(|at| used.get(at)) else {
            return Box::default();
        };
        match (&used.written, used.def.arg) {
            (Some(arg), ArgRule::Param) => format!("{}.{arg}", used.def.name).into(),
            (Some(arg), _) => format!("{}[{arg}]", used.def.name).into(),
            (None, _) => used.def.name.into(),
        }
    }

    /// The fields that were asked for up to now.
    #[must_use]
    pub fn fields(&self) -> Fields {
        Fields {
            used: self.used.borrow().as_slice().into(),
            hostname: self.hostname.clone(),
            names: HostNames::default(),
            times: false,
        }
    }

    /// Whether a field was asked for that needs to know how long calls take
    /// ([`Selection::with_times`](driver_api::selection::Selection::with_times)).
    #[must_use]
    pub fn needs_times(&self) -> bool {
        self.used.borrow().iter().any(|used| used.def.times)
    }
}

impl FieldResolver for FieldRegistry {
    fn resolve(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, UnknownName> {
        let (name, arg) = split_param(name, arg);
        let Some(def) = FIELDS.iter().find(|def| def.name == name) else {
            let known = FIELDS.iter().map(|def| def.name);
            return Err(UnknownName::new(format!(
                "there is no field `{name}`{}",
                did_you_mean(name, known)
            )));
        };
        let parsed = Arg::parse(def, arg)?;
        let never = def.never || parsed.is_nowhere();
        let mut used = self.used.borrow_mut();
        let same = |used: &Used| std::ptr::eq(used.def, def) && used.written.as_deref() == arg;
        let at = used.iter().position(same).unwrap_or_else(|| {
            used.push(Used {
                def,
                written: arg.map(Box::from),
                arg: parsed,
            });
            used.len() - 1
        });
        let field = ResolvedField::new(u32::try_from(at).unwrap_or(u32::MAX), def.kind);
        let field = match def.implies {
            Some(_) => field.selects(),
            None => field,
        };
        let field = if never { field.never() } else { field };
        Ok(match def.many {
            Many::Either => field.either(),
            Many::Any if arg.is_none() => field.any(),
            Many::List if arg.is_none() => field.list(),
            Many::One | Many::Any | Many::List => field,
        })
    }

    fn event_type(&self, name: &str) -> Result<u32, UnknownName> {
        let found = call_of_type(name)
            .map(|call| call.event_type().index())
            .or_else(|| {
                let others = OTHER_TYPES.iter().map(|(_, name)| *name);
                let at = others
                    .chain(NEVER.iter().copied())
                    .position(|known| known == name)?;
                Some(SYSCALLS.len() + at)
            });
        found.and_then(|at| u32::try_from(at).ok()).ok_or_else(|| {
            let calls = SYSCALLS.iter().map(|call| call.name);
            let names = calls.chain(OTHER_TYPES.iter().map(|(_, name)| *name));
            UnknownName::new(format!(
                "there is no event type `{name}`{}",
                did_you_mean(name, names)
            ))
        })
    }
}

/// The calls whose events have this type, by a call's name or by Falco's.
pub fn calls_of_type(name: &str) -> impl Iterator<Item = &'static Syscall> {
    table::of_type(own_name(name))
}

/// The call with this name, or the name that Falco gives to its events.
pub(super) fn call_of_type(name: &str) -> Option<&'static Syscall> {
    table::by_name(own_name(name))
}

/// The name of the call that Falco calls `name`.
fn own_name(name: &str) -> &str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, call)| call)
}

/// Names that Falco gives to the events of calls, and the names of the calls.
const ALIASES: &[(&str, &str)] = &[
    ("pread", "pread64"),
    ("pwrite", "pwrite64"),
    ("prlimit", "prlimit64"),
    ("llseek", "_llseek"),
];

/// Event types of Falco that lanner never sees: its own reports, those of its plugins, its tracepoints, and calls of other
/// architectures. Rules may name them.
const NEVER: &[&str] = &[
    "container",
    "switch",
    "pluginevent",
    "asyncevent",
    "useradded",
    "userdeleted",
    "groupadded",
    "groupdeleted",
    "procinfo",
    "page_fault",
    "notification",
    "infra",
    "k8s",
    "mesos",
    "tracer",
    "cpu_hotplug",
    "scapevent",
    "NA",
    "syscall",
    "sched_process_exit",
    "sched_switch",
    "signal_deliver",
    "page_fault_user",
    "page_fault_kernel",
    "task",
    "task_file_anon_inode",
    "task_file_directory",
    "task_file_memfd",
    "task_file_pipe",
    "task_file_regular",
    "task_file_socket_inet",
    "task_file_socket_inet6",
    "task_file_socket_netlink",
    "task_file_socket_unix",
    "multiplexer",
    "timerfd",
    "riscv_flush_icache",
    "riscv_hwprobe",
    "s390_guarded_storage",
    "s390_pci_mmio_read",
    "s390_pci_mmio_write",
    "s390_runtime_instr",
    "s390_sthyi",
    "rtas",
    "spu_create",
    "spu_run",
    "subpage_prot",
    "swapcontext",
    "switch_endian",
    "sys_debug_setcontext",
];

impl Fields {
    /// With the names that addresses have.
    #[must_use]
    pub fn with_names(self, names: HostNames) -> Self {
        Self { names, ..self }
    }

    /// For events that say how long calls took, where it is known, or do not.
    #[must_use]
    pub fn with_times(self, times: bool) -> Self {
        Self { times, ..self }
    }

    /// Whether events say how long calls took, where it is known.
    #[must_use]
    pub fn times(&self) -> bool {
        self.times
    }

    /// Whether the value comes from the container's runtime, and so may arrive later than the event.
    #[must_use]
    pub fn is_late(&self, field: FieldId) -> bool {
        self.row(field.0)
            .is_some_and(|used| used.def.late.is_some())
    }

    /// The value of a field that [`is_late`](Self::is_late), from what is known of the container now.
    #[must_use]
    pub fn late<'a>(
        &self,
        field: FieldId,
        container: &'a Container,
        scratch: &'a Scratch,
    ) -> Value<'a> {
        let used = self.row(field.0);
        used.and_then(|used| Some((used.def.late?)(container, &used.arg, scratch)))
            .unwrap_or(Value::None)
    }

    fn row(&self, id: u32) -> Option<&Used> {
        usize::try_from(id).ok().and_then(|at| self.used.get(at))
    }

    pub(super) fn get<'a>(&self, view: &View<'a>, id: u32) -> Value<'a> {
        let used = usize::try_from(id).ok().and_then(|at| self.used.get(at));
        used.map_or(Value::None, |used| (used.def.get)(view, &used.arg))
    }
}

/// `evt.arg.flags` is `evt.arg[flags]`. Falco also writes `thread.cgroup.cpu` and `evt.type.is.open`.
pub(super) fn split_param<'a>(name: &'a str, arg: Option<&'a str>) -> (&'a str, Option<&'a str>) {
    let dotted = |def: &&FieldDef| {
        def.arg == ArgRule::Param || matches!(def.name, "thread.cgroup" | "evt.type.is")
    };
    if arg.is_none() {
        for def in FIELDS.iter().filter(dotted) {
            if let Some(arg) = name
                .strip_prefix(def.name)
                .and_then(|rest| rest.strip_prefix('.'))
            {
                return (def.name, Some(arg));
            }
        }
    }
    (name, arg)
}

/// Events that are no calls, under Falco's names where Falco has them.
const OTHER_TYPES: &[(EventKind, &str)] = &[
    (EventKind::Fork, "procstart"),
    (EventKind::Exit, "procexit"),
    (EventKind::Signal, "signaldeliver"),
    (EventKind::Lost, "drop"),
];

/// The number of an event's type: a call's place in the table, then events of other kinds.
#[must_use]
pub fn event_type_of(event: &Event<'_>, seen: &Seen) -> u32 {
    let at = seen.call.map_or_else(
        || {
            let kind = event.kind();
            let other = OTHER_TYPES.iter().position(|(other, _)| *other == kind);
            other.map_or(table::unknown().index(), |at| SYSCALLS.len() + at)
        },
        |call| call.event_type().index(),
    );
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The name of an event's type.
#[must_use]
pub fn event_type_name(event: &Event<'_>, seen: &Seen) -> &'static str {
    seen.call.map_or_else(
        || {
            let other = OTHER_TYPES.iter().find(|(kind, _)| *kind == event.kind());
            other.map_or("unknown", |(_, name)| name)
        },
        |call| call.event_type().name,
    )
}
