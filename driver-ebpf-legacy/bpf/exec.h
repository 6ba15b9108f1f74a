/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs of an exec. What its entry captured is kept until the exec has succeeded. Then its facts are added, one
 * after another.
 */
#ifndef LANNER_EXEC_H
#define LANNER_EXEC_H

TAIL(exec_exe)
{
	const struct offsets *off = get_offsets();
	struct slot *slot = my_slot();
	__u64 mm, exe;

	if (!slot || !off)
		return;
	struct out o = OUT(slot);

	if (off->have & HAVE_EXE) {
		mm = read_u64(bpf_get_current_task(), off->task_mm);
		exe = mm ? read_u64(mm, off->mm_exe) : 0;
		if (exe)
			path_fact(ctx, chain, &o, off, slot, LANNER_FACT_EXE, 4096, exe + off->file_path);
	}
	next(ctx, chain, slot);
}

TAIL(exec_cwd)
{
	const struct offsets *off = get_offsets();
	struct slot *slot = my_slot();
	__u64 fs;

	if (!slot || !off)
		return;
	struct out o = OUT(slot);

	if (off->have & HAVE_CWD) {
		fs = read_u64(bpf_get_current_task(), off->task_fs);
		if (fs)
			path_fact(ctx, chain, &o, off, slot, LANNER_FACT_CWD, 4096, fs + off->fs_pwd);
	}
	next(ctx, chain, slot);
}

TAIL(exec_ids)
{
	const struct offsets *off = get_offsets();
	struct slot *slot = my_slot();
	char comm[16] = {};
	__u64 len = 0;
	__u8 *at;

	if (!slot || !off)
		return;
	struct out o = OUT(slot);

	op_ids(&o, off, bpf_get_current_task(), slot->memfd);
	at = begin_attachment(&o);
	if (at) {
		bpf_get_current_comm(comm, sizeof(comm));
		__builtin_memcpy(at + HEAD, comm, sizeof(comm));
#pragma unroll
		for (int i = 0; i < 15; i++)
			len += len == i && comm[i];
		finish_attachment(&o, at, LANNER_FACT_COMM, 0, LANNER_WHOLE, LANNER_RAW, len, 0);
	}
	next(ctx, chain, slot);
}

TAIL(exec_strings)
{
	const struct offsets *off = get_offsets();
	struct slot *slot = my_slot();
	__u64 bounds[4] = {}, mm;

	if (!slot || !off)
		return;
	struct out o = OUT(slot);

	mm = off->have & HAVE_STRINGS ? read_u64(bpf_get_current_task(), off->task_mm) : 0;
	if (mm && bpf_probe_read(bounds, sizeof(bounds), (void *)(mm + off->mm_args)) == 0) {
		op_strings(&o, LANNER_FACT_ARGV, bounds[0], bounds[1] - bounds[0]);
		op_strings(&o, LANNER_FACT_ENV, bounds[2], bounds[3] - bounds[2]);
		mend_exec_path(&o, bounds[3]);
	}
	next(ctx, chain, slot);
}

/* Keeps what the entry of an exec captured until the exec succeeds or fails. */
ENTRY_TAIL(exec_keep)
{
	struct slot *slot = my_slot();
	__u32 tid = bpf_get_current_pid_tgid();
	struct exec_call *call;
	__u64 len;

	if (!slot)
		return;
	call = claim_exec(tid);
	if (call) {
		len = event_of(slot)->len;
		if (WITHIN(len, EXEC_ROOM) &&
		    bpf_probe_read(&call->event, SIZED(len, EXEC_ROOM - 1), event_of(slot)) == 0)
			call->owner = tid;
		else
			release_exec(call);
	} else {
		count_loss(LANNER_LOSS_TABLE_FULL);
	}
	release_slot(slot);
}

/* Begins an exec event with what was captured at the call's entry, if the entry was seen. */
static __always_inline void begin_exec(struct lanner_event *event, const struct settings *set, __u32 old_tid, __u64 id)
{
	struct exec_call *call = find_exec(old_tid);
	__u16 flags = LANNER_FLAG_INCOMPLETE;
	__u32 len = sizeof(*event), nr = set->execve_nr;
	__u8 abi = ABI_NATIVE, attachments = 0;

	__builtin_memset(event->args, 0, sizeof(event->args));
	if (call) {
		__u64 have = call->event.len;

		if (WITHIN(have, EXEC_ROOM) && bpf_probe_read(event, SIZED(have, EXEC_ROOM - 1), &call->event) == 0) {
			len = have;
			nr = event->nr;
			abi = event->abi;
			flags = event->flags;
			attachments = event->attachments;
		}
		release_exec(call);
	}
	fill_header(event, &(const struct heading){.kind = LANNER_KIND_EXEC, .abi = abi, .flags = flags, .nr = nr}, id);
	event->len = len;
	event->attachments = attachments;
}

/* A process has begun to run a new program. `old_tid`: the thread id before the exec. */
static __always_inline void process_exec(void *ctx, void *chain, __u32 old_tid)
{
	__u64 id = bpf_get_current_pid_tgid();
	const struct settings *set = get_settings();
	__u32 tid = id;
	struct slot *slot;

	if (!set)
		return;
	if (set->tree && old_tid != tid) {
		/* a thread has taken the leader's id (de_thread() in fs/exec.c) */
		__u8 *state = bpf_map_lookup_elem(&followed, &old_tid);

		if (state) {
			__u8 active = FOLLOW_ACTIVE;

			bpf_map_update_elem(&followed, &tid, &active, BPF_ANY);
			bpf_map_delete_elem(&followed, &old_tid);
		}
	}
	if (!is_captured(set, id))
		return;
	slot = claim_slot(ctx, id);
	if (!slot) {
		release_exec(find_exec(old_tid));
		return;
	}
	slot->stage = TAIL_EXE;
	begin_exec(event_of(slot), set, old_tid, id);
	if (set->times_since) {
		struct out o = OUT(slot);

		time_return(old_tid, o.event->nr, set->times_since, o.event->time_ns);
		say_took(&o, old_tid);
		/* another thread than the leader has lost this id */
		bpf_map_delete_elem(&timed, &old_tid);
	}
	next(ctx, chain, slot);
}

RAW(process_exec)(__u64 *ctx)
{
	process_exec(ctx, &tails, ctx[1]);
	return 0;
}

TRACEPOINT(process_exec)(void *ctx)
{
	const struct offsets *off = get_offsets();

	if (off)
		process_exec(ctx, &tails, recorded(ctx, off->exec_old_pid));
	return 0;
}

#endif
