//! Applies the effects of calls to the state. Failed calls have none, except connect(2) that is in progress.

use std::borrow::Cow;
use std::sync::Arc;

use driver_api::event::layout::FLAGS_UNKNOWN;
use driver_api::event::{Abi, Event, Fact, Flags, Header, Status};
use driver_api::table::Syscall;

use super::descriptor::{Connection, Descriptor, DescriptorKind, FileId, Role, Socket};
use super::effects::{self, CloseOnExec, Effect, FdOf, OpenFlags};
use super::endpoints::Peer;
use super::process_table::ProcessKey;
use super::sockets;
use super::{Inspector, Seen, path};

/// The descriptor that stands for the working directory (open(2)).
pub const AT_FDCWD: i32 = -100;
pub(super) const CLOEXEC: u64 = 0x8_0000;
pub(super) const O_ACCMODE: u64 = 3;
const O_WRONLY: u64 = 1;
/// The flags of open(2) that an open file does not keep (do_dentry_open() in fs/open.c): `O_CREAT`, `O_EXCL`, `O_NOCTTY`
/// and `O_TRUNC`; and `O_CLOEXEC`, which is the descriptor's.
const NOT_KEPT: u64 = 0o1700 | CLOEXEC;
pub(super) const O_NOCTTY: u64 = 0o400;
/// `__O_TMPFILE`
pub(super) const TMPFILE: u64 = 0o20_000_000;
const MFD_CLOEXEC: u64 = 1;
pub(super) const F_DUPFD: u64 = 0;
pub(super) const F_SETFD: u64 = 2;
pub(super) const F_DUPFD_CLOEXEC: u64 = 1030;
const FD_CLOEXEC: u64 = 1;
const CLOSE_RANGE_UNSHARE: u64 = 2;
const CLOSE_RANGE_CLOEXEC: u64 = 4;
/// include/linux/socket.h
pub(super) const MSG_FASTOPEN: u64 = 0x2000_0000;
const EBADF: i64 = -9;
const EINPROGRESS: i64 = -115;

/// The descriptor in an argument: the low 32 bits of the register.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the kernel takes the low 32 bits"
)]
pub fn fd_in(argument: u64) -> i32 {
    (argument as u32).cast_signed()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the kernel takes the low 32 bits"
)]
pub(super) fn u32_in(argument: u64) -> u32 {
    argument as u32
}

/// An argument that is an int.
fn int(argument: u64) -> u64 {
    u32_in(argument).into()
}

/// `O_DIRECTORY`, which differs between architectures.
fn o_directory(abi: Abi) -> u64 {
    match abi {
        Abi::Aarch64 | Abi::Arm => 0o40_000,
        Abi::X86_64 | Abi::I386 | Abi::X32 => 0o200_000,
        Abi::IoUring => o_directory(Abi::NATIVE),
    }
}

/// The flags of a call that opens a file. None: they were not captured.
pub fn flags_of_open(event: &Event<'_>, flags: OpenFlags) -> Option<u64> {
    match flags {
        OpenFlags::Arg(at) if event.lacks(at.into()) => None,
        OpenFlags::Arg(at) => Some(event.header().args[usize::from(at)]),
        OpenFlags::Creat => Some(0o1101),
        OpenFlags::At(at) => {
            let how = event.argument(usize::from(at));
            let said =
                how.and_then(|how| Some(u64::from_ne_bytes(how.bytes.get(..8)?.try_into().ok()?)));
            // the program can change its memory after the kernel has read it
            match event.opened().map(|file| file.flags) {
                Some(flags) if flags != FLAGS_UNKNOWN => {
                    Some(u64::from(flags) | said.unwrap_or(0) & NOT_KEPT)
                }
                _ => said,
            }
        }
    }
}

/// A call whose effect is being applied.
pub(super) struct Call<'a, 'e> {
    pub(super) event: &'a Event<'e>,
    pub(super) key: ProcessKey,
    pub(super) args: [u64; 6],
    pub(super) ret: i64,
    /// Whether the effect is only for the event itself: /proc was read after this call, so that the state already has the
    /// effect, or the call is entered and has had no effect yet.
    pub(super) applied: bool,
    /// Whether the call is entered, and no event will report how it ends.
    pub(super) entered: bool,
}

