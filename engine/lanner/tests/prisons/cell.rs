//! A folder with all that lanner and the program it watches need, for prisons that see nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use test_support::skipped;

use crate::look::copy_program;

/// The binary under test.
pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_lanner");

/// What the file in every prison says.
pub(crate) const SECRET: &str = "told\n";
/// The file.
pub(crate) const SECRET_PATH: &str = "/etc/secret";

/// Whether a program is there.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

/// A root of its own: busybox, lanner, their libraries, a file to read.
pub(crate) struct Cell {
    folder: tempfile::TempDir,
}

impl Cell {
    /// None: there is no busybox to put into it, which was said.
    pub(crate) fn new() -> Option<Self> {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let Some(busybox) = busybox else {
            skipped("a root for containers: there is no busybox");
            return None;
        };
        let cell = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let root = cell.root();
        open_to_all(&root);
        for name in ["bin", "etc", "tmp", "proc", "dev", "sys", "run", "var"] {
            fs::create_dir(root.join(name)).expect("a new folder");
            open_to_all(&root.join(name));
        }
        copy_program(Path::new(busybox), &root.join("bin/busybox"));
        for name in ["sh", "cat", "sleep", "true", "id"] {
            symlink("busybox", root.join("bin").join(name)).expect("a new link");
        }
        copy_program(Path::new(BIN), &root.join("lanner"));
        for library in libraries(BIN).union(&libraries(busybox)) {
            let inside = root.join(library.strip_prefix("/").expect("ldd prints whole paths"));
            let parent = inside.parent().expect("it has a folder");
            fs::create_dir_all(parent).expect("folders can be made");
            fs::copy(library, inside).expect("the library can be read");
        }
        fs::write(root.join("etc/secret"), SECRET).expect("it can be written");
        Some(cell)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
}

/// The libraries of a program, its loader among them.
fn libraries(program: &str) -> BTreeSet<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("ldd");
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/') && Path::new(word).is_file())
        .map(PathBuf::from)
        .collect()
}
