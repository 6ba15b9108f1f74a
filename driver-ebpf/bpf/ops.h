/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The interpreter's operations: each appends one or more attachments to an event that is being
 * written. Both eBPF drivers include this; before that they define
 *
 *   READ_USER(dst, size, src)      0 or a negative error
 *   READ_USER_STR(dst, size, src)  length with its NUL, or exactly -EFAULT
 *   USER(address)                  the pointer for `src`; may be left out
 *   CGROUP_ID()                    of the current task; left out: not known
 *
 * and, for old verifiers, FIXED_BOUNDS (bounds.h) with EVENT_MASK, CHUNK_MASK and HALF_MASK: within them an attachment
 * begins in an event, and a chunk and half of one have their sizes;
 *
 * and a hash map `variants` from struct lanner_variant_key to struct lanner_op.
 *
 * The event is written into a buffer of which the verifier knows the size. An operation begins only
 * where `off` leaves a whole chunk, and then writes less than a chunk: two constant bounds, which every
 * verifier since 4.14 can add up. Where it does not fit, it says so, and the caller takes a larger
 * buffer or marks the event incomplete.
 */
#ifndef LANNER_OPS_H
#define LANNER_OPS_H

#include "bounds.h"

#ifndef USER
#define USER(address) ((void *)(address))
#endif

/*
 * Where an event is being written. How far it has got stands in the event itself (len, attachments,
 * flags): the verifier knows nothing of what memory holds, so all the ways through an operation look
 * the same to it afterwards, and it goes on with one of them instead of each.
 */
struct out {
	volatile struct lanner_event *event;
	__u32 last;  /* a chunk fits at this offset or before */
	__u32 chunk; /* bytes one operation may write behind an attachment's head */
};

/*
 * 1 where pointers in the program's memory are 4 bytes wide: in i386 and arm calls, and in those that x32
 * alone has (512 and above). Without branches: in a loop each would double what the verifier has to follow.
 */
static __always_inline __u64 narrow(const struct out *o)
{
	__u64 always = 1 << LANNER_ABI_I386 | 1 << LANNER_ABI_ARM, x32 = 1 << LANNER_ABI_X32;
	__u64 abi = o->event->abi & 7, nr = o->event->nr;

	return ((always >> abi) | ((x32 >> abi) & (nr >> 9))) & 1;
}

/* Bytes of a pointer there. */
static __always_inline __u64 word_size(const struct out *o) { return 8 - 4 * narrow(o); }

static __always_inline __u64 arg_at(const struct out *o, __u64 at)
{
	OPAQUE(at);
	return at < 6 ? o->event->args[at] : 0;
}

#define PAD8(x) (((x) + 7) & ~7u)

static __always_inline void incomplete(const struct out *o) { o->event->flags |= LANNER_FLAG_INCOMPLETE; }

/* Where the next attachment begins; NULL where there is no room for one. */
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

/* How far a loop has got, kept where the verifier does not look: in the attachment's head. */
#define DONE(at) (((volatile struct lanner_attachment *)(at))->captured)
#define STATUS(at) (((volatile struct lanner_attachment *)(at))->status)
#define TOTAL(at) (((volatile struct lanner_attachment *)(at))->full)

static __always_inline void begin_loop(__u8 *at)
{
	DONE(at) = 0;
	STATUS(at) = LANNER_WHOLE;
	TOTAL(at) = 0;
}

