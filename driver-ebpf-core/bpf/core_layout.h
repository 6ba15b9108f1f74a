/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the core driver's programs share with user space.
 *
 * Made from driver-ebpf-core/src/layout.rs by `make header`.
 */
#ifndef LANNER_CORE_LAYOUT_H
#define LANNER_CORE_LAYOUT_H

/* clang-format off */

/* The bits of state that count the records being written. */
#define WRITING_BITS 8

/* The largest count of records being written. */
#define WRITING_MASK 255

/* In wake_at: never. */
#define WAKE_NEVER 0xffffffffffffffffull

/* Places in the map tails of the programs that only a tail call reaches. */
enum tail {
	/* Delivers an exec that failed. */
	TAIL_EXEC = 0,
	/* Takes one message of an array. */
	TAIL_MESSAGES = 1,
	/* Delivers a call with facts about directories. */
	TAIL_DIRECTORIES = 2,
};

/* Settings, fixed before the programs are loaded. */
struct settings {
	/* lanner's own process id: its calls are never captured. */
	__u32 self_tgid;
	/* The number of execve, for an exec whose entry was not seen. */
	__u32 execve_nr;
	/* 1: capture only the threads in the map followed. */
	__u32 tree;
	/* Chunks of a CPU's ring, a power of two. */
	__u32 chunks;
	/* Bytes of a chunk, as a power of two. */
	__u32 chunk_shift;
	/* 1: entries are seen as late as the scheduler's tracepoints. */
	__u32 late;
	/* 1: events say how long their calls took. */
	__u32 times;
};

/* The state of one CPU's ring. Its halves are a cache line each: the programs write one, user space the other.
 * Positions count bytes since the beginning, and never wrap. */
struct lanner_ring {
	/* The end of what is reserved, shifted by WRITING_BITS, and the number of records that are being written. */
	__u64 state;
	/* A position before which every record is finished, for as long as records are being written. */
	__u64 published;
	/* Fills the cache line. */
	__u64 unused[6];
	/* Every record before this position has been read. */
	__u64 consumed;
	/* Wake the reader when the end is behind this position. */
	__u64 wake_at;
	/* Fills the cache line. */
	__u64 unused_too[6];
};

/* What follows a record that could not be shortened. It begins as an event does, with its length in bytes, but its
 * version is 0. */
struct lanner_gap {
	/* Bytes of the gap, with this header. */
	__u32 len;
	/* 0. */
	__u32 version;
};

#endif
