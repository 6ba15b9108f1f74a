//! Applies the effects of calls on a process itself: its working directory, ids, name and group.

use std::borrow::Cow;

use driver_api::event::{Event, Fact, Flags};
use driver_api::table::Syscall;

use super::Inspector;
use super::effects::{self, Effect};
use super::follow::{Call, u32_in};
use super::process::{Credentials, Process};
use super::process_table::ProcessKey;

pub(super) const PR_SET_KEEPCAPS: u64 = 8;
pub(super) const PR_SET_NAME: u64 = 15;
pub(super) const PR_SET_SECUREBITS: u64 = 28;
pub(super) const PR_SET_CHILD_SUBREAPER: u64 = 36;
/// An id that leaves the process's id as it is.
pub(super) const UNCHANGED: u32 = u32::MAX;

impl Inspector {
    pub(super) fn change_directory(&mut self, call: &Call<'_, '_>, effect: Effect) {
        if call.applied {
            return;
        }
        let mut cwd = std::mem::take(&mut self.scratch);
        cwd.clear();
        // a stopped thread still has the directory that it has just entered
        let stopped = || {
            let proc_fs = self.proc_fs.as_ref().filter(|_| self.held)?;
            proc_fs.link(call.tid(), "cwd")
        };
        if let Some(fact) = call.event.fact(Fact::Cwd) {
            fact.append_text(&mut cwd);
        } else if let Some(found) = stopped() {
            let path = found.strip_suffix(b" (deleted)").unwrap_or(&found);
            cwd.extend_from_slice(path);
        } else if effect == Effect::Fchdir {
            cwd.extend_from_slice(
                self.descriptor_of(call.key, call.tid(), call.fd(0))
                    .map_or(&[], |directory| &directory.name),
            );
        } else if let Some(said) = call.text(0) {
            self.resolve_path(call, None, &said, &mut cwd);
        }
        self.set_cwd(call.key, call.tid(), &cwd);
        self.scratch = cwd;
    }

    /// Takes the working directory that a call has left, if the driver says which.
    pub(super) fn take_directory(&mut self, call: &Call<'_, '_>) {
        if let Some(fact) = call.event.fact(Fact::Cwd)
            && !call.applied
        {
            let cwd = fact.text();
            self.set_cwd(call.key, call.tid(), &cwd);
        }
    }

    /// A call has changed the root directory. If the driver does not say to which, it is that of the mount namespace
    /// (pivot_root(2)).
    pub(super) fn take_root(&mut self, call: &Call<'_, '_>) {
        if !call.applied {
            let root = call.event.fact(Fact::Root);
            let root = root
                .as_ref()
                .map_or(Cow::Borrowed(&b"/"[..]), |root| root.text());
            self.set_root(call.key, call.tid(), &root);
        }
    }

    /// Takes the real ids, which every event has. If they changed and no call explains it, the effective ids are taken
    /// to have changed as well.
    pub(super) fn credentials(
        &mut self,
        event: &Event<'_>,
        call: Option<&'static Syscall>,
        key: ProcessKey,
    ) {
        let header = event.header();
        let Some(process) = self.processes.get_mut(key) else {
            return;
        };
        if process.scanned_ns > header.time_ns {
            return;
        }
        let known = process.credentials(header.tid);
        if known.stale {
            let found = (self.proc_fs.as_ref())
                .and_then(|proc_fs| proc_fs.credentials(header.tgid, header.tid));
            let real = Credentials::of_event(header);
            process.change_credentials(header.tid, |own| own.read_again(found.unwrap_or(real)));
        }
        let known = process.credentials(header.tid);
        if (known.uid, known.gid) == (header.uid, header.gid) {
            return;
        }
        let sets_user = |call| matches!(effects::of(call).effect, Effect::SetUid(_));
        let explained = header.ret == 0 && !event.has(Flags::ENTRY) && call.is_some_and(sets_user);
        process.change_credentials(header.tid, |own| {
            if own.uid != header.uid && !explained {
                own.uid = header.uid;
                own.euid = header.uid;
                own.saved_uid = None;
                own.capabilities = None;
            }
            if own.gid != header.gid {
                own.gid = header.gid;
                own.egid = header.gid;
            }
        });
    }

