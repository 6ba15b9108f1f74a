/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A ring of events for each CPU, in arrays that user space maps. A BPF ring buffer is one for all CPUs,
 * takes a lock twice for each record, and wants sizes that are known beforehand; here a record is cut to
 * its length when it is finished, so each begins with all the room there is.
 *
 * Programs may be preempted, so records of one CPU can be written at the same time. One word holds where
 * the next begins and how many are being written: what lies before is complete when there are none.
 * src/ring.rs is the other side, and has the same structs.
 *
 * Before Linux 5.12 programs have no compare-and-exchange; there (SINGLE_RUN) they cannot be preempted
 * either: tracepoints and kprobes call them with preemption disabled.
 */
#ifndef LANNER_RING_H
#define LANNER_RING_H

/* How one CPU's ring stands. The halves are a cache line each: ours, and user space's. */
struct lanner_ring {
	__u64 state;	 /* end of what is reserved << WRITING_BITS | records being written */
	__u64 published; /* an end that was complete once; what to go by while records are being written */
	__u64 unused[6];
	__u64 consumed; /* up to here everything has been read */
	__u64 bell_at;	/* ring the bell when the end is behind this */
	__u64 unused_too[6];
};

#define WRITING_BITS 8
#define WRITING 0xff

/* A gap after a record that could not be cut: its length, and no version. */
struct lanner_gap {
	__u32 len;
	__u32 version;
};

/* By CPU; entries are set before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lanner_ring);
} rings SEC(".maps");

/*
 * The bytes of the rings: settings.chunks for each CPU. A record begins anywhere in a chunk, and may reach
 * behind it: a value is a chunk and LANNER_EVENT_MAX.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 65536 + LANNER_EVENT_MAX);
} chunks SEC(".maps");

/* Holds nothing: a record that is taken back wakes whoever polls it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} bell SEC(".maps");

/* A record that is being written. */
struct place {
	struct lanner_ring *ring;
	__u32 cpu;
	__u64 at;
	__u64 room;
};

/*
 * What was written before is seen before what is written from here on. Compare-and-exchange does that by itself;
 * where there is none, the xchg() in a ring buffer's discard has to do (kernel/bpf/ringbuf.c), except on a machine
 * that keeps its stores in order anyway.
 */
static __always_inline void release(void)
{
#if defined(SINGLE_RUN) && !defined(__TARGET_ARCH_x86)
	void *nothing = bpf_ringbuf_reserve(&bell, 8, 0);

	if (nothing)
		bpf_ringbuf_discard(nothing, BPF_RB_NO_WAKEUP);
#endif
}

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

static __always_inline void *bytes_at(__u32 cpu, __u64 at)
{
	__u32 key = cpu * settings.chunks + ((at >> settings.chunk_shift) & (settings.chunks - 1));
	__u8 *chunk = bpf_map_lookup_elem(&chunks, &key);

	return chunk ? chunk + (at & ((1ull << settings.chunk_shift) - 1)) : NULL;
}

/*
 * Room for an event of at most so many bytes; NULL, and counted, where there is none. The time of an event
 * is to be read before: then the order of records on a CPU, and of times across CPUs, is one in which each
 * process's own events keep theirs.
 */
static __always_inline void *reserve(struct place *place, __u64 room)
{
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

		if (at + room - *(volatile __u64 *)&ring->consumed > (__u64)settings.chunks << settings.chunk_shift) {
			lose(LANNER_LOSS_BUFFER_FULL);
			return NULL;
		}
		if ((state & WRITING) == WRITING)
			break;
		if (!swap(&ring->state, state, state + (room << WRITING_BITS) + 1))
			continue;
		place->at = at;
		return bytes_at(cpu, at);
	}
	lose(LANNER_LOSS_NESTED);
	return NULL;
}

static __always_inline void leave_gap(const struct place *place, __u32 len)
{
	struct lanner_gap *gap = bytes_at(place->cpu, place->at + len);

	if (gap) {
		gap->version = 0;
		gap->len = place->room - len;
	}
}

/* The record is finished, and has this length. */
static __always_inline void commit(const struct place *place, __u64 len)
{
	struct lanner_ring *ring = place->ring;
	__u64 state = *(volatile __u64 *)&ring->state;
	__u64 next = ((place->at + len) << WRITING_BITS) + (state & WRITING) - 1;

	if (state >> WRITING_BITS != place->at + place->room || !swap(&ring->state, state, next)) {
		if (len < place->room)
			leave_gap(place, len);
#ifdef SINGLE_RUN
		next = *(volatile __u64 *)&ring->state -= 1;
#else
		next = __sync_fetch_and_add(&ring->state, -1) - 1;
#endif
	}
	if (next & WRITING)
		return;
	next >>= WRITING_BITS;
	*(volatile __u64 *)&ring->published = next;
	if (unlikely(next > *(volatile __u64 *)&ring->bell_at)) {
		void *sound;

		*(volatile __u64 *)&ring->bell_at = ~0ull;
		sound = bpf_ringbuf_reserve(&bell, 8, 0);
		if (sound)
			bpf_ringbuf_discard(sound, BPF_RB_FORCE_WAKEUP);
	}
}

#endif
