/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The event as it leaves the kernel: the same layout for every driver.
 * Include <linux/types.h>, or an equivalent, first.
 *
 * Made from driver-api/src/event/layout.rs by `make header`.
 */
#ifndef LANNER_EVENT_H
#define LANNER_EVENT_H

/* clang-format off */

/* Version of the layout; an event of another version is malformed. */
#define LANNER_EVENT_VERSION 1

/* The largest event in bytes, header and attachments. */
#define LANNER_EVENT_MAX 32768

/* In a fork's fifth argument: the driver has determined what parent and child share. */
#define LANNER_FORK_SEEN 9223372036854775808ull

/* In the third argument of lanner_kind.Lost: only calls are missing, and no birth, exec or end. */
#define LANNER_LOST_CALLS 1

/* In lanner_file.flags: not known. */
#define LANNER_FLAGS_UNKNOWN 4294967295

/* In lanner_attachment.what: ignore this attachment, a better one follows. */
#define LANNER_REPLACED 255

/* How many causes there are. */
#define LANNER_LOSS_CAUSES 4

/* In lanner_program.layer: the file is in an overlay file system, but the driver does not know in which layer. */
#define LANNER_LAYER_UNKNOWN 3

/* Why events are missing. */
enum lanner_loss {
	/* The consumer was too slow. */
	LANNER_LOSS_BUFFER_FULL = 0,
	/* A program was interrupted by another run of itself: the kernel skipped that run, or every scratch slot
	 * of the CPU was in use. */
	LANNER_LOSS_NESTED = 1,
	/* A kernel map had no room (processes followed, exec calls in flight). */
	LANNER_LOSS_TABLE_FULL = 2,
	/* The kernel refused a read or an output for another reason. */
	LANNER_LOSS_FAULT = 3,
};

/* What happened. */
enum lanner_kind {
	/* A call returned or, with LANNER_FLAG_NORETURN or LANNER_FLAG_ENTRY, was entered. */
	LANNER_KIND_SYSCALL = 1,
	/* A process has a new program; nr says by which call. */
	LANNER_KIND_EXEC = 2,
	/* A thread or process was born. args: its tid, its tgid, the clone flags (0: not known), its tid in its own
	 * PID namespace (0: not known), and LANNER_FORK_SEEN with those of the flags CLONE_FS, CLONE_FILES,
	 * CLONE_PARENT and CLONE_NEWPID that the driver saw take effect (0: the driver did not look). */
	LANNER_KIND_FORK = 3,
	/* A thread ended. ret is its wait status (wait(2)). */
	LANNER_KIND_EXIT = 4,
	/* A signal was delivered. args: signal, sender's tgid (0: the kernel or unknown). */
	LANNER_KIND_SIGNAL = 5,
	/* Events are missing here. args: how many, the LANNER_LOSS_*, and LANNER_LOST_CALLS if only calls are missing (0: births,
	 * execs and ends may be, too). */
	LANNER_KIND_LOST = 6,
};

/* The application binary interface a call was made through. */
enum lanner_abi {
	/* 64-bit x86. */
	LANNER_ABI_X86_64 = 0,
	/* 32-bit x86: int 0x80 and compatibility mode. */
	LANNER_ABI_I386 = 1,
	/* x32: 64-bit registers, 32-bit pointers. */
	LANNER_ABI_X32 = 2,
	/* 64-bit ARM. */
	LANNER_ABI_AARCH64 = 3,
	/* 32-bit ARM. */
	LANNER_ABI_ARM = 4,
	/* No system call, but an operation that was submitted to an io_uring; its code is the number. */
	LANNER_ABI_IO_URING = 5,
};

