//! Rows of `target.*`: beyond Falco.

use lanner_plugin::FieldKind::{I64, String as Text};

use super::super::row::FieldDef;
use super::super::{process, target};

use FieldDef as F;

pub(super) const TARGET: &[FieldDef] = &[
    F::new(
        "target.pid",
        I64,
        "Id of the process that the call acts on: of a signal, of ptrace, of a pidfd, of the signals of a descriptor, of a file below /proc/PID. Of a group, its leader.",
        |v, _| process::number(target::pid(v)),
    ),
    F::new(
        "target.name",
        Text,
        "Name of the process that the call acts on.",
        |v, _| target::process(v, process::name),
    ),
    F::new(
        "target.exepath",
        Text,
        "Path of the executable of the process that the call acts on.",
        |v, _| target::process(v, process::exe_path),
    ),
];