    /// A call has set the effective group id to the one in its parameter `at`.
    pub(super) fn set_group_id(&mut self, call: &Call<'_, '_>, at: u8) {
        let real = call.event.header().gid;
        let Some(process) = self.processes.get_mut(call.key).filter(|_| !call.applied) else {
            return;
        };
        let id = u32_in(call.args[usize::from(at)]);
        if id == UNCHANGED {
            return;
        }
        // in another user namespace, the id is one of that namespace; the event's and those in /proc are those of the host
        let found = (self.proc_fs.as_ref().filter(|_| process.in_other_user_ns))
            .and_then(|proc_fs| proc_fs.credentials(process.pid, call.tid()));
        let effective = match found {
            Some(found) => found.egid,
            None if process.in_other_user_ns => real,
            None => id,
        };
        process.change_credentials(call.tid(), |own| own.egid = effective);
    }

    /// prctl(2): what is followed of it.
    pub(super) fn prctl(&mut self, call: &Call<'_, '_>) {
        let on = call.args[1] != 0;
        match (call.int(0), self.processes.get_mut(call.key)) {
            (PR_SET_NAME, _) => self.set_thread_name(call),
            (PR_SET_CHILD_SUBREAPER, Some(process)) => process.subreaper = on,
            // that the flag is cleared says nothing about the other bits
            (PR_SET_KEEPCAPS, Some(process)) if on => {
                process.change_credentials(call.tid(), |own| own.keeps_capabilities = true);
            }
            (PR_SET_SECUREBITS, Some(process)) => {
                process.change_credentials(call.tid(), |own| own.keeps_capabilities = on);
            }
            (_, _) => {}
        }
    }

    /// `PR_SET_NAME`. If the driver did not capture the name, /proc has it.
    fn set_thread_name(&mut self, call: &Call<'_, '_>) {
        let header = call.event.header();
        let name = match (call.event.argument(1), &self.proc_fs) {
            (Some(said), _) => Cow::Borrowed(&said.bytes[..said.bytes.len().min(15)]),
            (None, Some(proc_fs)) => match proc_fs.thread_name(header.tgid, header.tid) {
                Some(name) => Cow::Owned(name),
                None => return,
            },
            (None, None) => return,
        };
        let Some((process, texts)) = self.processes.edit(call.key) else {
            return;
        };
        if header.tid == header.tgid {
            // the other threads keep the name that they shared with the process
            let old = process.name.clone();
            for thread in process.threads.iter_mut().filter(|t| t.tid != header.tid) {
                thread.name.get_or_insert_with(|| old.clone());
            }
            texts.set(&mut process.name, &name);
        } else if let Some(thread) = process.threads.get_mut(header.tid) {
            texts.set(thread.name.get_or_insert_default(), &name);
        }
    }

    /// A file was opened for writing. If it is `/proc/PID/comm` or `/proc/PID/task/TID/comm`, its names are read from
    /// /proc from now on. The id may be of another pid namespace, so those of the calling process are, too.
    pub(super) fn open_comm(&mut self, call: &Call<'_, '_>, path: &[u8]) {
        let Some(inner) = path
            .strip_prefix(b"/proc/")
            .and_then(|path| path.strip_suffix(b"/comm"))
        else {
            return;
        };
        let pid = inner.split(|&b| b == b'/').next().unwrap_or_default();
        let pid = std::str::from_utf8(pid)
            .ok()
            .and_then(|pid| pid.parse().ok());
        let named = pid.and_then(|pid| self.processes.key(pid));
        for key in named.into_iter().chain([call.key]) {
            if let Some(process) = self.processes.get_mut(key) {
                process.renamed_by_file = true;
            }
        }
    }

