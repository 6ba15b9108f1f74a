/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A ring of events for each CPU, in arrays that user space maps; src/ring.rs reads it. A BPF ring buffer is shared by
 * all CPUs, takes a lock twice for each record, and wants to know sizes beforehand. Here a record begins with the room
 * of the largest event, and is shortened to its length when it is finished.
 *
 * Programs can be preempted, so several records of one CPU may be written at the same time. One word (state) holds
 * where the next record begins and how many records are being written. If there are none, all before that is finished.
 *
 * Before Linux 5.12 programs have no compare-and-exchange. There (SINGLE_RUN) they cannot be preempted either, because
 * tracepoints and kprobes call them with preemption disabled.
 */
#ifndef LANNER_RING_H
#define LANNER_RING_H

/* By CPU; user space sets the number of entries before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lanner_ring);
} rings SEC(".maps");

/*
 * The bytes of the rings: settings.chunks values for each CPU. A record begins anywhere in a chunk and may reach behind
 * it, so a value has the bytes of a chunk and LANNER_EVENT_MAX more.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 65536 + LANNER_EVENT_MAX);
} chunks SEC(".maps");

/* Never holds anything: discarding a record wakes the reader, which polls it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} wakeup SEC(".maps");

/* A record that is being written, at position `at` with `room` bytes. */
struct place {
	struct lanner_ring *ring;
	__u32 cpu;
	__u64 at;
	__u64 room;
};

/*
 * A release barrier: the stores before it are seen before the stores behind it. Compare-and-exchange is one by itself.
 * Where there is none, the xchg() in a ring buffer's discard (kernel/bpf/ringbuf.c) is one. A machine that keeps its
 * stores in order needs none.
 */
static __always_inline void release(void)
{
#if defined(SINGLE_RUN) && !defined(__TARGET_ARCH_x86)
	void *nothing = bpf_ringbuf_reserve(&wakeup, 8, 0);

	if (nothing)
		bpf_ringbuf_discard(nothing, BPF_RB_NO_WAKEUP);
#endif
}

/* Replaces `from` by `to`. 0: the word has another value. */
static __always_inline int swap(volatile __u64 *word, __u64 from, __u64 to)
{
#ifdef SINGLE_RUN
	release();
	*word = to;
	return 1;
#else
	return __sync_val_compare_and_swap(word, from, to) == from;
#endif
}

/* The bytes at a position of a CPU's ring. */
static __always_inline void *bytes_at(__u32 cpu, __u64 at)
{
	__u32 key = cpu * settings.chunks + ((at >> settings.chunk_shift) & (settings.chunks - 1));
	__u8 *chunk = bpf_map_lookup_elem(&chunks, &key);

	return chunk ? chunk + (at & ((1ull << settings.chunk_shift) - 1)) : NULL;
}

/*
 * Reserves `room` bytes for an event. NULL: there is no room, which is counted as a loss. Read the event's time before:
 * then neither the order of records on a CPU nor the order of times across CPUs swaps events of one process.
 *
 * The last eighth of a ring is for births, execs and ends (`life`): without them, later events would be reported
 * for the wrong process.
 */
static __always_inline void *reserve_for(struct place *place, __u64 room, int life)
{
	__u64 size = (__u64)settings.chunks << settings.chunk_shift;
	__u32 cpu = bpf_get_smp_processor_id();
	struct lanner_ring *ring = bpf_map_lookup_elem(&rings, &cpu);

	if (!ring) {
		lose(LANNER_LOSS_FAULT);
		return NULL;
	}
	place->ring = ring;
	place->cpu = cpu;
	place->room = room;
	for (int i = 0; i < 8; i++) {
		__u64 state = *(volatile __u64 *)&ring->state;
		__u64 at = state >> WRITING_BITS;

		if (at + room - *(volatile __u64 *)&ring->consumed > (life ? size : size - (size >> 3))) {
			lose(LANNER_LOSS_BUFFER_FULL);
			if (life)
				lose(LOST_LIVES);
			return NULL;
		}
		if ((state & WRITING_MASK) == WRITING_MASK)
			break;
		if (!swap(&ring->state, state, state + (room << WRITING_BITS) + 1))
			continue;
		place->at = at;
		return bytes_at(cpu, at);
	}
	lose(LANNER_LOSS_NESTED);
	if (life)
		lose(LOST_LIVES);
	return NULL;
}

static __always_inline void *reserve(struct place *place, __u64 room) { return reserve_for(place, room, 0); }

/* Marks the unused room behind a record of `len` bytes, so that the reader skips it. */
static __always_inline void leave_gap(const struct place *place, __u32 len)
{
	struct lanner_gap *gap = bytes_at(place->cpu, place->at + len);

	if (gap) {
		gap->version = 0;
		gap->len = place->room - len;
	}
}

/* Finishes a record, whose length is `len`, and wakes the reader if it has asked for that. */
static __always_inline void commit(const struct place *place, __u64 len)
{
	struct lanner_ring *ring = place->ring;
	__u64 state = *(volatile __u64 *)&ring->state;
	__u64 next = ((place->at + len) << WRITING_BITS) + (state & WRITING_MASK) - 1;

	if (state >> WRITING_BITS != place->at + place->room || !swap(&ring->state, state, next)) {
		if (len < place->room)
			leave_gap(place, len);
#ifdef SINGLE_RUN
		next = *(volatile __u64 *)&ring->state -= 1;
#else
		next = __sync_fetch_and_add(&ring->state, -1) - 1;
#endif
	}
	if (next & WRITING_MASK)
		return;
	next >>= WRITING_BITS;
	*(volatile __u64 *)&ring->published = next;
	if (unlikely(next > *(volatile __u64 *)&ring->wake_at)) {
		void *record;

		*(volatile __u64 *)&ring->wake_at = WAKE_NEVER;
		record = bpf_ringbuf_reserve(&wakeup, 8, 0);
		if (record)
			bpf_ringbuf_discard(record, BPF_RB_FORCE_WAKEUP);
	}
}

#endif
