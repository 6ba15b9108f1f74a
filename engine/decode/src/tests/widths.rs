//! Parameters are as wide as the kernel takes them, whatever a program puts into the rest of the register.

use driver_api::event::{Abi, Encoding, Fact, Part, Status};
use driver_api::table;

use super::Arg::{M, N, S};
use super::{Arg, altered, event, line};
use crate::text;

/// What a program can put above 32 bits.
const ABOVE: u64 = 0xdead_beef_0000_0000;

fn above(number: u32) -> Arg {
    N(ABOVE | u64::from(number))
}

/// The text of a call of a 32-bit program.
fn narrow_line(name: &str, args: &[Arg]) -> String {
    let (mut builder, call) = event(name, args, 0);
    let mut changed = altered(&mut builder, |header| {
        header.abi = Abi::I386 as u8;
        header.nr = call.number(Abi::I386).unwrap();
    });
    let mut out = String::new();
    text::line(&mut out, &changed.finish().unwrap());
    out
}

#[test]
fn the_old_calls_of_32_bit_programs_have_ids_of_16_bits() {
    assert_eq!(narrow_line("setuid", &[N(0xdead_0000)]), "setuid(0) = 0");
    assert_eq!(narrow_line("setuid", &[N(0xdead_ffff)]), "setuid(-1) = 0");
    assert_eq!(
        narrow_line("chown", &[S(b"f"), N(0xdead_0001), N(0xdead_0002)]),
        "chown(\"f\", 1, 2) = 0"
    );
    let groups = [5_u16, 7].map(u16::to_ne_bytes).concat();
    assert_eq!(
        narrow_line("setgroups", &[N(2), M(groups)]),
        "setgroups(2, [5, 7]) = 0"
    );
    // their successors have 32
    assert_eq!(narrow_line("setuid32", &[N(65536)]), "setuid32(65536) = 0");
    assert_eq!(line("setuid", &[N(65536)], 0), "setuid(65536) = 0");
}

#[test]
fn modes_have_16_bits() {
    assert_eq!(
        line("chmod", &[S(b"f"), N(0xdead_0000 | 0o4755)], 0),
        "chmod(\"f\", 04755) = 0"
    );
    assert_eq!(
        line("mknod", &[S(b"f"), N(0xdead_0000 | 0o010_600), N(0)], 0),
        "mknod(\"f\", S_IFIFO|0600, makedev(0, 0)) = 0"
    );
}

#[test]
fn what_is_above_32_bits_counts_only_where_the_kernel_looks_at_it() {
    assert_eq!(
        line("kill", &[above(1), above(9)], 0),
        "kill(1, SIGKILL) = 0"
    );
    assert_eq!(
        line("prctl", &[above(15), S(b"renamed")], 0),
        "prctl(PR_SET_NAME, \"renamed\") = 0"
    );
    // PR_SET_PDEATHSIG and the requests of ptrace(2) are compared as longs
    assert_eq!(
        line("prctl", &[N(1), N(0x1_0000_0009)], -22),
        "prctl(PR_SET_PDEATHSIG, 4294967305) = -1 EINVAL (Invalid argument)"
    );
    let attach = line("ptrace", &[N(0x1_0000_0010), N(1), N(0), N(0)], -3);
    assert!(!attach.contains("PTRACE_ATTACH"), "{attach}");
}

#[test]
fn the_registers_of_a_call_can_be_had_as_the_kernel_takes_them() {
    let cut = |name: &str, abi: Abi, registers: [u64; 6]| {
        let call = table::by_name(name).unwrap();
        call.arguments(abi, call.number(abi).unwrap(), &registers)
    };
    let all = [ABOVE | 3; 6];
    assert_eq!(
        cut("setsockopt", Abi::X86_64, all)[..5],
        [3, 3, 3, ABOVE | 3, 3]
    );
    assert_eq!(
        cut("write", Abi::X86_64, all)[..3],
        [3, ABOVE | 3, ABOVE | 3]
    );
    // what a parameter is can depend on another one
    assert_eq!(
        cut("fcntl", Abi::X86_64, [3, ABOVE | 4, ABOVE | 2, 0, 0, 0])[1..3],
        [4, 2]
    );
    assert_eq!(
        cut("setresuid", Abi::I386, [0xdead_0001, 0xffff, 7, 0, 0, 0])[..3],
        [1, 0xffff_ffff, 7]
    );
    // two registers are one parameter
    assert_eq!(cut("pread64", Abi::I386, [1, 2, 3, 4, 5, 0])[3..5], [4, 5]);
}

/// The text of a call that returned the address of a Unix socket, as long as the kernel says it is.
fn received(name: &str, path: &[u8], kernel: Option<(Fact, &[u8])>) -> String {
    let address = [&1_u16.to_ne_bytes()[..], path].concat();
    let len = M((address.len() as u32).to_ne_bytes().to_vec());
    let args = match name {
        "recvfrom" => vec![N(3), S(b"x"), N(1), N(0), M(address), len],
        _ => vec![N(3), M(address), len],
    };
    let (mut builder, _) = event(name, &args, 1);
    let mut whole = altered(&mut builder, |_| {});
    if let Some((fact, name)) = kernel {
        let full = name.len() as u64;
        whole.attach(
            fact as u8,
            Part::None,
            Status::Whole,
            Encoding::Raw,
            full,
            name,
        );
    }
    let mut out = String::new();
    text::line(&mut out, &whole.finish().unwrap());
    out
}

#[test]
fn memory_behind_the_buffer_for_an_address_is_not_shown() {
    // the kernel wrote 6 bytes and says 12
    let shown = received("recvfrom", b"/runSECRET", None);
    assert!(!shown.contains("SECRET"), "{shown}");
    let whole = received("recvfrom", b"/run/log\0", None);
    assert!(whole.contains("sun_path=\"/run/log\""), "{whole}");
    // where the kernel has the name, the beginning is certain
    let shown = received("accept", b"/runSECRET", Some((Fact::Peer, b"/run/log")));
    assert!(shown.contains("sun_path=\"/run\""), "{shown}");
    let shown = received("recvfrom", b"\0an abstract one SECRET", None);
    assert!(!shown.contains("SECRET"), "{shown}");
}
