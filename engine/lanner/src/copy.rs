//! `lanner copy`: an init container's way to give lanner to another container, from an image that has no `cp`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::ExitCode;

use command_line::CopyArgs;

use super::Failure;
use super::plugins::myself;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(
        "a copy would lack its plugins: only a lanner with built-in plugins is complete in one file, and this one has none"
    )]
    Incomplete,
    #[error("cannot open lanner's own file: {0}")]
    Open(#[source] io::Error),
    #[error("cannot write {0}: {1}")]
    Write(String, #[source] io::Error),
}

pub(crate) fn copy(args: &CopyArgs) -> Result<ExitCode, Failure> {
    if plugin_host::built_in().is_empty() {
        return Err(Failure::usage(CopyError::Incomplete));
    }
    let program = myself().and_then(File::open);
    let mut program = program.map_err(|error| Failure::broken(CopyError::Open(error)))?;
    write(&mut program, &args.to)
        .map_err(|error| Failure::broken(CopyError::Write(args.to.display().to_string(), error)))?;
    Ok(ExitCode::SUCCESS)
}

fn write(program: &mut File, to: &Path) -> io::Result<()> {
    // A program that runs cannot be written to, but its file can go.
    match fs::remove_file(to) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut copy = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(to)?;
    io::copy(program, &mut copy)?;
    // Other users start it, too. The umask does not matter here.
    copy.set_permissions(Permissions::from_mode(0o755))
}
