//! Strangers: threads in a capture file that does not say which process they belong to, such as a file of a few events. What
//! a stranger opens is followed as far as its own events show it. Nothing else is known about it.

use std::sync::Arc;

use driver_api::event::{Event, EventKind};
use driver_api::table;

use super::follow;
use super::process::Process;
use super::process_table::ProcessKey;
use super::{Inspector, Seen};

/// Ids of threads and processes are smaller. The state has a stranger under its id with this bit.
const STRANGER: u32 = 1 << 31;

/// The most processes with strangers among them. More strangers are not followed.
const MOST: usize = 65_536;

impl Inspector {
    /// Follows an event of a thread without a process.
    pub(super) fn follow_stranger(&mut self, event: &Event<'_>, seen: &mut Seen) {
        let header = event.header();
        let pid = header.tid | STRANGER;
        match event.kind() {
            EventKind::Syscall | EventKind::Exec => {}
            EventKind::Exit => {
                if let Some(key) = self.processes.key(pid) {
                    self.end_now(key);
                }
                return;
            }
            EventKind::Fork | EventKind::Signal | EventKind::Lost => return,
        }
        seen.call = table::by_number(event.abi(), header.nr);
        let Some(call) = seen.call else { return };
        let key = match event.kind() {
            EventKind::Syscall => self.stranger(pid),
            _ => None,
        };
        let Some(key) = key else {
            seen.fd = follow::descriptor(event, call);
            return;
        };
        self.follow(event, call, key, seen);
        if let Some(fd) = seen.fd
            && seen.kept.is_none()
        {
            let files = self.processes.get(key).map(|own| own.files);
            let found = files.and_then(|files| self.files.get(files, fd));
            seen.kept = found.map(|entry| Arc::clone(&entry.descriptor));
        }
    }

    /// What is followed of a stranger. `None`: there are too many.
    fn stranger(&mut self, pid: u32) -> Option<ProcessKey> {
        let known = self.processes.key(pid);
        let lives = |key: &ProcessKey| self.processes.get(*key).is_some_and(|own| !own.ended);
        if let Some(key) = known.filter(lives) {
            return Some(key);
        }
        if self.processes.living() >= MOST {
            return None;
        }
        let files = self.files.create();
        Some(self.processes.insert(Process::unknown(pid, files)))
    }
}
