//! Rows of `fd.*`, `fdlist.*` and `fs.path.*`.

use std::fmt::Write as _;

use driver_api::event::Layer;

use inspect::Socket;
use lanner_plugin::FieldKind::{Bool, I64, Ip, String as Text, U64};
use lanner_plugin::Value;

use super::super::path::{Which, path, real, real_differs};
use super::super::row::{ArgRule, FieldDef, Many};
use super::super::{ask, descriptor as fd, needs};

use FieldDef as F;

pub(super) const DESCRIPTOR: &[FieldDef] = &[
    F::new(
        "fd.num",
        I64,
        "Number of the descriptor that the call is about; -1: it is about none, or failed to make one.",
        |v, _| fd::fd(v),
    )
    .implies(needs::descriptor),
    F::new(
        "fd.name",
        Text,
        "Path of the file, from the kernel if the driver reports it; of an open, see `kernel.path_in_doubt`. For a socket \
         `client:port->server:port`; a datagram has the address that it goes to or comes from. For a failed open, the path that the program passed.",
        |v, _| fd::name(v),
    ),
    F::new(
        "fd.nameraw",
        Text,
        "Path of the file as the program passed it.",
        |v, _| fd::raw_name(v),
    ),
    F::new("fd.directory", Text, "Directory of the file.", |v, _| {
        fd::directory(v)
    }),
    F::new(
        "fd.filename",
        Text,
        "Name of the file without its directory.",
        |v, _| fd::file_name(v),
    ),
    F::new(
        "fd.type",
        Text,
        "Type of the descriptor: file, directory, ipv4, pipe, ...",
        |v, _| fd::type_name(v),
    ),
    F::new(
        "fd.typechar",
        Text,
        "Type of the descriptor, one letter: f, d, 4, p, ...",
        |v, _| fd::type_letter(v),
    ),
    F::new(
        "fd.types",
        Text,
        "Types of all open descriptors, or of one: `fd.types[0]`.",
        fd::types,
    )
    .arg(ArgRule::Index)
    .many(Many::List),
    F::new("fd.ip", Ip, "Address of either end.", |v, _| {
        fd::both_ips(v)
    })
    .many(Many::Either),
    F::new("fd.cip", Ip, "Address of the client.", |v, _| {
        fd::ip(v, Socket::client)
    }),
    F::new("fd.sip", Ip, "Address of the server.", |v, _| {
        fd::ip(v, Socket::server)
    }),
    F::new("fd.lip", Ip, "Local address.", |v, _| fd::ip(v, fd::local)),
    F::new("fd.rip", Ip, "Remote address.", |v, _| {
        fd::ip(v, fd::remote)
    }),
    F::new(
        "fd.net",
        Ip,
        "Address of either end, to compare with a network.",
        |v, _| fd::both_ips(v),
    )
    .many(Many::Either),
    F::new(
        "fd.cnet",
        Ip,
        "Address of the client, to compare with a network.",
        |v, _| fd::ip(v, Socket::client),
    ),
    F::new(
        "fd.snet",
        Ip,
        "Address of the server, to compare with a network.",
        |v, _| fd::ip(v, Socket::server),
    ),
    F::new(
        "fd.lnet",
        Ip,
        "Local address, to compare with a network.",
        |v, _| fd::ip(v, fd::local),
    ),
    F::new(
        "fd.rnet",
        Ip,
        "Remote address, to compare with a network.",
        |v, _| fd::ip(v, fd::remote),
    ),
    F::new("fd.port", U64, "Port of either end.", |v, _| {
        fd::both_ports(v)
    })
    .many(Many::Either),
    F::new("fd.cport", U64, "Port of the client.", |v, _| {
        fd::port(v, Socket::client)
    }),
    F::new("fd.sport", U64, "Port of the server.", |v, _| {
        fd::port(v, Socket::server)
    }),
    F::new("fd.lport", U64, "Local port.", |v, _| {
        fd::port(v, fd::local)
    }),
    F::new("fd.rport", U64, "Remote port.", |v, _| {
        fd::port(v, fd::remote)
    }),
    F::new(
        "fd.l4proto",
        Text,
        "tcp (also for Multipath TCP), udp (also for UDP-Lite), icmp or raw.",
        |v, _| fd::protocol(v),
    ),
    F::new("fd.sockfamily", Text, "`ip` or `unix`.", |v, _| {
        fd::family(v)
    }),
    F::new(
        "fd.is_server",
        Bool,
        "The process is the server of the connection.",
        |v, _| fd::is_server(v),
    ),
    F::new("fd.connected", Bool, "The socket is connected.", |v, _| {
        fd::is_connected(v)
    }),
    F::new(
        "fd.name_changed",
        Bool,
        "The event changed the name of the descriptor, as a datagram to another address does.",
        |v, _| {
            v.seen
                .fd
                .map_or(Value::None, |_| Value::Bool(v.seen.name_changed))
        },
    ),
    F::new(
        "fd.uid",
        Text,
        "Id of the thread, followed by the number of the descriptor.",
        |v, _| fd::unique(v),
    ),
    F::new(
        "fd.containername",
        Text,
        "The container's id, a colon, and `fd.name`.",
        |v, _| fd::in_container(v, fd::name(v)),
    ),
    F::new(
        "fd.containerdirectory",
        Text,
        "The container's id, a colon, and `fd.directory`.",
        |v, _| fd::in_container(v, fd::directory(v)),
    ),
    F::new("fd.proto", U64, "Port of either end.", |v, _| {
        fd::both_ports(v)
    })
    .many(Many::Either),
    F::new(
        "fd.cproto",
        Text,
        "Name of the client port in /etc/services; the number if it has no name.",
        |v, _| fd::service(v, Socket::client),
    ),
    F::new(
        "fd.sproto",
        Text,
        "Name of the server port in /etc/services; the number if it has no name.",
        |v, _| fd::service(v, Socket::server),
    ),
    F::new(
        "fd.lproto",
        Text,
        "Name of the local port in /etc/services; the number if it has no name.",
        |v, _| fd::service(v, fd::local),
    ),
    F::new(
        "fd.rproto",
        Text,
        "Name of the remote port in /etc/services; the number if it has no name.",
        |v, _| fd::service(v, fd::remote),
    ),
    F::new(
        "fd.cip.name",
        Text,
        "Name of the client address, if it is one that a rule compares with.",
        |v, _| fd::host_name(v, Socket::client),
    ),
    F::new(
        "fd.sip.name",
        Text,
        "Name of the server address, if it is one that a rule compares with.",
        |v, _| fd::host_name(v, Socket::server),
    ),
    F::new(
        "fd.lip.name",
        Text,
        "Name of the local address, if it is one that a rule compares with.",
        |v, _| fd::host_name(v, fd::local),
    ),
    F::new(
        "fd.rip.name",
        Text,
        "Name of the remote address, if it is one that a rule compares with.",
        |v, _| fd::host_name(v, fd::remote),
    ),
    F::new(
        "fd.dev",
        I64,
        "Device that the file is on, as it was when the call that opened it returned.",
        |v, _| ask::file(v, ask::device),
    ),
    F::new("fd.dev.major", I64, "Its major number.", |v, _| {
        ask::file(v, ask::device_major)
    }),
    F::new("fd.dev.minor", I64, "Its minor number.", |v, _| {
        ask::file(v, ask::device_minor)
    }),
    F::new(
        "fd.ino",
        I64,
        "Inode of the file, as it was when the call that opened it returned.",
        |v, _| ask::file(v, ask::inode),
    ),
    F::new(
        "fd.is_upper_layer",
        Bool,
        "The file is in the upper layer of its overlay file system: not of the container's image.",
        |v, _| ask::file_layer(v, Layer::Upper),
    ),
    F::new(
        "fd.is_lower_layer",
        Bool,
        "The file is in a lower layer of its overlay file system: of the container's image.",
        |v, _| ask::file_layer(v, Layer::Lower),
    ),
    F::new(
        "fdlist.nums",
        Text,
        "Numbers of the descriptors that poll waits for, with commas.",
        |v, _| {
            fd::polled(v, |out, number, _| {
                let _ = write!(out, "{number}");
            })
        },
    ),
    F::new("fdlist.names", Text, "Their names.", |v, _| {
        fd::polled(v, |out, _, open| {
            if let Some(open) = open {
                out.push_str(&String::from_utf8_lossy(&open.name));
            }
        })
    }),
    F::new(
        "fdlist.cips",
        Text,
        "Addresses of their clients.",
        |v, _| {
            fd::polled(v, |out, _, open| {
                fd::polled_end(out, open, Socket::client, false);
            })
        },
    ),
    F::new("fdlist.cports", Text, "Ports of their clients.", |v, _| {
        fd::polled(v, |out, _, open| {
            fd::polled_end(out, open, Socket::client, true);
        })
    }),
    F::new(
        "fdlist.sips",
        Text,
        "Addresses of their servers.",
        |v, _| {
            fd::polled(v, |out, _, open| {
                fd::polled_end(out, open, Socket::server, false);
            })
        },
    ),
    F::new("fdlist.sports", Text, "Ports of their servers.", |v, _| {
        fd::polled(v, |out, _, open| {
            fd::polled_end(out, open, Socket::server, true);
        })
    }),
    F::new(
        "fs.path.name",
        Text,
        "Path that a successful call acted on, absolute; symbolic links are not followed. Also of an open that failed, except with EPERM, as in Falco.",
        |v, _| path(v, Which::Name, false),
    ),
    F::new(
        "fs.path.nameraw",
        Text,
        "The same path as the program passed it.",
        |v, _| path(v, Which::Name, true),
    ),
    F::new(
        "fs.path.source",
        Text,
        "Path that was renamed or mounted; for calls that make links, the link.",
        |v, _| path(v, Which::Source, false),
    ),
    F::new(
        "fs.path.sourceraw",
        Text,
        "The same path as the program passed it.",
        |v, _| path(v, Which::Source, true),
    ),
    F::new(
        "fs.path.target",
        Text,
        "New path, or the mount point; for calls that make links, the path that the link leads to.",
        |v, _| path(v, Which::Target, false),
    ),
    F::new(
        "fs.path.targetraw",
        Text,
        "The same path as the program passed it.",
        |v, _| path(v, Which::Target, true),
    ),
    F::new(
        "fs.realpath.name",
        Text,
        "`fs.path.name` behind the symbolic links in its directories, as lanner finds it in the kernel's cache of names after the call (Linux 5.12), and behind the links of /proc to the descriptors, working directories and roots of processes; of an opened file, the path that the kernel opened. Except there, another process can have changed the links by then. It has no value if that cache does not tell, as for links that were just made on a file system of another host or process.",
        |v, _| real(v, Which::Name),
    ),
    F::new(
        "fs.realpath.source",
        Text,
        "The same of `fs.path.source`.",
        |v, _| real(v, Which::Source),
    ),
    F::new(
        "fs.realpath.target",
        Text,
        "The same of `fs.path.target`.",
        |v, _| real(v, Which::Target),
    ),
    F::new(
        "fs.realpath.differs",
        Bool,
        "One of these paths is another one than the call's letters say: there is a symbolic link in its directories, or `..` behind one.",
        |v, _| real_differs(v),
    ),
];
