/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs of both eBPF drivers share with user space.
 *
 * Made from driver-ebpf/src/layout.rs by `make header`.
 */
#ifndef LANNER_EBPF_LAYOUT_H
#define LANNER_EBPF_LAYOUT_H

/* clang-format off */

/* A bit of an event's flags, which does not leave the driver. Of a call: a signal handler decides how it ends. Of a
 * signal: a handler is about to run. */
#define FLAG_OPEN 32768

/* A bit of an open event's flags. Of a call: it returned ERESTARTSYS. Of a signal: the handler has SA_RESTART. */
#define FLAG_OPEN_RESTARTS 16384

/* What a followed thread waits for: a value of the map followed, whose keys are thread ids. */
enum follow {
	/* Its calls are captured from its next exec on. */
	FOLLOW_ARMED = 1,
	/* Its calls are captured. */
	FOLLOW_ACTIVE = 2,
};

#endif
