/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reading the kernel's memory; what cannot be read is 0. */
#ifndef LANNER_READ_H
#define LANNER_READ_H

static __always_inline __u64 word(__u64 base, __u64 at)
{
	__u64 value = 0;

	bpf_probe_read(&value, sizeof(value), (void *)(base + at));
	return value;
}

static __always_inline __u32 half_word(__u64 base, __u64 at)
{
	__u32 value = 0;

	bpf_probe_read(&value, sizeof(value), (void *)(base + at));
	return value;
}

static __always_inline __u16 quarter_word(__u64 base, __u64 at)
{
	__u16 value = 0;

	bpf_probe_read(&value, sizeof(value), (void *)(base + at));
	return value;
}

/* 32 bits of a tracepoint's record: where they stand, its `format` in tracefs says. */
static __always_inline __u32 recorded(void *ctx, __u32 at)
{
	__u32 value = 0;

	bpf_probe_read(&value, sizeof(value), (char *)ctx + at);
	return value;
}

/* A struct path, and how mnt_parent and mnt_mountpoint stand in struct mount. */
struct pair {
	__u64 first, second;
};

static __always_inline struct pair two_words(__u64 base, __u64 at)
{
	struct pair pair = {};

	bpf_probe_read(&pair, sizeof(pair), (void *)(base + at));
	return pair;
}

#endif
