//! The lists in front of the events: the host, processes, descriptors, users, and interfaces.
//!
//! The order of fields is that of `userspace/libscap/scap_savefile.c` in falcosecurity/libs.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use inspect::{Descriptor, DescriptorKind, Inspector, Process, ProcessKey, Role};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use super::blocks::{Block, DESCRIPTORS, INTERFACES, MACHINE, PROCESSES, USERS};
use super::process::{arguments, capabilities, cgroups, id_or_none, program_flags};
use crate::life::{
    CLONE_FILES, CLONE_THREAD, EXE_LOWER, EXE_MEMFD, EXE_UPPER, EXE_WRITABLE, falco_clone_flags,
};
use crate::lists::{ANONYMOUS, UNSUPPORTED};

/// Readers refuse longer paths, and longer lists of arguments, variables or cgroups.
const MAX_PATH: usize = 1023;
const MAX_STRINGS: usize = 4095;
/// Bytes of one block of processes: readers before 2016 had 16-bit lengths, and memory grows with a block.
const MAX_PROCESSES: usize = 16 << 20;
/// Bytes of the name of a host.
const HOST_NAME: usize = 128;

/// An address of a network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interface {
    name: Vec<u8>,
    address: IpAddr,
    mask: Option<IpAddr>,
    broadcast: Option<IpAddr>,
}

/// The host that events are of.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    cpus: u32,
    memory: u64,
    max_pid: u64,
    name: Vec<u8>,
    boot_ns: u64,
    interfaces: Vec<Interface>,
}

impl Machine {
    /// This host. What cannot be read is 0 or empty. `clock` is its clock.
    #[must_use]
    pub fn host(clock: inspect::Clock) -> Self {
        let number = |path: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.trim().parse().unwrap_or(0)
        };
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        let name = fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            cpus: std::thread::available_parallelism()
                .ok()
                .and_then(|cpus| u32::try_from(cpus.get()).ok())
                .unwrap_or(0),
            memory: memory.unwrap_or(0) << 10,
            max_pid: number("/proc/sys/kernel/pid_max"),
            name: name.trim_ascii_end().to_vec(),
            boot_ns: clock.epoch_ns(0),
            interfaces: interfaces(),
        }
    }
}

/// The addresses of this host's interfaces. None, where the kernel does not say.
fn interfaces() -> Vec<Interface> {
    let ip = |address: Option<SockaddrStorage>| -> Option<IpAddr> {
        let address = address?;
        let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
    };
    let all = getifaddrs().into_iter().flatten();
    all.filter_map(|one| {
        Some(Interface {
            name: one.interface_name.into_bytes(),
            address: ip(one.address)?,
            mask: ip(one.netmask),
            broadcast: ip(one.broadcast),
        })
    })
    .collect()
}

/// Writes a capture's head and its lists.
pub(super) fn write(out: &mut Vec<u8>, inspector: &Inspector, machine: &Machine) {
    Block::section(out);
    write_machine(out, machine);
    write_processes(out, inspector);
    for (key, process) in inspector.living() {
        write_descriptors(out, inspector, key, process);
    }
    write_users(out, inspector);
    write_interfaces(out, &machine.interfaces);
}

fn write_machine(out: &mut Vec<u8>, machine: &Machine) {
    let mut block = Block::begin(out, MACHINE);
    let mut name = machine.name.clone();
    name.resize(HOST_NAME, 0);
    // the last byte is the name's NUL
    name[HOST_NAME - 1] = 0;
    block
        .u32(machine.cpus)
        .u64(machine.memory)
        .u64(machine.max_pid)
        .bytes(&name)
        .u64(machine.boot_ns);
    // flags, and reserved
    block.bytes(&[0; 24]);
    block.end();
}

fn write_processes(out: &mut Vec<u8>, inspector: &Inspector) {
    let mut block = Block::begin(out, PROCESSES);
    let mut written = 0;
    for (_, process) in inspector.living() {
        let others = process.thread_ids().filter(|tid| *tid != process.pid);
        for tid in std::iter::once(process.pid).chain(others) {
            if written >= MAX_PROCESSES {
                block.end();
                block = Block::begin(out, PROCESSES);
                written = 0;
            }
            written += block.entry(|block| write_thread(block, inspector, process, tid));
        }
    }
    block.end();
}

