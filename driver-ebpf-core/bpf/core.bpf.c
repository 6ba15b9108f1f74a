/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs of the core driver. One run at the end of each selected call reads the arguments back
 * from the saved registers and writes the event straight into the ring buffer; entry is looked at only
 * for calls that do not return and for exec, whose arguments are gone afterwards.
 */
#include "bpf.h"
#include "event.h"
#include "plan.h"
#include "arch.h"

/* Attached by the kernel's types, or, where it has none (NO_TYPES), by name. */
#ifdef NO_TYPES
#define TRACEPOINT(name) SEC("raw_tp/" #name)
#else
#define TRACEPOINT(name) SEC("tp_btf/" #name)
#endif

#define READ_USER(dst, size, src) bpf_probe_read_user(dst, size, src)
#define READ_USER_STR(dst, size, src) bpf_probe_read_user_str(dst, size, src)

/* Operations of variants by what chooses them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct lanner_variant_key);
	__type(value, struct lanner_op);
} variants SEC(".maps");

/* What an operation may write behind an attachment's head in the programs that take argument vectors. */
#define VECTOR_CHUNK 8448
#ifndef SINGLE_RUN
#define STRINGS_LOOP
#endif

#include "ops.h"
#include "kernel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Settings, fixed before the programs are loaded; load.rs has the same struct. */
struct settings {
	__u32 self_tgid; /* lanner itself: never captured */
	__u32 execve_nr; /* for an exec whose entry was not seen */
	__u32 tree;	 /* capture only threads in `followed` */
	/* the bytes of a CPU's ring: so many chunks of so many bytes, both powers of two */
	__u32 chunks;
	__u32 chunk_shift;
	__u32 late; /* entries are looked at as late as the scheduler's tracepoints */
};

const volatile struct settings settings SEC(".rodata.settings");

enum follow {
	FOLLOW_ARMED = 1, /* from its next exec on */
	FOLLOW_ACTIVE = 2,
};

/* By number, whether the end of a call is of interest: 1: of a 64-bit one, 2: of a 32-bit one. */
volatile __u8 gate[LANNER_PLAN_NRS] SEC(".data.gate");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * LANNER_PLAN_NRS);
	__type(key, __u32);
	__type(value, struct lanner_plan);
} plans SEC(".maps");

/* Thread id to enum follow. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u8);
} followed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LANNER_LOSS_CAUSES);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

#define EXEC_LAST 10240
#define EXEC_CHUNK VECTOR_CHUNK
#define EXEC_ROOM (EXEC_LAST + HEAD + EXEC_CHUNK)

/*
 * An event begun: what an exec was called with, from its entry until it has succeeded or failed, or an array
 * of messages, of which each run takes one.
 */
struct exec_call {
	__u64 next; /* the message that comes next */
	struct lanner_event event;
	__u8 rest[EXEC_ROOM - sizeof(struct lanner_event)];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct exec_call);
} execs SEC(".maps");

/* Never written: what a new entry of `execs` is copied from. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_call);
} blank SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 4);
} tails SEC(".maps");

enum { TAIL_EXEC = 0, TAIL_MESSAGES = 1 };

static __always_inline void lose(__u32 cause)
{
	__u64 *count = bpf_map_lookup_elem(&losses, &cause);

	if (count)
		*count += 1;
}

#include "ring.h"
#include "current.h"
#include "facts.h"
#include "regs.h"

/* Whether the current thread is one whose calls are wanted. */
static __always_inline int wanted(__u32 tgid, __u32 tid)
{
	__u8 *state;

	if (tgid == settings.self_tgid)
		return 0;
	if (!settings.tree)
		return 1;
	state = bpf_map_lookup_elem(&followed, &tid);
	return state && *state == FOLLOW_ACTIVE;
}

static __always_inline struct lanner_plan *plan_of(__u8 abi, __u64 nr)
{
	__u32 key = PLAIN_NR(nr);

	if (key >= LANNER_PLAN_NRS)
		return NULL;
	if (abi == ABI_COMPAT)
		key += LANNER_PLAN_NRS;
	return bpf_map_lookup_elem(&plans, &key);
}

