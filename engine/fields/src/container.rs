//! Functions of `container.*` and `k8s.*`. What a runtime says may come later than the event: those functions take
//! the container alone, so that an alert can ask again.

use inspect::Container;
use inspect::containers::{Metadata, Mount, Pod, short};
use lanner_plugin::Value;

use super::argument::Arg;
use super::process::some_text;
use super::scratch::Scratch;
use super::view::View;

/// Finds what a runtime said about a container.
pub(super) type GetLate = for<'a> fn(&'a Container, &Arg, &'a Scratch) -> Value<'a>;

/// What stands for an id or name where a process is in no container.
const HOST: Value<'static> = Value::String(b"host");

/// A field of the container that an event's process is in; nothing on the host.
pub(super) fn of<'a>(view: &View<'a>, arg: &Arg, get: GetLate) -> Value<'a> {
    match view.container() {
        Some(container) => get(container, arg, view.scratch),
        None => Value::None,
    }
}

/// The same; `host` on the host.
pub(super) fn of_or_host<'a>(view: &View<'a>, arg: &Arg, get: GetLate) -> Value<'a> {
    if view.process().is_none() {
        return Value::None;
    }
    match view.container() {
        Some(container) => get(container, arg, view.scratch),
        None => HOST,
    }
}

pub(super) fn id<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    Value::String(container.short_id().as_bytes())
}

pub(super) fn full_id<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    Value::String(container.id.as_bytes())
}

pub(super) fn kind<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    Value::String(container.runtime.name().as_bytes())
}

fn text_of<'a>(container: &'a Container, text: fn(&'a Metadata) -> &'a str) -> Value<'a> {
    let metadata = container.metadata();
    some_text(metadata.map(|metadata| text(metadata).as_bytes()))
}

pub(super) fn name<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    text_of(container, |metadata| &metadata.name)
}

pub(super) fn image<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    text_of(container, |metadata| &metadata.image.name)
}

pub(super) fn image_id<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    text_of(container, |metadata| short(&metadata.image.id))
}

pub(super) fn repository<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    text_of(container, |metadata| &metadata.image.repository)
}

pub(super) fn tag<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    text_of(container, |metadata| &metadata.image.tag)
}

pub(super) fn digest<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    text_of(container, |metadata| &metadata.image.digest)
}

pub(super) fn ip<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    text_of(container, |metadata| &metadata.ip)
}

pub(super) fn cni<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    text_of(container, |metadata| &metadata.cni)
}

fn flag<'a>(container: &'a Container, flag: fn(&Metadata) -> Option<bool>) -> Value<'a> {
    let flag = container.metadata().and_then(flag);
    flag.map_or(Value::None, Value::Bool)
}

pub(super) fn privileged<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    flag(container, |metadata| metadata.privileged)
}

pub(super) fn host_pid<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    flag(container, |metadata| metadata.host_pid)
}

pub(super) fn host_network<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    flag(container, |metadata| metadata.host_network)
}

pub(super) fn host_ipc<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    flag(container, |metadata| metadata.host_ipc)
}

/// `source:dest:mode:rdwr:propagation`
fn describe(out: &mut Vec<u8>, mount: &Mount) {
    let parts = [
        &*mount.source,
        &*mount.destination,
        &*mount.mode,
        writable(mount),
        &*mount.propagation,
    ];
    for (at, part) in parts.into_iter().enumerate() {
        if at > 0 {
            out.push(b':');
        }
        out.extend_from_slice(part.as_bytes());
    }
}

fn writable(mount: &Mount) -> &'static str {
    if mount.writable { "true" } else { "false" }
}

pub(super) fn mounts<'a>(container: &'a Container, _: &Arg, scratch: &'a Scratch) -> Value<'a> {
    let Some(metadata) = container.metadata() else {
        return Value::None;
    };
    Value::String(scratch.bytes(|out| {
        for (at, mount) in metadata.mounts.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            describe(out, mount);
        }
    }))
}

/// The mount of this number, or the first whose path matches.
fn mount_of<'a>(
    container: &'a Container,
    arg: &Arg,
    path: fn(&Mount) -> &str,
) -> Option<&'a Mount> {
    let mounts = &container.metadata()?.mounts;
    match arg {
        Arg::Index(index) => mounts.get(usize::try_from(*index).ok()?),
        Arg::Name(pattern) => mounts
            .iter()
            .find(|mount| matches(pattern.as_bytes(), path(mount).as_bytes())),
        _ => None,
    }
}

fn of_mount<'a>(container: &'a Container, arg: &Arg, part: fn(&'a Mount) -> &'a str) -> Value<'a> {
    let mount = mount_of(container, arg, |mount| &mount.source);
    super::process::text(mount.map(|mount| part(mount).as_bytes()))
}

pub(super) fn mount<'a>(container: &'a Container, arg: &Arg, scratch: &'a Scratch) -> Value<'a> {
    match mount_of(container, arg, |mount| &mount.source) {
        Some(mount) => Value::String(scratch.bytes(|out| describe(out, mount))),
        None => Value::None,
    }
}

