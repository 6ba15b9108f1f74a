/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the legacy driver's programs share with user space.
 *
 * Made from driver-ebpf-legacy/src/layout.rs by `make header`.
 */
#ifndef LANNER_LEGACY_LAYOUT_H
#define LANNER_LEGACY_LAYOUT_H

/* clang-format off */

/* Elements of the map callers. */
#define CALLERS 8

/* Bytes that a query reads at most. */
#define ANSWER_SIZE 4096

/* File, dentry, mount. */
#define HAVE_PATH 1

/* From a task to its files. */
#define HAVE_FD 2

/* The executable. */
#define HAVE_EXE 4

/* The working directory. */
#define HAVE_CWD 8

/* Where arguments and environment are. */
#define HAVE_STRINGS 16

/* Sockets. */
#define HAVE_SOCKET 32

/* IPv6 addresses. */
#define HAVE_V6 64

/* Unix sockets. */
#define HAVE_UNIX 128

/* The exit code. */
#define HAVE_EXIT 256

/* The parent. */
#define HAVE_PARENT 512

/* Ids. */
#define HAVE_CRED 1024

/* Process group and session. */
#define HAVE_GROUPS 2048

/* The terminal. */
#define HAVE_TTY 4096

/* The login id. */
#define HAVE_LOGINUID 8192

/* Whether a call is a 32-bit one. */
#define HAVE_COMPAT 16384

/* The registers of a call. */
#define HAVE_REGS 32768

/* Rings of io_uring. */
#define HAVE_RINGS 65536

/* A thread's struct pid. */
#define HAVE_THREAD_PID 131072

/* An open file: its inode and its flags. */
#define HAVE_FILE 262144

/* Whether an open has created its file. */
#define HAVE_CREATED 524288

/* Settings, written before anything is attached. */
struct settings {
	/* lanner's own process id, as the programs see it: its calls are never captured. */
	__u32 self_tgid;
	/* The number of execve, for an exec whose entry was not seen. */
	__u32 execve_nr;
	/* 1: capture only the threads in the map followed. */
	__u32 tree;
	/* 1: entries are seen at the scheduler's tracepoints, as late as they can be. */
	__u32 late;
	/* Calls that were entered after this time have times. 0: no call has times. */
	__u64 times_since;
};

/* Offsets of fields in this kernel's structs, in bytes. There is neither BTF nor a header to look them up in: a search of
 * kernel memory finds them at start. */
