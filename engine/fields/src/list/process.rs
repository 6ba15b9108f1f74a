//! Rows of `proc.*` and `thread.*`.

use driver_api::event::Layer;
use lanner_plugin::FieldKind::{Bool, F64, I64, String as Text, U64};
use lanner_plugin::Value;
use proc_pid::Field;

use super::super::argument::Arg;
use super::super::row::{ArgRule, FieldDef, Many};
use super::super::{ask, process as proc};

use FieldDef as F;

pub(super) const PROCESS: &[FieldDef] = &[
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
    F::new("proc.args", Text, "Arguments without the first, or one of them: [0] is `argv[1]`. An empty text if there is no such argument.", {
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
    F::new("proc.env", Text, "Environment, or one variable: `proc.env[HOME]`. An empty text if there is no such variable.", |v, arg| {
        v.known().map_or(Value::None, |process| proc::env(v, process, arg))
    })
    .arg(ArgRule::Name),
    F::new("proc.cwd", Text, "Working directory, with a slash at its end.", |v, _| proc::cwd(v)),
    F::new("proc.loginshellid", I64, "Id of the oldest shell in the lineage.", |v, _| {
        proc::login_shell(v)
    }),
    F::new("proc.tty", U64, "Device number of the controlling terminal; 0: none.", |v, _| {
        proc::unsigned(proc::tty(v))
    }),
    F::new("proc.pid", I64, "Id of the process.", |v, _| proc::number(v.process().map(|p| p.pid))),
    F::new("proc.ppid", I64, "Id of the parent, who may have adopted the process.", |v, _| {
        proc::number(v.known().map(|process| v.inspector.parent_pid(process)))
    }),
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
    F::new("proc.sid", I64, "Id of the session.", |v, _| proc::number(proc::group(v, |p| p.sid))),
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
        proc::leads(v, |p| p.sid)
    }),
    F::new("proc.pgid", I64, "Id of the process group.", |v, _| {
        proc::number(proc::group(v, |p| p.pgid))
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
        proc::leads(v, |p| p.pgid)
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
        proc::open_count(v).map_or(Value::None, |count| Value::U64(count as u64))
    }),
    F::new("thread.tid", I64, "Id of the thread.", |v, _| {
        // a capture file may have events of threads without saying which process they are of
        proc::number((v.process().is_some() || v.seen.tid != 0).then_some(v.seen.tid))
    }),
    F::new("thread.nametid", Text, "Name and id of the thread, with nothing between them: `cat22`.", |v, _| {
        proc::thread_name_and_id(v)
    }),
    F::new("thread.ismain", Bool, "It is the process's first thread.", |v, _| {
        v.process().map_or(Value::None, |process| Value::Bool(process.pid == v.seen.tid))
    }),
    F::new("proc.aargs", Text, "Arguments of an ancestor; see `proc.aname`.", |v, arg| {
        proc::of_ancestors(v, arg, proc::all_args)
    })
    .arg(ArgRule::Index)
    .many(Many::Any),
    F::new("proc.aenv", Text, "Environment of an ancestor; see `proc.aname`. With the name of a variable: that of the nearest ancestor that has it.", |v, arg| {
        proc::ancestor_env(v, arg)
    })
    .arg(ArgRule::IndexOrName)
    .many(Many::Any),
    F::new("proc.vpgid", I64, "Id of the process group in the pid namespace of the process.", |v, _| proc::number(ask::virtual_group(v))),
    F::new("proc.vpgid.name", Text, "Name of the process group's leader.", |v, _| {
        proc::of_leader(v, |p| p.pgid, proc::name)
    }),
    F::new("proc.vpgid.exe", Text, "First argument of the process group's leader.", |v, _| {
        proc::of_leader(v, |p| p.pgid, proc::exe)
    }),
    F::new("proc.vpgid.exepath", Text, "Path of the group leader's executable.", |v, _| {
        proc::of_leader(v, |p| p.pgid, proc::exe_path)
    }),
    F::new("proc.is_vpgid_leader", Bool, "The process leads its process group.", |v, _| proc::is_virtual_group_leader(v)),
    F::new("proc.is_exe_writable", Bool, "Whoever runs the executable may write to its file, by owner, group and mode.", |v, _| proc::is_exe_writable(v)),
    F::new("proc.is_exe_upper_layer", Bool, "The executable is in the upper layer of its overlay file system: not of the container's image.", |v, _| ask::program_layer(v, Layer::Upper)),
    F::new("proc.is_exe_lower_layer", Bool, "The executable is in a lower layer of its overlay file system: of the container's image.", |v, _| ask::program_layer(v, Layer::Lower)),
    F::new("proc.exe_flags", Text, "What is to be known of the executable: EXE_WRITABLE, EXE_UPPER_LAYER, EXE_LOWER_LAYER, EXE_FROM_MEMFD; `evt.arg.flags` of execve.", |v, _| proc::exe_flags(v)),
    F::new("proc.exe_ino", I64, "Inode of the executable's file.", |v, _| {
        proc::number(proc::file(v).map(|file| file.inode.cast_signed()))
    }),
    F::new("proc.exe_ino.ctime", U64, "When the executable's inode was changed, nanoseconds since the epoch.", |v, _| {
        proc::file(v).map_or(Value::None, |file| Value::U64(file.ctime_ns))
    }),
    F::new("proc.exe_ino.mtime", U64, "When the executable's contents were changed, nanoseconds since the epoch.", |v, _| {
        proc::file(v).map_or(Value::None, |file| Value::U64(file.mtime_ns))
    }),
    F::new("proc.exe_ino.ctime_duration_proc_start", U64, "Nanoseconds from the last change of the executable's inode to the beginning of the process.", |v, _| {
        proc::between(proc::file(v).map(|file| file.ctime_ns), proc::start_ns(v))
    }),
    F::new("proc.exe_ino.ctime_duration_pidns_start", U64, "Nanoseconds from the beginning of the pid namespace to the last change of the executable's inode.", |v, _| {
        proc::between(proc::namespace_start(v), proc::file(v).map(|file| file.ctime_ns))
    }),
    F::new("proc.pidns_init_start_ts", U64, "When the first process of the pid namespace began, nanoseconds since the epoch.", |v, _| {
        proc::namespace_start(v).map_or(Value::None, Value::U64)
    }),
    F::new("proc.fdlimit", I64, "How many descriptors the process may have (RLIMIT_NOFILE).", |v, _| ask::descriptor_limit(v)),
    F::new("proc.fdusage", F64, "Open descriptors in percent of the limit.", |v, _| ask::descriptor_usage(v)),
    F::new("proc.vmsize", U64, "Virtual memory in KiB.", |v, _| ask::memory(v, "VmSize")),
    F::new("proc.vmrss", U64, "Memory in use, in KiB.", |v, _| ask::memory(v, "VmRSS")),
    F::new("proc.vmswap", U64, "Swapped memory in KiB.", |v, _| ask::memory(v, "VmSwap")),
    F::new("proc.nchilds", U64, "How many threads the process has beside its first.", |v, _| {
        v.process().map_or(Value::None, |p| Value::U64(p.threads().saturating_sub(1) as u64))
    }),
    F::new("proc.stdin.type", Text, "Type of the descriptor that is standard input.", |v, _| {
        proc::stream(v, 0, |open| open.kind.name().as_bytes())
    }),
    F::new("proc.stdin.name", Text, "Name of the descriptor that is standard input.", |v, _| {
        proc::stream(v, 0, |open| &open.name)
    }),
    F::new("proc.stdout.type", Text, "Type of the descriptor that is standard output.", |v, _| {
        proc::stream(v, 1, |open| open.kind.name().as_bytes())
    }),
    F::new("proc.stdout.name", Text, "Name of the descriptor that is standard output.", |v, _| {
        proc::stream(v, 1, |open| &open.name)
    }),
    F::new("proc.stderr.type", Text, "Type of the descriptor that is standard error.", |v, _| {
        proc::stream(v, 2, |open| open.kind.name().as_bytes())
    }),
    F::new("proc.stderr.name", Text, "Name of the descriptor that is standard error.", |v, _| {
        proc::stream(v, 2, |open| &open.name)
    }),
    F::new("thread.vtid", I64, "Id of the thread in its own pid namespace.", |v, _| ask::virtual_thread(v)),
    F::new("thread.cap_effective", Text, "Effective capabilities, names with spaces between them.", |v, _| {
        ask::capabilities(v, |sets| sets.effective)
    }),
    F::new("thread.cap_permitted", Text, "Permitted capabilities.", |v, _| {
        ask::capabilities(v, |sets| sets.permitted)
    }),
    F::new("thread.cap_inheritable", Text, "Inheritable capabilities.", |v, _| {
        ask::capabilities(v, |sets| sets.inheritable)
    }),
    F::new("thread.cgroups", Text, "All cgroups, `controller=path` each; that of cgroup v2 as `unified`.", |v, _| ask::cgroups(v)),
    F::new("thread.cgroup", Text, "The cgroup of a controller: `thread.cgroup[cpu]`.", |v, arg| match arg {
        Arg::Name(name) => ask::cgroup(v, name),
        _ => Value::None,
    })
    .arg(ArgRule::Key),
    F::new("thread.pfmajor", U64, "Page faults with reading from disk since the thread began.", |v, _| ask::page_faults(v, Field::MajorFaults)),
    F::new("thread.pfminor", U64, "Page faults without since the thread began.", |v, _| ask::page_faults(v, Field::MinorFaults)),
    F::new("thread.exectime", U64, "Always 0: switches between threads are not captured.", |_, _| Value::U64(0)),
    F::new("thread.totexectime", U64, "Nanoseconds that the thread has run.", |v, _| ask::run_time(v)),
    F::new("thread.cpu", F64, "Share of one CPU that the thread has used since its process began, in percent.", |v, _| ask::cpu(v, &[Field::UserTime, Field::SystemTime])),
    F::new("thread.cpu.user", F64, "The same, of its own code.", |v, _| ask::cpu(v, &[Field::UserTime])),
    F::new("thread.cpu.system", F64, "The same, in the kernel.", |v, _| ask::cpu(v, &[Field::SystemTime])),
    F::new("thread.vmsize", U64, "The process's virtual memory in KiB.", |v, _| ask::memory(v, "VmSize")),
    F::new("thread.vmsize.b", U64, "The same in bytes.", |v, _| ask::memory_bytes(v, "VmSize")),
    F::new("thread.vmrss", U64, "The process's memory in use, in KiB.", |v, _| ask::memory(v, "VmRSS")),
    F::new("thread.vmrss.b", U64, "The same in bytes.", |v, _| ask::memory_bytes(v, "VmRSS")),
];