fn write_thread(block: &mut Block<'_>, inspector: &Inspector, process: &Process, tid: u32) {
    let credentials = process.credentials(tid);
    let (first, others) = arguments(&process.args);
    let long = |value: u32| u64::from(value);
    let group = |id: u32| id_or_none(id).cast_unsigned();
    let flags = program_flags(process, inspector);
    let has = |bit: u64| u8::from(flags & bit != 0);
    let capabilities = capabilities(inspector, process, tid);
    let file = process.file.unwrap_or_default();
    let vpid = process.vpid.unwrap_or(process.pid);
    // readers look for the descriptors of a thread in its process only if it has these flags
    let birth = if tid == process.pid {
        0
    } else {
        falco_clone_flags(CLONE_THREAD | CLONE_FILES)
    };
    block
        .u64(long(tid))
        .u64(long(process.pid))
        .u64(long(inspector.parent_pid(process)))
        .u64(group(process.sid))
        .u64(group(process.pgid))
        .string(process.thread_name(tid), MAX_PATH)
        .string(first, MAX_PATH)
        .string(&process.exe, MAX_PATH)
        .string(others, MAX_STRINGS)
        .string(inspector.cwd(process, tid), MAX_PATH)
        // the limit of descriptors
        .u64(0)
        .u32(u32::try_from(birth).unwrap_or(0))
        .u32(credentials.euid)
        .u32(credentials.egid)
        // sizes of memory, and page faults
        .bytes(&[0; 3 * 4 + 2 * 8])
        .string(&process.env, MAX_STRINGS)
        .u64(long(if tid == process.pid { vpid } else { tid }))
        .u64(long(vpid))
        .string(&cgroups(&process.cgroups.text), MAX_STRINGS)
        // the root directory
        .string(b"/", MAX_PATH)
        // when its pid namespace began
        .u64(0)
        .u32(inspector.tty(process))
        .u32(process.loginuid)
        .u8(has(EXE_WRITABLE))
        .u64(capabilities.inheritable)
        .u64(capabilities.permitted)
        .u64(capabilities.effective)
        .u8(has(EXE_UPPER))
        .u64(file.inode)
        .u64(file.ctime_ns)
        .u64(file.mtime_ns)
        .u8(has(EXE_MEMFD))
        .u8(has(EXE_LOWER))
        .u64(group(process.pgid));
}

fn write_descriptors(out: &mut Vec<u8>, inspector: &Inspector, key: ProcessKey, process: &Process) {
    let mut all: Vec<_> = inspector.descriptors(key, process.pid).collect();
    all.sort_by_key(|(fd, _)| *fd);
    let mut block = Block::begin(out, DESCRIPTORS);
    block.u64(process.pid.into());
    for (fd, descriptor) in all {
        let Ok(fd) = u64::try_from(fd) else { continue };
        block.entry(|block| {
            // the inode
            block.u64(fd).u64(0);
            write_descriptor(block, descriptor);
        });
    }
    block.end();
}

