/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Operations that a program submits to an io_uring, as in the core driver: driver-ebpf-core/bpf/io_uring.h explains
 * them. Kernels with io_uring have raw tracepoints.
 */
#ifndef LANNER_IO_URING_H
#define LANNER_IO_URING_H

#define IORING_SETUP_SQE128 (1 << 10)
#define IOSQE_FIXED_FILE 1
#define SQE_SIZE 64
#define SQE_FLAGS_AT 0 /* opcode, flags */
#define SQE_FILE_INDEX_AT 44

/* The address of the request that a ring took last. 0: there is none. */
static __always_inline __u64 last_request(const struct offsets *off, __u64 ring)
{
	__u64 requests = read_u64(ring, off->ring_requests), array = read_u64(ring, off->ring_array), index;

	index = (read_u32(ring, off->ring_head) - 1) & (read_u32(ring, off->ring_entries) - 1);
	if (!requests)
		return 0;
	if (array)
		index = read_u32(array, index * 4);
	if (read_u32(ring, off->ring_flags) & IORING_SETUP_SQE128)
		index <<= 1;
	return requests + index * SQE_SIZE;
}

static __always_inline void read_request(__u64 request, const struct lanner_sqe_args *places,
					 struct lanner_event *event)
{
	__u32 fixed = read_u16(request, SQE_FLAGS_AT) >> 8 & IOSQE_FIXED_FILE;
	__u32 index = read_u32(request, SQE_FILE_INDEX_AT);

#pragma unroll
	for (int i = 0; i < 6; i++) {
		const struct lanner_sqe_arg *place = &places->arg[i];
		__u64 value = 0;

		if (place->size == 4)
			value = read_u32(request, place->offset);
		else if (place->size)
			value = read_u64(request, place->offset);
		if ((place->unless == LANNER_UNLESS_FIXED_FILE && fixed) ||
		    (place->unless == LANNER_UNLESS_FILE_INDEX && index))
			value = ~0ULL;
		event->args[i] = value;
	}
}

/* An operation with this code was submitted to a ring. */
static __always_inline void submitted(void *ctx, const struct offsets *off, __u64 ring, __u32 code)
{
	__u64 id = bpf_get_current_pid_tgid(), request;
	const struct settings *set = get_settings();
	const struct lanner_sqe_args *places;
	__u32 key = OPERATION_PLANS;
	struct lanner_plan *plan;
	struct slot *slot;

	code &= LANNER_PLAN_OPERATIONS - 1;
	key += code;
	plan = bpf_map_lookup_elem(&plans, &key);
	if (!set || !plan || !(plan->flags & LANNER_PLAN_SELECTED))
		return;
	/* the thread of a ring (SQPOLL) was born without a fork event */
	if (!is_captured(set, id) && !is_captured(set, id >> 32 | (id >> 32) << 32))
		return;
	request = last_request(off, ring);
	places = bpf_map_lookup_elem(&sqe_args, &code);
	if (!request || !places)
		return;
	slot = claim_slot(ctx, id);
	if (!slot)
		return;
	slot->plan = key;
	/* as if it had failed: nothing that its success writes is there yet; with this flag the result means nothing */
	fill_header(event_of(slot),
		    &(const struct heading){.kind = LANNER_KIND_SYSCALL,
					    .abi = LANNER_ABI_IO_URING,
					    .flags = LANNER_FLAG_ENTRY,
					    .nr = code,
					    .ret = -1},
		    id);
	read_request(request, places, event_of(slot));
	next(ctx, &tails, slot);
}

static __always_inline void request_submitted(void *ctx, const struct offsets *off, __u64 request)
{
	submitted(ctx, off, read_u64(request, off->request_ring), read_u32(request, off->request_code) & 255);
}

RAW(io_uring_submit_req)(__u64 *ctx)
{
	const struct offsets *off = get_offsets();

	if (off)
		request_submitted(ctx, off, ctx[0]);
	return 0;
}

RAW(io_uring_submit_sqe)(__u64 *ctx)
{
	const struct offsets *off = get_offsets();
	__u64 second = ctx[1];

	if (!off)
		return 0;
	if (!off->submits_ring)
		request_submitted(ctx, off, ctx[0]);
	else
		submitted(ctx, off, ctx[0], second > 255 ? read_u32(second, off->request_code) & 255 : second);
	return 0;
}

#endif
