//! The list of fields. A row: name, type, meaning, function; then what is special about it.

use crate::plugin_host::FieldKind::{Any, Bool, Bytes, I64, Ip, String as Text, U64};
use crate::plugin_host::Value;

use super::argument;
use super::path::{Which, path};
use super::row::{ArgRule, FieldDef, Many};
use super::{descriptor as fd, event as evt, process as proc, time};
use crate::inspect::Socket;

use FieldDef as F;

/// Every field, by class.
pub const FIELDS: &[FieldDef] = &[
    F::new("evt.num", U64, "Number of the event, counted from 1.", |v, _| {
        Value::U64(v.seen.number)
    }),
    F::new("evt.time", Text, "Local time of day, to the nanosecond.", |v, _| {
        evt::time_text(v, time::clock)
    }),
    F::new("evt.time.s", Text, "Local time of day, to the second.", |v, _| {
        evt::time_text(v, time::clock_s)
    }),
    F::new("evt.time.iso8601", Text, "Date and time in UTC, in the form of ISO 8601.", |v, _| {
        evt::iso8601(v)
    }),
    F::new("evt.datetime", Text, "Local date and time, to the nanosecond.", |v, _| {
        evt::time_text(v, time::date)
    }),
    F::new("evt.datetime.s", Text, "Local date and time, to the second.", |v, _| {
        evt::time_text(v, time::date_s)
    }),
    F::new("evt.rawtime", U64, "Nanoseconds since the epoch.", |v, _| Value::U64(v.seen.time_ns)),
    F::new("evt.rawtime.s", U64, "Seconds since the epoch.", |v, _| {
        Value::U64(v.seen.time_ns / 1_000_000_000)
    }),
    F::new("evt.rawtime.ns", U64, "The nanoseconds within the second.", |v, _| {
        Value::U64(v.seen.time_ns % 1_000_000_000)
    }),
    F::new("evt.source", Text, "Where events come from: `syscall`.", |_, _| {
        Value::String(b"syscall")
    }),
    F::new("evt.hostname", Text, "Name of this host.", |v, _| {
        Value::String(v.fields.hostname.as_bytes())
    }),
    F::new(
        "evt.type",
        Text,
        "Name of the call, as `openat`; or `procstart`, `procexit`, `signaldeliver`, `drop`.",
        |v, _| evt::type_name(v),
    ),
    F::new("syscall.type", Text, "Name of the call; nothing for other events.", |v, _| {
        v.seen.call.map_or(Value::None, |call| Value::String(call.name.as_bytes()))
    }),
    F::new("evt.dir", Text, "Always `<`: events are those of calls that have returned.", |_, _| {
        Value::String(b"<")
    })
    .deprecated(),
    F::new(
        "evt.category",
        Text,
        "What the call is about: file, net, process, ...; reading and writing go by the descriptor.",
        |v, _| evt::category(v),
    ),
    F::new("evt.cpu", I64, "The CPU on which it happened.", |v, _| {
        Value::I64(v.event.header().cpu.into())
    }),
    F::new("evt.args", Text, "Result and parameters, `name=value` each.", |v, _| evt::args(v)),
    F::new("evt.info", Text, "The same as `evt.args`.", |v, _| evt::args(v)),
    F::new(
        "evt.arg",
        Text,
        "A parameter as text, by its name (`evt.arg.flags`, `evt.arg[flags]`) or number: 0 is the \
         result, 1 the first parameter. `res` is the result; names of facts are what the kernel did.",
        argument::arg,
    )
    .arg(ArgRule::Param),
    F::new("evt.rawarg", Any, "A parameter as it is: a number where it is one.", argument::raw)
        .arg(ArgRule::Param),
    F::new("evt.res", Text, "`SUCCESS`, or the name of the error.", |v, _| evt::result(v)),
    F::new("evt.rawres", I64, "The return value; negative for errors.", |v, _| {
        evt::raw_result(v)
    }),
    F::new("evt.failed", Bool, "Whether the call returned an error.", |v, _| evt::failed(v)),
    F::new("evt.buffer", Bytes, "What was read, written, sent or received.", |v, _| {
        evt::buffer(v)
    }),
    F::new("evt.is_open_read", Bool, "A file is opened for reading.", |v, _| {
        evt::is_open_read(v)
    }),
    F::new("evt.is_open_write", Bool, "A file is opened for writing.", |v, _| {
        evt::is_open_write(v)
    }),
    F::new(
        "evt.is_open_exec",
        Bool,
        "A file is opened that, if it is created, can be executed.",
        |v, _| evt::is_open_exec(v),
    ),
    F::new(
        "evt.is_open_create",
        Bool,
        "A file was opened, and created if it did not exist.",
        |v, _| evt::is_open_create(v),
    ),
    F::new("proc.name", Text, "Name of the thread that made the call (comm).", |v, _| {
        proc::thread_name(v)
    }),
    F::new("proc.pname", Text, "Name of the parent, also when that has ended.", |v, _| {
        proc::of_parent(v, proc::name)
    }),
    F::new(
        "proc.aname",
        Text,
        "Name of an ancestor: [0] the process, [1] its parent; without number, any ancestor.",
        |v, arg| proc::of_ancestors(v, arg, proc::name),
    )
    .arg(ArgRule::Index)
    .many(Many::Any),
    F::new("proc.exe", Text, "First argument (`argv[0]`).", |v, _| {
        proc::of_process(v, proc::exe)
    }),
    F::new("proc.pexe", Text, "First argument of the parent.", |v, _| {
        proc::of_parent(v, proc::exe)
    }),
    F::new("proc.aexe", Text, "First argument of an ancestor; see `proc.aname`.", |v, arg| {
        proc::of_ancestors(v, arg, proc::exe)
    })
    .arg(ArgRule::Index)
    .many(Many::Any),
    F::new("proc.exepath", Text, "Resolved path of the executable, from the kernel.", |v, _| {
        proc::of_process(v, proc::exe_path)
    }),
    F::new("proc.pexepath", Text, "Path of the parent's executable.", |v, _| {
        proc::of_parent(v, proc::exe_path)
    }),
    F::new("proc.aexepath", Text, "Path of an ancestor's executable; see `proc.aname`.", |v, arg| {
        proc::of_ancestors(v, arg, proc::exe_path)
    })
    .arg(ArgRule::Index)
    .many(Many::Any),
    F::new("proc.args", Text, "Arguments without the first, or one of them: [0] is `argv[1]`.", {
        |v, arg| v.known().map_or(Value::None, |process| proc::args(v, process, arg))
    })
    .arg(ArgRule::Index),
    F::new("proc.cmdline", Text, "Name and arguments.", |v, _| proc::thread_command_line(v)),
    F::new("proc.pcmdline", Text, "Name and arguments of the parent.", |v, _| {
        proc::of_parent(v, proc::command_line)
    }),
    F::new("proc.acmdline", Text, "Name and arguments of an ancestor; see `proc.aname`.", |v, arg| {
        proc::of_ancestors(v, arg, proc::command_line)
    })
    .arg(ArgRule::Index)
    .many(Many::Any),
    F::new("proc.exeline", Text, "First argument and arguments.", |v, _| {
        proc::of_process(v, proc::exe_line)
    }),
    F::new("proc.cmdnargs", U64, "How many arguments there are after the first.", |v, _| {
        proc::arg_count(v)
    }),
    F::new("proc.cmdlenargs", U64, "Bytes of the arguments after the first.", |v, _| {
        proc::arg_length(v)
    }),
    F::new("proc.env", Text, "Environment, or one variable: `proc.env[HOME]`.", |v, arg| {
        v.known().map_or(Value::None, |process| proc::env(v, process, arg))
    })
    .arg(ArgRule::Name),
    F::new("proc.cwd", Text, "Working directory.", |v, _| proc::cwd(v)),
    F::new("proc.loginshellid", I64, "Id of the oldest shell in the lineage.", |v, _| {
        proc::login_shell(v)
    }),
    F::new("proc.tty", U64, "Device number of the controlling terminal; 0: none.", |v, _| {
        proc::unsigned(v.known().map(|process| process.tty))
    }),
    F::new("proc.pid", I64, "Id of the process.", |v, _| proc::number(v.process().map(|p| p.pid))),
    F::new("proc.ppid", I64, "Id of the parent.", |v, _| proc::number(v.known().map(|p| p.ppid))),
    F::new("proc.apid", I64, "Id of an ancestor; see `proc.aname`.", |v, arg| {
        proc::of_ancestors(v, arg, |_, process| Value::I64(process.pid.into()))
    })
    .arg(ArgRule::Index)
    .many(Many::Any),
    F::new("proc.vpid", I64, "Id of the process in its own pid namespace.", |v, _| {
        proc::number(v.process().and_then(|process| process.vpid))
    }),
    F::new("proc.pvpid", I64, "Id of the parent in its own pid namespace.", |v, _| {
        proc::number(v.parent().and_then(|process| process.vpid))
    }),
    F::new("proc.sid", I64, "Id of the session.", |v, _| proc::number(v.known().map(|p| p.sid))),
    F::new("proc.sname", Text, "Name of the session's leader.", |v, _| {
        proc::of_leader(v, |p| p.sid, proc::name)
    }),
    F::new("proc.sid.exe", Text, "First argument of the session's leader.", |v, _| {
        proc::of_leader(v, |p| p.sid, proc::exe)
    }),
    F::new("proc.sid.exepath", Text, "Path of the session leader's executable.", |v, _| {
        proc::of_leader(v, |p| p.sid, proc::exe_path)
    }),
    F::new("proc.is_sid_leader", Bool, "The process leads its session.", |v, _| {
        v.known().map_or(Value::None, |p| Value::Bool(p.sid == p.pid))
    }),
    F::new("proc.pgid", I64, "Id of the process group.", |v, _| {
        proc::number(v.known().map(|p| p.pgid))
    }),
    F::new("proc.pgid.name", Text, "Name of the process group's leader.", |v, _| {
        proc::of_leader(v, |p| p.pgid, proc::name)
    }),
    F::new("proc.pgid.exe", Text, "First argument of the process group's leader.", |v, _| {
        proc::of_leader(v, |p| p.pgid, proc::exe)
    }),
    F::new("proc.pgid.exepath", Text, "Path of the group leader's executable.", |v, _| {
        proc::of_leader(v, |p| p.pgid, proc::exe_path)
    }),
    F::new("proc.is_pgid_leader", Bool, "The process leads its process group.", |v, _| {
        v.known().map_or(Value::None, |p| Value::Bool(p.pgid == p.pid))
    }),
    F::new("proc.duration", U64, "Nanoseconds since the process began.", |v, _| {
        proc::of_process(v, proc::age)
    }),
    F::new("proc.ppid.duration", U64, "Nanoseconds since the parent began.", |v, _| {
        proc::of_parent(v, proc::age)
    }),
    F::new("proc.pid.ts", U64, "When the process began, nanoseconds since the epoch.", |v, _| {
        proc::of_process(v, proc::start)
    }),
    F::new("proc.ppid.ts", U64, "When the parent began, nanoseconds since the epoch.", |v, _| {
        proc::of_parent(v, proc::start)
    }),
    F::new("proc.is_exe_from_memfd", Bool, "The executable is a memfd.", |v, _| {
        v.known().map_or(Value::None, |process| Value::Bool(process.memfd))
    }),
    F::new("proc.nthreads", U64, "How many threads the process has.", |v, _| {
        v.process().map_or(Value::None, |process| Value::U64(process.threads() as u64))
    }),
    F::new("proc.fdopencount", U64, "How many descriptors are known to be open.", |v, _| {
        let key = v.seen.process;
        key.map_or(Value::None, |key| Value::U64(v.inspector.descriptors(key).count() as u64))
    }),
    F::new("thread.tid", I64, "Id of the thread.", |v, _| {
        proc::number(v.process().map(|_| v.seen.tid))
    }),
    F::new("thread.ismain", Bool, "It is the process's first thread.", |v, _| {
        v.process().map_or(Value::None, |process| Value::Bool(process.pid == v.seen.tid))
    }),
    F::new("fd.num", I64, "Number of the descriptor that the call is about.", |v, _| fd::fd(v)),
    F::new(
        "fd.name",
        Text,
        "Path of the file, from the kernel where the driver has it; `client:port->server:port` of a \
         socket. A failed open has the path that it asked for.",
        |v, _| fd::name(v),
    ),
    F::new("fd.nameraw", Text, "Path of the file as the program said it.", |v, _| fd::raw_name(v)),
    F::new("fd.directory", Text, "Directory of the file.", |v, _| fd::directory(v)),
    F::new("fd.filename", Text, "Name of the file without its directory.", |v, _| {
        fd::file_name(v)
    }),
    F::new("fd.type", Text, "Type of the descriptor: file, directory, ipv4, pipe, ...", |v, _| {
        fd::type_name(v)
    }),
    F::new("fd.typechar", Text, "Type of the descriptor, one letter: f, d, 4, p, ...", |v, _| {
        fd::type_letter(v)
    }),
    F::new("fd.types", Text, "Types of all open descriptors, or of one: `fd.types[0]`.", {
        fd::types
    })
    .arg(ArgRule::Index)
    .many(Many::List),
    F::new("fd.ip", Ip, "Address of either end.", |v, _| fd::both_ips(v)).many(Many::Either),
    F::new("fd.cip", Ip, "Address of the client.", |v, _| fd::ip(v, Socket::client)),
    F::new("fd.sip", Ip, "Address of the server.", |v, _| fd::ip(v, Socket::server)),
    F::new("fd.lip", Ip, "Local address.", |v, _| fd::ip(v, fd::local)),
    F::new("fd.rip", Ip, "Remote address.", |v, _| fd::ip(v, fd::remote)),
    F::new("fd.net", Ip, "Address of either end, to compare with a network.", |v, _| {
        fd::both_ips(v)
    })
    .many(Many::Either),
    F::new("fd.cnet", Ip, "Address of the client, to compare with a network.", |v, _| {
        fd::ip(v, Socket::client)
    }),
    F::new("fd.snet", Ip, "Address of the server, to compare with a network.", |v, _| {
        fd::ip(v, Socket::server)
    }),
    F::new("fd.lnet", Ip, "Local address, to compare with a network.", |v, _| {
        fd::ip(v, fd::local)
    }),
    F::new("fd.rnet", Ip, "Remote address, to compare with a network.", |v, _| {
        fd::ip(v, fd::remote)
    }),
    F::new("fd.port", U64, "Port of either end.", |v, _| fd::both_ports(v)).many(Many::Either),
    F::new("fd.cport", U64, "Port of the client.", |v, _| fd::port(v, Socket::client)),
    F::new("fd.sport", U64, "Port of the server.", |v, _| fd::port(v, Socket::server)),
    F::new("fd.lport", U64, "Local port.", |v, _| fd::port(v, fd::local)),
    F::new("fd.rport", U64, "Remote port.", |v, _| fd::port(v, fd::remote)),
    F::new("fd.l4proto", Text, "tcp, udp, icmp or raw.", |v, _| fd::protocol(v)),
    F::new("fd.sockfamily", Text, "`ip` or `unix`.", |v, _| fd::family(v)),
    F::new("fd.is_server", Bool, "The process is the server of the connection.", |v, _| {
        fd::is_server(v)
    }),
    F::new(
        "fs.path.name",
        Text,
        "Path that a successful call acted on, made absolute by its letters.",
        |v, _| path(v, Which::Name, false),
    ),
    F::new("fs.path.nameraw", Text, "The same, as the program said it.", |v, _| {
        path(v, Which::Name, true)
    }),
    F::new(
        "fs.path.source",
        Text,
        "What was renamed or mounted; of links, the link.",
        |v, _| path(v, Which::Source, false),
    ),
    F::new("fs.path.sourceraw", Text, "The same, as the program said it.", |v, _| {
        path(v, Which::Source, true)
    }),
    F::new(
        "fs.path.target",
        Text,
        "What it was renamed to, or mounted on; of links, what they lead to.",
        |v, _| path(v, Which::Target, false),
    ),
    F::new("fs.path.targetraw", Text, "The same, as the program said it.", |v, _| {
        path(v, Which::Target, true)
    }),
    F::new("user.uid", U64, "Effective id of the user.", |v, _| proc::unsigned(proc::uid(v))),
    F::new("user.name", Text, "Name of the user, from /etc/passwd.", |v, _| {
        proc::user(v, |user| &user.name)
    }),
    F::new("user.homedir", Text, "Home directory of the user.", |v, _| {
        proc::user(v, |user| &user.home)
    }),
    F::new("user.shell", Text, "Login shell of the user.", |v, _| {
        proc::user(v, |user| &user.shell)
    }),
    F::new("user.loginuid", I64, "Id of the user who logged in; -1: nobody did.", |v, _| {
        proc::login_id(v)
    }),
    F::new("user.loginname", Text, "Name of the user who logged in.", |v, _| {
        proc::login_name(v)
    }),
    F::new("group.gid", U64, "Effective id of the group.", |v, _| proc::unsigned(proc::gid(v))),
    F::new("group.name", Text, "Name of the group, from /etc/group.", |v, _| {
        proc::group_name(v)
    }),
];
