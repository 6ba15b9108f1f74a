//! The structs that C and Rust share have the same sizes and offsets, and the constants the same values.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::mem::offset_of;
use std::process::Command;

use driver_api::event::layout::{self, AttachmentHeader};
use driver_api::event::{
    Encoding, EventKind, Fact, Flags, Header, Ids, Layer, Loss, Part, Program, Status, Tuple,
};
use driver_api::plan::{self, Op, Plan, Pointer, code, flag, len_from, when};

macro_rules! rows {
    ($rows:ident, $c:literal, $rust:ty, $($field:ident),*) => {
        $rows.push((format!("sizeof(struct {})", $c), size_of::<$rust>()));
        $($rows.push((format!("offsetof(struct {}, {})", $c, stringify!($field)), offset_of!($rust, $field)));)*
    };
}

/// What C calls it, and what Rust has.
fn expected() -> Vec<(String, usize)> {
    let mut rows = Vec::new();
    rows!(
        rows,
        "lanner_event",
        Header,
        len,
        version,
        kind,
        abi,
        attachments,
        cpu,
        flags,
        nr,
        time_ns,
        tgid,
        tid,
        uid,
        gid,
        cgroup,
        ret,
        args
    );
    rows!(
        rows,
        "lanner_attachment",
        AttachmentHeader,
        what,
        part,
        status,
        encoding,
        captured,
        full
    );
    rows!(
        rows,
        "lanner_tuple",
        Tuple,
        family,
        protocol,
        local_port,
        remote_port,
        local,
        remote
    );
    rows!(
        rows,
        "lanner_ids",
        Ids,
        ppid,
        pgid,
        sid,
        loginuid,
        uid,
        euid,
        gid,
        egid,
        tty,
        memfd
    );
    rows!(
        rows,
        "lanner_program",
        Program,
        inode,
        ctime_ns,
        mtime_ns,
        cap_inheritable,
        cap_permitted,
        cap_effective,
        mode,
        uid,
        gid,
        layer
    );
    rows!(
        rows,
        "lanner_op",
        Op,
        code,
        what,
        arg,
        when,
        len_from,
        len_arg,
        unit,
        limit
    );
    rows!(
        rows,
        "lanner_plan",
        Plan,
        flags,
        ops,
        vector,
        fact,
        pointers,
        op
    );
    rows!(
        rows,
        "lanner_pointer",
        Pointer,
        at,
        count_at,
        bytes,
        count_bytes,
        unit,
        limit
    );
    let constants: &[(&str, usize)] = &[
        ("LANNER_EVENT_VERSION", layout::VERSION.into()),
        ("LANNER_EVENT_MAX", layout::MAX),
        ("LANNER_KIND_SYSCALL", EventKind::Syscall as usize),
        ("LANNER_KIND_EXEC", EventKind::Exec as usize),
        ("LANNER_KIND_FORK", EventKind::Fork as usize),
        ("LANNER_KIND_EXIT", EventKind::Exit as usize),
        ("LANNER_KIND_SIGNAL", EventKind::Signal as usize),
        ("LANNER_KIND_LOST", EventKind::Lost as usize),
        ("LANNER_FORK_SEEN", layout::FORK_SEEN as usize),
        ("LANNER_FLAG_NORETURN", Flags::NORETURN.into()),
        ("LANNER_FLAG_UNSELECTED", Flags::UNSELECTED.into()),
        ("LANNER_FLAG_INCOMPLETE", Flags::INCOMPLETE.into()),
        ("LANNER_FLAG_ENTRY", Flags::ENTRY.into()),
        ("LANNER_LOSS_BUFFER_FULL", Loss::BufferFull as usize),
        ("LANNER_LOSS_NESTED", Loss::Nested as usize),
        ("LANNER_LOSS_TABLE_FULL", Loss::TableFull as usize),
        ("LANNER_LOSS_FAULT", Loss::Fault as usize),
        ("LANNER_LOSS_CAUSES", Loss::ALL.len()),
        ("LANNER_FACT_PATH", Fact::Path as usize),
        ("LANNER_FACT_TUPLE", Fact::Tuple as usize),
        ("LANNER_FACT_EXE", Fact::Exe as usize),
        ("LANNER_FACT_CWD", Fact::Cwd as usize),
        ("LANNER_FACT_ARGV", Fact::Argv as usize),
        ("LANNER_FACT_ENV", Fact::Env as usize),
        ("LANNER_FACT_IDS", Fact::Ids as usize),
        ("LANNER_FACT_COMM", Fact::Comm as usize),
        ("LANNER_FACT_LOCAL", Fact::Local as usize),
        ("LANNER_FACT_PEER", Fact::Peer as usize),
        ("LANNER_FACT_PROGRAM", Fact::Program as usize),
        ("LANNER_LAYER_NONE", Layer::None as usize),
        ("LANNER_LAYER_LOWER", Layer::Lower as usize),
        ("LANNER_LAYER_UPPER", Layer::Upper as usize),
        ("LANNER_LAYER_UNKNOWN", Layer::UNKNOWN as usize),
        ("LANNER_REPLACED", layout::REPLACED.into()),
        ("LANNER_WHOLE", Status::Whole as usize),
        ("LANNER_TRUNCATED", Status::Truncated as usize),
        ("LANNER_FAULT", Status::Fault as usize),
        ("LANNER_RAW", Encoding::Raw as usize),
        ("LANNER_PARTS", Encoding::Parts as usize),
        ("LANNER_STRINGS", Encoding::Strings as usize),
        ("LANNER_PART_NAME", Part::Name as usize),
        ("LANNER_PART_DATA", Part::Data as usize),
        ("LANNER_PART_CONTROL", Part::Control as usize),
        ("LANNER_PLAN_OPS", plan::OPS),
        ("LANNER_PLAN_NRS", plan::NUMBERS),
        ("LANNER_POINTERS", plan::POINTERS),
        ("LANNER_POINTING", plan::POINTING),
        ("LANNER_PLAN_SELECTED", flag::SELECTED.into()),
        ("LANNER_PLAN_NORETURN", flag::NORETURN.into()),
        ("LANNER_PLAN_CHILD", flag::CHILD.into()),
        ("LANNER_PLAN_EXEC", flag::EXEC.into()),
        ("LANNER_OP_STR", code::STR.into()),
        ("LANNER_OP_BYTES", code::BYTES.into()),
        ("LANNER_OP_STRV", code::STRV.into()),
        ("LANNER_OP_IOV", code::IOV.into()),
        ("LANNER_OP_MSG", code::MSG.into()),
        ("LANNER_OP_FD_PATH", code::FD_PATH.into()),
        ("LANNER_OP_FD_TUPLE", code::FD_TUPLE.into()),
        ("LANNER_WHEN_ALWAYS", when::ALWAYS.into()),
        ("LANNER_WHEN_SUCCESS", when::SUCCESS.into()),
        ("LANNER_WHEN_CONNECTED", when::CONNECTED.into()),
        ("LANNER_LEN_CONST", len_from::CONST.into()),
        ("LANNER_LEN_ARG", len_from::ARG.into()),
        ("LANNER_LEN_RET", len_from::RET.into()),
        ("LANNER_LEN_U32_AT", len_from::U32_AT.into()),
        ("LANNER_LEN_ARG_AND_RET", len_from::ARG_AND_RET.into()),
        ("LANNER_ARG_RET", plan::ARG_RET.into()),
    ];
    rows.extend(
        constants
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value)),
    );
    rows
}

