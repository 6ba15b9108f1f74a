/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How programs hand an event on: each operation and each fact of an exec is a program of its own, which
 * calls the next by tail call. To add one: a place in `enum tail` or its code in plan.h, a program that
 * ends with next(), and a line in TAILS of load.rs.
 */
#ifndef LANNER_CHAIN_H
#define LANNER_CHAIN_H

/* Places in `tails`: the operations by their code, then what else is a program; load.rs names them. */
enum tail {
	TAIL_WALK = 10, /* components of a path after the first */
	TAIL_KEEP = 11, /* keeps the begun event of an exec */
	TAIL_EXE = 12,	/* the facts of an exec, in their order */
	TAIL_CWD = 13,
	TAIL_IDS = 14,
	TAIL_STRINGS = 15,
	TAIL_END = 16,
};

/*
 * A program has one type, and an array of programs takes one type alone, so each is made once for each type that a
 * kernel may want: raw tracepoints (since 4.17); perf-event tracepoints, where there are none; and, for
 * what runs from the entry of a call on, functions (kprobes). load.rs loads those that it needs. `chain` is the array
 * of its kind.
 */
#define RAW(name) SEC("raw_tracepoint/" #name) int raw_##name
#define TRACEPOINT(name) SEC("tracepoint/" #name) int tp_##name
#define FUNCTION(name) SEC("kprobe/" #name) int fn_##name

/* A program that is reached by tail call alone: RAW and TRACEPOINT. */
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

/* One that may be reached from a function as well. */
#define ENTRY_TAIL(name)                                                                                               \
	static __always_inline void name(void *ctx, void *chain);                                                      \
	FUNCTION(name)(void *ctx)                                                                                      \
	{                                                                                                              \
		name(ctx, &entry_tails);                                                                               \
		return 0;                                                                                              \
	}                                                                                                              \
	TAIL(name)

static __always_inline const struct offsets *the_offsets(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&offsets, &zero);
}

static __always_inline const struct settings *the_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

/* Whether the current thread is one whose calls are wanted. */
static __always_inline int wanted(const struct settings *set, __u64 id)
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

/* Goes on with the next operation, the next fact, or the end. Returns only where nothing is left. */
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
	if (last) /* what was to be kept cannot be */
		release_slot(slot);
	else
		deliver(ctx, slot);
}

#endif