    /// A file was opened for writing. If it is `/proc/self/loginuid`, /proc is asked for the login from now on: writing to it is
    /// not captured.
    pub(super) fn open_login(&mut self, call: &Call<'_, '_>, path: &[u8]) {
        if path.starts_with(b"/proc/")
            && path.ends_with(b"/loginuid")
            && let Some(process) = self.processes.get_mut(call.key)
        {
            process.login_by_file = true;
        }
    }

    /// The user that a process has logged in as; `u32::MAX`: none.
    #[must_use]
    pub fn login(&self, process: &Process, tid: u32) -> u32 {
        let asks = process.login_by_file && !process.ended;
        let asked = (self.proc_fs.as_ref().filter(|_| asks))
            .and_then(|proc_fs| proc_fs.login(process.pid, tid));
        asked.unwrap_or(process.loginuid)
    }

    /// The name of a thread. If a program may have changed it by a file in /proc, /proc is asked.
    #[must_use]
    pub fn thread_name<'a>(&'a self, process: &'a Process, tid: u32) -> Cow<'a, [u8]> {
        let asks = process.renamed_by_file && !process.ended;
        let asked = (self.proc_fs.as_ref().filter(|_| asks))
            .and_then(|proc_fs| proc_fs.thread_name(process.pid, tid));
        asked.map_or_else(|| Cow::Borrowed(process.thread_name(tid)), Cow::Owned)
    }

    pub(super) fn set_group(&mut self, call: &Call<'_, '_>, effect: Effect) {
        if effect == Effect::SetSid {
            let own = call.event.header().tgid;
            if let Some(process) = self.processes.get_mut(call.key) {
                process.sid = own;
                process.pgid = own;
                process.vpgid = process.vpid;
                process.tty = 0;
            }
            return;
        }
        let Some(target) = self.process_as_named(call.key, call.args[0]) else {
            return;
        };
        let group = match u32_in(call.args[1]) {
            0 => Some(target),
            _ => self.process_as_named(call.key, call.args[1]),
        };
        let group = group.and_then(|leader| self.processes.get(leader));
        let Some(pid) = self.processes.get(target).map(|process| process.pid) else {
            return;
        };
        // the leader of the group may have ended, or may be no relative of the caller
        let pgid = group.map(|leader| leader.pid).or_else(|| {
            let caller = self.processes.get(call.key)?;
            if caller.vpid == Some(caller.pid) {
                return Some(u32_in(call.args[1]));
            }
            Some(self.proc_fs.as_ref()?.groups(pid)?.0)
        });
        let caller = self.processes.get(call.key);
        let named = caller.map(|caller| (caller.vpid, caller.vpid == Some(caller.pid)));
        if let Some(process) = self.processes.get_mut(target)
            && let Some(pgid) = pgid
        {
            process.pgid = pgid;
            let same_namespace = target == call.key
                || named.is_some_and(|(_, host)| host == (process.vpid == Some(process.pid)));
            process.vpgid = match u32_in(call.args[1]) {
                _ if pgid == process.pid => process.vpid,
                0 => None,
                // the number that it has for the caller
                number => same_namespace.then_some(number),
            };
        }
    }

    /// The process that a call names by an id in the caller's pid namespace; 0: the caller. In another namespace than the
    /// host's, only the caller, its children and its siblings are found.
    pub(super) fn process_as_named(&self, caller: ProcessKey, argument: u64) -> Option<ProcessKey> {
        let id = u32_in(argument);
        let process = self.processes.get(caller)?;
        if id == 0 || process.vpid == Some(id) {
            return Some(caller);
        }
        if process.vpid == Some(process.pid) {
            return self.processes.key(id);
        }
        let parents = [Some(caller), process.parent.or(Some(caller))];
        let is_meant = |other: &Process| {
            parents.contains(&other.parent) && other.vpid == Some(id) && other.pid != id
        };
        self.living()
            .find(|(_, other)| is_meant(other))
            .map(|(key, _)| key)
    }
}