#[test]
fn c_and_rust_agree() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = String::from(
        "#include <linux/types.h>\n#include <stddef.h>\n#include <stdio.h>\n#include \"event.h\"\n#include \"plan.h\"\nint main(void) {\n",
    );
    let expected = expected();
    for (name, _) in &expected {
        writeln!(
            source,
            "printf(\"%s=%lu\\n\", \"{name}\", (unsigned long)({name}));"
        )
        .unwrap();
    }
    source.push_str("return 0; }\n");
    let (file, program) = (folder.path().join("layout.c"), folder.path().join("layout"));
    std::fs::write(&file, source).unwrap();
    let status = Command::new("cc")
        .arg("-I")
        .arg(driver_api::HEADERS)
        .arg("-o")
        .args([&program, &file])
        .status()
        .unwrap();
    assert!(status.success(), "cc compiles the headers");
    let output = String::from_utf8(Command::new(program).output().unwrap().stdout).unwrap();
    let found: BTreeMap<&str, usize> = output
        .lines()
        .filter_map(|line| line.rsplit_once('='))
        .map(|(n, v)| (n, v.parse().unwrap()))
        .collect();
    assert_eq!(found.len(), expected.len());
    for (name, value) in expected {
        assert_eq!(found[name.as_str()], value, "{name}");
    }
}
