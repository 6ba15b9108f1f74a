//! The table against the kernel: its headers have every number, tracefs every parameter.

use std::fs;
use std::path::Path;

use driver_api::event::Abi;
use driver_api::plan::{self, code};
use driver_api::request::Limits;
use driver_api::table::{self, Kind, LastLink, LenFrom, STRUCTURES, SYSCALLS, Syscall};

const ABIS: [Abi; 6] = [
    Abi::X86_64,
    Abi::I386,
    Abi::X32,
    Abi::Aarch64,
    Abi::Arm,
    Abi::IoUring,
];

#[test]
fn every_call_is_found_by_name_and_number() {
    for call in SYSCALLS {
        assert!(
            std::ptr::eq(table::by_name(call.name).unwrap(), call),
            "{} is in the table twice",
            call.name
        );
        for abi in ABIS {
            if let Some(number) = call.number(abi) {
                assert!(
                    std::ptr::eq(table::by_number(abi, number).unwrap(), call),
                    "{} on {}",
                    call.name,
                    abi.name()
                );
            }
        }
    }
    assert!(table::by_number(Abi::X86_64, u32::MAX).is_none());
}

#[test]
fn operations_of_io_uring_have_the_codes_of_the_header() {
    const HEADER: &str = "/usr/include/linux/io_uring.h";
    let Ok(header) = fs::read_to_string(HEADER) else {
        println!("skipped: {HEADER} cannot be read");
        return;
    };
    let names: Vec<String> = header
        .lines()
        .filter_map(|line| line.trim().strip_prefix("IORING_OP_")?.strip_suffix(','))
        .map(|name| format!("io_uring_{}", name.to_lowercase()))
        .filter(|name| name != "io_uring_last")
        .collect();
    assert!(names.len() > 40, "{names:?}");
    for (code, name) in (0..).zip(&names) {
        let call = table::by_number(Abi::IoUring, code).map(|call| call.name);
        assert_eq!(call, Some(name.as_str()), "code {code}");
    }
}

#[test]
fn a_request_of_io_uring_has_the_arguments_of_its_system_call() {
    let mut request = [0_u8; 64];
    request[4..8].copy_from_slice(&7_i32.to_le_bytes());
    request[8..16].copy_from_slice(&0x1111_u64.to_le_bytes());
    request[16..24].copy_from_slice(&0x2222_u64.to_le_bytes());
    request[24..28].copy_from_slice(&0o640_u32.to_le_bytes());
    request[28..32].copy_from_slice(&2_u32.to_le_bytes());
    let arguments =
        |request: &[u8; 64], name: &str| table::by_name(name).unwrap().arguments_in(request);
    assert_eq!(
        arguments(&request, "io_uring_openat"),
        [7, 0x2222, 2, 0o640, 0, 0]
    );
    assert_eq!(
        arguments(&request, "io_uring_connect"),
        [7, 0x2222, 0x1111, 0, 0, 0]
    );
    assert_eq!(arguments(&request, "io_uring_close")[0], 7);
    // a registered file has no descriptor
    request[44] = 1;
    assert_eq!(arguments(&request, "io_uring_close")[0], u64::MAX);
    request[1] = 1;
    assert_eq!(arguments(&request, "io_uring_read")[0], u64::MAX);
    let openat = table::by_name("openat").unwrap();
    let operation = table::by_name("io_uring_openat").unwrap();
    let names = |call: &Syscall| call.params.iter().map(|p| p.name).collect::<Vec<_>>();
    assert_eq!(names(operation), names(openat));
    assert_eq!((operation.acts_as, openat.acts_as), ("openat", "openat"));
}

#[test]
fn x32_has_numbers_of_its_own() {
    let bit = table::X32_BIT;
    let name = |nr: u32| table::by_number(Abi::X32, nr | bit).map(|call| call.name);
    assert_eq!(name(520), Some("execve"));
    assert_eq!(name(257), Some("openat"));
    assert_eq!(name(537), Some("recvmmsg"));
    assert!(table::is_narrow(Abi::X32, 515 | bit));
    assert!(!table::is_narrow(Abi::X32, 257 | bit));
    // on x86_64 they do not exist
    assert!(table::by_number(Abi::X86_64, 520).is_none());
}

/// Calls that the headers name differently: the header's name, the ABI, the table's name.
const OTHER_NAMES: &[(&str, Abi, &str)] = &[
    ("mmap", Abi::I386, "old_mmap"),
    ("select", Abi::I386, "old_select"),
    ("fcntl", Abi::Aarch64, "fcntl"),
    ("fstatat", Abi::Aarch64, "newfstatat"),
    ("arm_sync_file_range", Abi::Arm, "sync_file_range2"),
];

