//! What a `struct file` says about the file: its inode, the flags it was opened with, and its mode.

use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::{FileStat, fstat};

use super::files::{Known, file_of};
use super::offset;
use super::peek::{Peek, pointers, u32_at, u64_at};
use crate::layout::{Offsets, have};

/// Bytes of a `struct file` and of a `struct inode` that are searched.
const FILE: usize = 256;
const INODE: usize = 192;
/// `s_dev` in `struct super_block`.
const DEVICE_AT: u64 = 16;
/// Bits of `f_mode` (include/linux/fs.h): the file can be read, can be written; and, since Linux 4.19, when
/// `FMODE_CREATED` came, too, the file was opened.
const CAN_READ: u32 = 0x2_0000;
const CAN_WRITE: u32 = 0x4_0000;
const OPENED: u32 = 0x8_0000;

/// An open file and what the kernel says about it.
struct Sample {
    /// The bytes of its `struct file`.
    file: Vec<u8>,
    status: FileStat,
    flags: u32,
}

impl Sample {
    fn new(peek: &mut Peek, off: &Offsets, task: u64, fd: impl AsFd) -> Option<Self> {
        use std::os::fd::AsRawFd;
        let fd = fd.as_fd();
        let at = file_of(peek, off, task, fd.as_raw_fd())?;
        Some(Self {
            file: peek.read(at, FILE)?,
            status: fstat(fd).ok()?,
            flags: fcntl(fd, FcntlArg::F_GETFL).ok()?.cast_unsigned(),
        })
    }

    /// The device number as the kernel keeps it.
    fn device(&self) -> u32 {
        let number = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
        let (major, minor) = (
            nix::sys::stat::major(self.status.st_dev),
            nix::sys::stat::minor(self.status.st_dev),
        );
        number(major) << 20 | number(minor)
    }

    /// Whether an inode at this address is this file's. Returns where it has its number and its file system.
    fn inode(&self, peek: &mut Peek, address: u64) -> Option<(usize, usize)> {
        let bytes = peek.read(address, INODE)?;
        // i_mode comes first
        if u32_at(&bytes, 0)? & 0xffff != self.status.st_mode {
            return None;
        }
        let number = (8..INODE)
            .step_by(8)
            .find(|at| u64_at(&bytes, *at) == Some(self.status.st_ino))?;
        let device = self.device();
        let sb = pointers(&bytes).find_map(|(at, sb)| {
            let found = peek.read(sb + DEVICE_AT, 4)?;
            (u32_at(&found, 0)? == device).then_some(at)
        })?;
        Some((number, sb))
    }

    fn word(&self, at: usize) -> Option<u32> {
        u32_at(&self.file, at)
    }
}

/// Finds the inode, the flags and the mode of a `struct file`: by two files that differ in all of them. A memfd is open for
/// reading and writing, and the file in /proc for reading.
pub(super) fn file(peek: &mut Peek, off: &mut Offsets, task: u64, known: &Known) -> Option<()> {
    let memfd = Sample::new(peek, off, task, &known.memfd)?;
    let proc = Sample::new(peek, off, task, &known.proc)?;
    let words = || (0..FILE).step_by(4);
    let flags = words()
        .find(|at| memfd.word(*at) == Some(memfd.flags) && proc.word(*at) == Some(proc.flags));
    let mode = words().find(|at| {
        let access = |sample: &Sample| {
            let word = sample.word(*at)?;
            Some((word & (CAN_READ | CAN_WRITE), word & 3))
        };
        access(&memfd) == Some((CAN_READ | CAN_WRITE, 3)) && access(&proc) == Some((CAN_READ, 1))
    });
    if let Some(at) = mode
        && [&memfd, &proc]
            .iter()
            .all(|sample| sample.word(at).is_some_and(|word| word & OPENED != 0))
    {
        off.file_mode = offset(at);
        off.have |= have::CREATED;
    }
    let candidates: Vec<(usize, u64)> = pointers(&memfd.file).collect();
    let (at, number, sb) = candidates.into_iter().find_map(|(at, inode)| {
        let found = memfd.inode(peek, inode)?;
        let other = u64_at(&proc.file, at)?;
        (proc.inode(peek, other)? == found).then_some((at, found.0, found.1))
    })?;
    off.file_flags = offset(flags?);
    off.file_inode = offset(at);
    off.inode_number = offset(number);
    off.inode_sb = offset(sb);
    off.have |= have::FILE;
    Some(())
}
