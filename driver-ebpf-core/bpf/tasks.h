/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The life of tasks: births, new programs, ends, and the handlers of their signals. */
#ifndef LANNER_TASKS_H
#define LANNER_TASKS_H

/*
 * While a program is preempted, the kernel does not run it for another thread on that CPU (since Linux 7.0 at
 * tracepoints). Births, new programs and ends are rare and must not be missed. So their programs exist in copies, which
 * the kernel skips one by one: the first copy that runs makes the event, and the others see that in `handled`. Kernels
 * that lack may_goto do not preempt programs at tracepoints.
 */
#ifdef MAY_GOTO
#define COPIES 3
#define COPIED(tracepoint, name, body)                                                                                 \
	TRACEPOINT(tracepoint) int name(__u64 *ctx) { return body(ctx, 0); }                                           \
	TRACEPOINT(tracepoint) int name##_copy1(__u64 *ctx) { return body(ctx, 1); }                                   \
	TRACEPOINT(tracepoint) int name##_copy2(__u64 *ctx) { return body(ctx, 2); }
#else
#define COPIES 1
#define COPIED(tracepoint, name, body)                                                                                 \
	TRACEPOINT(tracepoint) int name(__u64 *ctx) { return body(ctx, 0); }
#endif

/* What a copy has made an event of: the kind of the event, and its thread. */
struct handled_key {
	__u32 tid, kind;
};

#ifdef MAY_GOTO
/* By what happened, a number that is another one when it happens to another thread with this id, or once more. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct handled_key);
	__type(value, __u64);
} handled SEC(".maps");
#endif

/* Whether this copy makes the event: no other copy has. `which` is a number as in `handled`. */
static __always_inline int is_mine(__u32 tid, __u32 kind, __u64 which, int copy)
{
#ifdef MAY_GOTO
	struct handled_key key = {.tid = tid, .kind = kind};
	__u64 *seen = bpf_map_lookup_elem(&handled, &key);

	if (seen && *seen == which)
		return 0;
	/* if the map cannot be changed at this moment, the next copy makes the event, and the last one in any case */
	return bpf_map_update_elem(&handled, &key, &which, BPF_ANY) == 0 || copy == COPIES - 1;
#else
	return 1;
#endif
}

/* The program that all copies of process_exec call. A map of programs has programs at one tracepoint. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} exec_tails SEC(".maps");

/* An exec has succeeded: its arguments, and the facts of the new program. */
TRACEPOINT(sched_process_exec) int process_exec_event(__u64 *ctx)
{
	struct out o = {.last = LARGE_LAST, .chunk = LARGE_CHUNK};
	struct task_struct *task = (void *)ctx[0];
	__u32 old_tid = ctx[1];
	struct lanner_event *event;
	struct mm_struct *mm;
	struct file *exe;
	struct fs_struct *fs;
	__u8 memfd = 0, *at;
	struct place place;
	__u64 time;

	time = bpf_ktime_get_ns();
	event = reserve_for(&place, LARGE_ROOM, 1);
	if (!event) {
		bpf_map_delete_elem(&execs, &old_tid);
		return 0;
	}
	o.event = event;
	begin_exec(event, &place, time, task, old_tid);
	if (settings.times) {
		time_return(old_tid, event->nr, selected_at, time);
		say_took(&o, old_tid);
		/* another thread than the leader has lost this id */
		bpf_map_delete_elem(&timed, &old_tid);
	}
	mm = FOLLOW(task, mm);
	exe = mm ? FOLLOW(mm, exe_file) : NULL;
	if (exe)
		memfd = op_path(&o, LANNER_FACT_EXE, 4096, FOLLOW(exe, f_path.mnt), FOLLOW(exe, f_path.dentry), 1);
	fs = FOLLOW(task, fs);
	if (fs)
		op_path(&o, LANNER_FACT_CWD, 4096, FOLLOW(fs, pwd.mnt), FOLLOW(fs, pwd.dentry), 1);
	op_ids(&o, task, memfd);
	at = begin_attachment(&o);
	if (at) {
		long n = bpf_probe_read_kernel_str(at + HEAD, 16, &task->comm);

		finish_attachment(&o, at, LANNER_FACT_COMM, 0, LANNER_WHOLE, LANNER_RAW, n > 0 ? (n - 1) & 15 : 0, 0);
	}
	if (mm) {
		__u64 start = FOLLOW(mm, arg_start);

		op_strings(&o, LANNER_FACT_ARGV, start, FOLLOW(mm, arg_end) - start);
		start = FOLLOW(mm, env_start);
		op_strings(&o, LANNER_FACT_ENV, start, FOLLOW(mm, env_end) - start);
		mend_exec_path(&o, FOLLOW(mm, env_end));
	}
	op_program(&o, task, exe);
	commit(&place, o.event->len);
	return 0;
}

/* An exec has succeeded. What a program makes of it is large, so it is not there in copies: the copies call it. */
static __always_inline int exec_succeeded(__u64 *ctx, int copy)
{
	struct task_struct *task = (void *)ctx[0];
	__u32 old_tid = ctx[1], tid = KNOWN(task, pid);

	if (settings.tree) {
		__u8 *state = bpf_map_lookup_elem(&followed, &old_tid);

		/* where entries are not seen, the thread is still armed */
		if (state && old_tid == tid) {
			*state = FOLLOW_ACTIVE;
		} else if (state) {
			/* another thread than the leader executes, and now has the leader's id (de_thread() in
			 * fs/exec.c) */
			__u8 active = FOLLOW_ACTIVE;

			bpf_map_update_elem(&followed, &tid, &active, BPF_ANY);
			bpf_map_delete_elem(&followed, &old_tid);
		}
	}
	if (!wanted(KNOWN(task, tgid), tid) || !is_mine(tid, LANNER_KIND_EXEC, READ_FIELD(task, self_exec_id), copy))
		return 0;
	bpf_tail_call(ctx, &exec_tails, 0);
	lose(LANNER_LOSS_FAULT);
	lose(LOST_LIVES);
	return 0;
}

