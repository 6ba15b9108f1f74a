//! Unix sockets in the file system.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::walk::{Folders, Walk};
use super::{FileError, Trusted, UsersRights};

/// Listens at a path, for those alone that `mode` lets connect (chmod(2), such as 0o600). Replaces a socket whose listener
/// is gone.
///
/// The socket never has a wider mode than `mode`, not even for a moment, so that nobody else can connect. Links on the way,
/// and a socket that is there, must belong to root or to the user who runs lanner.
///
/// # Errors
///
/// The path is too long, something else is there, it leads over a link of another user, or the system refuses.
pub fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let _rights = UsersRights::take();
    let place = SocketPath::find(path)?;
    let path = place.path.as_path();
    let is_socket = (place.there.as_ref()).is_some_and(|there| there.file_type().is_socket());
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

/// Checks, without making it, that [`listen`] can make a socket at a path.
///
/// # Errors
///
/// As for [`listen`].
pub fn check_socket(path: &Path) -> io::Result<()> {
    let place = SocketPath::find(path)?;
    address(&place.path)?;
    if (place.there).is_some_and(|there| !there.file_type().is_socket()) {
        return Err(io::Error::other("it exists, and is no socket"));
    }
    let unused = format!(".lanner-{}", std::process::id());
    super::check_writable(&path.with_file_name(unused)).map_err(io::Error::other)
}

/// Where a socket is, or can be.
struct SocketPath {
    /// Its path. No other user can change where that leads.
    path: PathBuf,
    there: Option<fs::Metadata>,
    /// The path leads through this descriptor.
    _folder: Option<File>,
}

impl SocketPath {
    fn find(path: &Path) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let trusted = Trusted::RootAnd(super::user());
        if let Ok(found) = Walk::new(path, trusted, Folders::OthersMayAdd).socket() {
            return Ok(Self {
                path: found.path,
                there: found.there,
                _folder: None,
            });
        }
        // Other users can change the folders on the way, so it goes on from a folder that is open.
        let found = Walk::new(path, trusted, Folders::ForWriting).socket();
        let found = found.map_err(|error| match error {
            FileError::Unreadable { source, .. } | FileError::Unwritable { source, .. } => source,
            FileError::NotAFile { .. } | FileError::NotWritten { .. } => {
                io::Error::other("it exists, and is no socket")
            }
            other => io::Error::new(io::ErrorKind::PermissionDenied, other),
        })?;
        Ok(Self {
            path: Path::new(&by_descriptor(&found.folder)).join(found.name),
            there: found.there,
            _folder: Some(found.folder),
        })
    }
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
    let address = address(path)?;
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

/// The address of a socket at a path.
fn address(path: &Path) -> io::Result<libc::sockaddr_un> {
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
    Ok(address)
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
    fn a_path_that_another_user_can_change_has_no_socket() {
        use std::os::unix::fs::{lchown, symlink};
        const OTHER: Option<u32> = Some(65_534);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("real")).unwrap();
        symlink(path("real"), path("link")).unwrap();
        if lchown(path("link"), OTHER, None).is_err() {
            eprintln!("skipped: only root can make files of another user");
            return;
        }
        fs::create_dir(path("theirs")).unwrap();
        lchown(path("theirs"), OTHER, None).unwrap();
        drop(UnixListener::bind(path("stale")).unwrap());
        lchown(path("stale"), OTHER, None).unwrap();
        for refused in ["link/socket", "stale"] {
            for error in [
                listen(&path(refused), 0o600).unwrap_err(),
                check_socket(&path(refused)).unwrap_err(),
            ] {
                let said = error.to_string();
                assert!(said.contains("belongs to user 65534"), "{refused}: {said}");
            }
        }
        assert!(fs::read_dir(path("real")).unwrap().next().is_none());
        check_socket(&path("theirs/socket")).unwrap();
        let _listener = listen(&path("theirs/socket"), 0o666).unwrap();
        assert_eq!(mode_of(&path("theirs/socket")), 0o666);
        UnixStream::connect(path("theirs/socket")).unwrap();
        assert!(fs::symlink_metadata(path("stale")).is_ok());
        // a link of root's is followed
        symlink(path("real"), path("ours")).unwrap();
        check_socket(&path("ours/socket")).unwrap();
        listen(&path("ours/socket"), 0o666).unwrap();
        listen(&path("ours/socket"), 0o666).unwrap();
        assert!(path("real/socket").exists());
        let long = check_socket(&path(&"x".repeat(108))).unwrap_err();
        assert!(long.to_string().contains("107 bytes"), "{long}");
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
