/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The programs of the operations in a plan. */
#ifndef LANNER_OPERATIONS_H
#define LANNER_OPERATIONS_H

/* A string or bytes, and if these are a structure, what its pointers point to. */
static __always_inline void simple(void *ctx, void *chain, const struct out *o, struct slot *slot)
{
	run_simple(o, &slot->op, 1);
	if (is_replaced(&slot->op))
		forget_rooms();
	if (slot->op.code == LANNER_OP_BYTES && slot->op.entries)
		bpf_tail_call(ctx, chain, LANNER_OP_POINTED);
	next(ctx, chain, slot);
}

ENTRY_TAIL(op_simple)
{
	struct slot *slot = my_slot();

	if (!slot)
		return;
	struct out o = OUT(slot);

	simple(ctx, chain, &o, slot);
}

ENTRY_TAIL(op_vector)
{
	struct slot *slot = my_slot();
	__u32 run;
	__u64 ptr;
	__u8 *at;

	if (!slot)
		return;
	struct out o = OUT(slot);

	run = slot->run;
	ptr = arg_at(&o, slot->op.arg);
	at = ptr ? begin_attachment(&o) : NULL;
	if (at) {
		int more;

		if (!run)
			begin_loop(at);
		more = strv_run(&o, at, run * STRINGS, slot->op.limit, ptr);
		slot->run = run + 1;
		if (more && run + 1 < STRING_RUNS)
			bpf_tail_call(ctx, chain, LANNER_OP_STRV);
		if (more)
			STATUS(at) = LANNER_TRUNCATED;
		finish_attachment(&o, at, slot->op.what, 0, STATUS(at), LANNER_STRINGS, DONE(at), 0);
	}
	next(ctx, chain, slot);
}

/* The buffers of a struct msghdr or, without `message`, those of an array of struct iovec. `message` is a constant. */
static __always_inline void gather(void *ctx, void *chain, int message)
{
	struct slot *slot = my_slot();
	__u64 len;
	__s64 most;

	if (!slot)
		return;
	struct out o = OUT(slot);

	if (length_of(&o, &slot->op, &len, &most)) {
		struct gather g = gathering(&slot->op, arg_at(&o, slot->op.arg), message ? 0 : len, most);

		if (message)
			op_msg(&o, 0, &g), forget_rooms();
		else
			op_iov(&o, &g);
	}
	next(ctx, chain, slot);
}

TAIL(op_gather) { gather(ctx, chain, 0); }

TAIL(op_message) { gather(ctx, chain, 1); }

/* One message of an array. It reaches itself by tail call for the next. */
TAIL(op_messages)
{
	struct slot *slot = my_slot();
	__u32 run;

	if (!slot)
		return;
	struct out o = OUT(slot);

	run = slot->run;
	if (mmsg_due(&o, &slot->op, run)) {
		slot->run = run + 1;
		op_mmsg_one(&o, &slot->op, run);
		bpf_tail_call(ctx, chain, LANNER_OP_MMSG);
		incomplete(&o);
	}
	forget_rooms();
	next(ctx, chain, slot);
}

/* A call through which others are made: the event becomes that of the call that is meant, if it is selected. */
TAIL(op_multiplexed)
{
	const struct lanner_multiplexed *call;
	struct lanner_plan *plan;
	struct slot *slot = my_slot();
	__u32 key;

	if (!slot)
		return;
	struct out o = OUT(slot);

	call = meant(PLAIN_NR(o.event->nr), o.event->args[0]);
	if (call) {
		key = plan_of_meant(call);
		plan = bpf_map_lookup_elem(&plans, &key);
		if (!plan || !(plan->flags & LANNER_PLAN_SELECTED)) {
			release_slot(slot);
			return;
		}
		if (become_meant(&o, call))
			slot->plan = key;
	}
	next(ctx, chain, slot);
}

/* A call whose arguments must fulfil a condition. The slot is no room in the buffer yet. */
TAIL(op_predicate)
{
	const struct lanner_condition *condition;
	struct lanner_plan *plan;
	struct slot *slot = my_slot();
	__u64 args[6];
	__u32 key;

	if (!slot)
		return;
	struct out o = OUT(slot);

#pragma unroll
	for (int i = 0; i < 6; i++)
		args[i] = o.event->args[i];
	key = slot->plan;
	plan = bpf_map_lookup_elem(&plans, &key);
	key = plan ? plan->predicate : 0;
	condition = bpf_map_lookup_elem(&conditions, &key);
	if (condition && key && !fulfils(condition, args, o.event->ret)) {
		release_slot(slot);
		return;
	}
	next(ctx, chain, slot);
}

/* The operation that the value of an argument chooses. */
TAIL(op_variant)
{
	struct slot *slot = my_slot();
	struct lanner_op variant;

	if (!slot)
		return;
	struct out o = OUT(slot);

	variant = slot->op;
	choose(&o, &variant, &slot->op);
	if (due(o.event->ret, slot->op.when))
		simple(ctx, chain, &o, slot);
	else
		next(ctx, chain, slot);
}

/* What the pointers in the structure that was just captured point to. */
TAIL(op_pointed)
{
	struct slot *slot = my_slot();

	if (!slot)
		return;
	struct out o = OUT(slot);

	run_pointed(&o, &slot->op);
	next(ctx, chain, slot);
}

/* Keeps how much room a call has that was entered, if it is selected and has some. */
static __always_inline void keep_rooms_of(const struct entered *call, __u32 key, __u64 word)
{
	const struct lanner_plan *plan = bpf_map_lookup_elem(&plans, &key);

	if (plan && plan->flags & LANNER_PLAN_SELECTED && plan->flags & LANNER_PLAN_ROOM)
		keep_rooms(call, plan, word);
}

