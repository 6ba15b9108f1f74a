//! Rows of `user.*` and `group.*`.

use lanner_plugin::FieldKind::{I64, String as Text, U64};

use super::super::process as proc;
use super::super::row::FieldDef;

use FieldDef as F;

pub(super) const IDS: &[FieldDef] = &[
    F::new("user.uid", U64, "Effective id of the user.", |v, _| {
        proc::unsigned(proc::uid(v))
    }),
    F::new(
        "user.name",
        Text,
        "Name of the user, from /etc/passwd; `<NA>` if it has no entry.",
        |v, _| proc::user(v, |user| &user.name, b"root"),
    ),
    F::new(
        "user.homedir",
        Text,
        "Home directory of the user; `<NA>` if it has no entry.",
        |v, _| proc::user(v, |user| &user.home, b"/root"),
    ),
    F::new(
        "user.shell",
        Text,
        "Login shell of the user; `<NA>` if it has no entry.",
        |v, _| proc::user(v, |user| &user.shell, proc::NO_ENTRY),
    ),
    F::new(
        "user.loginuid",
        I64,
        "Id of the user who logged in; -1: nobody did.",
        |v, _| proc::login_id(v),
    ),
    F::new(
        "user.loginname",
        Text,
        "Name of the user who logged in; `<NA>`: nobody did, or the user has no entry.",
        |v, _| proc::login_name(v),
    ),
    F::new("group.gid", U64, "Effective id of the group.", |v, _| {
        proc::unsigned(proc::gid(v))
    }),
    F::new(
        "group.name",
        Text,
        "Name of the group, from /etc/group; `<NA>` if it has no entry.",
        |v, _| proc::group_name(v),
    ),
];
