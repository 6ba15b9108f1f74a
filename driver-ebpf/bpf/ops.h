/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The interpreter of capture plans: each operation of a plan appends one or more attachments to the event that is being
 * written. Both eBPF drivers include this. Before that they define
 *
 *   READ_USER(dst, size, src)      0 or a negative error
 *   READ_USER_STR(dst, size, src)  length with its NUL, or exactly -EFAULT
 *   USER(address)                  the pointer for `src`; may be left out
 *   CGROUP_ID()                    of the current task; may be left out: not known
 *
 * and maps: a hash `variants` from struct lanner_variant_key to struct lanner_op; an array `pointers` of struct
 * lanner_pointers, two for each structure that has some, the second one for 32-bit pointers; a hash `rooms` from thread
 * ids to struct seen_rooms; and the one of multiplexed.h. For old verifiers they also define FIXED_BOUNDS (bounds.h)
 * with three masks: EVENT_MASK bounds where an attachment begins in an event, CHUNK_MASK and HALF_MASK the sizes of a
 * chunk and of half a chunk.
 */
#ifndef LANNER_OPS_H
#define LANNER_OPS_H

#include "attachment.h"
#include "bytes.h"
#include "result.h"
#include "room.h"
#include "string_arrays.h"
#include "vectors.h"

/* The register that has the length, in the width that the kernel takes. A negative length is 0. */
static __always_inline __u64 length_in(const struct out *o, const struct lanner_op *op)
{
	__u64 value = arg_at(o, op->len_arg) << (op->len_unused & 63);

	if (op->len_unused & LANNER_LEN_SIGNED && (__s64)value < 0)
		return 0;
	return value >> (op->len_unused & 63);
}

/*
 * Finds the length of an operation's memory in bytes or elements (`len`), and how many bytes of it hold data if the
 * return value says so (`most`, negative: all). 0: the length cannot be read.
 */
static __always_inline int length_of(const struct out *o, const struct lanner_op *op, __u64 *len, __s64 *most)
{
	__u64 value = length_in(o, op);
	__s64 ret = o->event->ret;
	__u32 word = 0;

	*most = -1;
	switch (op->len_from) {
	case LANNER_LEN_ARG_AND_RET:
		*most = ret;
	case LANNER_LEN_ARG: /* fall through */
		break;
	case LANNER_LEN_RET_AND_ARG:
		if (value < ret)
			ret = value;
	case LANNER_LEN_RET: /* fall through */
		value = ret < 0 ? 0 : ret;
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
		/* _IOC_SIZE and _IOC_DIR of include/uapi/asm-generic/ioctl.h; in a "read" the kernel writes */
		if (!(value & 0xc0000000) || (!(value & 0x40000000) && o->event->ret < 0))
			return 0;
		value = value >> 16 & 0x3fff;
		break;
	default:
		value = op->limit;
	}
	*len = value;
	if (op->len_from != LANNER_LEN_CONST && value <= ~(__u64)op->add)
		*len = value + op->add;
	return 1;
}

/* Replaces a variant by the operation that the values of its selectors choose. */
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

/* Bytes of whole longs that hold this many bits. */
static __always_inline __u64 bits_in_bytes(const struct out *o, __u64 bits)
{
	__u64 word;

	if (bits > LANNER_BITS_MAX)
		bits = LANNER_BITS_MAX;
	word = word_size(o);
	return (bits + 8 * word - 1) / (8 * word) * word;
}

/* Whether the kernel replaces the length of an operation's bytes. */
static __always_inline int is_replaced(const struct lanner_op *op)
{
	return op->len_from == LANNER_LEN_U32_AT && op->when == LANNER_WHEN_SUCCESS;
}

/* How many bytes are captured at most: no more than the program has room for. */
static __always_inline __u32 limit_of(const struct out *o, const struct lanner_op *op)
{
	__u64 room, limit = op->limit;

	if (!is_replaced(op))
		return limit;
	room = room_at(o, arg_at(o, op->len_arg), 0);
	if (room != ROOM_UNKNOWN)
		room += op->add;
	return room < limit ? room : limit;
}

/*
 * Carries out an operation on a string or on bytes; ignores others. `replaced` is a constant: 0: of no bytes does the
 * kernel replace the length.
 */
static __always_inline void run_simple(const struct out *o, const struct lanner_op *op, int replaced)
{
	__u64 ptr = arg_at(o, op->arg);
	__u64 len, unit = op->unit;
	__s64 most;

	if (op->code == LANNER_OP_STR) {
		op_str(o, op->what, op->limit, ptr);
		return;
	}
	if (op->code != LANNER_OP_BYTES || !length_of(o, op, &len, &most))
		return;
	if (unit >= LANNER_UNIT_BITS_AND_ONE)
		len = bits_in_bytes(o, len - (unit == LANNER_UNIT_BITS_AND_ONE && len));
	else if (unit >= LANNER_UNIT_SHIFT)
		len = (len >> (unit & 31)) + ((len & ((1ULL << (unit & 31)) - 1)) != 0);
	else if (op->len_from != LANNER_LEN_CONST && unit > 1)
		len = (len > 0xffffffff ? 0xffffffff : len) * unit;
	op_bytes(o, op->what, 0, replaced ? limit_of(o, op) : op->limit, ptr, len);
}

/* A number of 1 to 8 bytes in the program's memory. 0: it cannot be read. */
static __always_inline __u64 number_at(__u64 at, __u64 bytes)
{
	__u64 value = 0;

	if (!WITHIN(bytes, 8) || READ_USER(&value, SIZED(bytes, 7), USER(at)) != 0)
		return 0;
	return value;
}

/*
 * Captures what the pointers in an operation's structure point to, as far as the program says that the structure
 * reaches.
 */
static __always_inline void run_pointed(const struct out *o, const struct lanner_op *op)
{
	const struct lanner_pointers *all;
	__u64 base = arg_at(o, op->arg), len;
	__u32 key = 2 * (op->entries - 1) + narrow(o);
	__s64 most;

	if (!base || !length_of(o, op, &len, &most))
		return;
	all = bpf_map_lookup_elem(&pointers, &key);
	if (!all)
		return;
#pragma unroll
	for (int i = 0; i < LANNER_POINTERS; i++) {
		const struct lanner_pointer *one = &all->of[i];
		__u64 at, count;

		if (!one->bytes || one->at + one->bytes > len || one->count_at + one->count_bytes > len)
			continue;
		at = number_at(base + one->at, one->bytes);
		count = number_at(base + one->count_at, one->count_bytes);
		take_bytes(o, op->what, PART_OF(i + 1, LANNER_PART_NONE), one->limit, at,
			   (__u64)(__u32)count * one->unit, 1);
	}
}

#define AT_FDCWD_BITS 0xffffff9cu

/*
 * Captures the path of an exec again if its page was not resident at the exec's entry. The kernel keeps its own copy at
 * the top of the new stack, directly behind the environment (bprm->exec in fs/exec.c, the AT_EXECFN of getauxval(3)).
 * For execveat the copy is the path as given only if that is not relative to a descriptor.
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
