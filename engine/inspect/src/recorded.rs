//! What a capture file of another format says beside its events: the users and groups of the host that it was made on,
//! and the cgroups of processes. Events refer to cgroups by an id, which only this file gives a meaning.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::users::{User, Users};

/// Users, groups and cgroups that a capture file names.
#[derive(Debug, Default)]
pub struct Recorded {
    users: Vec<(u32, User)>,
    groups: Vec<(u32, Box<[u8]>)>,
    cgroups: Mutex<Groups>,
    first_ns: OnceLock<u64>,
}

/// Cgroups in the order of their ids, which begin with 1.
#[derive(Debug, Default)]
struct Groups {
    by_id: Vec<Arc<[u8]>>,
    ids: HashMap<Arc<[u8]>, u64>,
}

impl Recorded {
    /// The most cgroups that are kept. More are not followed.
    const MAX_CGROUPS: usize = 65_536;

    /// Users and groups, each with its id. No cgroups yet.
    #[must_use]
    pub fn new(users: Vec<(u32, User)>, groups: Vec<(u32, Box<[u8]>)>) -> Self {
        Self {
            users,
            groups,
            cgroups: Mutex::default(),
            first_ns: OnceLock::new(),
        }
    }

    /// The file's first event happened at this time. Later calls change nothing.
    pub fn begin(&self, time_ns: u64) {
        self.first_ns.get_or_init(|| time_ns);
    }

    pub(super) fn first_ns(&self) -> Option<u64> {
        self.first_ns.get().copied()
    }

    /// The id for these cgroups, which have the form of `/proc/PID/cgroup`. 0: there are too many.
    pub fn cgroup_id(&self, text: &[u8]) -> u64 {
        let mut groups = self.cgroups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = groups.ids.get(text) {
            return *id;
        }
        if groups.by_id.len() >= Self::MAX_CGROUPS {
            return 0;
        }
        let text: Arc<[u8]> = text.into();
        groups.by_id.push(Arc::clone(&text));
        let id = groups.by_id.len() as u64;
        groups.ids.insert(text, id);
        id
    }

    /// The cgroups with higher ids than this one, in their order.
    #[must_use]
    pub fn cgroups_from(&self, id: u64) -> Vec<Arc<[u8]>> {
        let groups = self.cgroups.lock().unwrap_or_else(PoisonError::into_inner);
        let from = usize::try_from(id).unwrap_or(usize::MAX);
        groups.by_id.get(from..).unwrap_or_default().to_vec()
    }

    /// The cgroups with this id.
    pub(super) fn cgroups(&self, id: u64) -> Option<Arc<[u8]>> {
        let at = usize::try_from(id).ok()?.checked_sub(1)?;
        let groups = self.cgroups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.by_id.get(at).cloned()
    }

    pub(super) fn users(&self) -> Users {
        Users::fixed(self.users.iter().cloned(), self.groups.iter().cloned())
    }
}