/* A NUL-terminated string of at most `limit` bytes. */
static __always_inline void op_str(const struct out *o, __u8 what, __u32 limit, __u64 ptr)
{
	__u8 status = LANNER_WHOLE;
	__u64 room = (__u64)limit + 2; /* never 0, as the verifier sees in 64 bits */
	__u32 len = 0;
	void *from;
	__u8 *at;
	long n;

	if (!ptr)
		return;
	at = begin_attachment(o);
	if (!at)
		return;
	from = USER(ptr);
	OPAQUE(from);
	OPAQUE(room);
	if (room > o->chunk)
		room = o->chunk;
	n = READ_USER_STR(at + HEAD, SIZED(room, CHUNK_MASK), from);
	if (n == -EFAULT) {
		status = LANNER_FAULT;
	} else if (n > 0) {
		len = n - 1;
		if (len > limit) {
			len = limit;
			status = LANNER_TRUNCATED;
		} else if (n >= (long)room) {
			/* the chunk was too short, not the limit */
			incomplete(o);
			status = LANNER_TRUNCATED;
		}
	}
	finish_attachment(o, at, what, 0, status, LANNER_RAW, len, 0);
}

/* So many bytes; at most `limit` are taken. */
static __always_inline void op_bytes(const struct out *o, __u8 what, __u8 part, __u32 limit, __u64 ptr, __s64 len)
{
	__u8 status = LANNER_TRUNCATED;
	__u64 take = limit;
	void *from;
	__u8 *at;

	if (!ptr)
		return;
	at = begin_attachment(o);
	if (!at)
		return;
	if (len < 0)
		len = 0;
	if ((__u64)len <= take) {
		take = len;
		status = LANNER_WHOLE;
	}
	from = USER(ptr);
	OPAQUE(from);
	OPAQUE(take);
	if (take > o->chunk) {
		incomplete(o);
		take = o->chunk;
	}
	OPAQUE(take);
	if ((__s64)take > 0 && READ_USER(at + HEAD, SIZED(take, CHUNK_MASK), from) != 0) {
		status = LANNER_FAULT;
		take = 0;
	}
	finish_attachment(o, at, what, part, status, LANNER_RAW, take, len);
}

/* Strings that lie one after another: an argument or environment area. */
static __always_inline void op_strings(const struct out *o, __u8 what, __u64 start, __s64 len)
{
	__u8 *at = begin_attachment(o);

	if (!at || !start)
		return;
	op_bytes(o, what, 0, 4096, start, len);
	((struct lanner_attachment *)at)->encoding = LANNER_STRINGS;
}

/* Reads a pointer-sized number out of memory that the program laid out. */
static __always_inline long read_word(const struct out *o, __u64 at, __u64 *word)
{
	*word = 0;
	return READ_USER(word, SIZED(word_size(o), 7), USER(at));
}

static __always_inline long read_iovec(const struct out *o, __u64 at, __u64 *base, __u64 *len)
{
	__u64 pair[2] = {}, small = narrow(o);
	long error = READ_USER(pair, SIZED(16 - 8 * small, 15), USER(at));

	*base = pair[0] & (~0ULL >> (32 * small));
	*len = (pair[0] >> 32) * small + pair[1] * (1 - small);
	return error;
}

/* Iovecs that are looked at: the bytes of later ones count as not captured. */
#ifndef IOVECS
#define IOVECS 16
#endif

/* How a vector is gathered. */
struct gather {
	__u32 limit;   /* bytes at the most */
	__u16 entries; /* entries to look at, at the most */
	__u16 unit;    /* not 0: entries are pointers to so many bytes each */
	__u64 count;   /* entries there are */
	__s64 most;    /* bytes that count, negative: all */
};

/* How an operation gathers. */
static __always_inline struct gather gathering(const struct lanner_op *op, __u64 count, __s64 most)
{
	struct gather g = {.limit = op->limit, .entries = op->entries, .unit = op->unit, .count = count, .most = most};

	return g;
}

/* Where an entry of a vector points, and how far. */
static __always_inline long read_entry(const struct out *o, __u16 unit, __u64 ptr, __u32 at, __u64 *base, __u64 *len)
{
	if (unit) {
		*len = unit;
		return read_word(o, ptr + at * word_size(o), base);
	}
	return read_iovec(o, ptr + at * 2 * word_size(o), base, len);
}