/*
 * Follows a plan: strings and buffers in their order, then the argument vectors, or the one iovec array or
 * message a call may have, then the one fact. `parts` is a constant and leaves out what a program never meets.
 */
enum parts {
	VECTORS = 1, /* argument vectors: exec alone has them */
	GATHERED = 2,
	FACTS = 4,
	VARIANTS = 8,
};

#define VECTORS_MOST 2 /* argv and envp */

static __always_inline void run_vector(const struct out *o, const struct lanner_op *op)
{
	__u64 ptr = arg_at(o, op->arg);
	__s64 len, most;

	if (!length_of(o, op, &len, &most))
		return;
	if (op->code == LANNER_OP_IOV)
		op_iov(o, op->what, 0, ptr, gathering(op, len, most));
	else if (op->code == LANNER_OP_MSG)
		op_msg(o, op->what, 0, ptr, gathering(op, 0, most));
}

/*
 * The argument vectors, from the place of the first on. They come last and by a place that the verifier does not
 * know: it follows each of their loops once, not once for each operation of a plan.
 */
static __always_inline void run_strings(const struct out *o, const struct lanner_plan *plan, __u64 first)
{
	for (int i = 0; i < VECTORS_MOST; i++) {
		__u64 at = first + i;

		OPAQUE(at);
		if (at < LANNER_PLAN_OPS && plan->op[at].code == LANNER_OP_STRV &&
		    due(o->event->ret, plan->op[at].when))
			op_strv(o, plan->op[at].what, plan->op[at].limit, arg_at(o, plan->op[at].arg));
	}
}

static __always_inline void run_plan(const struct out *o, const struct lanner_plan *plan, struct task_struct *task,
				     int parts)
{
	__u64 vector = plan->vector, fact = plan->fact;

	for (int i = 0; i < LANNER_PLAN_OPS; i++) {
		struct lanner_op op;

		if (i >= plan->ops)
			break;
		op = plan->op[i];
		if (parts & VARIANTS && op.code == LANNER_OP_VARIANT)
			choose(o, &plan->op[i], &op);
		if (!due(o->event->ret, op.when))
			continue;
		run_simple(o, &op);
	}
	OPAQUE(vector);
	if (parts & VECTORS)
		run_strings(o, plan, vector);
	if (parts & GATHERED && vector < LANNER_PLAN_OPS && due(o->event->ret, plan->op[vector].when))
		run_vector(o, &plan->op[vector]);
	OPAQUE(fact);
	if (parts & FACTS && fact < LANNER_PLAN_OPS && due(o->event->ret, plan->op[fact].when)) {
		const struct lanner_op *op = &plan->op[fact];
		__s64 fd = op->arg == LANNER_ARG_RET ? o->event->ret : (int)arg_at(o, op->arg);

		if (op->code == LANNER_OP_FD_PATH)
			op_fd_path(o, op->what, op->limit, task, fd);
		else
			op_fd_tuple(o, op->what, task, fd);
	}
}

#define LARGE_LAST 23552
#define LARGE_CHUNK VECTOR_CHUNK
#define LARGE_ROOM (LARGE_LAST + HEAD + LARGE_CHUNK + NAME_ROOM)

_Static_assert(LARGE_ROOM <= LANNER_EVENT_MAX, "an event larger than LANNER_EVENT_MAX");

/* The event of one call. `parts` 0: without following the plan. */
static __always_inline void emit_call(const __u64 *args, __s64 ret, __u64 nr, __u8 abi, __u16 flags,
				      const struct lanner_plan *plan, struct task_struct *task, int parts)
{
	struct out o = {.last = LARGE_LAST, .chunk = LARGE_CHUNK};
	__u64 time = bpf_ktime_get_ns();
	struct place place;
	struct lanner_event *event = reserve(&place, parts ? LARGE_ROOM : sizeof(*event));

	if (!event)
		return;
	begin_event(event, &place, time, task, LANNER_KIND_SYSCALL, abi, flags, nr, ret);
	__builtin_memcpy(event->args, args, sizeof(event->args));
	if (parts) {
		o.event = event;
		run_plan(&o, plan, task, parts);
		commit(&place, o.event->len);
	} else {
		commit(&place, sizeof(*event));
	}
}

