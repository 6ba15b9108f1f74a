/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How a call ended: its return value, and what a signal makes of it. */
#ifndef LANNER_RESULT_H
#define LANNER_RESULT_H

#include "ebpf_layout.h"

/*
 * The return value as a 32-bit program sees it: some calls return an error as 32 bits without extending its sign. The
 * kernel's syscall_get_error() does the same.
 */
static __always_inline __s64 narrow_result(__s64 ret) { return (__u32)ret >= (__u32)-4095 ? (__s32)ret : ret; }

/*
 * Whether the kernel asks for the call to be made again (include/linux/errno.h), with a code that the program never
 * sees. If a signal handler runs now, the program sees EINTR, except for ERESTARTNOINTR, and for ERESTARTSYS only if
 * the handler was installed without SA_RESTART. So the event says EINTR and is marked as open. An event of kind SIGNAL
 * follows when a handler is about to run (src/interrupted.rs).
 */
static __always_inline int restarts(__s64 ret) { return ret <= -512 && ret >= -516 && ret != -515; }

#define ERESTARTSYS 512
#define ERESTARTNOINTR 513

/*
 * Whether it is no call that returns, but a signal handler: the registers of the code that the signal interrupted are
 * back, with no number in them. A program that makes the call -1 gets ENOSYS.
 */
static __always_inline int is_return_of_handler(__u64 nr, __s64 ret)
{
	return (__u32)nr == 0xffffffff && (__s32)ret != -ENOSYS;
}

/* How an open call with this return value is marked. */
static __always_inline __u16 open_flags(__s64 ret)
{
	return ret == -ERESTARTSYS ? FLAG_OPEN | FLAG_OPEN_RESTARTS : FLAG_OPEN;
}

/* Whether sa_handler of a struct sigaction is a function, not SIG_DFL or SIG_IGN. */
#define HAS_HANDLER(handler) ((handler) > 1)
#define SA_RESTART 0x10000000

/* How the event of a handler that is about to run is marked. */
static __always_inline __u16 handler_flags(__u64 sa_flags)
{
	return sa_flags & SA_RESTART ? FLAG_OPEN | FLAG_OPEN_RESTARTS : FLAG_OPEN;
}

/* Whether an operation with this LANNER_WHEN_* is carried out after a call that returned `ret`. */
static __always_inline int due(__s64 ret, __u8 when)
{
	if (when == LANNER_WHEN_ALWAYS)
		return 1;
	if (when == LANNER_WHEN_INTERRUPTED)
		return ret == -EINTR;
	return ret >= 0 || (when == LANNER_WHEN_CONNECTED && ret == -EINPROGRESS);
}

#endif
