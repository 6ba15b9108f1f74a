/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The entry of exec, whose arguments are gone afterwards, of calls that do not return, and of calls that replace the
 * size of a buffer. Programs at the functions of these calls cost all other calls nothing. Where those are refused,
 * src/entry.rs chooses another way.
 */
#ifndef LANNER_ENTRY_H
#define LANNER_ENTRY_H

/* An exec was entered. */
static __always_inline void exec_entered(const __u64 *args, __u64 nr, __u8 abi, struct task_struct *task,
					 const struct lanner_plan *plan)
{
	__u32 tid = KNOWN(task, pid);

	if (settings.tree) {
		__u8 *state = bpf_map_lookup_elem(&followed, &tid);

		if (state && *state == FOLLOW_ARMED)
			*state = FOLLOW_ACTIVE;
	}
	if (wanted(KNOWN(task, tgid), tid))
		enter_exec(args, nr, abi, tid, plan);
}

/* A call that does not return was entered. */
static __always_inline void end_entered(const __u64 *args, __u64 nr, __u8 abi, struct task_struct *task,
					const struct lanner_plan *plan)
{
	if (plan->flags & LANNER_PLAN_SELECTED && wanted(KNOWN(task, tgid), KNOWN(task, pid)))
		emit_call(CALL(abi, LANNER_FLAG_NORETURN, nr, 0), args, plan, task, NULL, 1, 0, 0);
}

/* A call was entered that replaces the size of a buffer. */
static __always_inline void room_entered(const __u64 *args, __u64 nr, __u8 abi, struct task_struct *task,
					 const struct lanner_plan *plan)
{
	struct entered call = {.args = args};

	if (!(plan->flags & LANNER_PLAN_SELECTED) || !wanted(KNOWN(task, tgid), KNOWN(task, pid)))
		return;
	if (plan->flags & LANNER_PLAN_MULTIPLEXER) {
		call.through = meant(nr, args[0]);
		plan = call.through ? plan_at(plan_of_meant(call.through)) : NULL;
		if (!plan || !(plan->flags & LANNER_PLAN_SELECTED))
			return;
	}
	if (plan->flags & LANNER_PLAN_ROOM)
		keep_rooms(&call, plan, 8 - 4 * is_narrow(abi, nr));
}

/*
 * Looks at the registers of the call that the current task is in, if the call has one of these flags in its plan. Late,
 * a task that was killed in a call has another exit code than the call would have given it.
 */
static __always_inline int registers_entered(struct pt_regs *regs, struct task_struct *task, __u8 flags)
{
	__u64 nr = NR_OF(FOLLOW, regs), args[6];
	__u8 abi = ABI_OF(FOLLOW, regs, task, nr);
	struct lanner_plan *plan = plan_of(abi, nr);

	if (!plan || !(plan->flags & flags))
		return 0;
	READ_ARGS(FOLLOW, regs, abi, args);
	if (flags == LANNER_PLAN_EXEC)
		exec_entered(args, nr, abi, task, plan);
	else if (flags == LANNER_PLAN_ROOM)
		room_entered(args, nr, abi, task, plan);
	else if (!settings.late || KNOWN(task, exit_code) == (args[0] & 0xff) << 8)
		end_entered(args, nr, abi, task, plan);
	return 0;
}

#ifndef NO_TYPES
/*
 * A program has one function, which src/entry.rs chooses. These programs come first in the object, because not every
 * kernel takes them: the sooner the load fails, the better.
 */
#define ON_FUNCTION(name, flags)                                                                                       \
	SEC("fentry") int name(__u64 *ctx) { return registers_entered((void *)ctx[0], current_task(), flags); }

ON_FUNCTION(exec_entered_0, LANNER_PLAN_EXEC)
ON_FUNCTION(exec_entered_1, LANNER_PLAN_EXEC)
ON_FUNCTION(exec_entered_2, LANNER_PLAN_EXEC)
ON_FUNCTION(exec_entered_3, LANNER_PLAN_EXEC)
ON_FUNCTION(exec_entered_4, LANNER_PLAN_EXEC)
ON_FUNCTION(exec_entered_5, LANNER_PLAN_EXEC)
ON_FUNCTION(end_entered_0, LANNER_PLAN_NORETURN)
ON_FUNCTION(end_entered_1, LANNER_PLAN_NORETURN)
ON_FUNCTION(end_entered_2, LANNER_PLAN_NORETURN)
ON_FUNCTION(end_entered_3, LANNER_PLAN_NORETURN)
ON_FUNCTION(end_entered_4, LANNER_PLAN_NORETURN)
ON_FUNCTION(end_entered_5, LANNER_PLAN_NORETURN)

/*
 * Where programs cannot be attached to functions: an exec that will succeed, before the kernel releases the old
 * program's memory (begin_new_exec() in fs/exec.c, since 6.10). process_exit() sees the calls that do not return.
 */
TRACEPOINT(sched_prepare_exec) int exec_prepared(__u64 *ctx)
{
	struct task_struct *task = current_task();

	return registers_entered((void *)bpf_task_pt_regs(task), task, LANNER_PLAN_EXEC);
}

/* The programs below call this function. libbpf adds it to each of them that is loaded. */
static __attribute__((noinline)) int room_at_function(__u64 regs)
{
	return registers_entered((void *)regs, current_task(), LANNER_PLAN_ROOM);
}

#define ON_ROOM(number)                                                                                                \
	SEC("fentry") int room_entered_##number(__u64 *ctx) { return room_at_function(ctx[0]); }

/* clang-format off */
ON_ROOM(0) ON_ROOM(1) ON_ROOM(2) ON_ROOM(3) ON_ROOM(4) ON_ROOM(5) ON_ROOM(6) ON_ROOM(7)
ON_ROOM(8) ON_ROOM(9) ON_ROOM(10) ON_ROOM(11) ON_ROOM(12) ON_ROOM(13) ON_ROOM(14) ON_ROOM(15)
ON_ROOM(16) ON_ROOM(17) ON_ROOM(18) ON_ROOM(19) ON_ROOM(20) ON_ROOM(21) ON_ROOM(22) ON_ROOM(23)
ON_ROOM(24) ON_ROOM(25) ON_ROOM(26) ON_ROOM(27) ON_ROOM(28) ON_ROOM(29) ON_ROOM(30) ON_ROOM(31)
ON_ROOM(32) ON_ROOM(33) ON_ROOM(34) ON_ROOM(35) ON_ROOM(36) ON_ROOM(37) ON_ROOM(38) ON_ROOM(39)
/* clang-format on */
#endif

#endif
