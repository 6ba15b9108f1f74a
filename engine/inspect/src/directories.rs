//! Working directories, each with the root directory that goes with it. The threads of a process share one (clone(2),
//! `CLONE_FS`), except for those that have called unshare(2). Processes may share one, too.

/// Identifies a working directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DirectoryId(u32);

impl DirectoryId {
    /// No directory: it is not known.
    pub(super) const NONE: Self = Self(u32::MAX);
}

#[derive(Debug, Default)]
struct Directory {
    users: u32,
    path: Vec<u8>,
    /// The root directory (chroot(2)). Empty: that of the mount namespace, or it is not known.
    root: Vec<u8>,
}

/// The most bytes that an unused entry keeps for its next path.
const KEPT: usize = 512;

/// All working directories. The memory of unused ones is used again.
#[derive(Debug, Default)]
pub(super) struct Directories {
    slots: Vec<Directory>,
    free: Vec<u32>,
}

impl Directories {
    /// A directory with one user.
    pub(super) fn create(&mut self, path: &[u8]) -> DirectoryId {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Directory::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(new) = self.slots.get_mut(at as usize) {
            new.users = 1;
            new.path.clear();
            new.path.extend_from_slice(path);
            new.root.clear();
        }
        DirectoryId(at)
    }

    /// Adds a user.
    pub(super) fn share(&mut self, id: DirectoryId) -> DirectoryId {
        match self.slots.get_mut(id.0 as usize) {
            Some(directory) => {
                directory.users += 1;
                id
            }
            None => self.create(&[]),
        }
    }

    /// A new entry with the same paths.
    pub(super) fn copy(&mut self, id: DirectoryId) -> DirectoryId {
        let copy = self.create(&[]);
        let of = |id: DirectoryId| id.0 as usize;
        if let Ok([from, to]) = self.slots.get_disjoint_mut([of(id), of(copy)]) {
            to.path.extend_from_slice(&from.path);
            to.root.extend_from_slice(&from.root);
        }
        copy
    }

    /// A copy if there are other users, otherwise the entry itself.
    pub(super) fn unshare(&mut self, id: DirectoryId) -> DirectoryId {
        let shared = |directory: &Directory| directory.users > 1;
        if !self.slots.get(id.0 as usize).is_some_and(shared) {
            return id;
        }
        let own = self.copy(id);
        self.release(id);
        own
    }

    /// Removes a user.
    pub(super) fn release(&mut self, id: DirectoryId) {
        let Some(directory) = self.slots.get_mut(id.0 as usize) else {
            return;
        };
        directory.users = directory.users.saturating_sub(1);
        if directory.users == 0 {
            directory.path.clear();
            directory.path.shrink_to(KEPT);
            directory.root.clear();
            directory.root.shrink_to(KEPT);
            self.free.push(id.0);
        }
    }

    /// The path. Empty: it is not known.
    pub(super) fn path(&self, id: DirectoryId) -> &[u8] {
        self.slots
            .get(id.0 as usize)
            .map_or(&[], |directory| &directory.path)
    }

    /// The root directory. Empty: that of the mount namespace, or it is not known.
    pub(super) fn root(&self, id: DirectoryId) -> &[u8] {
        self.slots
            .get(id.0 as usize)
            .map_or(&[], |directory| &directory.root)
    }

    /// Changes the root directory for all users.
    pub(super) fn set_root(&mut self, id: DirectoryId, root: &[u8]) {
        if let Some(directory) = self.slots.get_mut(id.0 as usize) {
            directory.root.clear();
            directory.root.extend_from_slice(root);
        }
    }

    /// Changes the path for all users. False: there is no such entry.
    pub(super) fn set(&mut self, id: DirectoryId, path: &[u8]) -> bool {
        let Some(directory) = self.slots.get_mut(id.0 as usize) else {
            return false;
        };
        directory.path.clear();
        directory.path.extend_from_slice(path);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_share_a_directory_until_one_of_them_leaves() {
        let mut all = Directories::default();
        let first = all.create(b"/a");
        let second = all.share(first);
        assert!(all.set(second, b"/b"));
        assert_eq!(all.path(first), b"/b");
        let own = all.unshare(second);
        assert!(own != first && all.set(own, b"/c"));
        assert_eq!((all.path(first), all.path(own)), (&b"/b"[..], &b"/c"[..]));
        assert_eq!(all.unshare(own), own);
        all.set_root(own, b"/jail");
        let copy = all.copy(own);
        assert_eq!((all.root(copy), all.root(first)), (&b"/jail"[..], &b""[..]));
        all.release(first);
        assert_eq!(all.create(b"/d"), first);
        assert!(all.path(DirectoryId::NONE).is_empty());
    }
}
