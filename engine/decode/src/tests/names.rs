//! Values that have names, and structures that other values choose, beyond those that strace is asked about.

use super::Arg::{M, N, S};
use super::{Arg, line, neg};

fn halves(numbers: &[u32]) -> Arg {
    M(numbers.iter().flat_map(|n| n.to_ne_bytes()).collect())
}

#[test]
fn requests_of_ioctl_have_the_names_of_linux_headers() {
    for (request, name) in [
        (0x5000_9403_u64, "BTRFS_IOC_RESIZE"),
        (0xae01, "KVM_CREATE_VM"),
        (0x8068_5600, "VIDIOC_QUERYCAP"),
        (0x4004_667e, "_IOC(_IOC_WRITE, 0x66, 0x7e, 0x4)"),
    ] {
        let text = line("ioctl", &[neg(-1), N(request), N(0)], -9);
        assert!(text.starts_with(&format!("ioctl(-1, {name}")), "{text}");
    }
}

#[test]
fn a_name_ends_where_the_kernel_stops_reading() {
    assert_eq!(
        line("prctl", &[N(15), S(b"worker")], 0),
        "prctl(PR_SET_NAME, \"worker\") = 0"
    );
}

#[test]
fn what_perf_counts_has_a_name() {
    let attr = |kind: u32, config: u32| {
        let mut words = vec![kind, 64, config, 0];
        words.resize(34, 0);
        line(
            "perf_event_open",
            &[halves(&words), N(0), N(0), N(0), N(0)],
            3,
        )
    };
    let text = attr(0, 1);
    assert!(
        text.contains("size=PERF_ATTR_SIZE_VER0, config=PERF_COUNT_HW_INSTRUCTIONS,"),
        "{text}"
    );
    assert!(attr(1, 9).contains("config=PERF_COUNT_SW_DUMMY,"));
    assert!(attr(4, 9).contains("config=0x9,"));
}

#[test]
fn a_message_of_system_v_has_a_type() {
    let message = [&7_u64.to_ne_bytes()[..], b"hello"].concat();
    assert_eq!(
        line("msgsnd", &[N(5), M(message), N(5), N(0)], 0),
        "msgsnd(5, {mtype=7, mtext=\"hello\"}, 5, 0) = 0"
    );
}

#[test]
fn an_error_in_signal_information_has_a_name() {
    let info = |errno: u32| {
        let mut words = vec![10, errno, 0];
        words.resize(32, 0);
        line("rt_sigqueueinfo", &[N(1), N(10), halves(&words)], 0)
    };
    assert!(info(2).contains("{si_signo=SIGUSR1, si_errno=ENOENT, si_code=SI_USER,"));
    assert!(info(0).contains("{si_signo=SIGUSR1, si_code=SI_USER,"));
}

#[test]
fn the_pages_of_move_pages_have_nodes_or_errors() {
    let status = M([0_i32, -14, 1]
        .iter()
        .flat_map(|n| n.to_ne_bytes())
        .collect());
    let text = line("move_pages", &[N(0), N(3), N(0), N(0), status, N(0)], 0);
    assert_eq!(text, "move_pages(0, 3, NULL, NULL, [0, -EFAULT, 1], 0) = 0");
}

#[test]
fn options_of_prctl_and_keyctl_name_their_arguments() {
    for (args, text) in [
        (
            vec![N(33), N(1), N(1)],
            "PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY",
        ),
        (
            vec![N(54), N(3)],
            "PR_PAC_RESET_KEYS, PR_PAC_APIAKEY|PR_PAC_APIBKEY",
        ),
        (
            vec![N(59), N(1)],
            "PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON",
        ),
        (
            vec![N(50), N(0x2_0010)],
            "PR_SVE_SET_VL, PR_SVE_VL_INHERIT|0x10)",
        ),
    ] {
        let found = line("prctl", &args, 0);
        assert!(found.starts_with(&format!("prctl({text}")), "{found}");
    }
    assert_eq!(
        line("keyctl", &[N(14), neg(-1)], 0),
        "keyctl(KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_NO_CHANGE) = 0"
    );
}
