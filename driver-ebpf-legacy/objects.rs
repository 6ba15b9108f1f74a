//! How the BPF programs are compiled. The build script and tests include this file.

/// The sources in `bpf`, each of which becomes an object.
pub(crate) const SOURCES: [&str; 2] = ["legacy", "peek"];
/// Instructions of the first generation only.
pub(crate) const FLAGS: &[&str] = &["-mcpu=v1"];
