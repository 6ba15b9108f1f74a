//! The tables are complete.

use driver_api::table::SYSCALLS;

use super::super::table::{EventSlot, Table, What};

/// Names of Falco's values that the kernel has no name for: values that mean "none of these", marks of Falco's own, flags of
/// other architectures and systems, and second names of values that have a name.
const NAMELESS: &[&str] = &[
    "AF_LOCAL",
    "AF_ROUTE",
    "BPF_PROG_RUN",
    "CLONE_CHILD_IN_PIDNS",
    "CLONE_INVERTED",
    "CLONE_STOPPED",
    "CLOSED",
    "FUTEX_PRIVATE_FLAG",
    "IORING_SQ_NEED_WAKEUP",
    "LOCK_NONE",
    "MAP_INHERIT",
    "MAP_RENAME",
    "NAME_CHANGED",
    "O_F_CREATED",
    "O_NONE",
    "PROT_SAO",
    "PTRACE_UNKNOWN",
    "RLIMIT_UNKNOWN",
    "SHUT_UNKNOWN",
    "UNKNOWN",
];

/// Parameters that share a set with a call that takes more of its flags.
const SHARED: &[&str] = &[
    "syscall_dup3.flags",
    "syscall_eventfd2.flags",
    "syscall_inotify_init1.flags",
    "syscall_pipe2.flags",
    "syscall_setns.nstype",
    "syscall_signalfd4.flags",
    "syscall_unshare.flags",
    "syscall_userfaultfd.flags",
];

#[test]
fn every_line_of_the_tables_is_understood() {
    let table = Table::get();
    assert_eq!(table.faults, Vec::<String>::new());
    // the last event type and the last code that Falco's libraries have
    assert_eq!(table.types().len(), 454);
    assert_eq!(
        table.call(453).map(|call| call.name),
        Some("rseq_slice_yield")
    );
}

#[test]
fn every_parameter_of_a_call_has_a_place() {
    for (number, kind) in Table::get().types().iter().enumerate() {
        let What::Call(call) = kind.what else {
            continue;
        };
        if kind.enter {
            assert!(
                kind.params
                    .iter()
                    .all(|param| param.place != EventSlot::Result),
                "{number}"
            );
            continue;
        }
        let results = kind
            .params
            .iter()
            .filter(|param| param.place == EventSlot::Result);
        assert!(results.count() <= 1, "{number} {}", call.name);
    }
}

#[test]
fn every_name_of_a_value_is_one_of_the_kernels() {
    let unknown: Vec<_> = Table::get()
        .nameless
        .iter()
        .filter(|(param, name)| !NAMELESS.contains(name) && !SHARED.contains(&&**param))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn codes_name_calls_of_the_table() {
    let table = Table::get();
    let found = (0..=u16::MAX).filter_map(|code| table.call(code)).count();
    assert!(found > 400 && found <= SYSCALLS.len(), "{found}");
}
