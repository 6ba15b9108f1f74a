/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Loops through a helper (bpf_loop, Linux 5.17). The verifier then follows the body once, not once for each step, and
 * following steps is most of what loading costs. Where the kernel has no such helper, the same body runs in a plain
 * loop. On the path of every call it always does, because there a step is cheaper.
 */
#ifndef LANNER_LOOP_H
#define LANNER_LOOP_H

#ifdef SINGLE_RUN
#define HAVE_LOOP 0 /* these kernels have no callbacks */
#else
enum bpf_func_id { BPF_FUNC_loop = 181 };
#define HAVE_LOOP __builtin_preserve_enum_value(*(enum bpf_func_id *)BPF_FUNC_loop, 0)

static long (*bpf_loop)(__u32 steps, void *step, void *context, __u64 flags) = (void *)181;

/*
 * What steps work on. The size that they rely on (chunk) is a constant in the step, because the verifier forgets what
 * it knows of a number that was on the stack.
 */
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
