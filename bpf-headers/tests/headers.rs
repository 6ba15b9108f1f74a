//! The C headers of the BPF programs are made from the Rust sources and are current; `make header` writes them anew.

use std::path::Path;

use bpf_headers::{Constants, Error, Header, Type};

const fn named<'a>(rust: &'a str, c: &'a str, prefix: &'a str) -> Type<'a> {
    Type { rust, c, prefix }
}

const EVENT: Header<'_> = Header {
    source: "driver-api/src/event/layout.rs",
    header: "driver-api/bpf/event.h",
    about: "The event as it leaves the kernel: the same layout for every driver.\n\
            Include <linux/types.h>, or an equivalent, first.",
    types: &[
        named("EventKind", "lanner_kind", "LANNER_KIND_"),
        named("Abi", "lanner_abi", "LANNER_ABI_"),
        named("Flags", "lanner_flag", "LANNER_FLAG_"),
        named("Loss", "lanner_loss", "LANNER_LOSS_"),
        named("Fact", "lanner_fact", "LANNER_FACT_"),
        named("Status", "lanner_status", "LANNER_"),
        named("Encoding", "lanner_encoding", "LANNER_"),
        named("Part", "lanner_part", "LANNER_PART_"),
        named("Layer", "lanner_layer", "LANNER_LAYER_"),
        named("Header", "lanner_event", ""),
        named("AttachmentHeader", "lanner_attachment", ""),
        named("Tuple", "lanner_tuple", ""),
        named("Ids", "lanner_ids", ""),
        named("Program", "lanner_program", ""),
        named("OpenedFile", "lanner_file", ""),
    ],
    constants: Constants {
        prefixes: &[("", "LANNER_")],
        names: &[
            ("VERSION", "LANNER_EVENT_VERSION"),
            ("MAX", "LANNER_EVENT_MAX"),
        ],
    },
};

const PLAN: Header<'_> = Header {
    source: "driver-api/src/plan/mod.rs",
    header: "driver-api/bpf/plan.h",
    about: "The capture plan: what to fetch for one system call, as the interpreters read it.\n\
            User space makes it from syscalls.tbl. Include <linux/types.h>, or an equivalent, first.",
    types: &[
        named("Op", "lanner_op", ""),
        named("Plan", "lanner_plan", ""),
        named("Pointer", "lanner_pointer", ""),
        named("Pointers", "lanner_pointers", ""),
        named("RegisterTest", "lanner_register_test", ""),
        named("Alternative", "lanner_alternative", ""),
        named("Condition", "lanner_condition", ""),
        named("VariantKey", "lanner_variant_key", ""),
        named("SqeArg", "lanner_sqe_arg", ""),
        named("SqeArgs", "lanner_sqe_args", ""),
        named("Multiplexed", "lanner_multiplexed", ""),
    ],
    constants: Constants {
        prefixes: &[
            ("", "LANNER_"),
            ("flag", "LANNER_PLAN_"),
            ("outcome", "LANNER_OUTCOME_"),
            ("code", "LANNER_OP_"),
            ("when", "LANNER_WHEN_"),
            ("len_from", "LANNER_LEN_"),
            ("unless", "LANNER_UNLESS_"),
        ],
        names: &[
            ("OPS", "LANNER_PLAN_OPS"),
            ("NUMBERS", "LANNER_PLAN_NRS"),
            ("OPERATIONS", "LANNER_PLAN_OPERATIONS"),
        ],
    },
};

const EBPF: Header<'_> = Header {
    source: "driver-ebpf/src/layout.rs",
    header: "driver-ebpf/bpf/ebpf_layout.h",
    about: "What the programs of both eBPF drivers share with user space.",
    types: &[named("Follow", "follow", "FOLLOW_")],
    constants: Constants {
        prefixes: &[("", "")],
        names: &[],
    },
};

const CORE: Header<'_> = Header {
    source: "driver-ebpf-core/src/layout.rs",
    header: "driver-ebpf-core/bpf/core_layout.h",
    about: "What the core driver's programs share with user space.",
    types: &[
        named("Settings", "settings", ""),
        named("RingState", "lanner_ring", ""),
        named("Gap", "lanner_gap", ""),
        named("Tail", "tail", "TAIL_"),
    ],
    constants: Constants {
        prefixes: &[("", "")],
        names: &[],
    },
};

const LEGACY: Header<'_> = Header {
    source: "driver-ebpf-legacy/src/layout.rs",
    header: "driver-ebpf-legacy/bpf/legacy_layout.h",
    about: "What the legacy driver's programs share with user space.",
    types: &[
        named("Settings", "settings", ""),
        named("Offsets", "offsets", ""),
        named("Query", "query", ""),
        named("Caller", "caller", ""),
        named("Answer", "answer", ""),
        named("Submission", "submission", ""),
    ],
    constants: Constants {
        prefixes: &[("", ""), ("have", "HAVE_")],
        names: &[],
    },
};

fn check(header: &Header<'_>) -> Result<(), Error> {
    header.check(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}

#[test]
fn the_header_of_events_is_current() -> Result<(), Error> {
    check(&EVENT)
}

#[test]
fn the_header_of_plans_is_current() -> Result<(), Error> {
    check(&PLAN)
}

#[test]
fn the_header_of_both_ebpf_drivers_is_current() -> Result<(), Error> {
    check(&EBPF)
}

#[test]
fn the_header_of_the_core_driver_is_current() -> Result<(), Error> {
    check(&CORE)
}

#[test]
fn the_header_of_the_legacy_driver_is_current() -> Result<(), Error> {
    check(&LEGACY)
}
