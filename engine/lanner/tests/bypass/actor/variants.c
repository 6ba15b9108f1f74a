/* The same ends by other calls, descriptors and numbers than in the other files. */
#include "actor.h"
#include <sys/resource.h>

/* Reading */

/* A path below a magic link of /proc that leads to `folder` or `file`. */
static void through(const char *format, int number, const char *rest)
{
	char path[256];

	snprintf(path, sizeof(path), format, getpid(), number);
	strcat(path, rest);
	look(open(path, O_RDONLY));
}

static void task_root(void) { through("/proc/self/task/%d/root", 0, SECRET); }

static void task_directory(void)
{
	must(chdir(FOLDER), "chdir");
	through("/proc/self/task/%d/cwd", 0, "/secret");
}

static void task_descriptor(void) { through("/proc/self/task/%d/fd/%d", must(open(SECRET, O_PATH), "open"), ""); }

static void below_descriptor(void) { through("/proc/%d/fd/%d", must(open(FOLDER, O_PATH), "open"), "/secret"); }

static void standard_input(void)
{
	must(dup2(must(open(SECRET, O_PATH), "open"), 0), "dup2");
	look(open("/dev/stdin", O_RDONLY));
}

static void above_descriptor(void) { look(openat(must(open(OUT, O_PATH), "open"), "../secret", O_RDONLY)); }

static void without_links(void)
{
	struct open_how how = {.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};

	look(can(syscall(SYS_openat2, must(open(FOLDER, O_PATH), "open"), "out/../secret", &how, sizeof(how)),
		 "openat2"));
}

static void left_chroot(void)
{
	int outside = must(open("/", O_PATH), "open");

	must(chroot(OUT), "chroot");
	must(fchdir(outside), "fchdir");
	look(open(SECRET + 1, O_RDONLY));
}

static void directory_passed(void)
{
	int sockets[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
	pid_t child = must(fork(), "fork");
	if (!child) {
		send_fd(sockets[1], open(FOLDER, O_PATH));
		_exit(0);
	}
	must(fchdir(receive_fd(sockets[0])), "fchdir");
	wait_for(child);
	look(open("secret", O_RDONLY));
}

/* The id of a process that was called sshd is given to another one. */
static void same_id(void)
{
	pid_t first = must(fork(), "fork");

	if (!first) {
		prctl(PR_SET_NAME, "sshd");
		close(open(INNOCENT, O_RDONLY));
		_exit(0);
	}
	wait_for(first);
	struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&first, .set_tid_size = 1};
	pid_t second = can(syscall(SYS_clone3, &args, sizeof(args)), "clone3");
	if (!second) {
		look(open(SECRET, O_RDONLY));
		_exit(0);
	}
	wait_for(second);
}

/* Descriptors: what is read through them must be known */

static void *with_own_files(void *ranged)
{
	int number = must(open(INNOCENT, O_RDONLY), "open");

	if (ranged)
		can(syscall(SYS_close_range, number, number, 2 /* CLOSE_RANGE_UNSHARE */), "close_range");
	else
		can(unshare(CLONE_FILES), "unshare");
	if (!ranged)
		close(number);
	if (open(SECRET, O_RDONLY) != number)
		end(1, "the number");
	look(number);
	return NULL;
}

static void in_thread(void *with)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, with_own_files, with))
		end(1, "pthread_create");
	pthread_join(thread, NULL);
}

static void own_files(void) { in_thread(NULL); }
static void own_files_by_range(void) { in_thread("range"); }

static void duplicated(void)
{
	int innocent = must(open(INNOCENT, O_RDONLY), "open");

	must(dup3(must(open(SECRET, O_RDONLY), "open"), innocent, 0), "dup3");
	look(innocent);
}

static void passed_by_ring_of_messages(void)
{
	int sockets[2];

	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets), "socketpair");
	int innocent = must(open(INNOCENT, O_RDONLY), "open");
	send_fd(sockets[1], must(open(SECRET, O_RDONLY), "open"));
	close(innocent);
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec data = {&byte, 1};
	struct mmsghdr message = {
	    .msg_hdr = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)}};
	must(recvmmsg(sockets[0], &message, 1, 0, NULL), "recvmmsg");
	int fd;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message.msg_hdr)), sizeof(fd));
	look(fd);
}

