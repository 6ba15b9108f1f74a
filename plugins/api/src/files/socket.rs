//! Unix sockets in the file system.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Listens at a path, for those alone that `mode` lets connect (chmod(2), such as 0o600). Replaces a socket whose listener
/// is gone.
///
/// The socket never has a wider mode than `mode`, not even for a moment, so that nobody else can connect. A link that
/// another user puts in its place is not followed.
///
/// # Errors
///
/// The path is too long, something else is there, or the system refuses.
pub fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|at| at.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let socket = bind(path, mode)?;
    widen(path, mode)?;
    // SAFETY: the descriptor is open.
    let done = unsafe { libc::listen(socket.as_raw_fd(), libc::SOMAXCONN) };
    check(done)?;
    Ok(UnixListener::from(socket))
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Binds a socket. Its file is made with the mode that the socket has (unix_bind_bsd() in net/unix/af_unix.c), without the
/// bits of the umask.
fn bind(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let name = path.as_os_str().as_bytes();
    // SAFETY: all zeros are a valid address.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    if name.is_empty() || name.contains(&0) || name.len() >= address.sun_path.len() {
        let reason = "the path of a Unix socket has 1 to 107 bytes, none of them 0";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    for (to, from) in address.sun_path.iter_mut().zip(name) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // SAFETY: the call takes numbers.
    let fd =
        check(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the descriptor is open.
    check(unsafe { libc::fchmod(socket.as_raw_fd(), mode) })?;
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is a valid struct of this length, whose path ends with NUL.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(socket)
}

/// Gives a socket the bits that the umask took away. The file is changed by its descriptor, once it is known to be a
/// socket of ours: another user who can write to the folder can put another file in its place.
fn widen(path: &Path, mode: u32) -> io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
        .open(path)?;
    let found = file.metadata()?;
    if found.permissions().mode() & 0o777 == mode & 0o777 {
        return Ok(());
    }
    if !found.file_type().is_socket() || found.uid() != super::user() {
        return Err(io::Error::other("another user has replaced the socket"));
    }
    fs::set_permissions(by_descriptor(&file), Permissions::from_mode(mode))
}

fn by_descriptor(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_socket_is_made_with_its_mode_before_anything_can_connect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = bind(&path, 0o600).unwrap();
        assert_eq!(mode_of(&path), 0o600, "before it listens");
        assert!(UnixStream::connect(&path).is_err());
        drop(socket);
        for mode in [0o600, 0o660, 0o666] {
            let listener = listen(&path, mode).unwrap();
            assert_eq!(mode_of(&path), mode, "the umask takes nothing away");
            assert!(UnixStream::connect(&path).is_ok());
            drop(listener);
        }
    }

    #[test]
    fn what_is_no_stale_socket_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "text").unwrap();
        fs::set_permissions(path("file"), Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        for name in ["file", "link"] {
            assert!(listen(&path(name), 0o666).is_err(), "{name}");
        }
        assert_eq!(fs::read(path("file")).unwrap(), b"text");
        assert_eq!(mode_of(&path("file")), 0o640);
        let _first = listen(&path("used"), 0o600).unwrap();
        let second = listen(&path("used"), 0o600).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        let long = folder.path().join("x".repeat(108));
        let wrong = listen(&long, 0o600).unwrap_err();
        assert_eq!(wrong.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_file_that_another_put_in_the_place_of_the_socket_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let (path, secret) = (folder.path().join("socket"), folder.path().join("secret"));
        fs::write(&secret, "").unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        let _socket = bind(&path, 0o600).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        assert!(widen(&path, 0o666).is_err());
        fs::remove_file(&path).unwrap();
        fs::hard_link(&secret, &path).unwrap();
        assert!(widen(&path, 0o666).is_err());
        assert_eq!(mode_of(&secret), 0o600);
    }
}