/// Headers of all architectures that `tools/arm64/setup` fetches.
macro_rules! uapi {
    () => {
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../target/arm64/headers/usr/lib/linux/uapi/"
        )
    };
}

#[test]
fn every_number_of_the_kernels_headers_is_known() {
    let headers = [
        (
            "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
            Abi::X86_64,
            360,
        ),
        (
            "/usr/include/x86_64-linux-gnu/asm/unistd_32.h",
            Abi::I386,
            430,
        ),
        (
            "/usr/include/x86_64-linux-gnu/asm/unistd_x32.h",
            Abi::X32,
            340,
        ),
        ("/usr/include/asm-generic/unistd.h", Abi::Aarch64, 280),
        // what tools/arm64/setup fetches; the newest, so what came after this table is left alone
        (concat!(uapi!(), "arm64/asm/unistd_64.h"), Abi::Aarch64, 300),
        (concat!(uapi!(), "arm/asm/unistd-eabi.h"), Abi::Arm, 400),
    ];
    for (header, abi, least) in headers {
        let Ok(text) = fs::read_to_string(header) else {
            println!("skipped: {header} is not installed");
            continue;
        };
        let mut found = 0;
        let mut faults = Vec::new();
        for (name, number) in text.lines().filter_map(definition) {
            if number > LAST && header.starts_with(uapi!()) {
                continue;
            }
            if abi == Abi::Aarch64 && NOT_OURS.iter().any(|numbers| numbers.contains(&number)) {
                continue;
            }
            let name = OTHER_NAMES
                .iter()
                .find(|(n, a, _)| *n == name && *a == abi)
                .map_or(name, |(_, _, ours)| ours);
            match table::by_number(abi, number) {
                Some(call) if call.name == name => found += 1,
                Some(call) => {
                    faults.push(format!("{number} is {name}, the table says {}", call.name));
                }
                None => faults.push(format!("{number} {name} is not in the table")),
            }
        }
        assert!(faults.is_empty(), "{header}:\n{}", faults.join("\n"));
        assert!(found >= least, "{found} calls in {header}");
    }
}

/// Numbers of the generic header that aarch64 does not have: those left to architectures, calls of 32-bit
/// machines with 64-bit times, and sync_file_range2, which is another machine's sync_file_range.
const NOT_OURS: [std::ops::RangeInclusive<u32>; 3] = [244..=259, 403..=423, 84..=84];

/// The last number of the table.
const LAST: u32 = 471;

/// A line that defines a number.
fn definition(line: &str) -> Option<(&str, u32)> {
    let mut words = line.split_whitespace();
    let (Some("#define"), Some(name)) = (words.next(), words.next()) else {
        return None;
    };
    let name = name
        .strip_prefix("__NR_")
        .or_else(|| name.strip_prefix("__NR3264_"))?;
    let number = words.next()?;
    let base = ["(__X32_SYSCALL_BIT", "(__NR_SYSCALL_BASE"];
    let number = match base.iter().find_map(|base| number.strip_prefix(base)) {
        Some(_) => words.nth(1)?.trim_end_matches(')'),
        None => number,
    };
    let number = number.parse().ok()?;
    (!matches!(name, "syscalls" | "arch_specific_syscall")).then_some((name, number))
}

/// Names that the kernel's tracepoints give to calls.
fn call_of_tracepoint(name: &str) -> Option<&'static Syscall> {
    table::by_name(match name {
        "newfstat" => "fstat",
        "newstat" => "stat",
        "newlstat" => "lstat",
        "newuname" => "uname",
        "umount" => "umount2",
        name => name,
    })
}

/// Tracepoints whose form is not the call's own: sendfile64 of x86_64 is named sendfile.
const ELSEWHERE: &[&str] = &["sendfile64"];