/* A listener of the process's own puts the file behind a number of its choice. */
enum { AND_SEND = 2, BY_ANOTHER = 4 };

static void supervise(int socket, int number, int how)
{
	int listener = receive_fd(socket);
	struct seccomp_notif call = {0};

	ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call);
	if (how & BY_ANOTHER && fork()) {
		wait(NULL);
		_exit(0);
	}
	struct seccomp_notif_addfd file = {
	    .id = call.id, .flags = 1 | how & AND_SEND, .srcfd = open(SECRET, O_RDONLY), .newfd = number};
	ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &file);
	struct seccomp_notif_resp answer = {.id = call.id};
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	_exit(0);
}

static void added_by(int how)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {4, code};
	int sockets[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
	int innocent = must(open(INNOCENT, O_RDONLY), "open");
	pid_t supervisor = must(fork(), "fork");
	if (!supervisor)
		supervise(sockets[0], innocent, how);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	if (listener < 0) {
		kill(supervisor, SIGKILL);
		end(errno == EBUSY ? REFUSED : CANNOT, "seccomp");
	}
	send_fd(sockets[1], listener);
	syscall(SYS_getppid);
	look(innocent);
	wait_for(supervisor);
}

static void added(void) { added_by(0); }
static void added_and_sent(void) { added_by(AND_SEND); }
static void added_by_another(void) { added_by(BY_ANOTHER); }

static void *with_listener(void *unused)
{
	can(unshare(CLONE_FILES), "unshare");
	added_by(0);
	return unused;
}

static void added_to_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, with_listener, NULL))
		end(1, "pthread_create");
	pthread_join(thread, NULL);
}

/* Changing */

static const char *below_proc(const char *file, int flags)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%ld", must(open(file, flags, 0600), file));
	return path;
}

static void chmod_proc_fd(void)
{
	make(KEPT "/file", "");
	must(chmod(below_proc(KEPT "/file", O_PATH), 0644), "chmod");
}

static void truncate_proc_fd(void)
{
	make(KEPT "/file", "good\n");
	must(truncate(below_proc(KEPT "/file", O_RDONLY), 0), "truncate");
}

static void setxattr_proc_fd(void)
{
	make(KEPT "/file", "");
	can(setxattr(below_proc(KEPT "/file", O_RDONLY), "trusted.x", "", 0, 0), "setxattr");
}

static void unlink_proc_directory(void)
{
	make(KEPT "/file", "");
	must(chdir(KEPT), "chdir");
	must(unlink("/proc/self/cwd/file"), "unlink");
}

static void mknod_descriptor(void)
{
	must(mknodat(must(open(KEPT, O_PATH), "open"), "file", S_IFREG | 0600, 0), "mknodat");
}

static void symlink_descriptor(void) { must(symlinkat("/x", must(open(KEPT, O_PATH), "open"), "file"), "symlinkat"); }

static void link_descriptor(void)
{
	make(OUT "/file", "evil\n");
	int out = must(open(OUT, O_PATH), "open"), kept = must(open(KEPT, O_PATH), "open");
	must(linkat(out, "file", kept, "file", 0), "linkat");
}

static void renamed_with(unsigned flags)
{
	make(OUT "/file", "evil\n");
	can(syscall(SYS_renameat2, AT_FDCWD, OUT "/file", AT_FDCWD, KEPT "/file", flags), "renameat2");
}

static void rename_whiteout(void) { renamed_with(4); }
static void rename_no_replace(void) { renamed_with(1); }

static void written_through_dangling_link(void)
{
	must(symlink(KEPT "/file", OUT "/link"), "symlink");
	must(open(OUT "/link", O_CREAT | O_WRONLY, 0600), "open");
}

static void folder_unlinked(void)
{
	must(mkdir(KEPT "/folder", 0700), "mkdir");
	must(unlinkat(must(open(KEPT, O_PATH), "open"), "folder", AT_REMOVEDIR), "unlinkat");
}

/* Running */

