/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Facts: what the kernel did, read from its own structs. Resolved paths, both ends of a socket, the identity of a
 * program's process, the program's file.
 */
#ifndef LANNER_FACTS_H
#define LANNER_FACTS_H

/*
 * The most steps of a walk, components of a path and crossings of mounts: a path of one letter for each component ends
 * at its limit of bytes before. Where the verifier follows each step by itself, there are FEW, and the helper (loop.h),
 * whose steps take longer, takes the others. Without the helper, there are COMPONENTS.
 */
#define MOST_COMPONENTS 2176
#ifdef MAY_GOTO
#define COMPONENTS MOST_COMPONENTS
#else
#define COMPONENTS 96
#define FEW 10
#endif
/* The longest name that is read with plain loads. */
#define SHORT_NAME 48

/*
 * Copies the name of a path component. May write up to 15 bytes behind it. Short names are read with plain loads: a
 * helper call costs more than all the rest of a component.
 */
static __always_inline long read_name(__u8 *to, const unsigned char *name, __u64 len)
{
#if !defined(SINGLE_RUN) && !defined(NO_TYPES)
	if (bpf_rdonly_cast && len <= SHORT_NAME) {
#pragma unroll
		for (int i = 0; i < SHORT_NAME; i += 16) {
			struct timespec64 *words = (void *)(name + i);

			((__u64 *)(to + i))[0] = FOLLOW(words, tv_sec);
			((__u64 *)(to + i))[1] = FOLLOW(words, tv_nsec);
			if (len <= i + 16)
				break;
		}
		return *to ? 0 : -EFAULT; /* a load that faults gives 0 */
	}
#endif
	return bpf_probe_read_kernel(to, len, name);
}

/* A walk over a path, from its leaf up. */
struct walk {
	struct vfsmount *mnt;
	struct dentry *dentry, *root;
	__u8 *at;
};

/* How a step of a walk ends. */
enum {
	GOES_ON,
	ENDS,
	NAMELESS, /* the file has no path: a pipe, a socket, an anonymous inode */
};

/* Crosses from the root of a mount to where it is mounted. */
static __always_inline int cross(struct walk *w)
{
	struct mount *mount = (void *)w->mnt - __builtin_preserve_field_info(((struct mount *)0)->mnt, 0);
	struct mount *parent = FOLLOW(mount, mnt_parent);

	if (parent == mount) {
		STATUS(w->at) = LANNER_WHOLE;
		return ENDS;
	}
	w->dentry = FOLLOW(mount, mnt_mountpoint);
	w->mnt = &parent->mnt;
	w->root = FOLLOW(w->mnt, mnt_root);
	return GOES_ON;
}

/* Writes the name of a component behind `done` bytes, and adds its length to them. */
static __always_inline int write_name(const struct out *o, struct walk *w, __u32 limit, __u64 *done)
{
	__u64 len = FOLLOW(w->dentry, d_name.len), have = *done;

	if (len > 255)
		len = 255;
	if (have > limit)
		return ENDS;
	OPAQUE(have);
	if (have > o->chunk - NAME_ROOM) {
		incomplete(o);
		return ENDS;
	}
	if (!len)
		return NAMELESS;
	if (read_name(w->at + HEAD + have, FOLLOW(w->dentry, d_name.name), len) != 0) {
		STATUS(w->at) = LANNER_FAULT;
		return ENDS;
	}
	*done = have + len;
	return GOES_ON;
}

/* Goes to the directory above; `done` bytes are written. */
static __always_inline int go_up(struct walk *w, struct dentry *above, __u64 done)
{
	*(w->at + HEAD + done) = 0;
	DONE(w->at) = done + 1;
	if (above == w->dentry) {
		STATUS(w->at) = LANNER_WHOLE;
		return ENDS;
	}
	w->dentry = above;
	return GOES_ON;
}

/* Takes the first step of a walk. `memfd`: the file is a memfd (memfd_create(2)). */
static __always_inline int walk_first(const struct out *o, struct walk *w, __u32 limit, int *memfd)
{
	struct dentry *above = FOLLOW(w->dentry, d_parent);
	char *name = (char *)w->at + HEAD;
	int orphan = above == w->dentry, ended;
	__u64 len = 0;

	if (w->dentry == w->root)
		return cross(w);
	ended = write_name(o, w, limit, &len);
	if (ended)
		return ended;
	/* an anonymous inode, or a namespace */
	if (orphan && (name[0] == '[' || name[0] == '/'))
		return NAMELESS;
	*memfd = orphan && len >= 6 && name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'f' &&
		 name[4] == 'd' && name[5] == ':';
	if (orphan || !FOLLOW(w->dentry, d_hash.pprev)) {
		const char deleted[] = " (deleted)";

		__builtin_memcpy(name + len, deleted, 10);
		len += 10;
	}
	return go_up(w, above, len);
}

