//! Plugins for tests: those of this project, and small ones in C.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds plugins of this project, by the names of their crates, into the target directory that this test is in. Returns the
/// folder of their libraries. Needs cargo.
///
/// # Panics
///
/// They cannot be built.
#[must_use]
pub fn first_party(crates: &[&str]) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--manifest-path"])
        .arg(workspace().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(profile.parent().unwrap());
    for name in crates {
        cargo.args(["-p", name]);
    }
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success());
    profile.to_owned()
}

/// Compiles a plugin in C, with the header of this workspace and these options of the compiler. Needs cc.
///
/// # Panics
///
/// It does not compile, or with a warning.
pub fn compile(source: &Path, library: &Path, options: &[impl AsRef<OsStr>]) {
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-I"])
        .arg(workspace().join("plugins/api/include"))
        .args(options)
        .arg("-o")
        .args([library, source])
        .output()
        .expect("cc");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", source.display());
    // lanner refuses a library that other users can write, whatever the umask is
    fs::set_permissions(library, Permissions::from_mode(0o755)).unwrap();
}

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
