//! Descriptors that come by other ways than opening: passed over a socket, taken from another process, shared no
//! more; and those that are used before anybody has told of them. Part of following calls.

use std::io::Write as _;

use driver_api::event::{Header, Part};
use driver_api::table::{self, Syscall};

use super::descriptor::DescriptorKind;
use super::follow::{Call, fd_in};
use super::process::ProcessKey;
use super::program::Capabilities;
use super::{Inspector, Seen};
use decode::{self, control};

const CLONE_FILES: u64 = 0x400;
const CLONE_NEWPID: u64 = 0x2000_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
/// include/uapi/asm-generic/ioctls.h
const FIONCLEX: u64 = 0x5450;
const FIOCLEX: u64 = 0x5451;
const MSG_CMSG_CLOEXEC: u64 = 0x4000_0000;

/// How a descriptor of a process is called: the process's id follows.
const PIDFD: &[u8] = b"pid:";

/// In a second of event time at most so many unknown descriptors are looked for in /proc.
const LOOKS_PER_S: u32 = 500;

/// How often /proc was asked in this second.
#[derive(Debug, Default)]
pub(super) struct Budget {
    until_ns: u64,
    spent: u32,
}

impl Budget {
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
    /// An event is about a descriptor of which nobody has told: it came over a socket, or its beginning was lost.
    /// /proc still knows it, mostly.
    pub(super) fn look_for(&mut self, header: &Header, key: ProcessKey, fd: i32) {
        let Some(files) = self.files_of(key) else {
            return;
        };
        if self.proc_fs.is_none()
            || self.files.get(files, fd).is_some()
            || !self.looks.take(header.time_ns, LOOKS_PER_S)
        {
            return;
        }
        self.compare_one(header.tid, key, fd);
    }

    /// recvmsg(2), recvmmsg(2): descriptors that came are new, whatever their numbers meant before.
    pub(super) fn receive(&mut self, call: &Call<'_, '_>) {
        let header = *call.event.header();
        let narrow = table::is_narrow(call.event.abi(), header.nr);
        let parts = call
            .event
            .parts(1)
            .filter(|part| part.part == Part::Control);
        let Some(files) = self.files_of(call.key) else {
            return;
        };
        for part in parts {
            for message in control::messages(part.bytes, narrow) {
                for fd in message.descriptors().into_iter().flatten() {
                    if call.known {
                        continue;
                    }
                    self.files.remove(files, fd);
                    self.look_for(&header, call.key, fd);
                    // the flags of recvmmsg(2) stand behind the number of messages
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
        self.have(call, descriptor, true, seen);
    }

    /// pidfd_getfd(2): another process's descriptor becomes ours. Ids are those of the caller's pid namespace, so that
    /// /proc is asked where that is another one.
    pub(super) fn pidfd_getfd(&mut self, call: &Call<'_, '_>, seen: &mut Seen) {
        let pid = self
            .descriptor_of(call.key, call.fd(0))
            .and_then(|pidfd| pidfd.name.strip_prefix(PIDFD))
            .and_then(|pid| std::str::from_utf8(pid).ok()?.parse::<u32>().ok());
        let ours = self
            .processes
            .get(call.key)
            .is_some_and(|process| process.vpid == Some(process.pid));
        let original = pid
            .filter(|_| ours)
            .and_then(|pid| self.files_of(self.processes.key(pid)?))
            .and_then(|files| self.files.get(files, call.fd(1)))
            .map(|entry| entry.descriptor.clone());
        let Some(new) = seen.fd else { return };
        match original {
            Some(descriptor) => {
                seen.kept = Some(descriptor.clone());
                self.store(call, new, descriptor, true);
            }
            None if !call.known => {
                if let Some(files) = self.files_of(call.key) {
                    self.files.remove(files, new);
                }
                let header = *call.event.header();
                self.look_for(&header, call.key, new);
            }
            None => {}
        }
    }

    /// ioctl(2) on any descriptor: FIOCLEX, FIONCLEX.
    pub(super) fn ioctl(&mut self, call: &Call<'_, '_>) {
        let on = match call.args[1] {
            FIOCLEX => true,
            FIONCLEX => false,
            _ => return,
        };
        if let Some(files) = self.files_of(call.key).filter(|_| !call.known) {
            self.files.set_close_on_exec(files, call.fd(0), on);
        }
    }

    /// unshare(2), setns(2): descriptors that were shared are copied, ids mean something else.
    pub(super) fn namespaces(&mut self, call: &Call<'_, '_>, flags: u64, enters: bool) {
        let Some(process) = self.processes.get_mut(call.key) else {
            return;
        };
        // setns(2) with 0 takes whatever namespace the descriptor is of
        let any = enters && flags == 0;
        if any || flags & CLONE_NEWPID != 0 {
            process.children_elsewhere = true;
        }
        if any || flags & CLONE_NEWUSER != 0 {
            process.capabilities = None;
        }
        if !enters && flags & CLONE_FILES != 0 && !call.known {
            let own = self.files.unshare(process.files);
            process.files = own;
        }
        self.look_at_cgroups(call.key);
    }

    /// capset(2)
    pub(super) fn capset(&mut self, call: &Call<'_, '_>, of: &'static Syscall) {
        let sets = |name| match decode::param(call.event, of, 1)? {
            decode::Value::Struct(data) => match data.field(name)? {
                decode::Value::Capabilities(set) => Some(set.0),
                _ => None,
            },
            _ => None,
        };
        let told = || {
            Some(Capabilities {
                inheritable: sets("inheritable")?,
                permitted: sets("permitted")?,
                effective: sets("effective")?,
            })
        };
        let told = told();
        if let Some(process) = self.processes.get_mut(call.key).filter(|_| !call.known) {
            process.capabilities = told;
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