/* Begins an event that is kept over more than one run. */
static __always_inline struct exec_call *begin_kept(__u32 tid, const __u64 *args, __u64 nr, __u8 abi)
{
	struct exec_call *call, *from;
	__u32 zero = 0;

	from = bpf_map_lookup_elem(&blank, &zero);
	if (!from || bpf_map_update_elem(&execs, &tid, from, BPF_ANY) != 0) {
		lose(LANNER_LOSS_TABLE_FULL);
		return NULL;
	}
	call = bpf_map_lookup_elem(&execs, &tid);
	if (!call)
		return NULL;
	call->event.len = sizeof(call->event);
	call->event.nr = nr;
	call->event.abi = abi;
	__builtin_memcpy(call->event.args, args, sizeof(call->event.args));
	return call;
}

static __always_inline void enter_exec(const __u64 *args, __u64 nr, __u8 abi, __u32 tid, const struct lanner_plan *plan)
{
	struct out o = {.last = EXEC_LAST, .chunk = EXEC_CHUNK};
	struct exec_call *call = begin_kept(tid, args, nr, abi);

	if (!call)
		return;
	o.event = &call->event;
	if (!(plan->flags & LANNER_PLAN_SELECTED))
		call->event.flags = LANNER_FLAG_UNSELECTED;
	run_plan(&o, plan, NULL, VECTORS);
}

/* Hands over an event that was kept. */
static __always_inline void deliver_kept(struct exec_call *call, struct task_struct *task, __s64 ret)
{
	__u64 time = bpf_ktime_get_ns(), have = call->event.len;
	struct place place;
	struct lanner_event *event = reserve(&place, EXEC_ROOM);
	__u16 flags;
	__u8 attachments;

	if (!event)
		return;
	OPAQUE(have);
	if (have > EXEC_ROOM || bpf_probe_read_kernel(event, have, &call->event) != 0) {
		lose(LANNER_LOSS_FAULT);
		event->len = have = sizeof(*event);
		event->version = 0; /* a gap */
	} else {
		flags = event->flags;
		attachments = event->attachments;
		begin_event(event, &place, time, task, LANNER_KIND_SYSCALL, event->abi, flags, event->nr, ret);
		event->len = have;
		event->attachments = attachments;
	}
	commit(&place, have);
}

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

/* A call that does not return. */
static __always_inline void end_entered(const __u64 *args, __u64 nr, __u8 abi, struct task_struct *task,
					const struct lanner_plan *plan)
{
	if (plan->flags & LANNER_PLAN_SELECTED && wanted(KNOWN(task, tgid), KNOWN(task, pid)))
		emit_call(args, 0, nr, abi, LANNER_FLAG_NORETURN, plan, task, 0);
}

/* The registers of the call that the current task is in. */
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
	else if (!settings.late || KNOWN(task, exit_code) == (args[0] & 0xff) << 8)
		end_entered(args, nr, abi, task, plan);
	return 0;
}

#ifndef NO_TYPES
/*
 * Attached to the functions of these calls alone, so that all others cost nothing. A program has one
 * function, which src/entry.rs chooses. They come first, because not every kernel takes them: the sooner
 * that shows, the better.
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
 * Where functions cannot be attached to: an exec that will succeed, before the old program's memory is let
 * go (begin_new_exec() in fs/exec.c, since 6.10). process_exit() looks at calls that do not return.
 */
TRACEPOINT(sched_prepare_exec) int exec_prepared(__u64 *ctx)
{
	struct task_struct *task = current_task();

	return registers_entered((void *)bpf_task_pt_regs(task), task, LANNER_PLAN_EXEC);
}
#endif

