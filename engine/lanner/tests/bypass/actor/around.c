/* Ways around the capture itself: other processes do the work, filters answer first, threads die in the call. */
#include "actor.h"

static void read_secret(void) { look(open(SECRET, O_RDONLY)); }

static void call_for_ever(void)
{
	for (;;)
		syscall(SYS_getppid);
}

static void injected(void)
{
#ifdef __x86_64__
	static const char path[] = SECRET;
	struct user_regs_struct registers;
	pid_t child = start_traced(call_for_ever);

	to_next_stop(child);
	must(ptrace(PTRACE_GETREGS, child, NULL, &registers), "ptrace");
	registers.orig_rax = registers.rax = SYS_open;
	registers.rdi = (uintptr_t)path;
	registers.rsi = O_RDONLY;
	must(ptrace(PTRACE_SETREGS, child, NULL, &registers), "ptrace");
	to_next_stop(child);
	must(ptrace(PTRACE_GETREGS, child, NULL, &registers), "ptrace");
	errno = -(int)registers.rax;
	must((int)registers.rax, "open");
	kill(child, SIGKILL);
	wait(NULL);
#else
	end(CANNOT, "x86");
#endif
}

static char innocent[512] = INNOCENT;

/* A child opens the path in `innocent` after its parent has replaced it. */
static void replace_path(void (*replace)(pid_t))
{
	int ends[2];
	char byte;

	must(pipe(ends), "pipe");
	pid_t child = must(fork(), "fork");
	if (!child) {
		must(read(ends[0], &byte, 1), "read");
		look(open(innocent, O_RDONLY));
		_exit(0);
	}
	replace(child);
	must(write(ends[1], "x", 1), "write");
	wait_for(child);
}

static void by_proc_mem(pid_t child)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", child);
	must(pwrite(must(open(path, O_RDWR), path), SECRET, sizeof(SECRET), (off_t)(uintptr_t)innocent), "pwrite");
}

static void by_writev(pid_t child)
{
	struct iovec from = {SECRET, sizeof(SECRET)}, to = {innocent, sizeof(SECRET)};

	can(process_vm_writev(child, &from, 1, &to, 1, 0), "process_vm_writev");
}

static void memory_file(void) { replace_path(by_proc_mem); }

static void memory_call(void) { replace_path(by_writev); }

static char stack[65536];

static int child_reads(void *unused)
{
	(void)unused;
	int fd = open(SECRET, O_RDONLY);
	if (fd < 0)
		_exit(errno == ENOSYS ? REFUSED : 1);
	look(fd);
	_exit(0);
}

static void untraced(void) { wait_for(clone(child_reads, stack + sizeof(stack), CLONE_UNTRACED | SIGCHLD, NULL)); }

/* The child is a sibling, which `play` does not wait for: it says when it has ended. */
static void sibling(void)
{
	int ends[2];
	char byte;

	must(pipe(ends), "pipe");
	must(clone(child_reads, stack + sizeof(stack), CLONE_PARENT | SIGCHLD, NULL), "clone");
	close(ends[1]);
	must(read(ends[0], &byte, 1), "read");
}

static void daemon_reads(void)
{
	int ends[2];
	char byte;

	must(pipe(ends), "pipe");
	if (!must(fork(), "fork")) {
		setsid();
		if (fork())
			_exit(0);
		read_secret();
		_exit(0);
	}
	close(ends[1]);
	must(read(ends[0], &byte, 1), "read");
}

static void new_namespaces(void)
{
	can(unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET), "unshare");
	pid_t child = must(fork(), "fork");
	if (!child) {
		read_secret();
		_exit(0);
	}
	wait_for(child);
}

static int filter(unsigned number, unsigned action, unsigned flags)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, action),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

/* The attempt is what is seen. */
static void own_filter(void)
{
	can(filter(SYS_openat, SECCOMP_RET_ERRNO | EPERM, 0), "seccomp");
	if (syscall(SYS_openat, AT_FDCWD, SECRET, O_RDONLY) >= 0 || errno != EPERM)
		end(1, "the filter");
}

static volatile int filtered;

/* Makes no call before the filter is in place: nothing has stopped it since. */
static void *opens_when_filtered(void *unused)
{
	while (!filtered)
		;
	syscall(SYS_openat, AT_FDCWD, SECRET, O_RDONLY);
	return unused;
}

/* A thread puts a filter into all threads. */
static void filter_of_all(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, opens_when_filtered, NULL);
	can(filter(SYS_openat, SECCOMP_RET_ERRNO | EPERM, SECCOMP_FILTER_FLAG_TSYNC), "seccomp");
	filtered = 1;
	pthread_join(thread, NULL);
}

/* A listener of the program's own lets its calls go on. */
static void own_listener(void)
{
	int sockets[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
	pid_t supervisor = must(fork(), "fork");
	if (!supervisor) {
		int listener = receive_fd(sockets[0]);
		for (;;) {
			struct seccomp_notif call = {0};
			if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call))
				_exit(0);
			struct seccomp_notif_resp answer = {.id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
			if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer))
				_exit(0);
		}
	}
	int listener = filter(SYS_openat, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
	if (listener < 0) {
		kill(supervisor, SIGKILL);
		end(errno == EBUSY ? REFUSED : CANNOT, "seccomp");
	}
	send_fd(sockets[1], listener);
	look(syscall(SYS_openat, AT_FDCWD, SECRET, O_RDONLY));
	kill(supervisor, SIGKILL);
	wait(NULL);
}

/* A thread is killed in a write that has filled the pipe: the reader has what it needs. */
static void killed_in_call(void)
{
	static char data[1 << 20] = "EVIL-DATA";
	char text[16];
	int ends[2];

	must(pipe(ends), "pipe");
	pid_t child = must(fork(), "fork");
	if (!child) {
		must(write(ends[1], data, sizeof(data)), "write");
		_exit(1);
	}
	must(read(ends[0], text, sizeof(text)), "read");
	kill(child, SIGKILL);
	must(waitpid(child, NULL, 0), "waitpid");
}

static void not_dumpable(void)
{
	must(prctl(PR_SET_DUMPABLE, 0), "prctl");
	read_secret();
}

const struct way AROUND[] = {
    {"injected", injected},
    {"memory-file", memory_file},
    {"memory-call", memory_call},
    {"untraced", untraced},
    {"sibling", sibling},
    {"daemon", daemon_reads},
    {"namespaces", new_namespaces},
    {"own-filter", own_filter},
    {"filter-of-all", filter_of_all},
    {"own-listener", own_listener},
    {"killed", killed_in_call},
    {"not-dumpable", not_dumpable},
    {NULL, NULL},
};