/* Asks whether a program may be run (Linux 6.14): nothing is run. */
static void asked_to_run(const char *path)
{
	int fd = must(open(path, O_PATH), path);

	can(syscall(SYS_execveat, fd, "", (char *[]){"x", NULL}, environ, AT_EMPTY_PATH | 0x10000), "execveat");
}

static void exec_asked(void) { asked_to_run(CANARY); }

static void exec_asked_as_another(void)
{
	int file = must(open(OUT "/sshd", O_CREAT | O_WRONLY | O_CLOEXEC, 0755), "open");

	copy(CANARY, file);
	/* a file that is open for writing cannot be run */
	close(file);
	asked_to_run(OUT "/sshd");
	look(open(SECRET, O_RDONLY));
}

/* lanner: none of these does any harm */

static void lanner_owner(void) { fcntl(must(open(INNOCENT, O_RDONLY), "open"), F_SETOWN, lanner()); }

static void lanner_owner_extended(void)
{
	struct {
		int type;
		pid_t pid;
	} owner = {1 /* F_OWNER_PID */, lanner()};

	fcntl(must(open(INNOCENT, O_RDONLY), "open"), 15 /* F_SETOWN_EX */, &owner);
}

static void lanner_owner_of_socket(void)
{
	int owner = lanner();

	ioctl(must(socket(AF_INET, SOCK_DGRAM, 0), "socket"), 0x8901 /* FIOSETOWN */, &owner);
}

/* There is no such signal. */
static void lanner_group(void) { kill(-getpgid(lanner()), 99); }
static void lanner_and_all(void) { kill(-1, 99); }
static void lanner_and_group(void)
{
	if (getpgrp() != getpgid(lanner()))
		end(CANNOT, "another group");
	kill(0, 99);
}

static void int80_lanner(void) { int80(37, lanner(), 99, 0, 0, 0); }

static void lanner_signal_of_thread(void)
{
	siginfo_t info = {.si_signo = SIGBUS, .si_code = SI_KERNEL};

	syscall(SYS_rt_tgsigqueueinfo, lanner(), lanner(), SIGBUS, &info);
}

/* No such policy, set, class, node or advice. */
static void lanner_scheduled(void) { sched_setscheduler(lanner(), 99, &(struct sched_param){0}); }
static void lanner_attributes(void) { syscall(SYS_sched_setattr, lanner(), NULL, 0); }
static void lanner_pinned(void) { syscall(SYS_sched_setaffinity, lanner(), 0, NULL); }
static void lanner_niced(void) { setpriority(PRIO_PROCESS, lanner(), getpriority(PRIO_PROCESS, lanner())); }
static void lanner_slowed(void) { syscall(SYS_ioprio_set, 1, lanner(), 7 << 13); }
static void lanner_migrated(void) { syscall(SYS_migrate_pages, lanner(), 1, NULL, NULL); }

static void lanner_advised(void)
{
	struct iovec nothing = {0};
	int process = can(syscall(SYS_pidfd_open, lanner(), 0), "pidfd_open");

	syscall(440 /* process_madvise */, process, &nothing, 1, 999, 0);
}

static void lanner_released(void)
{
	syscall(448 /* process_mrelease */, can(syscall(SYS_pidfd_open, lanner(), 0), "pidfd_open"), 1);
}

static void other_niced(void) { setpriority(PRIO_PROCESS, getppid(), getpriority(PRIO_PROCESS, getppid())); }

/* Mounts */

static void etc_bound_elsewhere(void)
{
	own_mounts();
	must(mount("/etc", OUT, NULL, MS_BIND, NULL), "mount");
}

static void passwd_bound_elsewhere(void)
{
	own_mounts();
	must(chdir("/etc"), "chdir");
	make(OUT "/file", "");
	must(mount("passwd", OUT "/file", NULL, MS_BIND, NULL), "mount");
}

static void etc_below_overlay(void)
{
	own_mounts();
	must(mount("x", OUT, "overlay", 0, "lowerdir=/etc:" KEPT), "mount");
}

static void out_bound_elsewhere(void)
{
	own_mounts();
	must(mount(KEPT, OUT, NULL, MS_BIND, NULL), "mount");
}