TRACEPOINT(sys_exit) int sys_exit(__u64 *ctx)
{
	const struct pt_regs *regs = (void *)ctx[0];
	__u64 nr = NR_OF(PLAIN, regs), args[6];
	__u32 low = PLAIN_NR(nr);
	struct lanner_plan *plan;
	struct task_struct *task;
	__u16 flags = 0, open = 0;
	__s64 ret = ctx[1];
	__u8 abi;

	if (low >= LANNER_PLAN_NRS || !gate[low])
		return 0;
	task = current_task();
	abi = ABI_OF(PLAIN, regs, task, nr);
	if (!(gate[low] & (abi == ABI_COMPAT ? 2 : 1)) || IS_NEW_PROGRAM(regs, abi, nr, ret))
		return 0;
	plan = plan_of(abi, nr);
	if (!plan || !wanted(KNOWN(task, tgid), KNOWN(task, pid)))
		return 0;
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
	if (plan->flags & LANNER_PLAN_EXEC) {
		__u32 tid = KNOWN(task, pid);

		bpf_map_delete_elem(&execs, &tid);
		if (ret == 0 || !(plan->flags & LANNER_PLAN_SELECTED))
			return 0; /* a success has been an exec event */
		bpf_tail_call(ctx, &tails, TAIL_EXEC);
		flags = LANNER_FLAG_INCOMPLETE; /* the kernel has refused that program */
	} else if (plan->flags & LANNER_PLAN_LARGE) {
		bpf_tail_call(ctx, &tails, TAIL_MESSAGES);
		flags = LANNER_FLAG_INCOMPLETE;
	}
	READ_ARGS(PLAIN, regs, abi, args);
	if (plan->ops && !flags)
		emit_call(args, ret, nr, abi, open, plan, task, GATHERED | FACTS | VARIANTS);
	else
		emit_call(args, ret, nr, abi, flags | open, plan, task, 0);
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
	emit_call(args, ctx[1], nr, abi, 0, plan, task, VECTORS);
	return 0;
}

/* A call with an array of messages: each run takes one, and the last one hands over. */
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
		o.event->ret = ctx[1];
		if (restarts(o.event->ret)) {
			o.event->flags = open_flags(o.event->ret);
			o.event->ret = -EINTR;
		}
		run_plan(&o, plan, NULL, 0);
	}
	o.event = &call->event;
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
	return 0;
}

/* The same where functions cannot be attached to: every call of the host pays for it. */
TRACEPOINT(sys_enter) int sys_enter(__u64 *ctx)
{
	const struct pt_regs *regs = (void *)ctx[0];
	struct task_struct *task = current_task();
	__u64 nr = ctx[1], args[6];
	__u8 abi = ABI_OF(PLAIN, regs, task, nr);
	struct lanner_plan *plan = plan_of(abi, nr);

	if (!plan || !(plan->flags & (LANNER_PLAN_NORETURN | LANNER_PLAN_EXEC)))
		return 0;
	READ_ARGS(PLAIN, regs, abi, args);
	if (plan->flags & LANNER_PLAN_EXEC)
		exec_entered(args, nr, abi, task, plan);
	else
		end_entered(args, nr, abi, task, plan);
	return 0;
}

/* Begins an exec event with what the call's entry left, if it was seen. */
static __always_inline void begin_exec(struct lanner_event *event, const struct place *place, __u64 time,
				       struct task_struct *task, __u32 old_tid)
{
	struct exec_call *call = bpf_map_lookup_elem(&execs, &old_tid);
	__u16 flags = LANNER_FLAG_INCOMPLETE;
	__u32 len = sizeof(*event), nr = settings.execve_nr;
	__u8 abi = ABI_NATIVE, attachments = 0;