/* What the kernel did: facts that a program cannot forge or change after the call. */
enum lanner_fact {
	/* Resolved path of a descriptor. */
	LANNER_FACT_PATH = 16,
	/* Both ends of a socket, a struct lanner_tuple. */
	LANNER_FACT_TUPLE = 17,
	/* Resolved path of the executable. */
	LANNER_FACT_EXE = 18,
	/* Resolved working directory. */
	LANNER_FACT_CWD = 19,
	/* Arguments as the new program has them. */
	LANNER_FACT_ARGV = 20,
	/* Environment as the new program has it. */
	LANNER_FACT_ENV = 21,
	/* The ids of the process, an struct lanner_ids. */
	LANNER_FACT_IDS = 22,
	/* The task's name. */
	LANNER_FACT_COMM = 23,
	/* Local name of a Unix socket. */
	LANNER_FACT_LOCAL = 24,
	/* Peer's name of a Unix socket. */
	LANNER_FACT_PEER = 25,
	/* The program's file and the process's capabilities, a struct lanner_program. */
	LANNER_FACT_PROGRAM = 26,
	/* Resolved path of the directory that the first path of a call begins at, if that path is relative. */
	LANNER_FACT_BASE = 27,
	/* The same for the second path of a call. */
	LANNER_FACT_BASE2 = 28,
	/* Resolved path of the thread's root directory, where an absolute path of the call begins, if it is not the root of
	 * the mount namespace. Of chroot(2): the new root directory. */
	LANNER_FACT_ROOT = 29,
	/* struct lanner_file: the file that was opened. */
	LANNER_FACT_FILE = 30,
	/* What /proc/PID/cgroup said about the event's process. No driver delivers it: recordings have events of their own
	 * for it, marked LANNER_FLAG_UNSELECTED. The header's cgroup is the id of the cgroup v2 among these; a tgid of 0
	 * means that only this is said. */
	LANNER_FACT_CGROUPS = 31,
	/* What a runtime said about a container, as the JSON of Falco's event container. No driver delivers it: recordings
	 * have events of their own for it, marked LANNER_FLAG_UNSELECTED, with a tgid of 0. */
	LANNER_FACT_CONTAINER = 32,
	/* Users of the host, as lines of /etc/passwd. No driver delivers it: recordings begin with events of their own for it,
	 * marked LANNER_FLAG_UNSELECTED, with a tgid of 0. */
	LANNER_FACT_USERS = 33,
	/* The same for groups, as lines of /etc/group. */
	LANNER_FACT_GROUPS = 34,
	/* How long the call took, in nanoseconds, a u64. Only where the consumer has asked for it, and where it is known. */
	LANNER_FACT_TOOK = 35,
};

/* How much of the memory an attachment holds. */
enum lanner_status {
	/* All of it. */
	LANNER_WHOLE = 0,
	/* The beginning: the rest is beyond a limit. */
	LANNER_TRUNCATED = 1,
	/* What could be read before an address that is not mapped. */
	LANNER_FAULT = 2,
};

/* How the bytes of an attachment are encoded. */
enum lanner_encoding {
	/* As they are; a string without its NUL. */
	LANNER_RAW = 0,
	/* Path components, leaf first, each ended by NUL. */
	LANNER_PARTS = 1,
	/* Strings, each ended by NUL. */
	LANNER_STRINGS = 2,
};

/* Which part of a msghdr an attachment holds. */
enum lanner_part {
	/* The whole argument. With an index N above 0: what pointer N-1 in the argument's structure points to. */
	LANNER_PART_NONE = 0,
	/* msg_name. */
	LANNER_PART_NAME = 1,
	/* The gathered bytes of msg_iov. */
	LANNER_PART_DATA = 2,
	/* msg_control. */
	LANNER_PART_CONTROL = 3,
};

/* The layer of an overlay file system that a file is in. */
enum lanner_layer {
	/* The file is not in an overlay file system. */
	LANNER_LAYER_NONE = 0,
	/* The file is as the image has it. */
	LANNER_LAYER_LOWER = 1,
	/* The file was written since the container started. */
	LANNER_LAYER_UPPER = 2,
};

/* Bits of lanner_event.flags. */

/* Captured at the entry of a call that does not return: ret has no meaning. */
#define LANNER_FLAG_NORETURN 1
/* The call is not selected. The event is delivered for the process state only. */
#define LANNER_FLAG_UNSELECTED 2
/* An attachment was left out, because the event would have been larger than LANNER_EVENT_MAX. */
#define LANNER_FLAG_INCOMPLETE 4
/* Captured at the entry of a call that does return: ret has no meaning, and the event has neither what the
 * kernel writes into memory nor facts, except where its paths begin. On an exit: the thread's wait status could not be determined. */
#define LANNER_FLAG_ENTRY 8
/* The call opened a file, and the file was created by that. */
#define LANNER_FLAG_CREATED 16
/* The call opened a file that existed before. With neither flag, this is not known. */
#define LANNER_FLAG_EXISTED 32
/* What the kernel wrote into a buffer for an address, or for a socket's option, ends where the buffer ends: its size
 * was seen when the call was entered. Without this flag, the end may be other memory of the program, because the
 * kernel says how long all would have been. */
