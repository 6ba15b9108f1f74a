/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where events are written, and how they are output. Putting an event into a perf buffer costs more than writing it. So
 * the events of a CPU gather in a batch: they are written one after another into the CPU's first slot, and the batch is
 * put into the perf buffer when it is full. The reader does not wait for that. It reads the batch in its slot, as far
 * as the CPU's mark says, and skips what it has read when the batch arrives in the perf buffer (src/perf).
 *
 * Up to Linux 6.18 no program interrupts another: tracepoints and probes run their programs with preemption off, and an
 * interrupt reaches none of our tracepoints. If a kernel does preempt a program, another program that then runs on the
 * same CPU takes a further slot. It puts the batch so far and its own event into the perf buffer at once. That is safe
 * wherever the first program was preempted:
 *
 * - While it writes its event, the event is after what the mark counts.
 * - After it has output a batch and before it has changed the mark, the same batch is output twice. The reader knows
 * the batch's number, and how much of it it has read.
 * - After it has changed the mark, there is nothing to output.
 *
 * A program stays on its CPU until it ends. Only the order of time suffers: the event of the preempted program was
 * begun earlier and arrives later. Events of one thread cannot change places, and a new thread does not run before its
 * fork event is output.
 */
#ifndef LANNER_SLOT_H
#define LANNER_SLOT_H

#define LAST 23552
#define CHUNK 8192
#define NAME_ROOM 272 /* a component, " (deleted)" and NUL */
#define ROOM (LAST + HEAD + CHUNK + NAME_ROOM)
#define SPACE (EVENT_MASK + 1 + HEAD + CHUNK + NAME_ROOM + 16) /* the most that the masks allow */

_Static_assert(LAST <= EVENT_MASK && CHUNK - 1 == CHUNK_MASK && CHUNK / 2 - 1 == HALF_MASK,
	       "the masks do not match the bounds");
_Static_assert(ROOM <= EVENT_MASK + 1, "an event is larger than its mask");

_Static_assert(ROOM <= LANNER_EVENT_MAX, "an event is larger than LANNER_EVENT_MAX");

#define SLOTS 4
#define FULL 3072	  /* a batch of more bytes is output before the next event is begun */
#define BEGIN_MASK 0xff8u /* offsets at which an event can begin: the sizes of events are multiples of 8 */

_Static_assert(FULL <= BEGIN_MASK, "an event may begin beyond the mask");

/*
 * A batch is read while it is filled, so the reader must not see a mark before the events that it counts. Programs for
 * old kernels have no barrier instruction. So there are batches only on machines that keep stores in order. Elsewhere
 * each event goes into the perf buffer, which orders the stores itself.
 */
#ifdef __TARGET_ARCH_x86
#define BATCHES 1
#else
#define BATCHES 0
#endif

/* The beginning of a batch in the perf buffer. A single event begins with its length, which is never 0. */
struct batch_head {
	__u32 zero;
	__u32 number;
	__u64 before; /* events in earlier batches of this CPU */
};

/* An event that is being written, handed from program to program by tail calls. */
struct slot {
	__u64 claims;	     /* 1: in use */
	__u64 owner;	     /* bpf_get_current_pid_tgid() of the thread that claimed it */
	__u32 begin;	     /* the offset of the event in the data */
	__u32 alone;	     /* 1: a further slot, whose event is not in a batch */
	__u32 plan;	     /* its index in `plans` */
	__u32 at;	     /* the index of the next operation */
	__u32 stage;	     /* the next fact of an exec event; 0: a plan is followed */
	__u32 then;	     /* the program that ends the event; 0: it is output */
	struct lanner_op op; /* the operation that runs */
	__u32 run;	     /* strings taken, components walked */
	/* the path that is being walked, and the mount point of its mount */
	__u64 dentry, mnt, root, parent, mountpoint;
	__u32 limit;
	__u8 what, memfd;
	/* src/perf/batch.rs knows the sizes of these two, which end the struct */
	struct batch_head head;
	__u8 data[BEGIN_MASK + 1 + SPACE];
};

_Static_assert(sizeof(struct slot) - offsetof(struct slot, data) == 45360, "see src/perf/batch.rs");
_Static_assert(offsetof(struct slot, data) - offsetof(struct slot, head) == 16, "see src/perf/batch.rs");

/* SLOTS for each CPU: src/load.rs sets the number. */
MAP(slots, ARRAY, 4, sizeof(struct slot), SLOTS);
/*
 * One word for each CPU: the number of the batch (32 bits), the number of events in it (16 bits), and their bytes (16
 * bits). It is one word so that a program that interrupts sees values of the same batch.
 */
MAP(marks, PERCPU_ARRAY, 4, 8, 1);

/*
 * The reader on another CPU sees stores before this call before stores after it. x86 keeps stores in order. Elsewhere
 * no instruction for old kernels is a barrier, but the lock of a hash map is one: it is released and taken again. The
 * reader's side is in src/perf/batch.rs.
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

/* As SIZED, for a bound that is not a power of two. */
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
		count_losses(error == -ENOSPC  ? LANNER_LOSS_BUFFER_FULL
			     : error == -EBUSY ? LANNER_LOSS_NESTED
					       : LANNER_LOSS_FAULT,
			     count);
}

/*
 * Puts the batch so far into the perf buffer. If there is no room, the reader counts the events of the batch that it
 * has not read.
 */
static __always_inline void output_batch(void *ctx, struct slot *slot, __u64 mark)
{
	__u64 len = FILL(mark) + sizeof(slot->head);

	if (FILL(mark) && len <= sizeof(slot->head) + BEGIN_MASK + ROOM)
		output(ctx, &slot->head, SIZED_TO(len, sizeof(slot->head) + BEGIN_MASK + ROOM), 0);
}

/* Makes room in the batch, whose slot has been claimed. Returns the offset of the next event. */
static __always_inline __u32 room_in(void *ctx, struct slot *slot, volatile __u64 *mark)
{
	volatile struct batch_head *head = &slot->head;
	__u64 was = *mark;

	if (FILL(was) <= FULL)
		return FILL(was);
	output_batch(ctx, slot, was);
	/*
	 * The mark comes first. A program that interrupts then finds nothing to output, and a reader that has copied
	 * what is overwritten finds another number.
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
	count_loss(LANNER_LOSS_NESTED);
	return NULL;
}

/* The slot that the program before the tail call claimed. */
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

/* Releases a slot. An event that was not delivered is discarded. */
static __always_inline void release_slot(struct slot *slot)
{
	*(volatile __u64 *)&slot->owner = 0;
	unclaim(&slot->claims);
}

/* Delivers the finished event, and releases its slot. */
static __always_inline void deliver(void *ctx, struct slot *slot)
{
	struct lanner_event *event = event_of(slot);
	volatile __u64 *mark = my_mark();
	__u64 len = event->len;

	if (!mark || !WITHIN(len, ROOM)) {
		count_loss(LANNER_LOSS_FAULT);
	} else if (!slot->alone) {
		store_order();
		*mark += (1 << 16) + len;
	} else {
		struct slot *first = slot_at(bpf_get_smp_processor_id() * SLOTS);

		/* the events in the batch come before this one */
		if (first)
			output_batch(ctx, first, *mark);
		output(ctx, event, SIZED(len, EVENT_MASK), 1);
	}
	release_slot(slot);
}

#endif
