//! Descriptors that a seccomp listener puts into the process whose call it answers (seccomp_unotify(2)).
//!
//! The listener receives a notification, which has an id and says whose call it is. It then names the id, a descriptor of
//! its own, and a number in that process, which may be one that the process uses already.

use std::collections::VecDeque;

use driver_api::table::Syscall;

use super::Inspector;
use super::follow::{CLOEXEC, Call};
use super::process_table::ProcessKey;
use decode::Value;

/// include/uapi/linux/seccomp.h
const NOTIF_RECV: u64 = 0xc050_2100;
const NOTIF_ADDFD: u64 = 0x4018_2103;
/// The requests of ioctl(2) that are for a listener: their type (`SECCOMP_IOC_MAGIC`).
pub(super) const SECCOMP_REQUEST: u64 = 0x2100;
pub(super) const SECCOMP_REQUEST_MASK: u64 = 0xff00;

/// The most notifications that are remembered: beyond, the oldest are forgotten.
const MOST: usize = 256;

/// Whose calls wait for an answer, by the ids of notifications.
#[derive(Debug, Default)]
pub(super) struct Notifications(VecDeque<Notification>);

#[derive(Debug, Clone, Copy)]
struct Notification {
    id: u64,
    process: ProcessKey,
    tid: u32,
}

impl Notifications {
    fn remember(&mut self, new: Notification) {
        self.0.retain(|old| old.id != new.id);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(new);
    }

    fn find(&self, id: u64) -> Option<Notification> {
        self.0.iter().find(|known| known.id == id).copied()
    }
}

/// A number in the structure that an ioctl(2) points to.
fn number(call: &Call<'_, '_>, of: &'static Syscall, name: &str) -> Option<u64> {
    let Some(Value::Struct(said)) = decode::param(call.event, of, 2) else {
        return None;
    };
    match said.field(name)? {
        Value::Number(number) => Some(number.signed().cast_unsigned()),
        Value::Flags(flags) => Some(flags.0),
        _ => None,
    }
}

/// The same, of 32 bits.
fn word(call: &Call<'_, '_>, of: &'static Syscall, name: &str) -> Option<u32> {
    u32::try_from(number(call, of, name)? & 0xffff_ffff).ok()
}

impl Inspector {
    /// ioctl(2) on a listener.
    pub(super) fn supervise(&mut self, call: &Call<'_, '_>, of: &'static Syscall) {
        match call.int(1) {
            NOTIF_RECV => {
                let whose = || {
                    let id = number(call, of, "id")?;
                    let (process, tid) = self.supervised(call, word(call, of, "pid")?)?;
                    Some(Notification { id, process, tid })
                };
                if let Some(notification) = whose() {
                    self.notifications.remember(notification);
                }
            }
            NOTIF_ADDFD if !call.applied => {
                if let Some(id) = number(call, of, "id")
                    && let Some(to) = self.notifications.find(id)
                {
                    self.add_descriptor(call, of, to);
                }
            }
            _ => {}
        }
    }

    /// The process and thread with this id, which a notification gives in the listener's namespace of process ids.
    fn supervised(&self, call: &Call<'_, '_>, pid: u32) -> Option<(ProcessKey, u32)> {
        let listener = self.processes.get(call.key)?;
        if listener.vpid.is_none_or(|vpid| vpid == listener.pid) {
            let process = self.process_of_thread(pid)?;
            return Some((self.processes.key(process.pid)?, pid));
        }
        // the namespace of a container has as many processes with this id as there are containers
        let container = |id: &Option<_>| id.as_ref().map(std::sync::Arc::as_ptr);
        let own = container(&listener.cgroups.container);
        let mut all = self.living().filter(|(_, process)| {
            process.vpid == Some(pid)
                && process.pid != pid
                && container(&process.cgroups.container) == own
        });
        let (key, process) = all.next()?;
        all.next().is_none().then_some((key, process.pid))
    }

    /// `SECCOMP_IOCTL_NOTIF_ADDFD`: the call returns the number that the other process has for the descriptor.
    fn add_descriptor(&mut self, call: &Call<'_, '_>, of: &'static Syscall, to: Notification) {
        let header = *call.event.header();
        let Some(own) = word(call, of, "srcfd").map(u32::cast_signed) else {
            return;
        };
        self.look_up_descriptor(&header, call.key, own);
        let files = self.files_of(to.process, to.tid);
        let (Some(files), Ok(fd)) = (files, i32::try_from(call.ret)) else {
            return;
        };
        let original = self
            .files_of(call.key, call.tid())
            .and_then(|files| self.files.get(files, own))
            .map(|entry| entry.descriptor.clone());
        match original {
            Some(descriptor) => {
                let flags = number(call, of, "newfd_flags").unwrap_or(0);
                self.files
                    .insert(files, fd, descriptor, flags & CLOEXEC != 0);
            }
            // no name is better than that of a former descriptor
            None => drop(self.files.remove(files, fd)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Ev, feed, isolated};
    use super::*;
    use driver_api::event::Fact;

    fn opened(pid: u32, path: &str, fd: i64) -> Ev {
        Ev::call(pid, "openat", &[-100, 1, 0, 0], fd)
            .said(1, path.as_bytes())
            .fact(Fact::Path, path.as_bytes())
    }

    fn received(id: u64, of: u32) -> Ev {
        let mut notification = [0; 80];
        notification[..8].copy_from_slice(&id.to_ne_bytes());
        notification[8..12].copy_from_slice(&of.to_ne_bytes());
        Ev::call(20, "ioctl", &[9, NOTIF_RECV.cast_signed(), 1], 0).said(2, &notification)
    }

    fn added(id: u64, own: u32, to: i64) -> Ev {
        let mut request = [0; 24];
        request[..8].copy_from_slice(&id.to_ne_bytes());
        request[12..16].copy_from_slice(&own.to_ne_bytes());
        Ev::call(20, "ioctl", &[9, NOTIF_ADDFD.cast_signed(), 1], to).said(2, &request)
    }

    /// What number 3 of process 10 is, after process 20 has put its own number into the place of `/innocent`.
    fn third(events: &[Ev]) -> Option<String> {
        let mut state = isolated();
        let before = [
            Ev::fork(10, 20, 20, 0),
            opened(10, "/innocent", 3),
            opened(20, "/secret", 5),
        ];
        feed(&mut state, &before);
        feed(&mut state, events);
        let seen = feed(&mut state, &[Ev::call(10, "read", &[3, 1, 1], 1)]);
        let descriptor = state.descriptor(&seen)?;
        Some(String::from_utf8_lossy(&descriptor.name).into_owned())
    }

    #[test]
    fn a_listeners_descriptor_takes_the_place_of_another() {
        let secret = Some("/secret".to_owned());
        assert_eq!(third(&[received(7, 10), added(7, 5, 3)]), secret);
        // the latest notification of an id counts, and others do not matter
        let others = [received(7, 20), received(8, 10), received(7, 10)];
        let mut events = others.to_vec();
        events.push(added(7, 5, 3));
        assert_eq!(third(&events), secret);
    }

    #[test]
    fn what_is_not_known_has_no_name_and_what_fails_changes_nothing() {
        let innocent = Some("/innocent".to_owned());
        assert_eq!(third(&[received(7, 10), added(7, 6, 3)]), None);
        assert_eq!(third(&[received(7, 10), added(8, 5, 3)]), innocent);
        assert_eq!(third(&[received(7, 10), added(7, 5, -9)]), innocent);
    }
}
