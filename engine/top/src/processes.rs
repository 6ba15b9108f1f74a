//! The processes that events came from, with their ancestors.

use std::collections::HashMap;

use inspect::{Inspector, ProcessKey};

use crate::count::{Count, Passed};
use crate::text::{cut, safe, safe_text};

/// The most processes that are kept.
pub(crate) const MOST: usize = 8192;
/// The most bytes of a command line that are kept.
const COMMAND: usize = 256;

/// A process.
#[derive(Debug, Clone)]
pub(crate) struct ProcessRow {
    pub(crate) pid: u32,
    pub(crate) parent: Option<ProcessKey>,
    /// The kernel's name for it.
    pub(crate) name: String,
    /// Its command line; without one, its name in brackets.
    pub(crate) command: String,
    pub(crate) uid: u32,
    pub(crate) user: String,
    /// The container's name or id; empty: the host.
    pub(crate) container: String,
    pub(crate) count: Count,
    pub(crate) alerts: u64,
    /// Ticks since it ended. None: it lives.
    pub(crate) ended: Option<u32>,
    /// Its program may have changed.
    is_stale: bool,
}

/// All processes that are kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Processes {
    rows: HashMap<ProcessKey, ProcessRow>,
    /// Events of processes that are not kept.
    pub(crate) others: Count,
}

impl Processes {
    /// The row of a process. None: there is no room, or nothing is known of the process.
    pub(crate) fn row(
        &mut self,
        key: ProcessKey,
        inspector: &Inspector,
    ) -> Option<&mut ProcessRow> {
        if !self.rows.contains_key(&key) {
            self.insert(key, inspector);
        }
        self.rows.get_mut(&key)
    }

    fn insert(&mut self, key: ProcessKey, inspector: &Inspector) {
        let mut next = Some(key);
        while let Some(key) = next {
            if self.rows.contains_key(&key) {
                return;
            }
            if self.rows.len() >= MOST && !self.make_room() {
                return;
            }
            let Some(process) = inspector.process(key) else {
                return;
            };
            let mut row = ProcessRow {
                pid: process.pid,
                parent: process.parent,
                name: String::new(),
                command: String::new(),
                uid: 0,
                user: String::new(),
                container: String::new(),
                count: Count::default(),
                alerts: 0,
                ended: None,
                is_stale: true,
            };
            row.describe(key, inspector);
            next = row.parent;
            self.rows.insert(key, row);
        }
    }

    /// Forgets half of the processes that have ended, those first that ended first. False: none has ended.
    fn make_room(&mut self) -> bool {
        let mut ended: Vec<u32> = self.rows.values().filter_map(|row| row.ended).collect();
        if ended.is_empty() {
            return false;
        }
        ended.sort_unstable();
        let limit = ended[ended.len() / 2];
        let mut left = ended.len().div_ceil(2);
        for (_, row) in self.rows.extract_if(|_, row| {
            let goes = left > 0 && row.ended.is_some_and(|ticks| ticks >= limit);
            left -= usize::from(goes);
            goes
        }) {
            self.others.join(&row.count);
        }
        true
    }

    /// The process may have another program now.
    pub(crate) fn changed(&mut self, key: ProcessKey) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.is_stale = true;
        }
    }

    /// Takes over names and ends from the state.
    pub(crate) fn refresh(&mut self, inspector: &Inspector) {
        for (key, row) in &mut self.rows {
            match inspector.process(*key) {
                Some(process) if !process.ended => {
                    if row.is_stale || row.container.is_empty() || row.name.is_empty() {
                        row.describe(*key, inspector);
                    }
                }
                ended => {
                    if ended.is_some() && row.is_stale {
                        row.describe(*key, inspector);
                    }
                    row.ended.get_or_insert(0);
                }
            }
        }
    }

    pub(crate) fn tick(&mut self, passed: Passed) {
        self.others.tick(passed);
        for row in self.rows.values_mut() {
            row.count.tick(passed);
            if let Some(ticks) = &mut row.ended {
                *ticks = ticks.saturating_add(1);
            }
        }
    }

    pub(crate) fn get(&self, key: ProcessKey) -> Option<&ProcessRow> {
        self.rows.get(&key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProcessKey, &ProcessRow)> {
        self.rows.iter().map(|(key, row)| (*key, row))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl ProcessRow {
    /// The command line with the program's name instead of its path.
    pub(crate) fn short_command(&self) -> &str {
        let program = self.command.split(' ').next().unwrap_or_default();
        let at = program.rfind('/').map_or(0, |at| at + 1);
        if at < program.len() {
            &self.command[at..]
        } else {
            &self.command
        }
    }

    fn describe(&mut self, key: ProcessKey, inspector: &Inspector) {
        let Some(process) = inspector.process(key) else {
            return;
        };
        self.is_stale = false;
        self.parent = process.parent;
        self.name = safe_text(&process.name);
        self.command.clear();
        for (at, arg) in process.args().enumerate() {
            if at > 0 {
                self.command.push(' ');
            }
            let room = COMMAND.saturating_sub(self.command.len());
            safe(&mut self.command, &arg[..arg.len().min(room)]);
            if self.command.len() >= COMMAND {
                break;
            }
        }
        cut(&mut self.command, COMMAND);
        if self.command.trim().is_empty() {
            self.command = format!("[{}]", self.name);
        }
        self.uid = process.credentials(process.pid).euid;
        // a container has users of its own
        let is_host = process.cgroups.container.is_none();
        let user = inspector.users().user(self.uid).filter(|_| is_host);
        self.user = user.map_or_else(|| self.uid.to_string(), |user| safe_text(&user.name));
        if let Some(container) = &process.cgroups.container {
            let name = container.metadata().map(|data| data.name.as_bytes());
            let name = name.filter(|name| !name.is_empty());
            self.container = safe_text(name.unwrap_or(container.short_id().as_bytes()));
        }
    }
}
