/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The calls as the registers show them.
 */
#ifndef LANNER_RUN_H
#define LANNER_RUN_H

#ifdef __TARGET_ARCH_x86
/* The part of struct pt_regs that is used, from `bp` on (arch/x86/include/asm/ptrace.h): never changed. */
#define REGS_AT 32
struct regs {
	__u64 bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs;
};
#define USER32_CS 0x23
#endif

static __always_inline int read_regs(struct regs *regs, __u64 at)
{
	return bpf_probe_read(regs, sizeof(*regs), (void *)(at + REGS_AT)) == 0;
}

/* Where the registers of the call are that the current task is in: at the top of its stack. */
static __always_inline __u64 regs_of_task(const struct offsets *off)
{
	return word(bpf_get_current_task(), off->task_stack) + off->stack_regs;
}

#ifdef __TARGET_ARCH_x86
#define NUMBER_OF(regs) ((regs)->orig_ax)
#define RETURN_OF(regs) ((__s64)(regs)->ax)
#endif

/*
 * A 64-bit program's `int 0x80` shows only in thread_info.status (TS_COMPAT); where that was not found,
 * the code segment has to do.
 */
static __always_inline __u8 abi_of(const struct offsets *off, const struct regs *regs)
{
#ifdef __TARGET_ARCH_x86
	if (off->have & HAVE_COMPAT) {
		if (half_word(bpf_get_current_task(), off->task_status) & 2)
			return LANNER_ABI_I386;
	} else if (regs->cs == USER32_CS) {
		return LANNER_ABI_I386;
	}
	return regs->orig_ax & 0x40000000 ? LANNER_ABI_X32 : LANNER_ABI_X86_64;
#endif
}

static __always_inline void read_args(const struct regs *regs, __u8 abi, struct lanner_event *event)
{
#ifdef __TARGET_ARCH_x86
	if (abi == LANNER_ABI_I386) {
		event->args[0] = (__u32)regs->bx, event->args[1] = (__u32)regs->cx, event->args[2] = (__u32)regs->dx;
		event->args[3] = (__u32)regs->si, event->args[4] = (__u32)regs->di, event->args[5] = (__u32)regs->bp;
	} else {
		event->args[0] = regs->di, event->args[1] = regs->si, event->args[2] = regs->dx;
		event->args[3] = regs->r10, event->args[4] = regs->r8, event->args[5] = regs->r9;
	}
#endif
}

/* Where the plan of a call stands in `plans`; beyond its end: nowhere. */
static __always_inline __u32 plan_key(__u8 abi, __u64 nr)
{
	__u32 key = nr & ~0x40000000u;

	if (key >= LANNER_PLAN_NRS)
		return 2 * LANNER_PLAN_NRS;
	return abi == LANNER_ABI_I386 ? key + LANNER_PLAN_NRS : key;
}

#endif
