/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How finished events leave. To put one into a perf buffer costs more than to write it, so the small ones
 * of a CPU gather in a batch, which goes into the perf buffer when it is full. The reader does not wait
 * for that: it reads the batch itself where it lies, as far as the CPU's mark says, and passes over what
 * it has when the batch comes (src/perf). The mark is one word, so that whoever interrupts us sees number
 * and fill of the same batch.
 */
#ifndef LANNER_BATCH_H
#define LANNER_BATCH_H

#define BATCH 4096
#define SMALL 1024 /* a larger event goes alone */

/* Begins what goes into the perf buffer; an event alone begins with its length, which is never 0. */
struct batch_head {
	__u32 zero;
	__u32 number;
	__u64 before; /* events in earlier batches of this CPU */
};

struct batch {
	__u64 claims; /* 1: somebody writes */
	struct batch_head head;
	__u8 data[BATCH + SMALL];
};

/* One a CPU: load.rs says how many. */
MAP(batches, ARRAY, 4, sizeof(struct batch), 1);
/* Number of the batch, events in it (16 bits), their bytes (16 bits). */
MAP(marks, PERCPU_ARRAY, 4, 8, 1);

#define FILL(mark) ((mark)&0xffff)
#define EVENTS(mark) ((mark) >> 16 & 0xffff)
#define NUMBER(mark) ((mark) >> 32)

#define ENOSPC 28
#define EBUSY 16

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
static __always_inline void output_batch(void *ctx, struct batch *batch, __u64 mark, __u64 count)
{
	__u64 len = FILL(mark) + sizeof(batch->head);

	if (FILL(mark) && WITHIN(len, sizeof(batch->head) + BATCH))
		output(ctx, &batch->head, len, count);
}

/* Makes room for an event of this length; returns where in the data. The batch is ours. */
static __always_inline __u64 room_for(void *ctx, struct batch *batch, volatile __u64 *mark, __u64 len)
{
	__u64 was = *mark;

	if (FILL(was) + len <= BATCH)
		return FILL(was);
	output_batch(ctx, batch, was, EVENTS(was));
	/* the mark first: whoever comes in between finds nothing to put out */
	*mark = (NUMBER(was) + 1) << 32;
	batch->head.before += EVENTS(was);
	batch->head.number = NUMBER(was) + 1;
	return 0;
}

/* Delivers an event; of a constant length, if it is on the stack. */
static __always_inline void emit(void *ctx, struct lanner_event *event, __u64 len)
{
	__u32 zero = 0, cpu = bpf_get_smp_processor_id();
	struct batch *batch = bpf_map_lookup_elem(&batches, &cpu);
	volatile __u64 *mark = bpf_map_lookup_elem(&marks, &zero);
	__u64 at;

	if (!batch || !mark || !WITHIN(len, ROOM)) {
		lose(LANNER_LOSS_FAULT);
		return;
	}
	if (!claim(&batch->claims)) {
		/* Its owner has been preempted. What we have put there has to come before this one. */
		output_batch(ctx, batch, *mark, 0);
		output(ctx, event, len, 1);
		return;
	}
	at = room_for(ctx, batch, mark, len);
	OPAQUE(at);
	if (len > SMALL)
		output(ctx, event, len, 1);
	else if (at <= BATCH && bpf_probe_read(batch->data + at, len, event) == 0)
		*mark += (1 << 16) + len;
	else
		lose(LANNER_LOSS_FAULT);
	unclaim(&batch->claims);
}

#endif
