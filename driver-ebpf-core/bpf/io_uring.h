/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Operations that a program submits to an io_uring. The kernel passes a tracepoint for each one, once it has read the
 * request and copied the paths and addresses in it. An event is written there, as of a call that is entered: its result
 * comes later, from another thread or from none, and some requests report no result at all.
 *
 * The request is in memory that the program shares with the kernel, so it is what the program said. Its code is the
 * kernel's own copy.
 */
#ifndef LANNER_IO_URING_H
#define LANNER_IO_URING_H

/* Where the requests of each operation hold its arguments, by code. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LANNER_PLAN_OPERATIONS);
	__type(key, __u32);
	__type(value, struct lanner_sqe_args);
} sqe_args SEC(".maps");

#define IORING_SETUP_SQE128 (1 << 10)
#define IOSQE_FIXED_FILE 1
#define SQE_SIZE 64
#define SQE_FLAGS_AT 1
#define SQE_FILE_INDEX_AT 44

/*
 * The request that a ring took last (io_get_sqe() in io_uring/io_uring.c). NULL: there is none. Requests of mixed sizes
 * (IORING_SETUP_SQE_MIXED) are counted like others.
 */
static __always_inline __u8 *last_request(struct io_ring_ctx *ring)
{
	__u32 index, *array = READ_FIELD(ring, sq_array);
	__u8 *requests = (void *)READ_FIELD(ring, sq_sqes);

	if (!requests)
		return NULL;
	index = (READ_FIELD(ring, cached_sq_head) - 1) & (READ_FIELD(ring, sq_entries) - 1);
	/* IORING_SETUP_NO_SQARRAY, since Linux 6.6: there is no array */
	if (array)
		READ(&index, array + index);
	if (READ_FIELD(ring, flags) & IORING_SETUP_SQE128)
		index <<= 1;
	return requests + (__u64)index * SQE_SIZE;
}

/* Reads the arguments of an operation from its request. */
static __always_inline void read_request(const __u8 *request, const struct lanner_sqe_args *places, __u64 *args)
{
	__u8 fixed = 0;
	__u32 index = 0;

	READ(&fixed, request + SQE_FLAGS_AT);
	READ(&index, (const __u32 *)(request + SQE_FILE_INDEX_AT));
	fixed &= IOSQE_FIXED_FILE;
#pragma unroll
	for (int i = 0; i < 6; i++) {
		const struct lanner_sqe_arg *place = &places->arg[i];
		__u64 size = place->size, at = place->offset;

		args[i] = 0;
		if (!size)
			continue;
		if ((place->unless == LANNER_UNLESS_FIXED_FILE && fixed) ||
		    (place->unless == LANNER_UNLESS_FILE_INDEX && index))
			args[i] = ~0ULL;
		else if (size == 4)
			bpf_probe_read_kernel(&args[i], 4, request + at);
		else
			bpf_probe_read_kernel(&args[i], 8, request + at);
	}
}

/* Whether the operations of this thread are captured. The thread of a ring (SQPOLL) was born without a fork event. */
static __always_inline int submits(struct task_struct *task)
{
	return wanted(KNOWN(task, tgid), KNOWN(task, pid)) || wanted(KNOWN(task, tgid), KNOWN(task, tgid));
}

/* An operation with this code was submitted to a ring. */
static __always_inline int submitted(struct io_ring_ctx *ring, __u8 code)
{
	struct out o = {.last = LARGE_LAST, .chunk = LARGE_CHUNK};
	struct task_struct *task = current_task();
	struct lanner_sqe_args *places;
	__u32 key = OPERATION_PLANS;
	struct lanner_event *event;
	struct lanner_plan *plan;
	struct place place;
	__u64 time, args[6];
	__u8 *request;

	key += code & (LANNER_PLAN_OPERATIONS - 1);
	plan = bpf_map_lookup_elem(&plans, &key);
	if (!plan || !(plan->flags & LANNER_PLAN_SELECTED) || !submits(task))
		return 0;
	request = last_request(ring);
	if (!request)
		return 0;
	key = code & (LANNER_PLAN_OPERATIONS - 1);
	places = bpf_map_lookup_elem(&sqe_args, &key);
	if (!places)
		return 0;
	read_request(request, places, args);
	time = bpf_ktime_get_ns();
	event = reserve(&place, LARGE_ROOM);
	if (!event)
		return 0;
	/* while the plan is followed, the operation has failed: nothing that its success writes is there yet */
	begin_event(event, &place, time, task, CALL(LANNER_ABI_IO_URING, LANNER_FLAG_ENTRY, code, -1), 0);
	__builtin_memcpy(event->args, args, sizeof(event->args));
	o.event = event;
	run_plan(&o, plan, GATHERED | VARIANTS);
	o.event->ret = 0;
	commit(&place, o.event->len);
	return 0;
}

/* Since Linux 6.4; before that, the tracepoint below. A kernel has one of them, or no io_uring. */
SEC("raw_tp/io_uring_submit_req") int io_uring_submit_req(__u64 *ctx)
{
	struct io_kiocb *request = (void *)ctx[0];

	if (!FIELD_EXISTS(request->ctx))
		return 0;
	return submitted(READ_FIELD(request, ctx), READ_FIELD(request, opcode));
}

/*
 * Its first argument is the request since Linux 6.0, when requests got a member `cmd`. Before that it is the ring, and
 * the second argument is the request or, before Linux 5.13, the code.
 */
SEC("raw_tp/io_uring_submit_sqe") int io_uring_submit_sqe(__u64 *ctx)
{
	struct io_kiocb *request = (void *)ctx[0];

	if (!FIELD_EXISTS(request->ctx))
		return 0;
	if (FIELD_EXISTS(request->cmd))
		return submitted(READ_FIELD(request, ctx), READ_FIELD(request, opcode));
	request = (void *)ctx[1];
	return submitted((void *)ctx[0], ctx[1] > 255 ? READ_FIELD(request, opcode) : ctx[1]);
}

#endif
