/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The capture plan: what to fetch for one system call, as the interpreters read it.
 * User space makes it from syscalls.tbl. Include <linux/types.h>, or an equivalent, first.
 *
 * Made from driver-api/src/plan.rs by `make header`.
 */
#ifndef LANNER_PLAN_H
#define LANNER_PLAN_H

/* clang-format off */

/* Operations a plan has room for. */
#define LANNER_PLAN_OPS 6

/* Numbers an ABI can have in an array of plans. */
#define LANNER_PLAN_NRS 1024

/* In lanner_op.arg: the return value. */
#define LANNER_ARG_RET 7

/* In lanner_op.unit: the length counts bits, and is rounded up to whole longs. */
#define LANNER_UNIT_BITS 0xffff

/* In lanner_op.unit, with N added: 2 to the power of N of what the length counts are one byte, and begun ones count. */
#define LANNER_UNIT_SHIFT 65280

/* Somebody wants this call. */
#define LANNER_PLAN_SELECTED 1

/* Capture at entry: the call does not return. */
#define LANNER_PLAN_NORETURN 2

/* Returns twice: the return of 0 is the child's. */
#define LANNER_PLAN_CHILD 4

/* A success is an exec event. */
#define LANNER_PLAN_EXEC 8

/* It needs much room, or an operation of which a call has one at the most. */
#define LANNER_PLAN_LARGE 16

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

/* Another operation, which the value of an argument chooses among variants. */
#define LANNER_OP_VARIANT 9

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

/* The value of argument len_arg. */
#define LANNER_LEN_ARG 1

/* The return value. */
#define LANNER_LEN_RET 2

/* The 32-bit number argument len_arg points to. */
#define LANNER_LEN_U32_AT 3

/* A count in len_arg, and no more bytes than the return value. */
#define LANNER_LEN_ARG_AND_RET 4

/* 1. */
#define LANNER_LEN_ONE 5

/* As the ioctl request in argument len_arg says; written by the kernel where the request reads. */
#define LANNER_LEN_IOC 6

/* One thing to fetch. */
struct lanner_op {
	/* One of LANNER_OP_*; 0: none. */
	__u8 code;
	/* What the attachment is called: a register's place, or a Fact. */
	__u8 what;
	/* The register it is about, or LANNER_ARG_RET. */
	__u8 arg;
	/* One of LANNER_WHEN_*. */
	__u8 when;
	/* One of LANNER_LEN_*. */
	__u8 len_from;
	/* The register that has the length, or the first selector of a variant. */
	__u8 len_arg;
	/* Bytes an element, where the length counts elements; LANNER_UNIT_BITS; LANNER_UNIT_SHIFT and more; the id of a variant. */
	__u16 unit;
	/* Bytes to capture at the most; of a variant, the bits of the first selector that count. */
	__u32 limit;
	/* Bytes to add to the length; of a variant, the register of the second selector or LANNER_ARG_RET. */
	__u16 add;
	/* Entries to look at, at the most. */
	__u16 entries;
};

/* What to fetch for one call. */
struct lanner_plan {
	/* Bits of LANNER_PLAN_*. */
	__u8 flags;
	/* How many of op count. */
	__u8 ops;
	/* Place of the one operation that gathers (LANNER_OP_IOV, LANNER_OP_MSG, LANNER_OP_MMSG), or of the first
	 * argument vector (LANNER_OP_STRV), which the second follows; LANNER_PLAN_OPS: none. */
	__u8 vector;
	/* Place of the one fact; LANNER_PLAN_OPS: none. */
	__u8 fact;
	/* The operations, in the order of the attachments. */
	struct lanner_op op[LANNER_PLAN_OPS];
};

/* What chooses among variants. */
struct lanner_variant_key {
	/* lanner_op.unit. */
	__u16 variant;
	/* 1: pointers have 32 bits. */
	__u16 narrow;
	/* The first selector's bits that count; all ones, with those of the second, for all other values. */
	__u32 first;
	/* The second selector; 0: there is none. */
	__u32 second;
};

#endif