/// The kernel's own list of its calls and their parameters.
#[test]
fn every_parameter_of_the_running_kernel_is_known() {
    let Some(folder) = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .map(|root| Path::new(root).join("events/syscalls"))
        .into_iter()
        .find(|folder| folder.is_dir())
    else {
        println!("skipped: tracefs is not mounted, or not for this user");
        return;
    };
    let mut faults = Vec::new();
    let mut found = 0;
    for entry in fs::read_dir(folder)
        .expect("a folder can be read")
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(name) = name.strip_prefix("sys_enter_") else {
            continue;
        };
        let format = fs::read_to_string(entry.path().join("format")).expect("a format");
        let fields = fields(&format);
        let Some(call) = call_of_tracepoint(name).filter(|_| !ELSEWHERE.contains(&name)) else {
            if !ELSEWHERE.contains(&name) {
                faults.push(format!("{name}: not in the table"));
            }
            continue;
        };
        found += 1;
        // a pair of registers is one parameter
        let expected: Vec<&str> = call
            .params
            .iter()
            .flat_map(|p| std::iter::repeat_n(p.name, if p.is_pair(false) { 2 } else { 1 }))
            .collect();
        if expected.len() != fields.len() {
            faults.push(format!(
                "{name}: the kernel has {fields:?}, the table {expected:?}"
            ));
            continue;
        }
        for (field, ours) in fields.iter().zip(&expected) {
            let param = call.params.iter().find(|p| p.name == *ours).unwrap();
            if !param.is_pair(false) && param.name != *field && !param.aliases.contains(field) {
                faults.push(format!(
                    "{name}: the kernel's {field} is {ours}, which lacks that alias"
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(found > 300, "{found} calls in tracefs");
}

/// Names of a tracepoint's fields behind the number.
fn fields(format: &str) -> Vec<&str> {
    format
        .lines()
        .filter_map(|line| line.trim().strip_prefix("field:"))
        .filter(|line| !line.contains("common_") && !line.contains("__syscall_nr"))
        .filter_map(|line| line.split(';').next()?.rsplit([' ', '*']).next())
        .collect()
}

#[test]
fn lengths_point_to_parameters_that_are_there() {
    for call in SYSCALLS {
        for param in call.params {
            let len = match param.kind {
                Kind::Buffer(_, len) | Kind::Array(_, len) => len,
                Kind::Struct(_, Some(len)) => len,
                _ => continue,
            };
            if let LenFrom::Arg(at) | LenFrom::At(at) = len.from {
                assert!(usize::from(at) < call.params.len(), "{}", call.name);
            }
        }
    }
}

/// The register that has a length in a variant.
fn length_register(kind: Kind) -> Option<u8> {
    let (Kind::Buffer(_, len) | Kind::Array(_, len) | Kind::Struct(_, Some(len))) = kind else {
        return None;
    };
    match (len.from, len.most) {
        (LenFrom::Arg(at), _) | (_, Some(at)) => Some(at),
        _ => None,
    }
}

/// The plan takes the width of a length in a variant from one of the calls that use the variant.
#[test]
fn calls_that_share_a_variant_have_lengths_of_the_same_width() {
    let mut lengths = 0;
    for variant in table::VARIANTS {
        let kinds = variant.rows.iter().map(|row| row.meaning.kind);
        for at in kinds.filter_map(length_register) {
            let users = SYSCALLS.iter().filter(|call| variant.is_used_by(call));
            let mut widths: Vec<_> = users
                .map(|call| {
                    let param = call.param_at(Abi::I386, at.into());
                    let param = param.unwrap_or_else(|| panic!("{}: register {at}", call.name));
                    param.kind.width()
                })
                .collect();
            widths.dedup();
            assert!(widths.len() == 1, "variant {}: {widths:?}", variant.name);
            lengths += 1;
        }
    }
    assert!(lengths > 20, "{lengths} lengths in variants");
}

#[test]
fn structures_have_the_sizes_of_the_headers() {
    let size = |name: &str| {
        let found = STRUCTURES.iter().find(|s| s.name == name).expect(name);
        [found.layouts[0].size, found.layouts[1].size]
    };
    // sizeof on x86_64 and i386
    for (name, sizes) in [
        ("timespec", [16, 8]),
        ("timespec64", [16, 16]),
        ("itimerspec", [32, 16]),
        ("stat", [144, 64]),
        ("statx", [256, 256]),
        ("statfs", [120, 64]),
        ("sigaction", [32, 20]),
        ("siginfo", [128, 128]),
        ("sigevent", [64, 64]),
        ("rusage", [144, 72]),
        ("timex", [208, 128]),
        ("sysinfo", [112, 64]),
        ("utsname", [390, 390]),
        ("epoll_event", [12, 12]),
        ("pollfd", [8, 8]),
        ("iovec", [16, 8]),
        ("perf_event_attr", [136, 136]),
        ("clone_args", [88, 88]),
        ("io_uring_params", [120, 120]),
        ("iocb", [64, 64]),
        ("shmid_ds", [112, 84]),
        ("msqid_ds", [120, 88]),
        ("flock", [32, 16]),
        ("stat64", [104, 96]),
        ("user_desc", [16, 16]),
        ("mq_attr", [64, 32]),
    ] {
        assert_eq!(size(name), sizes, "struct {name}");
    }
}

#[test]
fn arm_and_aarch64_have_layouts_of_their_own() {
    let size = |name: &str| {
        let found = STRUCTURES.iter().find(|s| s.name == name).expect(name);
        [found.layouts[2].size, found.layouts[3].size]
    };
    // sizeof on aarch64 and arm
    for (name, sizes) in [
        ("timespec", [16, 8]),
        ("stat", [128, 64]),
        ("stat64", [104, 104]),
        ("statx", [256, 256]),
        ("statfs", [120, 64]),
        ("sigaction", [32, 20]),
        ("epoll_event", [16, 16]),
        ("semid_ds", [88, 64]),
        ("shmid_ds", [112, 84]),
        ("msqid_ds", [120, 88]),
        ("flock", [32, 16]),
        ("flock64", [32, 32]),
        ("iovec", [16, 8]),
        ("sysinfo", [112, 64]),
        ("rusage", [144, 72]),
        ("mq_attr", [64, 32]),
        ("timex", [208, 128]),
        ("perf_event_attr", [136, 136]),
    ] {
        assert_eq!(size(name), sizes, "struct {name}");
    }
}

#[test]
fn on_arm_64_bits_begin_in_an_even_register() {
    let register = |name: &str, param: &str| {
        let call = table::by_name(name).unwrap();
        let (at, _) = call.param(param).unwrap();
        [Abi::I386, Abi::Arm, Abi::Aarch64].map(|abi| call.register(abi, at))
    };
    assert_eq!(register("pread64", "pos"), [3, 4, 3]);
    assert_eq!(register("truncate64", "length"), [1, 2, 1]);
    assert_eq!(register("readahead", "count"), [3, 4, 2]);
    assert_eq!(register("fallocate", "len"), [4, 4, 3]);
    assert_eq!(register("preadv", "pos"), [3, 3, 3]);
    assert_eq!(register("arm_fadvise64_64", "len"), [4, 4, 3]);
}

#[test]
fn variants_choose_the_same_everywhere() {
    let limits = Limits::default();
    let call = table::by_name("fcntl").unwrap();
    let plan = plan::Plan::of(call, Abi::X86_64, 72, &limits);
    let variant = plan.op[0];
    assert_eq!(variant.code, code::VARIANT);
    let listed = plan::variants(Abi::X86_64, &limits);
    for (command, size) in [(5_u64, Some(32)), (1, None), (0, None)] {
        let args = [0, command, 0x1000, 0, 0, 0];
        let chosen = plan::chosen(
            &variant,
            Abi::X86_64,
            72,
            |at| args[usize::from(at)],
            &limits,
        );
        assert_eq!((chosen.code == code::BYTES).then_some(chosen.limit), size);
        let key = plan::VariantKey {
            variant: variant.unit,
            narrow: 0,
            first: command as u32,
            second: 0,
        };
        let found = listed.iter().find(|(k, _)| *k == key).expect("a key").1;
        assert_eq!((found.code, found.limit), (chosen.code, chosen.limit));
    }
}

/// What symlink(7) and the calls' pages say about a link that is the last component of a path.
#[test]
fn the_table_says_which_links_are_followed() {
    let last = |call: &str, param: &str| {
        let call = table::by_name(call).expect("a call");
        call.param(param).expect("a parameter").1.last_link
    };
    let at = |call: &str, param: &str| {
        let call = table::by_name(call).expect("a call");
        u8::try_from(call.param(param).expect("a parameter").0).expect("an index")
    };
    for call in [
        "lstat",
        "unlink",
        "readlink",
        "lchown",
        "lsetxattr",
        "rename",
        "mkdir",
    ] {
        let call = table::by_name(call).expect("a call");
        assert!(
            call.params
                .iter()
                .all(|param| param.last_link == LastLink::Kept),
            "{}",
            call.name
        );
    }
    for (call, param) in [
        ("stat", "path"),
        ("chmod", "filename"),
        ("umount", "name"),
        ("mount", "dir"),
    ] {
        assert_eq!(last(call, param), LastLink::Followed, "{call}");
    }
    for (call, param, flags, mask) in [
        ("fchmodat2", "filename", "flags", 0x100),
        ("umount2", "name", "flags", 8),
        ("setxattrat", "pathname", "at_flags", 0x100),
        ("io_uring_statx", "filename", "flags", 0x100),
    ] {
        assert_eq!(
            last(call, param),
            LastLink::KeptIf(at(call, flags), mask),
            "{call}"
        );
    }
    let follow = LastLink::FollowedIf(at("linkat", "flags"), 0x400);
    assert_eq!(last("linkat", "oldpath"), follow);
    assert_eq!(last("linkat", "newpath"), LastLink::Kept);
}

#[test]
fn only_paths_have_a_last_component() {
    for call in SYSCALLS {
        for param in call.params {
            let is_path = matches!(param.kind, Kind::Path(_));
            assert!(
                is_path || param.last_link == LastLink::Kept,
                "{}",
                call.name
            );
        }
    }
}
