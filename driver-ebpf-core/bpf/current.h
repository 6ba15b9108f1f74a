/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads the kernel's structs and the current task. It uses plain loads where the verifier knows the type of a pointer,
 * or accepts one (bpf_rdonly_cast, 6.2), and a helper call for each field elsewhere. A kernel without types (NO_TYPES)
 * knows no type of a pointer; user space takes the offsets of its fields from a file.
 */
#ifndef LANNER_CURRENT_H
#define LANNER_CURRENT_H

#define READ(dst, src) bpf_probe_read_kernel(dst, sizeof(*(dst)), src)

extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __attribute__((section(".ksyms"), weak));

/* Reads one field by a helper call. What is read through NULL is 0. */
#define READ_FIELD(ptr, field)                                                                                         \
	({                                                                                                             \
		typeof((ptr)->field) value_ = 0;                                                                       \
		bpf_probe_read_kernel((void *)&value_, sizeof(value_), &(ptr)->field);                                 \
		value_;                                                                                                \
	})

#if defined(SINGLE_RUN) || defined(NO_TYPES)
/* Reads one field of a kernel struct. The pointer must not point to const: the compiler would assume a value of 0. */
#define FOLLOW(ptr, field) READ_FIELD(ptr, field)
/* The same for a pointer whose type the verifier knows. */
#define KNOWN(ptr, field) READ_FIELD(ptr, field)
/* The pointer, whose type the verifier knows, as one that it does not trust. */
#define UNTRUSTED(ptr) (ptr)
#define current_task() ((struct task_struct *)bpf_get_current_task())
#else
#define TYPE_ID_TARGET 1
#define FOLLOW(ptr, field)                                                                                             \
	(bpf_rdonly_cast ? ((typeof(ptr))bpf_rdonly_cast((ptr), __builtin_btf_type_id(*(ptr), TYPE_ID_TARGET)))->field \
			 : READ_FIELD(ptr, field))
#define KNOWN(ptr, field) ((ptr)->field)
#define UNTRUSTED(ptr)                                                                                                 \
	(bpf_rdonly_cast ? (typeof(ptr))bpf_rdonly_cast((ptr), __builtin_btf_type_id(*(ptr), TYPE_ID_TARGET)) : (ptr))
#define current_task() bpf_get_current_task_btf()
static struct task_struct *(*bpf_get_current_task_btf)(void) = (void *)158; /* 5.11 */
#endif

/* Whether the kernel's struct has this field (BPF_FIELD_EXISTS of libbpf). */
#define FIELD_EXISTS(field) __builtin_preserve_field_info(field, 2)

/*
 * Fills the fixed part of an event of `task` without the arguments. For each pointer that is read through one that the
 * verifier trusts, it goes through all types of the kernel (btf_nested_type_is_trusted()), which takes a millisecond. A
 * pointer that it does not trust costs a few instructions more at each event. `often` is a constant: 1: the events are
 * many.
 */
static __always_inline void begin_event(struct lanner_event *event, const struct place *place, __u64 time,
					struct task_struct *task, const struct heading *heading, int often)
{
	struct task_struct *from = often ? task : UNTRUSTED(task);
	struct cred *cred = KNOWN(from, cred);
	struct css_set *cgroups = KNOWN(from, cgroups);
	struct cgroup *cgroup = KNOWN(cgroups, dfl_cgrp);
	struct kernfs_node *node = KNOWN(cgroup, kn);

	event->len = sizeof(*event);
	*(__u32 *)&event->version = LANNER_EVENT_VERSION | (__u32)heading->kind << 8 | (__u32)heading->abi << 16;
	event->cpu = place->cpu;
	event->flags = heading->flags;
	event->nr = heading->nr;
	event->time_ns = time;
	event->tgid = KNOWN(task, tgid);
	event->tid = KNOWN(task, pid);
	event->uid = KNOWN(cred, uid.val);
	event->gid = KNOWN(cred, gid.val);
	event->cgroup = KNOWN(node, id);
	event->ret = heading->ret;
}

#endif
