/* Programs that use what the driver uses: seccomp filters, their listeners, ptrace. */
#include "scenes.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

static int filter_for(int nr, unsigned action, unsigned flags)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, action),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static volatile int trapped_nr;

static void on_sys(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	trapped_nr = info->si_syscall;
	hits = info->si_code;
}

/* A program's own filters answer as they do untraced. */
void own_filters(int count)
{
	struct sigaction action = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO};
	pid_t child = fork();
	if (!child) {
		CHECK(filter_for(SYS_getppid, SECCOMP_RET_ERRNO | ENOTTY, 0) == 0);
		CHECK(syscall(SYS_getppid) == -1 && errno == ENOTTY);
		/* one more filter on top, for another call: both hold */
		CHECK(filter_for(SYS_getuid, SECCOMP_RET_ERRNO | EXDEV, 0) == 0);
		CHECK(syscall(SYS_getuid) == -1 && errno == EXDEV && syscall(SYS_getppid) == -1);
		CHECK(prctl(PR_GET_SECCOMP) == 2);
		_exit(0);
	}
	CHECK(status_of(child) == 0);
	child = fork();
	if (!child) {
		sigaction(SIGSYS, &action, NULL);
		CHECK(filter_for(SYS_getppid, SECCOMP_RET_TRAP | 5, 0) == 0);
		syscall(SYS_getppid);
		CHECK(trapped_nr == SYS_getppid && hits == 1 /* SYS_SECCOMP */);
		_exit(0);
	}
	CHECK(status_of(child) == 0);
	child = fork();
	if (!child) {
		CHECK(filter_for(SYS_getppid, SECCOMP_RET_KILL_PROCESS, 0) == 0);
		syscall(SYS_getppid);
		_exit(1);
	}
	int status = status_of(child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	child = fork();
	if (!child) {
		/* this program knows of no tracer */
		CHECK(filter_for(SYS_getppid, SECCOMP_RET_TRACE | 1, 0) == 0);
		CHECK(syscall(SYS_getppid) == -1 && errno == ENOSYS);
		CHECK(syscall(SYS_getpid) == getpid());
		_exit(0);
	}
	CHECK(status_of(child) == 0);
	child = fork();
	if (!child) {
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
		syscall(SYS_exit, 0);
	}
	CHECK(status_of(child) == 0);
}

/* A program with a listener of its own: one process answers the calls of another. */
void own_listener(int count)
{
	struct seccomp_notif_sizes sizes;
	CHECK(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) == 0);
	struct seccomp_notif *asked = calloc(1, sizes.seccomp_notif);
	struct seccomp_notif_resp *answer = calloc(1, sizes.seccomp_notif_resp);
	int pipe_of[2];
	CHECK(!pipe(pipe_of));
	/* the listener's descriptor is shared with a child that has the same table */
	pid_t child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (!child) {
		int fd = filter_for(SYS_getppid, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
		CHECK(fd >= 0);
		CHECK(write(pipe_of[1], &fd, sizeof fd) == sizeof fd);
		for (int i = 0; i < 50; i++)
			CHECK(syscall(SYS_getppid) == 4000 + i);
		_exit(0);
	}
	int fd;
	CHECK(read(pipe_of[0], &fd, sizeof fd) == sizeof fd);
	for (int i = 0; i < 50; i++) {
		memset(asked, 0, sizes.seccomp_notif);
		CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, asked) == 0 && asked->data.nr == SYS_getppid);
		memset(answer, 0, sizes.seccomp_notif_resp);
		answer->id = asked->id;
		answer->val = 4000 + i;
		CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, answer) == 0);
	}
	CHECK(status_of(child) == 0);
}

/* A process traces its child. Exit code 50: it may, because it is not traced itself; 51: it is refused. */
void own_tracer(int count)
{
	pid_t child = fork();
	if (!child) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0))
			_exit(errno);
		raise(SIGSTOP);
		_exit(0);
	}
	int status = status_of(child);
	if (WIFSTOPPED(status)) {
		ptrace(PTRACE_CONT, child, 0, 0);
		CHECK(status_of(child) == 0);
		exit(50);
	}
	/* it is refused, and nothing else happens */
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EPERM);
	child = fork();
	if (!child)
		for (;;)
			pause();
	CHECK(ptrace(PTRACE_SEIZE, child, 0, 0) == -1 && errno == EPERM);
	kill(child, SIGKILL);
	CHECK(WTERMSIG(status_of(child)) == SIGKILL);
	exit(51);
}
