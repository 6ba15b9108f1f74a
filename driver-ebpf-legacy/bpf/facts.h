/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the kernel did, out of its own structs: resolved paths, both ends of a socket, who runs a
 * program. The same facts as the core driver's, in pieces that fit into 4096 instructions.
 */
#ifndef LANNER_FACTS_H
#define LANNER_FACTS_H

#define COMPONENTS 99 /* of a path, crossed mounts included */
#define NEAR 4	      /* of them in the program that begins the path: of most, all */
#define WALK 19	      /* of them in one further run: five runs */

#define FAMILY_AT 16 /* struct sock_common: first members, the same on every kernel */
#define DADDR_AT 0
#define RCV_SADDR_AT 4
#define DPORT_AT 12
#define NUM_AT 14

/*
 * d_parent and d_name lie side by side in struct dentry of every kernel, d_inode and a short name behind
 * them: one read. `name` says whether the name is there: a longer one is elsewhere.
 */
#define SHORT_NAME 32
struct dentry_names {
	__u64 pprev, parent;
	__u32 hash, len;
	__u64 name;
	__u64 inode;
	__u64 short_name[SHORT_NAME / 8];
};

enum walk { WALK_ON, WALK_END, WALK_NO_PATH };

/* mnt_parent and mnt_mountpoint stand before the vfsmount in struct mount, mnt_root begins it: one read. */
static __always_inline void enter_mount(struct slot *slot, __u64 mnt)
{
	struct {
		__u64 parent, mountpoint, root;
	} mount = {};

	bpf_probe_read(&mount, sizeof(mount), (void *)(mnt - 16));
	slot->mnt = mnt;
	slot->parent = mount.parent;
	slot->mountpoint = mount.mountpoint;
	slot->root = mount.root;
}

/* The path goes on where this mount is mounted. */
static __always_inline int cross_mount(const struct offsets *at_off, struct slot *slot)
{
	if (slot->parent == slot->mnt - at_off->mount_mnt)
		return WALK_END;
	slot->dentry = slot->mountpoint;
	enter_mount(slot, slot->parent + at_off->mount_mnt);
	return WALK_ON;
}

/* One component: `leaf` is a constant. */
static __always_inline int walk(const struct out *o, const struct offsets *off, struct slot *slot, __u8 *at, int leaf)
{
	__u64 most = CHUNK - NAME_ROOM, len, done = DONE(at);
	__u64 dentry = slot->dentry, limit = slot->limit, from;
	struct dentry_names d;
	char *name, *end;

	if (dentry == slot->root) {
		if (cross_mount(off, slot) == WALK_ON)
			return WALK_ON;
		STATUS(at) = LANNER_WHOLE;
		return WALK_END;
	}
	from = dentry + off->dentry_parent - 8;
	if (bpf_probe_read(&d, sizeof(d), (void *)from) != 0) {
		STATUS(at) = LANNER_FAULT;
		return WALK_END;
	}
	len = d.len;
	if (len > 255)
		len = 255;
	if (done > limit || done > most)
		return WALK_END;
	name = (char *)at + HEAD;
	ADVANCE(name, done, CHUNK_MASK);
	if (!len)
		return WALK_NO_PATH; /* a pipe, a socket */
	end = name;
	ADVANCE(end, len, 255);
	done += len;
	if (d.name == from + offsetof(struct dentry_names, short_name) && len < SHORT_NAME) {
		/* all of it, which spares a loop; what is too much is written over */
		__u64 *to = (__u64 *)name;

		to[0] = d.short_name[0], to[1] = d.short_name[1], to[2] = d.short_name[2], to[3] = d.short_name[3];
	} else {
		if (bpf_probe_read(name, SIZED(len, 255), (void *)d.name) != 0) {
			STATUS(at) = LANNER_FAULT;
			return WALK_END;
		}
	}
	if (leaf) {
		__u8 orphan = d.parent == dentry;

		if (orphan && name[0] == '[')
			return WALK_NO_PATH; /* an anonymous inode */
		slot->memfd |= slot->what == LANNER_FACT_EXE && orphan && len > 6 && name[0] == 'm' && name[1] == 'e' &&
			       name[2] == 'm' && name[3] == 'f' && name[4] == 'd' && name[5] == ':';
		if (orphan || !d.pprev) {
			end[0] = ' ', end[1] = '(', end[2] = 'd', end[3] = 'e', end[4] = 'l';
			end[5] = 'e', end[6] = 't', end[7] = 'e', end[8] = 'd', end[9] = ')';
			end += 10;
			done += 10;
		}
	}
	*end = 0;
	DONE(at) = done + 1;
	if (d.parent == dentry) {
		STATUS(at) = LANNER_WHOLE;
		return WALK_END;
	}
	slot->dentry = d.parent;
	return WALK_ON;
}

