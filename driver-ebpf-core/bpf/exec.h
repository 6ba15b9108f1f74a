/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Events that more than one run of a program writes, kept in `execs` meanwhile; and the events of successful execs,
 * which have the arguments from the call's entry and the facts of the new program.
 */
#ifndef LANNER_EXEC_H
#define LANNER_EXEC_H

/* Begins an event that is kept for a later run. */
static __always_inline struct exec_call *begin_kept(__u32 tid, const __u64 *args, __u64 nr, __u8 abi)
{
	struct exec_call *call, *from;
	__u32 zero = 0;

	from = bpf_map_lookup_elem(&blank, &zero);
	if (!from || bpf_map_update_elem(&execs, &tid, from, BPF_ANY) != 0) {
		lose(LANNER_LOSS_TABLE_FULL);
		return NULL;
	}
	call = bpf_map_lookup_elem(&execs, &tid);
	if (!call)
		return NULL;
	call->event.len = sizeof(call->event);
	call->event.nr = nr;
	call->event.abi = abi;
	__builtin_memcpy(call->event.args, args, sizeof(call->event.args));
	return call;
}

/* Keeps the arguments of an exec, which are gone after it. */
static __always_inline void enter_exec(const __u64 *args, __u64 nr, __u8 abi, __u32 tid, const struct lanner_plan *plan)
{
	struct out o = {.last = EXEC_LAST, .chunk = EXEC_CHUNK};
	struct exec_call *call = begin_kept(tid, args, nr, abi);

	if (!call)
		return;
	o.event = &call->event;
	if (!(plan->flags & LANNER_PLAN_SELECTED))
		call->event.flags = LANNER_FLAG_UNSELECTED;
	run_plan(&o, plan, VECTORS);
}

/* Delivers an event that was kept. */
static __always_inline void deliver_kept(struct exec_call *call, struct task_struct *task, __s64 ret)
{
	struct out o = {.last = EXEC_LAST, .chunk = EXEC_CHUNK};
	__u64 time = bpf_ktime_get_ns(), have = call->event.len;
	struct place place;
	struct lanner_event *event = reserve(&place, EXEC_ROOM);
	__u16 flags;
	__u8 attachments;

	if (!event)
		return;
	OPAQUE(have);
	if (have > EXEC_ROOM || bpf_probe_read_kernel(event, have, &call->event) != 0) {
		lose(LANNER_LOSS_FAULT);
		event->len = have = sizeof(*event);
		event->version = 0; /* a struct lanner_gap */
	} else {
		flags = event->flags;
		attachments = event->attachments;
		begin_event(event, &place, time, task, CALL(event->abi, flags, event->nr, ret), 0);
		event->len = have;
		event->attachments = attachments;
		if (settings.times) {
			o.event = event;
			say_took(&o, KNOWN(task, pid));
			have = event->len;
		}
	}
	commit(&place, have);
}

/* Begins an exec event with the arguments that were kept at the call's entry, if that was seen. */
static __always_inline void begin_exec(struct lanner_event *event, const struct place *place, __u64 time,
				       struct task_struct *task, __u32 old_tid)
{
	struct exec_call *call = bpf_map_lookup_elem(&execs, &old_tid);
	__u16 flags = LANNER_FLAG_INCOMPLETE;
	__u32 len = sizeof(*event), nr = settings.execve_nr;
	__u8 abi = ABI_NATIVE, attachments = 0;

	__builtin_memset(event->args, 0, sizeof(event->args));
	if (call) {
		__u64 have = call->event.len;

		OPAQUE(have);
		if (have <= EXEC_ROOM && bpf_probe_read_kernel(event, have, &call->event) == 0) {
			len = have;
			nr = event->nr;
			abi = event->abi;
			flags = event->flags;
			attachments = event->attachments;
		}
		bpf_map_delete_elem(&execs, &old_tid);
	}
	begin_event(event, place, time, task,
		    &(const struct heading){.kind = LANNER_KIND_EXEC, .abi = abi, .flags = flags, .nr = nr}, 0);
	event->len = len;
	event->attachments = attachments;
}

#endif
