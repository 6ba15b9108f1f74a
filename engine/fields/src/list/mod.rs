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
