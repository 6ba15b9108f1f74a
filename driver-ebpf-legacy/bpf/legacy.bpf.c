/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs of the legacy driver, for verifiers from Linux 4.14 on: small, without loops, without BTF. The
 * interpreter is threaded code. `sys_exit` begins an event in a slot, each operation of the plan is a program of its
 * own that reaches the next by tail call, and the last one outputs the event.
 */
#include "bpf.h"
#include "event.h"
#include "plan.h"
#include "arch.h"

/*
 * bpf_probe_read() can read kernel memory, too. So an address that is not in user space becomes NULL, which cannot be
 * read. There is no branch, because a branch would double the paths through a loop.
 */
static __attribute__((always_inline)) inline void *user_address(__u64 at)
{
#ifdef USER_TAGS
	__u64 kernels;

	/* without the tag, the highest bit tells; the asm keeps the shifts, which are shorter than a mask of 64 bits */
	at <<= 63 - USER_BITS;
	asm volatile("" : "+r"(at));
	kernels = at >> 63;
	asm volatile("" : "+r"(kernels));
	return (void *)(at >> (63 - USER_BITS) & (kernels - 1));
#else
	__u64 mine = ((at >> USER_BITS) - 1) >> 63;

	asm volatile("" : "+r"(mine));
	return (void *)(at & (0 - mine));
#endif
}

#define USER(address) user_address(address)
#define READ_USER(dst, size, src) bpf_probe_read(dst, size, src)
#define READ_USER_STR(dst, size, src) bpf_probe_read_str(dst, size, src)
#define FIXED_BOUNDS
#define EVENT_MASK 32767
#define CHUNK_MASK 8191
#define HALF_MASK 4095
#define UNROLL_LOOPS
#define STRINGS 32
#define STRING_RUNS 4 /* together 128 strings, the limit of the core driver, too */

/* CGROUP_ID is not defined, because its helper came with Linux 4.18 */
#include "legacy_layout.h"
#include "seen_rooms.h"
#include "timed_call.h"
#include "maps.h"
#include "ops.h"
#include "multiplexed.h"
#include "predicate.h"
#include "times.h"
#include "read.h"
#include "run.h"
#include "slot.h"
#include "chain.h"
#include "facts.h"
#include "operations.h"
#include "exec.h"
#include "io_uring.h"
#include "timed.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Simple operations that the first program carries out itself. Nearly all calls have no more. */
#define SIMPLE_HERE 3

/* Calls whose entry matters. */
#define ENTRIES (LANNER_PLAN_NORETURN | LANNER_PLAN_EXEC | LANNER_PLAN_ROOM)

/* A call that is to be captured. */
struct captured_call {
	const struct offsets *off;
	const struct regs *regs;
	const struct lanner_plan *plan; /* NULL: without attachments */
	__u64 id;			/* tgid and tid */
	__s64 ret;
	__u32 key;  /* of the plan */
	__u32 then; /* the program that ends the event; 0: it is output */
	__u16 flags;
	__u8 abi;
	__u8 timed; /* the event says how long the call took */
};

/*
 * Begins the event of a call and follows its plan. The simple operations at the plan's beginning are done here, and so
 * is a resolved path that ends the plan.
 */
static __always_inline void begin_call(void *ctx, void *chain, const struct captured_call *call)
{
	struct slot *slot = claim_slot(ctx, call->id);
	const struct lanner_plan *plan = call->plan;
	struct lanner_event *event;
	__u32 more = 0, path = 0;

	if (!slot)
		return;
	struct out o = OUT(slot);

	event = event_of(slot);
	slot->plan = call->key;
	slot->then = call->then;
	fill_header(event,
		    &(const struct heading){.kind = LANNER_KIND_SYSCALL,
					    .abi = call->abi,
					    .flags = call->flags,
					    .nr = NR_OF(call->regs),
					    .ret = call->ret},
		    call->id);
	read_args(call->regs, call->abi, event);
	if (call->timed)
		bpf_tail_call(ctx, chain, TAIL_TIMED);
	if (plan && plan->flags & LANNER_PLAN_MULTIPLEXER)
		bpf_tail_call(ctx, chain, TAIL_MULTIPLEXED);
	if (plan && plan->predicate)
		bpf_tail_call(ctx, chain, TAIL_PREDICATE);
	if (!plan || !plan->ops) {
		deliver(ctx, slot);
		return;
	}
	/* The result is read from the event. Of a variable, the verifier would follow each range that a test leaves. */
#pragma unroll
	for (__u32 i = 0; i < SIMPLE_HERE; i++) {
		const struct lanner_op *op = &plan->op[i];

		if (more || i >= plan->ops || !due(o.event->ret, op->when))
			continue;
		if (op->code == LANNER_OP_STR || (op->code == LANNER_OP_BYTES && !is_replaced(op))) {
			run_simple(&o, op, 0);
			slot->at = i + 1;
			continue;
		}
		more = 1;
		if (!call->then && op->code == LANNER_OP_FD_PATH && i + 1 == plan->ops) {
			slot->op = *op;
			slot->at = i + 1;
			path = 1;
		}
	}
	if (path) {
		fd_path(ctx, chain, &o, call->off, slot);
		deliver(ctx, slot);
	} else if (more || call->then || plan->ops > SIMPLE_HERE) {
		next(ctx, chain, slot);
	} else {
		deliver(ctx, slot);
	}
}

