/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * System calls as their registers show them.
 */
#ifndef LANNER_RUN_H
#define LANNER_RUN_H

#ifdef __TARGET_ARCH_x86
/* The used part of struct pt_regs, from `bp` on (arch/x86/include/asm/ptrace.h). It has never changed. */
#define REGS_AT 32
struct regs {
	__u64 bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs;
};
#define USER32_CS 0x23
#define NR_OF(regs) ((regs)->orig_ax)
#define RETURN_OF(regs) ((__s64)(regs)->ax)

static __always_inline int read_regs(struct regs *regs, __u64 at)
{
	return bpf_probe_read(regs, sizeof(*regs), (void *)(at + REGS_AT)) == 0;
}
#elif defined(__TARGET_ARCH_arm64)
/* Two parts of struct pt_regs (arch/arm64/include/asm/ptrace.h). They have not changed since Linux 4.14. */
#define REGS_AT 0
#define STATE_AT 264
struct regs {
	__u64 x0, x1, x2, x3, x4, x5, x6, x7, x8;
	__u64 pstate, orig_x0;
	__s32 nr, unused;
};
#define NR_OF(regs) ((__u32)(regs)->nr)
#define RETURN_OF(regs) ((__s64)(regs)->x0)

static __always_inline int read_regs(struct regs *regs, __u64 at)
{
	return bpf_probe_read(&regs->x0, 72, (void *)(at + REGS_AT)) == 0 &&
	       bpf_probe_read(&regs->pstate, 24, (void *)(at + STATE_AT)) == 0;
}
#endif

/* The address of the registers of the current task's call: they are at the top of its stack. */
static __always_inline __u64 regs_of_task(const struct offsets *off)
{
	return read_u64(bpf_get_current_task(), off->task_stack) + off->stack_regs;
}

/*
 * Only thread_info.status (TS_COMPAT) shows a 64-bit program's `int 0x80`. If its offset was not found, the code
 * segment has to do. On arm64 a program has one ABI until its next exec.
 */
static __always_inline __u8 abi_of(const struct offsets *off, const struct regs *regs)
{
#ifdef __TARGET_ARCH_x86
	if (off->have & HAVE_COMPAT) {
		if (read_u32(bpf_get_current_task(), off->task_status) & 2)
			return LANNER_ABI_I386;
	} else if (regs->cs == USER32_CS) {
		return LANNER_ABI_I386;
	}
	return regs->orig_ax & 0x40000000 ? LANNER_ABI_X32 : LANNER_ABI_X86_64;
#elif defined(__TARGET_ARCH_arm64)
	return PSTATE_COMPAT(regs->pstate) ? LANNER_ABI_ARM : LANNER_ABI_AARCH64;
#endif
}

static __always_inline int is_new_program(const struct regs *regs, __u8 abi, __s64 ret)
{
#ifdef __TARGET_ARCH_arm64
	return NEW_PROGRAM(regs->orig_x0, regs->x1, abi == LANNER_ABI_ARM ? regs->x7 : regs->x8, regs->nr, ret);
#else
	return 0;
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
#elif defined(__TARGET_ARCH_arm64)
	__u64 mask = abi == LANNER_ABI_ARM ? 0xffffffffull : ~0ull;

	event->args[0] = regs->orig_x0 & mask, event->args[1] = regs->x1 & mask, event->args[2] = regs->x2 & mask;
	event->args[3] = regs->x3 & mask, event->args[4] = regs->x4 & mask, event->args[5] = regs->x5 & mask;
#endif
}

/* The index of a call's plan in `plans`. */
static __always_inline __u32 plan_key(__u8 abi, __u64 nr)
{
	return index_of(nr) + (abi == ABI_COMPAT ? LANNER_PLAN_NRS : 0);
}

#endif