#define LANNER_FLAG_ROOM_SEEN 64
/* With either flag ret has no meaning. For Event::has. */
#define LANNER_FLAG_NO_RESULT (LANNER_FLAG_NORETURN | LANNER_FLAG_ENTRY)

/* The fixed part of an event. */
struct lanner_event {
	/* Bytes of header and attachments, a multiple of 8. */
	__u32 len;
	/* LANNER_EVENT_VERSION. */
	__u8 version;
	/* One of LANNER_KIND_*. */
	__u8 kind;
	/* An LANNER_ABI_*. */
	__u8 abi;
	/* How many attachments follow. */
	__u8 attachments;
	/* The CPU the event happened on. */
	__u16 cpu;
	/* LANNER_FLAG_*. */
	__u16 flags;
	/* Syscall number in its ABI. */
	__u32 nr;
	/* CLOCK_MONOTONIC, nanoseconds. */
	__u64 time_ns;
	/* Thread-group id: the process. */
	__u32 tgid;
	/* Thread id. */
	__u32 tid;
	/* Real user id. */
	__u32 uid;
	/* Real group id. */
	__u32 gid;
	/* cgroup v2 id; 0: not known. */
	__u64 cgroup;
	/* Return value, a negative errno on failure. */
	__s64 ret;
	/* The six arguments as the registers held them. */
	__u64 args[6];
};

/* The head of an attachment; its bytes follow, padded to a multiple of 8. */
struct lanner_attachment {
	/* 0 to 5: that argument; from 16 on a LANNER_FACT_*. */
	__u8 what;
	/* A LANNER_PART_*. */
	__u8 part;
	/* A LANNER_*. */
	__u8 status;
	/* An LANNER_*. */
	__u8 encoding;
	/* Bytes that follow. */
	__u32 captured;
	/* How many bytes there were to capture; 0: not known. */
	__u64 full;
};

/* Both ends of an internet socket. Of another socket only the family is set. */
struct lanner_tuple {
	/* AF_*. */
	__u16 family;
	/* IPPROTO_*. */
	__u16 protocol;
	/* In host byte order. */
	__u16 local_port;
	/* In host byte order. */
	__u16 remote_port;
	/* Address; the first 4 bytes for AF_INET. */
	__u8 local[16];
	/* Address; the first 4 bytes for AF_INET. */
	__u8 remote[16];
};

/* The ids of a process that runs a new program. */
struct lanner_ids {
	/* Parent's thread-group id. */
	__u32 ppid;
	/* Process group. */
	__u32 pgid;
	/* Session. */
	__u32 sid;
	/* Login user id; u32::MAX: none. */
	__u32 loginuid;
	/* Real user id. */
	__u32 uid;
	/* Effective user id. */
	__u32 euid;
	/* Real group id. */
	__u32 gid;
	/* Effective group id. */
	__u32 egid;
	/* Device number of the controlling terminal as /proc/PID/stat has it; 0: none. */
	__u32 tty;
	/* 1: the executable is a memfd. */
	__u32 memfd;
};

/* A new program: its file, and the capabilities of its process. */
struct lanner_program {
	/* The file's inode. */
	__u64 inode;
	/* When the file or its inode was changed, in nanoseconds since the epoch. */
	__u64 ctime_ns;
	/* When the file's contents were changed, in nanoseconds since the epoch. */
	__u64 mtime_ns;
	/* Bits of 1 << CAP_*. */
	__u64 cap_inheritable;
	/* Bits of 1 << CAP_*. */
	__u64 cap_permitted;
	/* Bits of 1 << CAP_*. */
	__u64 cap_effective;
	/* The file's permissions and type. */
	__u32 mode;
	/* The file's owner. */
	__u32 uid;
	/* The file's group. */
	__u32 gid;
	/* A LANNER_LAYER_*, or LANNER_LAYER_UNKNOWN. */
	__u32 layer;
};

/* A file that was opened. */
struct lanner_file {
	/* The inode's number, as the file system that has the file counts it. */
	__u64 inode;
	/* The device of the file system, major number in the upper 12 of 32 bits, minor number in the lower 20. */
	__u32 device;
	/* The file's permissions and type; 0: not known. */
	__u32 mode;
	/* The flags that the file was opened with, O_*; all ones: not known. */
	__u32 flags;
	/* 0. */
	__u32 unused;
};

#endif