/* Takes another step of a walk: writes a component, or crosses a mount. */
static __always_inline int walk_on(const struct out *o, struct walk *w, __u32 limit)
{
	struct dentry *above = FOLLOW(w->dentry, d_parent);
	__u64 done = DONE(w->at);
	int ended;

	if (w->dentry == w->root)
		return cross(w);
	ended = write_name(o, w, limit, &done);
	return ended ? ended : go_up(w, above, done);
}

#if !defined(SINGLE_RUN) && !defined(MAY_GOTO)
struct path_run {
	struct lanner_event *event;
	struct walk walk;
	__u64 ended;
};

static long path_step(__u64 i, struct path_run *run)
{
	struct out o = {.event = run->event, .chunk = VECTOR_CHUNK};

	run->ended = walk_on(&o, &run->walk, 4096);
	return run->ended != GOES_ON;
}

/* Takes the steps of a walk that are left, by the helper. */
static __always_inline int walk_by_helper(const struct out *o, struct walk *w)
{
	struct path_run run = {.event = (void *)o->event, .walk = *w};

	bpf_loop(MOST_COMPONENTS, path_step, &run, 0);
	return run.ended;
}
#endif

/* A path to resolve. */
struct resolving {
	struct vfsmount *mnt;
	struct dentry *dentry;
	__u32 limit;
	__u8 what;
	__u8 rare; /* calls are rare, so that a loop through the helper (loop.h), whose steps cost more, does no harm */
};

/* Walks from the second step on. */
static __always_inline int walk(const struct out *o, struct walk *w, const struct resolving *path)
{
	int ended = GOES_ON;

#if !defined(SINGLE_RUN) && !defined(MAY_GOTO)
	if (path->rare && HAVE_LOOP)
		return walk_by_helper(o, w);
#endif
	STEPS(i, TOTAL(w->at), COMPONENTS)
	{
#if !defined(SINGLE_RUN) && !defined(MAY_GOTO)
		if (i == FEW && HAVE_LOOP)
			return walk_by_helper(o, w);
#endif
		ended = walk_on(o, w, path->limit);
		if (ended)
			break;
	}
	return ended;
}

/* The resolved path of a file. 1: it is a memfd. */
static __always_inline int resolved_inline(const struct out *o, const struct resolving *path)
{
	struct walk w = {.mnt = path->mnt, .dentry = path->dentry};
	int ended, memfd = 0;

	if (!w.mnt || !w.dentry)
		return 0;
	w.at = begin_attachment(o);
	if (!w.at)
		return 0;
	begin_loop(w.at);
	STATUS(w.at) = LANNER_TRUNCATED;
	w.root = FOLLOW(w.mnt, mnt_root);
	ended = walk_first(o, &w, path->limit, &memfd);
	if (!ended)
		ended = walk(o, &w, path);
	if (ended == NAMELESS)
		return 0;
	finish_attachment(o, w.at, path->what, 0, STATUS(w.at), LANNER_PARTS, DONE(w.at), 0);
	return memfd;
}

PART(resolved, const struct resolving)

/* The resolved path of a file. `rare` is a constant. 1: it is a memfd. */
static __always_inline int op_path(const struct out *o, __u8 what, __u32 limit, struct vfsmount *mnt,
				   struct dentry *dentry, int rare)
{
	struct resolving path = {.mnt = mnt, .dentry = dentry, .limit = limit, .what = what, .rare = rare};

	return resolved(o, &path);
}

/* The file behind a descriptor of a task. */
static __always_inline struct file *file_of(struct task_struct *task, __s64 fd)
{
	struct files_struct *files = FOLLOW(task, files);
	struct fdtable *fdt;
	struct file **array;

	if (!files || fd < 0)
		return NULL;
	fdt = FOLLOW(files, fdt);
	if (!fdt || fd >= FOLLOW(fdt, max_fds))
		return NULL;
	array = FOLLOW(fdt, fd);
	/* a word, as the first field of this struct is one: a plain load, where that is possible */
	return (void *)FOLLOW((struct timespec64 *)(array + fd), tv_sec);
}

