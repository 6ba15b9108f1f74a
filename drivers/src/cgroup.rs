//! How much memory lanner's cgroup still allows.
//!
//! A cgroup, or one that it is in, can have a limit (`memory.max` and `memory.high` of version 2, `memory.limit_in_bytes`
//! of version 1). Maps of BPF programs count against it. Limits above the root of a cgroup namespace cannot be read.

use std::fs;
use std::path::{Path, PathBuf};

/// The files of one version of cgroups.
struct Files {
    limits: &'static [&'static str],
    usage: &'static str,
    /// The line of `memory.stat` with what the kernel frees when it needs memory.
    reclaimable: &'static str,
}

const VERSION_1: Files = Files {
    limits: &["memory.limit_in_bytes", "memory.kmem.limit_in_bytes"],
    usage: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
};

const VERSION_2: Files = Files {
    limits: &["memory.max", "memory.high"],
    usage: "memory.current",
    reclaimable: "inactive_file",
};

/// The bytes that lanner's cgroups still allow. None: none of them has a limit.
pub(crate) fn memory_left() -> Option<u64> {
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    left(&cgroups, &mounts)
}

fn left(cgroups: &str, mounts: &str) -> Option<u64> {
    let of_version = |files: &Files, version_1: bool| {
        let path = cgroups.lines().find_map(|line| path_of(line, version_1))?;
        let mount = mounts.lines().find_map(|line| Mount::of(line, version_1))?;
        mount
            .groups(path)
            .filter_map(|group| of_group(&group, files))
            .min()
    };
    // both versions can be mounted; the controller of memory is in one of them
    let both = [of_version(&VERSION_1, true), of_version(&VERSION_2, false)];
    both.into_iter().flatten().min()
}

/// The path of a line of `/proc/self/cgroup` (cgroups(7)): `0::/path`, or `4:memory:/path` in version 1.
fn path_of(line: &str, version_1: bool) -> Option<&str> {
    let (id, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let matches = if version_1 {
        controllers
            .split(',')
            .any(|controller| controller == "memory")
    } else {
        id == "0" && controllers.is_empty()
    };
    matches.then_some(path)
}

/// Where a hierarchy of cgroups is mounted.
struct Mount<'a> {
    /// The cgroup that is seen at `point`.
    root: &'a Path,
    point: &'a Path,
}

impl<'a> Mount<'a> {
    /// The mount of a line of `/proc/self/mountinfo` (proc(5)), if it is one with the controller of memory.
    fn of(line: &'a str, version_1: bool) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let mut fields = filesystem.split(' ');
        let kind = fields.next()?;
        let options = fields.nth(1)?;
        let matches = if version_1 {
            kind == "cgroup" && options.split(',').any(|option| option == "memory")
        } else {
            kind == "cgroup2"
        };
        matches.then_some(Self {
            root: Path::new(root),
            point: Path::new(point),
        })
    }

    /// The folders of a cgroup and of those that it is in, as far as they can be seen.
    fn groups(&self, path: &str) -> impl Iterator<Item = PathBuf> {
        // a path outside what is mounted: its root is all that can be seen
        let below = Path::new(path).strip_prefix(self.root);
        let below = below.unwrap_or(Path::new(""));
        let folder = self.point.join(below);
        let depth = below.components().count() + 1;
        let folders: Vec<PathBuf> = folder.ancestors().take(depth).map(Path::to_owned).collect();
        folders.into_iter()
    }
}

/// What one cgroup still allows. None: it has no limit.
fn of_group(folder: &Path, files: &Files) -> Option<u64> {
    let number = |file: &str| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let limit = files.limits.iter().filter_map(|file| number(file)).min()?;
    // version 1 has the largest possible number where there is no limit (mm/page_counter.c)
    const UNLIMITED: u64 = 1 << 62;
    if limit >= UNLIMITED {
        return None;
    }
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let reclaimable = stat
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == files.reclaimable)
        .and_then(|(_, bytes)| bytes.trim().parse::<u64>().ok())
        .unwrap_or(0);
    let used = number(files.usage).unwrap_or(0).saturating_sub(reclaimable);
    Some(limit.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn group(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).expect("a folder");
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("a file");
        }
    }

    fn mount(root: &str, point: &Path, kind: &str, options: &str) -> String {
        format!(
            "36 25 0:31 {root} {} rw,nosuid shared:9 - {kind} cgroup {options}\n",
            point.display()
        )
    }

    #[test]
    fn the_tightest_cgroup_on_the_way_up_decides() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        group(root, &[]);
        let outer = [
            ("memory.max", "104857600\n"),
            ("memory.current", "94371840\n"),
        ];
        group(&root.join("a"), &outer);
        let inner = [
            ("memory.max", "max\n"),
            ("memory.high", "52428800\n"),
            ("memory.current", "20971520\n"),
            ("memory.stat", "anon 1\ninactive_file 1048576\n"),
        ];
        group(&root.join("a/b"), &inner);
        let mounts = mount("/", root, "cgroup2", "rw,nsdelegate");
        assert_eq!(left("0::/a/b\n", &mounts), Some(10 * MIB));
        assert_eq!(
            left(
                "0::/a/b\n",
                &mount("/a/b", &root.join("a/b"), "cgroup2", "rw")
            ),
            Some(31 * MIB)
        );
        assert_eq!(left("0::/\n", &mounts), None);
        assert_eq!(left("0::/gone\n", &mounts), None);
        assert_eq!(left("", &mounts), None);
        assert_eq!(left("0::/a/b\n", ""), None);
    }

    #[test]
    fn the_first_version_has_the_controller_of_memory_in_a_hierarchy_of_its_own() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        group(root, &[("memory.limit_in_bytes", "9223372036854771712\n")]);
        let files = [
            ("memory.limit_in_bytes", "31457280\n"),
            ("memory.usage_in_bytes", "9437184\n"),
            (
                "memory.stat",
                "inactive_file 5\ntotal_inactive_file 1048576\n",
            ),
        ];
        group(&root.join("pod"), &files);
        let mounts = [
            mount("/", Path::new("/nonexistent"), "cgroup", "rw,cpu"),
            mount("/", root, "cgroup", "rw,memory"),
            mount("/", Path::new("/nonexistent"), "cgroup2", "rw"),
        ]
        .concat();
        let cgroups = "5:cpu:/\n4:memory,hugetlb:/pod\n0::/pod\n";
        assert_eq!(left(cgroups, &mounts), Some(22 * MIB));
        assert_eq!(left("4:memory:/\n", &mounts), None);
    }
}
