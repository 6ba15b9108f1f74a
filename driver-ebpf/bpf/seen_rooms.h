/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How much room a program has for what the kernel writes, as it was when the call was entered. room.h fills and reads
 * it. */
#ifndef LANNER_SEEN_ROOMS_H
#define LANNER_SEEN_ROOMS_H

struct seen_rooms {
	__u64 at;		  /* the address of the number, or of the first one */
	__u32 room[LANNER_ROOMS]; /* that number; of an array of messages, one for each */
};

#endif
