//! Structures and sets that are shorter or longer than the ones that the table knows, or end where memory does.

use driver_api::event::{Abi, Encoding, EventBuilder, Part, Status};

use super::Arg::{M, N, S};
use super::{Arg, altered, event, line, neg};
use crate::{json, returned, text};

fn halves(numbers: &[u32]) -> Arg {
    M(numbers.iter().flat_map(|n| n.to_ne_bytes()).collect())
}

fn longs(numbers: &[u64]) -> Arg {
    M(numbers.iter().flat_map(|n| n.to_ne_bytes()).collect())
}

fn text_of(builder: &mut EventBuilder) -> String {
    let mut out = String::new();
    text::line(&mut out, &builder.finish().expect("an event"));
    out
}

/// The text of a call whose pointer at `at` leads to `full` bytes, of which only `bytes` could be read.
fn with_fault(name: &str, args: &[Arg], at: u8, bytes: &[u8], full: u64) -> String {
    let (mut builder, _) = event(name, args, -14);
    let (fault, raw) = (Status::Fault, Encoding::Raw);
    builder.attach(at, Part::None, fault, raw, full, bytes);
    text_of(&mut builder)
}

#[test]
fn a_structure_is_as_long_as_it_says() {
    let wait = |size: u32| {
        let mut words = vec![size, 99];
        words.resize(14, 0);
        line("sched_setattr", &[neg(-1), halves(&words), N(0)], -22)
    };
    let first = "sched_policy=0x63 /* SCHED_??? */, sched_flags=0, sched_nice=0, sched_priority=0, \
                 sched_runtime=0, sched_deadline=0, sched_period=0";
    let end = ", 0) = -1 EINVAL (Invalid argument)";
    // 0: the first version, of 48 bytes
    assert_eq!(
        wait(0),
        format!("sched_setattr(-1, {{size=0, {first}}}{end}")
    );
    assert_eq!(
        wait(48),
        format!("sched_setattr(-1, {{size=48, {first}}}{end}")
    );
    assert_eq!(
        wait(56),
        format!("sched_setattr(-1, {{size=56, {first}, sched_util_min=0, sched_util_max=0}}{end}")
    );
    assert_eq!(wait(4), format!("sched_setattr(-1, {{size=4}}{end}"));
    // more than is known
    assert_eq!(
        wait(64),
        format!(
            "sched_setattr(-1, {{size=64, {first}, sched_util_min=0, sched_util_max=0, ...}}{end}"
        )
    );
}

#[test]
fn a_structure_whose_length_the_call_gives_is_shown_as_far_as_it_goes() {
    let open =
        |words: &[u64], size: u64| line("openat2", &[neg(-1), S(b"x"), longs(words), N(size)], -22);
    let end = "(Invalid argument)";
    assert_eq!(
        open(&[0x40, 0o600], 16),
        format!("openat2(-1, \"x\", {{flags=O_RDONLY|O_CREAT, mode=0600}}, 16) = -1 EINVAL {end}")
    );
    // a version that is longer than the known one
    assert_eq!(
        open(&[0, 0, 8, 0], 32),
        format!(
            "openat2(-1, \"x\", {{flags=O_RDONLY, resolve=RESOLVE_BENEATH}}, 32) = -1 EINVAL {end}"
        )
    );
    assert_eq!(
        open(&[0, 0, 8, 0x4142], 32),
        format!(
            "openat2(-1, \"x\", {{flags=O_RDONLY, resolve=RESOLVE_BENEATH, /* bytes 24..31 */ \
             \"BA\\0\\0\\0\\0\\0\\0\"}}, 32) = -1 EINVAL {end}"
        )
    );
    // the mode has 64 bits
    assert_eq!(
        open(&[0x40, 0x1_0000_0180], 16),
        format!(
            "openat2(-1, \"x\", {{flags=O_RDONLY|O_CREAT, mode=040000000600}}, 16) = -1 EINVAL {end}"
        )
    );
}

#[test]
fn a_structure_at_the_end_of_memory_is_shown_as_far_as_it_goes() {
    let args = [N(0x7000), N(16), N(0)];
    assert_eq!(
        with_fault(
            "landlock_create_ruleset",
            &args,
            0,
            &1_u64.to_ne_bytes(),
            16
        ),
        "landlock_create_ruleset({handled_access_fs=LANDLOCK_ACCESS_FS_EXECUTE, ...}, 16, 0) \
         = -1 EFAULT (Bad address)"
    );
    // half of a field
    assert_eq!(
        with_fault("landlock_create_ruleset", &args, 0, &[1, 0, 0, 0], 16),
        "landlock_create_ruleset({...}, 16, 0) = -1 EFAULT (Bad address)"
    );
    let args = [N(0), N(0x7000), N(0), N(8)];
    assert_eq!(
        with_fault("rt_sigprocmask", &args, 1, &[2, 0, 0, 0], 8),
        "rt_sigprocmask(SIG_BLOCK, [INT ...], NULL, 8) = -1 EFAULT (Bad address)"
    );
}

