/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The event that is being written, and its attachments.
 *
 * The event is written into a buffer whose size the verifier knows. An operation begins only where a whole chunk fits
 * behind the event's length, and then writes less than a chunk: two constant bounds, which every verifier since 4.14
 * can add up. Where an operation does not fit, it marks the event as incomplete.
 */
#ifndef LANNER_ATTACHMENT_H
#define LANNER_ATTACHMENT_H

#include "bounds.h"

#ifndef USER
#define USER(address) ((void *)(address))
#endif

/*
 * Where an event is being written. The progress is kept in the event itself (len, attachments, flags). The verifier
 * does not know the contents of memory. So all paths through an operation look the same to it afterwards, and it
 * follows one of them instead of all.
 */
struct out {
	volatile struct lanner_event *event;
	__u32 last;  /* a chunk fits at this offset and at each one before */
	__u32 chunk; /* bytes that one operation may write behind an attachment's head */
};

/*
 * 1 where pointers in the program's memory are 4 bytes wide: in calls of i386 and arm, and in the calls that only x32
 * has (512 and above). It has no branches, because in a loop each branch doubles what the verifier has to follow.
 */
static __always_inline __u64 is_narrow(__u64 abi, __u64 nr)
{
	__u64 always = 1 << LANNER_ABI_I386 | 1 << LANNER_ABI_ARM, x32 = 1 << LANNER_ABI_X32;

	return ((always >> (abi & 7)) | ((x32 >> (abi & 7)) & (nr >> 9))) & 1;
}

static __always_inline __u64 narrow(const struct out *o) { return is_narrow(o->event->abi, o->event->nr); }

/* Bytes of a pointer in the program's memory. */
static __always_inline __u64 word_size(const struct out *o) { return 8 - 4 * narrow(o); }

/* Argument `at` of the call. 0: there is none. */
static __always_inline __u64 arg_at(const struct out *o, __u64 at)
{
	OPAQUE(at);
	return at < 6 ? o->event->args[at] : 0;
}

/*
 * Defines a part of the interpreter, which does what name_inline() does. A driver may define this so that the verifier
 * follows a part by itself.
 */
#ifndef PART
#define PART(name, type)                                                                                               \
	static __always_inline int name(const struct out *o, type *with) { return name##_inline(o, with); }
#endif

/* A loop of at most `most` steps; `zero` is a 0 that was just written to memory. A driver may have another one. */
#ifndef STEPS
#define STEPS(i, zero, most) for (int i = 0; i < (most); i++)
#endif

#define PAD8(x) (((x) + 7) & ~7u)

static __always_inline void incomplete(const struct out *o) { o->event->flags |= LANNER_FLAG_INCOMPLETE; }

/* Where the next attachment begins. NULL: there is no room for one. */
static __always_inline __u8 *begin_attachment(const struct out *o)
{
	__u8 *at = (__u8 *)o->event;
	__u32 off = o->event->len;

	if (off > o->last) {
		incomplete(o);
		return NULL;
	}
	ADVANCE(at, off, EVENT_MASK);
	return at;
}

/* Fills the head of the attachment at `at`, behind which `captured` bytes were written. */
static __always_inline void finish_attachment(const struct out *o, __u8 *at, __u8 what, __u8 part, __u8 status,
					      __u8 encoding, __u32 captured, __u64 full)
{
	struct lanner_attachment *head = (void *)at;

	head->what = what;
	head->part = part;
	head->status = status;
	head->encoding = encoding;
	head->captured = captured;
	head->full = full;
	o->event->len += HEAD + PAD8(captured);
	o->event->attachments += 1;
}

/* The progress of a loop. It is kept in the attachment's head, where the verifier does not look. */
#define DONE(at) (((volatile struct lanner_attachment *)(at))->captured)
#define STATUS(at) (((volatile struct lanner_attachment *)(at))->status)
#define TOTAL(at) (((volatile struct lanner_attachment *)(at))->full)

static __always_inline void begin_loop(__u8 *at)
{
	DONE(at) = 0;
	STATUS(at) = LANNER_WHOLE;
	TOTAL(at) = 0;
}

#ifndef CGROUP_ID
#define CGROUP_ID() 0
#endif

/* What the fixed part of an event says beside whose event it is, when and where. */
struct heading {
	__u8 kind;
	__u8 abi;
	__u16 flags;
	__u32 nr;
	__s64 ret;
};

/* Fills the fixed part of an event of the current task, without the arguments. `id`: its tgid and tid. */
static __always_inline void fill_header(struct lanner_event *event, const struct heading *heading, __u64 id)
{
	__u64 owner = bpf_get_current_uid_gid();

	event->len = sizeof(*event);
	event->version = LANNER_EVENT_VERSION;
	event->kind = heading->kind;
	event->abi = heading->abi;
	event->attachments = 0;
	event->cpu = bpf_get_smp_processor_id();
	event->flags = heading->flags;
	event->nr = heading->nr;
	event->time_ns = bpf_ktime_get_ns();
	event->tgid = id >> 32;
	event->tid = id;
	event->uid = owner;
	event->gid = owner >> 32;
	event->cgroup = CGROUP_ID();
	event->ret = heading->ret;
}

#endif
