//! Recognises containers by the names of cgroups in `/proc/PID/cgroup` (`hierarchy:controllers:path`, cgroups(7)): the
//! names that each runtime uses with cgroup v1 and v2, with and without systemd.

use super::Runtime;

/// The length of a runtime's id: 32 random bytes in base 16.
const ID_LENGTH: usize = 64;

/// The container that a cgroup's path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerId {
    pub(super) runtime: Runtime,
    pub(super) id: String,
    /// The uid of the Kubernetes pod.
    pub(super) pod_uid: Option<String>,
}

/// The container in `/proc/PID/cgroup`: that of the first hierarchy that names one.
pub(super) fn find(text: &[u8]) -> Option<ContainerId> {
    text.split(|&b| b == b'\n')
        .filter_map(|line| line.splitn(3, |&b| b == b':').nth(2))
        .find_map(|path| in_path(std::str::from_utf8(path).ok()?))
}

/// The container of one path. If containers are nested, the innermost.
fn in_path(path: &str) -> Option<ContainerId> {
    let components: Vec<&str> = path.split('/').filter(|c| !c.is_empty()).collect();
    let (runtime, id) = (0..components.len())
        .rev()
        .find_map(|at| component(&components, at))?;
    Some(ContainerId {
        runtime,
        id,
        pod_uid: components.iter().rev().find_map(|c| pod_uid(c)),
    })
}

/// Prefixes of ids in the names of scopes and cgroups.
const PREFIXES: &[(&str, Runtime)] = &[
    ("docker-", Runtime::Docker),
    ("libpod-", Runtime::Podman),
    ("crio-", Runtime::Crio),
    ("cri-containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Containerd),
];

fn component(components: &[&str], at: usize) -> Option<(Runtime, String)> {
    let name = components[at];
    let parent = at
        .checked_sub(1)
        .and_then(|at| components.get(at))
        .copied()
        .unwrap_or_default();
    let name = name.strip_suffix(".scope").unwrap_or(name);
    // the notation of a cgroup in a slice, for runtimes that use systemd: `slice:prefix:id`
    if let Some((_, id)) = name.rsplit_once(':')
        && is_id(id)
    {
        let prefix = name.rsplit(':').nth(1).unwrap_or_default();
        let runtime = PREFIXES
            .iter()
            .find(|(known, _)| known.strip_suffix('-') == Some(prefix))
            .map_or(Runtime::Containerd, |(_, runtime)| *runtime);
        return Some((runtime, id.to_owned()));
    }
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = name.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Some((*runtime, id.to_owned()));
        }
    }
    if is_id(name) {
        let above = &components[..at];
        let runtime = if parent == "docker" {
            Runtime::Docker
        } else if above.iter().any(|c| c.starts_with("libpod")) {
            // a pod of podman: its cgroup is beside those of its containers, and it is not a container itself
            return None;
        } else {
            Runtime::Containerd
        };
        return Some((runtime, name.to_owned()));
    }
    if let Some(id) = fargate(name) {
        return Some((Runtime::Containerd, id));
    }
    named(name, parent)
}

/// Containers that have a name instead of an id.
fn named(name: &str, parent: &str) -> Option<(Runtime, String)> {
    let some = |runtime, id: &str| (!id.is_empty()).then(|| (runtime, unescaped(id)));
    if matches!(parent, "lxc" | "lxc.payload") {
        return some(Runtime::Lxc, name);
    }
    if let Some(id) = name.strip_prefix("lxc.payload.") {
        return some(Runtime::Lxc, id);
    }
    if let Some(id) = name.strip_suffix(".libvirt-lxc") {
        return some(Runtime::LibvirtLxc, id);
    }
    // machine-lxc\x2dPID\x2dNAME
    if let Some(rest) = name.strip_prefix("machine-lxc\\x2d") {
        let rest = unescaped(rest);
        let id = rest.split_once('-').map_or(&*rest, |(_, id)| id);
        return (!id.is_empty()).then(|| (Runtime::LibvirtLxc, id.to_owned()));
    }
    if let Some(id) = name
        .strip_prefix("systemd-nspawn@")
        .and_then(|name| name.strip_suffix(".service"))
    {
        return some(Runtime::Nspawn, id);
    }
    if let Some(id) = name.strip_prefix("machine-")
        && parent == "machine.slice"
        && !id.starts_with("qemu")
        && !id.ends_with(".slice")
    {
        return some(Runtime::Nspawn, id);
    }
    None
}