/* Fact: the file that was opened. */
static __always_inline void op_file(const struct out *o, struct file *file)
{
	struct inode *inode = FOLLOW(file, f_inode);
	struct super_block *sb = FOLLOW(inode, i_sb);
	struct lanner_file *opened;
	__u8 *at = begin_attachment(o);

	if (!at)
		return;
	opened = (void *)(at + HEAD);
	opened->inode = FOLLOW(inode, i_ino);
	opened->device = FOLLOW(sb, s_dev);
	opened->mode = FOLLOW(inode, i_mode);
	opened->flags = FOLLOW(file, f_flags);
	opened->unused = 0;
	finish_attachment(o, at, LANNER_FACT_FILE, 0, LANNER_WHOLE, LANNER_RAW, sizeof(*opened), 0);
}

/* include/linux/fs.h: the open made the file */
#define FMODE_CREATED_BIT 20

/* Facts: the file behind a descriptor, and its resolved path. The event's flags say whether the file was created. */
static __always_inline void op_fd_path(const struct out *o, __u8 what, __u32 limit, struct task_struct *task, __s64 fd)
{
	struct file *file = file_of(task, fd);

	if (!file)
		return;
	o->event->flags |= LANNER_FLAG_EXISTED >> (FOLLOW(file, f_mode) >> FMODE_CREATED_BIT & 1);
	op_file(o, file);
	op_path(o, what, limit, FOLLOW(file, f_path.mnt), FOLLOW(file, f_path.dentry), 0);
}

/* Mounts that lie on each other at the root of a namespace. Mostly there are two: rootfs, and the one on it. */
#define ROOTS 4

/* Whether this is the root of its mount namespace. */
static __always_inline int is_topmost(struct vfsmount *mnt, struct dentry *dentry)
{
#pragma unroll
	for (int i = 0; i < ROOTS; i++) {
		struct mount *mount = (void *)mnt - __builtin_preserve_field_info(((struct mount *)0)->mnt, 0);
		struct mount *parent = FOLLOW(mount, mnt_parent);

		if (dentry != FOLLOW(mnt, mnt_root))
			return 0;
		if (parent == mount)
			return 1;
		dentry = FOLLOW(mount, mnt_mountpoint);
		mnt = &parent->mnt;
	}
	return 0;
}

#define AT_FDCWD (-100)

/* Fact: a directory of the thread, or the one that a path of the call begins at. */
static __always_inline void op_directory(const struct out *o, const struct lanner_op *op, struct task_struct *task)
{
	struct fs_struct *fs = FOLLOW(task, fs);
	struct vfsmount *mnt;
	struct dentry *dentry;
	__u8 what = op->what, first = 0;

	if (!fs)
		return;
	mnt = FOLLOW(fs, pwd.mnt);
	dentry = FOLLOW(fs, pwd.dentry);
	if (op->code == LANNER_OP_BASE) {
		__s64 fd = op->len_arg == LANNER_ARG_RET ? AT_FDCWD : (int)arg_at(o, op->len_arg);
		__u64 path = arg_at(o, op->arg);

		/* without a path, a call is about what its descriptor refers to (utimensat(2)) */
		if ((path || op->len_arg == LANNER_ARG_RET) && READ_USER(&first, 1, USER(path)) != 0)
			return;
		if (first != '/' && fd != AT_FDCWD) {
			struct file *file = file_of(task, fd);

			if (!file)
				return;
			mnt = FOLLOW(file, f_path.mnt);
			dentry = FOLLOW(file, f_path.dentry);
		}
	}
	if (first == '/' || what == LANNER_FACT_ROOT) {
		mnt = FOLLOW(fs, root.mnt);
		dentry = FOLLOW(fs, root.dentry);
		if (first == '/' && is_topmost(mnt, dentry))
			return;
		what = LANNER_FACT_ROOT;
	}
	op_path(o, what, 4096, mnt, dentry, 1);
}

