/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs of the legacy driver, for verifiers from Linux 4.14 on: small, without loops, without
 * BTF. The interpreter is threaded code: `sys_exit` begins an event in a slot, each operation of the
 * plan is a program of its own that calls the next by tail call, and the last one puts the event into
 * the perf buffer.
 */
#include "bpf.h"
#include "event.h"
#include "plan.h"

/*
 * bpf_probe_read() reads the kernel as well: an address that is none of the program's becomes one
 * that is nobody's. Without a branch, which would double the ways through a loop.
 */
static __attribute__((always_inline)) inline void *user_address(__u64 at)
{
	__u64 mine = ((at >> 56) - 1) >> 63;

	asm volatile("" : "+r"(mine));
	return (void *)(at & (0 - mine));
}

#define USER(address) user_address(address)
#define READ_USER(dst, size, src) bpf_probe_read(dst, size, src)
#define READ_USER_STR(dst, size, src) bpf_probe_read_str(dst, size, src)
#define UNROLL_LOOPS
#define STRINGS 32
#define STRING_RUNS 4 /* 128 strings, as many as the core driver takes */

/* no CGROUP_ID: its helper came with 4.18 */
#include "offsets.h"
#include "maps.h"
#include "ops.h"
#include "facts.h"
#include "run.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

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

#define OUT(slot)                                                                                                      \
	{                                                                                                              \
		.event = &(slot)->event, .last = LAST, .chunk = CHUNK                                                  \
	}

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

#define ENOSPC 28
#define EBUSY 16

static __always_inline void output(void *ctx, struct lanner_event *event, __u64 len)
{
	long error = bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, event, len);

	if (error)
		lose(error == -ENOSPC  ? LANNER_LOSS_BUFFER_FULL
		     : error == -EBUSY ? LANNER_LOSS_NESTED
				       : LANNER_LOSS_FAULT);
}

/* Puts the finished event into the buffer. */
static __always_inline void deliver(void *ctx, struct slot *slot)
{
	__u64 len = slot->event.len;

	if (WITHIN(len, ROOM))
		output(ctx, &slot->event, len);
	release_slot(slot);
}

/* Goes on with the next operation, the next fact, or the end. Returns only where nothing is left. */
static __always_inline void next(void *ctx, struct slot *slot)
{
	__u32 stage = slot->stage, last = slot->then, key = slot->plan, code = 0;
	struct lanner_plan *plan;

	if (stage) {
		slot->stage = stage + 1;
		if (stage < TAIL_END) {
			bpf_tail_call(ctx, &tails, stage);
			slot->event.flags |= LANNER_FLAG_INCOMPLETE;
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
		if (due(slot->event.ret, plan->op[i].when)) {
			slot->op = plan->op[i];
			slot->at = i + 1;
			slot->run = 0;
			code = slot->op.code;
		}
	}
	if (code) {
		bpf_tail_call(ctx, &tails, code);
		slot->event.flags |= LANNER_FLAG_INCOMPLETE;
	}
end:
	if (last)
		bpf_tail_call(ctx, &tails, last);
	if (last) /* what was to be kept cannot be */
		release_slot(slot);
	else
		deliver(ctx, slot);
}

SEC("raw_tracepoint/op_simple") int op_simple(void *ctx)
{
	struct slot *slot = my_slot();

	if (!slot)
		return 0;
	struct out o = OUT(slot);

	run_simple(&o, &slot->op);
	next(ctx, slot);
	return 0;
}

SEC("raw_tracepoint/op_vector") int op_vector(void *ctx)
{
	struct slot *slot = my_slot();
	__u32 run;
	__u64 ptr;
	__u8 *at;

	if (!slot)
		return 0;
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
			bpf_tail_call(ctx, &tails, LANNER_OP_STRV);
		if (more)
			STATUS(at) = LANNER_TRUNCATED;
		finish_attachment(&o, at, slot->op.what, 0, STATUS(at), LANNER_STRINGS, DONE(at), 0);
	}
	next(ctx, slot);
	return 0;
}