/// The user of the processes, if they are in a slice that systemd made for a user.
pub(super) fn owner(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once("/user-")?;
    rest.split_once(".slice")?.0.parse().ok()
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The id of a container in ECS Fargate: 32 hexadecimal digits, `-` and a number.
fn fargate(name: &str) -> Option<String> {
    let (id, number) = name.split_once('-')?;
    let hex = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let digits = number.len() >= 6 && number.bytes().all(|b| b.is_ascii_digit());
    (hex && digits).then(|| name.to_owned())
}

/// The uid in `pod<uid>`, or in `kubepods-burstable-pod<uid>.slice` with `_` instead of `-`.
fn pod_uid(component: &str) -> Option<String> {
    let name = component.split(':').next().unwrap_or(component);
    let uid = match name.strip_suffix(".slice") {
        Some(slice) if slice.starts_with("kubepods") => slice.rsplit_once("-pod")?.1,
        Some(_) => return None,
        None => name.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    // a mirror pod has the hash of its manifest instead of a uid
    let known = uid.len() >= 32 && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    known.then_some(uid)
}

/// Replaces systemd's escapes such as `\x2d` (systemd.unit(5)).
fn unescaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("\\x") {
        out.push_str(before);
        match after.get(..2).map(|hex| u8::from_str_radix(hex, 16)) {
            Some(Ok(byte)) if byte.is_ascii() => {
                out.push(char::from(byte));
                rest = &after[2..];
            }
            _ => {
                out.push_str("\\x");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3ad7b26ded6d8e7b23da7d48fe889434573036c27ae5a74837233de441c3601e";
    const B: &str = "63060edc2d3aa803ab559f2393776b151f99fc5b05035b21db66b3b62246ad6a";
    const UID: &str = "3e41dc6b-08a8-44db-bc2a-3724b18ab19a";

    #[test]
    fn every_runtime_is_known_by_its_names() {
        let slice = format!("kubepods-burstable-pod{}.slice", UID.replace('-', "_"));
        let pod = Some(UID);
        let cases = [
            (format!("/docker/{A}"), Runtime::Docker, A, None),
            (
                format!("/system.slice/docker-{A}.scope"),
                Runtime::Docker,
                A,
                None,
            ),
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope"
                ),
                Runtime::Docker,
                A,
                None,
            ),
            // docker in docker
            (format!("/docker/{A}/docker/{B}"), Runtime::Docker, B, None),
            (
                format!("/libpod_parent/libpod-{A}"),
                Runtime::Podman,
                A,
                None,
            ),
            (
                format!("/machine.slice/libpod-{A}.scope/container"),
                Runtime::Podman,
                A,
                None,
            ),
            (
                format!("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope"),
                Runtime::Podman,
                A,
                None,
            ),
            (
                format!("/libpod_parent/{B}/libpod-{A}"),
                Runtime::Podman,
                A,
                None,
            ),
            (
                format!("/kubepods.slice/kubepods-burstable.slice/{slice}/crio-{A}.scope"),
                Runtime::Crio,
                A,
                pod,
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/{slice}/cri-containerd-{A}.scope"
                ),
                Runtime::Containerd,
                A,
                pod,
            ),
            (
                format!("/system.slice/containerd.service/{slice}:cri-containerd:{A}"),
                Runtime::Containerd,
                A,
                pod,
            ),
            (
                format!("/kubepods/besteffort/pod{UID}/{A}"),
                Runtime::Containerd,
                A,
                pod,
            ),
            (
                format!("/kubelet/kubepods/pod{UID}/crio-{A}"),
                Runtime::Crio,
                A,
                pod,
            ),
            (
                format!("/system.slice/nerdctl-{A}.scope"),
                Runtime::Containerd,
                A,
                None,
            ),
            (format!("/default/{A}"), Runtime::Containerd, A, None),
            (format!("/ecs/c0ffee/{A}"), Runtime::Containerd, A, None),
            (
                "/ecs/t/2b7e151628aed2a6abf7158809cf4f3c-3151893456".to_owned(),
                Runtime::Containerd,
                "2b7e151628aed2a6abf7158809cf4f3c-3151893456",
                None,
            ),
            ("/lxc/web".to_owned(), Runtime::Lxc, "web", None),
            (
                "/lxc.payload.web/system.slice/x.service".to_owned(),
                Runtime::Lxc,
                "web",
                None,
            ),
            (
                "/machine/web.libvirt-lxc".to_owned(),
                Runtime::LibvirtLxc,
                "web",
                None,
            ),
            (
                "/machine.slice/machine-lxc\\x2d4711\\x2dweb.scope".to_owned(),
                Runtime::LibvirtLxc,
                "web",
                None,
            ),
            (
                "/machine.slice/systemd-nspawn@web\\x2d1.service/payload".to_owned(),
                Runtime::Nspawn,
                "web-1",
                None,
            ),
            (
                "/machine.slice/machine-web.scope".to_owned(),
                Runtime::Nspawn,
                "web",
                None,
            ),
        ];
        for (path, runtime, id, pod_uid) in cases {
            let found = in_path(&path);
            let expected = ContainerId {
                runtime,
                id: id.to_owned(),
                pod_uid: pod_uid.map(str::to_owned),
            };
            assert_eq!(found, Some(expected), "{path}");
        }
    }

    #[test]
    fn what_serves_containers_is_none_and_neither_is_the_host() {
        let paths = [
            "/".to_owned(),
            "/init.scope".to_owned(),
            "/user.slice/user-0.slice/session-1.scope".to_owned(),
            format!("/machine.slice/libpod-conmon-{A}.scope"),
            format!("/system.slice/crio-conmon-{A}.scope"),
            format!("/libpod_parent/{A}"),
            "/lxc.monitor.web".to_owned(),
            "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope".to_owned(),
            "/system.slice/docker-short.scope".to_owned(),
            "/podman".to_owned(),
            format!("/docker/{}", A.to_uppercase()),
            "\\x\\xzz\\x2".to_owned(),
        ];
        for path in paths {
            assert_eq!(in_path(&path), None, "{path}");
        }
    }

    #[test]
    fn an_ordinary_users_container_has_an_owner() {
        let path = format!("0::/user.slice/user-1000.slice/user@1000.service/libpod-{A}.scope\n");
        assert_eq!(owner(path.as_bytes()), Some(1000));
        assert_eq!(owner(b"0::/system.slice/x.scope"), None);
    }

    #[test]
    fn any_hierarchy_may_be_the_one_that_tells() {
        let text = format!("12:cpu,cpuacct:/docker/{A}\n1:name=systemd:/\n0::/\n");
        assert_eq!(find(text.as_bytes()).unwrap().id, A);
        let text = format!("4:memory:/slot\n0::/system.slice/docker-{B}.scope\n");
        assert_eq!(find(text.as_bytes()).unwrap().id, B);
        assert_eq!(find(b"\xff\n0::/\xff\nnonsense"), None);
    }
}
