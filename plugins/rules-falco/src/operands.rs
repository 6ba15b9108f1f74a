//! Fields, transformers and comparisons of two fields that lanner takes and Falco refuses: they become notes, and errors with
//! the setting `strict_falco`. The facts are those of Falco's own tables of fields.

use lanner_plugin::{FieldKind, Term, Transformer};

use crate::ast::{Check, FieldRef, Operand};
use crate::compile::Names;
use crate::operators::Predicate;
use crate::source::{Location, Problem, code};
use crate::text_matcher::Pattern;

/// Fields that Falco compares with constants only, and that its transformers of one value do not take.
const CONSTANTS_ONLY: &[&str] = &[
    "evt.rawarg",
    "fd.ip",
    "fd.port",
    "fd.proto",
    "fd.net",
    "fd.cnet",
    "fd.snet",
    "fd.lnet",
    "fd.rnet",
    "fd.cip.name",
    "fd.sip.name",
    "fd.lip.name",
    "fd.rip.name",
    "proc.aname",
    "proc.aexe",
    "proc.aexepath",
    "proc.acmdline",
    "proc.aenv",
    "proc.apid",
];

/// The type of a value in Falco, where only equal types can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Usual(FieldKind),
    Count,
    Interval,
    Time,
    Port,
    Network,
    Cpu,
    Device,
}

/// The fields whose type is another one in Falco than the usual one of its kind.
const UNUSUAL: &[(Type, &[&str])] = &[
    (
        Type::Count,
        &[
            "evt.type.is",
            "evt.count",
            "evt.count.error",
            "evt.count.error.file",
            "evt.count.error.net",
            "evt.count.error.memory",
            "evt.count.error.other",
            "evt.count.exit",
            "evt.count.procinfo",
            "evt.count.threadinfo",
            "proc.tty",
            "user.uid",
            "group.gid",
        ],
    ),
    (
        Type::Interval,
        &[
            "evt.reltime",
            "evt.reltime.s",
            "evt.reltime.ns",
            "evt.deltatime",
            "evt.deltatime.s",
            "evt.deltatime.ns",
            "evt.latency",
            "evt.latency.s",
            "evt.latency.ns",
            "evt.wait_latency",
            "proc.duration",
            "proc.ppid.duration",
            "proc.pid.ts",
            "proc.ppid.ts",
            "thread.exectime",
            "thread.totexectime",
        ],
    ),
    (
        Type::Time,
        &[
            "evt.rawtime",
            "evt.rawtime.s",
            "evt.rawtime.ns",
            "proc.exe_ino.ctime",
            "proc.exe_ino.mtime",
            "proc.exe_ino.ctime_duration_proc_start",
            "proc.exe_ino.ctime_duration_pidns_start",
        ],
    ),
    (
        Type::Port,
        &[
            "fd.port", "fd.cport", "fd.sport", "fd.lport", "fd.rport", "fd.proto",
        ],
    ),
    (
        Type::Network,
        &["fd.net", "fd.cnet", "fd.snet", "fd.lnet", "fd.rnet"],
    ),
    (Type::Cpu, &["evt.cpu"]),
    (Type::Device, &["fd.dev", "fd.dev.major", "fd.dev.minor"]),
];

/// Notes on an operand of a check, or in an output (`code` says which).
pub(crate) fn of_operand<N: Names>(
    names: &N,
    operand: &Operand,
    code: &'static str,
) -> Vec<Problem> {
    let mut notes = Vec::new();
    of_term(names, &operand.term, &mut |message| {
        notes.push(Problem::refused_by_falco(code, &operand.place, message));
    });
    notes
}

/// Notes on a check that compares two fields.
pub(crate) fn of_comparison<N: Names>(names: &N, check: &Check, right: &Operand) -> Vec<Problem> {
    let mut notes = Vec::new();
    let mut refused = |place: &Location, message: String| {
        notes.push(Problem::refused_by_falco(code::CONDITION, place, message));
    };
    for side in [&check.left, right] {
        if let Some(field) = field_of(&side.term).filter(|field| is_one_of(field, CONSTANTS_ONLY)) {
            let message = format!("Falco compares `{field}` with constants only");
            refused(&side.place, message);
        }
    }
    if check.op.predicate() == Predicate::Pattern(Pattern::PathPrefix) {
        let message = "Falco's `pmatch` takes constants only".to_owned();
        refused(&right.place, message);
    }
    let types = [&check.left.term, &right.term].map(|term| type_of(names, term));
    if let [Some(left), Some(other)] = types
        && left != other
    {
        let message = format!(
            "for Falco, `{}` and `{right}` are of different types",
            check.left
        );
        refused(&right.place, message);
    }
    notes
}

