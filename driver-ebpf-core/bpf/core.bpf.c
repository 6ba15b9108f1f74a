/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs of the core driver. One run at the end of each selected call reads the arguments back from the saved
 * registers, and writes the event straight into the CPU's ring (ring.h). Only calls that do not return, and exec, whose
 * arguments are gone afterwards, are seen at their entry (entry.h).
 */
#include "bpf.h"
#include "event.h"
#include "plan.h"
#include "arch.h"
#include "seen_rooms.h"
#include "timed_call.h"

/* Programs are attached by the kernel's types or, where it has none (NO_TYPES), by name. */
#ifdef NO_TYPES
#define TRACEPOINT(name) SEC("raw_tp/" #name)
#else
#define TRACEPOINT(name) SEC("tp_btf/" #name)
#endif

#define READ_USER(dst, size, src) bpf_probe_read_user(dst, size, src)
#define READ_USER_STR(dst, size, src) bpf_probe_read_user_str(dst, size, src)

/* The operations that a variant chooses among. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct lanner_variant_key);
	__type(value, struct lanner_op);
} variants SEC(".maps");

/* The pointers in structures that are followed: two for each structure, the second one for 32-bit pointers. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * LANNER_POINTING);
	__type(key, __u32);
	__type(value, struct lanner_pointers);
} pointers SEC(".maps");

/* The calls that are made through others (multiplexed.h has the keys). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * LANNER_MULTIPLEXED);
	__type(key, __u32);
	__type(value, struct lanner_multiplexed);
} multiplexed SEC(".maps");

/* How much room programs have in the calls that they are in, by thread id. Beyond its size, it is not known. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, __u32);
	__type(value, struct seen_rooms);
} rooms SEC(".maps");

/* By thread id; one entry where the times of calls are not asked for. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TIMED_THREADS);
	__type(key, __u32);
	__type(value, struct timed_call);
} timed SEC(".maps");

/* The chunk (struct out) of programs that capture argument vectors. */
#define VECTOR_CHUNK 8448
#ifndef SINGLE_RUN
#define STRINGS_LOOP
#endif

#include "parts.h"
#include "steps.h"
#include "ops.h"
#include "multiplexed.h"
#include "predicate.h"
#include "kernel.h"
#include "times.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#include "core_layout.h"
#include "maps.h"
#include "ring.h"
#include "current.h"
#include "facts.h"
#include "regs.h"
#include "calls.h"
#include "exec.h"
#include "entry.h"

/* A call returned. */
TRACEPOINT(sys_exit) int sys_exit(__u64 *ctx)
{
	const struct pt_regs *regs = (void *)ctx[0];
	__u64 nr = NR_OF(PLAIN, regs);
	struct args args;
	const struct lanner_multiplexed *call = NULL;
	__u64 low = index_of(nr);
	struct lanner_plan *plan;
	struct task_struct *task;
	__u16 flags = 0, open = 0;
	__s64 ret = ctx[1];
	__u8 abi, large;

	if (!gate[low])
		return 0;
	task = current_task();
	abi = ABI_OF(PLAIN, regs, task, nr);
	if (!(gate[low] & (abi == ABI_COMPAT ? 2 : 1)) || IS_NEW_PROGRAM(regs, abi, nr, ret) ||
	    is_return_of_handler(nr, ret))
		return 0;
	plan = plan_of(abi, nr);
	if (!plan || !wanted(KNOWN(task, tgid), KNOWN(task, pid)))
		return 0;
	if (settings.times)
		time_return(KNOWN(task, pid), nr, selected_at, bpf_ktime_get_ns());
	if (abi == ABI_COMPAT)
		ret = narrow_result(ret);
	if (ret == 0 && plan->flags & LANNER_PLAN_CHILD)
		return 0;
	if (unlikely(restarts(ret))) {
		if (ret == -ERESTARTNOINTR)
			return 0;
		open = open_flags(ret);
		ret = -EINTR;
	}
	if (rejects_result(plan->rejected, ret))
		return 0;
	READ_ARGS(PLAIN, regs, abi, args.arg);
	if (unlikely(plan->predicate) && !fulfils_plan(plan, &args, ret))
		return 0;
	large = plan->flags & LANNER_PLAN_LARGE;
	if (unlikely(plan->flags & LANNER_PLAN_MULTIPLEXER)) {
		call = meant(nr, args.arg[0]);
		if (call) {
			struct lanner_plan *its = plan_at(plan_of_meant(call));

			if (!its || !(its->flags & LANNER_PLAN_SELECTED))
				return 0;
			large = its->flags & LANNER_PLAN_LARGE;
		}
	}
	if (plan->flags & LANNER_PLAN_EXEC) {
		__u32 tid = KNOWN(task, pid);

		bpf_map_delete_elem(&execs, &tid);
		if (ret == 0 || !(plan->flags & LANNER_PLAN_SELECTED))
			return 0; /* process_exec() has delivered a success */
		bpf_tail_call(ctx, &tails, TAIL_EXEC);
		flags = LANNER_FLAG_INCOMPLETE; /* the kernel has refused the program */
	} else if (large) {
		bpf_tail_call(ctx, &tails, TAIL_MESSAGES);
		flags = LANNER_FLAG_INCOMPLETE;
	} else if (unlikely(plan->flags & LANNER_PLAN_DIRECTORIES)) {
		bpf_tail_call(ctx, &tails, TAIL_DIRECTORIES);
		flags = LANNER_FLAG_INCOMPLETE;
	}
	emit_call(CALL(abi, flags | open, nr, ret), args.arg, plan, task, call, flags || !(plan->ops || call),
		  GATHERED | FACTS | VARIANTS, 1);
	if (unlikely(plan->flags & LANNER_PLAN_ROOM))
		forget_rooms();
	return 0;
}