	__builtin_memset(event->args, 0, sizeof(event->args));
	if (call) {
		__u64 have = call->event.len;

		OPAQUE(have);
		if (have <= EXEC_ROOM && bpf_probe_read_kernel(event, have, &call->event) == 0) {
			len = have;
			nr = event->nr;
			abi = event->abi;
			flags = event->flags;
			attachments = event->attachments;
		}
		bpf_map_delete_elem(&execs, &old_tid);
	}
	begin_event(event, place, time, task, LANNER_KIND_EXEC, abi, flags, nr, 0);
	event->len = len;
	event->attachments = attachments;
}

/* A process has a new program: what it was called with, and what the kernel made of it. */
TRACEPOINT(sched_process_exec) int process_exec(__u64 *ctx)
{
	struct out o = {.last = LARGE_LAST, .chunk = LARGE_CHUNK};
	struct task_struct *task = (void *)ctx[0];
	__u32 old_tid = ctx[1];
	struct lanner_event *event;
	struct mm_struct *mm;
	struct file *exe;
	struct fs_struct *fs;
	__u8 memfd = 0, *at;
	__u32 tid = KNOWN(task, pid);
	struct place place;
	__u64 time;

	if (settings.tree) {
		__u8 *state = bpf_map_lookup_elem(&followed, &old_tid);

		/* where entries are not seen, nobody has been made active yet */
		if (state && old_tid == tid) {
			*state = FOLLOW_ACTIVE;
		} else if (state) {
			/* a thread has taken the leader's id (de_thread() in fs/exec.c) */
			__u8 active = FOLLOW_ACTIVE;

			bpf_map_update_elem(&followed, &tid, &active, BPF_ANY);
			bpf_map_delete_elem(&followed, &old_tid);
		}
	}
	if (!wanted(KNOWN(task, tgid), tid))
		return 0;
	time = bpf_ktime_get_ns();
	event = reserve(&place, LARGE_ROOM);
	if (!event) {
		bpf_map_delete_elem(&execs, &old_tid);
		return 0;
	}
	o.event = event;
	begin_exec(event, &place, time, task, old_tid);
	mm = FOLLOW(task, mm);
	exe = mm ? FOLLOW(mm, exe_file) : NULL;
	if (exe)
		op_path(&o, LANNER_FACT_EXE, 4096, FOLLOW(exe, f_path.mnt), FOLLOW(exe, f_path.dentry), &memfd, 1);
	fs = FOLLOW(task, fs);
	if (fs)
		op_path(&o, LANNER_FACT_CWD, 4096, FOLLOW(fs, pwd.mnt), FOLLOW(fs, pwd.dentry), NULL, 1);
	op_ids(&o, task, memfd);
	at = begin_attachment(&o);
	if (at) {
		long n = bpf_probe_read_kernel_str(at + HEAD, 16, &task->comm);

		finish_attachment(&o, at, LANNER_FACT_COMM, 0, LANNER_WHOLE, LANNER_RAW, n > 0 ? (n - 1) & 15 : 0, 0);
	}
	if (mm) {
		__u64 start = FOLLOW(mm, arg_start);

		op_strings(&o, LANNER_FACT_ARGV, start, FOLLOW(mm, arg_end) - start);
		start = FOLLOW(mm, env_start);
		op_strings(&o, LANNER_FACT_ENV, start, FOLLOW(mm, env_end) - start);
		mend_exec_path(&o, FOLLOW(mm, env_end));
	}
	op_program(&o, task, exe);
	commit(&place, o.event->len);
	return 0;
}

/* An event without attachments of the current task. */
static __always_inline void emit_plain(struct task_struct *task, __u8 kind, __u16 flags, __s64 ret, __u64 arg0,
				       __u64 arg1)
{
	__u64 time = bpf_ktime_get_ns();
	struct place place;
	struct lanner_event *event = reserve(&place, sizeof(*event));

	if (!event)
		return;
	begin_event(event, &place, time, task, kind, ABI_NATIVE, flags, 0, ret);
	__builtin_memset(event->args, 0, sizeof(event->args));
	event->args[0] = arg0;
	event->args[1] = arg1;
	commit(&place, sizeof(*event));
}