/* Fact: the name of a Unix socket (unix(7)). */
static __always_inline void op_unix_name(const struct out *o, __u8 what, struct unix_sock *sk)
{
	struct unix_address *address = sk ? FOLLOW(sk, addr) : NULL;
	__u32 len;
	__u8 *at;

	if (!address)
		return;
	len = FOLLOW(address, len);
	if (len <= 2 || len > 110)
		return;
	at = begin_attachment(o);
	if (!at)
		return;
	len -= 2;
	if (bpf_probe_read_kernel(at + HEAD, len & 127, (char *)&address->name + 2) != 0)
		return;
	/* a name in the file system ends with a NUL, an abstract one (first byte 0) has none */
	if (at[HEAD] && at[HEAD + ((len - 1) & 127)] == 0)
		len--;
	finish_attachment(o, at, what, 0, LANNER_WHOLE, LANNER_RAW, len & 127, 0);
}

/*
 * Fact: both ends of a socket. The private data of a socket's file is the socket, which points back to the file; that
 * is how a file is known to be one.
 */
static __always_inline void op_fd_tuple(const struct out *o, __u8 what, struct task_struct *task, __s64 fd)
{
	struct file *file = file_of(task, fd);
	struct lanner_tuple *tuple;
	struct socket *socket;
	struct sock *sk;
	__u8 *at;

	if (!file)
		return;
	socket = FOLLOW(file, private_data);
	if (!socket || FOLLOW(socket, file) != file)
		return;
	sk = FOLLOW(socket, sk);
	if (!sk)
		return;
	at = begin_attachment(o);
	if (!at)
		return;
	tuple = (void *)(at + HEAD);
	__builtin_memset(tuple, 0, sizeof(*tuple));
	tuple->family = FOLLOW(sk, __sk_common.skc_family);
	tuple->protocol = FOLLOW(sk, sk_protocol);
	if (tuple->family == AF_INET || tuple->family == AF_INET6) {
		tuple->local_port = FOLLOW(sk, __sk_common.skc_num);
		tuple->remote_port = __builtin_bswap16(FOLLOW(sk, __sk_common.skc_dport));
	}
	if (tuple->family == AF_INET) {
		*(__u32 *)tuple->local = FOLLOW(sk, __sk_common.skc_rcv_saddr);
		*(__u32 *)tuple->remote = FOLLOW(sk, __sk_common.skc_daddr);
	} else if (tuple->family == AF_INET6) {
		bpf_probe_read_kernel(tuple->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_probe_read_kernel(tuple->remote, 16, &sk->__sk_common.skc_v6_daddr);
	}
	finish_attachment(o, at, what, 0, LANNER_WHOLE, LANNER_RAW, sizeof(*tuple), 0);
	if (FOLLOW(sk, __sk_common.skc_family) == AF_UNIX) {
		struct unix_sock *unix_sk = (void *)sk;

		op_unix_name(o, LANNER_FACT_LOCAL, unix_sk);
		op_unix_name(o, LANNER_FACT_PEER, (struct unix_sock *)FOLLOW(unix_sk, peer));
	}
}

/* The device number of the controlling terminal; 0: there is none. */
static __always_inline __u32 tty_of(struct signal_struct *signal)
{
	struct tty_struct *tty = signal ? FOLLOW(signal, tty) : NULL;
	struct tty_driver *driver = tty ? FOLLOW(tty, driver) : NULL;
	__u32 major, minor;

	if (!driver)
		return 0;
	major = FOLLOW(driver, major);
	minor = FOLLOW(driver, minor_start) + FOLLOW(tty, index);
	/* new_encode_dev() in include/linux/kdev_t.h */
	return (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12);
}

/* The id of a process group (2) or session (3), by enum pid_type of include/linux/pid_types.h. */
static __always_inline __u32 group_of(struct signal_struct *signal, int type)
{
	struct pid *pid = NULL;

	if (signal)
		READ(&pid, &signal->pids[type]);
	return pid ? FOLLOW(pid, numbers[0].nr) : 0;
}

/* Fact: the ids of a task. */
static __always_inline void op_ids(const struct out *o, struct task_struct *task, __u8 memfd)
{
	struct signal_struct *signal = FOLLOW(task, signal);
	struct cred *cred = FOLLOW(task, cred);
	struct task_struct *parent = FOLLOW(task, real_parent);
	struct lanner_ids *ids;
	__u8 *at = begin_attachment(o);

	if (!at)
		return;
	ids = (void *)(at + HEAD);
	ids->ppid = parent ? FOLLOW(parent, tgid) : 0;
	ids->pgid = group_of(signal, 2);
	ids->sid = group_of(signal, 3);
	ids->loginuid = -1;
	if (FIELD_EXISTS(task->loginuid))
		READ(&ids->loginuid, &task->loginuid.val);
	ids->uid = FOLLOW(cred, uid.val);
	ids->euid = FOLLOW(cred, euid.val);
	ids->gid = FOLLOW(cred, gid.val);
	ids->egid = FOLLOW(cred, egid.val);
	ids->tty = tty_of(signal);
	ids->memfd = memfd;
	finish_attachment(o, at, LANNER_FACT_IDS, 0, LANNER_WHOLE, LANNER_RAW, sizeof(*ids), 0);
}

#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#define NS_PER_S 1000000000ULL

/* A time in nanoseconds. */
static __always_inline __u64 ns_of(struct timespec64 *at)
{
	__u64 time[2] = {};

	bpf_probe_read_kernel(time, sizeof(time), at);
	return time[0] * NS_PER_S + time[1];
}

/* Without I_CTIME_QUERIED (include/linux/fs.h, since Linux 6.13), which is no part of the nanoseconds of a ctime. */
#define NSEC_MASK 0x7fffffffu

/* The time `which` (ctime, mtime) of an inode, in whichever form this kernel has it. */
#define NS_OF_INODE(inode, which)                                                                                      \
	({                                                                                                             \
		struct inode___times *times_ = (void *)inode;                                                          \
		struct inode___hidden *hidden_ = (void *)inode;                                                        \
		struct inode___split *split_ = (void *)inode;                                                          \
		__u64 ns_ = 0;                                                                                         \
		if (FIELD_EXISTS(split_->i_##which##_sec))                                                             \
			ns_ = READ_FIELD(split_, i_##which##_sec) * NS_PER_S +                                         \
			      (READ_FIELD(split_, i_##which##_nsec) & NSEC_MASK);                                      \
		else if (FIELD_EXISTS(hidden_->__i_##which))                                                           \
			ns_ = ns_of(&hidden_->__i_##which);                                                            \
		else if (FIELD_EXISTS(times_->i_##which))                                                              \
			ns_ = ns_of(&times_->i_##which);                                                               \
		ns_;                                                                                                   \
	})

/* 1 or 0 without a branch: the verifier would follow each branch through all that comes after it. */
#define IS_SET(number) (((__u64)(number) | -(__u64)(number)) >> 63)
#define IS_SAME(one, other) (1 - IS_SET((__u64)(one) ^ (__u64)(other)))

/*
 * The layer of an overlay file system that has a file. Directly behind the inode lies the pointer to the directory
 * entry of the upper layer (struct ovl_inode).
 */
static __always_inline __u32 layer_of(struct inode *inode)
{
	struct super_block *sb = READ_FIELD(inode, i_sb);
	__u64 upper = 0;

	bpf_probe_read_kernel(&upper, sizeof(upper), (char *)inode + __builtin_preserve_type_info(*inode, 1));
	return IS_SAME(READ_FIELD(sb, s_magic), OVERLAYFS_SUPER_MAGIC) * (LANNER_LAYER_LOWER + IS_SET(upper));
}

/* Fact: the file of a program and the program's capabilities. Nothing is checked before it is read: NULL reads as 0. */
static __always_inline void op_program(const struct out *o, struct task_struct *task, struct file *exe)
{
	struct dentry *dentry = READ_FIELD(exe, f_path.dentry);
	struct inode *inode = READ_FIELD(dentry, d_inode);
	struct cred *cred = READ_FIELD(task, cred);
	struct lanner_program *program;
	__u8 *at = begin_attachment(o);

	if (!at)
		return;
	program = (void *)(at + HEAD);
	program->inode = READ_FIELD(inode, i_ino);
	program->ctime_ns = NS_OF_INODE(inode, ctime);
	program->mtime_ns = NS_OF_INODE(inode, mtime);
	program->cap_inheritable = program->cap_permitted = program->cap_effective = 0;
	bpf_probe_read_kernel(&program->cap_inheritable, 8, &cred->cap_inheritable);
	bpf_probe_read_kernel(&program->cap_permitted, 8, &cred->cap_permitted);
	bpf_probe_read_kernel(&program->cap_effective, 8, &cred->cap_effective);
	program->mode = READ_FIELD(inode, i_mode);
	program->uid = READ_FIELD(inode, i_uid.val);
	program->gid = READ_FIELD(inode, i_gid.val);
	program->layer = layer_of(inode);
	finish_attachment(o, at, LANNER_FACT_PROGRAM, 0, LANNER_WHOLE, LANNER_RAW, sizeof(*program), 0);
}

#endif
