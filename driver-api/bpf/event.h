/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The event as it leaves the kernel: the same layout for every driver. src/event/layout.rs says the
 * same in Rust; a test compares sizes and offsets of both.
 *
 * Include <linux/types.h> (or an equivalent) first.
 */
#ifndef LANNER_EVENT_H
#define LANNER_EVENT_H

#define LANNER_EVENT_VERSION 1

/* The largest event, header and attachments. */
#define LANNER_EVENT_MAX 32768

enum lanner_kind {
	LANNER_KIND_SYSCALL = 1, /* a call returned, or (flag NORETURN) was entered */
	LANNER_KIND_EXEC = 2,	 /* a process has a new program; nr says by which call */
	LANNER_KIND_FORK = 3,	 /* args: child's tid, tgid, clone flags, own id, what it shares */
	LANNER_KIND_EXIT = 4,	 /* a thread ended; ret: wait status */
	LANNER_KIND_SIGNAL = 5,	 /* args: signal, sender's tgid */
	LANNER_KIND_LOST = 6,	 /* args: how many, cause */
};

/* In a FORK's fifth argument: it has the bits of CLONE_* that can be seen of the child. */
#define LANNER_FORK_SEEN (1ULL << 63)

enum lanner_abi {
	LANNER_ABI_X86_64 = 0,
	LANNER_ABI_I386 = 1,
	LANNER_ABI_X32 = 2,
	LANNER_ABI_AARCH64 = 3,
	LANNER_ABI_ARM = 4,
};

enum lanner_flag {
	LANNER_FLAG_NORETURN = 1,   /* captured at entry: ret says nothing */
	LANNER_FLAG_UNSELECTED = 2, /* nobody selected the call: for process state only */
	LANNER_FLAG_INCOMPLETE = 4, /* an attachment found no room */
	LANNER_FLAG_ENTRY = 8,	    /* captured at entry of a call that does return: ret says nothing */
};

enum lanner_loss {
	LANNER_LOSS_BUFFER_FULL = 0, /* the consumer was too slow */
	LANNER_LOSS_NESTED = 1,	     /* a program was interrupted by another run of itself */
	LANNER_LOSS_TABLE_FULL = 2,  /* a kernel map had no room (process tree, exec in flight) */
	LANNER_LOSS_FAULT = 3,	     /* the kernel refused a read or an output for another reason */
	LANNER_LOSS_CAUSES = 4,
};

struct lanner_event {
	__u32 len; /* bytes of header and attachments, a multiple of 8 */
	__u8 version;
	__u8 kind;
	__u8 abi;
	__u8 attachments; /* how many follow */
	__u16 cpu;
	__u16 flags;
	__u32 nr;      /* system call number in its ABI */
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 tgid;
	__u32 tid;
	__u32 uid;    /* real */
	__u32 gid;    /* real */
	__u64 cgroup; /* cgroup v2 id, 0: not known */
	__s64 ret;
	__u64 args[6];
};

/* What an attachment holds: 0 to 5 are arguments, from 16 on facts. */
enum lanner_what {
	LANNER_FACT_PATH = 16,	  /* resolved path of the descriptor */
	LANNER_FACT_TUPLE = 17,	  /* struct lanner_tuple */
	LANNER_FACT_EXE = 18,	  /* resolved path of the executable */
	LANNER_FACT_CWD = 19,	  /* resolved working directory */
	LANNER_FACT_ARGV = 20,	  /* arguments as the new program has them */
	LANNER_FACT_ENV = 21,	  /* environment as the new program has it */
	LANNER_FACT_IDS = 22,	  /* struct lanner_ids */
	LANNER_FACT_COMM = 23,	  /* the task's name */
	LANNER_FACT_LOCAL = 24,	  /* local name of a Unix socket */
	LANNER_FACT_PEER = 25,	  /* peer's name of a Unix socket */
	LANNER_FACT_PROGRAM = 26, /* struct lanner_program */
	LANNER_REPLACED = 255,	  /* a better attachment follows: to be passed over */
};

enum lanner_status {
	LANNER_WHOLE = 0,
	LANNER_TRUNCATED = 1,
	LANNER_FAULT = 2, /* the memory could not be read: what is there came before */
};

enum lanner_encoding {
	LANNER_RAW = 0,	    /* bytes; a string without its NUL */
	LANNER_PARTS = 1,   /* path components, leaf first, each ended by NUL */
	LANNER_STRINGS = 2, /* strings, each ended by NUL */
};

/* parts of a msghdr argument */
enum lanner_part {
	LANNER_PART_NONE = 0,
	LANNER_PART_NAME = 1,
	LANNER_PART_DATA = 2,
	LANNER_PART_CONTROL = 3,
};

struct lanner_attachment {
	__u8 what;
	__u8 part;
	__u8 status;
	__u8 encoding;
	__u32 captured; /* bytes that follow; the next attachment begins at a multiple of 8 */
	__u64 full;	/* bytes there were to capture; 0 where only the captured ones are known */
};

struct lanner_tuple {
	__u16 family;	  /* AF_* */
	__u16 protocol;	  /* IPPROTO_* */
	__u16 local_port; /* host order */
	__u16 remote_port;
	__u8 local[16]; /* the first 4 bytes for AF_INET */
	__u8 remote[16];
};

struct lanner_ids {
	__u32 ppid;
	__u32 pgid;
	__u32 sid;
	__u32 loginuid; /* -1: none */
	__u32 uid, euid;
	__u32 gid, egid;
	__u32 tty;   /* device number as in /proc/PID/stat, 0: none */
	__u32 memfd; /* 1: the executable is a memfd */
};

/* where a file of an overlay file system is */
enum lanner_layer {
	LANNER_LAYER_NONE = 0,	/* not of such a file system */
	LANNER_LAYER_LOWER = 1, /* as the image has it */
	LANNER_LAYER_UPPER = 2, /* written since */
	LANNER_LAYER_UNKNOWN = 3,
};

/* a new program: its file, and what it is capable of */
struct lanner_program {
	__u64 inode;
	__u64 ctime_ns, mtime_ns; /* since the epoch */
	__u64 cap_inheritable, cap_permitted, cap_effective;
	__u32 mode, uid, gid; /* of the file */
	__u32 layer;	      /* enum lanner_layer */
};

#endif
