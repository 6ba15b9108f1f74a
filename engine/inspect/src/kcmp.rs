//! What two threads share, as the kernel says (kcmp(2)).

/// The descriptor table (`KCMP_FILES`).
pub(super) const FILES: libc::c_int = 2;
/// The working and the root directory (`KCMP_FS`).
pub(super) const FS: libc::c_int = 3;

/// Whether two threads share something. None: the kernel does not say.
pub(super) fn same(one: u32, other: u32, what: libc::c_int) -> Option<bool> {
    // SAFETY: the call takes numbers alone.
    match unsafe { libc::syscall(libc::SYS_kcmp, one, other, what, 0, 0) } {
        0 => Some(true),
        1.. => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_shares_all_with_itself_and_no_descriptors_with_another_process() {
        let own = std::process::id();
        assert_eq!(same(own, own, FILES), Some(true));
        let mut other = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(same(own, other.id(), FILES), Some(false));
        drop(other.stdin.take());
        other.wait().unwrap();
        assert_eq!(same(own, u32::MAX >> 1, FILES), None);
    }
}