impl<'a, 'e> Call<'a, 'e> {
    pub(super) fn new(
        event: &'a Event<'e>,
        call: &Syscall,
        key: ProcessKey,
        applied: bool,
    ) -> Self {
        let header = event.header();
        Self {
            event,
            key,
            args: call.arguments(event.abi(), header.nr, &header.args),
            ret: header.ret,
            applied,
            entered: false,
        }
    }
}

impl Call<'_, '_> {
    pub(super) fn tid(&self) -> u32 {
        self.event.header().tid
    }

    pub(super) fn fd(&self, at: usize) -> i32 {
        fd_in(self.args[at])
    }

    /// An argument that is an int: the kernel ignores the upper half of the register.
    pub(super) fn int(&self, at: usize) -> u64 {
        int(self.args[at])
    }

    /// The string that an argument points to. None: the kernel could not read it.
    pub(super) fn text(&self, at: usize) -> Option<Cow<'_, [u8]>> {
        let said = self.event.argument(at)?;
        (said.status != Status::Fault).then(|| said.text())
    }

    /// The connection that the call has made or begun.
    pub(super) fn connection(&self) -> Connection {
        if self.entered || self.ret < 0 {
            Connection::Pending
        } else {
            Connection::Made
        }
    }

    pub(super) fn has(&self, at: Option<u8>, flag: u64) -> bool {
        at.is_some_and(|at| self.args[usize::from(at)] & flag != 0)
    }
}

/// The descriptor that a call is about, from its parameters and its result alone.
fn descriptor_in(header: &Header, of: FdOf, failed: bool) -> Option<i32> {
    let fd = match of {
        FdOf::None => None,
        FdOf::Arg(at) => Some(fd_in(header.args[usize::from(at)])),
        FdOf::Fcntl if matches!(int(header.args[1]), F_DUPFD | F_DUPFD_CLOEXEC) && !failed => {
            i32::try_from(header.ret).ok()
        }
        FdOf::Fcntl => Some(fd_in(header.args[0])),
        FdOf::Returned if failed => None,
        FdOf::Returned => i32::try_from(header.ret).ok(),
    };
    fd.filter(|fd| *fd >= 0)
}

/// The descriptor that a call of an unknown process is about.
pub(super) fn descriptor(event: &Event<'_>, call: &'static Syscall) -> Option<i32> {
    let header = event.header();
    let failed = event.has(Flags::ENTRY) || (-4095..0).contains(&header.ret);
    descriptor_in(header, effects::of(call).fd, failed)
}

impl Inspector {
    /// Finds the descriptor that a call is about, and applies the call's effect.
    pub(super) fn follow(
        &mut self,
        event: &Event<'_>,
        call_of: &'static Syscall,
        key: ProcessKey,
        seen: &mut Seen,
    ) {
        let header = event.header();
        let follow = effects::of(call_of);
        let at_entry = event.has(Flags::ENTRY);
        // io_uring: the kernel has copied the address when the operation is submitted, as for a connect(2) that goes on
        let connects = follow.effect == Effect::Connect && event.abi() == Abi::IoUring;
        // what is followed of prctl(2) cannot fail, so its result need not be known
        let takes_effect = connects || follow.effect == Effect::Prctl;
        let failed = if at_entry {
            !takes_effect
        } else {
            (-4095..0).contains(&header.ret)
        };
        seen.fd = descriptor_in(header, follow.fd, failed);
        // operations of io_uring may name descriptors that only the ring has
        let entered = at_entry && event.abi() != Abi::IoUring;
        // an event without its arguments is no driver's: a capture file has calls without a result among others
        let of_driver = self.recorded.is_none() && (0..6).all(|register| !event.lacks(register));
        self.reports_entries |= entered && of_driver;
        if entered {
            self.take_entry(header, key);
        }
        if (self.held || entered) && follow.descriptors != 0 {
            self.compare_descriptors(header, key, follow.descriptors);
        }
        if let Some(fd) = seen.fd
            && !failed
            && follow.descriptors != 0
            && !matches!(follow.fd, FdOf::Returned)
            && !self.held
        {
            self.look_up_descriptor(header, key, fd);
        }
        if follow.directories != 0 && !self.held && !entered && header.ret != EBADF {
            self.look_up_directories(header, key, follow.directories);
        }
        // a file of another format may not say which descriptor, or which id, the call was about
        let about_unknown = event.lacks(0) && !matches!(follow.fd, FdOf::Returned);
        if follow.effect == Effect::None || about_unknown {
            return;
        }
        if at_entry && !takes_effect {
            let mut call = Call::new(event, call_of, key, true);
            call.entered = true;
            if matches!(
                follow.effect,
                Effect::Connect | Effect::Send { .. } | Effect::Bind
            ) {
                // whom the program wants to reach, or where: that is what the event is about, and no change of the state
                self.apply(follow.effect, call_of, &call, seen);
            }
            self.forget(follow.effect, &call, seen);
            return;
        }
        // a connection that is being made; sending makes one with MSG_FASTOPEN
        let may_be_pending = matches!(follow.effect, Effect::Connect | Effect::Send { .. });
        if failed && !(may_be_pending && header.ret == EINPROGRESS) {
            return;
        }
        let scanned = self
            .processes
            .get(key)
            .map_or(0, |process| process.scanned_ns);
        let mut call = Call::new(event, call_of, key, scanned > header.time_ns);
        if connects {
            call.ret = EINPROGRESS;
        }
        self.apply(follow.effect, call_of, &call, seen);
    }

