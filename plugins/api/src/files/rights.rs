//! The rights of this process, and those of the user who started it.

/// capget(2), `_LINUX_CAPABILITY_VERSION_3`
const VERSION: u32 = 0x2008_0522;

/// Two times effective, permitted, inheritable (capget(2)).
type Sets = [[u32; 3]; 2];

/// Whether this process has more rights than the user who started it (`AT_SECURE`). It trusts that user with nothing:
/// neither files nor environment variables.
#[must_use]
pub fn is_secure() -> bool {
    // SAFETY: getauxval(3) takes a number.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether the set-user-ID or set-group-ID bit of its program made this process another user's or group's than that of whoever
/// started it. Then everything that it starts or writes is done in the name of the other user.
#[must_use]
pub fn is_set_id() -> bool {
    // SAFETY: the calls cannot fail and touch nothing.
    let differs = unsafe { libc::getuid() != libc::geteuid() || libc::getgid() != libc::getegid() };
    is_secure() && differs
}

pub(super) fn user() -> u32 {
    // SAFETY: geteuid(2) cannot fail and touches nothing.
    unsafe { libc::geteuid() }
}

/// Whether this process is root or has a capability.
pub(super) fn is_privileged() -> bool {
    user() == 0
        || capabilities().is_none_or(|sets| sets.iter().any(|[effective, ..]| *effective != 0))
}

/// The capabilities of this thread.
fn capabilities() -> Option<Sets> {
    let header: [u32; 2] = [VERSION, 0];
    let mut sets = Sets::default();
    // SAFETY: the kernel reads a header of two numbers, and writes two sets of three.
    let result = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) };
    (result == 0).then_some(sets)
}

/// Gives this thread other capabilities.
fn set_capabilities(sets: &Sets) -> bool {
    let header: [u32; 2] = [VERSION, 0];
    // SAFETY: the kernel reads a header of two numbers, and two sets of three.
    unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) == 0 }
}

/// Capabilities that open files which a user's own rights do not open (include/uapi/linux/capability.h).
const OPENERS: u32 = {
    const DAC_OVERRIDE: u32 = 1 << 1;
    const DAC_READ_SEARCH: u32 = 1 << 2;
    const FOWNER: u32 = 1 << 3;
    const SYS_PTRACE: u32 = 1 << 19;
    DAC_OVERRIDE | DAC_READ_SEARCH | FOWNER | SYS_PTRACE
};

/// As long as it lives, this thread opens files with the rights of the user who started lanner. Some drivers need
/// `CAP_DAC_READ_SEARCH`: as a file capability, it would let every user read every file by naming it to lanner.
#[derive(Debug)]
pub(super) struct UsersRights {
    /// What the thread had before. None: nothing was taken.
    before: Option<Sets>,
}

impl UsersRights {
    pub(super) fn take() -> Self {
        if !is_secure() {
            return Self { before: None };
        }
        let before = capabilities().filter(|sets| sets[0][0] & OPENERS != 0);
        if let Some(mut sets) = before {
            sets[0][0] &= !OPENERS;
            // A thread may always give up what it has.
            set_capabilities(&sets);
        }
        Self { before }
    }
}

impl Drop for UsersRights {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // What is permitted can be made effective again.
            set_capabilities(before);
        }
    }
}
