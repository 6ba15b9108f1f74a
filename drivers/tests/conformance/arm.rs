//! A 32-bit program on arm64: made here, instruction by instruction, so that no compiler is needed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use driver_api::event::Abi;
use driver_api::request::{Command, Target};

use crate::Case;
use crate::stage::{Kept, Outcome, Stage, check, request, same, to_the_end};

pub(crate) const CASES: &[Case] = &[(
    &[7, 8],
    "a 32-bit program's calls bear their own ABI",
    thirty_two_bits,
)];

/// Where the program is in memory.
const BASE: u32 = 0x1_0000;
/// Bytes of the headers of an ELF file with one segment.
const HEADERS: u32 = 52 + 32;
/// What it opens.
const PATH: &[u8] = b"/nonexistent/arm\0";
/// Of the EABI.
const OPENAT: u32 = 322;
const PREAD64: u32 = 180;
const FCNTL64: u32 = 221;
const EXIT_GROUP: u32 = 248;
/// A number of 64 bits with different halves.
const POSITION: u64 = 0x1122_3344_5566_7788;

/// A call: its arguments in r0 to r5, its number in r7, `svc 0`.
fn call(code: &mut Vec<u32>, number: u32, args: [u32; 6]) {
    let mut load = |register: u32, value: u32| {
        for (opcode, half) in [(0xe300_0000, value & 0xffff), (0xe340_0000, value >> 16)] {
            // movw, movt: four bits of the value before the register, twelve behind it
            code.push(opcode | (half >> 12) << 16 | register << 12 | (half & 0xfff));
        }
    };
    (0..)
        .zip(args)
        .for_each(|(register, arg)| load(register, arg));
    load(7, number);
    code.push(0xef00_0000);
}

/// An ELF file (elf(5)) with this code, and the path behind it.
fn program() -> Vec<u8> {
    let calls = |path: u32| {
        let mut code = Vec::new();
        let at_cwd = libc::AT_FDCWD.cast_unsigned();
        let directory = libc::O_DIRECTORY.cast_unsigned();
        call(&mut code, OPENAT, [at_cwd, path, directory, 0, 0, 0]);
        let (low, high) = (POSITION as u32, (POSITION >> 32) as u32);
        call(&mut code, PREAD64, [99, path, 4, 0, low, high]);
        call(&mut code, FCNTL64, [98, 1, 0, 0, 0, 0]);
        call(&mut code, EXIT_GROUP, [7, 0, 0, 0, 0, 0]);
        code
    };
    let len = calls(0).len() as u32 * 4;
    let code = calls(BASE + HEADERS + len);
    let size = HEADERS + len + PATH.len() as u32;
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // an executable for arm (40), version 1
    file.extend([2_u16, 40].iter().flat_map(|half| half.to_le_bytes()));
    let entry = BASE + HEADERS;
    for word in [1, entry, 52, 0, 0x0500_0000] {
        file.extend(u32::to_le_bytes(word));
    }
    for half in [52_u16, 32, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // one segment to load, read and executed
    for word in [1, 0, BASE, BASE, size, size, 5, 0x1000] {
        file.extend(u32::to_le_bytes(word));
    }
    file.extend(code.iter().flat_map(|word| word.to_le_bytes()));
    file.extend(PATH);
    file
}

fn put(program: &[u8], path: &Path) {
    fs::write(path, program).expect("the program can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .expect("it can be made executable");
}

fn thirty_two_bits(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("arm");
    put(&program(), &path);
    let command = Command {
        program: path.clone().into_os_string(),
        args: vec![path.into_os_string()],
    };
    let names = ["execve", "openat", "pread64", "fcntl64", "exit_group"];
    let request = request(Target::Command(command), &names);
    let mut capture = stage.must_open(&request)?;
    let (events, status) = to_the_end(capture.as_mut())?;
    same("status", &status, &Some(7 << 8))?;
    let calls: Vec<&Kept> = events
        .iter()
        .filter(|event| event.event().abi() == Abi::Arm)
        .filter(|event| !event.name().is_empty())
        .collect();
    let numbers: Vec<u32> = calls.iter().map(|event| event.header().nr).collect();
    same(
        "numbers",
        &numbers,
        &vec![OPENAT, PREAD64, FCNTL64, EXIT_GROUP],
    )?;
    let returned: Vec<i64> = calls.iter().map(|event| event.header().ret).collect();
    let expected = [libc::ENOENT, libc::EBADF, libc::EBADF, 0].map(|errno| -i64::from(errno));
    if !stage.entry_only() {
        same("return values", &returned, &expected.to_vec())?;
    }
    same(
        "path",
        &calls[0].text(1),
        &Some("/nonexistent/arm".to_owned()),
    )?;
    let args = calls[1].header().args;
    same(
        "both halves of the position",
        &(args[4] | args[5] << 32),
        &POSITION,
    )?;
    check(args[0] == 99 && args[2] == 4, || {
        format!("arguments {args:?}")
    })?;
    same("argument of the end", &calls[3].header().args[0], &7)?;
    Ok(None)
}
