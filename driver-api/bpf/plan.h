/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The capture plan: what to fetch for one system call, as the interpreters read it. Made from
 * syscalls.tbl by src/plan.rs, which says the same in Rust; a test compares sizes and offsets.
 */
#ifndef LANNER_PLAN_H
#define LANNER_PLAN_H

#define LANNER_PLAN_OPS 6
/* Plans stand in an array: ABI_INDEX * LANNER_PLAN_NRS + number. */
#define LANNER_PLAN_NRS 1024

enum lanner_plan_flag {
	LANNER_PLAN_SELECTED = 1, /* somebody wants this call */
	LANNER_PLAN_NORETURN = 2, /* capture at entry */
	LANNER_PLAN_CHILD = 4,	  /* returns twice: the return of 0 is the child's */
	LANNER_PLAN_EXEC = 8,	  /* a success is an exec event */
};

enum lanner_op_code {
	LANNER_OP_NONE = 0,
	LANNER_OP_STR = 1, /* a NUL-terminated string */
	LANNER_OP_BYTES = 2,
	LANNER_OP_STRV = 3,	/* an array of pointers to strings, ended by NULL */
	LANNER_OP_IOV = 4,	/* gathered bytes of an array of struct iovec */
	LANNER_OP_MSG = 5,	/* a struct msghdr: name, data, control */
	LANNER_OP_FD_PATH = 6,	/* fact: resolved path of a descriptor */
	LANNER_OP_FD_TUPLE = 7, /* fact: both ends of a socket */
};

enum lanner_op_when {
	LANNER_WHEN_ALWAYS = 0,
	LANNER_WHEN_SUCCESS = 1,   /* the call returned no error */
	LANNER_WHEN_CONNECTED = 2, /* no error, or EINPROGRESS */
};

enum lanner_len_from {
	LANNER_LEN_CONST = 0,	    /* limit is the length */
	LANNER_LEN_ARG = 1,	    /* the value of argument len_arg */
	LANNER_LEN_RET = 2,	    /* the return value */
	LANNER_LEN_U32_AT = 3,	    /* the 32-bit number argument len_arg points to */
	LANNER_LEN_ARG_AND_RET = 4, /* a count in len_arg, and no more bytes than the return value */
};

#define LANNER_ARG_RET 7

struct lanner_op {
	__u8 code;
	__u8 what; /* of the attachment */
	__u8 arg;  /* the argument it is about; LANNER_ARG_RET: the return value */
	__u8 when;
	__u8 len_from;
	__u8 len_arg;
	__u16 unit;  /* bytes an element, for counted arrays */
	__u32 limit; /* bytes to capture at the most */
};

struct lanner_plan {
	__u8 flags;
	__u8 ops;
	__u8 vector; /* place of the one operation that gathers (IOV, MSG); LANNER_PLAN_OPS: none */
	__u8 fact;   /* place of the one fact; LANNER_PLAN_OPS: none */
	struct lanner_op op[LANNER_PLAN_OPS];
};

#endif