    fn apply(
        &mut self,
        effect: Effect,
        of: &'static Syscall,
        call: &Call<'_, '_>,
        seen: &mut Seen,
    ) {
        match effect {
            Effect::None => {}
            Effect::Open { path, dirfd, flags } => self.open(call, path, dirfd, flags, seen),
            Effect::Anonymous(kind, close_on_exec) => {
                self.open_anonymous(call, kind, close_on_exec, seen);
            }
            Effect::Memfd => self.memfd(call, seen),
            Effect::Close => self.close(call, seen),
            Effect::CloseRange => self.close_range(call),
            Effect::Dup => self.duplicate(call, false, seen),
            Effect::DupTo(flags) => {
                if call.fd(0) != call.fd(1) {
                    self.duplicate(call, call.has(flags, CLOEXEC), seen);
                }
            }
            Effect::Fcntl => self.fcntl(call, seen),
            Effect::Pipe(flags) => {
                // pipes have no names, but for those that a capture lists
                let mut pipe = Descriptor::bare(DescriptorKind::Pipe);
                if let Some(path) = call.event.fact(Fact::Path) {
                    path.append_text(&mut pipe.name);
                }
                self.pair(call, 0, pipe, call.has(flags, CLOEXEC));
            }
            Effect::Socketpair => {
                let unix = Descriptor::bare(DescriptorKind::Unix);
                self.pair(call, 3, unix, call.has(Some(1), CLOEXEC));
            }
            Effect::Socket => self.open_socket(call, seen),
            Effect::Connect => self.connect(call, seen),
            Effect::Send { to, flags } => {
                let opens = call.has(Some(flags), MSG_FASTOPEN);
                self.datagram(call, Peer::To { at: to, opens }, seen);
            }
            Effect::ReceiveFrom(at) => self.datagram(call, Peer::From { at }, seen),
            Effect::Receive => {
                self.datagram(call, Peer::From { at: 1 }, seen);
                self.receive(call);
            }
            Effect::Accept(flags) => self.accept(call, flags, seen),
            Effect::Bind => self.bind(call, seen),
            Effect::Listen => self.change_socket(call, seen, |socket| socket.role = Role::Server),
            Effect::Namespaces { flags, joins } => {
                self.namespaces(call, call.int(flags.into()), joins);
            }
            Effect::Root => {
                self.take_directory(call);
                self.take_root(call);
                self.look_at_cgroups(call.key);
            }
            Effect::Capset => self.capset(call, of),
            Effect::Bpf => self.bpf(call, seen),
            Effect::Pidfd => self.pidfd(call, seen),
            Effect::PidfdGetfd => self.pidfd_getfd(call, seen),
            Effect::Ioctl => self.ioctl(call, of, seen),
            Effect::Chdir | Effect::Fchdir => self.change_directory(call, effect),
            Effect::SetUid(at) => self.set_user(call, of, at),
            Effect::SetGid(at) => self.set_group_id(call, at),
            Effect::Prctl => self.prctl(call),
            Effect::SetSid | Effect::SetPgid => self.set_group(call, effect),
        }
    }