SEC("raw_tracepoint/op_gather") int op_gather(void *ctx)
{
	struct slot *slot = my_slot();
	__s64 len, most;

	if (!slot)
		return 0;
	struct out o = OUT(slot);

	if (length_of(&o, &slot->op, &len, &most)) {
		struct gather g = gathering(&slot->op, len, most);

		op_iov(&o, slot->op.what, 0, arg_at(&o, slot->op.arg), g);
	}
	next(ctx, slot);
	return 0;
}

SEC("raw_tracepoint/op_message") int op_message(void *ctx)
{
	struct slot *slot = my_slot();
	__s64 len, most;

	if (!slot)
		return 0;
	struct out o = OUT(slot);

	if (length_of(&o, &slot->op, &len, &most))
		op_msg(&o, slot->op.what, 0, arg_at(&o, slot->op.arg), gathering(&slot->op, 0, most));
	next(ctx, slot);
	return 0;
}

/* One message of an array; tail-calls itself for the next. */
SEC("raw_tracepoint/op_messages") int op_messages(void *ctx)
{
	struct slot *slot = my_slot();
	__u32 run;

	if (!slot)
		return 0;
	struct out o = OUT(slot);

	run = slot->run;
	if (mmsg_due(&o, &slot->op, run)) {
		slot->run = run + 1;
		op_mmsg_one(&o, &slot->op, run);
		bpf_tail_call(ctx, &tails, LANNER_OP_MMSG);
		slot->event.flags |= LANNER_FLAG_INCOMPLETE;
	}
	next(ctx, slot);
	return 0;
}

/* Whatever the value of an argument chooses. */
SEC("raw_tracepoint/op_variant") int op_variant(void *ctx)
{
	struct slot *slot = my_slot();
	struct lanner_op variant;

	if (!slot)
		return 0;
	struct out o = OUT(slot);

	variant = slot->op;
	choose(&o, &variant, &slot->op);
	if (due(slot->event.ret, slot->op.when))
		run_simple(&o, &slot->op);
	next(ctx, slot);
	return 0;
}

static __always_inline __s64 fd_of(const struct out *o, const struct lanner_op *op)
{
	return op->arg == LANNER_ARG_RET ? o->event->ret : (__s64)(int)arg_at(o, op->arg);
}

SEC("raw_tracepoint/op_fd_path") int op_fd_path(void *ctx)
{
	const struct offsets *off = the_offsets();
	struct slot *slot = my_slot();
	__u64 file;

	if (!slot || !off)
		return 0;
	struct out o = OUT(slot);

	if (off->have & HAVE_PATH && off->have & HAVE_FD) {
		file = file_of(off, bpf_get_current_task(), fd_of(&o, &slot->op));
		if (file &&
		    begin_path(&o, off, slot, slot->op.what, slot->op.limit, file + off->file_path) == WALK_ON) {
			bpf_tail_call(ctx, &tails, TAIL_WALK);
			incomplete(&o);
		}
	}
	next(ctx, slot);
	return 0;
}

/* Components after the first. */
SEC("raw_tracepoint/op_walk") int op_walk(void *ctx)
{
	const struct offsets *off = the_offsets();
	struct slot *slot = my_slot();
	int end = WALK_ON;
	__u8 *at;

	if (!slot || !off)
		return 0;
	struct out o = OUT(slot);

	at = begin_attachment(&o);
	if (at) {
#pragma unroll
		for (int i = 0; i < WALK; i++) {
			end = walk(&o, off, slot, at, 0);
			if (end != WALK_ON)
				break;
		}
		slot->run++;
		if (end == WALK_ON && slot->run < (COMPONENTS - 1) / WALK) {
			bpf_tail_call(ctx, &tails, TAIL_WALK);
			incomplete(&o);
		}
		if (end != WALK_NO_PATH)
			finish_attachment(&o, at, slot->what, 0, STATUS(at), LANNER_PARTS, DONE(at), 0);
	}
	next(ctx, slot);
	return 0;
}

SEC("raw_tracepoint/op_tuple") int op_tuple(void *ctx)
{
	const struct offsets *off = the_offsets();
	struct slot *slot = my_slot();

	if (!slot || !off)
		return 0;
	struct out o = OUT(slot);

	if (off->have & HAVE_FD && off->have & HAVE_SOCKET)
		op_fd_tuple(&o, off, slot->op.what, bpf_get_current_task(), fd_of(&o, &slot->op));
	next(ctx, slot);
	return 0;
}

