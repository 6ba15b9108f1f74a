/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads kernel memory. What cannot be read is 0. */
#ifndef LANNER_READ_H
#define LANNER_READ_H

static __always_inline __u64 read_u64(__u64 base, __u64 at)
{
	__u64 value = 0;

	bpf_probe_read(&value, sizeof(value), (void *)(base + at));
	return value;
}

static __always_inline __u32 read_u32(__u64 base, __u64 at)
{
	__u32 value = 0;

	bpf_probe_read(&value, sizeof(value), (void *)(base + at));
	return value;
}

static __always_inline __u16 read_u16(__u64 base, __u64 at)
{
	__u16 value = 0;

	bpf_probe_read(&value, sizeof(value), (void *)(base + at));
	return value;
}

/* 32 bits of a perf-event tracepoint's record, at an offset that the tracepoint's `format` in tracefs names. */
static __always_inline __u32 recorded(void *ctx, __u32 at)
{
	__u32 value = 0;

	bpf_probe_read(&value, sizeof(value), (char *)ctx + at);
	return value;
}

/* Two pointers that follow each other, such as those of a struct path. */
struct pair {
	__u64 first, second;
};

static __always_inline struct pair read_pair(__u64 base, __u64 at)
{
	struct pair pair = {};

	bpf_probe_read(&pair, sizeof(pair), (void *)(base + at));
	return pair;
}

#endif
