/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Loops by a helper (bpf_loop, Linux 5.17): the verifier looks at a step once, not at each in its turn, which is most
 * of what loading costs. Where the kernel has none, the same steps stand in a loop. On the way of every call they do so
 * anyway: a step is cheaper there.
 */
#ifndef LANNER_LOOP_H
#define LANNER_LOOP_H

#ifdef SINGLE_RUN
#define HAVE_LOOP 0 /* these kernels know no callbacks */
#else
enum bpf_func_id { BPF_FUNC_loop = 181 };
#define HAVE_LOOP __builtin_preserve_enum_value(*(enum bpf_func_id *)BPF_FUNC_loop, 0)

static long (*bpf_loop)(__u32 steps, void *step, void *context, __u64 flags) = (void *)181;

/* What steps work on. A size that they rely on is a constant: the verifier knows none that came over the stack. */
struct strings_run {
	struct out o;
	__u8 *at;
	__u64 ended;
};

static long strings_step(__u64 i, struct strings_run *run)
{
	struct out o = {.event = run->o.event, .chunk = VECTOR_CHUNK};

	run->ended = strv_one(&o, run->at, i);
	return run->ended;
}

static __always_inline int strings_loop(const struct out *o, __u8 *at)
{
	struct strings_run run = {.o = {.event = o->event}, .at = at};

	bpf_loop(STRINGS, strings_step, &run, 0);
	return !run.ended;
}
#endif

#endif