SEC("raw_tracepoint/exec_exe") int exec_exe(void *ctx)
{
	const struct offsets *off = the_offsets();
	struct slot *slot = my_slot();
	__u64 mm, exe;

	if (!slot || !off)
		return 0;
	struct out o = OUT(slot);

	if (off->have & HAVE_EXE) {
		mm = word(bpf_get_current_task(), off->task_mm);
		exe = mm ? word(mm, off->mm_exe) : 0;
		if (exe && begin_path(&o, off, slot, LANNER_FACT_EXE, 4096, exe + off->file_path) == WALK_ON) {
			bpf_tail_call(ctx, &tails, TAIL_WALK);
			incomplete(&o);
		}
	}
	next(ctx, slot);
	return 0;
}

SEC("raw_tracepoint/exec_cwd") int exec_cwd(void *ctx)
{
	const struct offsets *off = the_offsets();
	struct slot *slot = my_slot();
	__u8 memfd;
	__u64 fs;

	if (!slot || !off)
		return 0;
	struct out o = OUT(slot);

	if (off->have & HAVE_CWD) {
		int end;

		memfd = slot->memfd; /* the executable's */
		fs = word(bpf_get_current_task(), off->task_fs);
		end = fs ? begin_path(&o, off, slot, LANNER_FACT_CWD, 4096, fs + off->fs_pwd) : WALK_NO_PATH;
		slot->memfd = memfd;
		if (end == WALK_ON) {
			bpf_tail_call(ctx, &tails, TAIL_WALK);
			incomplete(&o);
		}
	}
	next(ctx, slot);
	return 0;
}

SEC("raw_tracepoint/exec_ids") int exec_ids(void *ctx)
{
	const struct offsets *off = the_offsets();
	struct slot *slot = my_slot();
	char comm[16] = {};
	__u64 len = 0;
	__u8 *at;

	if (!slot || !off)
		return 0;
	struct out o = OUT(slot);

	op_ids(&o, off, bpf_get_current_task(), slot->memfd);
	at = begin_attachment(&o);
	if (at) {
		bpf_get_current_comm(comm, sizeof(comm));
		__builtin_memcpy(at + HEAD, comm, sizeof(comm));
#pragma unroll
		for (int i = 0; i < 15; i++)
			len += len == i && comm[i];
		finish_attachment(&o, at, LANNER_FACT_COMM, 0, LANNER_WHOLE, LANNER_RAW, len, 0);
	}
	next(ctx, slot);
	return 0;
}

SEC("raw_tracepoint/exec_strings") int exec_strings(void *ctx)
{
	const struct offsets *off = the_offsets();
	struct slot *slot = my_slot();
	__u64 bounds[4] = {}, mm;

	if (!slot || !off)
		return 0;
	struct out o = OUT(slot);

	mm = off->have & HAVE_STRINGS ? word(bpf_get_current_task(), off->task_mm) : 0;
	if (mm && bpf_probe_read(bounds, sizeof(bounds), (void *)(mm + off->mm_args)) == 0) {
		op_strings(&o, LANNER_FACT_ARGV, bounds[0], bounds[1] - bounds[0]);
		op_strings(&o, LANNER_FACT_ENV, bounds[2], bounds[3] - bounds[2]);
		mend_exec_path(&o, bounds[3]);
	}
	next(ctx, slot);
	return 0;
}

/* The entry of an exec: its begun event waits for how it ends. */
SEC("raw_tracepoint/exec_keep") int exec_keep(void *ctx)
{
	struct slot *slot = my_slot();
	__u32 tid = bpf_get_current_pid_tgid();
	struct exec_call *call;
	__u64 len;

	if (!slot)
		return 0;
	call = claim_exec(tid);
	if (call) {
		len = slot->event.len;
		if (WITHIN(len, EXEC_ROOM) && bpf_probe_read(&call->event, len, &slot->event) == 0)
			call->owner = tid;
		else
			release_exec(call);
	} else {
		lose(LANNER_LOSS_TABLE_FULL);
	}
	release_slot(slot);
	return 0;
}