COPIED(sched_process_exec, process_exec, exec_succeeded)

/* Delivers an event of the current task without attachments. */
static __always_inline void emit_plain(struct task_struct *task, __u8 kind, __u16 flags, __s64 ret, __u64 arg0,
				       __u64 arg1)
{
	__u64 time = bpf_ktime_get_ns();
	struct place place;
	struct lanner_event *event = reserve_for(&place, sizeof(*event), kind == LANNER_KIND_EXIT);

	if (!event)
		return;
	begin_event(event, &place, time, task,
		    &(const struct heading){.kind = kind, .abi = ABI_NATIVE, .flags = flags, .ret = ret}, 0);
	__builtin_memset(event->args, 0, sizeof(event->args));
	event->args[0] = arg0;
	event->args[1] = arg1;
	commit(&place, sizeof(*event));
}

#define CLONE_FS 0x200
#define CLONE_FILES 0x400
#define CLONE_PARENT 0x8000
#define CLONE_NEWPID 0x20000000

/* Delivers the birth of `child`. */
static __always_inline void emit_fork(struct task_struct *parent, struct task_struct *child)
{
	struct pid *pid = READ_FIELD(child, thread_pid), *above = READ_FIELD(parent, thread_pid);
	__u64 seen = LANNER_FORK_SEEN, time = bpf_ktime_get_ns();
	__u32 level = READ_FIELD(pid, level), own = 0;
	struct lanner_event *event;
	struct place place;

	bpf_probe_read_kernel(&own, sizeof(own),
			      (char *)&pid->numbers + level * __builtin_preserve_type_info(*pid->numbers, 1));
	seen |= CLONE_NEWPID * (1 - IS_SAME(level, READ_FIELD(above, level)));
	seen |= CLONE_FS * IS_SAME(READ_FIELD(child, fs), READ_FIELD(parent, fs));
	seen |= CLONE_FILES * IS_SAME(READ_FIELD(child, files), READ_FIELD(parent, files));
	seen |= CLONE_PARENT * IS_SAME(READ_FIELD(child, real_parent), READ_FIELD(parent, real_parent));
	event = reserve_for(&place, sizeof(*event), 1);
	if (!event)
		return;
	begin_event(event, &place, time, parent, &(const struct heading){.kind = LANNER_KIND_FORK, .abi = ABI_NATIVE},
		    0);
	event->args[0] = READ_FIELD(child, pid);
	event->args[1] = READ_FIELD(child, tgid);
	event->args[2] = 0;
	event->args[3] = own;
	event->args[4] = seen;
	event->args[5] = 0;
	commit(&place, sizeof(*event));
}

static __always_inline int born(__u64 *ctx, int copy)
{
	struct task_struct *parent = (void *)ctx[0], *child = (void *)ctx[1];
	__u32 tid = KNOWN(parent, pid), child_tid = KNOWN(child, pid);

#ifdef REFUSE_FORK
	/* every verifier refuses this: for a test of what becomes of the other programs */
	return *(int *)bpf_map_lookup_elem(&plans, &tid);
#endif
	if (KNOWN(parent, tgid) == settings.self_tgid)
		return 0;
	if (settings.tree) {
		__u8 *state = bpf_map_lookup_elem(&followed, &tid), copy;

		if (!state)
			return 0;
		copy = *state;
		if (bpf_map_update_elem(&followed, &child_tid, &copy, BPF_ANY) != 0)
			lose(LANNER_LOSS_TABLE_FULL);
		if (copy != FOLLOW_ACTIVE)
			return 0;
	}
	if (is_mine(child_tid, LANNER_KIND_FORK, READ_FIELD(child, start_time), copy))
		emit_fork(parent, child);
	return 0;
}

COPIED(sched_process_fork, process_fork, born)

static __always_inline int ended(__u64 *ctx, int copy)
{
	struct task_struct *task = (void *)ctx[0];
	__u32 tid = KNOWN(task, pid);

	if (wanted(KNOWN(task, tgid), tid) && is_mine(tid, LANNER_KIND_EXIT, READ_FIELD(task, start_time), copy)) {
#ifndef NO_TYPES
		if (settings.late)
			registers_entered((void *)bpf_task_pt_regs(task), task, LANNER_PLAN_NORETURN);
#endif
		bpf_map_delete_elem(&execs, &tid);
		bpf_map_delete_elem(&rooms, &tid);
		emit_plain(task, LANNER_KIND_EXIT, 0, KNOWN(task, exit_code), 0, 0);
	}
	if (settings.tree)
		bpf_map_delete_elem(&followed, &tid);
	if (settings.times)
		bpf_map_delete_elem(&timed, &tid);
	return 0;
}

COPIED(sched_process_exit, process_exit, ended)

/* A signal is delivered: if a handler is about to run, it decides how the call of its thread ends. */
TRACEPOINT(signal_deliver) int signal_delivered(__u64 *ctx)
{
	struct k_sigaction *action = (void *)ctx[2];
	struct task_struct *task = current_task();

	if (HAS_HANDLER((__u64)KNOWN(action, sa.sa_handler)) && wanted(KNOWN(task, tgid), KNOWN(task, pid)))
		emit_plain(task, LANNER_KIND_SIGNAL, handler_flags(KNOWN(action, sa.sa_flags)), 0, ctx[0], 0);
	return 0;
}

#endif