/* The gathered bytes of a vector. */
static __always_inline void op_iov(const struct out *o, __u8 what, __u8 part, __u64 ptr, struct gather g)
{
	__u32 limit = g.limit;
	__u32 half = o->chunk / 2;
	__u8 *at;

	if (!ptr)
		return;
	at = begin_attachment(o);
	if (!at)
		return;
	if (limit > half) {
		incomplete(o);
		limit = half;
	}
	begin_loop(at);
	/* What the loop compares with stands behind the data: see struct out for why. */
	volatile struct {
		__u64 ptr, count, limit;
		__s64 most;
		__u16 entries, unit;
	} *to = (void *)(at + HEAD + half);

	to->ptr = ptr;
	to->count = g.count;
	to->limit = limit;
	to->most = g.most;
	to->entries = g.entries;
	to->unit = g.unit;
#ifdef UNROLL_LOOPS
#pragma unroll
#endif
	for (int i = 0; i < IOVECS; i++) {
		__u64 base, len, total = TOTAL(at), done = DONE(at), room, take;
		void *from;
		__u8 *into;
		__s64 cap = to->most;

		if (i >= to->count)
			break;
		if (i >= to->entries) {
			STATUS(at) = LANNER_TRUNCATED;
			break;
		}
		if (i == IOVECS - 1 && to->count > IOVECS)
			STATUS(at) = LANNER_TRUNCATED;
		if (read_entry(o, to->unit, to->ptr, i, &base, &len) != 0) {
			STATUS(at) = LANNER_FAULT;
			break;
		}
		if (cap >= 0 && total + len > cap)
			len = cap - total;
		TOTAL(at) = total + len;
		if (!len)
			continue;
		room = to->limit - done;
		take = len;
		if (len > room) {
			STATUS(at) = LANNER_TRUNCATED;
			take = room;
		}
		if (!take)
			continue;
		from = USER(base);
		OPAQUE(from);
		OPAQUE(done);
		if (done > half)
			continue;
		OPAQUE(done); /* no sum is made before the comparison, and one at once: old verifiers forget bounds */
		into = at + HEAD;
		ADVANCE(into, done, HALF_MASK);
		OPAQUE(into);
		if (!WITHIN(take, half))
			continue;
		if (READ_USER(into, SIZED(take, HALF_MASK), from) != 0) {
			STATUS(at) = LANNER_FAULT;
			break;
		}
		DONE(at) = done + take;
	}
	finish_attachment(o, at, what, part, STATUS(at), LANNER_RAW, DONE(at), TOTAL(at));
}

/* Where parts of the message `index` of an array begin to be counted. */
#define PART_OF(index, part) ((index) << 2 | (part))

/*
 * A struct msghdr (recvmsg(2)): its name, its data, its control messages. `index` is its place in an array.
 */
static __always_inline void op_msg(const struct out *o, __u8 what, __u8 index, __u64 ptr, struct gather g)
{
	__u64 name, iov, iovs, control, control_len, size, m[8] = {}; /* 6, and what SIZED could add */
	__u32 name_len;

	if (!ptr)
		return;
	size = 6 * word_size(o);
	if (!WITHIN(size, sizeof(m)) || READ_USER(m, SIZED(size, sizeof(m) - 1), USER(ptr)) != 0)
		goto fault;
	if (narrow(o)) {
		name = (__u32)m[0], name_len = m[0] >> 32, iov = (__u32)m[1], iovs = m[1] >> 32;
		control = (__u32)m[2], control_len = m[2] >> 32;
	} else {
		name = m[0], name_len = m[1], iov = m[2], iovs = m[3], control = m[4], control_len = m[5];
	}
	op_bytes(o, what, PART_OF(index, LANNER_PART_NAME), 128, name_len ? name : 0, name_len);
	g.count = iovs;
	op_iov(o, what, PART_OF(index, LANNER_PART_DATA), iov, g);
	op_bytes(o, what, PART_OF(index, LANNER_PART_CONTROL), 256, control_len ? control : 0, control_len);
	return;
fault:;
	__u8 *at = begin_attachment(o);

	if (at)
		finish_attachment(o, at, what, PART_OF(index, LANNER_PART_DATA), LANNER_FAULT, LANNER_RAW, 0, 0);
}