/* Programs that the kernel runs */

static void opened_to_write(const char *path)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		end(CANNOT, path);
}

static void core_pattern(void) { opened_to_write("/proc/sys/kernel/core_pattern"); }
static void module_loader(void) { opened_to_write("/proc/sys/kernel/modprobe"); }
static void core_pattern_descriptor(void)
{
	if (openat(must(open("/proc/sys/kernel", O_PATH), "open"), "core_pattern", O_RDWR) < 0)
		end(CANNOT, "openat");
}

static void binary_format(void)
{
	own_mounts();
	can(mount("x", OUT, "binfmt_misc", 0, NULL), "mount");
	opened_to_write(OUT "/register");
}

static void core_pattern_read(void) { must(open("/proc/sys/kernel/core_pattern", O_RDONLY), "open"); }

/* Sending */

static void raw_datagram(void)
{
	struct {
		uint16_t from, to, len, sum;
		char text[4];
	} datagram = {htons(9), htons(PORT), htons(12), 0, "hi"};
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

	must(sendto(can(socket(AF_INET, SOCK_RAW, IPPROTO_UDP), "socket"), &datagram, 12, 0, (void *)&address,
		    sizeof(address)),
	     "sendto");
}

const struct way VARIANTS[] = {
    {"task-root", task_root},
    {"task-directory", task_directory},
    {"task-descriptor", task_descriptor},
    {"below-descriptor", below_descriptor},
    {"standard-input", standard_input},
    {"above-descriptor", above_descriptor},
    {"without-links", without_links},
    {"left-chroot", left_chroot},
    {"directory-passed", directory_passed},
    {"same-id", same_id},
    {"own-files", own_files},
    {"own-files-range", own_files_by_range},
    {"duplicated", duplicated},
    {"passed-messages", passed_by_ring_of_messages},
    {"added", added},
    {"added-and-sent", added_and_sent},
    {"added-to-thread", added_to_thread},
    {"added-by-another", added_by_another},
    {"chmod-proc-fd", chmod_proc_fd},
    {"truncate-proc-fd", truncate_proc_fd},
    {"setxattr-proc-fd", setxattr_proc_fd},
    {"unlink-proc-directory", unlink_proc_directory},
    {"mknod-descriptor", mknod_descriptor},
    {"symlink-descriptor", symlink_descriptor},
    {"link-descriptor", link_descriptor},
    {"rename-whiteout", rename_whiteout},
    {"rename-no-replace", rename_no_replace},
    {"written-dangling", written_through_dangling_link},
    {"folder-unlinked", folder_unlinked},
    {"exec-asked", exec_asked},
    {"exec-asked-as-another", exec_asked_as_another},
    {"lanner-owner", lanner_owner},
    {"lanner-owner-extended", lanner_owner_extended},
    {"lanner-owner-of-socket", lanner_owner_of_socket},
    {"lanner-group", lanner_group},
    {"lanner-and-group", lanner_and_group},
    {"lanner-and-all", lanner_and_all},
    {"int80-lanner", int80_lanner},
    {"lanner-signal-of-thread", lanner_signal_of_thread},
    {"lanner-scheduled", lanner_scheduled},
    {"lanner-attributes", lanner_attributes},
    {"lanner-pinned", lanner_pinned},
    {"lanner-niced", lanner_niced},
    {"lanner-slowed", lanner_slowed},
    {"lanner-migrated", lanner_migrated},
    {"lanner-advised", lanner_advised},
    {"lanner-released", lanner_released},
    {"other-niced", other_niced},
    {"etc-bound-elsewhere", etc_bound_elsewhere},
    {"passwd-bound-elsewhere", passwd_bound_elsewhere},
    {"etc-below-overlay", etc_below_overlay},
    {"out-bound-elsewhere", out_bound_elsewhere},
    {"core-pattern", core_pattern},
    {"core-pattern-descriptor", core_pattern_descriptor},
    {"module-loader", module_loader},
    {"binary-format", binary_format},
    {"core-pattern-read", core_pattern_read},
    {"raw-datagram", raw_datagram},
    {NULL, NULL},
};