struct offsets {
	/* Bits of have: the groups of offsets that were found and verified. */
	__u32 have;
	/* thread_info.status: bit 1 is set during a 32-bit call. */
	__u32 task_status;
	/* tgid follows. */
	__u32 task_pid;
	/* files of struct task_struct. */
	__u32 task_files;
	/* fs of struct task_struct. */
	__u32 task_fs;
	/* mm of struct task_struct. */
	__u32 task_mm;
	/* real_parent of struct task_struct. */
	__u32 task_real_parent;
	/* exit_code of struct task_struct. */
	__u32 task_exit_code;
	/* cred of struct task_struct. */
	__u32 task_cred;
	/* signal of struct task_struct. */
	__u32 task_signal;
	/* loginuid of struct task_struct. */
	__u32 task_loginuid;
	/* struct fdtable: max_fds at 0, fd at 8. */
	__u32 files_fdt;
	/* mnt, dentry. */
	__u32 file_path;
	/* private_data. */
	__u32 file_private;
	/* d_hash.pprev precedes it; hash, length and name follow. */
	__u32 dentry_parent;
	/* The vfsmount in struct mount; mnt_parent and mnt_mountpoint precede it. */
	__u32 mount_mnt;
	/* arg_start, arg_end, env_start, env_end. */
	__u32 mm_args;
	/* exe_file. */
	__u32 mm_exe;
	/* pwd of struct fs_struct. */
	__u32 fs_pwd;
	/* sk follows. */
	__u32 socket_file;
	/* sk_protocol of struct sock. */
	__u32 sock_protocol;
	/* Its bytes: 1 or 2. */
	__u32 sock_protocol_size;
	/* skc_v6_daddr, skc_v6_rcv_saddr. */
	__u32 sock_v6;
	/* addr of struct unix_sock. */
	__u32 unix_addr;
	/* peer of struct unix_sock. */
	__u32 unix_peer;
	/* The sockaddr_un in struct unix_address; the length is at 4. */
	__u32 address_name;
	/* uid, gid, suid, sgid, euid, egid. */
	__u32 cred_uid;
	/* The pointer to the process group's struct pid, in the task or its signal_struct. */
	__u32 groups;
	/* 1: in the task, before Linux 4.19. */
	__u32 groups_in_task;
	/* From there to the pointer of the session. */
	__u32 groups_stride;
	/* nr of struct upid. */
	__u32 pid_nr;
	/* tty of struct signal_struct. */
	__u32 signal_tty;
	/* driver of struct tty_struct. */
	__u32 tty_driver;
	/* index of struct tty_struct. */
	__u32 tty_index;
	/* minor_start follows. */
	__u32 driver_major;
	/* stack of struct task_struct. */
	__u32 task_stack;
	/* From the stack's lowest address to the registers of the call. */
	__u32 stack_regs;
	/* pid in the record of task_newtask. */
	__u32 newtask_pid;
	/* clone_flags in the same record. */
	__u32 newtask_flags;
	/* old_pid in the record of sched_process_exec. */
	__u32 exec_old_pid;
	/* sa_handler in the record of signal_deliver. */
	__u32 signal_handler;
	/* sa_flags in the same record. */
	__u32 signal_flags;
	/* The ring of a request (struct io_kiocb). */
	__u32 request_ring;
	/* The code of its operation. */
	__u32 request_code;
	/* 1: the first argument of io_uring_submit_sqe is the ring, before Linux 6.0. */
	__u32 submits_ring;
	/* thread_pid of struct task_struct; before Linux 4.19, the first link to a struct pid. */
	__u32 task_thread_pid;
	/* In struct io_ring_ctx. */
	__u32 ring_flags;
	/* The pointer to the ring's requests. */
	__u32 ring_requests;
	/* The pointer to the array of their indices. */
	__u32 ring_array;
	/* How many requests the ring has taken. */
	__u32 ring_head;
	/* How many requests the ring has room for. */
	__u32 ring_entries;
	/* f_inode of struct file. */
	__u32 file_inode;
	/* f_flags of struct file. */
	__u32 file_flags;
	/* f_mode of struct file. */
	__u32 file_mode;
	/* i_ino of struct inode, which begins with i_mode. */
	__u32 inode_number;
	/* i_sb of struct inode. */
	__u32 inode_sb;
};

/* What a search asks the program at sys_enter to read. */
struct query {
	/* Where to read. */
	__u64 address;
	/* How many bytes. */
	__u32 len;
	/* The number that calls of the search give to getpgid(2). */
	__u32 magic;
	/* 1: the address is an offset in the caller's task_struct. */
	__u32 relative;
	/* The offset of the call's number, in the record of raw_syscalls:sys_enter. */
	__u32 id_offset;
	/* The offset of its first argument. */
	__u32 argument_offset;
	/* The number of the query. */
	__u32 number;
};

/* Who made a call of the search. */
struct caller {
	/* The address of its struct task_struct. */
	__u64 task;
	/* Its process id and its thread id. */
	__u64 id;
	/* The beginning of the task: its thread_info. */
	__u8 head[128];
};

/* What a query has read. */
struct answer {
	/* 0, or why it could not be read. */
	__s64 error;
	/* The number of the query. */
	__u64 number;
	/* What was read. */
	__u8 bytes[ANSWER_SIZE];
};

/* The last operation of io_uring that a thread of the search submitted. */
struct submission {
	/* The process id and the thread id of the search. */
	__u64 id;
	/* The first two arguments of the tracepoint. */
	__u64 arguments[2];
};

#endif