/* Entries of an argument vector that one run looks at. */
#ifndef STRINGS
#define STRINGS 128
#endif

/* Where a run over an argument vector stands, behind what it writes, as in op_iov. */
struct strings {
	__u64 ptr, limit;
};

static __always_inline volatile struct strings *strings_at(const struct out *o, __u8 *at)
{
	return (void *)(at + HEAD + o->chunk / 2);
}

/* Takes the string of a run's entry `i`. 1: nothing comes after it. */
static __always_inline int strv_one(const struct out *o, __u8 *at, __u32 i)
{
	volatile struct strings *from = strings_at(o, at);
	__u64 have = DONE(at), room = from->limit - have;
	__u32 half = o->chunk / 2;
	__u8 *into = at + HEAD;
	__u64 string;
	void *text;
	long n;

	if (read_word(o, from->ptr + i * word_size(o), &string) != 0) {
		STATUS(at) = LANNER_FAULT;
		return 1;
	}
	if (!string)
		return 1;
	if (!room) {
		STATUS(at) = LANNER_TRUNCATED;
		return 1;
	}
	text = USER(string);
	OPAQUE(text);
	OPAQUE(have);
	if (have > half)
		return 1;
	OPAQUE(have);
	if (!WITHIN(room, half))
		return 1;
	ADVANCE(into, have, HALF_MASK);
	n = READ_USER_STR(into, SIZED(room, HALF_MASK), text);
	if (n == -EFAULT) {
		STATUS(at) = LANNER_FAULT;
		return 1;
	}
	if (n == 0) {
		/* an empty string, as Linux 5.10 counts it: without its NUL */
		*into = 0;
		n = 1;
	}
	if (n <= 0)
		return 1;
	DONE(at) = have + n;
	if (n >= (long)room) {
		/* cut off, or an exact fit, behind which nothing fits either */
		STATUS(at) = LANNER_TRUNCATED;
		return 1;
	}
	return 0;
}

#ifdef STRINGS_LOOP
#include "loop.h"
#endif

/*
 * Takes up to STRINGS strings of an array of pointers that is ended by NULL, from the `first` on, and
 * writes them one after another, each with its NUL, behind those that are there. 1: there are more.
 */
static __always_inline int strv_run(const struct out *o, __u8 *at, __u32 first, __u32 limit, __u64 ptr)
{
	volatile struct strings *from = strings_at(o, at);
	__u32 half = o->chunk / 2;

	from->ptr = ptr + first * word_size(o);
	from->limit = limit > half ? half : limit;
#ifdef STRINGS_LOOP
	if (HAVE_LOOP)
		return strings_loop(o, at);
#endif
#ifdef UNROLL_LOOPS
#pragma unroll
#endif
	for (__u32 i = 0; i < STRINGS; i++) {
		if (strv_one(o, at, i))
			return 0;
	}
	return 1;
}

static __always_inline void op_strv(const struct out *o, __u8 what, __u32 limit, __u64 ptr)
{
	__u8 *at;

	if (!ptr)
		return;
	at = begin_attachment(o);
	if (!at)
		return;
	begin_loop(at);
	if (strv_run(o, at, 0, limit, ptr))
		STATUS(at) = LANNER_TRUNCATED;
	finish_attachment(o, at, what, 0, STATUS(at), LANNER_STRINGS, DONE(at), 0);
}

#ifndef CGROUP_ID
#define CGROUP_ID() 0
#endif

