/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps of the core driver. */
#ifndef LANNER_MAPS_H
#define LANNER_MAPS_H

const volatile struct settings settings SEC(".rodata.settings");

/* By call number, which returns are captured: bit 0: of 64-bit calls, bit 1: of 32-bit calls. */
volatile __u8 gate[LANNER_PLAN_NRS] SEC(".data.gate");

/* When the calls were selected, if times of calls are asked for. */
volatile __u64 selected_at SEC(".data.selected");

/*
 * Capture plans by call number; those of 32-bit calls follow those of 64-bit calls, then those of calls that are made
 * through others, and last those of the operations of io_uring by code.
 */
#define OPERATION_PLANS (2 * LANNER_PLAN_NRS + LANNER_MULTIPLEXED)
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, OPERATION_PLANS + LANNER_PLAN_OPERATIONS);
	__type(key, __u32);
	__type(value, struct lanner_plan);
} plans SEC(".maps");

/* What the arguments of calls must fulfil, by the index in their plans. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LANNER_PREDICATES);
	__type(key, __u32);
	__type(value, struct lanner_condition);
} conditions SEC(".maps");

/* By thread id, an enum follow. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u8);
} followed SEC(".maps");

/* Lost events, by enum lanner_loss; and how many of all are births, execs and ends. */
#define LOST_LIVES LANNER_LOSS_CAUSES
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LANNER_LOSS_CAUSES + 1);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

/*
 * An unfinished event: the arguments of an exec, from its entry until it has succeeded or failed; or an array of
 * messages; each run captures one of them.
 */
struct exec_call {
	__u32 next; /* index of the message to capture next */
	__u32 plan; /* index of the plan of a call with messages */
	struct lanner_event event;
	__u8 rest[EXEC_ROOM - sizeof(struct lanner_event)];
};

/* By thread id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct exec_call);
} execs SEC(".maps");

/* Never written: new entries of `execs` are copied from it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_call);
} blank SEC(".maps");

/* Programs that only a tail call reaches, by enum tail. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, 4);
	__uint(value_size, 4);
} tails SEC(".maps");

/* Counts a lost event. */
static __always_inline void lose(__u32 cause)
{
	__u64 *count = bpf_map_lookup_elem(&losses, &cause);

	if (count)
		*count += 1;
}

#endif
