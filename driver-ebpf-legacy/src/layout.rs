//! What the programs and user space share in memory. `bpf/legacy_layout.h` says the same in C; it is generated from this
//! file (`make header`).

use aya::Pod;

/// Settings, written before anything is attached.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Settings {
    /// lanner's own process id, as the programs see it: its calls are never captured.
    pub self_tgid: u32,
    /// The number of execve, for an exec whose entry was not seen.
    pub execve_nr: u32,
    /// 1: capture only the threads in the map `followed`.
    pub tree: u32,
    /// 1: entries are seen at the scheduler's tracepoints, as late as they can be.
    pub late: u32,
    /// Calls that were entered after this time have times. 0: no call has times.
    pub times_since: u64,
}

// SAFETY: numbers without padding; every bit pattern is valid.
unsafe impl Pod for Settings {}

/// Bits of `offsets.have`: groups of offsets that were found and verified.
pub mod have {
    /// File, dentry, mount.
    pub const PATH: u32 = 1;
    /// From a task to its files.
    pub const FD: u32 = 2;
    /// The executable.
    pub const EXE: u32 = 4;
    /// The working directory.
    pub const CWD: u32 = 8;
    /// Where arguments and environment are.
    pub const STRINGS: u32 = 16;
    /// Sockets.
    pub const SOCKET: u32 = 32;
    /// IPv6 addresses.
    pub const V6: u32 = 64;
    /// Unix sockets.
    pub const UNIX: u32 = 128;
    /// The exit code.
    pub const EXIT: u32 = 256;
    /// The parent.
    pub const PARENT: u32 = 512;
    /// Ids.
    pub const CRED: u32 = 1024;
    /// Process group and session.
    pub const GROUPS: u32 = 2048;
    /// The terminal.
    pub const TTY: u32 = 4096;
    /// The login id.
    pub const LOGINUID: u32 = 8192;
    /// Whether a call is a 32-bit one.
    pub const COMPAT: u32 = 16384;
    /// The registers of a call.
    pub const REGS: u32 = 32768;
    /// Rings of io_uring.
    pub const RINGS: u32 = 65536;
    /// A thread's `struct pid`.
    pub const THREAD_PID: u32 = 131072;
    /// An open file: its inode and its flags.
    pub const FILE: u32 = 262144;
    /// Whether an open has created its file.
    pub const CREATED: u32 = 524288;
}