/* Begins the event of a call and follows its plan. `then`: the program that ends it; 0: output. */
static __always_inline void begin_call(void *ctx, const struct regs *regs, __s64 ret, __u8 abi, __u16 flags, __u32 key,
				       __u64 id, __u32 then)
{
	struct slot *slot = claim_slot(id);

	if (!slot)
		return;
	slot->plan = key;
	slot->then = then;
	fill_header(&slot->event, LANNER_KIND_SYSCALL, abi, flags, regs->orig_ax, ret, id);
	read_args(regs, abi, &slot->event);
	next(ctx, slot);
}

/* The event of a call that nothing is fetched for. */
static __always_inline void output_call(void *ctx, const struct regs *regs, __s64 ret, __u8 abi, __u16 flags, __u64 id)
{
	struct lanner_event event;

	fill_header(&event, LANNER_KIND_SYSCALL, abi, flags, regs->orig_ax, ret, id);
	read_args(regs, abi, &event);
	output(ctx, &event, sizeof(event));
}

SEC("raw_tracepoint/sys_exit") int sys_exit(__u64 *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	const struct settings *set = the_settings();
	const struct offsets *off = the_offsets();
	struct lanner_plan *plan;
	__s64 ret = ctx[1];
	struct regs regs;
	__u8 abi, flags;
	__u32 key;

	if (!set || !off || !wanted(set, id) || !read_regs(&regs, ctx[0]))
		return 0;
	abi = abi_of(off, &regs);
	key = plan_key(abi, regs.orig_ax);
	plan = bpf_map_lookup_elem(&plans, &key);
	if (!plan)
		return 0;
	flags = plan->flags;
	if (!(flags & (LANNER_PLAN_SELECTED | LANNER_PLAN_EXEC)))
		return 0;
	if (restarts(ret) || (ret == 0 && flags & LANNER_PLAN_CHILD))
		return 0;
	if (flags & LANNER_PLAN_EXEC) {
		release_exec(find_exec(id));
		if (ret == 0 || !(flags & LANNER_PLAN_SELECTED))
			return 0; /* a success has been an exec event */
	}
	if (plan->ops)
		begin_call(ctx, &regs, ret, abi, 0, key, id, 0);
	else
		output_call(ctx, &regs, ret, abi, 0, id);
	return 0;
}

/* Entry, for the few calls that need it. */
SEC("raw_tracepoint/sys_enter") int sys_enter(__u64 *ctx)
{
	__u64 nr = ctx[1], id;
	const struct settings *set;
	const struct offsets *off;
	struct lanner_plan *plan;
	struct regs regs;
	__u8 flags = 0, abi;
	__u32 key, tid;

	/* a number that means nothing of interest in either ABI is most of them */
	key = plan_key(LANNER_ABI_X86_64, nr);
	plan = bpf_map_lookup_elem(&plans, &key);
	if (plan)
		flags = plan->flags;
	key = plan_key(LANNER_ABI_I386, nr);
	plan = bpf_map_lookup_elem(&plans, &key);
	if (plan)
		flags |= plan->flags;
	if (!(flags & (LANNER_PLAN_NORETURN | LANNER_PLAN_EXEC)))
		return 0;
	set = the_settings();
	off = the_offsets();
	if (!set || !off || !read_regs(&regs, ctx[0]))
		return 0;
	abi = abi_of(off, &regs);
	key = plan_key(abi, nr);
	plan = bpf_map_lookup_elem(&plans, &key);
	if (!plan)
		return 0;
	flags = plan->flags;
	if (!(flags & (LANNER_PLAN_NORETURN | LANNER_PLAN_EXEC)))
		return 0;
	id = bpf_get_current_pid_tgid();
	tid = id;
	if (set->tree && flags & LANNER_PLAN_EXEC) {
		__u8 *state = bpf_map_lookup_elem(&followed, &tid);

		if (state && *state == FOLLOW_ARMED)
			*state = FOLLOW_ACTIVE;
	}
	if (!wanted(set, id))
		return 0;
	if (flags & LANNER_PLAN_EXEC) {
		/* one that its thread never returned from or whose number was changed by a tracer */
		release_exec(find_exec(tid));
		begin_call(ctx, &regs, 0, abi, flags & LANNER_PLAN_SELECTED ? 0 : LANNER_FLAG_UNSELECTED, key, id,
			   TAIL_KEEP);
	} else if (flags & LANNER_PLAN_SELECTED) {
		output_call(ctx, &regs, 0, abi, LANNER_FLAG_NORETURN, id);
	}
	return 0;
}

