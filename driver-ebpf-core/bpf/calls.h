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

/* The arguments of a call. */
struct args {
	__u64 arg[6];
};

/* As fulfils(). */
SEPARATE int fulfilled(const struct lanner_condition *condition, const struct args *args, __u64 ret)
{
	return !condition || !args || fulfils(condition, args->arg, ret);
}

/* Whether the arguments of a call fulfil the condition of its plan. */
static __always_inline int fulfils_plan(const struct lanner_plan *plan, const struct args *args, __s64 ret)
{
	__u32 key = plan->predicate;

	return fulfilled(bpf_map_lookup_elem(&conditions, &key), args, ret);
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

/* Carries out an operation on a string or on bytes. */
static __always_inline int simple_inline(const struct out *o, const struct lanner_op *planned)
{
	struct lanner_op op = *planned;

	if (op.code == LANNER_OP_VARIANT)
		choose(o, planned, &op);
	if (due(o->event->ret, op.when))
		run_simple(o, &op, 1);
	return 0;
}

PART(simple, const struct lanner_op)

/* Captures what the pointers in an operation's structure point to. */
static __always_inline int pointed_inline(const struct out *o, const struct lanner_op *planned)
{
	struct lanner_op op = *planned;

	if (op.code == LANNER_OP_VARIANT)
		choose(o, planned, &op);
	if (op.code == LANNER_OP_BYTES && op.entries && due(o->event->ret, op.when))
		run_pointed(o, &op);
	return 0;
}

PART(pointed, const struct lanner_op)

/* Carries out the one operation that gathers. */
static __always_inline int gathered_inline(const struct out *o, const struct lanner_op *op)
{
	__u64 ptr = arg_at(o, op->arg);
	struct gather g;
	__u64 len;
	__s64 most;

	if (!due(o->event->ret, op->when) || !length_of(o, op, &len, &most))
		return 0;
	g = gathering(op, ptr, op->code == LANNER_OP_IOV ? len : 0, most);
	if (op->code == LANNER_OP_IOV)
		op_iov(o, &g);
	else if (op->code == LANNER_OP_MSG)
		op_msg(o, 0, &g);
	return 0;
}

PART(gathered, const struct lanner_op)

/* Carries out an argument vector. */
static __always_inline int strings_inline(const struct out *o, const struct lanner_op *op)
{
	if (op->code == LANNER_OP_STRV && due(o->event->ret, op->when))
		op_strv(o, op->what, op->limit, arg_at(o, op->arg));
	return 0;
}

PART(strings, const struct lanner_op)

/* Carries out a fact about a directory. */
static __always_inline int directory_inline(const struct out *o, const struct lanner_op *op)
{
	if (op->code >= LANNER_OP_BASE && due(o->event->ret, op->when))
		op_directory(o, op, current_task());
	return 0;
}

PART(directory, const struct lanner_op)

/* Carries out a fact about a descriptor. */
static __always_inline int fact_inline(const struct out *o, const struct lanner_op *op)
{
	__s64 fd = op->arg == LANNER_ARG_RET ? o->event->ret : (int)arg_at(o, op->arg);

	if (!due(o->event->ret, op->when))
		return 0;
	if (op->code == LANNER_OP_FD_PATH)
		op_fd_path(o, op->what, op->limit, current_task(), fd);
	else if (op->code == LANNER_OP_FD_TUPLE)
		op_fd_tuple(o, op->what, current_task(), fd);
	return 0;
}

PART(fact, const struct lanner_op)

/*
 * Carries out a plan: strings and buffers in their order; what the pointers in a structure point to; the argument
 * vectors, or the one vector of iovecs or the one message that a call may have; the facts.
 *
 * What comes last is at an index that the verifier does not know: so it follows that once, not once for each operation
 * of a plan.
 */
static __always_inline void run_plan(const struct out *o, const struct lanner_plan *plan, int parts)
{
	__u64 vector = plan->vector, about = plan->fact, pointing = plan->pointers;

	for (int i = 0; i < LANNER_PLAN_OPS; i++) {
		if (i >= plan->ops)
			break;
		simple(o, &plan->op[i]);
	}
	OPAQUE(pointing);
	if (parts & VARIANTS && unlikely(pointing < LANNER_PLAN_OPS))
		pointed(o, &plan->op[pointing]);
	OPAQUE(vector);
	if (parts & VECTORS) {
		for (int i = 0; i < VECTORS_MOST; i++) {
			__u64 at = vector + i;

			OPAQUE(at);
			if (at < LANNER_PLAN_OPS)
				strings(o, &plan->op[at]);
		}
	}
	if (parts & GATHERED && vector < LANNER_PLAN_OPS)
		gathered(o, &plan->op[vector]);
	OPAQUE(about);
	if (parts & DIRECTORIES) {
		for (int i = 0; i < DIRECTORIES_MOST; i++) {
			__u64 at = about + i;

			OPAQUE(at);
			if (at < LANNER_PLAN_OPS)
				directory(o, &plan->op[at]);
		}
	}
	if (parts & FACTS && about < LANNER_PLAN_OPS)
		fact(o, &plan->op[about]);
}

/* The fixed part of a call's event. */
#define CALL(abi_, flags_, nr_, ret_)                                                                                  \
	(&(const struct heading){                                                                                      \
	    .kind = LANNER_KIND_SYSCALL, .abi = (abi_), .flags = (flags_), .nr = (nr_), .ret = (ret_)})

/*
 * Delivers the event of a call. `call`: the call that was made through it, which has a plan of its own, or NULL.
 * `bare`: without attachments. `parts` and `often` (begin_event()) are constants.
 */
static __always_inline void emit_call(const struct heading *heading, const __u64 *args, const struct lanner_plan *plan,
				      struct task_struct *task, const struct lanner_multiplexed *call, int bare,
				      int parts, int often)
{
	struct out o = {.last = LARGE_LAST, .chunk = LARGE_CHUNK};
	__u64 time = bpf_ktime_get_ns(), small = sizeof(*o.event) + (settings.times ? TOOK_ROOM : 0);
	struct place place;
	struct lanner_event *event = reserve(&place, bare ? small : LARGE_ROOM);

	if (!event)
		return;
	begin_event(event, &place, time, task, heading, often);
	__builtin_memcpy(event->args, args, sizeof(event->args));
	o.event = event;
	if (settings.times && !(heading->flags & LANNER_FLAG_NORETURN))
		say_took(&o, KNOWN(task, pid));
	if (bare) {
		commit(&place, settings.times ? o.event->len : sizeof(*event));
		return;
	}
	if (call && become_meant(&o, call))
		plan = plan_at(plan_of_meant(call));
	if (plan)
		run_plan(&o, plan, parts);
	commit(&place, o.event->len);
}

#endif
