//! The name of this host, for alerts.

/// The name that `LANNER_HOSTNAME` gives, or else that of the UTS namespace (gethostname(2)). In a container, the latter is the
/// name of the container.
#[must_use]
pub fn host_name() -> String {
    let given = std::env::var("LANNER_HOSTNAME").ok();
    given.filter(|name| !name.is_empty()).unwrap_or_else(|| {
        nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    })
}
