/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where events are written, and how they leave. To put one into a perf buffer costs more than to write it,
 * so those of a CPU gather in a batch, in its first slot, one behind the other where they were written; the
 * batch goes into the perf buffer when it is full. The reader does not wait for that: it reads the batch
 * where it lies, as far as the CPU's mark says, and passes over what it has when the batch comes (src/perf).
 *
 * A program can be preempted (since 5.11), and then another one runs on the same CPU: that one takes a
 * further slot, and puts what has gathered and its own event straight into the perf buffer.
 */
#ifndef LANNER_SLOT_H
#define LANNER_SLOT_H

#define LAST 23552
#define CHUNK 8448
#define NAME_ROOM 272 /* a component, " (deleted)" and NUL */
#define ROOM (LAST + HEAD + CHUNK + NAME_ROOM)

_Static_assert(ROOM <= LANNER_EVENT_MAX, "an event larger than LANNER_EVENT_MAX");

#define SLOTS 4
#define FULL 3072	  /* a batch of more bytes is put out before the next event is begun */
#define BEGIN_MASK 0xff8u /* where an event can begin: events are multiples of 8 */

_Static_assert(FULL <= BEGIN_MASK, "an event may begin beyond the mask");

/*
 * A batch is read while it gathers: its mark must not be seen before its events. Programs of that age have no
 * barrier, so there are batches only where a machine keeps its stores in order; elsewhere each event goes into
 * the perf buffer, which sees to that.
 */
#ifdef __TARGET_ARCH_x86
#define BATCHES 1
#else
#define BATCHES 0
#endif

/* Begins a batch in the perf buffer; an event alone begins with its length, which is never 0. */
struct batch_head {
	__u32 zero;
	__u32 number;
	__u64 before; /* events in earlier batches of this CPU */
};

/* An event that is being written, handed from program to program by tail calls. */
struct slot {
	__u64 claims;	     /* 1: somebody's */
	__u64 owner;	     /* bpf_get_current_pid_tgid() of whoever has claimed it */
	__u32 begin;	     /* where in the data the event is */
	__u32 alone;	     /* 1: a further slot, no batch */
	__u32 plan;	     /* its place in `plans` */
	__u32 at;	     /* the operation that comes next */
	__u32 stage;	     /* the next fact of an exec event; 0: a plan is followed */
	__u32 then;	     /* the program that ends it; 0: output */
	struct lanner_op op; /* the operation that runs */
	__u32 run;	     /* strings taken, components walked */
	/* a path that is being walked, and where its mount is mounted */
	__u64 dentry, mnt, root, parent, mountpoint;
	__u32 limit;
	__u8 what, memfd;
	/* src/perf/batch.rs knows these two from the end */
	struct batch_head head;
	__u8 data[BEGIN_MASK + ROOM];
};

_Static_assert(sizeof(struct slot) - offsetof(struct slot, data) == 36376, "see src/perf/batch.rs");
_Static_assert(offsetof(struct slot, data) - offsetof(struct slot, head) == 16, "see src/perf/batch.rs");

/* SLOTS a CPU: load.rs says how many. */
MAP(slots, ARRAY, 4, sizeof(struct slot), SLOTS);
/* One word a CPU, so that whoever interrupts sees number and fill of the same batch: its number, events in it
 * (16 bits), their bytes (16 bits). */
MAP(marks, PERCPU_ARRAY, 4, 8, 1);

#define FILL(mark) ((mark)&0xffff)
#define EVENTS(mark) ((mark) >> 16 & 0xffff)
#define NUMBER(mark) ((mark) >> 32)

#define ENOSPC 28
#define EBUSY 16

static __always_inline struct slot *slot_at(__u32 key) { return bpf_map_lookup_elem(&slots, &key); }

static __always_inline volatile __u64 *my_mark(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&marks, &zero);
}

static __always_inline struct lanner_event *event_of(struct slot *slot)
{
	__u64 begin = slot->begin;

	OPAQUE(begin);
	return (void *)(slot->data + (begin & BEGIN_MASK));
}

#define OUT(slot)                                                                                                      \
	{                                                                                                              \
		.event = event_of(slot), .last = LAST, .chunk = CHUNK                                                  \
	}

static __always_inline void output(void *ctx, void *data, __u64 len, __u64 count)
{
	long error = bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, data, len);

	if (error)
		lose_many(error == -ENOSPC  ? LANNER_LOSS_BUFFER_FULL
			  : error == -EBUSY ? LANNER_LOSS_NESTED
					    : LANNER_LOSS_FAULT,
			  count);
}

/* Puts what has gathered into the perf buffer. */
static __always_inline void output_batch(void *ctx, struct slot *slot, __u64 mark, __u64 count)
{
	__u64 len = FILL(mark) + sizeof(slot->head);

	if (FILL(mark) && WITHIN(len, sizeof(slot->head) + BEGIN_MASK + ROOM))
		output(ctx, &slot->head, len, count);
}

/* Makes room in the batch, which is ours; returns where. */
static __always_inline __u32 room_in(void *ctx, struct slot *slot, volatile __u64 *mark)
{
	volatile struct batch_head *head = &slot->head;
	__u64 was = *mark;

	if (FILL(was) <= FULL)
		return FILL(was);
	output_batch(ctx, slot, was, EVENTS(was));
	/* the mark first: whoever comes in between finds nothing to put out */
	*mark = (NUMBER(was) + 1) << 32;
	head->before += EVENTS(was);
	head->number = NUMBER(was) + 1;
	return 0;
}

static __always_inline struct slot *claim_slot(void *ctx, __u64 id)
{
	__u32 first = bpf_get_smp_processor_id() * SLOTS;
	volatile __u64 *mark = my_mark();

	if (!mark)
		return NULL;
#pragma unroll
	for (int k = 0; k < SLOTS; k++) {
		struct slot *slot = slot_at(first + k);

		if (slot && claim(&slot->claims)) {
			slot->owner = id;
			slot->begin = k || !BATCHES ? 0 : room_in(ctx, slot, mark);
			slot->alone = k > 0 || !BATCHES;
			slot->at = 0;
			slot->stage = 0;
			slot->then = 0;
			slot->run = 0;
			slot->memfd = 0;
			return slot;
		}
	}
	lose(LANNER_LOSS_NESTED);
	return NULL;
}

/* The slot that the program before the tail call has claimed. */
static __always_inline struct slot *my_slot(void)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 first = bpf_get_smp_processor_id() * SLOTS;

#pragma unroll
	for (int k = 0; k < SLOTS; k++) {
		struct slot *slot = slot_at(first + k);

		if (slot && slot->owner == id)
			return slot;
	}
	return NULL;
}

/* Gives it back; what was written is forgotten, unless it was delivered. */
static __always_inline void release_slot(struct slot *slot)
{
	*(volatile __u64 *)&slot->owner = 0;
	unclaim(&slot->claims);
}

/* Delivers the finished event. */
static __always_inline void deliver(void *ctx, struct slot *slot)
{
	struct lanner_event *event = event_of(slot);
	volatile __u64 *mark = my_mark();
	__u64 len = event->len;

	if (!mark || !WITHIN(len, ROOM)) {
		lose(LANNER_LOSS_FAULT);
	} else if (!slot->alone) {
		*mark += (1 << 16) + len;
	} else {
		struct slot *first = slot_at(bpf_get_smp_processor_id() * SLOTS);

		/* what we have put there has to come before this one */
		if (first)
			output_batch(ctx, first, *mark, 0);
		output(ctx, event, len, 1);
	}
	release_slot(slot);
}

#endif