static __always_inline void fill_header(struct lanner_event *event, __u8 kind, __u8 abi, __u16 flags, __u64 nr,
					__s64 ret, __u64 id)
{
	__u64 owner = bpf_get_current_uid_gid();

	event->len = sizeof(*event);
	event->version = LANNER_EVENT_VERSION;
	event->kind = kind;
	event->abi = abi;
	event->attachments = 0;
	event->cpu = bpf_get_smp_processor_id();
	event->flags = flags;
	event->nr = nr;
	event->time_ns = bpf_ktime_get_ns();
	event->tgid = id >> 32;
	event->tid = id;
	event->uid = owner;
	event->gid = owner >> 32;
	event->cgroup = CGROUP_ID();
	event->ret = ret;
}

/* What a 32-bit program sees: some calls return an error of 32 bits without its sign. The same as the kernel's
 * syscall_get_error. */
static __always_inline __s64 narrow_result(__s64 ret) { return (__u32)ret >= (__u32)-4095 ? (__s32)ret : ret; }

/*
 * Codes for "make this call again" (include/linux/errno.h), which the program never sees. All but ERESTARTNOINTR become
 * EINTR if a handler runs now, ERESTARTSYS only if that one was installed without SA_RESTART. So the event says EINTR
 * and is marked as open; an event of kind SIGNAL follows when a handler is about to run (src/undecided.rs).
 */
static __always_inline int restarts(__s64 ret) { return ret <= -512 && ret >= -516 && ret != -515; }

#define ERESTARTSYS 512
#define ERESTARTNOINTR 513

/* Flags of an event; they do not leave the driver. src/undecided.rs has the same. */
#define FLAG_OPEN 0x8000	  /* a call that may end thus; or a handler that decides that */
#define FLAG_OPEN_RESTARTS 0x4000 /* the call: ERESTARTSYS; the handler: SA_RESTART */

static __always_inline __u16 open_flags(__s64 ret)
{
	return ret == -ERESTARTSYS ? FLAG_OPEN | FLAG_OPEN_RESTARTS : FLAG_OPEN;
}

/* The first two words of struct sigaction: what runs, or how the signal is ignored; and its flags. */
#define HAS_HANDLER(handler) ((handler) > 1) /* SIG_DFL, SIG_IGN */

static __always_inline __u16 handler_flags(__u64 sa_flags)
{
	return sa_flags & 0x10000000 ? FLAG_OPEN | FLAG_OPEN_RESTARTS : FLAG_OPEN;
}

static __always_inline int due(__s64 ret, __u8 when)
{
	if (when == LANNER_WHEN_ALWAYS)
		return 1;
	if (when == LANNER_WHEN_INTERRUPTED)
		return ret == -EINTR;
	return ret >= 0 || (when == LANNER_WHEN_CONNECTED && ret == -EINPROGRESS);
}

/*
 * Length of what an operation is about; `most` is what the return value says of it. 0: not to be had.
 */
static __always_inline int length_of(const struct out *o, const struct lanner_op *op, __s64 *len, __s64 *most)
{
	__u64 value = op->len_from == LANNER_LEN_RET ? o->event->ret : arg_at(o, op->len_arg);
	__u32 word = 0;

	*most = -1;
	switch (op->len_from) {
	case LANNER_LEN_ARG_AND_RET:
		*most = o->event->ret;
	case LANNER_LEN_ARG: /* fall through */
		break;
	case LANNER_LEN_RET:
		*most = value;
		break;
	case LANNER_LEN_U32_AT:
		if (!value || READ_USER(&word, sizeof(word), USER(value)) != 0)
			return 0;
		value = word;
		break;
	case LANNER_LEN_ONE:
		value = 1;
		break;
	case LANNER_LEN_IOC:
		/* _IOC_SIZE and _IOC_DIR of include/uapi/asm-generic/ioctl.h; "read" is the kernel writing */
		if (!(value & 0xc0000000) || (!(value & 0x40000000) && o->event->ret < 0))
			return 0;
		value = value >> 16 & 0x3fff;
		break;
	default:
		value = op->limit;
	}
	*len = value + (op->len_from == LANNER_LEN_CONST ? 0 : op->add);
	return 1;
}

