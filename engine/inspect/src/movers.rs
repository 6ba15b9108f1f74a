//! Processes that may be about to move to other cgroups. Who writes a process's id into such a file moves it:
//! `cgroup.procs`, `cgroup.threads`, and `tasks` of version 1 (cgroups(7)). The write itself is captured for rules alone, so
//! /proc is asked for a while after the file was opened.
//!
//! With version 2 alone, the ids in events say it. This is for the other hosts, and for drivers that have no ids.

use std::collections::HashMap;

use driver_api::event::{Event, Fact};
use driver_api::table::{Kind, Syscall};

use super::effects::open_flags;
use super::follow::{O_ACCMODE, flags_of_open};

/// After how many of its events a process is looked at no more. It is looked at with each of the first events, and then less
/// and less often.
const LAST: u16 = 1024;
const EACH: u16 = 8;
/// The most processes that are looked at.
const MANY: usize = 256;

/// Whether writing into a file of this path moves processes.
pub(super) fn moves(path: &[u8]) -> bool {
    const NAMES: [&[u8]; 3] = [b"cgroup.procs", b"cgroup.threads", b"tasks"];
    let name = path.rsplit(|&byte| byte == b'/').next();
    name.is_some_and(|name| NAMES.contains(&name))
}

/// Whether a call opens such a file to write into it.
pub(super) fn opens(event: &Event<'_>, call: &'static Syscall) -> bool {
    let Some(at) = open_flags(call) else {
        return false;
    };
    if event.header().ret < 0 || flags_of_open(event, at).unwrap_or(0) & O_ACCMODE == 0 {
        return false;
    }
    if let Some(path) = event.fact(Fact::Path) {
        return moves(&path.text());
    }
    let path = (0..).zip(call.params).find_map(|(at, param)| {
        let is_path = matches!(param.kind, Kind::Path(_));
        is_path.then(|| event.argument(call.register(event.abi(), at)))
    });
    path.flatten().is_some_and(|path| moves(&path.text()))
}

/// The processes that are looked at.
#[derive(Debug, Default)]
pub(super) struct Movers {
    /// How many events there were since the file was opened, by process id.
    events: HashMap<u32, u16>,
}

impl Movers {
    /// A process has opened such a file.
    #[cold]
    pub(super) fn note(&mut self, pid: u32) {
        if self.events.len() >= MANY {
            self.events.clear();
        }
        self.events.insert(pid, 0);
    }

    /// Whether a process has to be looked at with this event of it.
    #[inline]
    pub(super) fn is_due(&mut self, pid: u32) -> bool {
        !self.events.is_empty() && self.count(pid)
    }

    #[cold]
    fn count(&mut self, pid: u32) -> bool {
        let Some(events) = self.events.get_mut(&pid) else {
            return false;
        };
        *events += 1;
        let is_due = *events <= EACH || events.is_power_of_two();
        if *events >= LAST {
            self.events.remove(&pid);
        }
        is_due
    }

    /// The process has moved, or ended.
    #[inline]
    pub(super) fn forget(&mut self, pid: u32) {
        if !self.events.is_empty() {
            self.events.remove(&pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_at_often_and_then_less() {
        let mut movers = Movers::default();
        assert!(!movers.is_due(7));
        movers.note(7);
        let due: Vec<u32> = (1..=2000).filter(|_| movers.is_due(7)).collect();
        assert_eq!(due.len(), 8 + 7);
        assert_eq!(due.last(), Some(&1024));
        movers.note(7);
        movers.forget(7);
        assert!(!movers.is_due(7));
    }

    #[test]
    fn names_of_files_say_that_they_move_processes() {
        let yes = ["/sys/fs/cgroup/a/cgroup.procs", "tasks", "cgroup.threads"];
        assert!(yes.iter().all(|path| moves(path.as_bytes())));
        let no = ["/a/tasks/b", "/cgroup.procs2", ""];
        assert!(!no.iter().any(|path| moves(path.as_bytes())));
    }
}
