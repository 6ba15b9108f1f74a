//! Whether there are file systems on this host whose pages come from a program (FUSE). That program may never bring them,
//! and whoever reads such a page waits.
//!
//! The file system `fusectl` has a folder for each connection between the kernel and such a program, in whatever mount
//! namespace. Its link count says how many there are, and asking costs one call.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::reader;

/// Where systemd mounts it. The kernel makes this folder as soon as it knows FUSE.
const USUAL_PLACE: &CStr = c"/sys/fs/fuse/connections";
/// `FUSE_CTL_SUPER_MAGIC` (fs/fuse/control.c)
const MAGIC: u32 = 0x6573_5543;
/// The links of a folder that has no folders.
const LINKS_OF_EMPTY: libc::nlink_t = 2;

/// The root folder of `fusectl`, once it is found.
static CONTROL: OnceLock<OwnedFd> = OnceLock::new();
/// It was looked for while the kernel knew FUSE, and is not to be had.
static IS_HIDDEN: AtomicBool = AtomicBool::new(false);

/// Looks for `fusectl` while lanner still has all of its capabilities.
pub(crate) fn prepare() {
    is_possible();
}

/// Whether a file of a watched program can be on such a file system. True if that is not known.
pub(crate) fn is_possible() -> bool {
    if let Some(control) = CONTROL.get() {
        return links(control).is_none_or(|links| links != LINKS_OF_EMPTY);
    }
    if !may_be_known_to_the_kernel() {
        return false;
    }
    if IS_HIDDEN.load(Ordering::Relaxed) {
        return true;
    }
    let Some(control) = mounted().or_else(mount) else {
        IS_HIDDEN.store(true, Ordering::Relaxed);
        return true;
    };
    links(CONTROL.get_or_init(|| control)).is_none_or(|links| links != LINKS_OF_EMPTY)
}

/// False only if the kernel has no FUSE at this moment. A module may bring it later.
fn may_be_known_to_the_kernel() -> bool {
    // SAFETY: the paths are C strings.
    unsafe {
        libc::access(USUAL_PLACE.as_ptr(), libc::F_OK) == 0
            || libc::access(c"/sys/fs".as_ptr(), libc::F_OK) != 0
    }
}

fn links(control: &OwnedFd) -> Option<libc::nlink_t> {
    let mut found = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel writes one struct stat, for which all bit patterns are valid.
    unsafe {
        let error = libc::fstat(control.as_raw_fd(), found.as_mut_ptr());
        (error == 0).then(|| found.assume_init().st_nlink)
    }
}

/// Takes a new descriptor. None: there is none.
fn owned(fd: i64) -> Option<OwnedFd> {
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the descriptor is new, and ours alone.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens it where it is mounted.
fn mounted() -> Option<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the path is a C string.
    let root = owned(unsafe { libc::open(USUAL_PLACE.as_ptr(), flags) }.into())?;
    let mut found = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel writes one struct statfs, for which all bit patterns are valid.
    let magic = unsafe {
        let error = libc::fstatfs(root.as_raw_fd(), found.as_mut_ptr());
        (error == 0).then(|| reader::type_of(&found.assume_init()))
    };
    (magic == Some(MAGIC)).then_some(root)
}

/// Mounts it where no other process sees it (Linux 5.2, CAP_SYS_ADMIN).
fn mount() -> Option<OwnedFd> {
    const CLOSE_ON_EXEC: u32 = 1;
    const CREATE: u32 = 6;
    // SAFETY: the calls take numbers and C strings.
    unsafe {
        let name = c"fusectl".as_ptr();
        let context = owned(libc::syscall(libc::SYS_fsopen, name, CLOSE_ON_EXEC))?;
        let context = context.as_raw_fd();
        if libc::syscall(libc::SYS_fsconfig, context, CREATE, 0, 0, 0) != 0 {
            return None;
        }
        owned(libc::syscall(libc::SYS_fsmount, context, CLOSE_ON_EXEC, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_knows_fuse_is_asked_or_counts_as_having_it() {
        let possible = is_possible();
        match CONTROL.get() {
            Some(control) => assert!(links(control).is_some_and(|links| links >= LINKS_OF_EMPTY)),
            None => assert_eq!(possible, may_be_known_to_the_kernel()),
        }
    }
}
