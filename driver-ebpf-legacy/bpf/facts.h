/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Facts from the kernel's own structs: resolved paths, both ends of a socket, the ids of a program's process. They are
 * those of the core driver, in pieces that fit into 4096 instructions.
 */
#ifndef LANNER_FACTS_H
#define LANNER_FACTS_H

#define FIRST_COMPONENTS 4 /* walked by the program that begins the path: most paths have no more */
#define RUN_COMPONENTS 19  /* walked by each further run */
/* How many further runs a path has. An event has 32 tail calls, and an exec two paths. */
#define PATH_RUNS 22
#define EXEC_PATH_RUNS 12

#define FAMILY_AT 16 /* offsets in struct sock_common, whose first members are the same on every kernel */
#define DADDR_AT 0
#define RCV_SADDR_AT 4
#define DPORT_AT 12
#define NUM_AT 14

/*
 * A part of struct dentry. On every kernel d_name follows d_parent, and then come d_inode and the short name, so one
 * read is enough. `name` points to the short name, or to a longer one elsewhere.
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

/*
 * Goes to a mount. In struct mount mnt_parent and mnt_mountpoint precede the vfsmount, which begins with mnt_root, so
 * one read is enough.
 */
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

/* Goes on where this mount is mounted. */
static __always_inline int cross_mount(const struct offsets *at_off, struct slot *slot)
{
	if (slot->parent == slot->mnt - at_off->mount_mnt)
		return WALK_END;
	slot->dentry = slot->mountpoint;
	enter_mount(slot, slot->parent + at_off->mount_mnt);
	return WALK_ON;
}

/* Appends one component to a path. `leaf`, a constant: it is the last component of the path. */
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
		/* copies all of it, without a loop; what follows the name is overwritten */
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

		if (orphan && (name[0] == '[' || name[0] == '/'))
			return WALK_NO_PATH; /* an anonymous inode, or a namespace */
		slot->memfd |= slot->what == LANNER_FACT_EXE && orphan && len >= 6 && name[0] == 'm' &&
			       name[1] == 'e' && name[2] == 'm' && name[3] == 'f' && name[4] == 'd' && name[5] == ':';
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

/* Begins the path of the struct path at this address. The program TAIL_WALK adds the components that are left. */
static __always_inline void path_fact(void *ctx, void *chain, const struct out *o, const struct offsets *off,
				      struct slot *slot, __u8 what, __u32 limit, __u64 path)
{
	struct pair begin = read_pair(path, 0);
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
	for (int i = 1; i < FIRST_COMPONENTS; i++)
		if (end == WALK_ON)
			end = walk(o, off, slot, at, 0);
	if (end == WALK_ON) {
		bpf_tail_call(ctx, chain, TAIL_WALK);
		incomplete(o);
	}
	if (end == WALK_END)
		finish_attachment(o, at, what, 0, STATUS(at), LANNER_PARTS, DONE(at), 0);
}

#define ROOTS 4 /* as in the core driver */

/* Whether the struct path at this address is the root of its mount namespace. */
static __always_inline int is_topmost(const struct offsets *off, __u64 path)
{
	struct pair at = read_pair(path, 0);

#pragma unroll
	for (int i = 0; i < ROOTS; i++) {
		struct pair up = read_pair(at.first, -16);

		if (at.second != read_u64(at.first, 0))
			return 0;
		if (up.first == at.first - off->mount_mnt)
			return 1;
		at.second = up.second;
		at.first = up.first + off->mount_mnt;
	}
	return 0;
}

/* The address of the struct file of a descriptor of this task. */
static __always_inline __u64 file_of(const struct offsets *off, __u64 task, __s64 fd)
{
	__u64 files = read_u64(task, off->task_files), at = files + off->files_fdt;
	/* the table's address, and the first table, which follows it in struct files_struct itself */
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
	return read_u64(table.fd, fd * 8);
}

static __always_inline void op_unix_name(const struct out *o, const struct offsets *off, __u8 what, __u64 sk)
{
	__u64 address = sk ? read_u64(sk, off->unix_addr) : 0, len;
	__u8 *at, *last;

	if (!address)
		return;
	len = read_u32(address, 4);
	len -= 2; /* the family */
	at = begin_attachment(o);
	if (!at || !WITHIN(len, 108))
		return;
	if (bpf_probe_read(at + HEAD, SIZED(len, 127), (void *)(address + off->address_name + 2)) != 0)
		return;
	last = at + HEAD - 1;
	ADVANCE(last, len, 127);
	/* a name in the file system ends with NUL, an abstract name has no end but its length */
	if (at[HEAD] && *last == 0)
		len--;
	finish_attachment(o, at, what, 0, LANNER_WHOLE, LANNER_RAW, len, 0);
}

