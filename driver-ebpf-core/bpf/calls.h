/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Events of calls: whose calls are captured, and what the plan of a call fetches. */
#ifndef LANNER_CALLS_H
#define LANNER_CALLS_H

/* Whether the calls of this thread are captured. */
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

static __always_inline struct lanner_plan *plan_at(__u32 key) { return bpf_map_lookup_elem(&plans, &key); }

static __always_inline __u32 index_of_plan(__u8 abi, __u64 nr)
{
	return index_of(nr) + (abi == ABI_COMPAT ? LANNER_PLAN_NRS : 0);
}

/* The plan of a call. It is never NULL, which the verifier does not know. */
static __always_inline struct lanner_plan *plan_of(__u8 abi, __u64 nr) { return plan_at(index_of_plan(abi, nr)); }

/* Whether the arguments of a call fulfil the condition of its plan. */
static __always_inline int fulfils_plan(const struct lanner_plan *plan, const __u64 *args, __s64 ret)
{
	__u32 key = plan->predicate;
	const struct lanner_condition *condition = bpf_map_lookup_elem(&conditions, &key);

	return !condition || fulfils(condition, args, ret);
}

/* The parts of a plan that a program carries out: a constant, which leaves out what the program never meets. */
enum parts {
	VECTORS = 1,  /* argument vectors, which only exec has */
	GATHERED = 2, /* vectors of iovecs, messages */
	FACTS = 4,    /* about a descriptor */
	VARIANTS = 8,
	DIRECTORIES = 16, /* facts about directories of the thread */
};

#define VECTORS_MOST 2	   /* argv and envp */
#define DIRECTORIES_MOST 2 /* where the two paths of a call begin */

/* Carries out the one operation that gathers. */
static __always_inline void run_vector(const struct out *o, const struct lanner_op *op)
{
	__u64 ptr = arg_at(o, op->arg);
	__u64 len;
	__s64 most;

	if (!length_of(o, op, &len, &most))
		return;
	if (op->code == LANNER_OP_IOV)
		op_iov(o, op->what, 0, ptr, gathering(op, len, most));
	else if (op->code == LANNER_OP_MSG)
		op_msg(o, op->what, 0, ptr, gathering(op, 0, most));
}

/*
 * Carries out the argument vectors, which begin at operation `first`. They come last, at an index that the verifier
 * does not know: so it follows each of their loops once, not once for each operation of a plan.
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

/* Carries out the facts about directories, as run_strings() does with strings. They begin at operation `first`. */
static __always_inline void run_directories(const struct out *o, const struct lanner_plan *plan,
					    struct task_struct *task, __u64 first)
{
	for (int i = 0; i < DIRECTORIES_MOST; i++) {
		__u64 at = first + i;

		OPAQUE(at);
		if (at < LANNER_PLAN_OPS && plan->op[at].code >= LANNER_OP_BASE &&
		    due(o->event->ret, plan->op[at].when))
			op_directory(o, &plan->op[at], task);
	}
}

/*
 * Carries out a plan: strings and buffers in their order; what the pointers in a structure point to; the argument
 * vectors, or the one vector of iovecs or the one message that a call may have; the facts.
 */
static __always_inline void run_plan(const struct out *o, const struct lanner_plan *plan, struct task_struct *task,
				     int parts)
{
	__u64 vector = plan->vector, fact = plan->fact, pointing = plan->pointers;

	for (int i = 0; i < LANNER_PLAN_OPS; i++) {
		struct lanner_op op;

		if (i >= plan->ops)
			break;
		op = plan->op[i];
		if (parts & VARIANTS && op.code == LANNER_OP_VARIANT)
			choose(o, &plan->op[i], &op);
		if (!due(o->event->ret, op.when))
			continue;
		run_simple(o, &op, 1);
	}
	OPAQUE(pointing);
	if (parts & VARIANTS && unlikely(pointing < LANNER_PLAN_OPS)) {
		struct lanner_op op = plan->op[pointing];

		if (op.code == LANNER_OP_VARIANT)
			choose(o, &plan->op[pointing], &op);
		if (op.code == LANNER_OP_BYTES && op.entries && due(o->event->ret, op.when))
			run_pointed(o, &op);
	}
	OPAQUE(vector);
	if (parts & VECTORS)
		run_strings(o, plan, vector);
	if (parts & GATHERED && vector < LANNER_PLAN_OPS && due(o->event->ret, plan->op[vector].when))
		run_vector(o, &plan->op[vector]);
	OPAQUE(fact);
	if (parts & DIRECTORIES)
		run_directories(o, plan, task, fact);
	if (parts & FACTS && fact < LANNER_PLAN_OPS && due(o->event->ret, plan->op[fact].when)) {
		const struct lanner_op *op = &plan->op[fact];
		__s64 fd = op->arg == LANNER_ARG_RET ? o->event->ret : (int)arg_at(o, op->arg);

		if (op->code == LANNER_OP_FD_PATH)
			op_fd_path(o, op->what, op->limit, task, fd);
		else if (op->code == LANNER_OP_FD_TUPLE)
			op_fd_tuple(o, op->what, task, fd);
	}
}

/* An event of a plan: see struct out. */
#define LARGE_LAST 23552
#define LARGE_CHUNK VECTOR_CHUNK
#define LARGE_ROOM (LARGE_LAST + HEAD + LARGE_CHUNK + NAME_ROOM)

_Static_assert(LARGE_ROOM <= LANNER_EVENT_MAX, "an event larger than LANNER_EVENT_MAX");

/* The fixed part of a call's event. */
#define CALL(abi_, flags_, nr_, ret_)                                                                                  \
	(&(const struct heading){                                                                                      \
	    .kind = LANNER_KIND_SYSCALL, .abi = (abi_), .flags = (flags_), .nr = (nr_), .ret = (ret_)})

/*
 * Delivers the event of a call. `call`: the call that was made through it, which has a plan of its own, or NULL.
 * `parts` is 0: without attachments.
 */
static __always_inline void emit_call(const struct heading *heading, const __u64 *args, const struct lanner_plan *plan,
				      struct task_struct *task, const struct lanner_multiplexed *call, int parts)
{
	struct out o = {.last = LARGE_LAST, .chunk = LARGE_CHUNK};
	__u64 time = bpf_ktime_get_ns();
	struct place place;
	__u64 small = sizeof(struct lanner_event) + (settings.times ? TOOK_ROOM : 0);
	struct lanner_event *event = reserve(&place, parts ? LARGE_ROOM : small);

	if (!event)
		return;
	begin_event(event, &place, time, task, heading);
	__builtin_memcpy(event->args, args, sizeof(event->args));
	o.event = event;
	if (settings.times && !(heading->flags & LANNER_FLAG_NORETURN))
		say_took(&o, KNOWN(task, pid));
	if (parts) {
		if (call && become_meant(&o, call))
			plan = plan_at(plan_of_meant(call));
		if (plan)
			run_plan(&o, plan, task, parts);
		commit(&place, o.event->len);
	} else {
		commit(&place, settings.times ? o.event->len : sizeof(*event));
	}
}

#endif
