//! Applies the effects of calls that get descriptors without opening them: received over a socket, taken from another
//! process, copied when a table is no longer shared. Also looks up descriptors whose opening was missed.

use std::io::Write as _;

use driver_api::event::{Header, Part};
use driver_api::table::{self, Syscall};

use super::descriptor::{Descriptor, DescriptorKind};
use super::follow::{Call, fd_in};
use super::process_table::ProcessKey;
use super::program::Capabilities;
use super::{Inspector, Seen};
use decode::{self, control};

const CLONE_FS: u64 = 0x200;
const CLONE_FILES: u64 = 0x400;
const CLONE_NEWNS: u64 = 0x2_0000;
const CLONE_NEWPID: u64 = 0x2000_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
/// include/uapi/asm-generic/ioctls.h
pub(super) const FIONCLEX: u64 = 0x5450;
const FIOCLEX: u64 = 0x5451;
const MSG_CMSG_CLOEXEC: u64 = 0x4000_0000;

/// The name of a pidfd begins with this; the process's id follows.
const PIDFD: &[u8] = b"pid:";

/// The id of the process that a pidfd refers to, in the PID namespace of the process that has opened it. Some calls take a
/// directory of /proc as a pidfd (pidfd_send_signal(2)).
#[must_use]
pub fn pidfd_target(descriptor: &Descriptor) -> Option<u32> {
    let name = &*descriptor.name;
    let pid = name
        .strip_prefix(PIDFD)
        .or_else(|| name.strip_prefix(b"/proc/"))?;
    std::str::from_utf8(pid).ok()?.parse().ok()
}

/// A pidfd of this process.
pub(super) fn pidfd_of(pid: u32) -> Descriptor {
    let mut name = PIDFD.to_vec();
    let _ = write!(name, "{pid}");
    Descriptor::named(DescriptorKind::Pidfd, &name)
}

/// The most unknown descriptors that are looked up in /proc in one second of event time.
pub(super) const LOOKUPS_PER_S: u32 = 500;

/// Limits how often something is done per second of event time.
#[derive(Debug, Default)]
pub(super) struct Budget {
    until_ns: u64,
    spent: u32,
}

impl Budget {
    /// Whether it may be done once more in this second.
    pub(super) fn take(&mut self, now_ns: u64, per_s: u32) -> bool {
        if now_ns >= self.until_ns {
            self.until_ns = now_ns.saturating_add(1_000_000_000);
            self.spent = 0;
        }
        self.spent += 1;
        self.spent <= per_s
    }
}

impl Inspector {
    /// Looks up a descriptor that an event is about, if it is unknown: it came over a socket, or its opening was
    /// missed. Usually /proc still has it.
    pub(super) fn look_up_descriptor(&mut self, header: &Header, key: ProcessKey, fd: i32) {
        let Some(files) = self.files_of(key, header.tid) else {
            return;
        };
        if self.proc_fs.is_none()
            || self.files.get(files, fd).is_some()
            || !self.lookups.take(header.time_ns, LOOKUPS_PER_S)
        {
            return;
        }
        self.compare_descriptor(header, key, fd);
    }

    /// Looks up the unknown directories where the paths of a call begin. `arguments` has one bit for each.
    pub(super) fn look_up_directories(&mut self, header: &Header, key: ProcessKey, arguments: u8) {
        for (at, argument) in header.args.into_iter().enumerate() {
            let fd = fd_in(argument);
            if arguments & (1 << at) != 0 && fd >= 0 {
                self.look_up_descriptor(header, key, fd);
            }
        }
    }

    /// recvmsg(2), recvmmsg(2): received descriptors are new, whatever their numbers referred to before.
    pub(super) fn receive(&mut self, call: &Call<'_, '_>) {
        let header = *call.event.header();
        let narrow = table::is_narrow(call.event.abi(), header.nr);
        let parts = call
            .event
            .parts(1)
            .filter(|part| part.part == Part::Control);
        let Some(files) = self.files_of(call.key, call.tid()) else {
            return;
        };
        for part in parts {
            for message in control::messages(part.bytes, narrow) {
                for fd in message.descriptors().into_iter().flatten() {
                    if call.applied {
                        continue;
                    }
                    self.files.remove(files, fd);
                    self.look_up_descriptor(&header, call.key, fd);
                    // the third argument of recvmsg(2), the fourth of recvmmsg(2)
                    let flags = call.args[2] | call.args[3];
                    let cloexec = flags & MSG_CMSG_CLOEXEC != 0;
                    self.files.set_close_on_exec(files, fd, cloexec);
                }
            }
        }
    }