/* An exec that failed. */
TRACEPOINT(sys_exit) int sys_exit_exec(__u64 *ctx)
{
	const struct pt_regs *regs = (void *)ctx[0];
	struct task_struct *task = current_task();
	__u64 nr = NR_OF(PLAIN, regs), args[6];
	__u8 abi = ABI_OF(PLAIN, regs, task, nr);
	struct lanner_plan *plan = plan_of(abi, nr);

	if (!plan)
		return 0;
	READ_ARGS(PLAIN, regs, abi, args);
	emit_call(CALL(abi, 0, nr, ctx[1]), args, plan, task, NULL, 0, VECTORS, 0);
	return 0;
}

/* A call with facts about directories of its thread. */
TRACEPOINT(sys_exit) int sys_exit_directories(__u64 *ctx)
{
	const struct pt_regs *regs = (void *)ctx[0];
	struct task_struct *task = current_task();
	__u64 nr = NR_OF(PLAIN, regs), args[6];
	__u8 abi = ABI_OF(PLAIN, regs, task, nr);
	struct lanner_plan *plan = plan_of(abi, nr);
	__s64 ret = ctx[1];
	__u16 open = 0;

	if (!plan)
		return 0;
	if (abi == ABI_COMPAT)
		ret = narrow_result(ret);
	if (restarts(ret)) {
		open = open_flags(ret);
		ret = -EINTR;
	}
	READ_ARGS(PLAIN, regs, abi, args);
	emit_call(CALL(abi, open, nr, ret), args, plan, task, NULL, 0, DIRECTORIES, 0);
	return 0;
}

/* A call with an array of messages: each run captures one, and the last run delivers the event. */
TRACEPOINT(sys_exit) int sys_exit_messages(__u64 *ctx)
{
	struct out o = {.last = EXEC_LAST, .chunk = EXEC_CHUNK};
	const struct pt_regs *regs = (void *)ctx[0];
	struct task_struct *task = current_task();
	__u64 nr = NR_OF(PLAIN, regs), vector, next, args[6];
	__u8 abi = ABI_OF(PLAIN, regs, task, nr);
	struct lanner_plan *plan = plan_of(abi, nr);
	__u32 tid = KNOWN(task, pid);
	struct exec_call *call = bpf_map_lookup_elem(&execs, &tid);

	if (!plan)
		return 0;
	if (!call) {
		READ_ARGS(PLAIN, regs, abi, args);
		call = begin_kept(tid, args, nr, abi);
		if (!call)
			return 0;
		o.event = &call->event;
		call->plan = index_of_plan(abi, nr);
		if (plan->flags & LANNER_PLAN_MULTIPLEXER) {
			const struct lanner_multiplexed *is = meant(nr, args[0]);

			if (is && become_meant(&o, is))
				call->plan = plan_of_meant(is);
		}
		plan = plan_at(call->plan);
		if (!plan)
			return 0;
		o.event->ret = ctx[1];
		if (restarts(o.event->ret)) {
			o.event->flags = open_flags(o.event->ret);
			o.event->ret = -EINTR;
		}
		run_plan(&o, plan, 0);
	}
	o.event = &call->event;
	plan = plan_at(call->plan);
	if (!plan)
		return 0;
	vector = plan->vector;
	OPAQUE(vector);
	next = call->next;
	if (vector < LANNER_PLAN_OPS && due(o.event->ret, plan->op[vector].when) &&
	    mmsg_due(&o, &plan->op[vector], next)) {
		call->next = next + 1;
		op_mmsg_one(&o, &plan->op[vector], next);
		bpf_tail_call(ctx, &tails, TAIL_MESSAGES);
		call->event.flags |= LANNER_FLAG_INCOMPLETE;
	}
	deliver_kept(call, task, o.event->ret);
	bpf_map_delete_elem(&execs, &tid);
	forget_rooms();
	return 0;
}

/* The entry of calls, where there is no cheaper way (entry.h): every call of the host pays for it. */
TRACEPOINT(sys_enter) int sys_enter(__u64 *ctx)
{
	const struct pt_regs *regs = (void *)ctx[0];
	struct task_struct *task = current_task();
	__u64 nr = ctx[1], args[6];
	__u8 abi = ABI_OF(PLAIN, regs, task, nr);
	struct lanner_plan *plan = plan_of(abi, nr);

	if (!plan || !(plan->flags & (LANNER_PLAN_NORETURN | LANNER_PLAN_EXEC | LANNER_PLAN_ROOM)))
		return 0;
	READ_ARGS(PLAIN, regs, abi, args);
	if (plan->flags & LANNER_PLAN_EXEC)
		exec_entered(args, nr, abi, task, plan);
	else if (plan->flags & LANNER_PLAN_ROOM)
		room_entered(args, nr, abi, task, plan);
	else
		end_entered(args, nr, abi, task, plan);
	return 0;
}

/* The entry of calls, where somebody asks how long they take; else src/object.rs leaves it out. */
TRACEPOINT(sys_enter) int call_entered(__u64 *ctx)
{
	const struct pt_regs *regs = (void *)ctx[0];
	__u64 nr = NR_OF(PLAIN, regs);
	struct task_struct *task;

	if (!gate[index_of(nr)])
		return 0;
	task = current_task();
	if (wanted(KNOWN(task, tgid), KNOWN(task, pid)))
		time_entry(KNOWN(task, pid), nr);
	return 0;
}

#include "tasks.h"
#include "io_uring.h"
