//! The limit of locked memory, which BPF memory counts against before Linux 5.11.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Raises the limit as far as we may. Where that is not far enough, creating a map fails with EPERM, and
/// [`hint`] says what helps.
pub fn raise() {
    let all = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    if all.is_err()
        && let Ok((_, most)) = getrlimit(Resource::RLIMIT_MEMLOCK)
    {
        // without CAP_SYS_RESOURCE: as far as the hard limit
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, most, most);
    }
}

/// What to do where the kernel denies memory, if the limit may be the cause.
pub fn hint() -> Option<String> {
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (limit != RLIM_INFINITY).then(|| {
        format!(
            "on this kernel BPF memory may count against the limit of locked memory, {} KiB here, which only \
             CAP_SYS_RESOURCE can raise: give lanner that, start it with `ulimit -l unlimited`, or have \
             LimitMEMLOCK=infinity in its systemd unit",
            limit / 1024
        )
    })
}

/// What to do where the kernel denies locked memory, if the limit may be the cause: so many bytes are needed at least.
pub fn needed(bytes: usize) -> Option<String> {
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (limit != RLIM_INFINITY).then(|| {
        format!(
            "; at least {} KiB of locked memory are needed, of which kernel.perf_event_mlock_kb allows so many for each \
             CPU, and the limit {} KiB: raise it (ulimit -l, LimitMEMLOCK= in a systemd unit), or give lanner \
             CAP_IPC_LOCK or CAP_SYS_RESOURCE",
            bytes / 1024,
            limit / 1024
        )
    })
}
