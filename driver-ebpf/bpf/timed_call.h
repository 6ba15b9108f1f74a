/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* When the call of a thread was entered, and how long its last one took. times.h fills and reads it. */
#ifndef LANNER_TIMED_CALL_H
#define LANNER_TIMED_CALL_H

/* How many threads have one. Of further threads, times are not known. src/layout.rs of both drivers knows the size. */
#define TIMED_THREADS 65536

struct timed_call {
	__u64 entered; /* when the call was entered; 0: it has returned, or its entry was not seen */
	__u64 took;    /* how long the last call took that has returned; TIME_UNKNOWN: it is not known */
	__u64 nr;      /* the number of the call that was entered, with the bit of x32 */
};

#endif