#[test]
fn a_set_of_signals_is_as_long_as_the_call_says() {
    let mask = |bytes: &[u8]| {
        let (set, size) = (M(bytes.to_vec()), N(bytes.len() as u64));
        line("rt_sigprocmask", &[N(0), set, N(0), size], -22)
    };
    let end = "(Invalid argument)";
    assert_eq!(
        mask(&[255; 4]),
        format!("rt_sigprocmask(SIG_BLOCK, ~[], NULL, 4) = -1 EINVAL {end}")
    );
    assert_eq!(
        mask(&[2, 0, 0, 0]),
        format!("rt_sigprocmask(SIG_BLOCK, [INT], NULL, 4) = -1 EINVAL {end}")
    );
    assert_eq!(
        mask(&[253, 255, 255, 255]),
        format!("rt_sigprocmask(SIG_BLOCK, ~[INT], NULL, 4) = -1 EINVAL {end}")
    );
    assert_eq!(
        mask(&[]),
        format!("rt_sigprocmask(SIG_BLOCK, [], NULL, 0) = -1 EINVAL {end}")
    );
}

#[test]
fn an_error_of_32_bits_is_an_error() {
    let args = [N(5), N(0x7000), N(16)];
    let (mut builder, _) = event("modify_ldt", &args, 0xffff_ffea);
    assert_eq!(
        text_of(&mut builder),
        "modify_ldt(5, 0x7000, 16) = -1 EINVAL (Invalid argument)"
    );
    let event = builder.finish().expect("an event");
    assert_eq!(returned(&event), -22);
    let mut out = String::new();
    json::event(&mut out, &event, &json::Context::default());
    assert!(out.contains(r#""ret":-22"#), "{out}");
    assert!(out.contains(r#""error":"EINVAL""#), "{out}");
}

#[test]
fn the_nanoseconds_of_a_32_bit_program_have_32_bits() {
    // the kernel ignores the upper half (get_timespec64() in kernel/time/time.c)
    let times = longs(&[0, 0xdead_beef_3fff_ffff, 1, 0x3fff_fffe]);
    let (mut builder, call) = event("utimensat_time64", &[neg(-100), S(b"f"), times, N(0)], 0);
    let mut narrow = altered(&mut builder, |header| {
        header.abi = Abi::I386 as u8;
        header.nr = call.number(Abi::I386).expect("a number");
    });
    assert_eq!(
        text_of(&mut narrow),
        "utimensat_time64(AT_FDCWD, \"f\", [{tv_sec=0, tv_nsec=UTIME_NOW}, \
         {tv_sec=1, tv_nsec=UTIME_OMIT}], 0) = 0"
    );
}

#[test]
fn permissions_of_system_v_objects_are_octal() {
    let get = |flags: u64| line("shmget", &[N(0x1234), N(4096), N(flags)], 0);
    assert_eq!(get(0o600), "shmget(0x1234, 4096, 0600) = 0");
    assert_eq!(get(7), "shmget(0x1234, 4096, 007) = 0");
    assert_eq!(get(0o1070), "shmget(0x1234, 4096, IPC_CREAT|070) = 0");
    assert_eq!(
        line("semget", &[N(0), N(1), N(0)], 0),
        "semget(IPC_PRIVATE, 1, 000) = 0"
    );
    assert_eq!(
        line("msgget", &[N(0), N(0o2000)], 0),
        "msgget(IPC_PRIVATE, IPC_EXCL|000) = 0"
    );
}

#[test]
fn what_pointers_in_a_structure_point_to_is_shown_in_their_place() {
    let program = longs(&[2, 0x7f00_0000_9000]);
    let shown = |attached: Option<(Status, &[u8], u64)>| {
        let (mut builder, _) = event("seccomp", &[N(1), N(0), N(0)], -22);
        let mut builder = altered(&mut builder, |header| header.args[2] = 0x7f00_0000_3000);
        super::attach(&mut builder, 2, &program);
        if let Some((status, bytes, full)) = attached {
            let index = Part::None.of(1);
            builder.attach(2, index, status, Encoding::Raw, full, bytes);
        }
        text_of(&mut builder)
    };
    let line = |filter: &str| {
        format!(
            "seccomp(SECCOMP_SET_MODE_FILTER, 0, {{len=2, filter={filter}}}) = -1 EINVAL (Invalid argument)"
        )
    };
    let whole = [0x20, 0, 0, 0, 4, 0, 0, 0, 6, 0, 1, 2, 0, 0, 0xff, 0x7f];
    let first = "{code=BPF_LD|BPF_W|BPF_ABS, jt=0, jf=0, k=0x4}";
    assert_eq!(
        shown(Some((Status::Whole, &whole, 16))),
        line(&format!(
            "[{first}, {{code=BPF_RET|BPF_K, jt=1, jf=2, k=SECCOMP_RET_ALLOW}}]"
        ))
    );
    assert_eq!(
        shown(Some((Status::Truncated, &whole[..8], 16))),
        line(&format!("[{first}, ...]"))
    );
    // memory that could not be read, and recordings that do not have it
    assert_eq!(
        shown(Some((Status::Fault, &[], 16))),
        line("0x7f0000009000")
    );
    assert_eq!(shown(None), line("0x7f0000009000"));
}

#[test]
fn an_array_without_a_whole_element_is_an_address() {
    let poll = |bytes: &[u8]| with_fault("poll", &[N(0x7000), N(2), N(0)], 0, bytes, 16);
    assert_eq!(
        poll(&[1; 4]),
        "poll(0x7000, 2, 0) = -1 EFAULT (Bad address)"
    );
    let first = [1, 0, 0, 0, 1, 0, 0, 0];
    let whole = "poll([{fd=1, events=POLLIN}, ...], 2, 0) = -1 EFAULT (Bad address)";
    assert_eq!(poll(&first), whole);
    assert_eq!(poll(&[&first[..], &[1; 4]].concat()), whole);
}