fn is_one_of(field: &FieldRef, names: &[&str]) -> bool {
    names.contains(&field.name.as_str())
}

/// The field of an operand that is a field, or `val` of one.
fn field_of(term: &Term<FieldRef>) -> Option<&FieldRef> {
    match term {
        Term::Field(field) => Some(field),
        Term::Call(Transformer::Val, args, _) => args.first().and_then(field_of),
        Term::Text(_) | Term::List(_) | Term::Call(..) => None,
    }
}

fn of_term<N: Names>(names: &N, term: &Term<FieldRef>, refused: &mut impl FnMut(String)) {
    let Term::Call(transformer, args, option) = term else {
        if let Term::List(elements) = term {
            for element in elements {
                of_term(names, element, refused);
            }
        }
        return;
    };
    for arg in args {
        of_term(names, arg, refused);
    }
    let name = transformer.name();
    match transformer {
        Transformer::Val => {
            if args
                .first()
                .is_some_and(|arg| !matches!(arg, Term::Field(_)))
            {
                refused("Falco's `val` takes a field only".to_owned());
            }
        }
        Transformer::Lower
        | Transformer::Upper
        | Transformer::Base64
        | Transformer::Basename
        | Transformer::Len => {
            for field in args.iter().filter_map(field_of) {
                if is_one_of(field, CONSTANTS_ONLY) {
                    refused(format!("Falco's `{name}` does not take `{field}`"));
                }
            }
        }
        Transformer::Join => {
            if args.first().is_some_and(|arg| is_list(names, arg)) {
                refused("Falco's `join` takes the separator first".to_owned());
            }
        }
        Transformer::Concat => {
            if args.len() < 2 {
                refused("Falco's `concat` takes two values or more".to_owned());
            }
            let text = Type::Usual(FieldKind::String);
            if args
                .iter()
                .any(|arg| type_of(names, arg).is_some_and(|found| found != text))
            {
                refused("Falco's `concat` takes texts only".to_owned());
            }
        }
        Transformer::Getopt => {
            if args.first().is_some_and(|arg| !is_list(names, arg)) {
                refused("Falco's `getopt` takes a list of words only".to_owned());
            }
            if option
                .as_ref()
                .is_some_and(|option| option.chars().count() != 1)
            {
                refused("Falco's `getopt` has options of one letter only".to_owned());
            }
        }
    }
}

fn is_list<N: Names>(names: &N, term: &Term<FieldRef>) -> bool {
    match term {
        Term::List(_) => true,
        Term::Text(_) => false,
        Term::Field(field) => {
            let found = names.field(&field.name, field.arg.as_deref());
            found.is_ok_and(|found| found.list || found.any)
        }
        Term::Call(transformer, args, option) => match transformer {
            Transformer::Getopt => option.is_none(),
            Transformer::Len | Transformer::Join | Transformer::Concat => false,
            Transformer::Val
            | Transformer::Lower
            | Transformer::Upper
            | Transformer::Base64
            | Transformer::Basename => args.first().is_some_and(|arg| is_list(names, arg)),
        },
    }
}

/// The type of a value in Falco. None: it is not known, or differs from event to event.
fn type_of<N: Names>(names: &N, term: &Term<FieldRef>) -> Option<Type> {
    match term {
        Term::Field(field) => {
            let unusual = UNUSUAL.iter().find(|(_, names)| is_one_of(field, names));
            if let Some((found, _)) = unusual {
                return Some(*found);
            }
            let found = names.field(&field.name, field.arg.as_deref()).ok()?;
            (found.kind != FieldKind::Any).then_some(Type::Usual(found.kind))
        }
        Term::Text(_) | Term::List(_) => Some(Type::Usual(FieldKind::String)),
        Term::Call(transformer, args, _) => match transformer {
            Transformer::Len => Some(Type::Usual(FieldKind::U64)),
            Transformer::Join | Transformer::Concat | Transformer::Getopt => {
                Some(Type::Usual(FieldKind::String))
            }
            Transformer::Val
            | Transformer::Lower
            | Transformer::Upper
            | Transformer::Base64
            | Transformer::Basename => args.first().and_then(|arg| type_of(names, arg)),
        },
    }
}
