/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads kernel memory for src/offsets, which loads it for a moment, at start. A call getpgid(magic + N) stores who made
 * it in element N of `callers`. With N = 0 it also copies the memory that `query` names to `answer`.
 */
#define FIXED_BOUNDS
#include "bpf.h"
#include "bounds.h"
#include "legacy_layout.h"

struct bpf_map_def {
	__u32 type, key_size, value_size, max_entries, map_flags;
};

struct bpf_map_def query SEC("maps") = {
    .type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = sizeof(struct query), .max_entries = 1};
struct bpf_map_def callers SEC("maps") = {
    .type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = sizeof(struct caller), .max_entries = CALLERS};
struct bpf_map_def answer SEC("maps") = {
    .type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = sizeof(struct answer), .max_entries = 1};

struct bpf_map_def submission SEC("maps") = {
    .type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = sizeof(struct submission), .max_entries = 1};

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The number of getpgid(2), and the offset of its argument in struct pt_regs, for native calls and for 32-bit calls. */
#if defined(__TARGET_ARCH_x86)
#define NR_GETPGID 121
#define NR_GETPGID_COMPAT 132
#define ARG_AT 112
#define ARG_COMPAT_AT 40
#elif defined(__TARGET_ARCH_arm64)
#define NR_GETPGID 155
#define NR_GETPGID_COMPAT NR_GETPGID
#define ARG_AT 0
#define ARG_COMPAT_AT ARG_AT
#endif

/* Answers a call if its argument is one of ours. */
static __always_inline void respond(const struct query *query_, __u64 argument)
{
	__u32 zero = 0, index = (__u32)argument - query_->magic;
	struct caller *caller = bpf_map_lookup_elem(&callers, &index);
	__u64 len, from = query_->address;
	struct answer *answer_;

	if (!caller)
		return;
	caller->id = bpf_get_current_pid_tgid();
	caller->task = bpf_get_current_task();
	bpf_probe_read(caller->head, sizeof(caller->head), (void *)caller->task);
	answer_ = bpf_map_lookup_elem(&answer, &zero);
	if (index || !answer_)
		return;
	if (query_->relative)
		from += caller->task;
	answer_->number = query_->number;
	len = query_->len;
	if (WITHIN(len, ANSWER_SIZE))
		answer_->error = bpf_probe_read(answer_->bytes, SIZED(len, ANSWER_SIZE - 1), (void *)from);
}

SEC("raw_tracepoint/sys_enter") int raw_peek(__u64 *ctx)
{
	__u64 nr = ctx[1], argument = 0;
	__u32 zero = 0;
	const struct query *query_ = bpf_map_lookup_elem(&query, &zero);

	if (!query_ || (nr != NR_GETPGID && nr != NR_GETPGID_COMPAT))
		return 0;
	bpf_probe_read(&argument, sizeof(argument), (void *)(ctx[0] + (nr == NR_GETPGID ? ARG_AT : ARG_COMPAT_AT)));
	respond(query_, argument);
	return 0;
}

/* A 64-bit number in the record of a perf-event tracepoint. */
static __always_inline __u64 recorded(void *ctx, __u32 offset)
{
	__u64 value = 0;

	bpf_probe_read(&value, sizeof(value), (char *)ctx + offset);
	return value;
}

SEC("tracepoint/sys_enter") int tp_peek(void *ctx)
{
	__u32 zero = 0;
	const struct query *query_ = bpf_map_lookup_elem(&query, &zero);
	__u64 nr;

	if (!query_)
		return 0;
	nr = recorded(ctx, query_->id_offset);
	if (nr == NR_GETPGID || nr == NR_GETPGID_COMPAT)
		respond(query_, recorded(ctx, query_->argument_offset));
	return 0;
}

/* An operation of io_uring is submitted. */
static __always_inline void submit(__u64 first, __u64 second)
{
	__u32 zero = 0;
	struct submission *seen = bpf_map_lookup_elem(&submission, &zero);

	if (seen && seen->id == bpf_get_current_pid_tgid()) {
		seen->arguments[0] = first;
		seen->arguments[1] = second;
	}
}

SEC("raw_tracepoint/io_uring_submit_req") int raw_submit_req(__u64 *ctx)
{
	submit(ctx[0], 0);
	return 0;
}

SEC("raw_tracepoint/io_uring_submit_sqe") int raw_submit_sqe(__u64 *ctx)
{
	submit(ctx[0], ctx[1]);
	return 0;
}
