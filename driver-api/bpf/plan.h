/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The capture plan: what to fetch for one system call. src/plan makes it from syscalls.tbl and declares
 * the same types in Rust; a test compares sizes and offsets.
 */
#ifndef LANNER_PLAN_H
#define LANNER_PLAN_H

#define LANNER_PLAN_OPS 6
/* The index of a plan in the array is ABI_INDEX * LANNER_PLAN_NRS + number. */
#define LANNER_PLAN_NRS 1024

enum lanner_plan_flag {
	LANNER_PLAN_SELECTED = 1, /* the user, a rule or the state wants this call */
	LANNER_PLAN_NORETURN = 2, /* capture at entry */
	LANNER_PLAN_CHILD = 4,	  /* the call returns twice; it returns 0 in the child */
	LANNER_PLAN_EXEC = 8,	  /* a successful call is an exec event */
	LANNER_PLAN_LARGE = 16,	  /* needs much room: has an operation of which a call has at most one */
};

enum lanner_op_code {
	LANNER_OP_NONE = 0,
	LANNER_OP_STR = 1, /* a NUL-terminated string */
	LANNER_OP_BYTES = 2,
	LANNER_OP_STRV = 3,	/* an array of pointers to strings, ended by NULL */
	LANNER_OP_IOV = 4,	/* gathered bytes of an array of struct iovec, or of pointers to `unit` bytes each */
	LANNER_OP_MSG = 5,	/* a struct msghdr: name, data, control */
	LANNER_OP_FD_PATH = 6,	/* fact: resolved path of a descriptor */
	LANNER_OP_FD_TUPLE = 7, /* fact: both ends of a socket */
	LANNER_OP_MMSG = 8,	/* an array of struct mmsghdr */
	LANNER_OP_VARIANT = 9,	/* another operation: the value of an argument chooses it */
};

enum lanner_op_when {
	LANNER_WHEN_ALWAYS = 0,
	LANNER_WHEN_SUCCESS = 1,     /* the call returned no error */
	LANNER_WHEN_CONNECTED = 2,   /* no error, or EINPROGRESS */
	LANNER_WHEN_INTERRUPTED = 3, /* the error EINTR */
};

enum lanner_len_from {
	LANNER_LEN_CONST = 0,	    /* limit is the length */
	LANNER_LEN_ARG = 1,	    /* the value of argument len_arg */
	LANNER_LEN_RET = 2,	    /* the return value */
	LANNER_LEN_U32_AT = 3,	    /* the 32-bit number argument len_arg points to */
	LANNER_LEN_ARG_AND_RET = 4, /* len_arg counts elements; the return value limits the bytes */
	LANNER_LEN_ONE = 5,	    /* 1 */
	LANNER_LEN_IOC = 6,	    /* the ioctl request in argument len_arg contains it */
};

#define LANNER_ARG_RET 7

/* The length counts bits, and is rounded up to whole longs. */
#define LANNER_UNIT_BITS 0xffff
/* With N added: the byte count is the length divided by 2^N, rounded up. */
#define LANNER_UNIT_SHIFT 0xff00

struct lanner_op {
	__u8 code;
	__u8 what; /* the name of the attachment */
	__u8 arg;  /* the argument it is about; LANNER_ARG_RET: the return value */
	__u8 when;
	__u8 len_from;
	__u8 len_arg;  /* the argument that has the length, or a variant's first selector */
	__u16 unit;    /* bytes of one element, for counted arrays; LANNER_UNIT_*; a variant's id */
	__u32 limit;   /* bytes to capture at most; of a variant, the selector's bits that count */
	__u16 add;     /* bytes to add to the length; a variant's second selector or LANNER_ARG_RET */
	__u16 entries; /* entries to look at, at most */
};

/* The key of a variant's operation. All ones in both selectors: for values without a key. */
struct lanner_variant_key {
	__u16 variant;
	__u16 narrow; /* 1: pointers have 32 bits */
	__u32 first;
	__u32 second;
};

struct lanner_plan {
	__u8 flags;
	__u8 ops;
	/* index of the one operation that gathers (IOV, MSG, MMSG), or of the first STRV; LANNER_PLAN_OPS: none */
	__u8 vector;
	__u8 fact; /* index of the one fact; LANNER_PLAN_OPS: none */
	struct lanner_op op[LANNER_PLAN_OPS];
};

#endif
