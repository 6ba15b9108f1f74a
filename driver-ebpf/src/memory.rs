//! The limit of locked memory (getrlimit(2)), against which BPF memory counts before Linux 5.11.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Raises the limit as far as the kernel allows. If that is not far enough, making a map fails with EPERM, and [`hint`]
/// says what helps.
pub fn raise() {
    let all = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    if all.is_err()
        && let Ok((_, most)) = getrlimit(Resource::RLIMIT_MEMLOCK)
    {
        // without CAP_SYS_RESOURCE the soft limit can be raised to the hard limit
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, most, most);
    }
}

/// Calls this with the limit raised, and lowers it again: a command inherits it.
pub fn while_raised<T>(action: impl FnOnce() -> T) -> T {
    let before = getrlimit(Resource::RLIMIT_MEMLOCK);
    raise();
    let result = action();
    if let Ok((soft, hard)) = before {
        // lowering it is always allowed
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard);
    }
    result
}

/// What to do if the kernel refuses memory with ENOMEM.
pub const OUT_OF_MEMORY: &str = "the host or lanner's cgroup has no memory left; lanner needs about 30 MiB, and as much as \
    --buffer says for each CPU: use a smaller --buffer, or raise the cgroup's limit";

/// What to do if the kernel refuses memory with EPERM. `None`: there is no limit, so it is not the cause.
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

/// What to do if the kernel refuses locked memory: at least `bytes` are needed. `None`: there is no limit, so the limit is
/// not the cause.
pub fn needed(bytes: usize) -> Option<String> {
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (limit != RLIM_INFINITY).then(|| {
        format!(
            "; at least {} KiB of locked memory are needed, and the kernel allows kernel.perf_event_mlock_kb for each CPU \
             and {} KiB by the limit of this process: raise the limit (ulimit -l, LimitMEMLOCK= in a systemd unit), or \
             give lanner CAP_IPC_LOCK or CAP_SYS_RESOURCE",
            bytes / 1024,
            limit / 1024
        )
    })
}