    /// pidfd_open(2)
    pub(super) fn pidfd(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        let mut name = std::mem::take(&mut self.scratch);
        name.clear();
        name.extend_from_slice(PIDFD);
        let _ = write!(name, "{}", fd_in(call.args[0]));
        let descriptor = self.files.pool.file(DescriptorKind::Pidfd, &name, None);
        self.scratch = name;
        self.install(call, descriptor, true, seen);
    }

    /// pidfd_getfd(2): duplicates another process's descriptor. The id in the pidfd's name is of the caller's pid
    /// namespace. If that is not the host's, /proc is asked.
    pub(super) fn pidfd_getfd(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        let pid = self
            .descriptor_of(call.key, call.tid(), call.fd(0))
            .and_then(pidfd_target);
        let is_host_namespace = self
            .processes
            .get(call.key)
            .is_some_and(|process| process.vpid == Some(process.pid));
        let original = pid
            .filter(|_| is_host_namespace)
            .and_then(|pid| self.files_of(self.processes.key(pid)?, pid))
            .and_then(|files| self.files.get(files, call.fd(1)))
            .map(|entry| entry.descriptor.clone());
        let Some(new) = seen.fd else { return };
        match original {
            Some(descriptor) => {
                seen.kept = Some(descriptor.clone());
                self.store(call, new, descriptor, true);
            }
            None if !call.applied => {
                if let Some(files) = self.files_of(call.key, call.tid()) {
                    self.files.remove(files, new);
                }
                let header = *call.event.header();
                self.look_up_descriptor(&header, call.key, new);
            }
            None => {}
        }
    }

    /// ioctl(2): FIOCLEX and FIONCLEX on any descriptor, terminals, and what a seccomp listener does.
    pub(super) fn ioctl(&mut self, call: &Call<'_, '_>, of: &'static Syscall, seen: &mut Seen) {
        self.ioctl_on_terminal(call, seen);
        self.supervise(call, of);
        let on = match call.int(1) {
            FIOCLEX => true,
            FIONCLEX => false,
            _ => return,
        };
        if let Some(files) = self
            .files_of(call.key, call.tid())
            .filter(|_| !call.applied)
        {
            self.files.set_close_on_exec(files, call.fd(0), on);
        }
    }

    /// unshare(2), setns(2): a shared descriptor table is copied, and ids get another meaning.
    pub(super) fn namespaces(&mut self, call: &Call<'_, '_>, flags: u64, joins: bool) {
        let Some(process) = self.processes.get_mut(call.key) else {
            return;
        };
        // setns(2) with 0 joins a namespace of any type
        let any = joins && flags == 0;
        if any || flags & CLONE_NEWPID != 0 {
            process.children_in_other_pid_ns = true;
        }
        if any || flags & CLONE_NEWUSER != 0 {
            process.change_credentials(call.tid(), |own| own.capabilities = None);
            process.in_other_user_ns = true;
        }
        if !joins && !call.applied {
            if flags & CLONE_FILES != 0 {
                self.unshare_files(call.key, call.tid());
            }
            // unshare(2): a thread in a user or mount namespace of its own has a directory of its own
            if flags & (CLONE_FS | CLONE_NEWNS | CLONE_NEWUSER) != 0 {
                self.unshare_directory(call.key, call.tid());
            }
        }
        if joins && flags & CLONE_NEWNS != 0 && !call.applied {
            // setns(2): the thread is at the root of the mount namespace that it joins
            self.set_cwd(call.key, call.tid(), b"/");
            self.set_root(call.key, call.tid(), b"/");
        }
        self.take_directory(call);
        self.look_at_cgroups(call.key);
    }

    /// capset(2)
    pub(super) fn capset(&mut self, call: &Call<'_, '_>, of: &'static Syscall) {
        let set = |name| {
            let Some(decode::Value::Struct(data)) = decode::param(call.event, of, 1) else {
                return None;
            };
            let Some(decode::Value::Capabilities(set)) = data.field(name) else {
                return None;
            };
            Some(set.0)
        };
        let sets = || {
            Some(Capabilities {
                inheritable: set("inheritable")?,
                permitted: set("permitted")?,
                effective: set("effective")?,
            })
        };
        let capabilities = sets();
        if let Some(process) = self.processes.get_mut(call.key).filter(|_| !call.applied) {
            process.change_credentials(call.tid(), |own| own.capabilities = capabilities);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn a_budget_lasts_for_a_second() {
        let mut budget = Budget::default();
        assert_eq!((0..5).filter(|_| budget.take(10, 3)).count(), 3);
        assert!(!budget.take(999_999_999, 3));
        assert!(budget.take(1_000_000_010, 3));
    }
}
