//! The list of fields. A row: name, type, meaning, function; then what is special about it.

mod container;
mod descriptor;
mod empty;
mod event;
mod ids;
mod kernel;
mod process;
mod target;

use super::row::FieldDef;

const PARTS: [&[FieldDef]; 8] = [
    event::EVENT,
    process::PROCESS,
    descriptor::DESCRIPTOR,
    ids::IDS,
    container::CONTAINER,
    kernel::KERNEL,
    target::TARGET,
    empty::EMPTY,
];

const COUNT: usize = {
    let (mut at, mut count) = (0, 0);
    while at < PARTS.len() {
        count += PARTS[at].len();
        at += 1;
    }
    count
};

static ALL: [FieldDef; COUNT] = {
    let mut all = [PARTS[0][0]; COUNT];
    let (mut at, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut row = 0;
        while row < PARTS[part].len() {
            all[at] = PARTS[part][row];
            (at, row) = (at + 1, row + 1);
        }
        part += 1;
    }
    all
};

/// Every field, by class.
pub static FIELDS: &[FieldDef] = &ALL;

/// Fields of Falco's that are not there, and why: Falco itself has given them up, or has them for listings alone.
pub const LEFT_OUT: &[(&str, &str)] = &[
    (
        "evt.latency.quantized",
        "a call is one event, when it has returned",
    ),
    (
        "evt.count.procinfo",
        "there are no events that only tell of processes",
    ),
    (
        "evt.count.threadinfo",
        "there are no events that only tell of threads",
    ),
    ("evt.buflen.in", "`evt.buflen` with `evt.is_io_read`"),
    ("evt.buflen.out", "`evt.buflen` with `evt.is_io_write`"),
    ("evt.buflen.file", "`evt.buflen` with `fd.type`"),
    (
        "evt.buflen.file.in",
        "`evt.buflen` with `fd.type` and `evt.is_io_read`",
    ),
    (
        "evt.buflen.file.out",
        "`evt.buflen` with `fd.type` and `evt.is_io_write`",
    ),
    ("evt.buflen.net", "`evt.buflen` with `fd.type`"),
    (
        "evt.buflen.net.in",
        "`evt.buflen` with `fd.type` and `evt.is_io_read`",
    ),
    (
        "evt.buflen.net.out",
        "`evt.buflen` with `fd.type` and `evt.is_io_write`",
    ),
    ("evt.infra.docker.name", "containers do not make events"),
    (
        "evt.infra.docker.container.id",
        "containers do not make events",
    ),
    (
        "evt.infra.docker.container.name",
        "containers do not make events",
    ),
    (
        "evt.infra.docker.container.image",
        "containers do not make events",
    ),
    ("thread.vmsize.b", "`thread.vmsize`, which is in KiB"),
    ("thread.vmrss.b", "`thread.vmrss`, which is in KiB"),
];