/* The flags of the plans that a call number has in both ABIs. */
static __always_inline __u8 interest_in(__u64 nr)
{
	__u32 key = index_of(nr);
	__u8 *flags = bpf_map_lookup_elem(&interest, &key);

	return flags ? *flags : 0;
}

/* A call returns. */
static __always_inline void on_return(void *ctx, const struct offsets *off, const struct regs *regs, __s64 ret)
{
	const struct settings *set;
	struct lanner_plan *plan;
	__u8 abi, flags;
	__u16 open = 0;
	__u32 key;
	__u64 id;

	if (!(interest_in(NR_OF(regs)) & (LANNER_PLAN_SELECTED | LANNER_PLAN_EXEC)))
		return;
	id = bpf_get_current_pid_tgid();
	set = get_settings();
	if (!set || !is_captured(set, id))
		return;
	abi = abi_of(off, regs);
	key = plan_key(abi, NR_OF(regs));
	plan = bpf_map_lookup_elem(&plans, &key);
	if (!plan)
		return;
	flags = plan->flags;
	if (!(flags & (LANNER_PLAN_SELECTED | LANNER_PLAN_EXEC)))
		return;
	if (abi == ABI_COMPAT)
		ret = narrow_result(ret);
	if (ret == -ERESTARTNOINTR || (ret == 0 && flags & LANNER_PLAN_CHILD) || is_new_program(regs, abi, ret) ||
	    is_return_of_handler(NR_OF(regs), ret))
		return;
	if (restarts(ret)) {
		open = open_flags(ret);
		ret = -EINTR;
	}
	if (rejects_result(plan->rejected, ret))
		return;
	if (flags & LANNER_PLAN_EXEC) {
		release_exec(find_exec(id));
		if (ret == 0 || !(flags & LANNER_PLAN_SELECTED))
			return; /* a successful exec has been output as an exec event */
	}
	begin_call(ctx, &tails,
		   &(const struct captured_call){
		       .off = off,
		       .regs = regs,
		       .plan = plan,
		       .id = id,
		       .ret = ret,
		       .key = key,
		       .flags = open,
		       .abi = abi,
		       .timed = set->times_since != 0,
		   });
}

RAW(sys_exit)(__u64 *ctx)
{
	const struct offsets *off = get_offsets();
	struct regs regs;

	if (off && read_regs(&regs, ctx[0]))
		on_return(ctx, off, &regs, ctx[1]);
	return 0;
}

TRACEPOINT(sys_exit)(void *ctx)
{
	const struct offsets *off = get_offsets();
	struct regs regs;

	if (off && read_regs(&regs, regs_of_task(off)))
		on_return(ctx, off, &regs, RETURN_OF(&regs));
	return 0;
}

/* A call begins. It matters if the call's plan has one of the flags in `which`. */
static __always_inline void on_entry(void *ctx, void *chain, const struct offsets *off, const struct regs *regs,
				     __u8 which)
{
	__u64 nr = NR_OF(regs), id;
	const struct settings *set;
	struct lanner_plan *plan;
	__u8 flags, abi;
	__u32 key, tid;

	set = get_settings();
	if (!set)
		return;
	abi = abi_of(off, regs);
	key = plan_key(abi, nr);
	plan = bpf_map_lookup_elem(&plans, &key);
	if (!plan)
		return;
	flags = plan->flags;
	if (!(flags & which))
		return;
	id = bpf_get_current_pid_tgid();
	tid = id;
	if (set->tree && flags & LANNER_PLAN_EXEC) {
		__u8 *state = bpf_map_lookup_elem(&followed, &tid);

		if (state && *state == FOLLOW_ARMED)
			*state = FOLLOW_ACTIVE;
	}
	if (!is_captured(set, id))
		return;
	if (flags & LANNER_PLAN_ROOM) {
		bpf_tail_call(ctx, chain, TAIL_ROOM);
	} else if (which & LANNER_PLAN_EXEC && flags & LANNER_PLAN_EXEC) {
		/* an earlier exec may never have returned, or a tracer may have changed its number */
		release_exec(find_exec(tid));
		begin_call(ctx, chain,
			   &(const struct captured_call){
			       .off = off,
			       .regs = regs,
			       .plan = plan,
			       .id = id,
			       .key = key,
			       .then = TAIL_KEEP,
			       .flags = flags & LANNER_PLAN_SELECTED ? 0 : LANNER_FLAG_UNSELECTED,
			       .abi = abi,
			   });
	} else if (flags & LANNER_PLAN_SELECTED) {
		begin_call(ctx, chain,
			   &(const struct captured_call){
			       .off = off,
			       .regs = regs,
			       .id = id,
			       .key = key,
			       .flags = LANNER_FLAG_NORETURN,
			       .abi = abi,
			   });
	}
}