/* Both ends of a socket. A file of type S_IFSOCK has the socket as private data, and the socket points back to it. */
static __always_inline void op_fd_tuple(const struct out *o, const struct offsets *off, __u8 what, __u64 task, __s64 fd)
{
	__u64 file = file_of(off, task, fd), socket, sk;
	struct lanner_tuple tuple = {};
	__u8 *at;

	if (!file)
		return;
	socket = read_u64(file, off->file_private);
	if (!socket || read_u64(socket, off->socket_file) != file)
		return;
	sk = read_u64(socket, off->socket_file + 8);
	if (!sk)
		return;
	at = begin_attachment(o);
	if (!at)
		return;
	tuple.family = read_u16(sk, FAMILY_AT);
	tuple.protocol = read_u16(sk, off->sock_protocol);
	if (off->sock_protocol_size == 1)
		tuple.protocol &= 255;
	if (tuple.family == AF_INET || tuple.family == AF_INET6) {
		tuple.local_port = read_u16(sk, NUM_AT);
		tuple.remote_port = __builtin_bswap16(read_u16(sk, DPORT_AT));
	}
	if (tuple.family == AF_INET) {
		*(__u32 *)tuple.local = read_u32(sk, RCV_SADDR_AT);
		*(__u32 *)tuple.remote = read_u32(sk, DADDR_AT);
	} else if (tuple.family == AF_INET6 && off->have & HAVE_V6) {
		bpf_probe_read(tuple.remote, 16, (void *)(sk + off->sock_v6));
		bpf_probe_read(tuple.local, 16, (void *)(sk + off->sock_v6 + 16));
	}
	__builtin_memcpy(at + HEAD, &tuple, sizeof(tuple));
	finish_attachment(o, at, what, 0, LANNER_WHOLE, LANNER_RAW, sizeof(tuple), 0);
	if (tuple.family == AF_UNIX && off->have & HAVE_UNIX) {
		op_unix_name(o, off, LANNER_FACT_LOCAL, sk);
		op_unix_name(o, off, LANNER_FACT_PEER, read_u64(sk, off->unix_peer));
	}
}

/* include/linux/fs.h: the open made the file */
#define FMODE_CREATED 0x100000
#define DEVICE_AT 16 /* s_dev in struct super_block, behind a list's two pointers */

/* Fact: the file that was opened. The event's flags say whether the file was created. */
static __always_inline void op_file(const struct out *o, const struct offsets *off, __u64 file)
{
	struct lanner_file opened = {};
	__u64 inode;
	__u8 *at;

	if (off->have & HAVE_CREATED)
		o->event->flags |=
		    read_u32(file, off->file_mode) & FMODE_CREATED ? LANNER_FLAG_CREATED : LANNER_FLAG_EXISTED;
	if (!(off->have & HAVE_FILE))
		return;
	at = begin_attachment(o);
	if (!at)
		return;
	inode = read_u64(file, off->file_inode);
	opened.inode = read_u64(inode, off->inode_number);
	opened.device = read_u32(read_u64(inode, off->inode_sb), DEVICE_AT);
	opened.mode = read_u16(inode, 0); /* i_mode comes first */
	opened.flags = read_u32(file, off->file_flags);
	__builtin_memcpy(at + HEAD, &opened, sizeof(opened));
	finish_attachment(o, at, LANNER_FACT_FILE, 0, LANNER_WHOLE, LANNER_RAW, sizeof(opened), 0);
}

static __always_inline __u32 tty_of(const struct offsets *off, __u64 signal)
{
	__u64 tty = signal ? read_u64(signal, off->signal_tty) : 0;
	__u64 driver = tty ? read_u64(tty, off->tty_driver) : 0;
	__u32 major, minor;

	if (!driver)
		return 0;
	major = read_u32(driver, off->driver_major);
	minor = read_u32(driver, off->driver_major + 4) + read_u32(tty, off->tty_index);
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
		__u64 parent = read_u64(task, off->task_real_parent);

		ids.ppid = parent ? read_u32(parent, off->task_pid + 4) : 0;
	}
	if (off->have & HAVE_CRED) {
		__u64 cred = read_u64(task, off->task_cred) + off->cred_uid;

		ids.uid = read_u32(cred, 0);
		ids.gid = read_u32(cred, 4);
		ids.euid = read_u32(cred, 16);
		ids.egid = read_u32(cred, 20);
	}
	if (off->have & HAVE_GROUPS) {
		__u64 at_groups = off->groups_in_task ? task : read_u64(task, off->task_signal);
		__u64 pid = read_u64(at_groups, off->groups);

		ids.pgid = pid ? read_u32(pid, off->pid_nr) : 0;
		pid = read_u64(at_groups, off->groups + off->groups_stride);
		ids.sid = pid ? read_u32(pid, off->pid_nr) : 0;
	}
	if (off->have & HAVE_TTY)
		ids.tty = tty_of(off, read_u64(task, off->task_signal));
	if (off->have & HAVE_LOGINUID)
		ids.loginuid = read_u32(task, off->task_loginuid);
	ids.memfd = memfd;
	__builtin_memcpy(at + HEAD, &ids, sizeof(ids));
	finish_attachment(o, at, LANNER_FACT_IDS, 0, LANNER_WHOLE, LANNER_RAW, sizeof(ids), 0);
}

#endif
