/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The capture plan: what to fetch for one system call, as the interpreters read it.
 * User space makes it from syscalls.tbl. Include <linux/types.h>, or an equivalent, first.
 *
 * Made from driver-api/src/plan/mod.rs by `make header`.
 */
#ifndef LANNER_PLAN_H
#define LANNER_PLAN_H

/* clang-format off */

/* How many operations a plan has room for. */
#define LANNER_PLAN_OPS 6

/* How many numbers an ABI can have in an array of plans. The last plan is for all higher numbers, too, and for no call
 * of the table. */
#define LANNER_PLAN_NRS 1024

/* How many codes operations of io_uring can have, a power of two. */
#define LANNER_PLAN_OPERATIONS 128

/* How many calls can be made through others. Their plans follow those of all ABIs. */
#define LANNER_MULTIPLEXED 64

/* How many clauses a predicate has room for. */
#define LANNER_CLAUSES 4

/* How many tests of arguments a clause has room for. */
#define LANNER_TESTS 2

/* How many pointers in a structure are followed. */
#define LANNER_POINTERS 2

/* How many structures can have pointers that are followed. */
#define LANNER_POINTING 32

/* How many conditions the programs have room for. */
#define LANNER_PREDICATES 256

/* Of how many messages of an array the room for the address is looked at. */
#define LANNER_ROOMS 16

/* Value of lanner_op.arg: the return value. */
#define LANNER_ARG_RET 7

/* Value of lanner_op.unit: the length counts bits, and is rounded up to whole longs. */
#define LANNER_UNIT_BITS 0xffff

/* Value of lanner_op.unit: the length counts bits and is one too large; then as with LANNER_UNIT_BITS. */
#define LANNER_UNIT_BITS_AND_ONE 65534

/* Value of lanner_op.unit with N added: the byte count is the length divided by 2^N, rounded up. */
#define LANNER_UNIT_SHIFT 65280

/* The most bits that a length counts. */
#define LANNER_BITS_MAX 16777215

/* Bit of lanner_op.len_unused: the length has a sign. If it is negative, there is nothing to capture. */
#define LANNER_LEN_SIGNED 128

/* The user, a rule or the state wants this call. */
#define LANNER_PLAN_SELECTED 1

/* Capture at entry: the call does not return. */
#define LANNER_PLAN_NORETURN 2

/* The call returns twice; it returns 0 in the child. */
#define LANNER_PLAN_CHILD 4

/* A successful call is an exec event. */
#define LANNER_PLAN_EXEC 8

/* The call needs much room: it has an operation that a call has at most once. */
#define LANNER_PLAN_LARGE 16

/* Other calls are made through it: struct lanner_multiplexed says which. */
#define LANNER_PLAN_MULTIPLEXER 32

/* It has facts about directories of the thread. */
#define LANNER_PLAN_DIRECTORIES 64

/* It has memory whose length the kernel replaces (lanner_op.is_replaced), or other calls are
 * made through it that do. How much room the program has is looked at when the call is entered. */
#define LANNER_PLAN_ROOM 128

/* Without an error. */
#define LANNER_OUTCOME_OK 1

/* ENOENT */
#define LANNER_OUTCOME_NOT_FOUND 2

/* EPERM, EACCES, EROFS */
#define LANNER_OUTCOME_REFUSED 4

/* EINPROGRESS */
#define LANNER_OUTCOME_BEGUN 8

/* Another error. */
#define LANNER_OUTCOME_OTHER_ERROR 16

/* Nothing. */
#define LANNER_OP_NONE 0

/* A NUL-terminated string. */
#define LANNER_OP_STR 1

/* Bytes. */
#define LANNER_OP_BYTES 2

/* An array of pointers to strings, ended by NULL. */
#define LANNER_OP_STRV 3

/* Gathered bytes of an array of struct iovec, or of pointers to lanner_op.unit bytes each. */
#define LANNER_OP_IOV 4