/* Attached to the functions of the calls whose entry matters (src/attach/entry.rs), so that no other call pays for it.
 */
FUNCTION(entered)(void *ctx)
{
	const struct offsets *off = get_offsets();
	struct regs regs;

	if (off && read_regs(&regs, regs_of_task(off)))
		on_entry(ctx, &entry_tails, off, &regs, ENTRIES);
	return 0;
}

/*
 * Attached where functions cannot be probed and the kernel has this tracepoint (since Linux 6.10). It sees an exec that
 * will succeed, before the old program's memory is released. process_exit() sees calls that do not return.
 */
RAW(exec_prepared)(void *ctx)
{
	const struct offsets *off = get_offsets();
	struct regs regs;

	if (off && read_regs(&regs, regs_of_task(off)))
		on_entry(ctx, &tails, off, &regs, LANNER_PLAN_EXEC);
	return 0;
}

/* Attached where neither functions nor that tracepoint can be used. Every call passes it. */
RAW(sys_enter)(__u64 *ctx)
{
	const struct offsets *off;
	struct regs regs;

	if (!(interest_in(ctx[1]) & ENTRIES))
		return 0;
	off = get_offsets();
	if (off && read_regs(&regs, ctx[0]))
		on_entry(ctx, &tails, off, &regs, ENTRIES);
	return 0;
}

TRACEPOINT(sys_enter)(void *ctx)
{
	const struct offsets *off = get_offsets();
	struct regs regs;

	if (off && read_regs(&regs, regs_of_task(off)) && interest_in(NR_OF(&regs)) & ENTRIES)
		on_entry(ctx, &tails, off, &regs, ENTRIES);
	return 0;
}

/* What is known of a birth: the arguments of a fork event behind the child's ids (enum lanner_kind). */
struct birth {
	__u64 flags, own_id, seen;
};

/* Outputs a fork, an exit, or a signal. `birth`: only for a fork, else NULL. */
static __always_inline void output_lifecycle(void *ctx, const struct heading *heading, __u64 child,
					     const struct birth *birth, __u64 id)
{
	struct slot *slot = claim_slot(ctx, id);
	struct lanner_event *event;

	if (!slot)
		return;
	event = event_of(slot);
	fill_header(event, heading, id);
	__builtin_memset(event->args, 0, sizeof(event->args));
	event->args[0] = (__u32)child;
	event->args[1] = child >> 32;
	if (birth) {
		event->args[2] = birth->flags;
		event->args[3] = birth->own_id;
		event->args[4] = birth->seen;
	}
	deliver(ctx, slot);
}

/* `child`: the thread id of a new thread and, in the upper half, its process id. */
static __always_inline void process_fork(void *ctx, __u64 child, const struct birth *birth)
{
	__u64 id = bpf_get_current_pid_tgid();
	const struct settings *set = get_settings();
	__u32 tid = id, child_tid = child;

	if (!set || id >> 32 == set->self_tgid)
		return;
	if (set->tree) {
		__u8 *state = bpf_map_lookup_elem(&followed, &tid), copy;

		if (!state)
			return;
		copy = *state;
		if (bpf_map_update_elem(&followed, &child_tid, &copy, BPF_ANY) != 0)
			count_loss(LANNER_LOSS_TABLE_FULL);
		if (copy != FOLLOW_ACTIVE)
			return;
	}
	output_lifecycle(ctx, &(const struct heading){.kind = LANNER_KIND_FORK, .abi = ABI_NATIVE}, child, birth, id);
}

#define CLONE_FS 0x200
#define CLONE_FILES 0x400
#define CLONE_PARENT 0x8000
#define CLONE_THREAD 0x10000
#define CLONE_NEWPID 0x20000000
/* The offset of `level` in struct pid, which follows the count of references on every kernel; bytes of a struct upid.
 */
#define LEVEL_AT 4
#define UPID_SIZE 16
#define HAVE_BIRTHS (HAVE_THREAD_PID | HAVE_FD | HAVE_CWD | HAVE_PARENT)

