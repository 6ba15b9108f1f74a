//! Names of users and groups, from /etc/passwd and /etc/group. The files are parsed, not asked for
//! through NSS: a look-up must not wait for a directory service, nor cause events of its own.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::hash::IdMap;

/// Beyond this a file is not what it should be.
const MAX_FILE: u64 = 16 << 20;

/// The users and groups of a host.
#[derive(Debug)]
pub struct Users {
    passwd: File<User>,
    group: File<Box<[u8]>>,
}

/// A line of /etc/passwd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: Box<[u8]>,
    /// Home directory.
    pub home: Box<[u8]>,
    /// Login shell.
    pub shell: Box<[u8]>,
}

#[derive(Debug)]
struct File<T> {
    path: PathBuf,
    stamp: Option<(SystemTime, u64)>,
    entries: IdMap<u32, T>,
    parse: fn(&[&[u8]]) -> Option<T>,
}

impl Users {
    /// Reads `passwd` and `group` in a directory, mostly `/etc`. Missing files have no entries.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let mut users = Self {
            passwd: File::new(directory.join("passwd"), |fields| {
                Some(User {
                    name: (*fields.first()?).into(),
                    home: fields.get(5).copied().unwrap_or_default().into(),
                    shell: fields.get(6).copied().unwrap_or_default().into(),
                })
            }),
            group: File::new(directory.join("group"), |fields| {
                Some((*fields.first()?).into())
            }),
        };
        users.reload();
        users
    }

    /// Reads the files again if they have changed.
    pub fn reload(&mut self) {
        self.passwd.reload();
        self.group.reload();
    }

    /// The user with this id; the first, if there are several.
    #[must_use]
    pub fn user(&self, uid: u32) -> Option<&User> {
        self.passwd.entries.get(&uid)
    }

    /// Name of the group with this id.
    #[must_use]
    pub fn group(&self, gid: u32) -> Option<&[u8]> {
        self.group.entries.get(&gid).map(AsRef::as_ref)
    }
}

impl<T> File<T> {
    fn new(path: PathBuf, parse: fn(&[&[u8]]) -> Option<T>) -> Self {
        Self {
            path,
            stamp: None,
            entries: IdMap::default(),
            parse,
        }
    }

    fn reload(&mut self) {
        let stamp = fs::metadata(&self.path)
            .ok()
            .and_then(|m| Some((m.modified().ok()?, m.len())));
        if stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        let mut text = Vec::new();
        let read =
            fs::File::open(&self.path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut text));
        self.entries.clear();
        if read.is_err() {
            return;
        }
        for line in text.split(|&b| b == b'\n') {
            let fields: Vec<&[u8]> = line.split(|&b| b == b':').collect();
            let id = fields
                .get(2)
                .and_then(|f| std::str::from_utf8(f).ok()?.parse().ok());
            if let Some((id, entry)) = id.zip((self.parse)(&fields)) {
                self.entries.entry(id).or_insert(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_and_changes_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let passwd = directory.path().join("passwd");
        fs::write(
            &passwd,
            "root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:\n\n:::\nbad\n",
        )
        .unwrap();
        fs::write(
            directory.path().join("group"),
            "wheel:x:10:\nx:y:99999999999:\n",
        )
        .unwrap();
        let mut users = Users::new(directory.path());
        let root = users.user(0).unwrap();
        assert_eq!(
            (&*root.name, &*root.shell),
            (&b"root"[..], &b"/bin/bash"[..])
        );
        assert_eq!(users.group(10), Some(&b"wheel"[..]));
        assert_eq!(users.user(5), None);
        fs::write(&passwd, "root:x:0:0:root:/root:/bin/bash\nme:x:5:5:::\n").unwrap();
        users.reload();
        assert_eq!(&*users.user(5).unwrap().name, b"me");
        fs::remove_file(&passwd).unwrap();
        users.reload();
        assert_eq!(users.user(0), None);
    }

    #[test]
    fn no_files_are_no_users() {
        assert_eq!(Users::new(Path::new("/nonexistent")).user(0), None);
    }
}
