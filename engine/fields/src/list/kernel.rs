//! Rows of `kernel.*`: beyond Falco.

use lanner_plugin::FieldKind::{Bool, Ip, String as Text, U64};

use super::super::kernel;
use super::super::row::FieldDef;

use FieldDef as F;

pub(super) const KERNEL: &[FieldDef] = &[
    F::new(
        "kernel.path",
        Text,
        "Path of the file behind the descriptor that was opened, from the kernel: no link, no `..`. Another thread \
         can put another file behind the descriptor before it is looked at, but cannot change the path.",
        |v, _| kernel::path(v),
    ),
    F::new(
        "kernel.path_differs",
        Bool,
        "The file that was opened is another one than the letters of the path say: there is a link in it, or it was changed in time.",
        |v, _| kernel::path_differs(v),
    ),
    F::new(
        "kernel.exepath",
        Text,
        "Path of the new program, from the kernel; for exec.",
        |v, _| kernel::exe(v),
    ),
    F::new(
        "kernel.exe_differs",
        Bool,
        "The new program is another file than exec was called with: a script's interpreter, a link, or it was changed in time.",
        |v, _| kernel::exe_differs(v),
    ),
    F::new(
        "kernel.args_differ",
        Bool,
        "The new program has other arguments than exec was called with: those of a script's interpreter, or they were changed in time.",
        |v, _| kernel::args_differ(v),
    ),
    F::new(
        "kernel.rip",
        Ip,
        "Remote address of the socket, from the kernel.",
        |v, _| kernel::remote_ip(v),
    ),
    F::new(
        "kernel.rport",
        U64,
        "Remote port of the socket, from the kernel.",
        |v, _| kernel::remote_port(v),
    ),
    F::new(
        "kernel.remote_differs",
        Bool,
        "The socket was connected to another end than the call was given: it is redirected, or the address was changed in time.",
        |v, _| kernel::remote_differs(v),
    ),
];