/* Looks at what parent and child share. */
static __always_inline void see_birth(const struct offsets *off, __u64 parent, __u64 child, struct birth *birth)
{
	__u64 pid = read_u64(child, off->task_thread_pid), above = read_u64(parent, off->task_thread_pid);
	__u32 level = read_u32(pid, LEVEL_AT);

	birth->own_id = read_u32(pid, off->pid_nr + (__u64)level * UPID_SIZE);
	birth->seen = LANNER_FORK_SEEN;
	if (level != read_u32(above, LEVEL_AT))
		birth->seen |= CLONE_NEWPID;
	if (read_u64(child, off->task_fs) == read_u64(parent, off->task_fs))
		birth->seen |= CLONE_FS;
	if (read_u64(child, off->task_files) == read_u64(parent, off->task_files))
		birth->seen |= CLONE_FILES;
	if (read_u64(child, off->task_real_parent) == read_u64(parent, off->task_real_parent))
		birth->seen |= CLONE_PARENT;
}

RAW(process_fork)(__u64 *ctx)
{
	const struct offsets *off = get_offsets();
	struct birth birth = {};

	if (!off)
		return 0;
	if ((off->have & HAVE_BIRTHS) == HAVE_BIRTHS)
		see_birth(off, ctx[0], ctx[1], &birth);
	process_fork(ctx, read_u64(ctx[1], off->task_pid), &birth); /* pid, tgid */
	return 0;
}

/*
 * At task:task_newtask. The tracepoint sched_process_fork, which comes a little later, does not record whether the
 * child is a thread, so that its process id is not known.
 */
TRACEPOINT(process_fork)(void *ctx)
{
	const struct offsets *off = get_offsets();
	struct birth birth = {};
	__u64 tid, tgid;

	if (!off)
		return 0;
	tid = tgid = recorded(ctx, off->newtask_pid);
	birth.flags = recorded(ctx, off->newtask_flags);
	if (birth.flags & CLONE_THREAD)
		tgid = bpf_get_current_pid_tgid() >> 32;
	process_fork(ctx, tid | tgid << 32, &birth);
	return 0;
}

/*
 * A task ends. If a call ended it, the registers of the call are still there. Its status shows that: it is the argument
 * of the call.
 */
static __always_inline void on_task_end(void *ctx, void *chain, const struct offsets *off, __s64 code)
{
	struct lanner_event status;
	struct regs regs;

	if (!read_regs(&regs, regs_of_task(off)))
		return;
	read_args(&regs, abi_of(off, &regs), &status);
	if (code == (status.args[0] & 0xff) << 8)
		on_entry(ctx, chain, off, &regs, LANNER_PLAN_NORETURN);
}

/* Attached to a tracepoint, but defined as a tail: it does not need the tracepoint's arguments. */
TAIL(process_exit)
{
	__u64 id = bpf_get_current_pid_tgid();
	const struct settings *set = get_settings();
	const struct offsets *off = get_offsets();
	__u32 tid = id;
	__s64 code = 0;

	if (!set || !off)
		return;
	if (is_captured(set, id)) {
		release_exec(find_exec(tid));
		forget_rooms();
		if (off->have & HAVE_EXIT)
			code = (int)read_u32(bpf_get_current_task(), off->task_exit_code);
		if (set->late)
			on_task_end(ctx, chain, off, code);
		output_lifecycle(ctx, &(const struct heading){.kind = LANNER_KIND_EXIT, .abi = ABI_NATIVE, .ret = code},
				 0, NULL, id);
	}
	if (set->tree)
		bpf_map_delete_elem(&followed, &tid);
	if (set->times_since)
		bpf_map_delete_elem(&timed, &tid);
}

/* A signal handler is about to run. Its flags decide how the interrupted call of its thread ends. */
static __always_inline void signal_delivered(void *ctx, __u64 signal, __u64 handler, __u64 sa_flags)
{
	__u64 id = bpf_get_current_pid_tgid();
	const struct settings *set = get_settings();

	if (HAS_HANDLER(handler) && set && is_captured(set, id))
		output_lifecycle(ctx,
				 &(const struct heading){
				     .kind = LANNER_KIND_SIGNAL, .abi = ABI_NATIVE, .flags = handler_flags(sa_flags)},
				 signal, NULL, id);
}

RAW(signal_delivered)(__u64 *ctx)
{
	struct pair action = read_pair(ctx[2], 0);

	signal_delivered(ctx, ctx[0], action.first, action.second);
	return 0;
}

TRACEPOINT(signal_delivered)(void *ctx)
{
	const struct offsets *off = get_offsets();

	if (off)
		signal_delivered(ctx, 0, read_u64((__u64)ctx, off->signal_handler),
				 read_u64((__u64)ctx, off->signal_flags));
	return 0;
}