#define CLONE_FILES 0x400
#define CLONE_PARENT 0x8000
#define CLONE_NEWPID 0x20000000

static __always_inline void emit_fork(struct task_struct *parent, struct task_struct *child)
{
	struct pid *pid = READ_FIELD(child, thread_pid), *above = READ_FIELD(parent, thread_pid);
	__u64 seen = LANNER_FORK_SEEN, time = bpf_ktime_get_ns();
	__u32 level = READ_FIELD(pid, level), own = 0;
	struct lanner_event *event;
	struct place place;

	bpf_probe_read_kernel(&own, sizeof(own),
			      (char *)&pid->numbers + level * __builtin_preserve_type_info(*pid->numbers, 1));
	seen |= CLONE_NEWPID * (1 - IS_SAME(level, READ_FIELD(above, level)));
	seen |= CLONE_FILES * IS_SAME(READ_FIELD(child, files), READ_FIELD(parent, files));
	seen |= CLONE_PARENT * IS_SAME(READ_FIELD(child, real_parent), READ_FIELD(parent, real_parent));
	event = reserve(&place, sizeof(*event));
	if (!event)
		return;
	begin_event(event, &place, time, parent, LANNER_KIND_FORK, ABI_NATIVE, 0, 0, 0);
	event->args[0] = READ_FIELD(child, pid);
	event->args[1] = READ_FIELD(child, tgid);
	event->args[2] = 0;
	event->args[3] = own;
	event->args[4] = seen;
	event->args[5] = 0;
	commit(&place, sizeof(*event));
}

TRACEPOINT(sched_process_fork) int process_fork(__u64 *ctx)
{
	struct task_struct *parent = (void *)ctx[0], *child = (void *)ctx[1];
	__u32 tid = KNOWN(parent, pid), child_tid = KNOWN(child, pid);

#ifdef REFUSE_FORK
	/* no verifier takes this: tests see what becomes of the others */
	return *(int *)bpf_map_lookup_elem(&plans, &tid);
#endif
	if (KNOWN(parent, tgid) == settings.self_tgid)
		return 0;
	if (settings.tree) {
		__u8 *state = bpf_map_lookup_elem(&followed, &tid), copy;

		if (!state)
			return 0;
		copy = *state;
		if (bpf_map_update_elem(&followed, &child_tid, &copy, BPF_ANY) != 0)
			lose(LANNER_LOSS_TABLE_FULL);
		if (copy != FOLLOW_ACTIVE)
			return 0;
	}
	emit_fork(parent, child);
	return 0;
}

TRACEPOINT(sched_process_exit) int process_exit(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	__u32 tid = KNOWN(task, pid);

	/* a task that was killed in such a call has another exit code than the call gives */
#ifndef NO_TYPES
	if (settings.late)
		registers_entered((void *)bpf_task_pt_regs(task), task, LANNER_PLAN_NORETURN);
#endif
	if (wanted(KNOWN(task, tgid), tid)) {
		bpf_map_delete_elem(&execs, &tid);
		emit_plain(task, LANNER_KIND_EXIT, 0, KNOWN(task, exit_code), 0, 0);
	}
	if (settings.tree)
		bpf_map_delete_elem(&followed, &tid);
	return 0;
}

/* A signal is delivered: a handler that is about to run decides how the call ends that its thread is in. */
TRACEPOINT(signal_deliver) int signal_delivered(__u64 *ctx)
{
	struct k_sigaction *action = (void *)ctx[2];
	struct task_struct *task = current_task();

	if (HAS_HANDLER((__u64)KNOWN(action, sa.sa_handler)) && wanted(KNOWN(task, tgid), KNOWN(task, pid)))
		emit_plain(task, LANNER_KIND_SIGNAL, handler_flags(KNOWN(action, sa.sa_flags)), 0, ctx[0], 0);
	return 0;
}