/* The path of a struct path. What is not near is left to the program TAIL_WALK. */
static __always_inline void path_fact(void *ctx, void *chain, const struct out *o, const struct offsets *off,
				      struct slot *slot, __u8 what, __u32 limit, __u64 path)
{
	struct pair begin = two_words(path, 0);
	int end;
	__u8 *at;

	if (!begin.first || !begin.second)
		return;
	slot->dentry = begin.second;
	enter_mount(slot, begin.first);
	slot->what = what;
	slot->limit = limit;
	slot->run = 0;
	at = begin_attachment(o);
	if (!at)
		return;
	begin_loop(at);
	STATUS(at) = LANNER_TRUNCATED;
	end = walk(o, off, slot, at, 1);
#pragma unroll
	for (int i = 1; i < NEAR; i++)
		if (end == WALK_ON)
			end = walk(o, off, slot, at, 0);
	if (end == WALK_ON) {
		bpf_tail_call(ctx, chain, TAIL_WALK);
		incomplete(o);
	}
	if (end == WALK_END)
		finish_attachment(o, at, what, 0, STATUS(at), LANNER_PARTS, DONE(at), 0);
}

/* The struct file behind a descriptor of this task. */
static __always_inline __u64 file_of(const struct offsets *off, __u64 task, __s64 fd)
{
	__u64 files = word(task, off->task_files), at = files + off->files_fdt;
	/* the table's address, and the first table, which is in struct files_struct itself behind it */
	struct {
		__u64 fdt, max_fds, fd;
	} table;

	if (!files || fd < 0 || bpf_probe_read(&table, sizeof(table), (void *)at) != 0)
		return 0;
	if (table.fdt != at + 8 && bpf_probe_read(&table.max_fds, 16, (void *)table.fdt) != 0)
		return 0;
	/* 32 bits wide */
	if ((__u64)fd >= (__u32)table.max_fds)
		return 0;
	return word(table.fd, fd * 8);
}

static __always_inline void op_unix_name(const struct out *o, const struct offsets *off, __u8 what, __u64 sk)
{
	__u64 address = sk ? word(sk, off->unix_addr) : 0, len;
	__u8 *at, *last;

	if (!address)
		return;
	len = half_word(address, 4);
	len -= 2; /* the family */
	at = begin_attachment(o);
	if (!at || !WITHIN(len, 108))
		return;
	if (bpf_probe_read(at + HEAD, SIZED(len, 127), (void *)(address + off->address_name + 2)) != 0)
		return;
	last = at + HEAD - 1;
	ADVANCE(last, len, 127);
	/* a name in the file system ends at its NUL, an abstract one is as long as it is */
	if (at[HEAD] && *last == 0)
		len--;
	finish_attachment(o, at, what, 0, LANNER_WHOLE, LANNER_RAW, len, 0);
}

