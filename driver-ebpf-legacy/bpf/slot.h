/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where events are written, and how they leave. To put one into a perf buffer costs more than to write it,
 * so those of a CPU gather in a batch, in its first slot, one behind the other where they were written; the
 * batch goes into the perf buffer when it is full. The reader does not wait for that: it reads the batch
 * where it lies, as far as the CPU's mark says, and passes over what it has when the batch comes (src/perf).
 *
 * Up to Linux 6.18 nothing comes between: tracepoints and probes run their programs with preemption off, and nothing
 * that an interrupt does passes one of ours. Should a kernel preempt a program nevertheless, another one that then runs
 * on the same CPU takes a further slot, and puts what has gathered and its own event straight into the perf buffer.
 * That is safe at every point where the first can have been: its own event lies behind what the mark counts; between a
 * batch that has been put out and the mark that says so the same batch goes out twice, and the reader knows its number
 * and how far it has read; behind the mark there is nothing to put out. A program stays on its CPU until it ends. Only
 * the order of time suffers: the event of the one that waited was begun earlier and comes later. Events of one thread
 * cannot change places, and a new thread does not run before its birth is told.
 */
#ifndef LANNER_SLOT_H
#define LANNER_SLOT_H

#define LAST 23552
#define CHUNK 8192
#define NAME_ROOM 272 /* a component, " (deleted)" and NUL */
#define ROOM (LAST + HEAD + CHUNK + NAME_ROOM)
#define SPACE (EVENT_MASK + 1 + HEAD + CHUNK + NAME_ROOM + 16) /* what the masks allow */

_Static_assert(LAST <= EVENT_MASK && CHUNK - 1 == CHUNK_MASK && CHUNK / 2 - 1 == HALF_MASK, "masks that bound");
_Static_assert(ROOM <= EVENT_MASK + 1, "an event within its mask");

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
	__u8 data[BEGIN_MASK + 1 + SPACE];
};

_Static_assert(sizeof(struct slot) - offsetof(struct slot, data) == 45360, "see src/perf/batch.rs");
_Static_assert(offsetof(struct slot, data) - offsetof(struct slot, head) == 16, "see src/perf/batch.rs");

/* SLOTS a CPU: load.rs says how many. */
MAP(slots, ARRAY, 4, sizeof(struct slot), SLOTS);
/* One word a CPU, so that whoever interrupts sees number and fill of the same batch: its number, events in it
 * (16 bits), their bytes (16 bits). */
MAP(marks, PERCPU_ARRAY, 4, 8, 1);

/*
 * What is stored before it is seen before what is stored after it, by the reader on another CPU. x86 keeps stores in
 * their order. Elsewhere no instruction that old programs may have does, but the lock of a hash map: to give it up and
 * to take it again is a barrier. The reader's side is in src/perf/batch.rs.
 */
#ifdef __TARGET_ARCH_x86
static __always_inline void store_order(void) { asm volatile("" ::: "memory"); }
#else
MAP(fence, HASH, 4, 4, 1);

static __always_inline void store_order(void)
{
	__u32 zero = 0;

	bpf_map_delete_elem(&fence, &zero);
	bpf_map_delete_elem(&fence, &zero);
}
#endif

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
	__u8 *event = slot->data;

	ADVANCE(event, slot->begin, BEGIN_MASK);
	return (void *)event;
}

#define OUT(slot)                                                                                                      \
	{                                                                                                              \
		.event = event_of(slot), .last = LAST, .chunk = CHUNK                                                  \
	}

/* As SIZED, for a bound that is no power of two. */
#define SIZED_TO(size, most)                                                                                           \
	({                                                                                                             \
		__u64 size_ = (size);                                                                                  \
		asm volatile("if %0 s> 0 goto +1\n\t%0 = 1\n\tif %0 > %1 goto +1\n\tgoto +1\n\t%0 = %1"                \
			     : "+r"(size_)                                                                             \
			     : "i"(most));                                                                             \
		size_;                                                                                                 \
	})

static __always_inline void output(void *ctx, void *data, __u64 len, __u64 count)
{
	long error = bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, data, len);

	if (error)
		lose_many(error == -ENOSPC  ? LANNER_LOSS_BUFFER_FULL
			  : error == -EBUSY ? LANNER_LOSS_NESTED
					    : LANNER_LOSS_FAULT,
			  count);
}

/*
 * Puts what has gathered into the perf buffer. If there is no room, the reader knows what it has read of the batch
 * already, and counts the rest.
 */
static __always_inline void output_batch(void *ctx, struct slot *slot, __u64 mark)
{
	__u64 len = FILL(mark) + sizeof(slot->head);

	if (FILL(mark) && len <= sizeof(slot->head) + BEGIN_MASK + ROOM)
		output(ctx, &slot->head, SIZED_TO(len, sizeof(slot->head) + BEGIN_MASK + ROOM), 0);
}

/* Makes room in the batch, which is ours; returns where. */
static __always_inline __u32 room_in(void *ctx, struct slot *slot, volatile __u64 *mark)
{
	volatile struct batch_head *head = &slot->head;
	__u64 was = *mark;

	if (FILL(was) <= FULL)
		return FILL(was);
	output_batch(ctx, slot, was);
	/*
	 * The mark first: whoever comes in between finds nothing to put out, and a reader that has copied what is being
	 * written over finds another number.
	 */
	*mark = (NUMBER(was) + 1) << 32;
	store_order();
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
		store_order();
		*mark += (1 << 16) + len;
	} else {
		struct slot *first = slot_at(bpf_get_smp_processor_id() * SLOTS);

		/* what we have put there has to come before this one */
		if (first)
			output_batch(ctx, first, *mark);
		output(ctx, event, SIZED(len, EVENT_MASK), 1);
	}
	release_slot(slot);
}

#endif
