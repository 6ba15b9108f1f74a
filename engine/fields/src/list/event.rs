//! Rows of `evt.*`, `syscall.*` and `util.*`.

use lanner_plugin::FieldKind::{Any, Bool, Bytes, I64, String as Text, U64};
use lanner_plugin::Value;

use super::super::event::Failure;
use super::super::path::{Which, absolute};
use super::super::row::{ArgRule, FieldDef, Many};
use super::super::{argument, event as evt, latency, needs, time};

use FieldDef as F;

pub(super) const EVENT: &[FieldDef] = &[
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
    F::new(
        "evt.latency",
        U64,
        "Nanoseconds that the call took, from its entry to its return. A rule, a condition or a template that names a field \
         of latency makes the driver measure it. Missing where it is not known: the call was running before the capture, \
         its entry was missed, or it does not return. 0, as in Falco, where the driver or the recording has no times.",
        |v, _| latency::number(v, |ns| ns),
    )
    .times(),
    F::new("evt.latency.s", U64, "The whole seconds of `evt.latency`.", |v, _| {
        latency::number(v, |ns| ns / 1_000_000_000)
    })
    .times(),
    F::new("evt.latency.ns", U64, "The nanoseconds within the second of `evt.latency`.", |v, _| {
        latency::number(v, |ns| ns % 1_000_000_000)
    })
    .times(),
    F::new("evt.latency.human", Text, "`evt.latency` for people, such as `1.23ms`.", |v, _| latency::human(v)).times(),
    F::new(
        "evt.latency.quantized",
        U64,
        "The power of ten below `evt.latency`: 3 from a microsecond on, 6 from a millisecond on.",
        |v, _| latency::number(v, latency::power_of_ten),
    )
    .times(),
    F::new("evt.wait_latency", U64, "`evt.latency` of calls that wait (`evt.is_wait`).", |v, _| latency::of_wait(v)).times(),
    F::new("evt.source", Text, "Where events come from: `syscall`.", |_, _| {
        Value::String(b"syscall")
    }),
    F::new("evt.hostname", Text, "Name of this host.", |v, _| {
        Value::String(v.fields.hostname.as_bytes())
    }),
    F::new(
        "evt.type",
        Text,
        "Name of the call, as `openat`; or `procstart`, `procexit`, `signaldeliver`, `drop`. A call that only 32-bit \
         programs have is named as the one of 64-bit programs: `setuid`, not `setuid32`. `unknown`: a call that lanner \
         does not know.",
        |v, _| evt::type_name(v),
    ),
    F::new(
        "evt.call",
        Text,
        "Name of the call as the kernel has it, as `setuid32`, or `socketcall` where a 32-bit program made the call \
         through it; of an unknown call its number, as `syscall_0x3e8`.",
        |v, _| evt::kernel_name(v),
    ),
    F::new("syscall.type", Text, "Name of the call; nothing for other events.", |v, _| {
        v.seen.call.map_or(Value::None, |call| Value::String(call.event_type().name.as_bytes()))
    }),
    F::new("evt.dir", Text, "Always `<`: events are those of calls that have returned.", |_, _| {
        Value::String(b"<")
    })
    .deprecated(),
    F::new(
        "evt.category",
        Text,
        "What the call is about in Falco: file, net, process, ...; reading, writing and closing go by the descriptor, and calls that Falco has no type of events for are `other`.",
        |v, _| evt::category(v),
    ),
    F::new("evt.cpu", I64, "The CPU on which it happened.", |v, _| {
        Value::I64(v.event.header().cpu.into())
    }),
    F::new("evt.args", Text, "Result and parameters as Falco prints them, `name=value` each.", |v, _| evt::args(v)),
    F::new("evt.info", Text, "The same as `evt.args`.", |v, _| evt::args(v)),
    F::new(
        "evt.arg",
        Text,
        "A parameter as Falco shows it, by its name (`evt.arg.flags`, `evt.arg[flags]`) or number: 0 is \
         the result, 1 the first parameter. `res` is the result; names of facts are what the kernel did. \
         What Falco does not have is shown as in `kernel.arg`.",
        argument::arg,
    )
    .arg(ArgRule::Param),
    F::new("evt.rawarg", Any, "A parameter as it is: a number where it is one.", argument::raw)
        .arg(ArgRule::Param)
        .implies(needs::argument),
    F::new("evt.res", Text, "`SUCCESS`, or the name of the error.", |v, _| evt::result(v))
        .implies(needs::result),
    F::new("evt.rawres", I64, "The return value; negative for errors.", |v, _| {
        evt::raw_result(v)
    })
    .implies(needs::raw_result),
    F::new("evt.failed", Bool, "Whether the call returned an error.", |v, _| evt::failed(v))
        .implies(needs::failed),
    F::new(
        "evt.truncated",
        Text,
        "Parameters of which the end is missing, by name, and facts, as `facts.path`: they were longer than a limit. Of a \
         path of the kernel's, the beginning is missing, and `...` is there instead.",
        |v, _| evt::fell_short(v, decode::Short::Truncated),
    )
    .many(Many::List),
    F::new(
        "evt.unreadable",
        Text,
        "Parameters, by name, and facts, as `facts.path`, whose memory could not be read.",
        |v, _| evt::fell_short(v, decode::Short::Incomplete),
    )
    .many(Many::List),
    F::new("evt.buffer", Bytes, "What was read, written, sent or received.", |v, _| {
        evt::buffer(v)
    }),
    F::new("evt.is_open_read", Bool, "A file is opened for reading.", |v, _| {
        evt::is_open_read(v)
    })
    .implies(needs::opens_to_read),
    F::new("evt.is_open_write", Bool, "A file is opened for writing.", |v, _| {
        evt::is_open_write(v)
    })
    .implies(needs::opens_to_write),
    F::new(
        "evt.is_open_exec",
        Bool,
        "A file is opened that, if it is created, can be executed.",
        |v, _| evt::is_open_exec(v),
    )
    .implies(needs::opens_to_execute),
    F::new(
        "evt.is_open_create",
        Bool,
        "A file was opened that did not exist before. ebpf-core and ebpf-legacy ask the kernel. The other drivers do not know whether it existed, unless the call demands that; then O_CREAT counts.",
        |v, _| evt::is_open_create(v),
    )
    .implies(needs::opens_to_create),
    F::new("evt.reltime", U64, "Nanoseconds since the first event.", |v, _| Value::U64(v.seen.since_start_ns)),
    F::new("evt.reltime.s", U64, "Seconds since the first event.", |v, _| Value::U64(v.seen.since_start_ns / 1_000_000_000)),
    F::new("evt.reltime.ns", U64, "The nanoseconds within the second of `evt.reltime`.", |v, _| Value::U64(v.seen.since_start_ns % 1_000_000_000)),
    F::new("evt.deltatime", U64, "Nanoseconds since the event before.", |v, _| Value::U64(v.seen.since_last_ns)),
    F::new("evt.deltatime.s", U64, "Seconds since the event before.", |v, _| Value::U64(v.seen.since_last_ns / 1_000_000_000)),
    F::new("evt.deltatime.ns", U64, "The nanoseconds within the second of `evt.deltatime`.", |v, _| Value::U64(v.seen.since_last_ns % 1_000_000_000)),
    F::new("evt.outputtime", Text, "The same as `evt.time`.", |v, _| evt::time_text(v, time::clock)),
    F::new("evt.is_async", Bool, "Always false: no event is made by lanner itself.", |_, _| Value::Bool(false)),
    F::new("evt.asynctype", Text, "Never there: no event is made by lanner itself.", |_, _| Value::None).never(),
    F::new("evt.pluginname", Text, "Never there: events are those of the kernel.", |_, _| Value::None).never(),
    F::new("evt.plugininfo", Text, "Never there: events are those of the kernel.", |_, _| Value::None).never(),
    F::new("evt.type.is", U64, "1 if the event has this type, else 0: `evt.type.is[openat]`.", evt::is_of_type)
        .arg(ArgRule::Key),
    F::new("evt.buflen", U64, "Bytes that were read, written, sent or received, also where not all were captured.", |v, _| evt::buffer_length(v)),
    F::new("evt.buflen.in", U64, "`evt.buflen` of calls that read.", |v, _| evt::length_of(v, Some(false), |_| true)),
    F::new("evt.buflen.out", U64, "`evt.buflen` of calls that write.", |v, _| evt::length_of(v, Some(true), |_| true)),
    F::new("evt.buflen.file", U64, "`evt.buflen` of files.", |v, _| evt::length_of(v, None, evt::is_file)),
    F::new("evt.buflen.file.in", U64, "`evt.buflen` of files that are read.", |v, _| evt::length_of(v, Some(false), evt::is_file)),
    F::new("evt.buflen.file.out", U64, "`evt.buflen` of files that are written.", |v, _| evt::length_of(v, Some(true), evt::is_file)),
    F::new("evt.buflen.net", U64, "`evt.buflen` of internet sockets.", |v, _| evt::length_of(v, None, evt::is_inet)),
    F::new("evt.buflen.net.in", U64, "`evt.buflen` of internet sockets that are read.", |v, _| evt::length_of(v, Some(false), evt::is_inet)),
    F::new("evt.buflen.net.out", U64, "`evt.buflen` of internet sockets that are written.", |v, _| evt::length_of(v, Some(true), evt::is_inet)),
    F::new("evt.is_io", Bool, "The call reads or writes.", |v, _| evt::is_io(v)),
    F::new("evt.is_io_read", Bool, "The call reads.", |v, _| evt::is_io_read(v)),
    F::new("evt.is_io_write", Bool, "The call writes.", |v, _| evt::is_io_write(v)),
    F::new("evt.io_dir", Text, "`read` for calls that read, `write` for those that write.", |v, _| evt::io_direction(v)),
    F::new("evt.is_wait", Bool, "The call waits: poll, select, nanosleep, ...", |v, _| evt::is_wait(v)),
    F::new("evt.is_syslog", Bool, "Something was written to the system's log (/dev/log).", |v, _| evt::is_syslog(v)),
    F::new("evt.count", U64, "Always 1: how many events this is.", |_, _| Value::U64(1)),
    F::new("evt.count.error", U64, "1 if the call failed.", |v, _| evt::count_failure(v, Failure::Any)),
    F::new("evt.count.error.file", U64, "1 if a call on a file failed, or one that opens files.", |v, _| evt::count_failure(v, Failure::File)),
    F::new("evt.count.error.net", U64, "1 if a call on a socket of IP or Unix failed, or one that connects.", |v, _| evt::count_failure(v, Failure::Net)),
    F::new("evt.count.error.memory", U64, "1 if a call about memory failed.", |v, _| evt::count_failure(v, Failure::Memory)),
    F::new("evt.count.error.other", U64, "1 if any other call failed.", |v, _| evt::count_failure(v, Failure::Other)),
    F::new("evt.count.exit", U64, "1 for the end of a thread, and for calls that have returned.", |v, _| evt::is_return(v)),
    F::new("evt.abspath", Text, "The path among the parameters, made absolute by its letters, also where the call failed.", |v, _| absolute(v, Which::Name)),
    F::new("evt.abspath.src", Text, "The same of what is renamed or linked.", |v, _| absolute(v, Which::Source)),
    F::new("evt.abspath.dst", Text, "The same of where to.", |v, _| absolute(v, Which::Target)),
    F::new("util.cnt", U64, "Counts how often it was asked for.", |v, _| Value::U64(v.scratch.count())),
];
