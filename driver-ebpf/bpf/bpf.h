/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The part of the BPF environment that the programs use: types, sections, helpers by number (include/uapi/linux/bpf.h).
 * Compiling them needs no kernel header.
 */
#ifndef LANNER_BPF_H
#define LANNER_BPF_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed int __s32;
typedef signed long long __s64;

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define NULL ((void *)0)
#define offsetof(type, field) __builtin_offsetof(type, field)
/* Bytes of an attachment's head; its data follows. */
#define HEAD sizeof(struct lanner_attachment)
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};

#define BPF_ANY 0
#define BPF_F_MMAPABLE 1024
#define BPF_RB_NO_WAKEUP 1
#define BPF_RB_FORCE_WAKEUP 2
#define BPF_F_CURRENT_CPU 0xffffffffULL

/* Helpers of Linux 4.14 and before. The legacy driver may use no others. */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static long (*bpf_probe_read)(void *dst, __u64 size, const void *src) = (void *)4;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static long (*bpf_tail_call)(void *ctx, void *map, __u32 index) = (void *)12;
static __u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static __u64 (*bpf_get_current_uid_gid)(void) = (void *)15;
static long (*bpf_get_current_comm)(void *buf, __u64 size) = (void *)16;
static long (*bpf_perf_event_output)(void *ctx, void *map, __u64 flags, const void *data, __u64 size) = (void *)25;
static __u64 (*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_probe_read_str)(void *dst, __u64 size, const void *src) = (void *)45;

/* Newer helpers, only for the core driver. */
static __u64 (*bpf_get_current_cgroup_id)(void) = (void *)80;				  /* 4.18 */
static long (*bpf_probe_read_user)(void *dst, __u64 size, const void *src) = (void *)112; /* 5.5 */
static long (*bpf_probe_read_kernel)(void *dst, __u64 size, const void *src) = (void *)113;
static long (*bpf_probe_read_user_str)(void *dst, __u64 size, const void *src) = (void *)114;
static long (*bpf_probe_read_kernel_str)(void *dst, __u64 size, const void *src) = (void *)115;
static void *(*bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131; /* 5.8 */
static void (*bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;
static void (*bpf_ringbuf_discard)(void *data, __u64 flags) = (void *)133;
static __u64 (*bpf_ringbuf_query)(void *ring, __u64 flags) = (void *)134;

static long (*bpf_task_pt_regs)(void *task) = (void *)175; /* 5.15 */

#define EPERM 1
#define ENOENT 2
#define EINTR 4
#define EACCES 13
#define EFAULT 14
#define EROFS 30
#define ENOSYS 38
#define EINPROGRESS 115
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10

#endif