/* Follows a variant to the operation that the selectors' values choose. */
static __always_inline void choose(const struct out *o, const struct lanner_op *variant, struct lanner_op *op)
{
	struct lanner_variant_key key = {
	    .variant = variant->unit,
	    .narrow = narrow(o),
	    .first = arg_at(o, variant->len_arg) & variant->limit,
	    .second = variant->add == LANNER_ARG_RET ? 0 : arg_at(o, variant->add),
	};
	const struct lanner_op *found = bpf_map_lookup_elem(&variants, &key);

	if (!found) {
		key.first = key.second = 0xffffffff;
		found = bpf_map_lookup_elem(&variants, &key);
	}
	if (!found) {
		op->code = LANNER_OP_NONE;
		return;
	}
	*op = *found;
	op->what = variant->what;
	op->arg = variant->arg;
	if (op->len_from == LANNER_LEN_IOC)
		op->len_arg = variant->len_arg;
}

static __always_inline void run_simple(const struct out *o, const struct lanner_op *op)
{
	__u64 ptr = arg_at(o, op->arg);
	__s64 len, most;

	if (op->code == LANNER_OP_STR) {
		op_str(o, op->what, op->limit, ptr);
		return;
	}
	if (op->code != LANNER_OP_BYTES || !length_of(o, op, &len, &most))
		return;
	if (op->unit == LANNER_UNIT_BITS)
		len = ((len & 0xffffff) + 8 * word_size(o) - 1) / (8 * word_size(o)) * word_size(o);
	else if (op->unit >= LANNER_UNIT_SHIFT)
		len = ((__u64)len + (1ULL << (op->unit & 31)) - 1) >> (op->unit & 31);
	else if (op->len_from != LANNER_LEN_CONST && op->unit > 1)
		len = (len & 0x7fffffff) * op->unit;
	op_bytes(o, op->what, 0, op->limit, ptr, len);
}

/* One message of an array of struct mmsghdr: a struct msghdr and the length of its data. */
static __always_inline void op_mmsg_one(const struct out *o, const struct lanner_op *op, __u32 index)
{
	__u64 ptr = arg_at(o, op->arg) + index * 8 * word_size(o);
	struct gather g = gathering(op, 0, -1);
	__u32 len = 0;

	if (o->event->ret >= 0 && READ_USER(&len, sizeof(len), USER(ptr + 7 * word_size(o))) == 0)
		g.most = len;
	op_msg(o, op->what, index, ptr, g);
}

/* Whether message `index` of an array is to be looked at: those that were sent or received. */
static __always_inline int mmsg_due(const struct out *o, const struct lanner_op *op, __u32 index)
{
	__s64 count = o->event->ret >= 0 ? o->event->ret : (__s64)(__u32)arg_at(o, op->len_arg);

	return arg_at(o, op->arg) && index < op->entries && index < count;
}

#define AT_FDCWD_BITS 0xffffff9cu

/*
 * The path of an exec that was not resident at its entry. The kernel keeps its own copy of it at the top
 * of the new stack, directly behind the environment (bprm->exec in fs/exec.c, the AT_EXECFN of getauxval(3)).
 * For execveat it is the path as given only where that is not relative to a descriptor.
 */
static __always_inline void mend_exec_path(const struct out *o, __u64 env_end)
{
	struct lanner_attachment *first = (void *)((__u8 *)o->event + sizeof(struct lanner_event));
	__u8 what = first->what;

	if (!env_end || what > 1 || first->status != LANNER_FAULT)
		return;
	if (what == 1 && (__u32)o->event->args[0] != AT_FDCWD_BITS)
		return;
	first->what = LANNER_REPLACED;
	op_str(o, what, 4096, env_end);
}

#endif