/* The entry of a call that replaces the size of a buffer: how much room the program has is kept until it returns. */
ENTRY_TAIL(room_entered)
{
	const struct offsets *off = get_offsets();
	struct lanner_event call; /* for its arguments alone */
	struct entered of = {.args = call.args};
	const struct lanner_plan *plan;
	struct regs regs;
	__u64 nr, word;
	__u32 key;
	__u8 abi;

	if (!off || !read_regs(&regs, regs_of_task(off)))
		return;
	nr = NR_OF(&regs);
	abi = abi_of(off, &regs);
	word = 8 - 4 * is_narrow(abi, nr);
	read_args(&regs, abi, &call);
	key = plan_key(abi, nr);
	plan = bpf_map_lookup_elem(&plans, &key);
	if (!plan)
		return;
	/* Twice, because old verifiers forget that a pointer on the stack is NULL. */
	if (plan->flags & LANNER_PLAN_MULTIPLEXER) {
		of.through = meant(PLAIN_NR(nr), call.args[0]);
		if (of.through)
			keep_rooms_of(&of, plan_of_meant(of.through), word);
		return;
	}
	of.through = NULL;
	keep_rooms_of(&of, key, word);
}

static __always_inline __s64 fd_of(const struct out *o, const struct lanner_op *op)
{
	return op->arg == LANNER_ARG_RET ? o->event->ret : (__s64)(int)arg_at(o, op->arg);
}

/* Begins the resolved path of the operation's descriptor. */
static __always_inline void fd_path(void *ctx, void *chain, const struct out *o, const struct offsets *off,
				    struct slot *slot)
{
	__u64 file;

	if (off->have & HAVE_PATH && off->have & HAVE_FD) {
		file = file_of(off, bpf_get_current_task(), fd_of(o, &slot->op));
		if (!file)
			return;
		op_file(o, off, file);
		path_fact(ctx, chain, o, off, slot, slot->op.what, slot->op.limit, file + off->file_path);
	}
}

TAIL(op_fd_path)
{
	const struct offsets *off = get_offsets();
	struct slot *slot = my_slot();

	if (!slot || !off)
		return;
	struct out o = OUT(slot);

	fd_path(ctx, chain, &o, off, slot);
	next(ctx, chain, slot);
}

#define AT_FDCWD (-100)

/* A directory of the thread, or the one that a path of the call begins at. */
TAIL(op_directory)
{
	const struct offsets *off = get_offsets();
	struct slot *slot = my_slot();
	__u64 task, fs, path;
	__u8 what, first = 0;

	if (!slot || !off)
		return;
	struct out o = OUT(slot);

	task = bpf_get_current_task();
	fs = off->have & HAVE_CWD ? read_u64(task, off->task_fs) : 0;
	path = fs ? fs + off->fs_pwd : 0;
	what = slot->op.what;
	if (slot->op.code == LANNER_OP_BASE) {
		__s64 fd = slot->op.len_arg == LANNER_ARG_RET ? AT_FDCWD : (__s64)(int)arg_at(&o, slot->op.len_arg);
		__u64 said = arg_at(&o, slot->op.arg);

		/* without a path, a call is about what its descriptor refers to (utimensat(2)) */
		if ((said || slot->op.len_arg == LANNER_ARG_RET) && READ_USER(&first, 1, USER(said)) != 0) {
			path = 0;
		} else if (first != '/' && fd != AT_FDCWD) {
			path = off->have & HAVE_FD ? file_of(off, task, fd) : 0;
			path = path ? path + off->file_path : 0;
		}
	}
	if (path && (first == '/' || what == LANNER_FACT_ROOT)) {
		what = LANNER_FACT_ROOT;
		/* the root directory precedes the working directory in struct fs_struct */
		path = fs + off->fs_pwd - 16;
		if (first == '/' && is_topmost(off, path))
			path = 0;
	}
	if (path)
		path_fact(ctx, chain, &o, off, slot, what, slot->op.limit, path);
	next(ctx, chain, slot);
}

/* Further components of a path. */
TAIL(op_walk)
{
	const struct offsets *off = get_offsets();
	struct slot *slot = my_slot();
	int end = WALK_ON;
	__u8 *at;

	if (!slot || !off)
		return;
	struct out o = OUT(slot);

	at = begin_attachment(&o);
	if (at) {
#pragma unroll
		for (int i = 0; i < RUN_COMPONENTS; i++) {
			end = walk(&o, off, slot, at, 0);
			if (end != WALK_ON)
				break;
		}
		slot->run++;
		if (end == WALK_ON && slot->run < (slot->what == LANNER_FACT_PATH ? PATH_RUNS : EXEC_PATH_RUNS)) {
			bpf_tail_call(ctx, chain, TAIL_WALK);
			incomplete(&o);
		}
		if (end != WALK_NO_PATH)
			finish_attachment(&o, at, slot->what, 0, STATUS(at), LANNER_PARTS, DONE(at), 0);
	}
	next(ctx, chain, slot);
}

TAIL(op_tuple)
{
	const struct offsets *off = get_offsets();
	struct slot *slot = my_slot();

	if (!slot || !off)
		return;
	struct out o = OUT(slot);

	if (off->have & HAVE_FD && off->have & HAVE_SOCKET)
		op_fd_tuple(&o, off, slot->op.what, bpf_get_current_task(), fd_of(&o, &slot->op));
	next(ctx, chain, slot);
}

#endif
