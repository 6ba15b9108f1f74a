/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Loops that the verifier follows once: from Linux 6.4 on a program can count with the kernel's iterator of numbers.
 * Elsewhere a loop with a constant bound has to do, of which the verifier follows each round; that is most of what
 * loading takes.
 */
#ifndef LANNER_LOOP_H
#define LANNER_LOOP_H

struct bpf_iter_num {
	__u64 opaque[1];
} __attribute__((aligned(8)));

#define KFUNC __attribute__((section(".ksyms"), weak))

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) KFUNC;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) KFUNC;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) KFUNC;

/* Whether there is one here. */
#define COUNTED (&bpf_iter_num_new != NULL)

/* Runs `body` with `i` from 0 on, `most` times, or until it breaks. */
#define COUNT(most, i, body)                                                                                           \
	do {                                                                                                           \
		struct bpf_iter_num it_;                                                                               \
		int *i_;                                                                                               \
                                                                                                                       \
		bpf_iter_num_new(&it_, 0, most);                                                                       \
		while ((i_ = bpf_iter_num_next(&it_))) {                                                               \
			__u64 i __attribute__((unused)) = *i_;                                                         \
			body                                                                                           \
		}                                                                                                      \
		bpf_iter_num_destroy(&it_);                                                                            \
	} while (0)

#endif
