/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Offsets of fields in this kernel's structs. There is neither BTF nor headers to look them up in, so that a search of
 * kernel memory finds them at start (src/offsets). src/offsets/layout.rs has the same struct.
 */
#ifndef LANNER_OFFSETS_H
#define LANNER_OFFSETS_H

/* Which groups of offsets were found. */
enum have {
	HAVE_PATH = 1, /* file, dentry, mount */
	HAVE_FD = 2,   /* task to file */
	HAVE_EXE = 4,
	HAVE_CWD = 8,
	HAVE_STRINGS = 16,
	HAVE_SOCKET = 32,
	HAVE_V6 = 64,
	HAVE_UNIX = 128,
	HAVE_EXIT = 256,
	HAVE_PARENT = 512,
	HAVE_CRED = 1024,
	HAVE_GROUPS = 2048,
	HAVE_TTY = 4096,
	HAVE_LOGINUID = 8192,
	HAVE_COMPAT = 16384,
	HAVE_REGS = 32768,
};

struct offsets {
	__u32 have;
	__u32 task_status; /* thread_info.status: bit 1 is set during a 32-bit call */
	__u32 task_pid;	   /* tgid follows */
	__u32 task_files;
	__u32 task_fs;
	__u32 task_mm;
	__u32 task_real_parent;
	__u32 task_exit_code;
	__u32 task_cred;
	__u32 task_signal;
	__u32 task_loginuid;
	__u32 files_fdt; /* struct fdtable: max_fds at 0, fd at 8 */
	__u32 file_path; /* mnt, dentry */
	__u32 file_private;
	__u32 dentry_parent; /* d_hash.pprev precedes it; hash, length and name follow */
	__u32 mount_mnt;     /* the vfsmount in struct mount; mnt_parent and mnt_mountpoint precede it */
	__u32 mm_args;	     /* arg_start, arg_end, env_start, env_end */
	__u32 mm_exe;
	__u32 fs_pwd;
	__u32 socket_file; /* sk follows */
	__u32 sock_protocol;
	__u32 sock_protocol_size;
	__u32 sock_v6; /* skc_v6_daddr, skc_v6_rcv_saddr */
	__u32 unix_addr;
	__u32 unix_peer;
	__u32 address_name;   /* the sockaddr_un in struct unix_address; the length is at 4 */
	__u32 cred_uid;	      /* uid, gid, suid, sgid, euid, egid */
	__u32 groups;	      /* the pointer to the process group's struct pid, in the task or its signal_struct */
	__u32 groups_in_task; /* 1: in the task, before 4.19 */
	__u32 groups_stride;  /* from there to the pointer of the session */
	__u32 pid_nr;
	__u32 signal_tty;
	__u32 tty_driver;
	__u32 tty_index;
	__u32 driver_major; /* minor_start follows */
	__u32 task_stack;
	__u32 stack_regs;     /* from the stack's lowest address to the registers of the call */
	__u32 newtask_pid;    /* pid in the record of task_newtask */
	__u32 newtask_flags;  /* clone_flags in the same record */
	__u32 exec_old_pid;   /* old_pid in the record of sched_process_exec */
	__u32 signal_handler; /* sa_handler in the record of signal_deliver */
	__u32 signal_flags;   /* sa_flags in the same record */
};

#endif
