/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How programs hand an event on. Each operation and each fact of an exec is a program of its own, which reaches the
 * next by tail call. To add a program: add an index to `enum tail`, or a code to plan.h; write the program, which ends
 * with next(); and add a line to TAILS in src/programs.rs.
 */
#ifndef LANNER_CHAIN_H
#define LANNER_CHAIN_H

/* Indices in `tails`, after the codes of the operations. src/programs.rs has the names. */
enum tail {
	TAIL_WALK = 12, /* further components of a path */
	TAIL_KEEP = 13, /* keeps the event that the entry of an exec began */
	TAIL_EXE = 14,	/* from here on: the facts of an exec, in this order */
	TAIL_CWD = 15,
	TAIL_IDS = 16,
	TAIL_STRINGS = 17,
	TAIL_END = 18,
	TAIL_MULTIPLEXED = 19, /* a call that was made through another one */
	TAIL_PREDICATE = 20,   /* a call whose arguments must fulfil a condition */
	TAIL_ROOM = 22,	       /* the entry of a call that replaces the size of a buffer */
	TAIL_TIMED = 23,       /* the time that the call took */
};

/*
 * A program has one type, and an array of programs holds one type. So each program is compiled once for each type that
 * a kernel may need: for raw tracepoints (since Linux 4.17); for perf-event tracepoints, on kernels without raw ones;
 * and, if it runs from the entry of a call on, for functions (kprobes). src/programs.rs loads those that are needed.
 * `chain` is the array of the program's type.
 */
#define RAW(name) SEC("raw_tracepoint/" #name) int raw_##name
#define TRACEPOINT(name) SEC("tracepoint/" #name) int tp_##name
#define FUNCTION(name) SEC("kprobe/" #name) int fn_##name

/* A program that is reached by tail call from programs at tracepoints. */
#define TAIL(name)                                                                                                     \
	static __always_inline void name(void *ctx, void *chain);                                                      \
	RAW(name)(void *ctx)                                                                                           \
	{                                                                                                              \
		name(ctx, &tails);                                                                                     \
		return 0;                                                                                              \
	}                                                                                                              \
	TRACEPOINT(name)(void *ctx)                                                                                    \
	{                                                                                                              \
		name(ctx, &tails);                                                                                     \
		return 0;                                                                                              \
	}                                                                                                              \
	static __always_inline void name(void *ctx, void *chain)

/* A program that is reached by tail call from programs at tracepoints and at functions. */
#define ENTRY_TAIL(name)                                                                                               \
	static __always_inline void name(void *ctx, void *chain);                                                      \
	FUNCTION(name)(void *ctx)                                                                                      \
	{                                                                                                              \
		name(ctx, &entry_tails);                                                                               \
		return 0;                                                                                              \
	}                                                                                                              \
	TAIL(name)

static __always_inline const struct offsets *get_offsets(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&offsets, &zero);
}

static __always_inline const struct settings *get_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

/* Whether the calls of the current thread are captured. `id`: bpf_get_current_pid_tgid(). */
static __always_inline int is_captured(const struct settings *set, __u64 id)
{
	__u32 tid = id;
	__u8 *state;

	if (id >> 32 == set->self_tgid)
		return 0;
	if (!set->tree)
		return 1;
	state = bpf_map_lookup_elem(&followed, &tid);
	return state && *state == FOLLOW_ACTIVE;
}

/* Runs the next operation or fact, or ends the event. It returns only if no tail call is left to make. */
static __always_inline void next(void *ctx, void *chain, struct slot *slot)
{
	__u32 stage = slot->stage, last = slot->then, key = slot->plan, code = 0;
	struct lanner_plan *plan;

	if (stage) {
		slot->stage = stage + 1;
		if (stage < TAIL_END) {
			bpf_tail_call(ctx, chain, stage);
			event_of(slot)->flags |= LANNER_FLAG_INCOMPLETE;
		}
		deliver(ctx, slot);
		return;
	}
	plan = bpf_map_lookup_elem(&plans, &key);
	if (!plan)
		goto end;
#pragma unroll
	for (__u32 i = 0; i < LANNER_PLAN_OPS; i++) {
		if (i < slot->at || i >= plan->ops || code)
			continue;
		if (due(event_of(slot)->ret, plan->op[i].when)) {
			slot->op = plan->op[i];
			slot->at = i + 1;
			slot->run = 0;
			code = slot->op.code;
		}
	}
	if (code) {
		bpf_tail_call(ctx, chain, code);
		event_of(slot)->flags |= LANNER_FLAG_INCOMPLETE;
	}
end:
	if (last)
		bpf_tail_call(ctx, chain, last);
	if (last) /* the tail call failed: the event cannot be kept */
		release_slot(slot);
	else
		deliver(ctx, slot);
}

#endif
