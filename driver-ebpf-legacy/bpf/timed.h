/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs for the time that calls take, for raw tracepoints alone. They are loaded if somebody asks
 * (src/loaded.rs). call_returned() is attached before sys_exit(), which runs after it then.
 */
#ifndef LANNER_TIMED_H
#define LANNER_TIMED_H

/* Whether the call with this number is captured, in one ABI at least, and made by a thread that is. */
static __always_inline int is_timed(const struct settings *set, __u64 nr, __u64 id)
{
	__u32 key = index_of(nr);
	__u8 *flags = bpf_map_lookup_elem(&interest, &key);

	return flags && *flags & (LANNER_PLAN_SELECTED | LANNER_PLAN_EXEC) && is_captured(set, id);
}

RAW(call_entered)(__u64 *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), nr = ctx[1];
	const struct settings *set = get_settings();

	if (set && is_timed(set, nr, id))
		time_entry(id, nr);
	return 0;
}

RAW(call_returned)(__u64 *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
	const struct settings *set = get_settings();
	struct regs regs;

	if (set && read_regs(&regs, ctx[0]) && is_timed(set, NR_OF(&regs), id))
		time_return(id, NR_OF(&regs), set->times_since, now);
	return 0;
}

/* Adds the time that the call took to its event, and goes on as the program that began the event would have. */
RAW(op_timed)(void *ctx)
{
	struct slot *slot = my_slot();
	struct lanner_plan *plan;
	__u32 key;

	if (!slot)
		return 0;
	struct out o = OUT(slot);

	say_took(&o, bpf_get_current_pid_tgid());
	key = slot->plan;
	plan = bpf_map_lookup_elem(&plans, &key);
	if (plan && plan->flags & LANNER_PLAN_MULTIPLEXER)
		bpf_tail_call(ctx, &tails, TAIL_MULTIPLEXED);
	if (plan && plan->predicate)
		bpf_tail_call(ctx, &tails, TAIL_PREDICATE);
	next(ctx, &tails, slot);
	return 0;
}

#endif