/// The type of a descriptor (`scap_fd_type`), and what belongs to the type.
fn write_descriptor(block: &mut Block<'_>, descriptor: &Descriptor) {
    let socket = descriptor.socket.unwrap_or_default();
    let protocol = match socket.protocol {
        6 => 2,
        17 => 3,
        1 => 4,
        255 => 5,
        _ => 0,
    };
    let kind = match descriptor.kind {
        DescriptorKind::File => 1,
        DescriptorKind::Directory => 2,
        DescriptorKind::Ipv4 | DescriptorKind::Ipv6 => {
            // the first end is the one that connected
            let (first, second) = match socket.role {
                Role::Server => (socket.remote, socket.local),
                Role::Client | Role::None => (socket.local, socket.remote),
            };
            let any = match descriptor.kind {
                DescriptorKind::Ipv6 => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                _ => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            };
            match (first, second) {
                // a socket that waits for connections
                (None, Some(local)) if socket.role == Role::Server => {
                    block.u8(if local.is_ipv4() { 5 } else { 6 });
                    ip(block, local.ip());
                    block.u16(local.port()).u8(protocol);
                }
                (first, second) => {
                    let other = |end: SocketAddr| SocketAddr::new(unspecified(end.ip()), 0);
                    let first = first.or(second.map(other)).unwrap_or(any);
                    let second = second.unwrap_or(other(first));
                    block.u8(if first.is_ipv4() { 3 } else { 4 });
                    ip(block, first.ip());
                    ip(block, second.ip());
                    block.u16(first.port()).u16(second.port()).u8(protocol);
                }
            }
            return;
        }
        DescriptorKind::Unix => {
            // the kernel's addresses of both ends
            block
                .u8(8)
                .bytes(&[0; 16])
                .string(&descriptor.name, MAX_PATH);
            return;
        }
        DescriptorKind::Pipe => 7,
        DescriptorKind::Event => 9,
        DescriptorKind::Signal => 11,
        DescriptorKind::Epoll => 12,
        DescriptorKind::Inotify => 13,
        DescriptorKind::Timer => 14,
        DescriptorKind::Netlink => 15,
        // these have types of their own since 2023, which make sysdig 0.29 refuse the file; the name says what they are
        DescriptorKind::Bpf
        | DescriptorKind::Userfault
        | DescriptorKind::IoUring
        | DescriptorKind::Memfd
        | DescriptorKind::Pidfd
        | DescriptorKind::Other => UNSUPPORTED,
    };
    let name = match descriptor.kind.anonymous_name() {
        Some(name) if kind == UNSUPPORTED => [ANONYMOUS, name].concat(),
        _ => descriptor.name.clone(),
    };
    block.u8(kind).string(&name, MAX_PATH);
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// An address in network byte order.
fn ip(block: &mut Block<'_>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => block.bytes(&v4.octets()),
        IpAddr::V6(v6) => block.bytes(&v6.octets()),
    };
}

fn write_users(out: &mut Vec<u8>, inspector: &Inspector) {
    /// Types of entries.
    const USER: u8 = 0;
    const GROUP: u8 = 1;
    /// Bytes of a name.
    const MAX_NAME: usize = 255;
    let Some(known) = inspector.recorded_users() else {
        return;
    };
    let mut users: Vec<_> = known.users().collect();
    let mut groups: Vec<_> = known.groups().collect();
    users.sort_by_key(|(uid, _)| *uid);
    groups.sort_by_key(|(gid, _)| *gid);
    let mut block = Block::begin(out, USERS);
    for (uid, user) in users {
        block.entry(|block| {
            block
                .u8(USER)
                .u32(uid)
                // the user's group, which lanner does not keep
                .u32(u32::MAX)
                .string(&user.name, MAX_NAME)
                .string(&user.home, MAX_PATH)
                .string(&user.shell, MAX_PATH);
        });
    }
    for (gid, name) in groups {
        block.entry(|block| {
            block.u8(GROUP).u32(gid).string(name, MAX_NAME);
        });
    }
    block.end();
}

fn write_interfaces(out: &mut Vec<u8>, interfaces: &[Interface]) {
    /// Types of entries.
    const V4: u16 = 1;
    const V6: u16 = 2;
    let mut block = Block::begin(out, INTERFACES);
    let (v4, v6): (Vec<_>, Vec<_>) = interfaces.iter().partition(|one| one.address.is_ipv4());
    for (kind, one) in v4
        .into_iter()
        .map(|one| (V4, one))
        .chain(v6.into_iter().map(|one| (V6, one)))
    {
        let same = |other: Option<IpAddr>| {
            other
                .filter(|other| other.is_ipv4() == one.address.is_ipv4())
                .unwrap_or(unspecified(one.address))
        };
        let name = &one.name[..one.name.len().min(MAX_PATH)];
        // this length does not count itself
        let ends = if kind == V4 { 4 } else { 16 };
        let len = 2 + 2 + 3 * ends + 8 + name.len();
        block
            .u32(u32::try_from(len).unwrap_or(0))
            .u16(kind)
            .u16(u16::try_from(name.len()).unwrap_or(0));
        ip(&mut block, one.address);
        ip(&mut block, same(one.mask));
        ip(&mut block, same(one.broadcast));
        // the speed
        block.u64(0).bytes(name);
    }
    block.end();
}
