/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The fields of kernel structs that the programs read, and no others. libbpf finds their real offsets (CO-RE), so
 * neither order nor size matters here.
 */
#ifndef LANNER_KERNEL_H
#define LANNER_KERNEL_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

#ifdef __TARGET_ARCH_x86
struct pt_regs {
	unsigned long bx, cx, dx, si, di, bp, r8, r9, r10, ax, orig_ax;
};
struct thread_info {
	__u32 status;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	__u64 regs[31], pstate;
	__u64 orig_x0; /* the first argument, which the return value has overwritten in regs[0] */
	int syscallno;
};
#endif

typedef struct {
	__u32 val;
} kuid_t;
typedef struct {
	__u32 val;
} kgid_t;
typedef struct {
	int counter;
} atomic_t;
typedef struct {
} kernel_cap_t; /* eight bytes, whose form differs from kernel to kernel */

struct sigaction {
	void *sa_handler;
	unsigned long sa_flags;
};
struct k_sigaction {
	struct sigaction sa;
};
struct cred {
	kuid_t uid, euid;
	kgid_t gid, egid;
	kernel_cap_t cap_inheritable, cap_permitted, cap_effective;
};
struct upid {
	int nr;
};
struct pid {
	unsigned int level;
	struct upid numbers[1];
};
struct tty_driver {
	int major, minor_start;
};
struct tty_struct {
	struct tty_driver *driver;
	int index;
};
struct signal_struct {
	struct pid *pids[4];
	struct tty_struct *tty;
};
struct qstr {
	__u32 len;
	const unsigned char *name;
};
struct super_block {
	__u32 s_dev;
	unsigned long s_magic;
};
struct inode {
	__u16 i_mode;
	kuid_t i_uid;
	kgid_t i_gid;
	unsigned long i_ino;
	struct super_block *i_sb;
};
struct hlist_bl_node {
	struct hlist_bl_node **pprev;
};
struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};
struct vfsmount {
	struct dentry *mnt_root;
};
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};
struct file {
	struct path f_path;
	void *private_data;
	void *f_op;
	struct inode *f_inode;
	unsigned int f_flags, f_mode;
};
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct fs_struct {
	struct path root, pwd;
};
struct mm_struct {
	unsigned long arg_start, arg_end, env_start, env_end;
	struct file *exe_file;
};
struct kernfs_node {
	__u64 id;
};
struct cgroup {
	struct kernfs_node *kn;
};
struct css_set {
	struct cgroup *dfl_cgrp;
};
struct task_struct {
#ifdef __TARGET_ARCH_x86
	struct thread_info thread_info;
#endif
	int pid, tgid;
	int exit_code;
	__u64 start_time, self_exec_id;
	struct task_struct *real_parent;
	struct pid *thread_pid; /* since 4.19 */
	struct mm_struct *mm;
	struct files_struct *files;
	struct fs_struct *fs;
	struct signal_struct *signal;
	struct cred *cred;
	struct css_set *cgroups;
	kuid_t loginuid;
	char comm[16];
};
/* Two words side by side; read_name() also reads names with it. */
struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
};
/*
 * The forms of an inode's times: ___times until 6.6 (i_mtime until 6.7), ___hidden until 6.11, ___split since. libbpf
 * ignores what follows ___ in a name.
 */
struct inode___times {
	struct timespec64 i_mtime, i_ctime;
};
struct inode___hidden {
	struct timespec64 __i_mtime, __i_ctime;
};
struct inode___split {
	__s64 i_mtime_sec, i_ctime_sec;
	__u32 i_mtime_nsec, i_ctime_nsec;
};
/* Both in io_uring/io_uring.c or linux/io_uring_types.h. */
struct io_ring_ctx {
	unsigned int flags;
	__u32 *sq_array; /* NULL: the requests are taken in their order */
	unsigned int sq_entries;
	unsigned int cached_sq_head;
	struct io_uring_sqe *sq_sqes;
};
struct io_cmd_data {
};
struct io_kiocb {
	struct io_cmd_data cmd; /* since 6.0 */
	struct io_ring_ctx *ctx;
	__u8 opcode;
};
struct linux_binprm {
	const char *filename;
};

struct in6_addr {
};
struct sock_common {
	__u32 skc_daddr, skc_rcv_saddr;
	__u16 skc_dport, skc_num;
	__u16 skc_family;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
};
struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
};
struct socket {
	struct file *file;
	struct sock *sk;
};
struct sockaddr_un {
	__u16 sun_family;
};
struct unix_address {
	int len;
	struct sockaddr_un name[1];
};
struct unix_sock {
	struct unix_address *addr;
	struct sock *peer;
};

#pragma clang attribute pop

#endif