/* Begins an exec event with what the call's entry left, if it was seen. */
static __always_inline void begin_exec(struct lanner_event *event, const struct settings *set, __u32 old_tid, __u64 id)
{
	struct exec_call *call = find_exec(old_tid);
	__u16 flags = LANNER_FLAG_INCOMPLETE;
	__u32 len = sizeof(*event), nr = set->execve_nr;
	__u8 abi = LANNER_ABI_X86_64, attachments = 0;

	__builtin_memset(event->args, 0, sizeof(event->args));
	if (call) {
		__u64 have = call->event.len;

		if (WITHIN(have, EXEC_ROOM) && bpf_probe_read(event, have, &call->event) == 0) {
			len = have;
			nr = event->nr;
			abi = event->abi;
			flags = event->flags;
			attachments = event->attachments;
		}
		release_exec(call);
	}
	fill_header(event, LANNER_KIND_EXEC, abi, flags, nr, 0, id);
	event->len = len;
	event->attachments = attachments;
}

/* A process has a new program: what it was called with, and what the kernel made of it. */
SEC("raw_tracepoint/sched_process_exec") int process_exec(__u64 *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	const struct settings *set = the_settings();
	__u32 old_tid = ctx[1], tid = id;
	struct slot *slot;

	if (!set)
		return 0;
	if (set->tree && old_tid != tid) {
		/* a thread has taken the leader's id (de_thread() in fs/exec.c) */
		__u8 *state = bpf_map_lookup_elem(&followed, &old_tid);

		if (state) {
			__u8 active = FOLLOW_ACTIVE;

			bpf_map_update_elem(&followed, &tid, &active, BPF_ANY);
			bpf_map_delete_elem(&followed, &old_tid);
		}
	}
	if (!wanted(set, id))
		return 0;
	slot = claim_slot(id);
	if (!slot) {
		release_exec(find_exec(old_tid));
		return 0;
	}
	slot->stage = TAIL_EXE;
	begin_exec(&slot->event, set, old_tid, id);
	next(ctx, slot);
	return 0;
}

/* A birth or an end, straight from the stack. */
static __always_inline void output_life(void *ctx, __u8 kind, __s64 ret, __u64 child, __u64 id)
{
	struct lanner_event event = {};

	fill_header(&event, kind, LANNER_ABI_X86_64, 0, 0, ret, id);
	event.args[0] = (__u32)child;
	event.args[1] = child >> 32;
	output(ctx, &event, sizeof(event));
}

SEC("raw_tracepoint/sched_process_fork") int process_fork(__u64 *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), child;
	const struct settings *set = the_settings();
	const struct offsets *off = the_offsets();
	__u32 tid = id, child_tid;

	if (!set || !off || id >> 32 == set->self_tgid)
		return 0;
	child = word(ctx[1], off->task_pid); /* pid, tgid */
	child_tid = child;
	if (set->tree) {
		__u8 *state = bpf_map_lookup_elem(&followed, &tid), copy;

		if (!state)
			return 0;
		copy = *state;
		if (bpf_map_update_elem(&followed, &child_tid, &copy, BPF_ANY) != 0)
			lose(LANNER_LOSS_TABLE_FULL);
		if (copy != FOLLOW_ACTIVE)
			return 0;
	}
	output_life(ctx, LANNER_KIND_FORK, 0, child, id);
	return 0;
}

SEC("raw_tracepoint/sched_process_exit") int process_exit(__u64 *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	const struct settings *set = the_settings();
	const struct offsets *off = the_offsets();
	__u32 tid = id;
	__s64 code = 0;

	if (!set || !off)
		return 0;
	if (wanted(set, id)) {
		release_exec(find_exec(tid));
		if (off->have & HAVE_EXIT)
			code = (int)half_word(bpf_get_current_task(), off->task_exit_code);
		output_life(ctx, LANNER_KIND_EXIT, code, 0, id);
	}
	if (set->tree)
		bpf_map_delete_elem(&followed, &tid);
	return 0;
}
