/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The parts of the interpreter. From Linux 5.13 (PARTS: objects of their own) each is a global function: the verifier
 * follows it once, with all values that its arguments can have, and not again for each way that leads to it. That is
 * most of what loading the programs cost. Elsewhere a part becomes a piece of the program that uses it: verifiers
 * before know no memory as an argument, and on arm64, programs with functions make tail calls since Linux 6.0.
 */
#ifndef LANNER_PARTS_H
#define LANNER_PARTS_H

/* Bytes that one component of a path may need: a name of 255, " (deleted)", NUL, rounded up. */
#define NAME_ROOM 272

/* An event of a plan: see struct out. */
#define LARGE_LAST 23552
#define LARGE_CHUNK VECTOR_CHUNK
#define LARGE_ROOM (LARGE_LAST + HEAD + LARGE_CHUNK + NAME_ROOM)

_Static_assert(LARGE_ROOM <= LANNER_EVENT_MAX, "an event larger than LANNER_EVENT_MAX");

/* An event that is kept in `execs`: see struct out. */
#define EXEC_LAST 10240
#define EXEC_CHUNK VECTOR_CHUNK
#define EXEC_ROOM (EXEC_LAST + HEAD + EXEC_CHUNK)

#ifdef PARTS
/* A function that the verifier follows by itself. */
#define SEPARATE __attribute__((noinline))

/* How the verifier of a global function learns the size of the memory that it gets. */
struct large_room {
	__u8 bytes[LARGE_ROOM];
};
struct kept_room {
	__u8 bytes[EXEC_ROOM];
};

#define PART_OF_SIZE(name, type, size, most)                                                                           \
	SEPARATE int name##_##size(struct size##_room *room, type *with)                                               \
	{                                                                                                              \
		struct out o = {.event = (void *)room, .last = most, .chunk = VECTOR_CHUNK};                           \
                                                                                                                       \
		return room && with ? name##_inline(&o, with) : 0;                                                     \
	}

/* Defines the part `name` of what name_inline() does, for events of both sizes. */
#define PART(name, type)                                                                                               \
	PART_OF_SIZE(name, type, large, LARGE_LAST)                                                                    \
	PART_OF_SIZE(name, type, kept, EXEC_LAST)                                                                      \
	static __always_inline int name(const struct out *o, type *with)                                               \
	{                                                                                                              \
		return o->last == LARGE_LAST ? name##_large((void *)o->event, with)                                    \
					     : name##_kept((void *)o->event, with);                                    \
	}
#else
#define SEPARATE static __always_inline
#endif

#endif
