//! Rows of `container.*` and `k8s.*`.

use lanner_plugin::FieldKind::{Bool, String as Text, U64};

use super::super::container;
use super::super::row::{ArgRule, FieldDef};

/// A field that the runtime tells.
macro_rules! late {
    ($name:literal, $kind:expr, $description:literal, $get:expr) => {
        F::late(
            $name,
            $kind,
            $description,
            |v, a| container::of(v, a, $get),
            $get,
        )
    };
}

use FieldDef as F;

pub(super) const CONTAINER: &[FieldDef] = &[
    F::new("container.id", Text, "First 12 letters of the container's id; `host` for processes of the host. Known at once, from the cgroup.", |v, a| {
        container::of_or_host(v, a, container::id)
    }),
    F::new("container.full_id", Text, "All of the container's id; `host` for processes of the host.", |v, a| {
        container::of_or_host(v, a, container::full_id)
    }),
    F::new("container.type", Text, "Who runs it: docker, podman, containerd, cri-o, lxc, libvirt_lxc, systemd-nspawn; or `host`.", |v, a| {
        container::of_or_host(v, a, container::kind)
    }),
    F::late("container.name", Text, "Name of the container; `host` for processes of the host.", |v, a| {
        container::of_or_host(v, a, container::name)
    }, container::name),
    late!("container.image", Text, "Name of the image, as it was given.", container::image),
    late!("container.image.id", Text, "First 12 letters of the image's id.", container::image_id),
    late!("container.image.repository", Text, "The image's name without tag and digest.", container::repository),
    late!("container.image.tag", Text, "The image's tag.", container::tag),
    late!("container.image.digest", Text, "The image's digest in its registry, as sha256:...", container::digest),
    late!("container.privileged", Bool, "It was started as privileged.", container::privileged),
    late!("container.mounts", Text, "What is mounted into it: `source:dest:mode:rdwr:propagation` each, with commas between.", container::mounts),
    late!("container.mount", Text, "One mount, by its number or by a pattern of its source: `container.mount[/srv/*]`.", container::mount).arg(ArgRule::Pattern),
    late!("container.mount.source", Text, "Source of a mount, by its number or by a pattern of its destination.", container::mount_source).arg(ArgRule::Pattern),
    late!("container.mount.dest", Text, "Destination of a mount, by its number or by a pattern of its source.", container::mount_dest).arg(ArgRule::Pattern),
    late!("container.mount.mode", Text, "Options of a mount, by its number or by a pattern of its source.", container::mount_mode).arg(ArgRule::Pattern),
    late!("container.mount.rdwr", Text, "Whether a mount can be written, `true` or `false`, by its number or by a pattern of its source.", container::mount_rdwr).arg(ArgRule::Pattern),
    late!("container.mount.propagation", Text, "Propagation of a mount, by its number or by a pattern of its source.", container::mount_propagation).arg(ArgRule::Pattern),
    F::new("container.start_ts", U64, "When the first process of its pid namespace began, nanoseconds since the epoch.", |v, _| container::start(v)),
    F::new("container.duration", U64, "Nanoseconds since `container.start_ts`.", |v, _| container::age(v)),
    late!("container.ip", Text, "Address of the container, or of its pod.", container::ip),
    late!("container.cni.json", Text, "What the network plugins said about its pod, JSON.", container::cni),
    late!("container.host_pid", Bool, "It shares the host's process ids.", container::host_pid),
    late!("container.host_network", Bool, "It shares the host's network.", container::host_network),
    late!("container.host_ipc", Bool, "It shares the host's System V IPC.", container::host_ipc),
    late!("container.label", Text, "A label: `container.label[app]`.", container::label).arg(ArgRule::Key),
    late!("container.labels", Text, "All labels, `key:value` each, with commas between.", container::labels),
    late!("k8s.pod.name", Text, "Name of the Kubernetes pod.", container::pod_name),
    late!("k8s.ns.name", Text, "Namespace of the pod.", container::namespace),
    late!("k8s.pod.id", Text, "The same as `k8s.pod.uid`.", container::pod_uid),
    late!("k8s.pod.uid", Text, "Id that Kubernetes gave the pod. Known at once where the cgroup has it.", container::pod_uid),
    late!("k8s.pod.sandbox_id", Text, "First 12 letters of the id that the runtime gave the pod.", container::sandbox),
    late!("k8s.pod.full_sandbox_id", Text, "All of it.", container::full_sandbox),
    late!("k8s.pod.label", Text, "A label of the pod: `k8s.pod.label[app]`.", container::pod_label).arg(ArgRule::Key),
    late!("k8s.pod.labels", Text, "All labels of the pod, `key:value` each, with commas between.", container::pod_labels),
    late!("k8s.pod.ip", Text, "Address of the pod.", container::pod_ip),
    late!("k8s.pod.cni.json", Text, "The same as `container.cni.json`.", container::cni),
];
