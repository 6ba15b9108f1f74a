//! What a runtime says about a container, as the JSON of Falco's event.

use inspect::{Container, Runtime};
use serde_json::{Value, json};

/// `sinsp_container_type` in falcosecurity/libs.
fn kind(runtime: Runtime) -> u8 {
    match runtime {
        Runtime::Docker => 0,
        Runtime::Lxc => 1,
        Runtime::LibvirtLxc => 2,
        // a custom one
        Runtime::Nspawn => 5,
        Runtime::Containerd => 7,
        Runtime::Crio => 8,
        Runtime::Podman => 11,
    }
}

/// The JSON. None: the runtime has said nothing.
pub(super) fn json(container: &Container) -> Option<String> {
    /// The look-up has succeeded.
    const SUCCESS: u8 = 1;
    let said = container.metadata()?;
    let mounts: Vec<Value> = said
        .mounts
        .iter()
        .map(|mount| {
            json!({
                "Source": mount.source,
                "Destination": mount.destination,
                "Mode": mount.mode,
                "RW": mount.writable,
                "Propagation": mount.propagation,
            })
        })
        .collect();
    let about = json!({
        "id": container.short_id(),
        "full_id": &*container.id,
        "type": kind(container.runtime),
        "lookup_state": SUCCESS,
        "name": said.name,
        "image": said.image.name,
        "imageid": said.image.id,
        "imagerepo": said.image.repository,
        "imagetag": said.image.tag,
        "imagedigest": said.image.digest,
        "privileged": said.privileged.unwrap_or(false),
        "is_pod_sandbox": false,
        "host_pid": said.host_pid.unwrap_or(false),
        "host_network": said.host_network.unwrap_or(false),
        "host_ipc": said.host_ipc.unwrap_or(false),
        "Mounts": mounts,
        "labels": said.labels,
        "ip": said.ip,
        "cni_json": said.cni,
        "created_time": said.started_ns / 1_000_000_000,
        "env": [],
        "port_mappings": [],
        "memory_limit": 0,
        "swap_limit": 0,
        "cpu_shares": 1024,
        "cpu_quota": 0,
        "cpu_period": 100_000,
        "cpuset_cpu_count": 0,
        "metadata_deadline": 0,
    });
    Some(json!({ "container": about }).to_string())
}