pub(super) fn mount_source<'a>(container: &'a Container, arg: &Arg, _: &'a Scratch) -> Value<'a> {
    let mount = mount_of(container, arg, |mount| &mount.destination);
    super::process::text(mount.map(|mount| mount.source.as_bytes()))
}

pub(super) fn mount_dest<'a>(container: &'a Container, arg: &Arg, _: &'a Scratch) -> Value<'a> {
    of_mount(container, arg, |mount| &mount.destination)
}

pub(super) fn mount_mode<'a>(container: &'a Container, arg: &Arg, _: &'a Scratch) -> Value<'a> {
    of_mount(container, arg, |mount| &mount.mode)
}

pub(super) fn mount_rdwr<'a>(container: &'a Container, arg: &Arg, _: &'a Scratch) -> Value<'a> {
    of_mount(container, arg, writable)
}

pub(super) fn mount_propagation<'a>(
    container: &'a Container,
    arg: &Arg,
    _: &'a Scratch,
) -> Value<'a> {
    of_mount(container, arg, |mount| &mount.propagation)
}

type Labels = std::collections::BTreeMap<String, String>;

fn one_label<'a>(labels: Option<&'a Labels>, arg: &Arg) -> Value<'a> {
    let Arg::Name(key) = arg else {
        return Value::None;
    };
    let label = labels.and_then(|labels| labels.get(&**key));
    super::process::text(label.map(|label| label.as_bytes()))
}

/// `key:value, key:value`, without what runtimes and Kubernetes put there for themselves.
fn all_labels<'a>(labels: Option<&'a Labels>, scratch: &'a Scratch) -> Value<'a> {
    let Some(labels) = labels else {
        return Value::None;
    };
    let shown =
        |key: &&String| !key.starts_with("annotation.") && !key.starts_with("io.kubernetes.");
    Value::String(scratch.bytes(|out| {
        for key in labels.keys().filter(shown) {
            if !out.is_empty() {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(key.as_bytes());
            let value = &labels[key];
            if !value.is_empty() {
                out.push(b':');
                out.extend_from_slice(value.as_bytes());
            }
        }
    }))
}

pub(super) fn label<'a>(container: &'a Container, arg: &Arg, _: &'a Scratch) -> Value<'a> {
    one_label(container.metadata().map(|metadata| &metadata.labels), arg)
}

pub(super) fn labels<'a>(container: &'a Container, _: &Arg, scratch: &'a Scratch) -> Value<'a> {
    all_labels(
        container.metadata().map(|metadata| &metadata.labels),
        scratch,
    )
}

fn pod(container: &Container) -> Option<&Pod> {
    container.metadata()?.pod.as_ref()
}

fn of_pod<'a>(container: &'a Container, text: fn(&'a Pod) -> &'a str) -> Value<'a> {
    some_text(pod(container).map(|pod| text(pod).as_bytes()))
}

pub(super) fn pod_name<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    of_pod(container, |pod| &pod.name)
}

pub(super) fn namespace<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    of_pod(container, |pod| &pod.namespace)
}

/// The cgroup has it at once.
pub(super) fn pod_uid<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    match &container.pod_uid {
        Some(uid) => Value::String(uid.as_bytes()),
        None => of_pod(container, |pod| &pod.uid),
    }
}

pub(super) fn sandbox<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    of_pod(container, |pod| short(&pod.sandbox))
}

pub(super) fn full_sandbox<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    of_pod(container, |pod| &pod.sandbox)
}

pub(super) fn pod_ip<'a>(container: &'a Container, _: &Arg, _: &'a Scratch) -> Value<'a> {
    of_pod(container, |pod| &pod.ip)
}

pub(super) fn pod_label<'a>(container: &'a Container, arg: &Arg, _: &'a Scratch) -> Value<'a> {
    one_label(pod(container).map(|pod| &pod.labels), arg)
}

pub(super) fn pod_labels<'a>(container: &'a Container, _: &Arg, scratch: &'a Scratch) -> Value<'a> {
    all_labels(pod(container).map(|pod| &pod.labels), scratch)
}

/// When the first process of the pid namespace began, if the process is in a container.
fn start_ns(view: &View<'_>) -> Option<u64> {
    view.container()?;
    super::process::namespace_start(view)
}

pub(super) fn start<'a>(view: &View<'a>) -> Value<'a> {
    start_ns(view).map_or(Value::None, Value::U64)
}

pub(super) fn age<'a>(view: &View<'a>) -> Value<'a> {
    start_ns(view).map_or(Value::None, |start| {
        Value::U64(view.time_ns().saturating_sub(start))
    })
}

/// Whether a text is like a pattern, in which `*` stands for any letters and `?` for one.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut again: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                again = Some((p + 1, t));
                p += 1;
            }
            Some(letter) if *letter == b'?' || *letter == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after, from)) = again else {
                    return false;
                };
                again = Some((after, from + 1));
                p = after;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_letters() {
        for (pattern, text, expected) in [
            ("/proc*", "/proc", true),
            ("/proc*", "/proc/sys", true),
            ("/proc*", "/pro", false),
            ("/usr/?ib/*", "/usr/lib/x/y", true),
            ("*a*b", "xxaxxab", true),
            ("*a*b", "xxaxxa", false),
            ("", "", true),
            ("", "x", false),
            ("*", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