    fn open_anonymous(
        &mut self,
        call: &Call<'_, '_>,
        kind: DescriptorKind,
        close_on_exec: CloseOnExec,
        seen: &mut Seen,
    ) {
        let close_on_exec = match close_on_exec {
            CloseOnExec::Never => false,
            CloseOnExec::Always => true,
            CloseOnExec::Flag(at) => call.has(Some(at), CLOEXEC),
        };
        let mut new = Descriptor::bare(kind);
        if kind == DescriptorKind::Other
            && let Some(path) = call.event.fact(Fact::Path)
        {
            path.append_text(&mut new.name);
            new.file = call.event.opened().as_ref().map(FileId::of);
        }
        self.install_new(call, new, close_on_exec, seen);
    }

    /// bpf(2): some commands make a descriptor, which exec closes.
    fn bpf(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        if effects::BPF_MAKES.contains(&call.int(0)) {
            seen.fd = i32::try_from(call.ret).ok();
            self.open_anonymous(call, DescriptorKind::Bpf, CloseOnExec::Always, seen);
        }
    }

    fn open_socket(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        let family = u16::try_from(call.int(0)).unwrap_or(0);
        let kind = sockets::kind_of_family(family);
        let mut socket = Descriptor::bare(kind);
        if kind.is_inet() {
            let protocol = sockets::protocol_of(call.int(1), call.int(2));
            socket.socket = Some(Socket {
                protocol,
                is_v6: kind == DescriptorKind::Ipv6,
                ..Socket::default()
            });
        }
        if kind == DescriptorKind::Netlink {
            let protocol = u16::try_from(call.int(2)).ok();
            socket.netlink = protocol.filter(|protocol| *protocol < sockets::MAX_LINKS);
        }
        self.install_new(call, socket, call.has(Some(1), CLOEXEC), seen);
    }

    /// The event keeps what was closed.
    fn close(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        if call.applied {
            return;
        }
        let Some(files) = self.files_of(call.key, call.tid()) else {
            return;
        };
        let closed = self.files.remove(files, call.fd(0));
        seen.kept = closed.map(|entry| entry.descriptor);
        if let Some(closed) = &seen.kept {
            self.files.pool.close(closed);
        }
    }

    /// Makes a number refer to a descriptor, unless the call's effect is already known.
    pub(super) fn store(
        &mut self,
        call: &Call<'_, '_>,
        fd: i32,
        descriptor: Arc<Descriptor>,
        cloexec: bool,
    ) {
        if !call.applied
            && let Some(files) = self.files_of(call.key, call.tid())
        {
            self.files.insert(files, fd, descriptor, cloexec);
        }
    }

    /// The call returned a descriptor for something new.
    pub(super) fn install_new(
        &mut self,
        call: &Call<'_, '_>,
        what: Descriptor,
        cloexec: bool,
        seen: &mut Seen,
    ) {
        let descriptor = self.files.pool.place(what);
        self.install(call, descriptor, cloexec, seen);
    }

    /// The call returned a number that refers to this.
    pub(super) fn install(
        &mut self,
        call: &Call<'_, '_>,
        descriptor: Arc<Descriptor>,
        cloexec: bool,
        seen: &mut Seen,
    ) {
        let Ok(fd) = i32::try_from(call.ret) else {
            return;
        };
        seen.kept = Some(descriptor.clone());
        self.store(call, fd, descriptor, cloexec);
    }

    fn open(
        &mut self,
        call: &Call<'_, '_>,
        path_at: Option<u8>,
        dirfd: Option<u8>,
        flags: OpenFlags,
        seen: &mut Seen,
    ) {
        let said = path_at.and_then(|at| call.text(at.into()));
        let mut name = std::mem::take(&mut self.scratch);
        name.clear();
        if let Some(fact) = call.event.fact(Fact::Path) {
            fact.append_text(&mut name);
        } else if let Some(said) = &said {
            self.resolve_path(call, dirfd, said, &mut name);
        }
        let flags = flags_of_open(call.event, flags).unwrap_or(0);
        let opened = call.event.opened();
        // O_TMPFILE has the bit of O_DIRECTORY, and makes a file
        let asks = flags & o_directory(call.event.abi()) != 0 && flags & TMPFILE == 0;
        // a capture of Falco says which file it is, but not its type
        let of_type = opened.filter(|file| file.mode != 0);
        let is_directory = of_type.map_or(asks, |file| file.is_directory());
        let kind = if is_directory {
            DescriptorKind::Directory
        } else {
            DescriptorKind::File
        };
        let file = opened.as_ref().map(FileId::of);
        let descriptor = (self.files.pool).opened(kind, &name, said.as_deref(), file);
        if flags & O_ACCMODE != 0 {
            self.open_comm(call, &name);
            self.open_login(call, &name);
            self.open_cgroup(call, &name);
        }
        // only who can read a terminal gets it: tty_open_proc_set_tty in drivers/tty/tty_jobctrl.c
        if flags & O_NOCTTY == 0 && flags & O_ACCMODE != O_WRONLY {
            self.open_terminal(call, &name);
        }
        self.scratch = name;
        self.install(call, descriptor, flags & CLOEXEC != 0, seen);
    }

