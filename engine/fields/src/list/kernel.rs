//! Rows of `kernel.*`, which Falco does not have.

use lanner_plugin::FieldKind::{Bool, Ip, String as Text, U64};

use super::super::row::{ArgRule, FieldDef};
use super::super::{argument, kernel};

use FieldDef as F;

pub(super) const KERNEL: &[FieldDef] = &[
    F::new(
        "kernel.arg",
        Text,
        "A parameter as `evt.arg`, with the kernel's names where Falco has a number: \
         `SOCK_RAW|SOCK_CLOEXEC` as `kernel.arg.type` of socket(2).",
        argument::decoded,
    )
    .arg(ArgRule::Param),
    F::new(
        "kernel.path",
        Text,
        "Path of the file behind the descriptor that the call returned, from the kernel: without symbolic links and `..`. It is looked up when the call returns: by then, another thread can have put another file behind the descriptor.",
        |v, _| kernel::path(v),
    ),
    F::new(
        "kernel.path_differs",
        Bool,
        "The file that was opened has another path than the one that the program passed: there is a symbolic link in the path, the program changed the path during the call, or another thread put another file behind the descriptor.",
        |v, _| kernel::path_differs(v),
    ),
    F::new(
        "kernel.path_in_doubt",
        Bool,
        "The file behind the descriptor may be another one than the call opened: other threads or processes share the descriptors, and the file is neither at the path that the program passed nor where that path leads now. A thread that also changes the path in memory leaves no doubt.",
        |v, _| kernel::path_in_doubt(v),
    ),
    F::new(
        "kernel.exepath",
        Text,
        "Path of the new program, from the kernel; for exec events.",
        |v, _| kernel::exe(v),
    ),
    F::new(
        "kernel.exe_differs",
        Bool,
        "The new program is another file than the path in the call says: a script's interpreter, the target of a link, or the program changed the path during the call.",
        |v, _| kernel::exe_differs(v),
    ),
    F::new(
        "kernel.args_differ",
        Bool,
        "The new program has other arguments than the call: those of a script's interpreter, or the program changed them during the call.",
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
        "The socket is connected to another address than the one in the call: the connection is redirected, or the program changed the address during the call.",
        |v, _| kernel::remote_differs(v),
    ),
];