/* S_IFSOCK files have the socket as private data, which has the file in turn. */
static __always_inline void op_fd_tuple(const struct out *o, const struct offsets *off, __u8 what, __u64 task, __s64 fd)
{
	__u64 file = file_of(off, task, fd), socket, sk;
	struct lanner_tuple tuple = {};
	__u8 *at;

	if (!file)
		return;
	socket = word(file, off->file_private);
	if (!socket || word(socket, off->socket_file) != file)
		return;
	sk = word(socket, off->socket_file + 8);
	if (!sk)
		return;
	at = begin_attachment(o);
	if (!at)
		return;
	tuple.family = quarter_word(sk, FAMILY_AT);
	tuple.protocol = quarter_word(sk, off->sock_protocol);
	if (off->sock_protocol_size == 1)
		tuple.protocol &= 255;
	if (tuple.family == AF_INET || tuple.family == AF_INET6) {
		tuple.local_port = quarter_word(sk, NUM_AT);
		tuple.remote_port = __builtin_bswap16(quarter_word(sk, DPORT_AT));
	}
	if (tuple.family == AF_INET) {
		*(__u32 *)tuple.local = half_word(sk, RCV_SADDR_AT);
		*(__u32 *)tuple.remote = half_word(sk, DADDR_AT);
	} else if (tuple.family == AF_INET6 && off->have & HAVE_V6) {
		bpf_probe_read(tuple.remote, 16, (void *)(sk + off->sock_v6));
		bpf_probe_read(tuple.local, 16, (void *)(sk + off->sock_v6 + 16));
	}
	__builtin_memcpy(at + HEAD, &tuple, sizeof(tuple));
	finish_attachment(o, at, what, 0, LANNER_WHOLE, LANNER_RAW, sizeof(tuple), 0);
	if (tuple.family == AF_UNIX && off->have & HAVE_UNIX) {
		op_unix_name(o, off, LANNER_FACT_LOCAL, sk);
		op_unix_name(o, off, LANNER_FACT_PEER, word(sk, off->unix_peer));
	}
}

static __always_inline __u32 tty_of(const struct offsets *off, __u64 signal)
{
	__u64 tty = signal ? word(signal, off->signal_tty) : 0;
	__u64 driver = tty ? word(tty, off->tty_driver) : 0;
	__u32 major, minor;

	if (!driver)
		return 0;
	major = half_word(driver, off->driver_major);
	minor = half_word(driver, off->driver_major + 4) + half_word(tty, off->tty_index);
	/* new_encode_dev() in include/linux/kdev_t.h */
	return (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12);
}

static __always_inline void op_ids(const struct out *o, const struct offsets *off, __u64 task, __u8 memfd)
{
	__u64 owner = bpf_get_current_uid_gid();
	struct lanner_ids ids = {};
	__u8 *at = begin_attachment(o);

	if (!at)
		return;
	ids.loginuid = -1;
	ids.uid = ids.euid = owner;
	ids.gid = ids.egid = owner >> 32;
	if (off->have & HAVE_PARENT) {
		__u64 parent = word(task, off->task_real_parent);

		ids.ppid = parent ? half_word(parent, off->task_pid + 4) : 0;
	}
	if (off->have & HAVE_CRED) {
		__u64 cred = word(task, off->task_cred) + off->cred_uid;

		ids.uid = half_word(cred, 0);
		ids.gid = half_word(cred, 4);
		ids.euid = half_word(cred, 16);
		ids.egid = half_word(cred, 20);
	}
	if (off->have & HAVE_GROUPS) {
		__u64 at_groups = off->groups_in_task ? task : word(task, off->task_signal);
		__u64 pid = word(at_groups, off->groups);

		ids.pgid = pid ? half_word(pid, off->pid_nr) : 0;
		pid = word(at_groups, off->groups + off->groups_stride);
		ids.sid = pid ? half_word(pid, off->pid_nr) : 0;
	}
	if (off->have & HAVE_TTY)
		ids.tty = tty_of(off, word(task, off->task_signal));
	if (off->have & HAVE_LOGINUID)
		ids.loginuid = half_word(task, off->task_loginuid);
	ids.memfd = memfd;
	__builtin_memcpy(at + HEAD, &ids, sizeof(ids));
	finish_attachment(o, at, LANNER_FACT_IDS, 0, LANNER_WHOLE, LANNER_RAW, sizeof(ids), 0);
}

#endif
