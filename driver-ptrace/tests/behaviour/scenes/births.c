/* Children and threads of every kind. */
#include "scenes.h"

#include <linux/sched.h>
#include <pthread.h>
#include <sys/prctl.h>

static int *shared;

static long clone3_with(uint64_t flags, uint64_t exit_signal, int *pidfd)
{
	struct clone_args args = {.flags = flags, .exit_signal = exit_signal};
	args.pidfd = (uintptr_t)pidfd;
	return syscall(SYS_clone3, &args, sizeof args);
}

void births(int count)
{
	int status, pidfd = -1;
	long child = clone3_with(0, SIGCHLD, NULL);
	if (child == -1 && errno == ENOSYS)
		fprintf(stderr, "no clone3 here\n");
	else {
		if (!child)
			_exit(7);
		CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
		/* the parent waits for the end of a child of vfork's kind */
		shared = shared_page();
		child = clone3_with(CLONE_VFORK, SIGCHLD, NULL);
		if (!child) {
			nap(30);
			*shared = 1;
			_exit(8);
		}
		CHECK(*shared == 1 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 8);
		child = clone3_with(CLONE_PIDFD, 0, &pidfd);
		if (!child)
			_exit(9);
		/* only __WALL and __WCLONE wait for a child that sends no signal at its end */
		CHECK(waitpid(child, &status, 0) == -1 && errno == ECHILD);
		CHECK(waitpid(child, &status, __WCLONE) == child && WEXITSTATUS(status) == 9);
		CHECK(pidfd >= 0 && !close(pidfd));
		/* a sibling: a child of the parent */
		child = fork();
		if (!child) {
			long sibling = clone3_with(CLONE_PARENT, 0, NULL);
			if (!sibling)
				_exit(10);
			_exit(sibling < 0);
		}
		CHECK(status_of(child) == 0);
		CHECK(waitpid(-1, &status, __WALL) > 0 && WEXITSTATUS(status) == 10);
	}
	for (int i = 0; i < 20; i++) {
		pid_t born = vfork();
		if (!born) {
			if (i % 2)
				execl("/bin/true", "true", NULL);
			_exit(i);
		}
		/* it has ended or runs another program: either way, vfork has returned */
		CHECK(born > 0 && waitpid(born, &status, 0) == born);
		CHECK(WEXITSTATUS(status) == (i % 2 ? 0 : i));
	}
	pid_t killed = vfork();
	if (!killed)
		kill(getpid(), SIGKILL);
	CHECK(waitpid(killed, &status, 0) == killed && WTERMSIG(status) == SIGKILL);
	/* an orphan becomes the child of a process that asked for orphans, and that waits for it */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t child2 = fork();
	if (!child2) {
		if (!fork())
			nap(20), _exit(getppid() == 1 ? 99 : 11);
		_exit(0);
	}
	CHECK(status_of(child2) == 0);
	CHECK(waitpid(-1, &status, 0) > 0 && WEXITSTATUS(status) == 11);
	/* a process gets a signal at its parent's end, if it asks for one */
	int tell[2];
	CHECK(!pipe(tell));
	child2 = fork();
	if (!child2) {
		if (!fork()) {
			sigset_t usr1;
			int signal;
			sigemptyset(&usr1);
			sigaddset(&usr1, SIGUSR1);
			sigprocmask(SIG_BLOCK, &usr1, NULL);
			prctl(PR_SET_PDEATHSIG, SIGUSR1);
			CHECK(write(tell[1], "r", 1) == 1);
			sigwait(&usr1, &signal);
			_exit(signal == SIGUSR1 ? 12 : 98);
		}
		char ready;
		_exit(read(tell[0], &ready, 1) != 1);
	}
	CHECK(status_of(child2) == 0);
	CHECK(waitpid(-1, &status, 0) > 0 && WEXITSTATUS(status) == 12);
}

void quick_children(int count)
{
	for (int i = 0; i < count; i++) {
		pid_t child = i % 3 ? fork() : vfork();
		if (!child)
			_exit(i & 0x7f);
		CHECK(child > 0 && WEXITSTATUS(status_of(child)) == (i & 0x7f));
	}
}