/* A struct msghdr: name, data, control. */
#define LANNER_OP_MSG 5

/* Fact: resolved path of a descriptor. */
#define LANNER_OP_FD_PATH 6

/* Fact: both ends of a socket. */
#define LANNER_OP_FD_TUPLE 7

/* An array of struct mmsghdr. */
#define LANNER_OP_MMSG 8

/* Another operation: the value of an argument chooses it among variants. */
#define LANNER_OP_VARIANT 9

/* Fact: the directory that the path in register arg begins at. len_arg is the register of the descriptor that a
 * relative path is relative to; LANNER_ARG_RET: none. */
#define LANNER_OP_BASE 10

/* Fact: a directory of the thread, its working directory or its root directory, as what says. */
#define LANNER_OP_DIRECTORY 11

/* In no plan: what the pointers in the structure of a LANNER_OP_BYTES point to. */
#define LANNER_OP_POINTED 21

/* Always. */
#define LANNER_WHEN_ALWAYS 0

/* The call returned no error. */
#define LANNER_WHEN_SUCCESS 1

/* No error, or EINPROGRESS. */
#define LANNER_WHEN_CONNECTED 2

/* The error EINTR. */
#define LANNER_WHEN_INTERRUPTED 3

/* limit is the length. */
#define LANNER_LEN_CONST 0

/* The value of argument len_arg, in the width that len_unused leaves. */
#define LANNER_LEN_ARG 1

/* The return value. */
#define LANNER_LEN_RET 2

/* The 32-bit number argument len_arg points to. */
#define LANNER_LEN_U32_AT 3

/* len_arg counts elements; the return value limits the bytes. */
#define LANNER_LEN_ARG_AND_RET 4

/* 1. */
#define LANNER_LEN_ONE 5

/* The ioctl request in argument len_arg contains the length; the kernel writes the memory if the request
 * reads. */
#define LANNER_LEN_IOC 6

/* The return value, but no more than the value of argument len_arg. */
#define LANNER_LEN_RET_AND_ARG 7

/* The argument is always what is at its place. */
#define LANNER_UNLESS_NEVER 0

/* The request's flags have IOSQE_FIXED_FILE. */
#define LANNER_UNLESS_FIXED_FILE 1

/* file_index is not 0. */
#define LANNER_UNLESS_FILE_INDEX 2

/* One thing to fetch.
 *
 * An operation with LANNER_OP_VARIANT fetches nothing itself, and uses five fields in its own way: unit is the id of the
 * variant; len_arg is the register of the first selector, and limit the bits of it that count; add is the register of
 * the second selector, or LANNER_ARG_RET; entries is one more than the register of a length that the kernel replaces. */
struct lanner_op {
	/* One of LANNER_OP_*; 0: none. */
	__u8 code;
	/* The name of the attachment: a register's index, or a Fact. */
	__u8 what;
	/* The register it is about, or LANNER_ARG_RET. */
	__u8 arg;
	/* One of LANNER_WHEN_*. */
	__u8 when;
	/* One of LANNER_LEN_*. */
	__u8 len_from;
	/* The register that has the length. */
	__u8 len_arg;
	/* Bytes of one element, where the length counts elements; or LANNER_UNIT_BITS; or LANNER_UNIT_BITS_AND_ONE; or
	 * LANNER_UNIT_SHIFT + N. */
	__u16 unit;
	/* Bytes to capture at most. */
	__u32 limit;
	/* Bytes to add to the length. */
	__u16 add;
	/* Entries to look at, at most. In a LANNER_OP_BYTES, one more than the index of the structure whose pointers are
	 * followed (pointers), or 0. In a LANNER_OP_FD_PATH, 1: no register has the flags that the file was opened with. */
	__u8 entries;
	/* How many of the upper bits of the register with the length do not count, and LANNER_LEN_SIGNED. */
	__u8 len_unused;
};