    /// Appends a path of a call, made absolute without access to files. It stays relative if its directory is not known.
    pub(super) fn resolve_path(
        &self,
        call: &Call<'_, '_>,
        dirfd: Option<u8>,
        said: &[u8],
        out: &mut Vec<u8>,
    ) {
        let process = self.processes.get(call.key);
        let root = process.map(|process| self.root(process, call.tid()));
        let base = self.base_directory(call, dirfd);
        path::resolve_within(&root.unwrap_or_default(), base, said, out);
    }

    /// The directory at which a call's relative path begins. Empty: not known.
    pub(super) fn base_directory(&self, call: &Call<'_, '_>, dirfd: Option<u8>) -> &[u8] {
        let Some(process) = self.processes.get(call.key) else {
            return &[];
        };
        match dirfd.map(|at| call.fd(usize::from(at))) {
            None | Some(AT_FDCWD) => self.cwd(process, call.tid()),
            Some(fd) => {
                let entry = self.files.get(process.files_of(call.tid()), fd);
                entry.map_or(&[], |entry| &entry.descriptor.name)
            }
        }
    }

    fn memfd(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        // the kernel's name for it: "/memfd:" and the program's name
        let mut name = std::mem::take(&mut self.scratch);
        name.clear();
        name.extend_from_slice(b"/memfd:");
        if let Some(said) = call.event.argument(0) {
            said.append_text(&mut name);
        }
        let descriptor = self.files.pool.file(DescriptorKind::Memfd, &name, None);
        self.scratch = name;
        self.install(call, descriptor, call.args[1] & MFD_CLOEXEC != 0, seen);
    }

    fn close_range(&mut self, call: &Call<'_, '_>) {
        if call.applied {
            return;
        }
        if call.args[2] & CLOSE_RANGE_UNSHARE != 0 {
            self.unshare_files(call.key, call.tid());
        }
        let Some(files) = self.files_of(call.key, call.tid()) else {
            return;
        };
        let mark = call.args[2] & CLOSE_RANGE_CLOEXEC != 0;
        let (first, last) = (u32_in(call.args[0]), u32_in(call.args[1]));
        self.files.close_range(files, first, last, mark);
    }

    fn duplicate(&mut self, call: &Call<'_, '_>, cloexec: bool, seen: &mut Seen) {
        let Some(files) = self.files_of(call.key, call.tid()) else {
            return;
        };
        let Ok(new) = i32::try_from(call.ret) else {
            return;
        };
        let original = self
            .files
            .get(files, call.fd(0))
            .map(|entry| entry.descriptor.clone());
        match original {
            Some(descriptor) => {
                seen.kept = Some(descriptor.clone());
                self.store(call, new, descriptor, cloexec);
            }
            // no name is better than that of a former descriptor
            None if !call.applied => {
                self.files.remove(files, new);
            }
            None => {}
        }
    }

    fn fcntl(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        match call.int(1) {
            F_DUPFD => self.duplicate(call, false, seen),
            F_DUPFD_CLOEXEC => self.duplicate(call, true, seen),
            F_SETFD if !call.applied => {
                if let Some(files) = self.files_of(call.key, call.tid()) {
                    let on = call.args[2] & FD_CLOEXEC != 0;
                    self.files.set_close_on_exec(files, call.fd(0), on);
                }
            }
            _ => {}
        }
    }

    /// The kernel wrote two descriptors to the memory behind an argument.
    fn pair(&mut self, call: &Call<'_, '_>, at: usize, what: Descriptor, cloexec: bool) {
        let Some(pair) = call.event.argument(at) else {
            return;
        };
        let descriptor = self.files.pool.place(what);
        for fd in pair.bytes.chunks_exact(4).take(2) {
            if let Ok(fd) = fd.try_into() {
                self.store(call, i32::from_ne_bytes(fd), descriptor.clone(), cloexec);
            }
        }
    }
}