/// Offsets of fields in this kernel's structs, in bytes. There is neither BTF nor a header to look them up in: a search of
/// kernel memory finds them at start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// Bits of `have`: the groups of offsets that were found and verified.
    pub have: u32,
    /// `thread_info.status`: bit 1 is set during a 32-bit call.
    pub task_status: u32,
    /// `tgid` follows.
    pub task_pid: u32,
    /// `files` of `struct task_struct`.
    pub task_files: u32,
    /// `fs` of `struct task_struct`.
    pub task_fs: u32,
    /// `mm` of `struct task_struct`.
    pub task_mm: u32,
    /// `real_parent` of `struct task_struct`.
    pub task_real_parent: u32,
    /// `exit_code` of `struct task_struct`.
    pub task_exit_code: u32,
    /// `cred` of `struct task_struct`.
    pub task_cred: u32,
    /// `signal` of `struct task_struct`.
    pub task_signal: u32,
    /// `loginuid` of `struct task_struct`.
    pub task_loginuid: u32,
    /// `struct fdtable`: `max_fds` at 0, `fd` at 8.
    pub files_fdt: u32,
    /// `mnt`, `dentry`.
    pub file_path: u32,
    /// `private_data`.
    pub file_private: u32,
    /// `d_hash.pprev` precedes it; hash, length and name follow.
    pub dentry_parent: u32,
    /// The vfsmount in `struct mount`; `mnt_parent` and `mnt_mountpoint` precede it.
    pub mount_mnt: u32,
    /// `arg_start`, `arg_end`, `env_start`, `env_end`.
    pub mm_args: u32,
    /// `exe_file`.
    pub mm_exe: u32,
    /// `pwd` of `struct fs_struct`.
    pub fs_pwd: u32,
    /// `sk` follows.
    pub socket_file: u32,
    /// `sk_protocol` of `struct sock`.
    pub sock_protocol: u32,
    /// Its bytes: 1 or 2.
    pub sock_protocol_size: u32,
    /// `skc_v6_daddr`, `skc_v6_rcv_saddr`.
    pub sock_v6: u32,
    /// `addr` of `struct unix_sock`.
    pub unix_addr: u32,
    /// `peer` of `struct unix_sock`.
    pub unix_peer: u32,
    /// The `sockaddr_un` in `struct unix_address`; the length is at 4.
    pub address_name: u32,
    /// `uid`, `gid`, `suid`, `sgid`, `euid`, `egid`.
    pub cred_uid: u32,
    /// The pointer to the process group's `struct pid`, in the task or its `signal_struct`.
    pub groups: u32,
    /// 1: in the task, before Linux 4.19.
    pub groups_in_task: u32,
    /// From there to the pointer of the session.
    pub groups_stride: u32,
    /// `nr` of `struct upid`.
    pub pid_nr: u32,
    /// `tty` of `struct signal_struct`.
    pub signal_tty: u32,
    /// `driver` of `struct tty_struct`.
    pub tty_driver: u32,
    /// `index` of `struct tty_struct`.
    pub tty_index: u32,
    /// `minor_start` follows.
    pub driver_major: u32,
    /// `stack` of `struct task_struct`.
    pub task_stack: u32,
    /// From the stack's lowest address to the registers of the call.
    pub stack_regs: u32,
    /// `pid` in the record of `task_newtask`.
    pub newtask_pid: u32,
    /// `clone_flags` in the same record.
    pub newtask_flags: u32,
    /// `old_pid` in the record of `sched_process_exec`.
    pub exec_old_pid: u32,
    /// `sa_handler` in the record of `signal_deliver`.
    pub signal_handler: u32,
    /// `sa_flags` in the same record.
    pub signal_flags: u32,
    /// The ring of a request (`struct io_kiocb`).
    pub request_ring: u32,
    /// The code of its operation.
    pub request_code: u32,
    /// 1: the first argument of `io_uring_submit_sqe` is the ring, before Linux 6.0.
    pub submits_ring: u32,
    /// `thread_pid` of `struct task_struct`; before Linux 4.19, the first link to a `struct pid`.
    pub task_thread_pid: u32,
    /// In `struct io_ring_ctx`.
    pub ring_flags: u32,
    /// The pointer to the ring's requests.
    pub ring_requests: u32,
    /// The pointer to the array of their indices.
    pub ring_array: u32,
    /// How many requests the ring has taken.
    pub ring_head: u32,
    /// How many requests the ring has room for.
    pub ring_entries: u32,
    /// `f_inode` of `struct file`.
    pub file_inode: u32,
    /// `f_flags` of `struct file`.
    pub file_flags: u32,
    /// `f_mode` of `struct file`.
    pub file_mode: u32,
    /// `i_ino` of `struct inode`, which begins with `i_mode`.
    pub inode_number: u32,
    /// `i_sb` of `struct inode`.
    pub inode_sb: u32,
}

// SAFETY: numbers of one size without padding; every bit pattern is valid.
unsafe impl Pod for Offsets {}

impl Offsets {
    /// Whether all of these groups were found.
    pub fn has(&self, bits: u32) -> bool {
        self.have & bits == bits
    }
}

/// Elements of the map `callers`.
pub const CALLERS: u32 = 8;
/// Bytes that a query reads at most.
pub const ANSWER_SIZE: usize = 4096;

/// What a search asks the program at `sys_enter` to read.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Query {
    /// Where to read.
    pub address: u64,
    /// How many bytes.
    pub len: u32,
    /// The number that calls of the search give to getpgid(2).
    pub magic: u32,
    /// 1: the address is an offset in the caller's `task_struct`.
    pub relative: u32,
    /// The offset of the call's number, in the record of `raw_syscalls:sys_enter`.
    pub id_offset: u32,
    /// The offset of its first argument.
    pub argument_offset: u32,
    /// The number of the query.
    pub number: u32,
}

/// Who made a call of the search.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Caller {
    /// The address of its `struct task_struct`.
    pub task: u64,
    /// Its process id and its thread id.
    pub id: u64,
    /// The beginning of the task: its `thread_info`.
    pub head: [u8; 128],
}

/// What a query has read.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Answer {
    /// 0, or why it could not be read.
    pub error: i64,
    /// The number of the query.
    pub number: u64,
    /// What was read.
    pub bytes: [u8; ANSWER_SIZE],
}

/// The last operation of io_uring that a thread of the search submitted.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Submission {
    /// The process id and the thread id of the search.
    pub id: u64,
    /// The first two arguments of the tracepoint.
    pub arguments: [u64; 2],
}

// SAFETY: numbers without padding; every bit pattern is valid.
unsafe impl Pod for Query {}
// SAFETY: as above.
unsafe impl Pod for Caller {}
// SAFETY: as above.
unsafe impl Pod for Answer {}
// SAFETY: as above.
unsafe impl Pod for Submission {}