/* What to fetch for one call. */
struct lanner_plan {
	/* Bits of LANNER_PLAN_*. */
	__u8 flags;
	/* How many elements of op are used. */
	__u8 ops;
	/* Index of the one operation that gathers (LANNER_OP_IOV, LANNER_OP_MSG, LANNER_OP_MMSG), or of the first
	 * argument vector (LANNER_OP_STRV), which the second one follows; LANNER_PLAN_OPS: none. */
	__u8 vector;
	/* Index of the one fact about a descriptor, or of the first about a directory; LANNER_PLAN_OPS: none. */
	__u8 fact;
	/* The index of what the arguments must fulfil (struct lanner_condition); 0: nothing. */
	__u16 predicate;
	/* Bits of LANNER_OUTCOME_*: no event is wanted of a call that ended so. */
	__u8 rejected;
	/* Index of the one operation whose structure can have pointers that are followed; LANNER_PLAN_OPS: none. */
	__u8 pointers;
	/* The operations, in the order of the attachments. */
	struct lanner_op op[LANNER_PLAN_OPS];
};

/* A pointer in a structure, and what it points to. */
struct lanner_pointer {
	/* The offset of the pointer. */
	__u16 at;
	/* The offset of the number of elements. */
	__u16 count_at;
	/* Bytes of the pointer; 0: there is none. */
	__u8 bytes;
	/* Bytes of the number of elements. */
	__u8 count_bytes;
	/* Bytes of one element. */
	__u16 unit;
	/* Bytes to capture at most. */
	__u32 limit;
};

/* The pointers of a structure that are followed. */
struct lanner_pointers {
	/* They, in the order of the fields. */
	struct lanner_pointer of[LANNER_POINTERS];
};

/* A test of one register. */
struct lanner_register_test {
	/* The bits that are compared, at the place of the register; 0 at all other places. */
	__u64 mask[6];
	/* What they are compared with. */
	__u64 value;
	/* 1: they must be equal; 0: they must not be. */
	__u64 equal;
};

/* Tests that must hold together. Tests that are not used hold. */
struct lanner_alternative {
	/* Bits of LANNER_OUTCOME_*: it holds for calls that ended so. 0: it is not used, and does not hold. */
	__u64 outcome;
	/* The tests. */
	struct lanner_register_test test[LANNER_TESTS];
};

/* What a call's registers must fulfil for its event to be wanted: one of these. */
struct lanner_condition {
	/* The alternatives. */
	struct lanner_alternative alternative[LANNER_CLAUSES];
};

/* The key of an operation in variants. */
struct lanner_variant_key {
	/* The variant's id, as in lanner_op.unit. */
	__u16 variant;
	/* 1: pointers have 32 bits. */
	__u16 narrow;
	/* The bits of the first selector that count. All ones in both selectors: for all values without a key. */
	__u32 first;
	/* The second selector; 0 if there is none. */
	__u32 second;
};

/* Where a request of an io_uring (struct io_uring_sqe) holds an argument. */
struct lanner_sqe_arg {
	/* The offset in the request. */
	__u8 offset;
	/* Its bytes; 0: there is no such argument. */
	__u8 size;
	/* One of LANNER_UNLESS_*: then all bits of the argument are set. */
	__u8 unless;
	/* 0. */
	__u8 unused;
};

/* Where the requests of one operation hold its arguments. */
struct lanner_sqe_args {
	/* In the order of the parameters. */
	struct lanner_sqe_arg arg[6];
};

/* For the interpreters in the kernel: a call that is made through another one. Its key is the number of the other call
 * in the highest byte, the version's presence in bit 16, and the value of the first register below. */
struct lanner_multiplexed {
	/* The number of the event. */
	__u32 nr;
	/* The index of its plan behind those of all ABIs. */
	__u32 plan;
	/* Where each register comes from: one of the call's own registers, from 6 on a word in memory; 255: it is 0. */
	__u8 sources[6];
	/* The register that points to the words. */
	__u8 base;
	/* How many words of 32 bits there are. */
	__u8 words;
};

#endif
